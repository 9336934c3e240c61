#include "crash/world.h"

#include "model/http.h"
#include "support/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct world *world_open(const char *path, bool make)
{
    int fd = open(path, O_RDWR | (make ? O_CREAT | O_TRUNC : 0), 0600);
    bool good = fd >= 0 && (!make || ftruncate(fd, sizeof(struct world)) == 0);
    void *p = good ? mmap(NULL, sizeof(struct world), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (p == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    close(fd);
    return p;
}

struct event world_event(const struct world *world, struct arena *arena, int number)
{
    char *text = arena_alloc(arena, (size_t)world->pad + 32);
    int n = snprintf(text, 32, "text-%d.", number);
    memset(text + n, 'x', (size_t)world->pad);
    struct str conversation = arena_printf(arena, "c%d", number % LANES);
    return (struct event){.dedupe_key = arena_printf(arena, "sent-%d", number),
                          .conversation = conversation,
                          .sender_id = conversation,
                          .sender_name = STR("Ann"),
                          .text = {text, (size_t)(n + world->pad)}};
}

static int number_in(struct str body)
{
    int number = -1;
    const char *text = body.n ? memmem(body.p, body.n, "text-", 5) : NULL;
    assert_non_null(text);
    assert_int_equal(sscanf(text, "text-%d.", &number), 1);
    assert_in_range(number, 0, MOST - 1);
    return number;
}

static struct taken *take(struct world *world, struct str body)
{
    assert_true(world->taken_count < TAKEN_MOST);
    struct taken *taken = &world->taken[world->taken_count];
    *taken = (struct taken){.number = number_in(body)};
    return taken; // the caller completes it and counts it
}

// ---- the signed webhook ----

static void answer_webhook(struct world *world, struct rig *rig, struct rig_call *call)
{
    long long id;
    bool probe = str_eq_c(call->method, "HEAD");
    if (!probe && number_in(call->body) == world->poison && !world->cured) {
        rig_answer(rig, call, 422, "");
    } else if (!probe && world->fails_every && world->turn % world->fails_every == 0) {
        rig_answer(rig, call, 500, "");
    } else {
        if (!probe) {
            assert_int_equal(sscanf(call->body.p, "{\"id\":\"%lld\"", &id), 1);
            take(world, call->body)->id = id;
            world->taken_count++;
        }
        rig_answer(rig, call, 200, "");
    }
}

// ---- Intercom: as much of it as the relay meets here; one contact per lane, named "c0" and so on ----

// The number behind the last place of this text; -1: it does not stand there.
static int after(struct str in, const char *mark)
{
    const char *at = in.n ? memmem(in.p, in.n, mark, strlen(mark)) : NULL;
    return at ? (int)strtol(at + strlen(mark), NULL, 10) : -1;
}

static struct str thread_json(const struct world *world, struct arena *arena, int thread, bool parts)
{
    struct str text = {0}, list = STR("");
    int lane = world->thread_lane[thread];
    for (int i = 0; i < world->taken_count; i++) {
        const struct taken *taken = &world->taken[i];
        if (taken->thread != thread)
            continue;
        struct str part = arena_printf(
            arena,
            "{\"type\":\"conversation_part\",\"id\":\"%d\",\"created_at\":%lld,\"body\":\"text-%d."
            "\",\"author\":{\"type\":\"user\",\"id\":\"contact%d\"}}",
            i + 1, (long long)taken->created_s, taken->number, lane);
        if (!text.p)
            text = arena_printf(
                arena,
                "{\"type\":\"conversation\",\"id\":\"%d\",\"created_at\":%lld,\"source\":{\"id\":\"%d\",\"body\":"
                "\"text-%d.\",\"author\":{\"type\":\"user\",\"id\":\"contact%d\"}}",
                thread + 1000, (long long)taken->created_s, i + 1, taken->number, lane);
        else
            list = arena_printf(arena, "%.*s%s%.*s", STR_ARG(list), list.n ? "," : "", STR_ARG(part));
    }
    return parts ? arena_printf(arena, "%.*s,\"conversation_parts\":{\"conversation_parts\":[%.*s]}}", STR_ARG(text),
                                STR_ARG(list))
                 : arena_printf(arena, "%.*s}", STR_ARG(text));
}

static struct taken *take_part(struct world *world, const struct rig_call *call, int thread)
{
    struct taken *taken = take(world, call->body);
    taken->thread = thread;
    taken->id = world->taken_count + 1;
    taken->created_s = after(call->body, "\"created_at\":");
    world->taken_count++;
    return taken;
}

static struct str search_json(const struct world *world, struct arena *arena, int lane)
{
    struct str list = STR("");
    for (int i = 0; i < world->thread_count; i++)
        if (world->thread_lane[i] == lane) {
            struct str thread = thread_json(world, arena, i, false);
            list = arena_printf(arena, "%.*s%s%.*s", STR_ARG(list), list.n ? "," : "", STR_ARG(thread));
        }
    return arena_printf(arena, "{\"type\":\"conversation.list\",\"conversations\":[%.*s]}", STR_ARG(list));
}

static struct str open_thread(struct world *world, struct arena *arena, const struct rig_call *call)
{
    int lane = after(call->body, "\"id\":\"contact"), thread = world->thread_count;
    assert_in_range(lane, 0, LANES - 1);
    assert_true(thread < THREADS_MOST);
    world->thread_lane[thread] = lane;
    const struct taken *taken = take_part(world, call, thread);
    world->thread_count++;
    return arena_printf(arena,
                        "{\"type\":\"user_message\",\"id\":\"%lld\",\"created_at\":%lld,\"body\":\"text-%d.\","
                        "\"conversation_id\":\"%d\"}",
                        (long long)taken->id, (long long)taken->created_s, taken->number, thread + 1000);
}

static struct str contact_json(struct arena *arena, int lane)
{
    return arena_printf(arena, "{\"type\":\"contact\",\"id\":\"contact%d\"}", lane);
}

static int find_contact(const struct world *world, struct arena *arena, struct str path, struct str *out)
{
    int lane = after(http_unescape(arena, path), ":c");
    if (lane < 0 || lane >= LANES || !world->contacts[lane]) {
        *out = STR("{\"type\":\"error.list\",\"errors\":[{\"code\":\"not_found\",\"message\":\"User Not Found\"}]}");
        return 404;
    }
    *out = contact_json(arena, lane);
    return 200;
}

static int intercom(struct world *world, struct arena *arena, const struct rig_call *call, struct str *out)
{
    struct str path = str_sub(call->target, sizeof "http://intercom.test" - 1, call->target.n);
    int thread = after(path, "/conversations/");
    if (str_starts(path, STR("/contacts/find")))
        return find_contact(world, arena, path, out);
    if (str_eq_c(path, "/me")) {
        *out = STR("{\"type\":\"admin\",\"id\":\"1\"}");
    } else if (str_eq_c(path, "/contacts")) {
        int lane = after(call->body, ":c");
        assert_in_range(lane, 0, LANES - 1);
        world->contacts[lane] = true;
        *out = contact_json(arena, lane);
    } else if (str_eq_c(path, "/conversations")) {
        *out = open_thread(world, arena, call);
    } else if (str_eq_c(path, "/conversations/search")) {
        *out = search_json(world, arena, after(call->body, "\"value\":\"contact"));
    } else {
        if (thread < 1000 || thread >= 1000 + world->thread_count)
            fail_msg("what does %.*s %.*s mean?", STR_ARG(call->method), STR_ARG(path));
        if (str_eq_c(call->method, "POST"))
            take_part(world, call, thread - 1000);
        *out = thread_json(world, arena, thread - 1000, true);
    }
    return 200;
}

void world_answer(struct world *world, struct rig *rig, struct rig_call *call)
{
    world->turn++;
    if (!world->intercom) {
        answer_webhook(world, rig, call);
        return;
    }
    struct arena arena = {0};
    struct str body;
    int status = intercom(world, &arena, call, &body);
    rig_answer(rig, call, status, arena_str(&arena, body).p);
    arena_done(&arena);
}

// ---- the judge: only what was acknowledged, and what the desk took ----

static void judge_lane(const struct world *world, int lane, struct judgement *out)
{
    int highest = -1;
    int64_t ids[MOST] = {0};
    for (int i = 0; i < world->taken_count; i++) {
        const struct taken *taken = &world->taken[i];
        if (taken->number % LANES != lane)
            continue;
        bool again = ids[taken->number] != 0;
        // A desk with keys knows a repetition by its id; at Intercom an agent reads it twice.
        out->doubled += again && (world->intercom || ids[taken->number] != taken->id);
        if (taken->number != world->poison) {
            out->reordered += taken->number < highest;
            highest = taken->number > highest ? taken->number : highest;
        }
        ids[taken->number] = taken->id;
    }
    for (int number = lane; number < world->count; number += LANES) {
        out->acked += world->acknowledged[number];
        out->lost += world->acknowledged[number] && !ids[number];
    }
}

struct judgement world_judge(const struct world *world, struct rig *rig, bool discarded)
{
    struct judgement judgement = {0};
    struct store_totals totals;
    for (int lane = 0; lane < LANES; lane++)
        judge_lane(world, lane, &judgement);
    judgement.lost -= discarded;
    assert_int_equal(rig->reader->ops->totals(rig->reader, &totals), 0);
    judgement.settled_right = totals.accepted == world->count && totals.delivered == world->count - discarded &&
                              totals.discarded == discarded && totals.pending == 0 && totals.skipped == 0;
    return judgement;
}
