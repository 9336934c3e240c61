#include "bench/support/book.h"
#include "bench/support/histogram.h"
#include "bench/support/mark.h"

#include <stdlib.h>
#include <string.h>

enum { LOST_SHOWN = 20, LANES_FIRST = 1024, SERIALS_FIRST = 64 };

struct lane {
    uint64_t *seen; // one bit a serial
    uint32_t size;  // bits there are
    uint32_t last;  // highest serial that came
    uint32_t count; // different ones that came
    uint32_t expected;
};

static struct {
    struct lane *lane;
    size_t lanes;
    bool told; // what to expect
    uint32_t split;
    uint64_t deliveries, received, duplicated, reordered, misplaced, malformed, bytes;
    uint64_t first_ns, last_ns;
    struct histogram below, above;
} book = {.split = UINT32_MAX};

static void *resized(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p)
        abort();
    return p;
}

static struct lane *lane_get(uint32_t number)
{
    if (number >= book.lanes) {
        size_t lanes = book.lanes ? book.lanes : LANES_FIRST;
        while (lanes <= number)
            lanes *= 2;
        book.lane = resized(book.lane, lanes * sizeof(*book.lane));
        memset(book.lane + book.lanes, 0, (lanes - book.lanes) * sizeof(*book.lane));
        book.lanes = lanes;
    }
    return &book.lane[number];
}

static bool lane_has(const struct lane *lane, uint32_t serial)
{
    return serial < lane->size && lane->seen[serial / 64] >> (serial % 64) & 1;
}

static void lane_add(struct lane *lane, uint32_t serial)
{
    if (serial >= lane->size) {
        uint32_t size = lane->size ? lane->size : SERIALS_FIRST;
        while (size <= serial)
            size *= 2;
        lane->seen = resized(lane->seen, size / 8);
        memset((char *)lane->seen + lane->size / 8, 0, (size - lane->size) / 8);
        lane->size = size;
    }
    lane->seen[serial / 64] |= 1ULL << (serial % 64);
    lane->count++;
}

uint32_t book_message(const char *body, size_t n)
{
    struct mark mark;
    uint64_t now = mark_now_ns();
    if (!mark_find(body, n, &mark)) {
        book.malformed++;
        return UINT32_MAX;
    }
    book.deliveries++;
    book.bytes += n;
    book.last_ns = now;
    if (!book.first_ns)
        book.first_ns = now;
    struct lane *lane = lane_get(mark.lane);
    if (lane_has(lane, mark.serial)) {
        book.duplicated++;
        return mark.lane;
    }
    book.received++;
    if (mark.serial < lane->last)
        book.reordered++;
    else
        lane->last = mark.serial;
    lane_add(lane, mark.serial);
    histogram_add(mark.lane < book.split ? &book.below : &book.above, now > mark.sent_ns ? now - mark.sent_ns : 0);
    return mark.lane;
}

void book_malformed(void)
{
    book.malformed++;
}

void book_misplaced(void)
{
    book.misplaced++;
}

bool book_expect(const char *body, size_t n)
{
    const char *end = body + n;
    for (const char *p = body; p < end;) {
        uint64_t lane, count;
        if (!mark_number(&p, end, MARK_LANES_MAX, &lane) || !mark_number(&p, end, 999999999, &count))
            return false;
        lane_get((uint32_t)lane)->expected = (uint32_t)count;
        if (p < end && *p++ != '\n')
            return false;
    }
    book.told = true;
    return true;
}

void book_split(uint32_t lane)
{
    book.split = lane;
    memset(&book.below, 0, sizeof(book.below));
    memset(&book.above, 0, sizeof(book.above));
}

void book_reset(void)
{
    uint32_t split = book.split;
    for (size_t i = 0; i < book.lanes; i++)
        free(book.lane[i].seen);
    free(book.lane);
    memset(&book, 0, sizeof(book));
    book.split = split;
}

// Writes the list of the first lost ones and counts all, those of one lane up to and with `upto`.
static void count_lost(uint32_t number, uint32_t upto, FILE *out, uint64_t *lost)
{
    const struct lane *lane = &book.lane[number];
    for (uint32_t serial = 1; serial <= upto; serial++) {
        if (lane_has(lane, serial))
            continue;
        if (*lost < LOST_SHOWN)
            fprintf(out, "%s\"%u/%u\"", *lost ? "," : "", number, serial);
        (*lost)++;
    }
}

static void print_lost(FILE *out)
{
    uint64_t lost = 0, expected = 0, unexpected = 0;
    fputs("\"lost_first\":[", out);
    for (size_t i = 0; i < book.lanes; i++) {
        const struct lane *lane = &book.lane[i];
        uint32_t upto = book.told ? lane->expected : lane->last;
        uint64_t before = lost;
        expected += lane->expected;
        if (lane->count < upto || lane->last > upto)
            count_lost((uint32_t)i, upto, out, &lost);
        if (book.told)
            unexpected += lane->count - (upto - (lost - before));
    }
    fprintf(out, "],\"lost\":%llu,\"expected\":", (unsigned long long)lost);
    fprintf(out, book.told ? "%llu" : "null", (unsigned long long)expected);
    fprintf(out, ",\"unexpected\":%llu", (unsigned long long)unexpected);
}

void book_print_progress(FILE *out)
{
    fprintf(out, "\"received\":%llu,\"deliveries\":%llu", (unsigned long long)book.received,
            (unsigned long long)book.deliveries);
}

void book_print(FILE *out)
{
    print_lost(out);
    fprintf(out,
            ",\"received\":%llu,\"deliveries\":%llu,\"duplicated\":%llu,\"reordered\":%llu,\"misplaced\":%llu,"
            "\"malformed\":%llu,\"bytes\":%llu,\"first_ns\":%llu,\"last_ns\":%llu,\"latency_us\":",
            (unsigned long long)book.received, (unsigned long long)book.deliveries, (unsigned long long)book.duplicated,
            (unsigned long long)book.reordered, (unsigned long long)book.misplaced, (unsigned long long)book.malformed,
            (unsigned long long)book.bytes, (unsigned long long)book.first_ns, (unsigned long long)book.last_ns);
    histogram_print(&book.below, out);
    fputs(",\"latency_above_us\":", out);
    histogram_print(&book.above, out);
}
