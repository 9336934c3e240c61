// The command line: whatever the words are and whatever a relay answers, it ends with one of its statuses, says why where it failed,
// and shows nothing that a terminal would obey. With --json what is shown is JSON.
//
// The input: words, one a line, up to RECORD_END; a byte for the terminal's width; then what the relay answers (input.h), to one
// request after another. No socket is opened: http_local.h is done here.
// LDFLAGS: -Wl,--wrap=isatty,--wrap=ioctl
// FUZZ: -max_len=4096
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/cli_run.h"
#include "app/http_local.h"
#include "base/must.h"
#include "fuzz/input.h"

#include "app/cli.h"

enum { WORDS_MAX = 60, SHOWN_MAX = 1 << 28 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct input answers;
static struct arena memory; // of one run
static unsigned width;

// The relay ------------------------------------------------------------------------------------------------

// False: it does not run.
static bool next_answer(struct http_response *out)
{
    if (!answers.left.n)
        return false;
    *out = input_answer(&answers, &memory);
    return out->status != 0;
}

bool http_local_call(const char *socket, const char *method, const char *target, struct str body, int timeout_s,
                     const struct http_local_waiter *waiter, struct arena *arena, struct http_local_answer *out,
                     const char **why)
{
    struct http_response answer;
    (void)socket, (void)timeout_s;
    must(*target == '/' && *method && (!body.n || body.p));
    for (const char *c = target; *c; c++)
        must(*c > ' ' && *c < 0x7f);
    if (waiter && (width & 1))
        waiter->tick(waiter->arg);
    if (!next_answer(&answer)) {
        *why = arena_printf(arena, "nobody answers").p;
        return false;
    }
    out->status = answer.status;
    buf_init(&out->body, HTTP_LOCAL_ANSWER_MAX);
    return buf_add_str(&out->body, answer.body) == 0;
}

// Its bytes come in pieces of `width`.
enum http_local_end http_local_listen(const char *socket, const char *target,
                                      const struct http_local_listener *listener, struct arena *arena, int *out_status,
                                      struct buf *out_problem, const char **why)
{
    struct http_response answer;
    (void)socket;
    must(*target == '/');
    if (!next_answer(&answer)) {
        *why = arena_printf(arena, "nobody answers").p;
        return HTTP_LOCAL_FAILED;
    }
    *out_status = answer.status;
    if (answer.status != 200) {
        buf_add_str(out_problem, answer.body);
        return HTTP_LOCAL_ENDED;
    }
    for (size_t at = 0, n = width + 1; at < answer.body.n; at += n)
        if (!listener->on_bytes(listener->arg, str_sub(answer.body, at, at + n)))
            return HTTP_LOCAL_STOPPED;
    return HTTP_LOCAL_ENDED;
}

// The terminal ---------------------------------------------------------------------------------------------

int __real_isatty(int fd);
int __wrap_isatty(int fd);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static bool watched; // standard output is ours to look at

int __wrap_isatty(int fd)
{
    return watched && fd == STDOUT_FILENO ? width > 0 : __real_isatty(fd);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (!watched || request != TIOCGWINSZ)
        return __real_ioctl(fd, request, arg);
    ((struct winsize *)arg)->ws_col = (unsigned short)width;
    return 0;
}

// What was written to a file in memory, taken out of it.
static struct str take(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = arena_alloc(&memory, (size_t)size + 1);
    must(size >= 0 && size < SHOWN_MAX && pread(fd, text, (size_t)size, 0) == size);
    must(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    return (struct str){text, (size_t)size};
}

static uint32_t next_code(struct str text, size_t *at)
{
    unsigned char c = (unsigned char)text.p[(*at)++];
    int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : c >= 0xC0 ? 1 : 0;
    uint32_t code = more == 3 ? c & 7 : more == 2 ? c & 15 : more ? c & 31 : c;
    while (more--)
        code = code << 6 | ((unsigned char)text.p[(*at)++] & 63);
    return code;
}

static void check_harmless(struct str text)
{
    must(str_is_utf8(text));
    for (size_t at = 0; at < text.n;) {
        uint32_t code = next_code(text, &at);
        must(code == '\n' || !code_point_is_harmful(code));
    }
}

// One value after another, each on lines of its own.
static void check_json(struct str text)
{
    while (text.n) {
        yyjson_doc *doc = yyjson_read_opts((char *)text.p, text.n, YYJSON_READ_STOP_WHEN_DONE, NULL, NULL);
        must(doc);
        text = str_trim(str_sub(text, yyjson_doc_get_read_size(doc), text.n));
        yyjson_doc_free(doc);
    }
}

// A run ----------------------------------------------------------------------------------------------------

struct words {
    char *argv[WORDS_MAX + 2];
    int argc;
    bool json, clean, help; // clean: they are harmless themselves
};

static void read_words(struct str lines, struct words *out)
{
    struct input input = {lines};
    *out = (struct words){.clean = true};
    out->argv[out->argc++] = (char[]){"tributary"};
    while (input.left.n && out->argc <= WORDS_MAX) {
        struct str word = input_until(&input, '\n');
        out->argv[out->argc] = (char *)arena_str(&memory, str_sub(word, 0, str_index(word, 0, 0))).p;
        word = str_of(out->argv[out->argc++]);
        out->json |= str_eq_c(word, "--json");
        out->help |= str_eq_c(word, "-h") || str_eq_c(word, "--help") || str_eq_c(word, "help") ||
                     str_eq_c(word, "--version");
        out->clean &= str_is_utf8(word);
        for (size_t at = 0; out->clean && at < word.n;)
            out->clean &= !code_point_is_harmful(next_code(word, &at));
    }
}

// Files of this machine are no input.
static bool names_a_file(const struct words *words)
{
    for (int i = 1; i < words->argc; i++)
        if (strstr(words->argv[i], "/dev") || strstr(words->argv[i], "/proc") || strstr(words->argv[i], "/sys"))
            return true;
    return false;
}

static int shown_fd, said_fd, stdout_fd;
static FILE *said;

static void begin(void)
{
    shown_fd = memfd_create("shown", MFD_CLOEXEC);
    said_fd = memfd_create("said", MFD_CLOEXEC);
    stdout_fd = dup(STDOUT_FILENO);
    said = fdopen(said_fd, "w+");
    must(shown_fd >= 0 && stdout_fd >= 0 && said);
    setvbuf(said, NULL, _IONBF, 0);
}

static int run(struct words *words)
{
    FILE *real_stderr = stderr;
    fflush(stdout);
    must(dup2(shown_fd, STDOUT_FILENO) == STDOUT_FILENO);
    stderr = said;
    watched = true;
    int status = cli_main(words->argc, words->argv);
    watched = false;
    stderr = real_stderr;
    must(dup2(stdout_fd, STDOUT_FILENO) == STDOUT_FILENO);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct words words;
    if (!said)
        begin();
    answers = input_of(data, size);
    read_words(input_until(&answers, RECORD_END), &words);
    width = input_byte(&answers);
    if (!names_a_file(&words)) {
        int status = run(&words);
        struct str shown = take(shown_fd), error = take(said_fd);
        must(status >= CLI_DONE && status <= CLI_USAGE);
        must(status == CLI_DONE || shown.n || error.n);
        must(status != CLI_USAGE || error.n);
        if (words.clean) {
            check_harmless(error);
            check_harmless(shown);
        }
        if (words.json && words.clean && !words.help)
            check_json(shown);
    }
    arena_done(&memory);
    return 0;
}
