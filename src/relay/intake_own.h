// The inside of the intake: for intake.c and intake_desk.c.
#pragma once
#include "relay/intake.h"

// A problem document (RFC 9457); 503 with Retry-After.
void intake_answer_problem(struct http_exchange *exchange, int status, const char *title, struct str detail);
// The same with a header of the caller's (NULL: none), and none of its own.
void intake_answer_problem_with(struct http_exchange *exchange, int status, const char *title, struct str detail,
                                const struct http_header *header);
// intake_desk.c: the account's desk has called.
void intake_take_notice(struct intake *intake, struct http_exchange *exchange, const struct account *account);
