// The board: what the relay shows of itself. Alarms, health of desks and of sources; written by their owners,
// read by the admin thread, under one lock that is never held across I/O.
//
// An alarm is an error event in the log when it begins and when it ends, a line in status.alarms and the metric
// tributary_alarm{name}. Names are fixed words of ours; the subject is an account, "account/source", or "".
#pragma once
#include "base/str.h"
#include "relay/busy.h"
#include "relay/news.h"

#include <stdbool.h>
#include <stdint.h>

struct board;

struct board *board_new(void);
void board_free(struct board *board);
// What happens, for those who listen; lives as long as the board, which tells alarms itself.
struct news *board_news(struct board *board);

// Begins an alarm (logged once), or changes its text. `name` is one of board_alarm_names; `text`: one sentence, no secrets.
void board_alarm(struct board *board, const char *name, struct str subject, struct str text);
// Ends it (logged) if it stands.
void board_alarm_end(struct board *board, const char *name, struct str subject);

struct board_alarm_line {
    const char *name;
    struct str subject, text;
    int64_t since_us;
};
// All names there are, NULL-terminated. The metric shows each of them and no others.
extern const char *const board_alarm_names[];
// Called under the lock, oldest first.
void board_each_alarm(struct board *board, void (*each)(void *arg, const struct board_alarm_line *line), void *arg);

// A desk that is suspended, by desk_identity; one that was never named is well.
struct board_desk {
    bool suspended;
    struct str reason; // "429", "no connection: ...", "guard"
    int64_t until_us;  // the next probe or try; 0 = unknown
    int64_t since_us;  // out: when it was suspended
};
void board_desk_set(struct board *board, uint64_t desk, const struct board_desk *to);
// The reason is copied into `reason_text`.
void board_desk_get(struct board *board, uint64_t desk, struct board_desk *out, char *reason_text, size_t size);
// How busy the lanes of accounts were; lives as long as the board.
struct busy *board_busy(struct board *board);
// How many are suspended now.
int board_desks_suspended(struct board *board);

enum source_health { SOURCE_STARTING, SOURCE_WELL, SOURCE_TROUBLE, SOURCE_REFUSED };
struct board_source {
    enum source_health health;
    struct str text; // one sentence, "" when well
    int64_t since_us;
};
// True when its health was another one before.
bool board_source_set(struct board *board, int64_t source_id, enum source_health health, struct str text);
// SOURCE_WELL when never named (a source that needs no keeping).
void board_source_get(struct board *board, int64_t source_id, struct board_source *out, char *text, size_t size);
const char *source_health_name(enum source_health health);
