// Reads YAML against the table of keys: an event at a time, so that a file of 100,000 accounts costs what its accounts cost. Mistakes
// are collected; after ten it stops. Anchors, aliases, tags and several documents are refused: the file says what it says.
#pragma once
#include "app/config_keys.h"
#include "app/config_text.h"
#include "base/arena.h"

#include <yaml.h>

enum { CONFIG_MISTAKES_MAX = 10 };

struct config_reader {
    const char *path; // NULL: not a file but a definition given by hand: mistakes have no place, ${NAME} is plain text
    struct buf *errors;
    int mistakes;
    bool stop;           // a syntax error, or enough mistakes
    int64_t own_secrets; // secrets that stand in the file itself
    struct config_env env;
    struct arena scratch; // of one value
    struct arena *texts;  // where texts of the section at hand belong
    // Called at a KEY_LIST, the event at hand being the start of the list; reads to its end, which it leaves at hand.
    void (*read_list)(struct config_reader *reader, const struct config_key *key, void *field);
    // Called when a section was read, with the lines of its keys (0: not there). `mistakes`: those within it.
    void (*finish)(struct config_reader *reader, const struct config_section *section, void *target, const int *lines,
                   int line, int mistakes);
    void *arg;

    yaml_parser_t yaml;
    yaml_event_t event; // at hand
    bool has_event;
};

// The text is borrowed until config_reader_done.
void config_reader_init(struct config_reader *reader, const char *path, struct str text, struct buf *errors);
void config_reader_done(struct config_reader *reader);

// Goes to the next event. False: there was none (a syntax error was noted, or it had stopped).
bool config_reader_next(struct config_reader *reader);
int config_reader_line(const struct config_reader *reader);
// To the mapping that is the file. False: there is none, noted.
bool config_reader_open(struct config_reader *reader);
// That nothing follows.
void config_reader_close(struct config_reader *reader);
// Reads the section whose start is at hand, leaving its end at hand. Presets of absent keys are put in.
void config_reader_section(struct config_reader *reader, const struct config_section *section, void *target);
// Passes over the node that begins with the event at hand, leaving its last event at hand.
void config_reader_skip(struct config_reader *reader);
// The scalar at hand, ${NAME} put in. False: noted.
bool config_reader_text(struct config_reader *reader, const struct config_section *section, const char *key,
                        struct arena *arena, struct str *out);

// Notes "FILE:line: SECTION.KEY: sentence". `key` NULL: the section; line 0: the file.
void config_reader_mistake(struct config_reader *reader, int line, const struct config_section *section,
                           const char *key, const char *format, ...) __attribute__((format(printf, 5, 6)));
