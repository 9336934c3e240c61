#include "relay/media_thread.h"

#include "base/mem.h"
#include "base/must.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

enum {
    FETCH_CONNECTIONS = 16,      // of each of the two clients
    SLOWEST_FETCH = 4096,        // bytes a second
    SLOWEST_UPLOAD = 128 * 1024, // the same
    NICE = 10,
};

struct media_thread {
    struct media_thread_options options;
    struct loop *loop;
    struct loop_timer *timer;
    pthread_t thread;
    struct media *media;
    struct http_client *trusted;   // to the platforms and desks that the operator named
    struct http_client *strangers; // to addresses out of messages: public ones alone
    struct http_client *uploads;
    struct upload *open; // the relay loop's: uploads that have not ended there
    struct loop_task start, poke, stop;
    atomic_bool poked; // `poke` is on its way
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopped;
};

// ---- uploads ----

// Known to both loops, and gone when neither holds it any more. What is the relay loop's: done, arg, cancelled, prev, next. The
// media loop's: call.
struct upload {
    struct loop_task task;        // to the media loop, and back
    struct loop_task cancel_task; // to the media loop
    struct media_thread *thread;
    struct arena arena; // of the request, then of the answer, too
    struct http_request request;
    struct http_response response;
    int64_t timeout_ms;
    void (*done)(void *arg, const struct http_response *response);
    void *arg;
    bool cancelled;
    struct http_call *call;
    atomic_int holders;
    struct upload *prev, *next;
};

static void upload_unref(struct upload *upload)
{
    if (atomic_fetch_sub(&upload->holders, 1) > 1)
        return;
    arena_done(&upload->arena);
    free(upload);
}

static void on_upload_back(struct loop_task *task)
{
    struct upload *upload = (struct upload *)task;
    if (!upload->cancelled) {
        DL_DELETE(upload->thread->open, upload);
        upload->done(upload->arg, &upload->response);
    }
    upload_unref(upload);
}

static const struct http_header *headers_in(struct arena *arena, const struct http_header *headers, size_t count)
{
    struct http_header *copy = arena_alloc(arena, (count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = (struct http_header){arena_str(arena, headers[i].name), arena_str(arena, headers[i].value)};
    return copy;
}

static void on_uploaded(void *arg, const struct http_response *response)
{
    struct upload *upload = arg;
    upload->call = NULL;
    upload->response = *response;
    upload->response.headers = headers_in(&upload->arena, response->headers, response->header_count);
    upload->response.body = arena_str(&upload->arena, response->body);
    upload->response.error = arena_str(&upload->arena, response->error);
    upload->task.run = on_upload_back;
    must(loop_post(upload->thread->options.relay_loop, &upload->task)); // it outlives this thread
}

static void on_upload(struct loop_task *task)
{
    struct upload *upload = (struct upload *)task;
    upload->call = http_client_send(upload->thread->uploads, &upload->request, upload->timeout_ms, on_uploaded, upload);
}

static void on_upload_cancelled(struct loop_task *task)
{
    struct upload *upload = (struct upload *)((char *)task - offsetof(struct upload, cancel_task));
    if (upload->call)
        http_call_cancel(upload->call);
    upload_unref(upload);
}

static const struct http_part *parts_in(struct arena *arena, const struct http_part *parts, size_t count)
{
    struct http_part *copy = arena_alloc(arena, (count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = parts[i];
        copy[i].bytes = arena_str(arena, parts[i].bytes);
        copy[i].file = arena_str(arena, parts[i].file);
    }
    return copy;
}

static struct http_request request_in(struct arena *arena, const struct http_request *request)
{
    return (struct http_request){
        .method = arena_str(arena, request->method),
        .target = arena_str(arena, request->target),
        .headers = headers_in(arena, request->headers, request->header_count),
        .header_count = request->header_count,
        .body = arena_str(arena, request->body),
        .parts = parts_in(arena, request->parts, request->part_count),
        .part_count = request->part_count,
    };
}

static int64_t upload_ms(const struct http_request *request)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < request->part_count; i++)
        bytes += request->parts[i].file.p ? request->parts[i].file_size : 0;
    return bytes * 1000 / SLOWEST_UPLOAD;
}

void *media_thread_send(struct media_thread *thread, const struct http_request *request, int64_t timeout_ms,
                        void (*done)(void *arg, const struct http_response *response), void *arg)
{
    struct upload *upload = mem_new_of(struct upload);
    upload->thread = thread;
    upload->request = request_in(&upload->arena, request);
    upload->timeout_ms = timeout_ms + upload_ms(request);
    upload->done = done;
    upload->arg = arg;
    upload->task.run = on_upload;
    atomic_init(&upload->holders, 1);
    DL_APPEND(thread->open, upload);
    must(loop_post(thread->loop, &upload->task)); // it runs until nothing is open
    return upload;
}

bool media_thread_cancel(struct media_thread *thread, void *call)
{
    struct upload *upload = thread->open;
    while (upload && upload != call)
        upload = upload->next;
    if (!upload)
        return false;
    upload->cancelled = true;
    DL_DELETE(thread->open, upload);
    atomic_fetch_add(&upload->holders, 1);
    upload->cancel_task.run = on_upload_cancelled;
    must(loop_post(thread->loop, &upload->cancel_task));
    // Whether it was sent as a whole is found out too late.
    upload->done(upload->arg,
                 &(struct http_response){.failure = HTTP_CANCELLED, .written = true, .error = STR("stopped")});
    return true;
}

// ---- the ports of the machine ----

// What became of a file, on its way back over the relay loop: lanes hear of it in the order of commits.
struct told {
    struct loop_task task; // first
    struct media_thread *thread;
    struct job *job;
};

static void back_to_media(struct media_thread *thread, struct job *job)
{
    must(loop_post(thread->loop, &job->task)); // it ends after its media
}

static void on_told(struct loop_task *task)
{
    struct told *told = (struct told *)task;
    struct media_thread *thread = told->thread;
    for (size_t i = 0; i < told->job->change_count && !told->job->err; i++)
        if (told->job->changes[i].kind == STORE_FILE)
            thread->options.settled(thread->options.arg, told->job->changes[i].file);
    back_to_media(thread, told->job);
    free(told);
}

// On the committer's thread or the flusher's.
static void on_job_done(struct job *job)
{
    struct media_thread *thread = job->owner;
    if (job->kind != JOB_CHANGES) {
        back_to_media(thread, job);
        return;
    }
    struct told *told = mem_new_of(struct told);
    told->thread = thread;
    told->job = job;
    told->task.run = on_told;
    must(loop_post(thread->options.relay_loop, &told->task));
}

static bool port_submit(void *arg, struct job *job)
{
    struct media_thread *thread = arg;
    job->owner = thread;
    job->done = on_job_done;
    return committer_submit(thread->options.committer, job);
}

static void *port_send(void *arg, const struct http_request *request, bool trusted, const struct media_sink *sink,
                       int64_t timeout_ms, void (*done)(void *done_arg, const struct http_response *response),
                       void *done_arg)
{
    struct media_thread *thread = arg;
    struct http_client *client = trusted ? thread->trusted : thread->strangers;
    if (!sink)
        return http_client_send(client, request, timeout_ms, done, done_arg);
    struct http_sink to = {.arg = sink->arg, .write = sink->write, .max = sink->max, .min_rate = SLOWEST_FETCH};
    return http_client_fetch(client, request, timeout_ms, &to, done, done_arg);
}

static void port_cancel(void *arg, void *call)
{
    (void)arg;
    http_call_cancel(call);
}

static void port_arm(void *arg, int64_t at_us)
{
    struct media_thread *thread = arg;
    int64_t pause_us = at_us - clock_mono_us(thread->options.media.clock);
    if (at_us)
        loop_timer_set(thread->timer, pause_us > 0 ? (pause_us + 999) / 1000 : 0);
    else
        loop_timer_clear(thread->timer);
}

static void on_timer(void *arg)
{
    struct media_thread *thread = arg;
    media_tick(thread->media);
}

static void port_stopped(void *arg)
{
    struct media_thread *thread = arg;
    pthread_mutex_lock(&thread->lock);
    thread->stopped = true;
    pthread_cond_broadcast(&thread->changed);
    pthread_mutex_unlock(&thread->lock);
}

// ---- the thread ----

static int64_t read_file(void *arg, struct str hash, int64_t offset, char *room, size_t size)
{
    struct media_files *files = arg;
    return files->ops->read(files, hash, offset, room, size);
}

static void make_clients(struct media_thread *thread)
{
    struct http_client_options client;
    http_client_options_default(&client);
    client.max_connections = FETCH_CONNECTIONS;
    thread->trusted = http_client_new(thread->loop, &client);
    client.refuse_private = true;
    thread->strangers = http_client_new(thread->loop, &client);
    client.refuse_private = false;
    client.max_connections = thread->options.uploads;
    client.read_file = read_file;
    client.read_file_arg = thread->options.media.files;
    thread->uploads = http_client_new(thread->loop, &client);
}

struct media_thread *media_thread_new(const struct media_thread_options *options)
{
    struct media_thread *thread = mem_new_of(struct media_thread);
    struct media_ports ports = {
        .arg = thread,
        .submit = port_submit,
        .send = port_send,
        .cancel = port_cancel,
        .arm = port_arm,
        .stopped = port_stopped,
    };
    thread->options = *options;
    pthread_mutex_init(&thread->lock, NULL);
    pthread_cond_init(&thread->changed, NULL);
    thread->loop = loop_new();
    thread->timer = loop_timer_new(thread->loop, on_timer, thread);
    make_clients(thread);
    thread->media = media_new(&options->media, &ports);
    return thread;
}

// Hashing, base64 and the copying of files give way to messages where there is not enough of a processor for both, also where an
// operator gave the process a real-time policy, which knows no niceness.
static void give_way(void)
{
    if (sched_getscheduler(0) != SCHED_IDLE)
        sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
}

static void *run(void *arg)
{
    give_way();
    loop_run(arg);
    return NULL;
}

static void on_start(struct loop_task *task)
{
    media_start(((struct media_thread *)((char *)task - offsetof(struct media_thread, start)))->media);
}

void media_thread_start(struct media_thread *thread)
{
    must(pthread_create(&thread->thread, NULL, run, thread->loop) == 0);
    pthread_setname_np(thread->thread, "media");
    thread->start.run = on_start;
    must(loop_post(thread->loop, &thread->start));
}

static void on_poke(struct loop_task *task)
{
    struct media_thread *thread = (struct media_thread *)((char *)task - offsetof(struct media_thread, poke));
    atomic_store(&thread->poked, false);
    media_poke(thread->media);
}

void media_thread_poke(struct media_thread *thread)
{
    if (atomic_exchange(&thread->poked, true))
        return;
    thread->poke.run = on_poke;
    must(loop_post(thread->loop, &thread->poke));
}

static void on_stop(struct loop_task *task)
{
    media_stop(((struct media_thread *)((char *)task - offsetof(struct media_thread, stop)))->media);
}

void media_thread_stop(struct media_thread *thread)
{
    thread->stop.run = on_stop;
    must(loop_post(thread->loop, &thread->stop));
    pthread_mutex_lock(&thread->lock);
    while (!thread->stopped)
        pthread_cond_wait(&thread->changed, &thread->lock);
    pthread_mutex_unlock(&thread->lock);
}

void media_thread_join(struct media_thread *thread)
{
    loop_stop(thread->loop);
    pthread_join(thread->thread, NULL);
}

void media_thread_free(struct media_thread *thread)
{
    if (!thread)
        return;
    media_free(thread->media);
    http_client_free(thread->trusted);
    http_client_free(thread->strangers);
    http_client_free(thread->uploads);
    loop_timer_free(thread->timer);
    loop_free(thread->loop);
    pthread_mutex_destroy(&thread->lock);
    pthread_cond_destroy(&thread->changed);
    free(thread);
}
