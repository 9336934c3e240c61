// The sink: an HTTP server that stands for a desk, `--desk webhook` (every POST is a message) or `--desk intercom` (inbox.h). It answers
// after --delay-ms, if any, reads the mark (mark.h) out of each message and keeps book of what came, came twice, came late.
//
//   HEAD /...          200: the desk is well
//   POST /...          the desk's; its message counts
//   POST /expect       body of "lane count" lines: the serials 1..count of the lane must have come (the generator writes them)
//   POST /split        body of one number: latencies are counted anew, those of lanes from there on apart
//   POST /reset        forgets all messages, contacts and conversations
//   GET  /progress     JSON: received and deliveries, for who waits for the end
//   GET  /report       JSON:
//     received    different messages         duplicated  deliveries of a message that had come before
//     reordered   messages that came first after a later one of their lane
//     lost        expected and not here; without /expect: holes before the last serial of a lane
//     unexpected  here and not expected: taken in, but the generator never saw the answer
//     misplaced   (intercom) replies in a conversation that is another lane's, or from another contact
//     malformed   requests that cannot be read: no mark, no such address
//     first_ns, last_ns  monotonic time of the first and last arrival
//     latency_us  from the time in the mark to the arrival; latency_above_us: of the lanes above the split
//
// With --certificate and --key all of it is behind TLS. One thread, epoll. It prints {"port": N} when it listens.
#include "bench/support/book.h"
#include "bench/support/inbox.h"
#include "bench/support/mark.h"

#include <getopt.h>
#include <stdlib.h>
#include <sys/resource.h>

static const char answer_ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
static const char answer_bad[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

static struct {
    bool intercom;
    uint64_t probes;
} sink;

static void print_report(FILE *out)
{
    struct rusage usage;
    struct peers_counts connections = peers_counts();
    getrusage(RUSAGE_SELF, &usage);
    book_print(out);
    fprintf(out, ",\"probes\":%llu,\"connections\":%u,\"connections_max\":%u,\"cpu_s\":%.3f",
            (unsigned long long)sink.probes, connections.now, connections.max,
            (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

static void answer_json(struct peer_answer *answer, void (*print)(FILE *out))
{
    char *body = NULL;
    size_t n;
    char head[128];
    FILE *out = open_memstream(&body, &n);
    if (!out)
        abort();
    fputc('{', out);
    print(out);
    fputs("}\n", out);
    if (fclose(out))
        abort();
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", n);
    answer_text(answer, head);
    answer_add(answer, body, n);
    free(body);
}

static void reset(void)
{
    sink.probes = 0;
    book_reset();
    inbox_reset();
}

static bool split(const char *body, size_t n)
{
    uint64_t lane;
    const char *p = body;
    if (!mark_number(&p, body + n, MARK_LANES_MAX, &lane))
        return false;
    book_split((uint32_t)lane);
    return true;
}

// What the benchmark itself asks. False: it is the desk's.
static bool control(const struct peer_request *request, struct peer_answer *answer)
{
    bool good = true;
    bool progress = peer_request_is(request, "GET", "/progress");
    if (progress || peer_request_is(request, "GET", "/report")) {
        answer_json(answer, progress ? book_print_progress : print_report);
        return true;
    }
    if (peer_request_is(request, "POST", "/expect"))
        good = book_expect(request->body, request->body_n);
    else if (peer_request_is(request, "POST", "/split"))
        good = split(request->body, request->body_n);
    else if (peer_request_is(request, "POST", "/reset"))
        reset();
    else
        return false;
    answer_text(answer, good ? answer_ok : answer_bad);
    return true;
}

static void handle(const struct peer_request *request, struct peer_answer *answer)
{
    bool post = request->method_n == 4 && memcmp(request->method, "POST", 4) == 0;
    if (control(request, answer))
        return;
    if (request->method_n == 4 && memcmp(request->method, "HEAD", 4) == 0) {
        sink.probes++;
        answer_text(answer, answer_ok);
        return;
    }
    answer->delayed = true;
    if (sink.intercom && inbox_handle(request, answer))
        return;
    if (!sink.intercom && post) {
        book_message(request->body, request->body_n);
        answer_text(answer, answer_ok);
        return;
    }
    book_malformed();
    answer_text(answer, answer_bad);
    answer->closing = true;
}

_Noreturn static void bad_usage(void)
{
    fputs("usage: sink [--desk webhook|intercom] [--port PORT] [--delay-ms MS] [--certificate FILE --key FILE]\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"desk", 1, NULL, 'k'},     {"port", 1, NULL, 'p'},
                                          {"delay-ms", 1, NULL, 'd'}, {"certificate", 1, NULL, 'c'},
                                          {"key", 1, NULL, 's'},      {NULL, 0, NULL, 0}};
    struct peers_options options = {.handle = handle, .malformed = book_malformed};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'k')
            sink.intercom = strcmp(optarg, "intercom") == 0;
        else if (option == 'p')
            options.port = (uint16_t)strtoul(optarg, NULL, 10);
        else if (option == 'd')
            options.delay_ns = (uint64_t)(strtod(optarg, NULL) * 1e6);
        else if (option == 'c')
            options.certificate = optarg;
        else if (option == 's')
            options.key = optarg;
        else
            bad_usage();
    }
    if (optind < argc || !options.certificate != !options.key)
        bad_usage();
    peers_serve(&options);
}
