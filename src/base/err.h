// Run-time failures, as negative numbers. A bug is must() (must.h); a peer's answer is a verdict
// (model/verdict.h); neither is an enum err.
#pragma once

enum err {
    ERR_OK = 0,
    ERR_INVALID = -1,   // what was given cannot be right
    ERR_TOO_LARGE = -2, // over a stated limit
    ERR_NOMEM = -3,     // a size from outside could not be had
    ERR_IO = -4,        // the disk or the network failed: on the store's write path the process must end (rule S1)
    ERR_FULL = -5,      // no space left: nothing was written, what was asked may be asked again (rule S9)
    ERR_CORRUPT = -6,   // stored data is not what was stored
    ERR_BUSY = -7,      // somebody else has it
    ERR_NOT_FOUND = -8,
    ERR_EXISTS = -9,
    ERR_REFUSED = -10, // understood, and against a rule
    ERR_CLOSED = -11,  // going down
};

#define ERR_CHECK __attribute__((warn_unused_result))

// A short lower-case word for logs and answers ("full", "io"); "ok" for 0. Never NULL.
const char *err_name(int err);
