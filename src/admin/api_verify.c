// A look at the whole store on a live system: on a worker thread with a reader of its own, one at a time.
#include "admin/api.h"

#include "base/clock.h"

enum { NAMED = 5 }; // damaged messages that the alarm names

// Of one verification, in the exchange's arena.
struct verification {
    struct store_check check;
    struct api_verify_progress *progress;
    struct json findings;
    int64_t damaged[NAMED];
    size_t damaged_count;
    bool contradicts; // the sum or the file is wrong
    int64_t began_us;
};

static void on_finding(void *arg, const struct store_finding *finding)
{
    struct verification *v = arg;
    struct json *json = &v->findings;
    json_open(json, '{');
    json_key_str(json, "kind", str_of(store_finding_kind_name(finding->kind)));
    json_key(json, "message");
    if (finding->message_id)
        json_id(json, finding->message_id);
    else
        json_null(json);
    json_key_str(json, "text", finding->text);
    json_key_str(json, "advice", finding->advice);
    json_close(json, '}');
    v->contradicts = v->contradicts || finding->kind == FINDING_SUM || finding->kind == FINDING_FILE;
    if (finding->kind == FINDING_DAMAGED && finding->message_id && v->damaged_count < NAMED)
        v->damaged[v->damaged_count++] = finding->message_id;
}

static void on_progress(void *arg, const char *part, int64_t done, int64_t of)
{
    struct verification *v = arg;
    atomic_store(&v->progress->part, part);
    atomic_store(&v->progress->done, done);
    atomic_store(&v->progress->of, of);
}

static void run(struct api_work *work)
{
    struct store_reader *reader = admin_of(work->call)->verify_reader;
    struct verification *v = work->data;
    v->findings = (struct json){.out = &work->text};
    json_open(&v->findings, '[');
    work->err = reader->ops->verify(reader, &v->check);
    json_close(&v->findings, ']');
    atomic_store(&v->progress->part, NULL);
}

// At once, and not when a damaged message comes to its turn. A look that finds nothing ends it; one that could not see all does
// not.
static void set_alarm(struct api_call *call, const struct verification *v)
{
    struct board *board = admin_of(call)->board;
    struct str ids = STR("");
    if (v->check.ok)
        board_alarm_end(board, "store_damaged", STR(""));
    else if (!v->check.damaged && v->contradicts)
        board_alarm(
            board, "store_damaged", STR(""),
            STR("the sum is not true, or files are not what the store says of them: tributary verify tells more"));
    if (!v->check.damaged)
        return;
    for (size_t i = 0; i < v->damaged_count; i++)
        ids = arena_printf(call->arena, "%.*s%s%lld", STR_ARG(ids), i ? ", " : "", (long long)v->damaged[i]);
    board_alarm(board, "store_damaged", STR(""),
                arena_printf(call->arena, "%lld rows are not what was stored%s%.*s: tributary verify tells which",
                             (long long)v->check.damaged, ids.n ? ", messages " : "", STR_ARG(ids)));
}

static void answer(struct api_work *work)
{
    const struct verification *v = work->data;
    struct api_json text;
    struct json *json = api_json_begin(&text);
    json_open(json, '{');
    json_key_bool(json, "ok", v->check.ok);
    json_key_bool(json, "deep", v->check.deep);
    json_key_int(json, "messages", v->check.messages);
    json_key_int(json, "conversations", v->check.conversations);
    json_key_int(json, "lanes", v->check.lanes);
    json_key_int(json, "files", v->check.files);
    json_key_int(json, "damaged", v->check.damaged);
    json_key(json, "seconds");
    json_num(json, (double)(clock_mono_us(&clock_system) - v->began_us) / 1e6);
    json_key(json, "findings");
    json_raw(json, buf_str(&work->text));
    json_close(json, '}');
    api_json_send(work->call, 200, &text);
}

static void done(struct api_work *work)
{
    struct api_call *call = work->call;
    struct buf text = work->text;
    api_unlock(call, API_LOCK_VERIFY);
    if (work->err) {
        api_problem_err(call, work->err);
    } else {
        set_alarm(call, work->data);
        answer(work);
    }
    buf_done(&text);
}

void api_verify_get(struct api_call *call)
{
    bool deep;
    if (!api_query_bool(call, "deep", &deep))
        return;
    if (!admin_of(call)->verify_reader) {
        api_problem(call, 503, "The store gave no reader for this.");
        return;
    }
    if (!api_lock(call, API_LOCK_VERIFY)) {
        api_problem(call, 409, "A verification is running already; wait for its end.");
        return;
    }
    struct api_work *work = api_work_new(call);
    struct verification *v = arena_of(call->arena, struct verification);
    *v = (struct verification){
        .check =
            {.deep = deep, .finding = on_finding, .progress = on_progress, .arg = v, .media = admin_of(call)->files},
        .progress = admin_verify_progress(call),
        .began_us = clock_mono_us(&clock_system),
    };
    work->data = v;
    api_work_start(work, run, done);
}

void api_verify_progress_get(struct api_call *call)
{
    struct api_verify_progress *progress = admin_verify_progress(call);
    const char *part = atomic_load(&progress->part);
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    json_open(json, '{');
    json_key_bool(json, "running", part != NULL);
    json_key_str(json, "part", part ? str_of(part) : STR_NONE);
    json_key_int(json, "done", atomic_load(&progress->done));
    json_key_int(json, "of", atomic_load(&progress->of));
    json_close(json, '}');
    api_json_send(call, 200, &answer);
}
