// POST .../sources/{source}/check and .../desk/check: what the platform or the desk says now. Asked by the relay loop; no
// worker waits for it.
#include "admin/api.h"
#include "base/must.h"

// Lives in the exchange's arena, which stands until it is answered.
struct asking {
    struct relay_check check; // first
    struct loop_task task;    // back on the admin loop
    struct api_call *call;
    struct loop *loop;
};

static void write_fact(struct json *json, const struct inquiry_fact *fact)
{
    switch (fact->kind) {
    case INQUIRY_TEXT:
        json_key_str(json, fact->name, fact->text);
        break;
    case INQUIRY_NUMBER:
        json_key_int(json, fact->name, fact->number);
        break;
    case INQUIRY_TIME:
        json_key_time(json, fact->name, fact->number);
        break;
    case INQUIRY_BOOL:
        json_key_bool(json, fact->name, fact->number != 0);
        break;
    }
}

static void send_inquiry(struct api_call *call, const struct inquiry *inquiry)
{
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    json_open(json, '{');
    json_key_bool(json, "ok", inquiry->good);
    json_key_str(json, "text", inquiry->sentence);
    json_key(json, "data");
    json_open(json, '{');
    for (size_t i = 0; i < inquiry->fact_count; i++)
        write_fact(json, &inquiry->facts[i]);
    json_close(json, '}');
    json_close(json, '}');
    api_json_send(call, 200, &answer);
}

static void on_back(struct loop_task *task)
{
    struct asking *asking = (struct asking *)((char *)task - offsetof(struct asking, task));
    struct arena arena = asking->check.check.arena;
    if (asking->check.err == ERR_BUSY)
        api_problem(asking->call, 503, "Too many are being asked already; try again in a moment.");
    else if (asking->check.err)
        api_problem_err(asking->call, asking->check.err);
    else
        send_inquiry(asking->call, &asking->check.check.inquiry);
    arena_done(&arena); // `asking` is gone with its exchange
}

// On the relay loop.
static void on_checked(struct relay_check *check)
{
    struct asking *asking = (struct asking *)check;
    must(loop_post(asking->loop, &asking->task)); // the admin loop waits for open exchanges
}

static void start(struct api_call *call, int64_t account_id, int64_t source_id)
{
    struct asking *asking = arena_of(call->arena, struct asking);
    asking->call = call;
    asking->loop = http_exchange_loop(call->exchange);
    asking->task.run = on_back;
    asking->check.account_id = account_id;
    asking->check.source_id = source_id;
    asking->check.done = on_checked;
    if (!relay_check(admin_of(call)->relay, &asking->check))
        api_problem_err(call, ERR_CLOSED);
}

static const struct account *account_of(struct api_call *call)
{
    const struct account *account = directory_find(admin_of(call)->directory, call->params[0]);
    if (!account)
        api_problem(call, 404, "There is no account of that name.");
    return account;
}

void api_sources_check(struct api_call *call)
{
    const struct account *account = account_of(call);
    if (!account)
        return;
    const struct source *source = account_find_source(account, call->params[1]);
    if (source)
        start(call, account->id, source->id);
    else
        api_problem(call, 404, "The account has no source of that name.");
    account_unref(account);
}

void api_desk_check(struct api_call *call)
{
    const struct account *account = account_of(call);
    if (account)
        start(call, account->id, 0);
    account_unref(account);
}
