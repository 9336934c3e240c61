// Attachments: files that come in base64, addresses that are fetched, and what is given of both under an address of this origin.
//
// What is to be fetched stands under the address that was given until it is here, with a size of 0. What cannot be had stays so.
#include "sandbox/intercom.h"

#include "base/log.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum { FETCH_MS = 20000, SIGNATURE = 16 };

// An address on its way: that of attachment number `index` of a part, or of the first message.
struct intercom_file_fetch {
    struct intercom_file_fetch *prev, *next;
    struct intercom *intercom;
    int64_t conversation, part; // part 0: the first message
    size_t index;
    struct str url; // owned
    struct http_call *call;
};

// ---- a list as JSON ----

// "a b.png" of https://files.example/x/a%20b.png?y
static struct str name_in(struct arena *arena, struct str url)
{
    struct str path = str_sub(url, 0, str_index(url, '?', 0));
    size_t slash = path.n;
    while (slash > 0 && path.p[slash - 1] != '/')
        slash--;
    struct str name = http_unescape(arena, str_sub(path, slash, path.n));
    return name.n ? name : STR("file");
}

static void write_attachment(struct json *json, struct str name, struct str url, struct str mime, int64_t size)
{
    json_open(json, '{');
    json_key_str(json, "type", STR("upload"));
    json_key_str(json, "name", name);
    json_key_str(json, "url", url);
    json_key_str(json, "content_type", mime);
    json_key_int(json, "filesize", size);
    json_close(json, '}');
}

static void write_kept(struct json *json, const struct intercom *intercom, const struct file *file)
{
    struct arena arena = {0};
    struct str name = file->name.n ? file->name : STR("file");
    struct str url = arena_printf(&arena, "%.*s/files/%s/%.*s?signature=%.*s",
                                  STR_ARG(door_url(intercom->door, &arena)), file->id,
                                  STR_ARG(http_escape(&arena, name)), SIGNATURE, file->hash);
    write_attachment(json, name, url, file->mime, (int64_t)file->bytes.n);
    arena_done(&arena);
}

static void write_uploaded(struct json *json, struct intercom *intercom, yyjson_val *each)
{
    struct arena arena = {0};
    struct str bytes = file_from_base64(json_get_str(each, "data"), &arena);
    write_kept(json, intercom,
               files_add(intercom->files, bytes, json_get_str(each, "name"), json_get_str(each, "content_type")));
    arena_done(&arena);
}

bool intercom_has_attachments(struct call *call)
{
    return yyjson_arr_size(yyjson_obj_get(call->body, "attachment_urls")) +
               yyjson_arr_size(yyjson_obj_get(call->body, "attachment_files")) >
           0;
}

const char *intercom_wrong_file(yyjson_val *each)
{
    struct str data = json_get_str(each, "data");
    static const char signs[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!json_get_str(each, "name").n || !json_get_str(each, "content_type").n)
        return "must hold objects with name, content_type and data";
    size_t end = data.n;
    while (end > 0 && data.n - end < 2 && data.p[end - 1] == '=')
        end--;
    bool good = data.n > 0 && data.n % 4 == 0 && strspn(str_chars(data), signs) == end;
    return good ? NULL : "data must be base64";
}

struct str intercom_attachments(struct call *call)
{
    struct intercom *intercom = call->door->arg;
    yyjson_val *each;
    size_t i, n;
    struct buf text;
    if (!intercom_has_attachments(call))
        return STR_NONE;
    buf_init(&text, 1 << 20);
    struct json json = {.out = &text};
    json_open(&json, '[');
    yyjson_arr_foreach(yyjson_obj_get(call->body, "attachment_urls"), i, n, each)
    {
        struct str url = json_val_str(each);
        write_attachment(&json, name_in(call->arena, url), url, STR("application/octet-stream"), 0);
    }
    yyjson_arr_foreach(yyjson_obj_get(call->body, "attachment_files"), i, n, each)
        write_uploaded(&json, intercom, each);
    json_close(&json, ']');
    struct str copy = arena_str(call->arena, buf_str(&text));
    buf_done(&text);
    return copy;
}

// ---- addresses that are fetched ----

// Where the list of a part, or of the first message, stands; NULL: it is gone.
static struct str *list_of(struct intercom *intercom, int64_t conversation_id, int64_t part_id)
{
    struct intercom_conversation *conversation = intercom_conversation(intercom, conversation_id);
    if (!conversation || part_id == 0)
        return conversation ? &conversation->attachments : NULL;
    for (struct intercom_part *part = conversation->parts; part; part = part->next)
        if (part->id == part_id)
            return &part->attachments;
    return NULL;
}

static void replace(struct intercom *intercom, struct str *list, size_t index, const struct file *file)
{
    yyjson_doc *doc = json_read(*list);
    struct buf text;
    buf_init(&text, 1 << 20);
    struct json json = {.out = &text};
    size_t i, n;
    yyjson_val *each;
    json_open(&json, '[');
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, each)
    {
        int64_t size = 0;
        json_get_int(each, "filesize", &size);
        if (i == index)
            write_kept(&json, intercom, file);
        else
            write_attachment(&json, json_get_str(each, "name"), json_get_str(each, "url"),
                             json_get_str(each, "content_type"), size);
    }
    json_close(&json, ']');
    own_again(list, buf_str(&text));
    buf_done(&text);
    yyjson_doc_free(doc);
}

static void fetch_free(struct intercom_file_fetch *fetch)
{
    DL_DELETE(fetch->intercom->fetches, fetch);
    disown(&fetch->url);
    free(fetch);
}

static void on_fetched(void *arg, const struct http_response *response)
{
    struct intercom_file_fetch *fetch = arg;
    struct intercom *intercom = fetch->intercom;
    struct str *list = response->failure == HTTP_CANCELLED ? NULL : list_of(intercom, fetch->conversation, fetch->part);
    struct arena arena = {0};
    if (list && list->p && response->status == 200) {
        struct str type = http_header_get(response->headers, response->header_count, "content-type");
        replace(intercom, list, fetch->index,
                files_add(intercom->files, response->body, name_in(&arena, fetch->url), type));
        live_changed(intercom->door->live);
    } else if (list) {
        log_warn("attachment_not_fetched", LOG_N("status", response->status), LOG_S("error", response->error));
    }
    arena_done(&arena);
    fetch_free(fetch);
}

static bool is_own(const struct intercom *intercom, struct str url)
{
    struct arena arena = {0};
    struct str base = arena_printf(&arena, "%.*s/files/", STR_ARG(door_url(intercom->door, &arena)));
    bool own_url = str_starts(url, base);
    arena_done(&arena);
    return own_url;
}

void intercom_fetch_attachments(struct intercom *intercom, int64_t conversation, int64_t part)
{
    const struct str *list = list_of(intercom, conversation, part);
    yyjson_doc *doc = list && list->p ? json_read(*list) : NULL;
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, each)
    {
        struct str url = json_get_str(each, "url");
        if (is_own(intercom, url))
            continue;
        struct intercom_file_fetch *fetch = mem_new_of(struct intercom_file_fetch);
        struct http_request request = {.method = STR("GET"), .target = url};
        *fetch = (struct intercom_file_fetch){
            .intercom = intercom, .conversation = conversation, .part = part, .index = i, .url = own(url)};
        DL_APPEND(intercom->fetches, fetch);
        fetch->call = http_client_send(intercom->client, &request, FETCH_MS, on_fetched, fetch);
    }
    yyjson_doc_free(doc);
}

void intercom_fetches_end(struct intercom *intercom)
{
    while (intercom->fetches)
        http_call_cancel(intercom->fetches->call);
}

// ---- the bytes ----

void intercom_file(struct intercom *intercom, struct call *call)
{
    struct file *file = files_find(intercom->files, call_segment(call, 1));
    struct str signature = call_query(call, "signature");
    bool get = str_eq_c(call->request->method, "GET");
    if (!file || !get || call->segment_count != 3)
        intercom_error(call, 404, "not_found", "The requested resource was not found", NULL);
    else if (!str_eq(signature, str_sub(str_of(file->hash), 0, SIGNATURE)) || !call_opens_file(call, &file->spent))
        intercom_error(call, 403, "forbidden", "The signature is wrong, or the address has expired", NULL);
    else
        call_answer_file(call, file->bytes, file->mime);
}
