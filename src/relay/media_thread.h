// The thread of relay/media.h, with a loop, clients and a timer of its own: files are written and read here, and base64 is made
// here, so that neither a slow disk nor a large file holds a lane up. Also sends what takes a kept file along (uploads), for the
// relay loop.
#pragma once
#include "net/http_client.h"
#include "relay/media.h"

struct media_thread;

struct media_thread_options {
    struct media_options media;
    struct committer *committer;
    struct loop *relay_loop; // outlives the thread's media; its thread runs what follows
    // It is durable (media.h, the port `submit`). On the relay loop.
    void (*settled)(void *arg, const struct store_file *file);
    void *arg;
    size_t uploads; // that may be sent at a time
};

struct media_thread *media_thread_new(const struct media_thread_options *options);
// Begins to work.
void media_thread_start(struct media_thread *thread);
// As media_poke. Any thread.
void media_thread_poke(struct media_thread *thread);
// Blocks until nothing more is fetched, and what was is stored; uploads go on. The relay loop and the committer must be running.
// Not on the relay loop.
void media_thread_stop(struct media_thread *thread);
// Ends the thread, after media_thread_stop, when no upload is open any more. Before the relay loop ends.
void media_thread_join(struct media_thread *thread);
void media_thread_free(struct media_thread *thread);

// The rest is for the relay loop's thread.
// As http_client_send. It may take longer, for what it carries.
void *media_thread_send(struct media_thread *thread, const struct http_request *request, int64_t timeout_ms,
                        void (*done)(void *arg, const struct http_response *response), void *arg);
// As http_call_cancel, of what media_thread_send gave. False: it is none of those.
bool media_thread_cancel(struct media_thread *thread, void *call);
