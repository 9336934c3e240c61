// A stand-in's front door: one HTTP server with the faults, the journals, the live stream, the page and the control API below
// /sandbox/. What is behind it (struct door_ops) answers the platform's own requests.
//
//   request -> /sandbox/...        control: the door's own, else ops->control        never hit by a fault
//           -> / and /web/...      the page                                          never hit by a fault
//           -> anything else       fault? -> ops->api -> call_answer -> fault?
//
// A call lives from its request to its answer; all open ones hang in the door's list, so that a reset or an end can cut them.
#pragma once
#include "base/arena.h"
#include "base/chance.h"
#include "base/json.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "sandbox/fault.h"
#include "sandbox/files.h"
#include "sandbox/journal.h"
#include "sandbox/live.h"
#include "sandbox/multipart.h"

enum { CALL_SEGMENTS = 8, CALL_HEADERS = 12, CALL_ANSWER_MAX = 64 << 20, CALL_BODY_MAX = 72 << 20 };

struct door;

// One opening of the door: a refusal closes it, and the next one is another server on the same address.
struct entrance {
    struct door *door;
    struct http_server *server;
};

struct call {
    struct call *prev, *next; // the door's open calls
    struct door *door;
    const struct entrance *entrance; // it came in by this one
    struct http_exchange *exchange;
    const struct http_request *request;
    struct arena *arena;
    struct str segments[CALL_SEGMENTS]; // the path, decoded
    size_t segment_count;               // CALL_SEGMENTS + 1: there are more
    yyjson_doc *doc;
    yyjson_val *body;       // NULL: none, or not JSON
    struct multipart *form; // of a bot's call in multipart/form-data, else NULL
    struct fault fault;
    struct loop_timer *timer; // of the fault
    int64_t began_us;
    size_t open; // other calls that were open when it came
    bool api;    // of the platform's own API: noted among the requests
    struct http_header headers[CALL_HEADERS];
    size_t header_count;
    int status; // of the answer that waits or was given
    struct str answer;
    void *state;    // of what is behind the door, while the call waits there (a long poll)
    bool streaming; // its answer has begun, and comes bit by bit (file_answer.c)
};

struct door_ops {
    const char *name; // "telegram"
    const char *page; // its file in sandbox/web: "chat.html"
    bool notifies;    // it sends notifications, which faults can hit
    // A request of the platform's own API. Ends in call_answer, now or later.
    void (*api)(void *arg, struct call *call);
    // A request below /sandbox/ that the door does not know: `what` is the path after it. False: nobody knows it.
    bool (*control)(void *arg, struct call *call, struct str what);
    // Answers (call_answer) in the platform's words for a status that a fault asked for; retry_after_s below 0: not said.
    void (*refuse)(void *arg, struct call *call, int status, int64_t retry_after_s);
    // Members of the status object.
    void (*status)(void *arg, struct json *json);
    // Writes the journal that `of` names (STR_NONE: the main one). False: there is none of that name.
    bool (*journal)(void *arg, struct str of, int64_t after, int64_t limit, struct json *json);
    // Forgets everything.
    void (*reset)(void *arg);
    // The client of a call that waits is to be cut: `state` is no longer to be answered.
    void (*dropped)(void *arg, struct call *call);
};

struct door {
    const struct door_ops *ops;
    void *arg;
    struct loop *loop;
    struct entrance *open_by;    // NULL: connections are refused
    struct entrance *old;        // draining, after a refusal began
    struct loop_timer *reopen;   // ends the refusal
    struct loop_timer *free_old; // asks whether the draining one is empty
    struct str address;          // with the port bound
    struct fault_list *faults;   // owned
    struct journal *requests;    // owned: the last ones, applied or not
    struct live *live;           // owned
    struct call *calls;          // open ones
    size_t open;                 // how many
    int64_t request_count;       // of the platform's API, since the start or the reset
    const char *other;           // URL of the other stand-in's page
};

// NULL, with a sentence in `why`, when the address cannot be had.
struct door *door_new(struct loop *loop, const char *address, const struct door_ops *ops, void *arg, uint64_t seed,
                      const char **why);
// Cuts what is open and frees it.
void door_free(struct door *door);
int door_port(const struct door *door);
// "http://127.0.0.1:8080"
struct str door_url(const struct door *door, struct arena *arena);
// Adds a fault as POST /sandbox/faults does. False, with a sentence in `why`.
bool door_fault(struct door *door, yyjson_val *spec, const char **why, int64_t *out_id);

// Adds a header to the answer to come. The value lives in the call's arena or longer.
void call_header(struct call *call, const char *name, struct str value);
// The answer: JSON unless a header says otherwise. Passes through the fault, if any.
void call_answer(struct call *call, int status, struct str body);
// The same with what a writer made; a failed buffer becomes a 500. Ends the buffer.
void call_answer_buf(struct call *call, int status, struct buf *body);
// Ends the call without an answer, or the stream that it has become; `bytes` go out before, as they are.
void call_cut(struct call *call, struct str bytes, bool reset);
// The bytes of a file, through the faults of files. What it points to may go afterwards.
void call_answer_file(struct call *call, struct str bytes, struct str mime);
// Counts the fetch of a file by its address. False: that has expired.
bool call_opens_file(struct call *call, bool *spent);
// Of the file for people: as what a page may show of it, else to be saved. Never hit by a fault.
void call_show_file(struct call *call, const struct file *file);
// {"error":"..."} for the control API.
void call_control_error(struct call *call, int status, const char *why);
// Head and body of an answer to be cut behind it: `length` is what Content-Length says.
struct str call_raw_answer(struct call *call, int status, struct str mime, int64_t length, struct str body);
// The segment, or STR_NONE.
struct str call_segment(const struct call *call, size_t i);
struct str call_request_header(const struct call *call, const char *name);
// A query parameter, decoded (plus signs too), or STR_NONE.
struct str call_query(const struct call *call, const char *name);
// An integer query parameter cut to [low, high]; `otherwise` when absent or no number.
int64_t call_query_int(const struct call *call, const char *name, int64_t low, int64_t high, int64_t otherwise);
