// All SQL of the SQLite back end that runs more than once, by name.
#pragma once

enum sql_user { SQL_WRITER = 1, SQL_READER = 2 };

enum sql_statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_READ_BEGIN,
    SQL_READ_END,

    SQL_TOTALS,
    SQL_SET_TOTALS,
    SQL_SET_CLEAN,
    SQL_BEGIN_LOG,

    SQL_FIND_KEY,
    SQL_FIND_CONVERSATION,
    SQL_GET_CONVERSATION,
    SQL_INSERT_CONVERSATION,
    SQL_SET_CONVERSATION,
    SQL_SET_CONTACT,
    SQL_GOES_ON_HERE,
    SQL_SET_WAITING,
    SQL_EACH_WAITING,
    SQL_INSERT_MESSAGE,
    SQL_FIND_TARGET,
    SQL_FIND_LAST_WORDS,

    SQL_SET_OUTCOME,
    SQL_SET_OUTCOME_TEXTS,
    SQL_DISCARD_SKIPPED,
    SQL_MARK,
    SQL_INSERT_ATTEMPT,
    SQL_GET_REPLY,
    SQL_GET_SKIPPED,
    SQL_RETRY,

    SQL_GET_FILES,
    SQL_PUT_FILE,
    SQL_DELETE_FILE,
    SQL_DELETE_WANTED,
    SQL_WANTED_OF_GONE,
    SQL_DROP_AVATARS_OF_GONE,
    SQL_AVATARS_OF_GONE,
    SQL_WANTED_FILES,
    SQL_EACH_UNTOLD,
    SQL_ACCOUNT_HAS_HASH,
    SQL_HASH_IS_KEPT,
    SQL_DROP_HASH,
    SQL_EACH_DROPPED,
    SQL_FORGET_DROPPED,
    SQL_GET_FILE_BYTES,
    SQL_SET_FILE_BYTES,
    SQL_COUNT_FILE_BYTES,
    SQL_SET_BODY,
    SQL_SET_WAIT,
    SQL_FIND_ALBUM,
    SQL_GET_ALBUM,
    SQL_SET_ALBUM,
    SQL_END_ALBUM,

    SQL_GET_AVATAR,
    SQL_PUT_AVATAR,
    SQL_SET_AVATAR_DUE,
    SQL_DUE_AVATARS,

    SQL_GET_THREAD,
    SQL_SET_THREAD,
    SQL_FORGET_THREAD,
    SQL_FIND_CONTACT,
    SQL_ACCOUNT_OF_MESSAGE,
    SQL_GET_SEARCHED,
    SQL_BEGIN_SEARCH,
    SQL_SET_SEARCHED,
    SQL_THREADS_OF_GONE,
    SQL_SEARCH_OF_GONE,
    SQL_EACH_NEWS,
    SQL_EACH_SEARCHED,

    SQL_FIND_ACCOUNT,
    SQL_GET_ORDER,
    SQL_SET_ORDER_BARRIER,
    SQL_INSERT_ACCOUNT,
    SQL_SET_ACCOUNT,
    SQL_SET_ACCOUNT_ACTIVE,
    SQL_ACCOUNT_ACTIVE,
    SQL_ACCOUNT_GONE,
    SQL_SOURCES_OF_GONE,
    SQL_IS_GONE,
    SQL_SOURCES_GONE,
    SQL_FIND_SOURCE,
    SQL_INSERT_SOURCE,
    SQL_SET_SOURCE,
    SQL_SET_SOURCE_LEARNED,
    SQL_SEAL_ACCOUNT,
    SQL_SEAL_SOURCES,
    SQL_SEAL_WHOLE_ACCOUNT,
    SQL_SEAL_WHOLE_SOURCE,
    SQL_SET_DESK_HEALTH,
    SQL_EACH_ACCOUNT,
    SQL_EACH_SOURCE,
    SQL_EACH_DESK_HEALTH,

    SQL_ENTER_LINE,
    SQL_LEAVE_LINE,
    SQL_UNSETTLE,
    SQL_DOUBT_RETRIED,
    SQL_LINE_UP,
    SQL_FRESH,
    SQL_EACH_IN_LINE,
    SQL_LOAD_LANE,
    SQL_LOAD_FRESH,
    SQL_NEXT_LANE,
    SQL_LANE_HEAD,
    SQL_NEXT_WAITING,
    SQL_LOAD_REFS,

    SQL_OUT_OF_TURN,
    SQL_MAY_BE_FOLLOWED,
    SQL_AGE_SCAN,
    SQL_AGE_YOUNGEST,
    SQL_AGE_BODY,
    SQL_AGE_ATTEMPTS,
    SQL_AGE_MESSAGE,

    SQL_COUNT_WAITING,
    SQL_COUNT_LANE,
    SQL_COUNT_IN_DOUBT,
    SQL_RECEIVED_AT,
    SQL_ACCOUNT_COUNTS,
    SQL_GET_MESSAGE,
    SQL_EACH_ATTEMPT,
    SQL_LANE_LINE,
    SQL_CONVERSATION_ID,
    SQL_LAST_DELIVERED,
    SQL_LAST_DELIVERED_IN,
    SQL_COUNT_ROWS,
    SQL_CHECK_LINE,
    SQL_CHECK_WAITING,
    SQL_FIRST_ATTEMPT,
    SQL_CHECK_MESSAGES,
    SQL_CHECK_CONVERSATIONS,
    SQL_CHECK_ACCOUNTS,
    SQL_CHECK_SOURCES,
    SQL_CHECK_ATTEMPTS,
    SQL_CHECK_THREADS,
    SQL_CHECK_SEARCHES,
    SQL_CHECK_FILES,
    SQL_CHECK_FILES_OF,
    SQL_CHECK_AVATARS,
    SQL_FILE_IS_KEPT,
    SQL_AVATAR_IS_KEPT,
    SQL_HASH_IS_KNOWN,
    SQL_CHECK_FILE_BYTES,
    SQL_CHECK_ALBUMS,
    SQL_COUNT
};

struct sql_statement_text {
    int user; // who prepares it: bits of enum sql_user
    const char *text;
};
extern const struct sql_statement_text sql_statements[SQL_COUNT];

// Columns of messages m, conversations c, in the order that row.c reads.
#define SQL_MESSAGE_COLUMNS "m.id, m.place, m.lane, m.account_id, " SQL_MESSAGE_REST
// What the line says comes before what the row says (rows that are not there have NULL for their id).
#define SQL_LINE_COLUMNS "m.id, w.place, w.lane, w.account_id, " SQL_MESSAGE_REST
#define SQL_MESSAGE_REST                                                                                               \
    "m.source_id, m.conversation_id, m.direction, m.state, m.reason, "                                                 \
    "m.in_doubt, m.in_flight, m.late, m.attempts, m.next_attempt_at, m.sent_at, m.received_at, m.changed_at, "         \
    "m.digest, m.sum, m.dedupe_key, m.sender_id, m.sender_name, m.text, m.attachments, m.last_error, m.desk_ref, "     \
    "m.format, m.act, m.target_id, "                                                                                   \
    "CASE WHEN m.act > 0 THEN (SELECT t.desk_ref FROM messages t WHERE t.id = m.target_id AND t.state = 1) END, "      \
    "c.thread, c.name"
#define SQL_LINK_COLUMNS                                                                                               \
    "c.contact, c.desk_conversation, c.last_part, c.note, c.sum, c.source_id, c.id, c.goes_on_in, c.account_waiting, " \
    "c.profile"
// A message whose conversation has gone is damaged, not absent: hence LEFT JOIN.
#define SQL_MESSAGE_TABLES "messages m LEFT JOIN conversations c ON c.id = m.conversation_id"
// Of messages m, those that wait and do not stand in the table of what waits: sqlite_line.h, and the view `line`.
#define SQL_IS_FRESH                                                                                                   \
    "m.id > (SELECT lined_number FROM totals) AND m.state = 0 AND NOT EXISTS "                                         \
    "(SELECT 1 FROM waiting w WHERE w.lane = m.lane AND w.place = m.place AND w.id = m.id)"
