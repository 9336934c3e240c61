// What an agent said in one part, as messages of the platform. Pure.
#pragma once
#include "desk/desk.h"
#include "platform/platform.h"

// All in the arena.
struct reply_words {
    struct reply_text *texts; // in order
    size_t text_count;
    struct attachment *files; // each a message of its own, behind the texts
    size_t file_count;
};

// Files of a platform that takes none, and those that are not fetched, are links in the text. `platform`: NULL when there is
// none (any more).
void reply_words_make(const struct platform *platform, const struct desk_part *part, struct arena *arena,
                      struct reply_words *out);
