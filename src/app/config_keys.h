// The table of all keys of the configuration: it drives reading, errors, and the documentation (docs/configuration.md and the
// manual page tributary.yaml(5) hold what config_keys_markdown and config_keys_man write; a test compares).
//
// A new key: one line in config_keys.c, a field where it is stored, and `CONFIG_DOCS_WRITE=1 build/debug/tests/unit/test_config_docs`.
#pragma once
#include "base/buf.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum config_type {
    KEY_SECTION,  // a mapping of its own
    KEY_LIST,     // a list of mappings
    KEY_NAME,     // struct str: [a-z0-9-]{1,63}
    KEY_SECRET,   // struct str: visible ASCII, never shown
    KEY_PATH,     // struct str: of a Unix socket
    KEY_BASE_URL, // struct str: http(s), taken without a slash at its end; paths are put behind it
    KEY_URL,      // struct str: http(s), taken as it is
    KEY_ADDRESS,  // struct str: IP:PORT or unix:PATH
    KEY_STORE,    // struct str: the path in sqlite:PATH
    KEY_SOURCE_PLATFORM,
    KEY_DESK_PLATFORM, // struct str: a name in the registry
    KEY_BOOL,          // bool
    KEY_WORD,          // an enum: the place in `words`
    KEY_NUMBER,        // int64_t
    KEY_MS,            // int64_t: a duration, in milliseconds
    KEY_US,            // int64_t: a duration, in microseconds
    KEY_RATE,          // int64_t: requests a minute
    KEY_SIZE,          // int64_t: bytes
};

struct config_section;

struct config_key {
    const char *name;
    enum config_type type;
    bool required;
    size_t offset;      // of the field in what the section fills
    int64_t min, max;   // numbers: in the unit of the field
    bool none;          // of a number or size: "none" may stand for 0, no bound
    const char *words;  // KEY_WORD: "first|second"; an empty first one stands for absent
    const char *preset; // the default, written as in a file; NULL: absent, and `preset_doc` says what then happens
    const char *preset_doc;
    const char *only; // the platform or desk that this key belongs to; NULL: all
    const struct config_section *section;
    const char *doc; // one or two sentences
};

struct config_section {
    const char *path; // "accounts.sources"; "" is the file itself
    const char *what; // "a source"
    const struct config_key *keys;
    size_t count;
};

enum { CONFIG_SECTION_KEYS_MAX = 16 };

extern const struct config_section config_root;

// NULL when the section has none of that name.
const struct config_key *config_key_find(const struct config_section *section, struct str name);
// The key that `name` was probably meant to be, or NULL.
const struct config_key *config_key_nearest(const struct config_section *section, struct str name);

// The keys as the documentation shows them.
void config_keys_markdown(struct buf *out);
void config_keys_man(struct buf *out);
