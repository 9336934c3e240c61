// The table of routes: docs/openapi.yaml describes exactly these (tests/system/test_openapi.py).
#pragma once
#include "admin/api.h"

struct route {
    const char *method, *path; // "{name}" stands for one segment
    void (*handle)(struct api_call *call);
    const char *query; // names that the query may have, with spaces between; others are refused
    bool open;         // needs no token
};

// Fills call->route and its params and returns 0; else the status to answer with: 404, 405 (`allow` has what there is), 400.
int route_find(struct api_call *call, struct str *out_allow);
// All names in the query are known to the route; else the one that is not.
bool route_knows_query(const struct route *route, struct str query, struct str *out_unknown);
// Every parameter stands there once, with a value that is well percent-encoded UTF-8: a filter that could not be read would
// be no filter. Else the one that does not.
bool route_reads_query(struct api_call *call, struct str *out_unclear);
