// The small readers: header values, numbers and times, percent-encoding, what the relay keeps as text. What is read, written and
// read again is the same; what is made has nothing in it that its place does not take; a range lies within the file.
// FUZZ: -max_len=300
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/admin_token.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/must.h"
#include "base/time_text.h"
#include "desk/intercom.h"
#include "fuzz/input.h"
#include "model/attachment.h"
#include "model/verdict.h"
#include "relay/media_door.h"
#include "relay/trouble_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t now_us = INT64_C(1700000000000000);

// Numbers and times ----------------------------------------------------------------------------------------

static void check_number(struct str text, struct arena *arena)
{
    int64_t number;
    char digits[STR_I64_SIZE], *end;
    if (!str_to_i64(text, &number))
        return;
    must(strtoll(arena_str(arena, text).p, &end, 10) == number && !*end);
    int64_t again;
    must(str_to_i64(str_of_i64(number, digits), &again) && again == number);
}

static void check_time(struct str text)
{
    int64_t at_us, again_us;
    char out[TIME_TEXT_SIZE];
    if (!time_parse(text, &at_us))
        return;
    struct str shown = time_text(at_us, out);
    must(shown.n < TIME_TEXT_SIZE);
    if (at_us >= 0 && at_us < INT64_C(253402300800000000)) // to the year 9999
        must(time_parse(shown, &again_us) && again_us == at_us - at_us % 1000);
}

static void check_headers(struct str text)
{
    struct http_header headers[] = {{STR("Retry-After"), text}, {STR("Date"), text}};
    struct http_response response = {.headers = headers, .header_count = 2};
    int64_t after_us = verdict_retry_after(&response, now_us);
    must(!after_us || (after_us > now_us && after_us <= now_us + INT64_C(3600000000)));
    (void)verdict_date_s(&response);
}

// HTTP -----------------------------------------------------------------------------------------------------

static void check_range(struct str text)
{
    static const int64_t sizes[] = {0, 1, 10, 5000, INT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t from = -1, n = -1;
        if (media_range_read(text, sizes[i], &from, &n) == MEDIA_RANGE_PART)
            must(from >= 0 && n > 0 && from < sizes[i] && n <= sizes[i] - from);
    }
}

static void check_name(struct str text, struct arena *arena)
{
    bool is_shown;
    struct str value = media_disposition(text, false, arena);
    for (size_t i = 0; i < value.n; i++)
        must(value.p[i] >= ' ' && value.p[i] < 0x7f);
    size_t quotes = 0;
    for (size_t i = 0; i < value.n; i++)
        quotes += value.p[i] == '"';
    must(quotes == 0 || quotes == 2);
    struct str type = media_shown_type(text, &is_shown);
    for (size_t i = 0; i < type.n; i++)
        must(type.p[i] >= ' ' && type.p[i] < 0x7f); // "text/plain; charset=utf-8" has a space
    must(!is_shown || (!memmem(type.p, type.n, "html", 4) && !memmem(type.p, type.n, "svg", 3) &&
                       !memmem(type.p, type.n, "xml", 3)));
}

static void check_escapes(struct str text, struct arena *arena)
{
    struct str escaped = http_escape(arena, text);
    for (size_t i = 0; i < escaped.n; i++)
        must(escaped.p[i] > ' ' && escaped.p[i] < 0x7f && !strchr("&=?#/+\"<>", escaped.p[i]));
    if (!memchr(str_chars(text), 0, text.n)) {
        must(str_eq(http_unescape(arena, escaped), text));
        struct str query = ARENA_JOIN(arena, STR("x=1&name="), escaped, STR("&y=2"));
        must(str_eq(http_query_get(arena, query, "name"), text));
    }
    struct str plain = http_unescape(arena, text);
    must(plain.n <= text.n);
    (void)http_query_get(arena, text, "name");
    must(http_media_type(text).n <= text.n);
    struct str shown = http_shown_url(arena, text);
    must(!memchr(str_chars(shown), '?', shown.n) && !memchr(str_chars(shown), '#', shown.n));
}

static void check_json_text(struct str text)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    struct json json = {.out = &out, .for_screen = text.n % 2};
    json_open(&json, '[');
    json_str(&json, text);
    json_close(&json, ']');
    buf_must(&out);
    must(str_is_utf8(buf_str(&out)));
    yyjson_doc *doc = json_read(buf_str(&out));
    struct str again = json_val_str(yyjson_arr_get_first(yyjson_doc_get_root(doc)));
    must(doc && (!str_is_utf8(text) || str_eq(again, text)));
    yyjson_doc_free(doc);
    buf_done(&out);
}

// Kept texts -----------------------------------------------------------------------------------------------

static bool is_one_line(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ')
            return false;
    return true;
}

static void check_note(struct str text, struct arena *arena)
{
    struct intercom_note note = intercom_note_read(text);
    struct str written = intercom_note_write(&note, arena);
    struct intercom_note again = intercom_note_read(written);
    must(str_eq(intercom_note_write(&again, arena), written));
    intercom_note_add_old(&again, text, arena);
    struct str longer = intercom_note_write(&again, arena);
    must(longer.n < 4096);
    again = intercom_note_read(longer);
    must(str_eq(intercom_note_write(&again, arena), longer));
}

static void on_lane(void *arg, int64_t lane)
{
    ++*(size_t *)arg;
    must(lane > 0);
}

static void check_trouble_file(struct str text)
{
    static int fd = -1;
    char path[64];
    size_t lanes = 0;
    if (fd < 0)
        fd = memfd_create("trouble", MFD_CLOEXEC);
    must(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, str_chars(text), text.n, 0) == (ssize_t)text.n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    trouble_file_read(path, on_lane, &lanes);
    must(lanes <= text.n / 4);
}

static char token_directory[64];

static void remove_token(void)
{
    char path[80];
    snprintf(path, sizeof path, "%s/admin.token", token_directory);
    unlink(path);
    rmdir(token_directory);
}

static void check_token_file(struct str text, struct arena *arena)
{
    const char *tmp = getenv("TMPDIR"), *why = NULL;
    char path[80], store[80];
    if (!*token_directory) {
        snprintf(token_directory, sizeof token_directory, "%.40s/tokens-XXXXXX", tmp ? tmp : "/tmp");
        must(mkdtemp(token_directory) && atexit(remove_token) == 0);
    }
    snprintf(path, sizeof path, "%s/admin.token", token_directory);
    snprintf(store, sizeof store, "%s/store.db", token_directory);
    FILE *file = fopen(path, "we");
    must(file && fwrite(str_chars(text), 1, text.n, file) == text.n && fclose(file) == 0 && chmod(path, 0600) == 0);
    struct str token, shown_path;
    if (admin_token_get(str_of(store), arena, &token, &shown_path, &why) == ERR_OK)
        must(token.n && memmem(text.p, text.n, token.p, token.n) && !memchr(token.p, '\n', token.n));
    else
        must(why && *why);
}

static void check_base64(struct str text, struct arena *arena)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = (size_t)base64_size((int64_t)text.n), at = 0;
    char *out = arena_alloc(arena, n + 1), back[1024] = {0};
    base64_encode(str_chars(text), text.n, out);
    must(n % 4 == 0);
    for (size_t i = 0; i < n; i += 4) {
        unsigned bits = 0;
        for (size_t k = 0; k < 4; k++)
            bits = bits << 6 | (out[i + k] == '=' ? 0 : (unsigned)(strchr(letters, out[i + k]) - letters));
        for (int k = 2; k >= 0 && at < text.n && at < sizeof back; k--)
            back[at++] = (char)(bits >> (8 * k));
    }
    must(memcmp(back, str_chars(text), at) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct str text = {(const char *)data, size};
    check_number(text, &arena);
    check_time(text);
    check_headers(text);
    check_range(text);
    check_name(text, &arena);
    check_escapes(text, &arena);
    check_json_text(text);
    if (is_one_line(text)) // as all that we write, and the ids in it
        check_note(text, &arena);
    if (size && data[0] >= '0' && data[0] <= '9')
        check_trouble_file(text);
    check_base64(text, &arena);
    if (size && size % 16 == 0)
        check_token_file(text, &arena);
    arena_done(&arena);
    return 0;
}
