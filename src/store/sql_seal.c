#include "store/sql_seal.h"

#include "base/hash.h"
#include "base/must.h"

enum { VALUES_MAX = 24 };

// Kind and bytes of each, so that NULL, 0 and '' are three things.
static void row_sum(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct str texts[2 * VALUES_MAX];
    int64_t numbers[VALUES_MAX];
    static const char kinds[] = "?ifsbn"; // by SQLite's numbers of types
    must(count <= VALUES_MAX);            // the statements are ours
    for (int i = 0; i < count; i++) {
        int type = sqlite3_value_type(values[i]);
        texts[2 * i] = (struct str){&kinds[type], 1};
        numbers[i] = type == SQLITE_INTEGER ? sqlite3_value_int64(values[i]) : 0;
        texts[2 * i + 1] = (struct str){(const char *)&numbers[i], sizeof numbers[i]};
        if (type == SQLITE_TEXT) { // as a blob: asking for text may have to allocate a terminator, and could then fail
            const char *p = sqlite3_value_blob(values[i]);
            texts[2 * i + 1] = (struct str){p ? p : "", (size_t)sqlite3_value_bytes(values[i])};
        }
    }
    sqlite3_result_int64(context, (sqlite3_int64)hash_strs(texts, 2 * (size_t)count));
}

int sql_seal_register(sqlite3 *db)
{
    return sqlite3_create_function_v2(db, "row_sum", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                      row_sum, NULL, NULL, NULL);
}
