#include "app/http_local.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    return buf_add(arg, bytes, size * n) ? 0 : size * n;
}

static void set_up(CURL *curl, const char *socket, const char *method, const char *url, struct str body, int timeout_s,
                   struct buf *out)
{
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); // a name that is ".." would make another path of it
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)timeout_s);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "tributary/" TRIBUTARY_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.p ? body.p : "");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body.n);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    }
}

static const char *reason_of(CURLcode code, const char *socket, long system_error, struct arena *arena)
{
    struct stat status;
    const char *hint = "name its socket with --socket, or its configuration with -c";
    if (code == CURLE_OPERATION_TIMEDOUT)
        return arena_printf(arena, "the relay at %s did not answer in time", socket).p;
    if (code != CURLE_COULDNT_CONNECT)
        return arena_printf(arena, "the relay at %s did not answer: %s", socket, curl_easy_strerror(code)).p;
    if (stat(socket, &status) && errno == ENOENT)
        return arena_printf(arena, "the relay does not run, or it is another one: there is no %s; %s", socket, hint).p;
    return arena_printf(arena, "the relay does not answer at %s: %s; %s", socket,
                        strerrordesc_np(system_error ? (int)system_error : ECONNREFUSED), hint)
        .p;
}

static int on_progress(void *arg, curl_off_t to_come, curl_off_t came, curl_off_t to_go, curl_off_t went)
{
    const struct http_local_waiter *waiter = arg;
    (void)to_come, (void)came, (void)to_go, (void)went;
    waiter->tick(waiter->arg);
    return 0;
}

bool http_local_call(const char *socket, const char *method, const char *target, struct str body, int timeout_s,
                     const struct http_local_waiter *waiter, struct arena *arena, struct http_local_answer *out,
                     const char **why)
{
    struct str url = arena_printf(arena, "http://localhost%s", target);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    buf_init(&out->body, HTTP_LOCAL_ANSWER_MAX);
    if (!curl || !headers) {
        *why = "memory is out";
        return false;
    }
    set_up(curl, socket, method, url.p, body, timeout_s, &out->body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (waiter) {
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, waiter);
    }
    CURLcode code = curl_easy_perform(curl);
    long status = 0, system_error = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &system_error);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    out->status = (int)status;
    if (code == CURLE_OK)
        return true;
    *why = reason_of(code, socket, system_error, arena);
    buf_done(&out->body);
    return false;
}

struct listening {
    CURL *curl;
    const struct http_local_listener *listener;
    struct buf *problem;
    bool stopped;
};

static size_t on_stream(char *bytes, size_t size, size_t n, void *arg)
{
    struct listening *listening = arg;
    long status = 0;
    curl_easy_getinfo(listening->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return buf_add(listening->problem, bytes, size * n) ? 0 : size * n;
    listening->stopped = !listening->listener->on_bytes(listening->listener->arg, (struct str){bytes, size * n});
    return listening->stopped ? 0 : size * n;
}

// libcurl wakes for it, but does not say why.
static bool is_left(int fd)
{
    struct pollfd pipe = {.fd = fd};
    return poll(&pipe, 1, 0) > 0 && pipe.revents & (POLLERR | POLLHUP | POLLNVAL);
}

// Goes on until the transfer is over; true when nobody reads any more.
static bool perform(CURLM *multi, int reader_fd)
{
    int running = 1;
    while (curl_multi_perform(multi, &running) == CURLM_OK && running) {
        struct curl_waitfd reader = {.fd = reader_fd};
        if (curl_multi_poll(multi, &reader, 1, 60000, NULL) != CURLM_OK)
            break;
        if (is_left(reader_fd))
            return true;
    }
    return false;
}

static CURLcode code_of(CURLM *multi)
{
    int left;
    const CURLMsg *message = curl_multi_info_read(multi, &left);
    return message ? message->data.result : CURLE_OUT_OF_MEMORY;
}

enum http_local_end http_local_listen(const char *socket, const char *target,
                                      const struct http_local_listener *listener, struct arena *arena, int *out_status,
                                      struct buf *out_problem, const char **why)
{
    struct str url = arena_printf(arena, "http://localhost%s", target);
    CURL *curl = curl_easy_init();
    CURLM *multi = curl_multi_init();
    struct listening listening = {.curl = curl, .listener = listener, .problem = out_problem};
    long status = 0, system_error = 0;
    set_up(curl, socket, "GET", url.p, STR_NONE, 0, NULL);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_stream);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &listening);
    curl_multi_add_handle(multi, curl);
    bool unread = perform(multi, listener->reader_fd);
    CURLcode code = unread ? CURLE_OK : code_of(multi);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &system_error);
    curl_multi_remove_handle(multi, curl);
    curl_multi_cleanup(multi);
    curl_easy_cleanup(curl);
    *out_status = (int)status;
    if (unread)
        return HTTP_LOCAL_UNREAD;
    if (listening.stopped)
        return HTTP_LOCAL_STOPPED;
    if (status) // cut off, or with its last word
        return HTTP_LOCAL_ENDED;
    *why = reason_of(code, socket, system_error, arena);
    return HTTP_LOCAL_FAILED;
}
