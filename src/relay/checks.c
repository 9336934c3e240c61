#include "relay/checks.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/must.h"
#include "desk/desk.h"
#include "platform/platform.h"

#include <stdlib.h>
#include <utlist.h>

enum { CHECKS_MAX = 16, LIMIT_MS = 10000 }; // of all requests of one check together

struct checks {
    struct http_client *client; // not the delivery's, which may be busy
    const struct clock *clock;
    struct str public_url;
    struct check *under_way;
    int count;
    bool stopped;
};

struct checks *checks_new(struct loop *loop, const struct clock *clock, struct str public_url)
{
    struct checks *checks = mem_new_of(struct checks);
    struct http_client_options options;
    http_client_options_default(&options);
    options.max_connections = CHECKS_MAX;
    checks->client = http_client_new(loop, &options);
    checks->clock = clock;
    checks->public_url = public_url;
    return checks;
}

void checks_free(struct checks *checks)
{
    if (!checks)
        return;
    must(!checks->under_way);
    http_client_free(checks->client);
    free(checks);
}

static void hide_secrets(struct check *check)
{
    struct inquiry *inquiry = &check->inquiry;
    const struct desk *desk = &check->account->desk;
    const struct source *source = check->source;
    const struct str of_source[] = {source ? source->token : STR_NONE, source ? source->secret : STR_NONE,
                                    source ? source->made_secret : STR_NONE};
    const struct str of_desk[] = {desk->token, desk->client_secret, desk->secret};
    for (size_t i = 0; i < 3; i++)
        inquiry_hide(inquiry, source ? of_source[i] : of_desk[i]);
}

static void finish(struct check *check, int err)
{
    DL_DELETE(check->checks->under_way, check);
    check->checks->count--;
    if (!err)
        hide_secrets(check);
    check->done(check, err);
}

static bool ask(struct check *check, const struct http_response *last, struct http_request *out_request)
{
    struct inquiry *inquiry = &check->inquiry;
    inquiry->now_us = clock_wall_us(check->checks->clock);
    if (!check->source)
        return desk_connector_find(check->account->desk.platform)
            ->ask(&check->account->desk, inquiry, last, out_request);
    return platform_find(check->source->platform)
        ->ask(check->source, check->checks->public_url, inquiry, last, out_request);
}

static void on_answer(void *arg, const struct http_response *last);

static void go_on(struct check *check, const struct http_response *last)
{
    struct checks *checks = check->checks;
    struct http_request request = {0};
    if (!ask(check, last, &request)) {
        finish(check, ERR_OK);
        return;
    }
    int64_t left_ms = (check->until_us - clock_mono_us(checks->clock)) / 1000;
    must(check->steps++ < INQUIRY_STEPS_MAX);
    check->call = http_client_send(checks->client, &request, left_ms > 1 ? left_ms : 1, on_answer, check);
}

static void on_answer(void *arg, const struct http_response *last)
{
    struct check *check = arg;
    check->call = NULL;
    if (last->failure == HTTP_CANCELLED)
        finish(check, ERR_CLOSED);
    else
        go_on(check, last);
}

static bool can_be_asked(const struct check *check)
{
    if (!check->source) {
        const struct desk_connector *desk = desk_connector_find(check->account->desk.platform);
        return desk && desk->ask;
    }
    const struct platform *platform = platform_find(check->source->platform);
    return platform && platform->ask;
}

int checks_start(struct checks *checks, struct check *check)
{
    if (checks->stopped)
        return ERR_CLOSED;
    if (checks->count >= CHECKS_MAX)
        return ERR_BUSY;
    check->checks = checks;
    check->inquiry = (struct inquiry){.arena = &check->arena};
    check->until_us = clock_mono_us(checks->clock) + LIMIT_MS * INT64_C(1000);
    DL_APPEND(checks->under_way, check);
    checks->count++;
    if (can_be_asked(check)) {
        go_on(check, NULL);
    } else {
        inquiry_end(&check->inquiry, true, "There is nothing that can be asked.");
        finish(check, ERR_OK);
    }
    return ERR_OK;
}

void checks_stop(struct checks *checks)
{
    checks->stopped = true;
    while (checks->under_way)
        http_call_cancel(checks->under_way->call);
}
