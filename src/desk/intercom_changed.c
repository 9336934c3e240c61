// Conversations that changed since a time, for those whose notification was lost. The search offers no order (description 2.16,
// search_request), so what is more than can be read at a time is halved in time, and the caller goes on from there.
#include "desk/intercom.h"

#include <inttypes.h>

enum { PAGE = 150, PAGES_MAX = 100, CURSOR_MAX = 4096 };

struct changed {
    int64_t begun_s;  // by our clock or the desk's, whichever is behind
    int64_t before_s; // changed before then; 0 = there is no such bound
    struct str *ids;
    size_t room;
};

static struct changed *begin(struct desk_search *search)
{
    struct changed *changed = arena_of(search->arena, struct changed);
    changed->begun_s = search->now_us / 1000000;
    return changed;
}

static void see_clock(struct changed *changed, const struct http_response *response)
{
    int64_t theirs_s = verdict_date_s(response);
    if (theirs_s > 0 && theirs_s < changed->begun_s)
        changed->begun_s = theirs_s;
}

static void write_filter(struct json *json, const char *operator, int64_t value_s)
{
    json_open(json, '{');
    json_key_str(json, "field", STR("updated_at"));
    json_key_str(json, "operator", str_of(operator));
    json_key_int(json, "value", value_s);
    json_close(json, '}');
}

static void open_group(struct json *json, const char *operator)
{
    json_open(json, '{');
    json_key_str(json, "operator", str_of(operator));
    json_key(json, "value");
    json_open(json, '[');
}

static void close_group(struct json *json)
{
    json_close(json, ']');
    json_close(json, '}');
}

// Contacts are searched by days, and ">" begins with the next one then; "=" holds this day, or this second, as the case may be.
static void write_query(struct json *json, const struct desk_search *search, const struct changed *changed)
{
    if (changed->before_s)
        open_group(json, "AND");
    open_group(json, "OR");
    write_filter(json, ">", search->since_s - 1);
    write_filter(json, "=", search->since_s);
    close_group(json);
    if (changed->before_s) {
        open_group(json, "AND"); // a group holds groups, or filters
        write_filter(json, "<", changed->before_s);
        close_group(json);
        close_group(json);
    }
}

static void send(struct desk_search *search, const struct changed *changed, struct http_request *out_request)
{
    struct buf buf;
    buf_init(&buf, 65536);
    struct json json = {.out = &buf};
    json_open(&json, '{');
    json_key(&json, "query");
    write_query(&json, search, changed);
    json_key(&json, "pagination");
    json_open(&json, '{');
    json_key_int(&json, "per_page", PAGE);
    if (search->cursor.n)
        json_key_str(&json, "starting_after", search->cursor);
    json_close(&json, '}');
    json_close(&json, '}');
    buf_must(&buf);
    struct str body = arena_str(search->arena, buf_str(&buf));
    buf_done(&buf);
    intercom_request(&search->account->desk, search->arena, "POST", STR("/conversations/search"), body, out_request);
}

static void add(struct desk_search *search, struct changed *changed, struct str id)
{
    if (search->conversation_count == changed->room) {
        changed->room = changed->room ? 2 * changed->room : PAGE;
        struct str *more = arena_alloc(search->arena, changed->room * sizeof *more);
        if (search->conversation_count)
            memcpy(more, changed->ids, search->conversation_count * sizeof *more);
        search->conversations = changed->ids = more;
    }
    changed->ids[search->conversation_count++] = id;
}

static void take_conversation(struct desk_search *search, struct changed *changed, yyjson_val *conversation)
{
    int64_t updated_s;
    if (json_get_int(conversation, "updated_at", &updated_s) && updated_s < search->since_s)
        return;
    struct str id = intercom_id(yyjson_obj_get(conversation, "id"), search->arena);
    if (id.n)
        add(search, changed, id);
}

// False when it is none.
static bool take_page(struct desk_search *search, struct str body)
{
    yyjson_doc *doc = json_read(body);
    yyjson_val *page = yyjson_doc_get_root(doc), *list = yyjson_obj_get(page, "conversations"), *each;
    size_t i, n;
    struct str cursor = json_get_str(yyjson_obj_get(yyjson_obj_get(page, "pages"), "next"), "starting_after");
    bool readable = yyjson_is_arr(list) && cursor.n <= CURSOR_MAX;
    yyjson_arr_foreach(list, i, n, each)
    {
        take_conversation(search, search->state, each);
    }
    search->cursor = readable ? arena_str(search->arena, cursor) : STR_NONE;
    yyjson_doc_free(doc);
    return readable;
}

// What changed up to halfway is looked for, from the first page on. False when there is no half: all was of one second.
static bool halve(struct desk_search *search, struct changed *changed)
{
    int64_t end_s = changed->before_s ? changed->before_s : changed->begun_s;
    int64_t span_s = end_s - search->since_s;
    if (span_s < 2)
        return false;
    changed->before_s = search->since_s + span_s / 2;
    search->conversation_count = 0;
    search->cursor = STR_NONE;
    search->phase = 0;
    return true;
}

// Whether another page, or another search of half the time, has to be read.
static bool goes_on(struct desk_search *search, struct changed *changed)
{
    search->phase++;
    return search->cursor.n && (search->phase < PAGES_MAX || halve(search, changed));
}

// `phase`: the pages that were read.
bool intercom_changed(struct desk_search *search, const struct http_response *last, struct http_request *out_request)
{
    if (!search->state)
        search->state = begin(search);
    struct changed *changed = search->state;
    if (last) {
        search->verdict = intercom_verdict(last, false, search->now_us, search->arena);
        if (search->verdict.kind == VERDICT_DELIVERED && !take_page(search, last->body))
            search->verdict = verdict_unreadable(last, false, INTERCOM_UNREADABLE);
        if (search->verdict.kind != VERDICT_DELIVERED)
            return false;
        see_clock(changed, last);
        if (!goes_on(search, changed)) {
            search->until_s = changed->before_s ? changed->before_s : changed->begun_s;
            return false;
        }
    }
    send(search, changed, out_request);
    return true;
}
