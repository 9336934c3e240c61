// Intake: what comes to `listen`. A webhook is verified and parsed on the thread that received it, its events go
// to the committer, and the answer is given when they are durable (or cannot be had). A desk's webhook (/desks/{account})
// says which conversations have news: that is stored, answered, and told (replies.h).
//
// Also the one way events of a polled source come in (intake_submit): the same rules, whoever asks.
#pragma once
#include "net/http_server.h"
#include "relay/clock_watch.h"
#include "relay/committer.h"
#include "relay/directory.h"

struct intake {
    struct directory *directory;
    struct committer *committer;
    struct tally *tally;
    const struct clock *clock;
    struct clock_watch *clock_watch;
    // A desk has told, and it is stored, that these conversations have news. On the thread that received it.
    void (*news)(void *arg, int64_t account_id, const struct str *desk_conversations, size_t count);
    void *news_arg;
};

// For http_server_new: `arg` is the intake.
struct str intake_allow(void *arg, const struct http_request *request);
int intake_head(void *arg, const struct http_request *request, size_t *max_body);
void intake_request(void *arg, struct http_exchange *exchange);

// Events of one source, to be stored together or not at all. Made by intake_batch_new, given to
// intake_submit, freed by whoever gets done().
struct intake_batch {
    struct job job;                // first
    const struct account *account; // counted
    const struct source *source;   // of the account
    struct arena arena;            // the events may live here
    struct store_accept *accepts;
    struct store_change *changes;
    struct tally *tally;
    struct loop *loop; // where done() is called
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
