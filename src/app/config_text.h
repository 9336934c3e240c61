// The text of the configuration and the values that it names: reading both files, putting values in place of ${NAME}.
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum { CONFIG_FILE_MAX = 512 * 1024 * 1024, CONFIG_ENV_MAX = 4 * 1024 * 1024 };

// Reads a whole regular file. `bad_mode`: permission bits that must not be set. On failure one sentence in *why (in the arena,
// "is a directory; ..."), and ERR_NOT_FOUND when there is none.
ERR_CHECK int config_text_read(const char *path, size_t max, unsigned bad_mode, struct arena *arena, struct buf *out,
                               const char **why);

// tributary.env: NAME=value lines.
struct config_env {
    struct str path;
    struct config_env_line *lines; // in the arena
    size_t count;
    bool read;
};

struct config_env_line {
    struct str name, value;
    int line;
};

// Reads the file beside `config_path`; none is fine. On failure *why is "FILE:line: sentence" or "FILE: sentence".
ERR_CHECK int config_env_read(struct config_env *env, const char *config_path, struct arena *arena, const char **why);
// Puts values in place of ${NAME}; $${ is a plain ${. The file counts before the environment. *out may be `text`
// itself. On failure a sentence in *why.
ERR_CHECK int config_env_expand(const struct config_env *env, struct str text, struct arena *arena, struct str *out,
                                const char **why);
