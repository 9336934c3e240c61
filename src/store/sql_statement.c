#include "store/sql_statement.h"

#include "store/sql_seal.h"

#define READ_MESSAGES "SELECT " SQL_MESSAGE_COLUMNS " FROM " SQL_MESSAGE_TABLES
#define BOTH (SQL_WRITER | SQL_READER)
// 1 says of what was settled in the microsecond in which it was received that it was (sqlite_row.c).
#define SQL_NEXT_ATTEMPT "CASE WHEN ?8 = received_at THEN 1 ELSE ?5 END"

const struct sql_statement_text sql_statements[SQL_COUNT] = {
    // IMMEDIATE: the lock is had, or not, before anything is done.
    [SQL_BEGIN] = {SQL_WRITER, "BEGIN IMMEDIATE"},
    [SQL_COMMIT] = {SQL_WRITER, "COMMIT"},
    [SQL_ROLLBACK] = {SQL_WRITER, "ROLLBACK"},
    [SQL_READ_BEGIN] = {SQL_READER, "BEGIN"},
    [SQL_READ_END] = {SQL_READER, "COMMIT"},

    [SQL_TOTALS] = {BOTH, "SELECT accepted, delivered, skipped, discarded, aged_delivered, aged_discarded, "
                          "last_number, moved_number, lined_number, " SQL_WHOLE(SQL_TOTALS_SUM) " FROM totals"},
    [SQL_SET_TOTALS] = {SQL_WRITER, "UPDATE totals SET accepted = ?1, delivered = ?2, skipped = ?3, discarded = ?4, "
                                    "aged_delivered = ?5, aged_discarded = ?6, last_number = ?7, moved_number = ?8, "
                                    "lined_number = ?9, sum = row_sum(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"},
    [SQL_SET_CLEAN] = {SQL_WRITER, "UPDATE store SET clean = ?1"},
    [SQL_BEGIN_LOG] = {SQL_WRITER, "UPDATE store SET log_number = log_number + 1"},

    [SQL_FIND_KEY] = {SQL_WRITER, "SELECT id, digest FROM messages WHERE source_id = ?1 AND dedupe_key = ?2"},
    [SQL_FIND_CONVERSATION] = {SQL_WRITER, "SELECT c.thread, c.name, " SQL_LINK_COLUMNS " FROM conversations c "
                                           "WHERE c.source_id = ?1 AND c.thread = ?2"},
    [SQL_GET_CONVERSATION] = {SQL_WRITER, "SELECT c.thread, c.name, " SQL_LINK_COLUMNS " FROM conversations c "
                                          "WHERE c.id = ?1"},
    [SQL_INSERT_CONVERSATION] = {SQL_WRITER, "INSERT INTO conversations (id, source_id, thread, name, sum) "
                                             "VALUES (NULL, ?1, ?2, ?3, 0)"},
    [SQL_SET_CONVERSATION] = {SQL_WRITER, "UPDATE conversations SET name = ?2, desk_conversation = ?3, last_part = ?4, "
                                          "note = ?5, sum = ?6, goes_on_in = ?7, profile = ?8 WHERE id = ?1"},
    // Apart, and seldom: it costs an index.
    [SQL_SET_CONTACT] = {SQL_WRITER, "UPDATE conversations SET contact = ?2 WHERE id = ?1"},
    [SQL_GOES_ON_HERE] = {SQL_WRITER, "SELECT c.thread, c.name, " SQL_LINK_COLUMNS " FROM conversations c "
                                      "WHERE c.goes_on_in = ?1 AND c.goes_on_in > 0 ORDER BY c.id DESC"},
    [SQL_SET_WAITING] = {SQL_WRITER, "UPDATE conversations SET account_waiting = ?2 WHERE id = ?1"},
    [SQL_EACH_WAITING] = {SQL_WRITER, "SELECT account_waiting, id FROM conversations INDEXED BY conversations_waiting "
                                      "WHERE account_waiting > 0 AND (account_waiting, id) > (?1, ?2) "
                                      "ORDER BY account_waiting, id LIMIT ?3"},
    [SQL_INSERT_MESSAGE] =
        {SQL_WRITER,
         "INSERT INTO messages (id, place, lane, account_id, source_id, conversation_id, direction, state, reason, "
         "in_doubt, in_flight, late, body_gone, attempts, next_attempt_at, sent_at, received_at, changed_at, digest, "
         "sum, dedupe_key, sender_id, sender_name, text, attachments, raw, format, act, target_id) "
         "VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, 0, 0, 0, ?20, ?9, ?10, ?10, ?11, ?12, ?13, ?14, ?15, ?16, "
         "?17, ?18, ?19, ?21, ?22)"},
    // The reply as it was first said, not as it was changed: what changed it may have its key.
    [SQL_FIND_TARGET] = {SQL_WRITER, "SELECT id, state FROM messages WHERE source_id = ?1 AND dedupe_key = ?2 "
                                     "AND direction = 1 AND act = 0 ORDER BY id LIMIT 1"},
    // As it was first said, and as it was changed since: the keys of changes stand in one range of the index.
    [SQL_FIND_LAST_WORDS] = {SQL_WRITER,
                             "SELECT id, text, format FROM messages WHERE source_id = ?1 AND dedupe_key = ?2 "
                             "AND direction = 1 AND act = 0 UNION ALL "
                             "SELECT id, text, format FROM messages WHERE source_id = ?1 AND dedupe_key > ?2 || '~' "
                             "AND dedupe_key < ?2 || '~~' AND direction = 1 AND act > 0 AND state < 2 "
                             "ORDER BY id DESC LIMIT 1"},

    [SQL_SET_OUTCOME] = {SQL_WRITER, "UPDATE messages SET state = ?2, reason = ?3, attempts = ?4, "
                                     "next_attempt_at = " SQL_NEXT_ATTEMPT
                                     ", in_doubt = ?6, in_flight = ?7, changed_at = ifnull(?8, changed_at) "
                                     "WHERE id = ?1 AND state = 0"},
    // The same with texts, apart: setting desk_ref costs an index.
    [SQL_SET_OUTCOME_TEXTS] = {SQL_WRITER, "UPDATE messages SET state = ?2, reason = ?3, attempts = ?4, "
                                           "next_attempt_at = " SQL_NEXT_ATTEMPT ", in_doubt = ?6, in_flight = ?7, "
                                           "changed_at = ifnull(?8, changed_at), last_error = ifnull(?9, last_error), "
                                           "desk_ref = ifnull(?10, desk_ref) WHERE id = ?1 AND state = 0"},
    [SQL_DISCARD_SKIPPED] = {SQL_WRITER, "UPDATE messages SET state = 3, reason = ?2, in_doubt = ?3, changed_at = ?4 "
                                         "WHERE id = ?1 AND state = 2"},
    [SQL_MARK] = {SQL_WRITER, "UPDATE messages SET in_flight = ?2 WHERE id = ?1 AND state = 0"},
    // Two attempts in one microsecond (a clock set back): the later one is a microsecond later.
    [SQL_INSERT_ATTEMPT] = {SQL_WRITER,
                            "INSERT INTO attempts (message_id, at, verdict, error, sum) "
                            "SELECT message_id, at, verdict, error, " SQL_ATTEMPT_SUM
                            " FROM (SELECT ?1 AS message_id, max(?2, ifnull((SELECT max(a.at) + 1 "
                            "FROM attempts a WHERE a.message_id = ?1), 0)) AS at, ?3 AS verdict, ?4 AS error)"},
    [SQL_GET_REPLY] = {SQL_WRITER, READ_MESSAGES " WHERE m.id = ?1 AND m.direction = 1"},
    [SQL_GET_SKIPPED] = {SQL_WRITER,
                         READ_MESSAGES " WHERE m.id = ?1 AND m.state = 2 AND NOT EXISTS "
                                       "(SELECT 1 FROM accounts a WHERE a.id = m.account_id AND a.gone = 1)"},
    [SQL_RETRY] = {SQL_WRITER, "UPDATE messages SET state = 0, reason = 0, place = ?2, late = 1, attempts = 0, "
                               "next_attempt_at = 0, lane = ?3, sum = ?4 WHERE id = ?1 AND state = 2"},

    [SQL_GET_FILES] = {SQL_WRITER, "SELECT nth, account_id, state, told, attempts, next_attempt_at, size, hash, "
                                   "attachment, " SQL_WHOLE(SQL_FILE_SUM) " FROM files WHERE message_id = ?1 "
                                                                          "ORDER BY nth"},
    [SQL_PUT_FILE] = {SQL_WRITER,
                      "INSERT OR REPLACE INTO files (message_id, nth, account_id, state, told, attempts, "
                      "next_attempt_at, size, hash, attachment, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
                      "?10, row_sum(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10))"},
    [SQL_DELETE_FILE] = {SQL_WRITER, "DELETE FROM files WHERE message_id = ?1 AND nth = ?2"},
    [SQL_DELETE_WANTED] = {SQL_WRITER, "DELETE FROM files WHERE message_id = ?1 AND state = 0"},
    [SQL_DROP_AVATARS_OF_GONE] = {SQL_WRITER, "INSERT OR IGNORE INTO dropped (hash) SELECT hash FROM avatars "
                                              "WHERE account_id = ?1 AND length(hash) = 64"},
    [SQL_AVATARS_OF_GONE] = {SQL_WRITER, "DELETE FROM avatars WHERE account_id = ?1"},
    [SQL_WANTED_OF_GONE] = {SQL_WRITER,
                            "DELETE FROM files INDEXED BY files_wanted WHERE state = 0 AND account_id = ?1"},
    [SQL_WANTED_FILES] =
        {SQL_WRITER,
         "SELECT f.message_id, f.nth, f.account_id, m.source_id, m.received_at, m.direction, f.attachment, f.attempts, "
         "f.next_attempt_at FROM (SELECT * FROM files INDEXED BY files_wanted WHERE state = 0 "
         "AND account_id NOT IN (?2, ?3, ?4, ?5) AND " SQL_WHOLE(
             SQL_FILE_SUM) " ORDER BY next_attempt_at LIMIT ?1) f JOIN messages m ON m.id = f.message_id "
                           "ORDER BY f.next_attempt_at, f.message_id, f.nth"},
    [SQL_EACH_UNTOLD] = {SQL_WRITER, "SELECT message_id FROM files INDEXED BY files_untold WHERE told = 0 "
                                     "UNION SELECT message_id FROM files INDEXED BY files_wanted WHERE state = 0 "
                                     "UNION SELECT message_id FROM albums ORDER BY message_id"},
    [SQL_ACCOUNT_HAS_HASH] = {SQL_WRITER,
                              "SELECT 1 FROM files INDEXED BY files_kept WHERE hash IS NOT NULL AND hash = ?1 "
                              "AND account_id = ?2 LIMIT 1"},
    [SQL_HASH_IS_KEPT] = {SQL_WRITER,
                          "SELECT 1 FROM files INDEXED BY files_kept WHERE hash IS NOT NULL AND hash = ?1 UNION ALL "
                          "SELECT 1 FROM avatars INDEXED BY avatars_kept WHERE hash IS NOT NULL AND hash = ?1 LIMIT 1"},
    [SQL_DROP_HASH] = {SQL_WRITER, "INSERT OR IGNORE INTO dropped (hash) VALUES (?1)"},
    [SQL_EACH_DROPPED] = {SQL_WRITER, "SELECT hash FROM dropped ORDER BY hash LIMIT ?1"},
    [SQL_FORGET_DROPPED] = {SQL_WRITER, "DELETE FROM dropped WHERE hash = ?1"},
    [SQL_GET_FILE_BYTES] = {SQL_WRITER, "SELECT bytes FROM account_files WHERE account_id = ?1 "
                                        "AND " SQL_WHOLE(SQL_ACCOUNT_FILES_SUM)},
    [SQL_SET_FILE_BYTES] = {SQL_WRITER, "INSERT OR REPLACE INTO account_files (account_id, bytes, sum) "
                                        "VALUES (?1, ?2, row_sum(?1, ?2))"},
    [SQL_COUNT_FILE_BYTES] = {SQL_WRITER,
                              "SELECT ifnull(sum(size), 0) FROM (SELECT max(size) AS size FROM files "
                              "INDEXED BY files_kept WHERE hash IS NOT NULL AND account_id = ?1 GROUP BY hash)"},
    [SQL_SET_BODY] = {SQL_WRITER, "UPDATE messages SET text = ?2, attachments = ?3, sum = ?4 WHERE id = ?1"},
    [SQL_SET_WAIT] = {SQL_WRITER, "UPDATE messages SET next_attempt_at = ?2 WHERE id = ?1 AND state = 0"},
    [SQL_FIND_ALBUM] = {SQL_WRITER, "SELECT message_id FROM albums WHERE conversation_id = ?1 AND album = ?2 "
                                    "AND " SQL_WHOLE(SQL_ALBUM_SUM)},
    [SQL_GET_ALBUM] = {SQL_WRITER, "SELECT until_at FROM albums WHERE message_id = ?1 AND " SQL_WHOLE(SQL_ALBUM_SUM)},
    [SQL_SET_ALBUM] = {SQL_WRITER, "INSERT OR REPLACE INTO albums (message_id, conversation_id, album, until_at, sum) "
                                   "VALUES (?1, ?2, ?3, ?4, row_sum(?1, ?2, ?3, ?4))"},
    [SQL_END_ALBUM] = {SQL_WRITER, "DELETE FROM albums WHERE message_id = ?1"},

    [SQL_GET_AVATAR] = {SQL_WRITER, "SELECT due_at, asked_at, hash, told, account_id, " SQL_WHOLE(
                                        SQL_AVATAR_SUM) " FROM avatars WHERE conversation_id = ?1"},
    [SQL_PUT_AVATAR] =
        {SQL_WRITER, "INSERT OR REPLACE INTO avatars (conversation_id, account_id, due_at, attempts, asked_at, size, "
                     "picture, hash, mime, told, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
                     "row_sum(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10))"},
    [SQL_SET_AVATAR_DUE] = {SQL_WRITER, "UPDATE avatars SET due_at = ?2, attempts = 0, "
                                        "sum = row_sum(conversation_id, account_id, ?2, 0, asked_at, size, picture, "
                                        "hash, mime, told) WHERE conversation_id = ?1"},
    [SQL_DUE_AVATARS] = {SQL_WRITER, "SELECT c.thread, c.name, " SQL_LINK_COLUMNS
                                     ", v.conversation_id, v.account_id, v.due_at, v.attempts, v.asked_at, v.size, "
                                     "v.picture, v.hash, v.mime, v.told FROM (SELECT * FROM avatars "
                                     "INDEXED BY avatars_due WHERE due_at > 0 AND " SQL_WHOLE(
                                         SQL_AVATAR_SUM) " ORDER BY due_at LIMIT ?1) v LEFT JOIN conversations c "
                                                         "ON c.id = v.conversation_id "
                                                         "ORDER BY v.due_at, v.conversation_id"},

    [SQL_GET_THREAD] = {SQL_WRITER,
                        "SELECT conversation_id, taken_s, news_at, " SQL_WHOLE(
                            SQL_THREAD_SUM) " FROM desk_threads WHERE account_id = ?1 AND desk_conversation = ?2"},
    [SQL_SET_THREAD] = {SQL_WRITER,
                        "INSERT INTO desk_threads (account_id, desk_conversation, conversation_id, taken_s, "
                        "news_at, sum) VALUES (?1, ?2, ?3, ?4, ?5, row_sum(?1, ?2, ?3, ?4, ?5)) "
                        "ON CONFLICT (account_id, desk_conversation) DO UPDATE SET "
                        "conversation_id = excluded.conversation_id, taken_s = excluded.taken_s, "
                        "news_at = excluded.news_at, sum = excluded.sum"},
    [SQL_FORGET_THREAD] = {SQL_WRITER, "DELETE FROM desk_threads WHERE account_id = ?1 AND desk_conversation = ?2"},
    [SQL_FIND_CONTACT] = {SQL_WRITER, "SELECT c.thread, c.name, " SQL_LINK_COLUMNS
                                      " FROM conversations c INDEXED BY conversations_contact "
                                      "JOIN sources s ON s.id = c.source_id WHERE c.contact IS NOT NULL "
                                      "AND c.contact = ?2 AND s.account_id = ?1 ORDER BY c.id DESC"},
    [SQL_ACCOUNT_OF_MESSAGE] = {SQL_WRITER, "SELECT account_id FROM messages WHERE id = ?1"},
    [SQL_GET_SEARCHED] = {SQL_WRITER,
                          "SELECT until_s FROM desk_searches WHERE account_id = ?1 AND " SQL_WHOLE(SQL_SEARCH_SUM)},
    [SQL_BEGIN_SEARCH] = {SQL_WRITER, "INSERT INTO desk_searches (account_id, until_s, sum) "
                                      "VALUES (?1, ?2, row_sum(?1, ?2)) ON CONFLICT (account_id) DO NOTHING"},
    // Never back, but where it is not what was stored.
    [SQL_SET_SEARCHED] = {SQL_WRITER, "INSERT INTO desk_searches (account_id, until_s, sum) "
                                      "VALUES (?1, ?2, row_sum(?1, ?2)) ON CONFLICT (account_id) DO UPDATE SET "
                                      "until_s = excluded.until_s, sum = excluded.sum "
                                      "WHERE until_s < excluded.until_s OR NOT " SQL_WHOLE(SQL_SEARCH_SUM)},
    [SQL_THREADS_OF_GONE] = {SQL_WRITER, "DELETE FROM desk_threads WHERE account_id = ?1"},
    [SQL_SEARCH_OF_GONE] = {SQL_WRITER, "DELETE FROM desk_searches WHERE account_id = ?1"},
    [SQL_EACH_NEWS] = {SQL_WRITER,
                       "SELECT account_id, desk_conversation FROM desk_threads INDEXED BY desk_threads_news "
                       "WHERE news_at > 0 ORDER BY account_id, desk_conversation"},
    [SQL_EACH_SEARCHED] = {SQL_WRITER, "SELECT account_id, CASE WHEN " SQL_WHOLE(
                                           SQL_SEARCH_SUM) " THEN until_s ELSE 0 END FROM desk_searches "
                                                           "ORDER BY account_id"},

    [SQL_FIND_ACCOUNT] = {SQL_WRITER, "SELECT id FROM accounts WHERE name = ?1"},
    [SQL_GET_ORDER] = {SQL_WRITER, "SELECT order_rule, order_barrier FROM accounts WHERE id = ?1"},
    [SQL_SET_ORDER_BARRIER] = {SQL_WRITER, "UPDATE accounts SET order_barrier = ?2, " SQL_OPEN_WHOLE(
                                               SQL_ACCOUNT_SUM) " WHERE id = ?1"},
    [SQL_INSERT_ACCOUNT] =
        {SQL_WRITER, "INSERT INTO accounts (name, active, order_rule, on_failure, in_doubt, desk_platform, desk_token, "
                     "desk_client_secret, desk_api_url, desk_url, desk_secret, desk_probe, desk_rate_per_min, "
                     "defined_at, left_file, file_text, replies, identity) "
                     "VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?19, ?20)"},
    [SQL_SET_ACCOUNT] =
        {SQL_WRITER, "UPDATE accounts SET name = ?2, active = ?3, order_rule = ?4, on_failure = ?5, in_doubt = ?6, "
                     "desk_platform = ?7, desk_token = ?8, desk_client_secret = ?9, desk_api_url = ?10, "
                     "desk_url = ?11, desk_secret = ?12, desk_probe = ?13, desk_rate_per_min = ?14, defined_at = ?15, "
                     "left_file = ?16, file_text = CASE WHEN ?18 THEN file_text ELSE ?17 END, "
                     "replies = ?19, identity = ?20 WHERE id = ?1"},
    [SQL_SET_ACCOUNT_ACTIVE] = {SQL_WRITER, "UPDATE accounts SET active = ?2 WHERE id = ?1 AND gone = 0"},
    [SQL_ACCOUNT_ACTIVE] = {SQL_WRITER, "SELECT active FROM accounts WHERE id = ?1"},
    // '#' stands in no name: the removed one is told from a new one of its name.
    [SQL_ACCOUNT_GONE] = {SQL_WRITER, "UPDATE accounts SET gone = 1, active = 0, name = name || '#' || id, "
                                      "desk_token = NULL, desk_client_secret = NULL, desk_url = NULL, "
                                      "desk_secret = NULL, defined_at = NULL, left_file = 0, file_text = NULL "
                                      "WHERE id = ?1 AND gone = 0"},
    [SQL_SOURCES_OF_GONE] = {SQL_WRITER, "UPDATE sources SET gone = 1, token = NULL, secret = NULL, "
                                         "made_secret = NULL, registered_url = NULL WHERE account_id = ?1"},
    [SQL_IS_GONE] = {BOTH, "SELECT gone FROM accounts WHERE id = ?1"},
    [SQL_SOURCES_GONE] = {SQL_WRITER, "UPDATE sources SET gone = 1 WHERE account_id = ?1"},
    [SQL_FIND_SOURCE] = {SQL_WRITER, "SELECT id FROM sources WHERE account_id = ?1 AND name = ?2"},
    [SQL_INSERT_SOURCE] = {SQL_WRITER, "INSERT INTO sources (account_id, name, gone, platform, token, secret, mode, "
                                       "take_over, api_url, made_secret, registered_url) "
                                       "VALUES (?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"},
    [SQL_SET_SOURCE] = {SQL_WRITER, "UPDATE sources SET account_id = ?2, name = ?3, gone = 0, platform = ?4, "
                                    "token = ?5, secret = ?6, mode = ?7, take_over = ?8, api_url = ?9, "
                                    "made_secret = ifnull(?10, made_secret), "
                                    "registered_url = ifnull(?11, registered_url) WHERE id = ?1"},
    [SQL_SET_SOURCE_LEARNED] = {SQL_WRITER, "UPDATE sources SET made_secret = ifnull(?2, made_secret), "
                                            "registered_url = ifnull(?3, registered_url), " SQL_OPEN_WHOLE(
                                                SQL_SOURCE_SUM) " WHERE id = ?1"},
    [SQL_SEAL_ACCOUNT] = {SQL_WRITER, "UPDATE accounts SET sum = " SQL_ACCOUNT_SUM " WHERE id = ?1"},
    [SQL_SEAL_SOURCES] = {SQL_WRITER, "UPDATE sources SET sum = " SQL_SOURCE_SUM " WHERE account_id = ?1"},
    [SQL_SEAL_WHOLE_ACCOUNT] = {SQL_WRITER,
                                "UPDATE accounts SET sum = " SQL_ACCOUNT_SUM " WHERE id = ?1 AND sum IS NULL"},
    [SQL_SEAL_WHOLE_SOURCE] = {SQL_WRITER, "UPDATE sources SET sum = " SQL_SOURCE_SUM " WHERE id = ?1 AND sum IS NULL"},
    [SQL_SET_DESK_HEALTH] = {SQL_WRITER, "INSERT INTO desk_health (desk, skips_in_row, guard_suspended) "
                                         "VALUES (?1, ?2, ?3) ON CONFLICT (desk) DO UPDATE SET "
                                         "skips_in_row = ?2, guard_suspended = ?3"},
    [SQL_EACH_ACCOUNT] = {SQL_WRITER,
                          "SELECT id, name, active, order_rule, on_failure, in_doubt, desk_platform, "
                          "desk_token, desk_client_secret, desk_api_url, desk_url, desk_secret, "
                          "desk_probe, desk_rate_per_min, defined_at, left_file, file_text, order_barrier, " SQL_WHOLE(
                              SQL_ACCOUNT_SUM) ", replies, identity "
                                               "FROM accounts WHERE gone = 0 ORDER BY id"},
    [SQL_EACH_SOURCE] = {SQL_WRITER, "SELECT id, name, platform, token, secret, mode, take_over, api_url, made_secret, "
                                     "registered_url, gone, " SQL_WHOLE(
                                         SQL_SOURCE_SUM) " FROM sources WHERE account_id = ?1 ORDER BY gone, id"},
    [SQL_EACH_DESK_HEALTH] = {SQL_WRITER, "SELECT desk, skips_in_row, guard_suspended FROM desk_health"},

    [SQL_ENTER_LINE] = {SQL_WRITER, "INSERT INTO waiting (lane, place, id, account_id) VALUES (?1, ?2, ?3, ?4)"},
    [SQL_LEAVE_LINE] = {SQL_WRITER, "DELETE FROM waiting WHERE id = ?1 AND (lane, place) = "
                                    "(SELECT m.lane, m.place FROM messages m WHERE m.id = ?1)"},
    // Reason 4 is damaged.
    [SQL_UNSETTLE] = {SQL_WRITER, "UPDATE messages NOT INDEXED SET state = 0, reason = 4 WHERE id > ?1 AND "
                                  "(state NOT BETWEEN 0 AND 3 OR (state IN (1, 2) AND changed_at = received_at AND "
                                  "next_attempt_at <> 1) OR "
                                  "(state = 3 AND reason = 0))"},
    [SQL_DOUBT_RETRIED] = {SQL_WRITER, "UPDATE messages NOT INDEXED SET reason = 4 WHERE id > ?1 AND state = 0 AND "
                                       "late = 1 AND id NOT IN (SELECT id FROM waiting WHERE id > ?1)"},
    [SQL_LINE_UP] = {SQL_WRITER, "INSERT INTO waiting (lane, place, id, account_id) SELECT lane, place, id, account_id "
                                 "FROM messages NOT INDEXED WHERE id > ?1 AND state = 0 AND id NOT IN "
                                 "(SELECT id FROM waiting WHERE id > ?1) ORDER BY lane, place, id"},
    [SQL_FRESH] = {BOTH, "SELECT m.id, m.lane, m.account_id FROM messages m NOT INDEXED WHERE " SQL_IS_FRESH
                         " ORDER BY m.id"},
    [SQL_EACH_IN_LINE] = {SQL_WRITER, "SELECT account_id FROM line"},
    [SQL_LOAD_LANE] = {SQL_WRITER, "SELECT " SQL_LINE_COLUMNS ", " SQL_LINK_COLUMNS " FROM waiting w "
                                   "LEFT JOIN messages m ON m.id = w.id "
                                   "LEFT JOIN conversations c ON c.id = m.conversation_id "
                                   "WHERE w.lane = ?1 AND w.place > ?2 ORDER BY w.place LIMIT ?3"},
    [SQL_LOAD_FRESH] = {SQL_WRITER, "SELECT " SQL_MESSAGE_COLUMNS ", " SQL_LINK_COLUMNS " FROM " SQL_MESSAGE_TABLES
                                    " WHERE m.id = ?1"},
    // One step of a walk over the lanes: each seeks past the rest of the lane before.
    [SQL_NEXT_LANE] = {BOTH, "SELECT lane, place, id, account_id FROM waiting WHERE lane > ?1 "
                             "ORDER BY lane, place LIMIT 1"},
    [SQL_LANE_HEAD] = {BOTH, "SELECT lane, place, id, account_id FROM waiting WHERE lane = ?1 ORDER BY place LIMIT 1"},
    [SQL_NEXT_WAITING] = {BOTH, "SELECT id FROM conversations INDEXED BY conversations_waiting "
                                "WHERE account_waiting > 0 AND account_waiting = ?1 AND id > ?2 ORDER BY id LIMIT 1"},
    [SQL_LOAD_REFS] = {SQL_WRITER, "SELECT desk_ref FROM messages INDEXED BY messages_refs "
                                   "WHERE desk_ref IS NOT NULL AND conversation_id = ?1 AND sent_at >= ?2 "
                                   "AND sent_at < ?3 AND state = 1 AND direction <> 1 ORDER BY sent_at, id"},

    // The terms are those of the index, letter by letter: SQLite takes it for no others.
    [SQL_OUT_OF_TURN] = {SQL_WRITER, "SELECT 1 FROM messages INDEXED BY messages_out_of_turn WHERE direction <> 1 AND "
                                     "(state = 2 OR (state = 0 AND (late = 1 OR received_at - sent_at > 3600000000))) "
                                     "AND conversation_id = ?1 AND sent_at >= ?2 AND sent_at < ?3 LIMIT 1"},
    [SQL_MAY_BE_FOLLOWED] = {SQL_WRITER, "SELECT 1 FROM messages m INDEXED BY messages_refs "
                                         "CROSS JOIN files f INDEXED BY files_untold ON f.message_id = m.id "
                                         "WHERE m.desk_ref IS NOT NULL AND m.conversation_id = ?1 AND m.sent_at >= ?2 "
                                         "AND m.sent_at < ?3 AND m.state = 1 AND m.id <> ?4 AND f.told = 0 LIMIT 1"},
    [SQL_AGE_SCAN] = {SQL_WRITER, READ_MESSAGES " WHERE m.id > ?1 ORDER BY m.id LIMIT ?2"},
    [SQL_AGE_YOUNGEST] = {SQL_WRITER, "SELECT received_at FROM messages ORDER BY id DESC LIMIT 1"},
    [SQL_AGE_BODY] = {SQL_WRITER, "UPDATE messages SET text = NULL, attachments = NULL, raw = NULL, format = NULL, "
                                  "body_gone = 1, sum = ?2 WHERE id = ?1"},
    [SQL_AGE_ATTEMPTS] = {SQL_WRITER, "DELETE FROM attempts WHERE message_id = ?1"},
    [SQL_AGE_MESSAGE] = {SQL_WRITER, "DELETE FROM messages WHERE id = ?1"},

    [SQL_COUNT_WAITING] = {BOTH, "SELECT count(*) FROM waiting"},
    [SQL_COUNT_LANE] = {BOTH, "SELECT count(*) FROM waiting WHERE lane = ?1"},
    [SQL_COUNT_IN_DOUBT] = {SQL_READER, "SELECT count(*) FROM messages INDEXED BY messages_in_doubt "
                                        "WHERE in_doubt = 1 AND state = 0"},
    [SQL_RECEIVED_AT] = {BOTH, "SELECT received_at FROM messages WHERE id = ?1"},
    [SQL_ACCOUNT_COUNTS] = {SQL_READER,
                            "SELECT account_id, sum(waiting), sum(bytes) FROM "
                            "(SELECT account_id, count(*) AS waiting, 0 AS bytes FROM line GROUP BY account_id "
                            "UNION ALL SELECT account_id, 0, bytes FROM account_files WHERE bytes > 0) "
                            "GROUP BY account_id"},
    [SQL_GET_MESSAGE] = {BOTH, READ_MESSAGES " WHERE m.id = ?1"},
    [SQL_EACH_ATTEMPT] = {SQL_READER, "SELECT at, verdict, error, " SQL_WHOLE(
                                          SQL_ATTEMPT_SUM) " FROM attempts WHERE message_id = ?1 ORDER BY at"},
    [SQL_LANE_LINE] = {SQL_READER, "SELECT l.id, m.conversation_id FROM (SELECT place, id FROM line WHERE lane = ?1 "
                                   "ORDER BY place LIMIT ?2) l LEFT JOIN messages m ON m.id = l.id"},
    [SQL_CONVERSATION_ID] = {SQL_READER, "SELECT id FROM conversations WHERE source_id = ?1 AND thread = ?2"},
    [SQL_LAST_DELIVERED] = {SQL_READER,
                            "SELECT id, changed_at FROM (SELECT id, state, direction, changed_at FROM messages "
                            "INDEXED BY messages_of_account WHERE account_id = ?1 ORDER BY id DESC "
                            "LIMIT ?2) WHERE state = 1 AND direction = 0 LIMIT 1"},
    [SQL_LAST_DELIVERED_IN] = {SQL_READER,
                               "SELECT id, changed_at FROM (SELECT id, state, direction, conversation_id, changed_at "
                               "FROM messages INDEXED BY messages_of_account WHERE account_id = ?1 "
                               "ORDER BY id DESC LIMIT ?2) WHERE state = 1 AND direction = 0 AND conversation_id = ?3 "
                               "LIMIT 1"},
    [SQL_COUNT_ROWS] = {SQL_READER, "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), "
                                    "count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 3), count(*), "
                                    "count(*) FILTER (WHERE in_doubt = 1 AND state = 0), ifnull(max(id), 0), "
                                    "ifnull(max(place), 0) FROM messages NOT INDEXED"},
    [SQL_CHECK_LINE] = {SQL_READER, "SELECT 1 FROM waiting WHERE lane = ?1 AND place = ?2 AND id = ?3"},
    [SQL_CHECK_WAITING] = {SQL_READER, "SELECT 1 FROM conversations INDEXED BY conversations_waiting "
                                       "WHERE account_waiting > 0 AND account_waiting = ?2 AND id = ?1"},
    [SQL_FIRST_ATTEMPT] = {SQL_READER, "SELECT min(at) FROM attempts WHERE message_id = ?1"},
    [SQL_CHECK_MESSAGES] = {BOTH, READ_MESSAGES " WHERE m.id > ?1 ORDER BY m.id LIMIT ?2"},
    [SQL_CHECK_CONVERSATIONS] = {SQL_READER, "SELECT c.thread, c.name, " SQL_LINK_COLUMNS " FROM conversations c "
                                             "WHERE c.id > ?1 ORDER BY c.id LIMIT ?2"},
    [SQL_CHECK_ACCOUNTS] = {SQL_READER, "SELECT id, name, " SQL_WHOLE(SQL_ACCOUNT_SUM) " FROM accounts WHERE id > ?1 "
                                                                                       "ORDER BY id LIMIT ?2"},
    [SQL_CHECK_SOURCES] = {SQL_READER, "SELECT id, name, " SQL_WHOLE(SQL_SOURCE_SUM) " FROM sources WHERE id > ?1 "
                                                                                     "ORDER BY id LIMIT ?2"},
    [SQL_CHECK_ATTEMPTS] = {SQL_READER,
                            "SELECT message_id, at, " SQL_WHOLE(
                                SQL_ATTEMPT_SUM) " FROM attempts "
                                                 "WHERE (message_id, at) > (?1, ?3) ORDER BY message_id, at LIMIT ?2"},
    [SQL_CHECK_THREADS] = {SQL_READER, "SELECT account_id, desk_conversation, " SQL_WHOLE(
                                           SQL_THREAD_SUM) " FROM desk_threads "
                                                           "WHERE (account_id, desk_conversation) > (?1, ?3) "
                                                           "ORDER BY account_id, desk_conversation LIMIT ?2"},
    [SQL_CHECK_SEARCHES] =
        {SQL_READER, "SELECT account_id, (SELECT a.name FROM accounts a WHERE a.id = account_id), " SQL_WHOLE(
                         SQL_SEARCH_SUM) " FROM desk_searches WHERE account_id > ?1 ORDER BY account_id LIMIT ?2"},
    [SQL_CHECK_FILES] = {SQL_READER,
                         "SELECT message_id, nth, size, hash, " SQL_WHOLE(
                             SQL_FILE_SUM) ", EXISTS (SELECT 1 FROM messages m WHERE m.id = message_id) FROM files "
                                           "WHERE (message_id, nth) > (?1, ?3) ORDER BY message_id, nth LIMIT ?2"},
    [SQL_CHECK_FILES_OF] = {SQL_READER, "SELECT nth, state, hash, " SQL_WHOLE(
                                            SQL_FILE_SUM) " FROM files WHERE message_id = ?1 ORDER BY nth LIMIT ?2"},
    [SQL_CHECK_AVATARS] =
        {SQL_READER,
         "SELECT conversation_id, 0, size, hash, " SQL_WHOLE(
             SQL_AVATAR_SUM) ", EXISTS (SELECT 1 FROM conversations c WHERE c.id = conversation_id) FROM avatars "
                             "WHERE conversation_id > ?1 AND ?3 <= 0 ORDER BY conversation_id LIMIT ?2"},
    [SQL_AVATAR_IS_KEPT] = {SQL_READER, "SELECT 1 FROM avatars WHERE conversation_id = ?1 AND ?2 = 0 AND hash = ?3"},
    [SQL_FILE_IS_KEPT] = {SQL_READER, "SELECT 1 FROM files WHERE message_id = ?1 AND nth = ?2 AND hash = ?3"},
    [SQL_HASH_IS_KNOWN] = {SQL_READER, "SELECT 1 FROM files INDEXED BY files_kept WHERE hash IS NOT NULL AND hash = ?1 "
                                       "UNION ALL SELECT 1 FROM avatars INDEXED BY avatars_kept "
                                       "WHERE hash IS NOT NULL AND hash = ?1 "
                                       "UNION ALL SELECT 1 FROM dropped WHERE hash = ?1 LIMIT 1"},
    [SQL_CHECK_FILE_BYTES] =
        {SQL_READER,
         "SELECT account_id, sum(said), sum(counted), min(whole) FROM (SELECT account_id, bytes AS said, 0 AS counted, " SQL_WHOLE(
             SQL_ACCOUNT_FILES_SUM) " AS whole FROM account_files UNION ALL SELECT account_id, 0, sum(size), 1 FROM "
                                    "(SELECT account_id, max(size) AS size FROM files INDEXED BY files_kept "
                                    "WHERE hash IS NOT NULL GROUP BY hash, account_id) GROUP BY account_id) "
                                    "GROUP BY account_id HAVING sum(said) <> sum(counted) OR min(whole) = 0"},
    [SQL_CHECK_ALBUMS] = {SQL_READER, "SELECT message_id FROM albums WHERE NOT " SQL_WHOLE(SQL_ALBUM_SUM)},
};
