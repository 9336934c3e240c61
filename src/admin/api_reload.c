// Reading the configuration again, on a worker thread, one at a time.
#include "admin/api.h"

static void run(struct api_work *work)
{
    const struct admin_options *options = admin_of(work->call);
    work->err = options->reload(options->reload_arg, &work->text);
}

static void done(struct api_work *work)
{
    struct api_call *call = work->call;
    struct buf report = work->text;
    struct api_json answer;
    api_unlock(call, API_LOCK_RELOAD);
    if (work->err && report.n) {
        api_problem(call, 422, "%s", report.p);
    } else if (work->err) {
        api_problem_err(call, work->err);
    } else {
        struct json *json = api_json_begin(&answer);
        json_open(json, '{');
        json_key_bool(json, "ok", true);
        json_key_str(json, "report", buf_str(&report));
        json_close(json, '}');
        api_json_send(call, 200, &answer);
    }
    buf_done(&report);
}

void api_reload_post(struct api_call *call)
{
    if (!admin_of(call)->reload) {
        api_problem(call, 404, "This relay has no configuration file to read again.");
        return;
    }
    if (!api_lock(call, API_LOCK_RELOAD)) {
        api_problem(call, 409, "The configuration is being read already; wait for its end.");
        return;
    }
    api_work_start(api_work_new(call), run, done);
}
