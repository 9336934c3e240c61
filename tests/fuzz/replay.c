// Runs a fuzz target over its corpus without a fuzzer, so that every compiler and sanitizer sees it in `make check`:
//   fuzz_x DIRECTORY_OR_FILE...
//   fuzz_x --times FILE...       runs each once, as it is, and says what it took (growth.py)
// Each input is run whole, cut short in up to 64 places (a slow target: replay_variants), and with as many single bytes changed;
// always the same way. Every run has its own heap block of exactly the input's size, so that a sanitizer sees a read past the end.
// A directory's files go in sorted order; directories in it are left out.
#include <dirent.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fuzz/input.h"

enum { VARIANTS = 64, INPUT_MAX = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool timed;
static size_t inputs;
static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void run(const uint8_t *data, size_t size, size_t changed, uint8_t value)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        abort();
    if (size > 0)
        memcpy(copy, data, size);
    if (changed < size)
        copy[changed] = value;
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_all(const uint8_t *data, size_t size)
{
    run(data, size, SIZE_MAX, 0);
    size_t variants = &replay_variants ? replay_variants : VARIANTS;
    size_t step = size / variants + 1;
    for (size_t cut = 0; cut < size; cut += step)
        run(data, cut, SIZE_MAX, 0);
    for (size_t i = 0; i < variants && size > 0; i++)
        run(data, size, next_random() % size, (uint8_t)next_random());
    inputs++;
}

static double processor_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// KiB by the name of a line in /proc/self/status (proc(5)).
static long status_kib(const char *name)
{
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof(line), status) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtol(line + strlen(name), NULL, 10);
    if (status != NULL)
        fclose(status);
    return kib;
}

// From here on VmHWM tells the most that there was since now.
static void forget_peak(void)
{
    FILE *refs = fopen("/proc/self/clear_refs", "w");
    malloc_trim(0);
    if (refs == NULL || fputs("5", refs) < 0 || fclose(refs) != 0)
        abort();
}

static void run_timed(const char *path, const uint8_t *data, size_t size)
{
    forget_peak();
    long kib = status_kib("VmRSS:");
    double begin = processor_s();
    run(data, size, SIZE_MAX, 0);
    printf("%s took %.6f s %ld KiB\n", path, processor_s() - begin, status_kib("VmHWM:") - kib);
    fflush(stdout); // the next may not end
}

static int run_file(const char *path, size_t size)
{
    FILE *file = size <= INPUT_MAX ? fopen(path, "rb") : NULL;
    uint8_t *data = malloc(size + 1);
    int failed = file == NULL || data == NULL || fread(data, 1, size, file) != size;
    if (failed)
        fprintf(stderr, "replay: cannot read %s\n", path);
    else if (timed)
        run_timed(path, data, size);
    else
        run_all(data, size);
    free(data);
    if (file != NULL)
        fclose(file);
    return failed;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int run_directory(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, visible, alphasort);
    if (n < 0)
        return 1;
    int failed = 0;
    for (int i = 0; i < n; i++) {
        char inner[4096];
        struct stat status;
        snprintf(inner, sizeof(inner), "%s/%s", path, entries[i]->d_name);
        free(entries[i]);
        if (stat(inner, &status) != 0)
            failed = 1;
        else if (S_ISREG(status.st_mode))
            failed |= run_file(inner, (size_t)status.st_size);
    }
    free(entries);
    return failed;
}

static int run_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        fprintf(stderr, "replay: no such file: %s\n", path);
        return 1;
    }
    return S_ISDIR(status.st_mode) ? run_directory(path) : run_file(path, (size_t)status.st_size);
}

int main(int argc, char **argv)
{
    int failed = 0;
    timed = argc > 1 && strcmp(argv[1], "--times") == 0;
    run(NULL, 0, SIZE_MAX, 0);
    for (int i = timed ? 2 : 1; i < argc; i++)
        failed |= run_path(argv[i]);
    printf("%s 1 - %zu inputs replayed\n", failed ? "not ok" : "ok", inputs);
    return failed;
}
