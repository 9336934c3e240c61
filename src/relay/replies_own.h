// The inside of replies.c, reply_fetch.c and reply_search.c.
#pragma once
#include "base/heap.h"
#include "base/table.h"
#include "relay/replies.h"
#include "relay/reply_parts.h"

// Something that waits for a monotonic time.
struct reply_due {
    struct heap_item item; // first
    void (*run)(struct reply_due *due);
};

// A conversation of the desk that has news: in its reader's line, being fetched, or waiting to be in line again. Or that had
// some lately, of bots.
struct thread_news {
    struct reply_due due;    // first
    struct str conversation; // owned
    struct reader *reader;
    bool in_line, fetching;
    bool again;    // more news came while it was being fetched
    int failures;  // in a row, of this conversation alone
    bool given_up; // for now: it could not be read so often that it waits for the next search
    int unknown;   // so often the store did not know whose it is
    struct bot_guard guard;
    int64_t guarded_us;              // monotonic: it was counted with then
    struct thread_news *prev, *next; // in line
    UT_hash_handle hh;
};

// Reads the desk of one account. In memory while there is something to read, or to search.
struct reader {
    struct reply_due due; // first
    struct replies *replies;
    int64_t account_id;
    struct thread_news *news; // hash
    struct thread_news *line; // those that are to be fetched, the one that waits longest first
    int fetching;
    int failures;                // in a row
    int64_t not_before_us;       // monotonic
    bool searches;               // it has conversations at the desk
    int64_t searched_s;          // unix seconds: news from before that were found
    int search_failures;         // in a row, that are of searches alone
    int64_t next_search_us;      // monotonic
    struct reply_search *search; // under way, or NULL
    UT_hash_handle hh;
};

struct replies {
    struct replies_options options;
    struct replies_ports ports;
    struct chance chance;
    struct heap dues;
    struct reader *readers; // hash
    int fetching;           // of all
    struct fetch *fetches;  // all
    bool stopping;
};

// reply_fetch.c: begins to fetch it; ends in reader_fetched or reader_failed.
void fetch_begin(struct thread_news *news, const struct account *account);
// Its request is cancelled; what is with the committer comes back.
void fetches_cancel(struct replies *replies);

// replies.c: the news were fetched and what they held is stored.
void reader_fetched(struct thread_news *news);
// Nobody knows whose it is: our own record of it may still be on its way, since its agent was quick. True: it is read again
// in a moment, and stays news until then; false: it is nobody's.
bool reader_waits_for_owner(struct thread_news *news);
// They were not; `verdict`: why. It stays in line.
void reader_failed(struct thread_news *news, const struct verdict *verdict);

// reply_search.c: begins it; ends in reader_searched or reader_search_failed. The account is active.
void search_begin(struct reader *reader, const struct account *account);
void search_cancel(struct reader *reader);
void reader_searched(struct reader *reader, int64_t until_s);
void reader_search_failed(struct reader *reader, const struct verdict *verdict);

int64_t replies_now_us(const struct replies *replies);  // wall time
int64_t replies_mono_us(const struct replies *replies); // monotonic
