#include "app/http_local.h"

#include <curl/curl.h>
#include <errno.h>
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

bool http_local_call(const char *socket, const char *method, const char *target, struct str body, int timeout_s,
                     struct arena *arena, struct http_local_answer *out, const char **why)
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
