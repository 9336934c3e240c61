// The inside of a relay; for relay.c and relay_calls.c only.
#pragma once
#include "net/http_client.h"
#include "net/http_server.h"
#include "relay/dispatcher.h"
#include "relay/intake.h"
#include "relay/relay.h"
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

struct relay {
    struct relay_options options;
    struct committer *committer;
    struct intake intake;
    struct loop *loop; // the relay loop
    struct loop_timer *timer, *cut_timer;
    int64_t armed_us;
    int64_t cut_at_us; // monotonic: when a stop waits for nothing more
    struct http_client *client;
    struct dispatcher *dispatcher;
    struct sources *sources;
    struct checks *checks;
    struct door doors[MOST_DOORS];
    int door_count;
    pthread_t committer_thread, loop_thread;
    struct store_reader *reader; // for what is asked by hand; under `lock`
    pthread_mutex_t lock;        // also of the flags that relay_stop waits for
    pthread_cond_t changed;
    bool dispatcher_stopped;
    int doors_drained;
};

// done() of jobs whose task belongs on the relay loop; job->owner is the relay.
void relay_job_to_loop(struct job *job);
