// Parts of a conversation at the desk as replies to be stored: which of them, in whose words. Pure.
#pragma once
#include "desk/desk.h"
#include "model/account.h"
#include "platform/platform.h"
#include "store/store.h"

// Bots that talk with bots: how many parts of bots a conversation had lately. Zeroed at the start. In the desk's time: what is
// read late was not said all at once.
struct bot_guard {
    int64_t since_s;
    int count;
    uint64_t last; // hash of the id of the part that was counted last; 0: none was
};
enum { BOT_GUARD_MOST = 20, BOT_GUARD_S = 600 };

struct reply_batch {
    struct arena arena;
    struct store_accept *accepts;
    size_t count;
    int64_t taken_s;        // of the newest part that was looked at
    int looped;             // parts that the guard had discarded
    struct bot_guard guard; // once the batch is stored: what is read again is not counted twice
};

// Whose they are.
struct reply_taking {
    const struct account *account;
    const struct platform *platform; // NULL: it is gone
    const struct store_thread *thread;
    int64_t now_us;         // wall time
    int64_t desk_s;         // what the desk's clock says (unix seconds); 0: nothing
    int64_t keep_dedupe_us; // so long the store knows what it has
    int64_t media_wait_us;  // so long a file is waited for
};

// What is not for the customer is left out; what the guard holds back is stored as discarded. Dedupe keys (the store knows no other
// name of a part, so they stay):
//   part:ID  part:ID#2 ...   the first message of a part's words, the second ...
//   part:ID#f1 ...           its files
//   KEY~gone                 KEY was taken back at the desk
//   KEY~SECOND-DIGEST        KEY was changed there in that second; DIGEST is that of the words as they are then
// Whether it was changed at all the store tells: a desk also says that a part is updated when its words are what they were.
void reply_batch_make(struct reply_batch *batch, const struct reply_taking *taking, const struct desk_part *parts,
                      size_t part_count, const struct bot_guard *guard);
void reply_batch_done(struct reply_batch *batch);
