// LDFLAGS: -Wl,--wrap=calloc,--wrap=realloc
// Fault sweep over allocations: the n-th one of our code fails, over the real SQLite store. Small ones abort the process,
// which must lose nothing; sizes from outside are refused. Each run is a child process; what it acknowledged and what the
// desk took lie in shared memory; a second child without a fault takes up what the first one left.
#include "support/history.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEP = 7 }; // every allocation is one of many of its kind: the seventh, fourteenth ... meets all kinds

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

static long fail_in = -1; // allocations until one fails; -1 = none

static bool fails(void)
{
    return fail_in >= 0 && fail_in-- == 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

static struct rig rig;

// In a child: 0 when it played to the end and was judged well.
static int play_in_child(struct history *history, const char *path, long fail_at)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("child.log", "w", stderr) || !freopen("child.out", "w", stdout))
            _exit(3);
        struct rig_options options = {.order = ORDER_CONVERSATION, .window = 2, .store_path = path};
        rig_init(&rig, &options);
        fail_in = fail_at;
        history_play(history, &rig, NULL);
        bool reached = fail_at < 0 || fail_in < 0;
        fail_in = -1;
        history_judge(history, &rig);
        rig_done(&rig);
        _exit(reached ? 0 : 4);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void print_journal(long n, const struct history *history)
{
    printf("allocation %ld: acknowledged", n);
    for (int i = 0; i < SENT; i++)
        printf(" %d", history->acknowledged[i]);
    printf("; taken (id:conversation-serial)");
    for (int i = 0; i < history->journal_count; i++)
        printf(" %lld:%d-%d", (long long)history->journal[i].id, history->journal[i].conversation,
               history->journal[i].serial);
    printf("\n");
}

static void test_no_allocation_that_fails_loses_anything(void **state)
{
    (void)state;
    struct history *history = mmap(NULL, sizeof *history, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(history != MAP_FAILED);
    char path[64];
    int aborted = 0, survived = 0;
    for (long n = 0;; n += STEP) {
        *history = (struct history){0};
        snprintf(path, sizeof path, "alloc-%ld.db", n);
        int status = play_in_child(history, path, n);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 4)
            break;                 // it did not come to the n-th one
        if (WIFSIGNALED(status)) { // aborted by our own hand, not by an accident
            assert_int_equal(WTERMSIG(status), SIGABRT);
            aborted++;
            status = play_in_child(history, path, -1);
        } else {
            survived++;
        }
        if (status)
            print_journal(n, history);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_true(aborted > 10);
    printf("allocations failed: %d aborted the process, %d were survived\n", aborted, survived);
    munmap(history, sizeof *history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_allocation_that_fails_loses_anything),
    };
    const char *own = getenv("TMPDIR"); // a directory of this run's; the stores must be new
    if (own && chdir(own) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
