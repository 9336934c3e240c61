// One value of the configuration: from its text to the field.
#pragma once
#include "app/config_keys.h"
#include "base/arena.h"

// Writes the field of the key's type. NULL when that went well; else what would be right, to be put after the value:
// "is no duration; write ..." (in the arena or fixed). `quoted`: the text stood in quotes, so it is no number and no
// true or false. Texts are put into the arena.
const char *config_value_set(const struct config_key *key, struct str text, bool quoted, struct arena *arena,
                             void *field);
// What stands in the field, as it could be written in a file; STR_NONE: absent.
struct str config_value_text(const struct config_key *key, const void *field, struct arena *arena);
