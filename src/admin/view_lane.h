// A lane as the API shows it: what the store has of it (head, how many wait) and what the relay loop says of it (state, what it
// waits for), in words and in one sentence; and what a person can do about it, as exact commands.
#pragma once
#include "admin/view.h"

// Texts in the exchange's arena.
struct shown_lane {
    int64_t account_id, lane;
    int64_t waiting;
    struct message head; // id 0: nothing waits in it any more
    struct str file;     // of the head's: the first that is to be fetched, as it is called; STR_NONE: none is
    size_t more_files;   // behind it
    struct lane_view view;
};

// Reads lanes into `out` (room for `limit`), as store_reader_ops.lanes does; *out_last is the last one looked at.
int shown_lanes_read(struct api_call *call, const struct lane_filter *filter, int64_t after, size_t limit,
                     struct shown_lane *out, size_t *out_count);
// Blocks: for worker threads.
int shown_lanes_look(struct relay *relay, struct shown_lane *lanes, size_t count, struct account_view *account);

// Members of an object that is open: all that a list shows.
void view_lane(struct json *json, struct api_call *call, const struct shown_lane *lane);
// The attempts of its head, the latest `most` of them, oldest first. An err of the store, after which the text is no JSON.
int view_lane_history(struct json *json, struct api_call *call, const struct shown_lane *lane, size_t most);
// What was skipped where nothing waits any more.
struct skipped_there {
    int64_t count; // at most `most`, where there may be more
    int64_t most;
    struct str source, thread; // STR_NONE: of the whole account
};

// "hints" (sentences) and "can" ({"command", "does"}) of the account and this lane (NULL: none waits); `skipped` may be NULL.
void view_lane_help(struct json *json, struct api_call *call, const struct account *account,
                    const struct shown_lane *lane, const struct skipped_there *skipped);
// "desk": platform and health of the account's.
void view_lane_desk(struct json *json, struct api_call *call, const struct account *account);
// "bot": the same of who takes the replies to the source; null where nobody does, or `source` is NULL.
void view_lane_bot(struct json *json, struct api_call *call, const struct source *source);
// The source whose bot takes the lane's messages; NULL: the desk does, or nobody. `lane` may be NULL.
const struct source *shown_lane_bot(const struct account *account, const struct shown_lane *lane);
