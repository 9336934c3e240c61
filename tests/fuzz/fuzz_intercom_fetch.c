// Whatever Intercom shows as a conversation: what is taken of it has a name and a time, in order, and something to say.
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/must.h"
#include "desk/desk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_attachments(struct str attachments)
{
    size_t i, n;
    yyjson_val *each;
    yyjson_doc *doc = json_read(attachments);
    yyjson_val *list = yyjson_doc_get_root(doc);
    must(yyjson_arr_size(list) > 0);
    yyjson_arr_foreach(list, i, n, each)
    {
        must(json_get_str(each, "kind").n);
        must(str_starts(json_get_str(each, "url"), STR("http")));
    }
    yyjson_doc_free(doc);
}

static void check_part(const struct desk_part *part, const struct desk_part *before)
{
    must(part->id.n >= 1 && part->id.n <= 128 + 7 && part->created_s > 0 && !part->ours);
    must(part->html.p && part->updated_s >= part->created_s);
    must(part->redacted ? !part->html.n && !part->attachments.p : part->html.n || part->attachments.n);
    must(!before || before->created_s <= part->created_s);
    if (part->attachments.p)
        check_attachments(part->attachments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct account account = {.desk = {.platform = STR("intercom"), .token = STR("t")}};
    struct arena arena = {0};
    struct desk_fetch fetch = {
        .account = &account, .conversation = STR("499"), .arena = &arena, .now_us = 1734537700000000};
    struct http_request request;
    struct http_response response = {.status = 200, .written = true, .body = {(const char *)data, size}};
    must(desk_intercom.fetch(&fetch, NULL, &request));
    must(!desk_intercom.fetch(&fetch, &response, &request));
    must(fetch.verdict.kind == VERDICT_DELIVERED || (fetch.verdict.kind == VERDICT_RETRY && !fetch.part_count));
    must(!fetch.gone && fetch.contact.n <= 128);
    for (size_t i = 0; i < fetch.part_count; i++)
        check_part(&fetch.parts[i], i ? &fetch.parts[i - 1] : NULL);
    arena_done(&arena);
    return 0;
}
