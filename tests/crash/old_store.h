// A store as an older version of ours left it.
#pragma once

int old_store_newest(void);
// Makes `path`, of this version of the schema, with the rows of the store `newest` (closed in order), by the migrations up
// to that version. The process exits when it cannot.
void old_store_make(const char *path, int version, const char *newest);
