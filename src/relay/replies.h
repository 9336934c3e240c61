// Replies on their way in: what agents say at the desk becomes messages of the store, in the order of the desk. (From there
// they go out like all messages: dispatcher.h.)
//
//   notice, or a search that finds what no notice told of -> news of a conversation -> fetched as a whole
//     -> whose is it (store) -> every part newer than what was taken -> replies, stored together with how far was taken
// A part is known by its id: read again it is stored once. News stay in the store until they have been fetched, and a search
// goes back to where the last one ended, so neither a crash nor a desk that is silent for days loses a reply.
//
// Like the dispatcher it takes events and gives actions through its ports, all on one thread (the relay loop's).
#pragma once
#include "base/chance.h"
#include "base/clock.h"
#include "model/http.h"
#include "relay/board.h"
#include "relay/committer.h"
#include "relay/directory.h"
#include "relay/tally.h"

struct replies;

struct replies_ports {
    void *arg;
    // As in struct dispatcher_ports. False: the committer takes nothing now.
    bool (*submit)(void *arg, struct job *job);
    void *(*send)(void *arg, const struct http_request *request, int64_t timeout_ms,
                  void (*done)(void *done_arg, const struct http_response *response), void *done_arg);
    void (*cancel)(void *arg, void *call);
    void (*arm)(void *arg, int64_t at_us);
};

struct replies_options {
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    const struct clock *clock;
    uint64_t seed;
    int64_t timeout_ms;     // of one request
    int64_t keep_dedupe_us; // as in committer_options: how long a part that was taken is known
    int64_t media_wait_us;  // a reply that is a file waits so long at most for it
};

struct replies *replies_new(const struct replies_options *options, const struct replies_ports *ports);
// What the store remembers; before replies_start.
void replies_restore_news(struct replies *replies, int64_t account_id, struct str desk_conversation);
void replies_restore_searched(struct replies *replies, const struct store_searched *searched);
// Takes up what was restored.
void replies_start(struct replies *replies);
// The desk has told, and it is stored, that these conversations have news.
void replies_news(struct replies *replies, int64_t account_id, const struct str *desk_conversations, size_t count);
// A conversation of the account has a counterpart at the desk: from now on the desk is searched.
void replies_linked(struct replies *replies, int64_t account_id);
// The directory has another version of this account, or it has none any more (`now` is inactive then); of an inactive one
// nothing is fetched.
void replies_account_changed(struct replies *replies, const struct account *before, const struct account *now);
// The time armed for has come.
void replies_tick(struct replies *replies);
// Nothing new is begun, requests are cancelled. What is with the committer comes back by itself.
void replies_stop(struct replies *replies);
// Nothing may be with the committer.
void replies_free(struct replies *replies);
