// A check asked by another thread: looked up and carried on the relay loop.
#include "base/err.h"
#include "base/mem.h"
#include "base/must.h"
#include "relay/relay_own.h"

#include <stdlib.h>

static void answer(struct relay_check *check, int err)
{
    check->err = err;
    account_unref(check->check.account);
    check->check.account = NULL;
    check->done(check);
}

static void on_checked(struct check *done, int err)
{
    answer((struct relay_check *)((char *)done - offsetof(struct relay_check, check)), err);
}

static void on_check(struct loop_task *task)
{
    struct relay_check *check = (struct relay_check *)task;
    const struct account *account = directory_find_id(check->relay->options.directory, check->account_id);
    const struct source *source = account && check->source_id ? account_find_source_id(account, check->source_id)
                                                              : NULL;
    check->check = (struct check){.account = account, .source = source, .done = on_checked};
    int err = ERR_NOT_FOUND;
    if (account && (source || !check->source_id))
        err = checks_start(check->relay->checks, &check->check);
    if (err)
        answer(check, err);
}

bool relay_check(struct relay *relay, struct relay_check *check)
{
    check->relay = relay;
    check->task.run = on_check;
    return loop_post(relay->loop, &check->task);
}

struct end_task {
    struct loop_task task; // first
    struct checks *checks;
};

static void on_end(struct loop_task *task)
{
    checks_stop(((struct end_task *)task)->checks);
    free(task);
}

void relay_end_checks(struct relay *relay)
{
    struct end_task *end = mem_new_of(struct end_task);
    end->checks = relay->checks;
    end->task.run = on_end;
    if (!loop_post(relay->loop, &end->task))
        free(end);
}
