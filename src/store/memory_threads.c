#include "store/memory_threads.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct memory_thread {
    int64_t account_id, conversation_id; // conversation_id 0: not known whose it is
    int64_t taken_s, news_at_us;         // 0: none
    struct str desk_conversation;        // behind the struct, in the same allocation
    struct memory_thread *prev, *next;
};

struct memory_search {
    struct store_searched searched;
    struct memory_search *prev, *next;
};

static int compare(const struct memory_thread *thread, int64_t account_id, struct str desk_conversation)
{
    if (thread->account_id != account_id)
        return thread->account_id < account_id ? -1 : 1;
    return str_cmp(thread->desk_conversation, desk_conversation);
}

static struct memory_thread *find(const struct memory_threads *threads, int64_t account_id,
                                  struct str desk_conversation)
{
    struct memory_thread *thread = threads->all;
    while (thread && compare(thread, account_id, desk_conversation) != 0)
        thread = thread->next;
    return thread;
}

static struct memory_thread *get(struct memory_threads *threads, int64_t account_id, struct str desk_conversation)
{
    struct memory_thread *thread = find(threads, account_id, desk_conversation);
    if (thread)
        return thread;
    thread = mem_new(sizeof *thread + desk_conversation.n + 1);
    char *name = (char *)(thread + 1);
    memcpy(name, desk_conversation.p, desk_conversation.n);
    name[desk_conversation.n] = 0;
    *thread = (struct memory_thread){.account_id = account_id, .desk_conversation = {name, desk_conversation.n}};
    struct memory_thread *after = threads->all;
    while (after && compare(after, account_id, desk_conversation) < 0)
        after = after->next;
    if (after)
        DL_PREPEND_ELEM(threads->all, after, thread);
    else
        DL_APPEND(threads->all, thread);
    return thread;
}

// Whether it was there already.
static bool find_search(struct memory_threads *threads, int64_t account_id, int64_t until_s, struct memory_search **out)
{
    DL_SEARCH_SCALAR(threads->searches, *out, searched.account_id, account_id);
    if (*out)
        return true;
    *out = mem_new_of(struct memory_search);
    (*out)->searched = (struct store_searched){account_id, until_s};
    DL_APPEND(threads->searches, *out);
    return false;
}

void memory_threads_add(struct memory_threads *threads, int64_t account_id, struct str desk_conversation,
                        int64_t conversation_id, int64_t at_us)
{
    struct memory_search *search;
    struct memory_thread *thread = get(threads, account_id, desk_conversation);
    if (!thread->conversation_id) // we made it: all that agents say in it is for the customer
        thread->taken_s = 0;
    thread->conversation_id = conversation_id;
    find_search(threads, account_id, at_us / 1000000, &search);
}

static int64_t searched_s(const struct memory_threads *threads, int64_t account_id)
{
    const struct memory_search *search;
    DL_SEARCH_SCALAR(threads->searches, search, searched.account_id, account_id);
    return search ? search->searched.until_s : 0;
}

void memory_threads_news(struct memory_threads *threads, const struct store_news *news)
{
    for (size_t i = 0; i < news->count; i++) {
        bool found = find(threads, news->account_id, news->desk_conversations[i]);
        struct memory_thread *thread = get(threads, news->account_id, news->desk_conversations[i]);
        if (!found)
            thread->taken_s = searched_s(threads, news->account_id);
        if (thread->news_at_us < news->at_us)
            thread->news_at_us = news->at_us;
    }
}

int64_t memory_threads_find(const struct memory_threads *threads, const struct store_thread *asked,
                            int64_t *out_taken_s)
{
    const struct memory_thread *thread = find(threads, asked->account_id, asked->desk_conversation);
    *out_taken_s = thread ? thread->taken_s : 0;
    return thread ? thread->conversation_id : 0;
}

static void forget(struct memory_threads *threads, struct memory_thread *thread)
{
    DL_DELETE(threads->all, thread);
    free(thread);
}

void memory_threads_taken(struct memory_threads *threads, const struct store_taken *taken)
{
    struct memory_thread *thread = taken->conversation_id ? get(threads, taken->account_id, taken->desk_conversation)
                                                          : find(threads, taken->account_id, taken->desk_conversation);
    struct memory_search *search;
    if (!thread)
        return;
    if (thread->news_at_us <= taken->asked_us)
        thread->news_at_us = 0;
    thread->conversation_id = taken->conversation_id;
    if (taken->conversation_id) {
        thread->taken_s = thread->taken_s > taken->taken_s ? thread->taken_s : taken->taken_s;
        find_search(threads, taken->account_id, taken->asked_us / 1000000, &search);
    } else if (thread->news_at_us) {
        thread->taken_s = 0;
    } else {
        forget(threads, thread);
    }
}

void memory_threads_searched(struct memory_threads *threads, const struct store_searched *searched)
{
    struct memory_search *search;
    if (find_search(threads, searched->account_id, searched->until_s, &search) &&
        search->searched.until_s < searched->until_s)
        search->searched.until_s = searched->until_s;
}

void memory_threads_each_news(const struct memory_threads *threads,
                              void (*each)(void *arg, int64_t account_id, struct str desk_conversation), void *arg)
{
    for (const struct memory_thread *thread = threads->all; thread; thread = thread->next)
        if (thread->news_at_us)
            each(arg, thread->account_id, thread->desk_conversation);
}

void memory_threads_each_searched(const struct memory_threads *threads,
                                  void (*each)(void *arg, const struct store_searched *searched), void *arg)
{
    for (const struct memory_search *search = threads->searches; search; search = search->next)
        each(arg, &search->searched);
}

void memory_threads_forget(struct memory_threads *threads, int64_t account_id)
{
    for (struct memory_thread *thread = threads->all, *next; thread; thread = next) {
        next = thread->next;
        if (!account_id || thread->account_id == account_id)
            forget(threads, thread);
    }
    for (struct memory_search *search = threads->searches, *next; search; search = next) {
        next = search->next;
        if (account_id && search->searched.account_id != account_id)
            continue;
        DL_DELETE(threads->searches, search);
        free(search);
    }
}
