// Fetching the files that messages came with: which are wanted (the store's table), when, over which connections, and what becomes of
// each try. The bytes go straight to the store's files (store/media_files.h); then what became of it is stored, durable before
// anybody hears of it. Also removes the bytes of files that no message has any more.
//
// And keeps the desk's picture of a customer what it is at the platform (struct avatar; media_avatar.c): behind the messages, eight at a
// time, with five tries a minute and more apart, and by no one's leave but the operator's: a desk fetches it by a public link.
//
// A machine like the dispatcher: no thread, socket, clock or store of its own. In the daemon it has a thread and a loop (relay/
// media_thread.h), so that a slow disk or a large file holds no lane up; the simulator runs it in its one thread.
//
// Rules. Fetched at once when announced, whether or not the lane is due. Refused (VERDICT_REJECTED): failed at once. Everything else:
// tried again with pauses of 2 s doubled to 5 min, jitter, Retry-After obeyed; after GIVE_UP (24 h after the message came) failed with
// the last words. No room on the disk: all fetching rests, nothing is counted, alarm `files_full`. At most 16 at a time, four of one
// account. An account that has as many bytes of files as it may have gets no more: they are tried again each hour, as above, alarm
// `quota_files`. An inactive account's files are fetched all the same: their addresses expire.
#pragma once
#include "base/chance.h"
#include "base/clock.h"
#include "model/file_fetch.h"
#include "model/media_link.h"
#include "relay/board.h"
#include "relay/committer.h"
#include "relay/directory.h"
#include "relay/tally.h"
#include "store/media_files.h"

struct media;

// As struct http_sink (net/http_client.h).
struct media_sink {
    void *arg;
    bool (*write)(void *arg, struct str bytes);
    int64_t max;
};

struct media_ports {
    void *arg;
    // Hands the job to the committer; later, as an event of its own, job->task.run(&job->task) is called. False: not now. Of a
    // STORE_FILE in it the lanes hear before (dispatcher_file_settled), in the order of commits.
    bool (*submit)(void *arg, struct job *job);
    // Sends; the body of a 200 goes to the sink (NULL: to the answer). `done` is called later, once, as an event of its own. The file
    // of an address that is not trusted is never fetched from a private one.
    void *(*send)(void *arg, const struct http_request *request, bool trusted, const struct media_sink *sink,
                  int64_t timeout_ms, void (*done)(void *done_arg, const struct http_response *response),
                  void *done_arg);
    // Ends a call now: its done() is called with HTTP_CANCELLED before this returns.
    void (*cancel)(void *arg, void *call);
    // media_tick at this monotonic time; replaces the one before. 0 = none.
    void (*arm)(void *arg, int64_t at_us);
    void (*stopped)(void *arg); // media_stop is through
};

struct media_options {
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    const struct clock *clock;
    struct media_files *files; // owned by the caller; its one thread is this machine's
    // Read from media_start on; NULL, or not public: customers' pictures are not looked at.
    const struct media_links *links;
    uint64_t seed;
    int64_t max_size;        // of one file, bytes
    int64_t most_file_bytes; // kept of one account; 0: no bound
    int64_t timeout_ms;      // of one request; ten times as long where the file itself is the answer
};

struct media *media_new(const struct media_options *options, const struct media_ports *ports);
void media_free(struct media *media); // after `stopped`
// Takes up what the store wants fetched, and what it has forgotten (at the start).
void media_start(struct media *media);
// Messages with files were accepted (an announcement with wants_files), or a customer's picture is due (store_outcome.avatar_due).
void media_poke(struct media *media);
void media_tick(struct media *media);
// Starts nothing any more and ends what is under way; nothing is counted.
void media_stop(struct media *media);
