#include "relay/trouble_file.h"

#include "base/mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_MOST = 16 * 1024 }; // of its end

void trouble_file_add(const char *path, int64_t lane, int64_t now_us, bool over)
{
    char line[64];
    int n = over ? snprintf(line, sizeof line, "%" PRId64 " over\n", lane)
                 : snprintf(line, sizeof line, "%" PRId64 " %" PRId64 "\n", lane, now_us / 1000000);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (write(fd, line, (size_t)n) == n)
        (void)fsync(fd);
    close(fd);
}

struct entry {
    int64_t lane, at_s; // at_s -1: over
};

static bool read_line(const char *line, struct entry *out)
{
    char word[24], rest;
    if (sscanf(line, "%" SCNd64 " %23s%c", &out->lane, word, &rest) != 2 || out->lane <= 0)
        return false;
    char *end;
    out->at_s = strcmp(word, "over") == 0 ? -1 : strtoll(word, &end, 10);
    return out->at_s == -1 || (!*end && out->at_s > 0);
}

static bool is_near(int64_t a_s, int64_t b_s)
{
    return a_s > 0 && b_s > 0 && a_s - b_s <= TROUBLE_WITHIN_S && b_s - a_s <= TROUBLE_WITHIN_S;
}

// Whether the entry is the second of two that lie near, with no "over" behind the first.
static bool is_second(const struct entry *entries, size_t at)
{
    for (size_t i = at; i-- > 0 && entries[at].at_s != -1;) {
        if (entries[i].lane != entries[at].lane)
            continue;
        if (entries[i].at_s == -1)
            return false;
        if (is_near(entries[i].at_s, entries[at].at_s))
            return true;
    }
    return false;
}

static bool is_over(const struct entry *entries, size_t count, size_t at)
{
    for (size_t i = at + 1; i < count; i++)
        if (entries[i].lane == entries[at].lane && entries[i].at_s == -1)
            return true;
    return false;
}

static size_t read_entries(char *text, struct entry *out)
{
    size_t count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        count += read_line(line, &out[count]);
    return count;
}

static char *read_end(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *text = mem_new(READ_MOST + 1);
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > READ_MOST ? size - READ_MOST : 0;
    ssize_t n = pread(fd, text, READ_MOST, from);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    if (from) // the first line is cut
        memset(text, ' ', strcspn(text, "\n"));
    return text;
}

void trouble_file_read(const char *path, void (*each)(void *arg, int64_t lane), void *arg)
{
    char *text = read_end(path);
    if (!text)
        return;
    struct entry *entries = mem_new((READ_MOST / 2 + 1) * sizeof *entries);
    size_t count = read_entries(text, entries);
    for (size_t i = 0; i < count; i++)
        if (is_second(entries, i) && !is_over(entries, count, i))
            each(arg, entries[i].lane);
    free(entries);
    free(text);
}
