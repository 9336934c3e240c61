// Intake: what comes to `listen`. A webhook is verified and parsed on the thread that received it, its events go
// to the committer, and the answer is given when they are durable (or cannot be had). A desk's webhook (/desks/{account})
// says which conversations have news: that is stored, answered, and told (replies.h).
//
// A signed link to a kept file (/media/{hash}) is answered by media_door.c.
//
// Also the one way events of a polled source come in (intake_submit): the same rules, whoever asks.
#pragma once
#include "model/media_link.h"
#include "net/http_server.h"
#include "relay/clock_watch.h"
#include "relay/committer.h"
#include "relay/directory.h"
#include "store/media_files.h"

#include <stdatomic.h>

struct intake {
    struct directory *directory;
    struct committer *committer;
    struct tally *tally;
    const struct clock *clock;
    struct clock_watch *clock_watch;
    // A desk has told, and it is stored, that these conversations have news. On the thread that received it.
    void (*news)(void *arg, int64_t account_id, const struct str *desk_conversations, size_t count);
    void *news_arg;
    struct board *board;
    int64_t media_wait_us;                 // a message waits so long at most for its files
    int64_t most_waiting, most_file_bytes; // of one account (struct store_accept)
    struct media_files *files;             // that links lead to; NULL: no file is kept
    const struct media_links *links;
    atomic_int downloads; // of files, under way
};

// For http_server_new: `arg` is the intake.
struct str intake_allow(void *arg, const struct http_request *request);
int intake_head(void *arg, const struct http_request *request, size_t *max_body);
void intake_request(void *arg, struct http_exchange *exchange);

// Events of one source, to be stored together or not at all, but for those that an account's bounds refuse: then `refused` says
// which bound, and all are to be handed over again later (those that were stored are duplicates then). Made by intake_batch_new,
// given to intake_submit, freed by whoever gets done().
struct intake_batch {
    struct job job;                // first
    const struct account *account; // counted
    const struct source *source;   // of the account
    struct arena arena;            // the events may live here
    struct store_accept *accepts;
    struct store_change *changes;
    struct tally *tally;
    struct board *board;
    struct str refused; // out, static: a sentence for people; STR_NONE: nothing was
    struct loop *loop;  // where done() is called
    void (*done)(struct intake_batch *batch, int err);
    void *arg;
};

// Takes over the reference. The events are borrowed until done().
struct intake_batch *intake_batch_new(const struct intake *intake, const struct account *account,
                                      const struct source *source, const struct event *events, size_t count);
// False when the committer takes nothing now: the batch stays the caller's.
bool intake_submit(const struct intake *intake, struct intake_batch *batch, struct loop *loop,
                   void (*done)(struct intake_batch *batch, int err), void *arg);
void intake_batch_free(struct intake_batch *batch);
