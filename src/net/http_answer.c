#include "net/http_answer.h"

#include "base/json.h"
#include "base/must.h"
#include "net/http_server.h"

#include <string.h>

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Other";
}

bool answer_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

static struct str date_text(struct answer_date *date)
{
    time_t now = time(NULL);
    if (now != date->at) {
        struct tm tm;
        gmtime_r(&now, &tm);
        // LC_TIME is never set in this program: the names are English.
        strftime(date->text, sizeof date->text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        date->at = now;
    }
    return str_of(date->text);
}

static void add_header(struct buf *out, struct str name, struct str value)
{
    buf_add_str(out, name);
    buf_add_str(out, STR(": "));
    size_t at = out->n;
    buf_add_str(out, value);
    // A value may hold text from outside; a line break in it would be a header of the peer's making.
    for (; !out->failed && at < out->n; at++)
        if ((unsigned char)out->p[at] < ' ' || out->p[at] == 0x7f)
            out->p[at] = ' ';
    buf_add_str(out, STR("\r\n"));
}

static void add_length(struct buf *out, const struct answer *answer)
{
    if (answer->length == ANSWER_CHUNKED) {
        buf_add_str(out, STR("Transfer-Encoding: chunked\r\n"));
    } else if (answer->length >= 0 && answer_has_body(answer->status)) {
        buf_add_str(out, STR("Content-Length: "));
        buf_add_int(out, answer->length);
        buf_add_str(out, STR("\r\n"));
    }
}

void answer_write_head(struct buf *out, const struct answer *answer, struct answer_date *date)
{
    must(answer->status >= 200 && answer->status <= 599);
    buf_add_str(out, STR("HTTP/1.1 "));
    buf_add_int(out, answer->status);
    buf_add_str(out, STR(" "));
    buf_add_str(out, str_of(http_status_text(answer->status)));
    buf_add_str(out, STR("\r\n"));
    add_header(out, STR("Date"), date_text(date));
    if (answer->content_type.p)
        add_header(out, STR("Content-Type"), answer->content_type);
    for (size_t i = 0; i < answer->header_count; i++)
        add_header(out, answer->headers[i].name, answer->headers[i].value);
    add_length(out, answer);
    if (answer->close)
        buf_add_str(out, STR("Connection: close\r\n"));
    else if (answer->keep)
        buf_add_str(out, STR("Connection: keep-alive\r\n"));
    buf_add_str(out, STR("\r\n"));
}

void answer_write_problem(struct buf *out, int status, const char *why)
{
    struct json json = {.out = out};
    json_open(&json, '{');
    json_key_str(&json, "type", STR("about:blank"));
    json_key_str(&json, "title", str_of(http_status_text(status)));
    json_key_int(&json, "status", status);
    if (why)
        json_key_str(&json, "detail", str_of(why));
    json_close(&json, '}');
}
