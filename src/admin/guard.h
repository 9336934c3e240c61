// Who may come in: token, and the pages of other sites that a browser on this machine has open (DNS rebinding, forged requests).
#pragma once
#include "base/str.h"
#include "model/http.h"

// The Authorization header carries this token.
bool guard_token(const struct http_request *request, struct str token);
// The Host header is one that no foreign page can have: an address, a name without dots, or one below a top that nobody can buy.
bool guard_host(const struct http_request *request);
// There is no Origin, or it is our own page's.
bool guard_origin(const struct http_request *request);
