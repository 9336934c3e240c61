// Threads at desks, of the store in memory (store.h, "Threads at a desk"). The caller holds the store's lock.
#pragma once
#include "store/store.h"

struct memory_thread;
struct memory_search;

struct memory_threads {
    struct memory_thread *all; // ordered by account and name
    struct memory_search *searches;
};

// A link names it for the first time. At `at_us` (wall time) nobody had searched the desk for it.
void memory_threads_add(struct memory_threads *threads, int64_t account_id, struct str desk_conversation,
                        int64_t conversation_id, int64_t at_us);
void memory_threads_news(struct memory_threads *threads, const struct store_news *news);
// The id of our conversation; 0: not known.
int64_t memory_threads_find(const struct memory_threads *threads, const struct store_thread *asked,
                            int64_t *out_taken_s);
void memory_threads_taken(struct memory_threads *threads, const struct store_taken *taken);
void memory_threads_searched(struct memory_threads *threads, const struct store_searched *searched);
void memory_threads_each_news(const struct memory_threads *threads,
                              void (*each)(void *arg, int64_t account_id, struct str desk_conversation), void *arg);
void memory_threads_each_searched(const struct memory_threads *threads,
                                  void (*each)(void *arg, const struct store_searched *searched), void *arg);
// The account is removed; 0: all are.
void memory_threads_forget(struct memory_threads *threads, int64_t account_id);
