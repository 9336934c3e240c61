// The inside of a relay; for relay.c, relay_calls.c and relay_accounts.c only.
#pragma once
#include "model/media_link.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "relay/by_hand.h"
#include "relay/dispatcher.h"
#include "relay/intake.h"
#include "relay/media_thread.h"
#include "relay/relay.h"
#include "relay/replies.h"
#include "relay/sources.h"

#include <pthread.h>

enum { MOST_DOORS = 4 }; // HTTP threads

// One HTTP thread.
struct door {
    struct relay *relay;
    struct loop *loop;
    struct http_server *server;
    struct loop_timer *look;
    int64_t drain_until_us;
    struct loop_task task;
    pthread_t thread;
};

enum { MOST_CLIENTS = 16 };

struct relay {
    struct relay_options options;
    struct committer *committer;
    struct intake intake;
    struct loop *loop; // the relay loop
    struct loop_timer *timer, *cut_timer, *hurry_timer;
    int64_t armed_us;
    int64_t cut_at_us; // monotonic: when a stop waits for nothing more
    // Several, since libcurl looks through all connections of one for each request. The first ones are used first, so that
    // little traffic keeps to few connections.
    struct http_client *clients[MOST_CLIENTS];
    int client_count;
    struct dispatcher *dispatcher;
    struct sources *sources;
    struct replies *replies;
    struct loop_timer *replies_timer;
    struct checks *checks;
    struct media_thread *media;
    struct media_links links;
    struct door doors[MOST_DOORS];
    int door_count;
    pthread_t committer_thread, flusher_thread, loop_thread;
    struct by_hand_ports by_hand;     // with the relay loop's reader
    struct store_reader *bulk_reader; // under `bulk_lock`
    pthread_mutex_t bulk_lock;
    pthread_mutex_t lock; // also of the flags that relay_stop waits for
    pthread_cond_t changed;
    bool dispatcher_stopped;
    atomic_bool ending_calls; // what waits long for others gives up
    int doors_drained;
};

// A question of another thread to the relay loop: it blocks until call_answer.
struct call {
    struct loop_task task; // first
    struct relay *relay;
    struct job job;
    struct store_change *changes;
    int err;
    bool answered;
    // The question
    const struct relay_account_put *accounts;
    struct account **moved;
    struct store_account_put *puts;
    struct store_account_active *actives;
    size_t count;
    int64_t account_id;
    const struct account *account;
    struct store_account_gone gone;
    int64_t message_id;
    struct by_hand hand;
    const struct skipped *skipped;
    struct store_change change;
    struct lane_view *lanes;
    struct account_view *account_view;
};

// Has `run` called on the relay loop and waits for the answer.
int call_wait(struct relay *relay, struct call *call, void (*run)(struct loop_task *task));
void call_answer(struct call *call, int err);
// From the relay loop: the changes go to the committer, then `run` is called on the loop, in the order of commits.
void call_submit(struct call *call, struct store_change *changes, size_t count, void (*run)(struct loop_task *task));
// The call in that `run`.
struct call *call_of_job(struct loop_task *task);

// done() of jobs whose task belongs on the relay loop; job->owner is the relay.
void relay_job_to_loop(struct job *job);
