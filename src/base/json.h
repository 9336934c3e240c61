// JSON: a small writer onto a buf, and short hands over yyjson for reading. The writer puts commas
// itself; text that is not UTF-8 is written with U+FFFD in place of each bad byte.
#pragma once
#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>
#include <yyjson.h>

struct json {
    struct buf *out; // failures stick in it: check out->failed at the end
    bool comma;      // a value stands before, in the same object or list
    bool for_screen; // somebody will look at it raw: what a terminal could take for more than text is escaped
};

void json_open(struct json *json, char bracket);  // '{' or '['
void json_close(struct json *json, char bracket); // '}' or ']'
void json_key(struct json *json, const char *key);
void json_str(struct json *json, struct str s); // STR_NONE writes null
void json_int(struct json *json, int64_t n);
void json_num(struct json *json, double n);
void json_bool(struct json *json, bool b);
void json_null(struct json *json);
// Text that is JSON already.
void json_raw(struct json *json, struct str s);
// RFC 3339 in UTC with milliseconds; 0 writes null. Microseconds since 1970.
void json_time(struct json *json, int64_t at_us);
// An id: a decimal number as a string (INTERFACE.md, HTTP admin).
void json_id(struct json *json, int64_t id);

void json_key_str(struct json *json, const char *key, struct str s);
void json_key_int(struct json *json, const char *key, int64_t n);
void json_key_bool(struct json *json, const char *key, bool b);
void json_key_time(struct json *json, const char *key, int64_t at_us);
void json_key_id(struct json *json, const char *key, int64_t id);

// Strict reading (RFC 8259, no extensions; depth is bounded by the size limit of the text). NULL when it
// is not JSON. The caller frees it with yyjson_doc_free.
yyjson_doc *json_read(struct str text);
// The text at `key`, or STR_NONE when there is none or it is no string. Borrowed from the document.
struct str json_get_str(yyjson_val *object, const char *key);
// The integer at `key`; false when there is none, or it is no integer of 64 bits.
bool json_get_int(yyjson_val *object, const char *key, int64_t *out);
struct str json_val_str(yyjson_val *value);
