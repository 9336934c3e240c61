// Files that are part of the program: web/ in tributary, sandbox/web/ in tributary-sandbox. script/embed writes the tables while
// building; they are sorted by path and never change while the program runs.
#ifndef TRIBUTARY_BASE_WEB_FILE_H
#define TRIBUTARY_BASE_WEB_FILE_H

#include <stddef.h>

struct web_file {
    const char *path;          // below the directory, without a leading slash: "index.html", "js/app.js"
    const char *mime;          // with its charset, ready for Content-Type
    const unsigned char *data; // followed by a NUL that `size` does not count
    size_t size;               // bytes
};

extern const struct web_file web_files[];
extern const size_t web_files_count;

extern const struct web_file sandbox_web_files[]; // in tributary-sandbox only
extern const size_t sandbox_web_files_count;

#endif
