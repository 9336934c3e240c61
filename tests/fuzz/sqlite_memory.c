#include "fuzz/sqlite_memory.h"

#include "base/must.h"

#include <sanitizer/asan_interface.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mman.h>

// It reads sizes from poisoned memory, and what it does is no news of the code that the fuzzer is after.
#ifdef __clang__ // the lint reads it with gcc, too
#pragma clang attribute push(__attribute__((no_sanitize("address", "coverage"))), apply_to = function)
#endif

// Before each block stands its size, behind it half as much room as it has, all poisoned: never less than the sanitizer's memory leaves.
// A new block is filled like there.
enum { HEAD = 16, FILL = 0xbe, FILL_MAX = 4096 };

static const size_t room = (size_t)1 << 30;
static char *memory;
static size_t used, kept;            // bytes; kept: taken before the execution
static size_t blocks, blocks_before; // given out now, and before the execution

static int *size_of(void *block)
{
    return (int *)(void *)((char *)block - HEAD);
}

static int block_size(void *block)
{
    int size = *size_of(block);
    must(size > 0 && !__asan_address_is_poisoned(block)); // else it was given back before
    return size;
}

static void *take(int size)
{
    char *block = memory + used + HEAD;
    size_t end = used + HEAD + (((size_t)size + (size_t)size / 2 + HEAD - 1) & ~(size_t)(HEAD - 1));
    must(size > 0 && end + HEAD <= room); // as much as the fuzzer's -rss_limit_mb
    *size_of(block) = size;
    ASAN_UNPOISON_MEMORY_REGION(block, (size_t)size);
    memset(block, FILL, size < FILL_MAX ? (size_t)size : FILL_MAX);
    used = end;
    blocks++;
    return block;
}

static void give_back(void *block)
{
    if (!block)
        return;
    must((char *)block >= memory + kept); // what was there before the execution outlives it
    ASAN_POISON_MEMORY_REGION(block, (size_t)block_size(block));
    blocks--;
}

static void *resize(void *block, int size)
{
    int before = block_size(block);
    void *moved = take(size);
    memcpy(moved, block, (size_t)(before < size ? before : size));
    give_back(block);
    return moved;
}

static int round_up(int size)
{
    return (size + 7) & ~7;
}

static int start(void *arg)
{
    (void)arg;
    return SQLITE_OK;
}

static void stop(void *arg)
{
    (void)arg;
}

void sqlite_memory_begin(void)
{
    static const struct sqlite3_mem_methods methods = {.xMalloc = take,
                                                       .xFree = give_back,
                                                       .xRealloc = resize,
                                                       .xSize = block_size,
                                                       .xRoundup = round_up,
                                                       .xInit = start,
                                                       .xShutdown = stop};
    memory = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(memory != MAP_FAILED);
    ASAN_POISON_MEMORY_REGION(memory, room);
    must(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK);
}

void sqlite_memory_renew(void)
{
    if (!kept) {
        kept = used;
        blocks_before = blocks;
    }
    must(blocks == blocks_before);
    used = kept;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
