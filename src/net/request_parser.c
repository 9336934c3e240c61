// The order of events: llhttp calls on_method, on_target, on_version, then on_name and on_value for each header (each possibly
// in several pieces), on_head, on_body in pieces, on_whole. A piece ends where the slice ends; it is copied into the draft's
// arena at once, so that the slice may be any buffer.
//
// Limits hold on raw bytes too: in the head no slice given to llhttp goes beyond max_head, and what a chunked body
// spends beside the body (sizes, extensions, trailers) is bounded by it.
#include "net/request_parser.h"

#include "base/must.h"

#include <string.h>

enum {
    FIRST_HEADERS = 16,
    FIRST_TEXT = 1024,
    FIRST_BODY = 64 * 1024,     // room made at once for a declared body; the rest as it comes
    CHUNK_OVERHEAD = 16 * 1024, // bytes beside a chunked body: this, and
    CHUNK_OVERHEAD_FACTOR = 16, // this many times the body
    LENGTH_DIGITS = 19,         // of a Content-Length; INT64_MAX has as many
};

void request_draft_done(struct request_draft *draft)
{
    buf_done(&draft->body);
    arena_done(&draft->arena);
}

// ---- refusing

static int refuse(struct request_parser *parser, int status, const char *why)
{
    if (parser->phase != PHASE_REFUSED) {
        parser->status = status;
        parser->why = why;
    }
    parser->phase = PHASE_REFUSED;
    return HPE_USER;
}

static int out_of_memory(struct request_parser *parser)
{
    return refuse(parser, 503, "The server is short of memory.");
}

// ---- text into the draft

static bool make_text_room(struct request_draft *draft, struct str *span, size_t more)
{
    if (more <= draft->text_room)
        return true;
    size_t room = 2 * (span->n + more);
    if (room < FIRST_TEXT)
        room = FIRST_TEXT;
    char *text = arena_try(&draft->arena, room);
    if (!text)
        return false;
    if (span->n)
        memcpy(text, span->p, span->n);
    span->p = text;
    draft->text = text + span->n;
    draft->text_room = room - span->n;
    return true;
}

static bool add_to_span(struct request_parser *parser, const char *p, size_t n)
{
    struct request_draft *draft = parser->draft;
    if (!parser->span.p)
        parser->span = (struct str){draft->text ? draft->text : "", 0};
    if (n == 0)
        return true;
    if (!make_text_room(draft, &parser->span, n))
        return false;
    memcpy(draft->text, p, n);
    draft->text += n;
    draft->text_room -= n;
    parser->span.n += n;
    return true;
}

static struct str end_span(struct request_parser *parser)
{
    struct str whole = parser->span.p ? parser->span : STR("");
    parser->span = STR_NONE;
    return whole;
}

static size_t position(const struct request_parser *parser, const char *p)
{
    return parser->at + (size_t)(p - parser->slice);
}

// ---- request line

static int on_begin(llhttp_t *llhttp)
{
    struct request_parser *parser = llhttp->data;
    parser->phase = PHASE_HEAD;
    return HPE_OK;
}

static int on_method(llhttp_t *llhttp, const char *p, size_t n)
{
    struct request_parser *parser = llhttp->data;
    parser->method_end = position(parser, p + n);
    return HPE_OK;
}

static int on_target(llhttp_t *llhttp, const char *p, size_t n)
{
    struct request_parser *parser = llhttp->data;
    if (!parser->span.p && position(parser, p) != parser->method_end + 1)
        return refuse(parser, 400, "The request line must have single spaces.");
    if (parser->span.n + n > parser->limits->max_target)
        return refuse(parser, 414, "The request target is too long.");
    if (!add_to_span(parser, p, n))
        return out_of_memory(parser);
    parser->target_end = position(parser, p + n);
    return HPE_OK;
}

static int on_target_end(llhttp_t *llhttp)
{
    struct request_parser *parser = llhttp->data;
    parser->draft->request.target = end_span(parser);
    return HPE_OK;
}

// llhttp takes "RTSP/1.0", too, and does not tell. Called with what has been read of the slice: the letter may be in an earlier one
// than the version.
static void note_protocol(struct request_parser *parser, size_t n)
{
    size_t at = parser->target_end + 1;
    if (parser->target_end && at >= parser->at && at < parser->at + n)
        parser->protocol = parser->slice[at - parser->at];
}

static int on_version(llhttp_t *llhttp, const char *p, size_t n)
{
    struct request_parser *parser = llhttp->data;
    (void)n;
    if (parser->version_at)
        return HPE_OK; // a later piece of it
    note_protocol(parser, (size_t)(p - parser->slice));
    parser->version_at = position(parser, p);
    if (parser->version_at != parser->target_end + strlen(" HTTP/"))
        return refuse(parser, 400, "The request line must have single spaces.");
    return HPE_OK;
}

// ---- headers; those behind the body (trailers) are bounded by overhead_fits and ignored

static bool in_trailers(const struct request_parser *parser)
{
    return parser->phase != PHASE_HEAD;
}

static int on_name(llhttp_t *llhttp, const char *p, size_t n)
{
    struct request_parser *parser = llhttp->data;
    if (in_trailers(parser))
        return HPE_OK;
    parser->name_end = position(parser, p + n);
    return add_to_span(parser, p, n) ? HPE_OK : out_of_memory(parser);
}

static bool make_header_room(struct request_draft *draft)
{
    if (draft->request.header_count < draft->header_room)
        return true;
    size_t room = draft->header_room ? 2 * draft->header_room : FIRST_HEADERS;
    struct http_header *headers = arena_try(&draft->arena, room * sizeof *headers);
    if (!headers)
        return false;
    if (draft->headers)
        memcpy(headers, draft->headers, draft->request.header_count * sizeof *headers);
    draft->headers = headers;
    draft->header_room = room;
    draft->request.headers = headers;
    return true;
}

static int on_name_end(llhttp_t *llhttp)
{
    struct request_parser *parser = llhttp->data;
    struct request_draft *draft = parser->draft;
    if (in_trailers(parser))
        return HPE_OK;
    if (draft->request.header_count == parser->limits->max_headers)
        return refuse(parser, 431, "There are too many header fields.");
    if (!make_header_room(draft))
        return out_of_memory(parser);
    draft->headers[draft->request.header_count++] = (struct http_header){end_span(parser), STR("")};
    return HPE_OK;
}

// A front that reads "Transfer-Encoding:<tab>chunked" as something unknown, and us as chunked, would differ on where the
// request ends. So what stands before the value may be one space, nothing else.
static bool plainly_spaced(const struct request_parser *parser, const char *value)
{
    size_t gap = position(parser, value) - parser->name_end; // the colon is in it
    char before = value > parser->slice ? value[-1] : parser->before;
    return gap == 1 || (gap == 2 && before == ' ');
}

static int on_value(llhttp_t *llhttp, const char *p, size_t n)
{
    struct request_parser *parser = llhttp->data;
    struct request_draft *draft = parser->draft;
    if (in_trailers(parser))
        return HPE_OK;
    struct str name = draft->headers[draft->request.header_count - 1].name;
    if (!parser->span.p && str_ieq_c(name, "transfer-encoding") && !plainly_spaced(parser, p))
        return refuse(parser, 400, "Transfer-Encoding must be written plainly.");
    return add_to_span(parser, p, n) ? HPE_OK : out_of_memory(parser);
}

static int on_value_end(llhttp_t *llhttp)
{
    struct request_parser *parser = llhttp->data;
    struct request_draft *draft = parser->draft;
    if (in_trailers(parser))
        return HPE_OK;
    draft->headers[draft->request.header_count - 1].value = str_trim(end_span(parser));
    return HPE_OK;
}

// ---- the whole head: each check refuses or returns 0

static int check_version(struct request_parser *parser, struct http_request *request)
{
    (void)request;
    if (parser->llhttp.http_major != 1)
        return refuse(parser, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    return HPE_OK;
}

static int check_method(struct request_parser *parser, struct http_request *request)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    request->method = str_of(llhttp_method_name(parser->llhttp.method));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq_c(request->method, known[i]))
            return HPE_OK;
    return refuse(parser, 405, "This method is not allowed.");
}

static int check_protocol(struct request_parser *parser, struct http_request *request)
{
    (void)request;
    if (parser->protocol != 'H')
        return refuse(parser, 505, "Only HTTP is spoken here.");
    return HPE_OK;
}

static int check_target(struct request_parser *parser, struct http_request *request)
{
    struct str target = request->target;
    bool star = str_eq_c(target, "*") && str_eq_c(request->method, "OPTIONS");
    if (!str_starts(target, STR("/")) && !star)
        return refuse(parser, 400, "The request target must be a path.");
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] >= 0x7f || target.p[i] == '#')
            return refuse(parser, 400, "The request target has a character that does not belong there.");
    size_t mark = str_index(target, '?', 0);
    request->path = str_sub(target, 0, mark);
    request->query = str_sub(target, mark + 1, target.n);
    return HPE_OK;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~%!$&'()*+,;=", c));
}

static bool is_port(struct str port)
{
    int64_t number = 0;
    return port.n == 0 || (port.n <= 5 && port.p[0] != '-' && str_to_i64(port, &number) && number <= 65535);
}

static bool is_host(struct str host)
{
    size_t end = 0; // of the name
    if (str_starts(host, STR("["))) {
        end = str_index(host, ']', 1) + 1;
        if (end > host.n || end < 4)
            return false;
        for (size_t i = 1; i + 1 < end; i++)
            if (!strchr("0123456789abcdefABCDEF:.", host.p[i]))
                return false;
    } else {
        while (end < host.n && is_host_char(host.p[end]))
            end++;
    }
    return end > 0 && (end == host.n || (host.p[end] == ':' && is_port(str_sub(host, end + 1, host.n))));
}

static int check_host(struct request_parser *parser, struct http_request *request)
{
    size_t count = http_header_count(request->headers, request->header_count, "host");
    if (count > 1 || (count == 0 && parser->llhttp.http_minor > 0))
        return refuse(parser, 400, "There must be one Host header.");
    if (count == 1 && !is_host(http_header_get(request->headers, request->header_count, "host")))
        return refuse(parser, 400, "The Host header is not a host.");
    return HPE_OK;
}

// llhttp has refused two lengths, lengths that are no number or beyond 64 bits, and length with Transfer-Encoding.
static int check_length(struct request_parser *parser, struct http_request *request)
{
    struct str length = http_header_get(request->headers, request->header_count, "content-length");
    int64_t number = 0;
    if (length.p && (length.n > LENGTH_DIGITS || !str_to_i64(length, &number) || number < 0))
        return refuse(parser, 400, "Content-Length is out of range.");
    return HPE_OK;
}

static int check_transfer_encoding(struct request_parser *parser, struct http_request *request)
{
    size_t count = http_header_count(request->headers, request->header_count, "transfer-encoding");
    if (count == 0)
        return HPE_OK;
    if (count > 1 || parser->llhttp.http_minor == 0)
        return refuse(parser, 400, "Transfer-Encoding is not acceptable here.");
    if (!str_ieq_c(http_header_get(request->headers, request->header_count, "transfer-encoding"), "chunked"))
        return refuse(parser, 501, "The only transfer coding spoken here is chunked.");
    return HPE_OK;
}

static int check_content_encoding(struct request_parser *parser, struct http_request *request)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (str_ieq_c(request->headers[i].name, "content-encoding") &&
            !str_ieq_c(request->headers[i].value, "identity"))
            return refuse(parser, 415, "A compressed body is not accepted.");
    return HPE_OK;
}

static int check_expect(struct request_parser *parser, struct http_request *request)
{
    size_t count = http_header_count(request->headers, request->header_count, "expect");
    if (count == 0)
        return HPE_OK;
    if (count > 1 || !str_ieq_c(http_header_get(request->headers, request->header_count, "expect"), "100-continue"))
        return refuse(parser, 417, "This expectation cannot be met.");
    parser->expects_continue = parser->llhttp.http_minor > 0;
    return HPE_OK;
}

static int check_owner(struct request_parser *parser, struct http_request *request)
{
    parser->max_body = parser->limits->max_body;
    int status = parser->head ? parser->head(parser->arg, request, &parser->max_body) : 0;
    return status ? refuse(parser, status, NULL) : HPE_OK;
}

static int check_size(struct request_parser *parser, struct http_request *request)
{
    (void)request;
    struct buf *body = &parser->draft->body;
    uint64_t length = parser->llhttp.content_length; // 0 when chunked
    buf_init(body, parser->max_body);
    if (length > parser->max_body)
        return refuse(parser, 413, "The body is too large.");
    if (length && buf_reserve(body, length < FIRST_BODY ? length : FIRST_BODY))
        return out_of_memory(parser);
    return HPE_OK;
}

static int on_head(llhttp_t *llhttp)
{
    static int (*const checks[])(struct request_parser * parser, struct http_request * request) = {
        check_version,           check_method,           check_protocol, check_target, check_host, check_length,
        check_transfer_encoding, check_content_encoding, check_expect,   check_owner,  check_size,
    };
    struct request_parser *parser = llhttp->data;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (checks[i](parser, &parser->draft->request))
            return -1;
    llhttp->upgrade = 0; // an offer to speak something else is not taken up
    parser->phase = PHASE_BODY;
    return HPE_OK;
}

// ---- body

// `p` is how far the request has been read. Checked before each piece of the body, at the end of each slice and of the
// request: whether a request passes does not depend on how it was cut.
static bool overhead_fits(const struct request_parser *parser, const char *p)
{
    size_t body = parser->draft->body.n;
    return position(parser, p) - body <= parser->limits->max_head + CHUNK_OVERHEAD + CHUNK_OVERHEAD_FACTOR * body;
}

static int refuse_overhead(struct request_parser *parser)
{
    return refuse(parser, 400, "There is too much beside the body.");
}

// A chunk is refused by its size, before it is sent.
static int on_chunk(llhttp_t *llhttp)
{
    struct request_parser *parser = llhttp->data;
    if (llhttp->content_length > parser->max_body - parser->draft->body.n)
        return refuse(parser, 413, "The body is too large.");
    return HPE_OK;
}

static int on_body(llhttp_t *llhttp, const char *p, size_t n)
{
    struct request_parser *parser = llhttp->data;
    struct buf *body = &parser->draft->body;
    if (!overhead_fits(parser, p))
        return refuse_overhead(parser);
    int err = buf_add(body, p, n);
    if (err == ERR_TOO_LARGE)
        return refuse(parser, 413, "The body is too large.");
    return err ? out_of_memory(parser) : HPE_OK;
}

static int on_whole(llhttp_t *llhttp)
{
    struct request_parser *parser = llhttp->data;
    parser->draft->request.body = buf_str(&parser->draft->body);
    parser->keep_alive = llhttp_should_keep_alive(llhttp);
    parser->phase = PHASE_WHOLE;
    return HPE_PAUSED;
}

// ---- the outside

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_method = on_method,
    .on_url = on_target,
    .on_url_complete = on_target_end,
    .on_version = on_version,
    .on_header_field = on_name,
    .on_header_field_complete = on_name_end,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_head,
    .on_chunk_header = on_chunk,
    .on_body = on_body,
    .on_message_complete = on_whole,
};

void request_parser_init(struct request_parser *parser, const struct request_limits *limits,
                         int (*head)(void *arg, const struct http_request *request, size_t *max_body), void *arg)
{
    *parser = (struct request_parser){.limits = limits, .head = head, .arg = arg};
    llhttp_init(&parser->llhttp, HTTP_REQUEST, &settings);
    parser->llhttp.data = parser;
}

void request_parser_next(struct request_parser *parser)
{
    must(parser->phase == PHASE_WHOLE && parser->keep_alive);
    struct request_parser fresh = {
        .llhttp = parser->llhttp, .limits = parser->limits, .head = parser->head, .arg = parser->arg};
    llhttp_resume(&fresh.llhttp);
    *parser = fresh;
}

static int refuse_as_llhttp(struct request_parser *parser, llhttp_errno_t error)
{
    if (error == HPE_PAUSED_H2_UPGRADE)
        return refuse(parser, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    const char *why = llhttp_get_error_reason(&parser->llhttp);
    return refuse(parser, 400, why && *why ? why : "This is not an HTTP request.");
}

// Gives one slice to llhttp and returns how much of it was taken.
static size_t feed_slice(struct request_parser *parser, const char *slice, size_t n)
{
    parser->slice = slice;
    llhttp_errno_t error = llhttp_execute(&parser->llhttp, slice, n);
    if (error == HPE_PAUSED)
        n = (size_t)(llhttp_get_error_pos(&parser->llhttp) - slice);
    else if (error != HPE_OK)
        refuse_as_llhttp(parser, error); // a refusal of our own stands
    if (parser->phase >= PHASE_BODY && parser->phase != PHASE_REFUSED && !overhead_fits(parser, slice + n))
        refuse_overhead(parser);
    if (!parser->version_at)
        note_protocol(parser, n);
    parser->at += n;
    if (n)
        parser->before = slice[n - 1];
    return n;
}

enum request_phase request_parser_feed(struct request_parser *parser, const char *bytes, size_t n, size_t *out_used)
{
    size_t used = 0;
    must(parser->draft && parser->phase != PHASE_REFUSED);
    while (used < n && parser->phase < PHASE_WHOLE) {
        size_t slice = n - used;
        if (parser->phase < PHASE_BODY && slice > parser->limits->max_head - parser->at)
            slice = parser->limits->max_head - parser->at;
        if (slice > 0)
            used += feed_slice(parser, bytes + used, slice);
        else
            refuse(parser, 431, "The head of the request is too large.");
    }
    *out_used = used;
    return parser->phase;
}
