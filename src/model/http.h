// HTTP as plain data: what a connector reads and what it asks to be sent. No I/O here.
#pragma once
#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_header {
    struct str name, value;
};

// A piece of a body that is put together while it is sent: bytes, or a kept file (store/media_files.h), as it is or in base64.
struct http_part {
    struct str bytes;  // unless `file`
    struct str file;   // its hash; STR_NONE: `bytes`
    int64_t file_size; // of the file, bytes
    bool base64;
};

// Incoming: `target` is path and query as sent, `path` is its path still percent-encoded, `query` what
// stands after "?". Outgoing: `target` is an absolute URL, the others are unused; Host, Content-Length
// and User-Agent are the client's to add.
struct http_request {
    struct str method;
    struct str target;
    struct str path, query;
    const struct http_header *headers;
    size_t header_count;
    struct str body;
    const struct http_part
        *parts; // outgoing, in place of `body`: where a file is in it, which is never in memory as a whole
    size_t part_count;
};

// Why there is no answer.
enum http_failure {
    HTTP_ANSWERED,      // there is one: status, headers, body are set
    HTTP_NOT_CONNECTED, // no connection: refused, unreachable, DNS, connect timeout
    HTTP_TLS,           // the handshake or the certificate failed
    HTTP_TIMEOUT,       // no whole answer in time
    HTTP_DROPPED,       // the connection ended before a whole answer
    HTTP_RESENT,        // the library wanted to send the body a second time by itself, and was stopped
    HTTP_UNREADABLE,    // an answer that is no HTTP, or is over the limits (head 64 KiB, body as asked)
    HTTP_CANCELLED,     // we stopped it (shutdown)
    HTTP_UNSENDABLE,    // a file of the request's parts could not be read: the peer has not got the whole of it
};

struct http_response {
    enum http_failure failure;
    bool too_large; // HTTP_UNREADABLE: its body, by its length or in fact
    bool refused;   // HTTP_NOT_CONNECTED: an address that only public ones may stand for is not public
    bool written;   // the request may have reached the peer as a whole; an answer may come before that
    int status;     // 0 unless answered
    const struct http_header *headers;
    size_t header_count;
    struct str body;
    struct str error; // without an answer: the client's words, for people; never holds the URL
};

// The first header of that name (case does not matter), or STR_NONE.
struct str http_header_get(const struct http_header *headers, size_t count, const char *name);
// How many there are of that name.
size_t http_header_count(const struct http_header *headers, size_t count, const char *name);
// The media type of a Content-Type value, without parameters and spaces ("application/json").
struct str http_media_type(struct str content_type);
// A URL for people: without user, query and fragment, where secrets may stand.
struct str http_shown_url(struct arena *arena, struct str url);
// Percent-encoded for one path segment or query value (RFC 3986: everything but unreserved).
struct str http_escape(struct arena *arena, struct str text);
// Decoded once; STR_NONE when a % is not followed by two hex digits or a NUL would come out.
struct str http_unescape(struct arena *arena, struct str text);
// The decoded value of a query parameter, or STR_NONE. As forms and their libraries write it: "+" is a blank.
struct str http_query_get(struct arena *arena, struct str query, const char *name);
