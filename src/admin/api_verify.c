// The sum, counted from the rows, on a live system: on a worker thread with a reader of its own, one at a time.
#include "admin/api.h"

static void on_finding(void *arg, struct str sentence)
{
    struct json *json = arg;
    json_str(json, sentence);
}

static void run(struct api_work *work)
{
    struct store_reader *reader = admin_of(work->call)->verify_reader;
    struct json json = {.out = &work->text};
    bool good = false;
    json_open(&json, '[');
    work->err = reader->ops->verify(reader, work->flag, on_finding, &json, &good);
    json_close(&json, ']');
    work->id = good;
}

static void done(struct api_work *work)
{
    struct api_call *call = work->call;
    struct api_json answer;
    api_unlock(call, API_LOCK_VERIFY);
    if (work->err) {
        api_problem_err(call, work->err);
    } else {
        struct json *json = api_json_begin(&answer);
        json_open(json, '{');
        json_key_bool(json, "ok", work->id != 0);
        json_key_bool(json, "deep", work->flag);
        json_key(json, "findings");
        json_raw(json, work->text.failed ? STR("[\"more findings than can be listed\"]") : buf_str(&work->text));
        json_close(json, '}');
        api_json_send(call, 200, &answer);
    }
}

static void done_and_free(struct api_work *work)
{
    struct buf text = work->text;
    done(work);
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
    work->flag = deep;
    api_work_start(work, run, done_and_free);
}
