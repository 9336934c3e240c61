// The inside of the intake: for intake.c and intake_desk.c.
#pragma once
#include "relay/intake.h"

// A problem document (RFC 9457); 503 with Retry-After.
void intake_answer_problem(struct http_exchange *exchange, int status, const char *title, struct str detail);
// intake_desk.c: the account's desk has called.
void intake_take_notice(struct intake *intake, struct http_exchange *exchange, const struct account *account);
