// file_fetch_url. What is said of a file that cannot be had is for people, and never holds an address: it may be a signed one.
#include "model/file_fetch.h"

#include "model/web_address.h"

enum { REDIRECTS_MAX = 5, MIB = 1024 * 1024 };

static void end(struct file_step *out, enum verdict_kind kind, struct str error)
{
    *out = (struct file_step){.kind = FILE_END, .verdict = {.kind = kind, .error = error}};
}

static void get(struct file_fetch *fetch, struct file_step *out)
{
    const struct web_address *address = fetch->state;
    struct web_address trusted;
    *out = (struct file_step){
        .kind = FILE_GET,
        .request = {.method = STR("GET"), .target = web_address_url(address, fetch->arena)},
        .trusted = fetch->trusted.n && web_address_read(fetch->trusted, fetch->arena, &trusted) &&
                   web_address_is_of(address, &trusted),
    };
}

static void begin(struct file_fetch *fetch, struct file_step *out)
{
    struct web_address *address = arena_of(fetch->arena, struct web_address);
    fetch->state = address;
    fetch->tries = 0;
    if (web_address_read(arena_str(fetch->arena, fetch->file.url), fetch->arena, address))
        get(fetch, out);
    else
        end(out, VERDICT_REJECTED, STR("its address is none that can be fetched"));
}

static void follow(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    struct str location = http_header_get(last->headers, last->header_count, "Location");
    struct web_address *address = fetch->state;
    location = arena_str(fetch->arena, location);
    if (fetch->tries++ == REDIRECTS_MAX)
        end(out, VERDICT_REJECTED, STR("its address leads on to another one too often"));
    else if (web_address_resolve(address, location, fetch->arena, address))
        get(fetch, out);
    else
        end(out, VERDICT_REJECTED, STR("its address leads on to one that cannot be fetched"));
}

static struct str words_of(const struct http_response *last, struct arena *arena)
{
    const char *words = "its server answered";
    if (last->status == 404 || last->status == 410)
        words = "it is not there any more:";
    else if (last->status == 401 || last->status == 403)
        words = "its server does not let it be read:";
    else if (last->status >= 400 && last->status < 500)
        words = "its server refused:";
    return arena_printf(arena, "%s HTTP %d", words, last->status);
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Another try can have another end.
static bool is_passing(int status)
{
    return status == 408 || status == 425 || status == 429 || status < 300 || status >= 500;
}

static void answered(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    if (is_redirect(last->status)) {
        follow(fetch, last, out);
        return;
    }
    if (last->status == 200) {
        end(out, VERDICT_DELIVERED, STR_NONE);
    } else {
        bool again = is_passing(last->status);
        end(out, again ? VERDICT_RETRY : VERDICT_REJECTED, words_of(last, fetch->arena));
        out->verdict.until_us = again ? verdict_retry_after(last, fetch->now_us) : 0;
    }
    out->verdict.status = last->status;
}

static struct str larger_than(int64_t size, struct arena *arena)
{
    bool is_whole = size >= MIB && size % MIB == 0;
    return arena_printf(arena, "it is larger than %lld %s", (long long)(is_whole ? size / MIB : size),
                        is_whole ? "MiB" : "bytes");
}

static void failed(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    if (last->too_large)
        end(out, VERDICT_REJECTED, larger_than(fetch->max_size, fetch->arena));
    else if (last->refused)
        end(out, VERDICT_REJECTED, STR("its address is not a public one"));
    else if (last->failure == HTTP_CANCELLED)
        end(out, VERDICT_WAIT, STR("cancelled"));
    else
        end(out, VERDICT_RETRY, last->error.n ? arena_str(fetch->arena, last->error) : STR("no answer"));
    if (out->verdict.kind == VERDICT_WAIT)
        out->verdict.until_us = fetch->now_us;
}

void file_fetch_url(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    if (!last)
        begin(fetch, out);
    else if (last->failure == HTTP_ANSWERED)
        answered(fetch, last, out);
    else
        failed(fetch, last, out);
}
