// Attachments: the files that a message came with, as the list in `attachments` of struct event and struct message. A JSON list
// of objects with "kind", "url", "name", "mime", "size" and, of a file that is ours to fetch, "state", "ref", "hash", "why".
#pragma once
#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Stored as numbers (table files): add at the end, never reorder.
enum file_state {
    FILE_WANTED,    // to be fetched
    FILE_KEPT,      // among the store's files (store/media_files.h) under `hash`
    FILE_FAILED,    // it cannot be had: `why`
    FILE_ELSEWHERE, // only its address is known, and it is not ours to fetch: what was stored before files were fetched
};
const char *file_state_name(
    enum file_state state); // "wanted"; NULL for FILE_ELSEWHERE, which is written by its absence

enum {
    ATTACHMENTS_MAX = 100, // of one message
    FILES_MAX = 32, // of those the first so many are fetched: a bit each in files_told. The others are FILE_ELSEWHERE
    FILE_HASH_SIZE = 64, // SHA-256 of the bytes, in lower-case hex digits
};

// Texts are borrowed, or the arena's that attachments_read was given.
struct attachment {
    struct str kind; // "image", "video", "audio", "file"
    struct str url;  // where the sender said it is; STR_NONE when the platform gives no address that may be passed on
    struct str name, mime;
    int64_t size; // bytes; -1 = not known
    enum file_state state;
    struct str ref;  // what its connector fetches it by (Telegram: file_id); STR_NONE: by its url
    struct str hash; // FILE_KEPT
    struct str why;  // FILE_FAILED: a sentence for people
};

// Reads at most ATTACHMENTS_MAX of the list, in the arena; what is no list of objects has none. 0 of STR_NONE.
size_t attachments_read(struct str json, struct arena *arena, struct attachment **out);
// As JSON in the arena; STR_NONE when there are none.
struct str attachments_write(const struct attachment *attachments, size_t count, struct arena *arena);
// How many of them are in that state. The same limits.
size_t attachments_count(struct str json, enum file_state state);
// With its texts in the arena.
struct attachment attachment_copy(const struct attachment *file, struct arena *arena);
// What to call it where a person reads of it: its name, else its kind and type ("image (image/jpeg)"). In the arena.
struct str attachment_title(const struct attachment *file, struct arena *arena);
// The first bytes say what it is, whatever its sender said ("image/png"); STR_NONE: they do not (then it is a file of
// bytes, or plain text). WHATWG MIME Sniffing, section 6, and the magic numbers of the types that people send.
struct str mime_sniff(struct str first_bytes);
enum { MIME_SNIFF_SIZE = 512 }; // of first bytes that are looked at, at most
