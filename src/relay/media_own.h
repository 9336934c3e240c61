// The inside of relay/media.h; for media.c (what is wanted, when, and what is removed) and media_fetch.c (one try at one file).
#pragma once
#include "relay/media.h"

// One try at one file, or at a customer's picture, from its place among those under way to the store's word.
struct media_fetch {
    struct job job; // first: what became of it, on its way to the store
    struct media *media;
    struct arena arena;
    struct wanted_file wanted;     // texts in the arena; of a picture nothing
    struct due_avatar *avatar;     // in the arena; NULL: it is a message's file
    bool tells;                    // the picture is told to the desk, not fetched
    const struct account *account; // counted; NULL: it is gone
    file_fetch_step *step;
    struct file_fetch steps;
    int requests;
    void *call;
    bool gets;                     // the last request was for the file itself
    bool has_body;                 // and its answer brought it
    struct media_sink sink;        // of that request
    struct media_file *file;       // being written; NULL: nothing came yet
    int disk_err;                  // writing failed
    char hash[FILE_HASH_SIZE + 1]; // kept under, and not known to the store yet; "" = not kept
    struct store_file outcome;
    struct store_avatar avatar_outcome;
    struct store_change change;
    struct media_fetch *prev, *next; // the media's
};

struct media {
    struct media_options options;
    struct media_ports ports;
    struct chance chance;
    struct media_fetch *fetches; // under way
    int fetch_count;
    bool stopping, told_stopped;
    bool rests;            // there is no room on the disk
    int64_t rest_until_us; // monotonic, while it rests

    // The files that are due next, as the store gave them.
    struct job look; // JOB_FILES
    bool looking, look_again;
    int64_t look_not_before_us; // monotonic: where much waits the store is not asked for each one
    struct arena page_arena;
    struct wanted_file *page; // those up to page_count that were not begun have a message_id
    size_t page_count;
    // Customers' pictures.
    struct media_fetch *avatars; // under way, besides `fetches`
    struct job avatar_look;      // JOB_AVATARS
    bool avatar_looking, avatar_look_again;
    struct arena avatar_arena;
    int64_t avatar_at_us; // monotonic: when it is looked for them next; 0 = nothing is due

    int64_t look_at_us; // monotonic: something becomes due, or shall be asked for once more; 0 = nothing

    // Bytes that no message has any more.
    struct job gone; // STORE_FILES_GONE
    bool asking_gone;
    struct arena gone_arena;
    struct store_files_gone files_gone;
    struct store_change gone_change;
    int64_t gone_at_us; // monotonic: when it is asked next
    struct str *unsure; // kept ones of which it is not known whether a message has them; owned, and each of them
    size_t unsure_count, unsure_size;
    int parts_read; // of the files that were there at the start: those of the others are not among `unsure` yet
};

int64_t media_now_us(const struct media *media);  // wall time
int64_t media_mono_us(const struct media *media); // monotonic
// media_fetch.c: begins. Takes the wanted file's texts as copies.
void media_fetch_begin(struct media *media, const struct wanted_file *wanted);
// media_fetch.c: the first step.
void media_fetch_start(struct media_fetch *fetch);
// media_fetch.c: ends it without a word to the store.
void media_fetch_free(struct media_fetch *fetch);
// media_fetch.c: cancels the requests in flight.
void media_fetches_cancel(struct media *media);
// media.c: one has ended: there is room for the next.
void media_fetched(struct media *media);
// media.c: the committer takes nothing now: what is wanted is asked for again after a pause.
void media_ask_later(struct media *media);
// media.c: a file was kept that the store may not know of.
void media_is_unsure(struct media *media, struct str hash);
// media.c: the account has so many bytes more: those of its files that wait for a place are to know.
void media_has_more(struct media *media, int64_t account_id, int64_t bytes);
// media.c: the disk takes nothing more now (ERR_FULL, ERR_IO).
void media_rest(struct media *media, int err);
// media.c: a monotonic time that is no further away than a look may be.
int64_t media_at_us(const struct media *media, int64_t pause_us);
// media.c: the timer, after `avatar_at_us` or `gone_at_us` was set.
void media_arm(struct media *media);
// media.c: bytes have just lost their last owner, maybe.
void media_look_for_gone(struct media *media);
// media_avatar.c: takes up the pictures that are due, where links to them can be given.
void media_avatars_look(struct media *media);
// media_avatar.c: the try has its verdict.
void media_avatar_judged(struct media_fetch *fetch, const struct verdict *verdict);
// media_avatar.c: one has ended.
void media_avatar_ended(struct media *media);
