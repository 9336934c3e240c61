// What both back ends make of the attachments of a message and the words with them: plain texts in, plain texts out.
#pragma once
#include "store/store.h"

// The files of an event's list, in the arena. Those behind the first FILES_MAX are not fetched, and none is kept because its sender
// says so: *json is written anew where one was to be.
size_t attached_read(struct str *json, struct arena *arena, struct attachment **out);
// How many of the first FILES_MAX are wanted.
size_t attached_wanted(const struct attachment *files, size_t count);
// The list with the one settled, as `file` says. A list that has no such one stays.
struct str attached_settled(struct str json, const struct store_file *file, struct arena *arena);
// Of the list those whose bit is set.
struct str attached_some(struct str json, uint32_t bits, struct arena *arena);

// Whether a part of its album, received at that time, may join the message: it is as it was stored, waits, and has room for
// the files.
bool album_may_join(const struct message *message, const struct event *part, int64_t received_at_us);
// The message with the part's files and words, in the arena, and its next_attempt_us. *out_from: the number of the part's first
// file.
void album_join(struct message *message, const struct event *part, int64_t wait_until_us, struct arena *arena,
                int *out_from);
// Until when further parts are waited for, when one was received at that time.
int64_t album_until(int64_t first_received_us, int64_t part_received_us);

// What was appended to the text since the attempt had it; STR_NONE: nothing.
struct str untold_text(const struct message *message, const struct store_outcome *o);

// Where what follows a message has its key: what names it within the source.
enum { FOLLOWING_KEY_SIZE = 64 };
void following_key(int64_t message_id, uint32_t files, char out[FOLLOWING_KEY_SIZE]);

// Whether a pending message waits for its files, not for anything that an attempt brought about.
bool waits_for_files(const struct message *message);
