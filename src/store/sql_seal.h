// row_sum(values...): a checksum over a row of a table that is written by several statements (accounts, sources, totals,
// attempts), for use in SQL. Each statement that writes such a row seals it anew. Plain (XXH3), as in sqlite_row.h.
#pragma once
#include <sqlite3.h>

// The function on this connection; a code of SQLite's.
int sql_seal_register(sqlite3 *db);

// Over all columns but the sum. A row from before there were sums has NULL, and counts as whole.
#define SQL_TOTALS_SUM                                                                                                 \
    "row_sum(accepted, delivered, skipped, discarded, aged_delivered, aged_discarded, last_number, moved_number, "     \
    "lined_number)"
#define SQL_ATTEMPT_SUM "row_sum(message_id, at, verdict, error)"
#define SQL_THREAD_SUM "row_sum(account_id, desk_conversation, conversation_id, taken_s, news_at)"
#define SQL_SEARCH_SUM "row_sum(account_id, until_s)"
#define SQL_FILE_SUM                                                                                                   \
    "row_sum(message_id, nth, account_id, state, told, attempts, next_attempt_at, size, hash, attachment)"
#define SQL_ACCOUNT_FILES_SUM "row_sum(account_id, bytes)"
#define SQL_ALBUM_SUM "row_sum(message_id, conversation_id, album, until_at)"
#define SQL_AVATAR_SUM                                                                                                 \
    "row_sum(conversation_id, account_id, due_at, attempts, asked_at, size, picture, hash, mime, told)"
// Accounts from before `replies` and `identity` have the sum that they would have now.
#define SQL_ACCOUNT_SUM                                                                                                           \
    "row_sum(id, name, active, order_rule, on_failure, in_doubt | (replies << 8) | (identity << 16), desk_platform, desk_token, " \
    "desk_client_secret, desk_api_url, desk_url, desk_secret, desk_probe, desk_rate_per_min, defined_at, left_file, file_text, "  \
    "order_barrier, gone)"
#define SQL_SOURCE_SUM                                                                                                 \
    "row_sum(id, account_id, name, gone, platform, token, secret, mode, take_over, api_url, made_secret, "             \
    "registered_url)"
// In an UPDATE by nobody's word, before the row is sealed where its sum is NULL: a damaged one keeps its sum, and stays damaged.
#define SQL_OPEN_WHOLE(row_sum) "sum = CASE WHEN sum = " row_sum " THEN NULL ELSE sum END"
#define SQL_WHOLE(row_sum) "(sum IS NULL OR sum = " row_sum ")"
