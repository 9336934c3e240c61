// The profile picture of a customer: getUserProfilePhotos, which names it, then what is done for every file (telegram_fetch.c), unless it
// is the one that is known. Only of a chat with them alone, whose id is theirs; a picture that they show to some people is none here.
#include "platform/telegram.h"

enum {
    PHOTOS = 16, // the phase; telegram_fetch has its own, from 0
    SIDE = 320,  // pixels that are enough: of the sizes that Telegram has, the smallest with so many is taken
    NAME_MAX_BYTES = 256,
};

static void end(struct file_fetch *fetch, struct str picture, struct file_step *out)
{
    fetch->picture = picture;
    *out = (struct file_step){.kind = FILE_END, .verdict = {.kind = VERDICT_DELIVERED, .status = 200}};
}

static void ask(struct file_fetch *fetch, struct file_step *out)
{
    struct telegram_address address;
    if (!telegram_address_read(fetch->thread, &address) || address.chat <= 0 || address.business.p) {
        end(fetch, STR(""), out);
        return;
    }
    struct str body = arena_printf(fetch->arena, "{\"user_id\":%lld,\"offset\":0,\"limit\":1}",
                                   (long long)address.chat);
    fetch->phase = PHOTOS;
    *out = (struct file_step){
        .kind = FILE_ASK,
        .trusted = true,
        .request = telegram_call(fetch->source, "getUserProfilePhotos", body, fetch->arena),
    };
}

// A name of Telegram's that can be kept and compared.
static struct str name_of(yyjson_val *size, const char *key)
{
    struct str name = json_get_str(size, key);
    return name.n <= NAME_MAX_BYTES ? name : STR_NONE;
}

static bool is_usable(const struct file_fetch *fetch, yyjson_val *size)
{
    int64_t bytes;
    return name_of(size, "file_id").n && name_of(size, "file_unique_id").n &&
           !(json_get_int(size, "file_size", &bytes) && bytes > fetch->max_size);
}

static int64_t side_of(yyjson_val *size)
{
    int64_t width = 0, height = 0;
    json_get_int(size, "width", &width);
    json_get_int(size, "height", &height);
    return width < height ? width : height;
}

static bool is_better(yyjson_val *size, yyjson_val *than)
{
    if (!than)
        return true;
    int64_t side = side_of(size), best = side_of(than);
    return best < SIDE ? side > best : side >= SIDE && side < best;
}

// One picture is a list of its sizes. NULL: nothing of it can be used.
static yyjson_val *best_of(const struct file_fetch *fetch, yyjson_val *sizes)
{
    yyjson_val *size, *best = NULL;
    size_t i, n;
    yyjson_arr_foreach(sizes, i, n, size)
    {
        if (is_usable(fetch, size) && is_better(size, best))
            best = size;
    }
    return best;
}

static void take_picture(struct file_fetch *fetch, yyjson_val *size, struct file_step *out)
{
    struct str picture = arena_str(fetch->arena, name_of(size, "file_unique_id"));
    if (str_eq(picture, fetch->known_picture)) {
        end(fetch, picture, out);
        return;
    }
    fetch->picture = picture;
    fetch->file.ref = arena_str(fetch->arena, name_of(size, "file_id"));
    fetch->phase = 0;
    telegram_fetch(fetch, NULL, out);
}

static void take_photos(struct file_fetch *fetch, const struct http_response *last,
                        const struct telegram_answer *answer, struct file_step *out)
{
    yyjson_val *photos = yyjson_obj_get(yyjson_obj_get(answer->root, "result"), "photos");
    yyjson_val *first = yyjson_arr_get_first(photos), *size = best_of(fetch, first);
    if (size)
        take_picture(fetch, size, out);
    else if (yyjson_is_arr(photos) && (!first || yyjson_is_arr(first)))
        end(fetch, STR(""), out);
    else
        *out = (struct file_step){.kind = FILE_END,
                                  .verdict = verdict_unreadable(last, false, STR("Telegram's answer has no pictures"))};
}

static void take_answer(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    struct telegram_answer answer;
    telegram_answer_read(last, &answer);
    if (answer.root && last->status == 200 && yyjson_get_bool(yyjson_obj_get(answer.root, "ok")))
        take_photos(fetch, last, &answer, out);
    else if (answer.root && last->status == 400) // the customer is not known any more
        *out = (struct file_step){.kind = FILE_END,
                                  .verdict = {.kind = VERDICT_REJECTED,
                                              .status = 400,
                                              .error = STR("Telegram does not tell the customer's pictures")}};
    else
        telegram_fetch_failed(fetch, last, &answer, out);
    yyjson_doc_free(answer.doc);
}

void telegram_fetch_avatar(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    if (!last)
        ask(fetch, out);
    else if (fetch->phase == PHOTOS)
        take_answer(fetch, last, out);
    else
        telegram_fetch(fetch, last, out);
}
