#include "store/sqlite_schema.h"

#include "base/chance.h"
#include "base/must.h"
#include "store/sql_seal.h"

#include <stdio.h>

// Migrations, numbered from 1 by their place here. One that has left this tree is never edited: what must
// change gets a further entry, and both a store made by the old ones and a new one are tested.
//
// Invariants, at every commit:
//   totals: accepted = delivered + skipped + discarded + (rows with state 0)
//           delivered = rows with state 1 + aged_delivered; discarded likewise; skipped = rows with state 2
//           last_number >= every id and every place: ids and places are drawn from it, so that places of
//           messages accepted later are greater, and nothing that has aged out is given again
//   messages: (source_id, dedupe_key, digest) once; (lane, place) once among state 0
//   in_flight = 1 only with state 0
//   store.log_number in the file alone is that of the log, or one less: the first transaction of a log adds one
//   sum fits the columns that never change (row.c), and attachments and text, which files and parts of an album change;
//   conversations.sum fits the whole row, and so do those of accounts, sources, attempts, totals, desk_threads, desk_searches,
//   files, account_files, albums and avatars (sql_seal.h)
//   goes_on_in names a conversation of the same source that itself goes on nowhere else: one step, never a chain
//   waiting has each row with state 0 and an id up to totals.lined_number, and of those behind it some; a row with late = 1
//           and state 0 always. Nothing else
//   with state 1 or 2 changed_at is not received_at, or next_attempt_at is 1; with state 3 there is a reason: so a row whose
//           state alone is damaged can be told
//   account_waiting is the account of each pending message in the conversation's lanes; without any it may be 0 or not
//   files has a row for each file of a message that is to be fetched, was fetched, or could not be: among the first FILES_MAX
//   of its attachments, not of discarded messages while it is wanted, and not when the body has gone. What a row says of a settled
//   one, attachments of its message say, too. told = 0: when its message is delivered (if it was: when it is settled) it follows
//   account_files: the bytes of the account's kept files, each hash once
//   avatars has a row for each conversation whose customer's picture was ever due
//   dropped has each hash that lost a row and has not been given out since to be removed; it may have rows again
//   albums: pending messages that parts may join, in a conversation one of each name
//   act > 0 only with direction 1, and then target_id is a reply of the same source with act = 0, or was before it aged out
//   desk_threads has each thread that a conversation's link names, with the newest of its conversations; and an account with
//   threads has a row in desk_searches
static const char *const migrations[] = {
    // States: 0 pending, 1 delivered, 2 skipped, 3 discarded. Directions: 0 inbound, 1 reply. Times are
    // microseconds since 1970. Reasons as in model/message.h.
    //
    // messages: what is changed when a message is settled keeps its size (changed_at is there from the start;
    // 0 and 1 take no room in a row), so that the row is rewritten in place. Texts stand last, so that reading
    // the numbers never touches the pages that a long text spills into.
    "CREATE TABLE messages ("
    " id INTEGER PRIMARY KEY,"
    " place INTEGER NOT NULL," // order within the lane; the id at acceptance
    " lane INTEGER NOT NULL,"  // model/message.h, lane_id
    " account_id INTEGER NOT NULL,"
    " source_id INTEGER NOT NULL,"
    " conversation_id INTEGER NOT NULL,"
    " direction INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " reason INTEGER NOT NULL,"
    " in_doubt INTEGER NOT NULL,"
    " in_flight INTEGER NOT NULL,"
    " late INTEGER NOT NULL,"
    " body_gone INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL,"
    " next_attempt_at INTEGER NOT NULL," // 0 = at once
    " sent_at INTEGER NOT NULL,"
    " received_at INTEGER NOT NULL,"
    " changed_at INTEGER NOT NULL," // when the state last changed: accepted, or settled
    " digest INTEGER NOT NULL,"
    " sum INTEGER NOT NULL,"
    " dedupe_key TEXT NOT NULL,"
    " sender_id TEXT, sender_name TEXT,"
    " last_error TEXT, desk_ref TEXT,"
    " text TEXT, attachments TEXT, raw TEXT"
    ") STRICT;"
    "CREATE UNIQUE INDEX messages_dedupe ON messages(source_id, dedupe_key, digest);"
    // Small: only what waits. Ends with the account, so that counting per account stays in it.
    "CREATE INDEX messages_pending ON messages(lane, place, account_id) WHERE state = 0;"
    "CREATE INDEX messages_of_account ON messages(account_id);"
    // Few rows each, nothing to keep up for the rest.
    "CREATE INDEX messages_skipped ON messages(account_id) WHERE state = 2;"
    "CREATE INDEX messages_in_doubt ON messages(state) WHERE in_doubt = 1;"
    "CREATE INDEX messages_refs ON messages(conversation_id, sent_at) WHERE desk_ref IS NOT NULL;"

    "CREATE TABLE conversations ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT," // lanes are made of it: never given again
    " source_id INTEGER NOT NULL,"
    " thread TEXT NOT NULL,"
    " name TEXT,"
    " contact TEXT, desk_conversation TEXT, last_part TEXT, note TEXT," // what the desk taught us
    " sum INTEGER NOT NULL,"
    " UNIQUE (source_id, thread)"
    ") STRICT;"

    "CREATE TABLE accounts ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL UNIQUE,"
    " active INTEGER NOT NULL,"
    " order_rule INTEGER NOT NULL," // 0 account, 1 conversation
    " on_failure INTEGER NOT NULL," // 0 skip, 1 hold
    " in_doubt INTEGER NOT NULL,"   // 0 resend, 1 hold
    " desk_platform TEXT, desk_token TEXT, desk_client_secret TEXT, desk_api_url TEXT, desk_url TEXT, desk_secret TEXT,"
    " desk_probe INTEGER NOT NULL,"
    " desk_rate_per_min INTEGER NOT NULL,"
    " defined_at TEXT,"
    " left_file INTEGER NOT NULL,"
    " file_text TEXT"
    ") STRICT;"

    "CREATE TABLE sources ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " account_id INTEGER NOT NULL,"
    " name TEXT NOT NULL,"
    " gone INTEGER NOT NULL," // no longer configured: its messages stay
    " platform TEXT, token TEXT, secret TEXT,"
    " mode INTEGER NOT NULL,"
    " take_over INTEGER NOT NULL,"
    " api_url TEXT, made_secret TEXT, registered_url TEXT,"
    " UNIQUE (account_id, name)"
    ") STRICT;"

    "CREATE TABLE attempts ("
    " message_id INTEGER NOT NULL,"
    " at INTEGER NOT NULL,"
    " verdict TEXT NOT NULL,"
    " error TEXT,"
    " PRIMARY KEY (message_id, at)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE totals ("
    " one INTEGER PRIMARY KEY CHECK (one = 1),"
    " accepted INTEGER NOT NULL, delivered INTEGER NOT NULL, skipped INTEGER NOT NULL, discarded INTEGER NOT NULL,"
    " aged_delivered INTEGER NOT NULL, aged_discarded INTEGER NOT NULL," // of those, rows that have gone
    " last_number INTEGER NOT NULL,"
    " moved_number INTEGER NOT NULL" // messages up to this id were out of the log when this was written
    ") STRICT;"
    "INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);"

    "CREATE TABLE desk_health ("
    " desk INTEGER PRIMARY KEY," // desk_identity
    " skips_in_row INTEGER NOT NULL,"
    " guard_suspended INTEGER NOT NULL"
    ") STRICT;"

    "CREATE TABLE store ("
    " one INTEGER PRIMARY KEY CHECK (one = 1),"
    " id TEXT NOT NULL,"
    " clean INTEGER NOT NULL" // 1: ended in order, and nobody has written since
    ") STRICT;"
    "INSERT INTO store VALUES (1, lower(hex(randomblob(8))), 1);"

    "CREATE VIEW readable_messages AS SELECT m.id, a.name AS account, s.name AS source, s.platform,"
    " CASE m.direction WHEN 0 THEN 'inbound' ELSE 'reply' END AS direction,"
    " c.thread AS conversation, c.name AS conversation_name, m.sender_id, m.sender_name, m.text, m.attachments,"
    " CASE m.state WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' WHEN 2 THEN 'skipped' ELSE 'discarded' END AS state,"
    " CASE m.reason WHEN 1 THEN 'rejected' WHEN 2 THEN 'gave_up' WHEN 3 THEN 'by_hand' WHEN 4 THEN 'damaged'"
    " WHEN 5 THEN 'no_meaning' WHEN 6 THEN 'orphaned' WHEN 0 THEN '' ELSE m.reason END AS reason,"
    " m.in_doubt, m.late, m.attempts, m.last_error, m.desk_ref,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', m.sent_at / 1e6, 'unixepoch') AS sent_at,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', m.received_at / 1e6, 'unixepoch') AS received_at,"
    " CASE WHEN m.state <> 0 THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.changed_at / 1e6, 'unixepoch') END AS settled_at,"
    " CASE WHEN m.state = 0 AND m.next_attempt_at > 0"
    " THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.next_attempt_at / 1e6, 'unixepoch') END AS next_attempt_at"
    " FROM messages m LEFT JOIN conversations c ON c.id = m.conversation_id"
    " LEFT JOIN accounts a ON a.id = m.account_id LEFT JOIN sources s ON s.id = m.source_id;"

    "CREATE VIEW waiting_per_account AS SELECT a.name AS account, w.waiting,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', w.oldest / 1e6, 'unixepoch') AS oldest_received_at"
    " FROM (SELECT account_id, count(*) AS waiting, min(received_at) AS oldest FROM messages"
    " WHERE state = 0 GROUP BY account_id) w LEFT JOIN accounts a ON a.id = w.account_id;",

    // A changed order rule: messages up to this place stand in lanes of the rule before, and go first. 0 = none.
    "ALTER TABLE accounts ADD COLUMN order_barrier INTEGER NOT NULL DEFAULT 0;",

    // How often the log was begun anew, by which a file and a log that do not belong together are told. It begins so
    // large that it always takes the same room in its row.
    "ALTER TABLE store ADD COLUMN log_number INTEGER NOT NULL DEFAULT 4294967296;",

    // A removed account's row stays, as NAME#ID, so that its messages still say whose they were.
    "ALTER TABLE accounts ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;",

    // The lanes of one account that wait, without a look at those of all others. Not an account's own lane, which is known
    // by its number (model/message.h): messages in such pay nothing for it.
    "CREATE INDEX messages_lanes ON messages(account_id, lane, place) WHERE state = 0 AND (lane & 3) > 0;",

    // A thread that migrated (a group became a supergroup) goes on in the conversation of the one before.
    "ALTER TABLE conversations ADD COLUMN goes_on_in INTEGER;" // NULL, 0: messages of this thread are this one's
    "CREATE INDEX conversations_moved ON conversations(goes_on_in) WHERE goes_on_in > 0;"
    "DROP VIEW readable_messages;"
    "CREATE VIEW readable_messages AS SELECT m.id, a.name AS account, s.name AS source, s.platform,"
    " CASE m.direction WHEN 0 THEN 'inbound' ELSE 'reply' END AS direction,"
    " c.thread AS conversation, c.name AS conversation_name, m.sender_id, m.sender_name, m.text, m.attachments,"
    " CASE m.state WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' WHEN 2 THEN 'skipped' ELSE 'discarded' END AS state,"
    " CASE m.reason WHEN 1 THEN 'rejected' WHEN 2 THEN 'gave_up' WHEN 3 THEN 'by_hand' WHEN 4 THEN 'damaged'"
    " WHEN 5 THEN 'no_meaning' WHEN 6 THEN 'orphaned' WHEN 7 THEN 'unknown_kind' WHEN 0 THEN '' ELSE m.reason END AS reason,"
    " m.in_doubt, m.late, m.attempts, m.last_error, m.desk_ref,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', m.sent_at / 1e6, 'unixepoch') AS sent_at,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', m.received_at / 1e6, 'unixepoch') AS received_at,"
    " CASE WHEN m.state <> 0 THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.changed_at / 1e6, 'unixepoch') END AS settled_at,"
    " CASE WHEN m.state = 0 AND m.next_attempt_at > 0"
    " THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.next_attempt_at / 1e6, 'unixepoch') END AS next_attempt_at"
    " FROM messages m LEFT JOIN conversations c ON c.id = m.conversation_id"
    " LEFT JOIN accounts a ON a.id = m.account_id LEFT JOIN sources s ON s.id = m.source_id;",

    // Checksums of what several statements write (sql_seal.h). NULL: not written since.
    "ALTER TABLE accounts ADD COLUMN sum INTEGER;"
    "ALTER TABLE sources ADD COLUMN sum INTEGER;"
    "ALTER TABLE attempts ADD COLUMN sum INTEGER;"
    "ALTER TABLE totals ADD COLUMN sum INTEGER;",

    // Lanes of conversations found by their account (sqlite_waiting.c), in place of an index that every message went into
    // and out of again.
    "DROP INDEX messages_lanes;"
    "ALTER TABLE conversations ADD COLUMN account_waiting INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX conversations_waiting ON conversations(account_waiting, id) WHERE account_waiting > 0;"
    "UPDATE conversations SET account_waiting = (SELECT m.account_id FROM messages m INDEXED BY messages_pending"
    " WHERE m.state = 0 AND m.lane = conversations.id * 4 + 1 LIMIT 1) WHERE id IN"
    " (SELECT lane >> 2 FROM messages INDEXED BY messages_pending WHERE state = 0 AND (lane & 3) = 1);",

    // What waits in a table of its own in place of an index, so that it may stand there later (sqlite_line.h).
    "CREATE TABLE waiting ("
    " lane INTEGER NOT NULL, place INTEGER NOT NULL, id INTEGER NOT NULL, account_id INTEGER NOT NULL,"
    " PRIMARY KEY (lane, place, id)" // a damaged place is one that another message may have
    ") STRICT, WITHOUT ROWID;"
    "INSERT INTO waiting SELECT lane, place, id, account_id FROM messages INDEXED BY messages_pending"
    " WHERE state = 0 ORDER BY lane, place, id;"
    "DROP INDEX messages_pending;"
    "ALTER TABLE totals ADD COLUMN lined_number INTEGER NOT NULL DEFAULT 0;"
    // What has a sum that does not fit keeps it: it was made over one column less.
    "UPDATE totals SET lined_number = last_number, sum = CASE WHEN sum = row_sum(accepted, delivered, skipped, discarded,"
    " aged_delivered, aged_discarded, last_number, moved_number) THEN NULL ELSE sum END;"
    "CREATE VIEW line AS SELECT lane, place, id, account_id FROM waiting"
    " UNION ALL SELECT m.lane, m.place, m.id, m.account_id FROM messages m NOT INDEXED"
    " WHERE m.id > (SELECT lined_number FROM totals) AND m.state = 0 AND NOT EXISTS"
    " (SELECT 1 FROM waiting w WHERE w.lane = m.lane AND w.place = m.place AND w.id = m.id);"
    "DROP VIEW waiting_per_account;"
    "CREATE VIEW waiting_per_account AS SELECT a.name AS account, w.waiting,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', w.oldest / 1e6, 'unixepoch') AS oldest_received_at"
    " FROM (SELECT l.account_id, count(*) AS waiting, min(m.received_at) AS oldest FROM line l"
    " LEFT JOIN messages m ON m.id = l.id GROUP BY l.account_id) w LEFT JOIN accounts a ON a.id = w.account_id;",

    // Agents' replies. How the platform shows one (messages.format), and threads at the desk (store.h, sqlite_threads.c). Those
    // from before are taken up to now: nobody waits any more for what an agent wrote when nothing brought it to the customer.
    // A desk has news in few of them at a time.
    "ALTER TABLE messages ADD COLUMN format TEXT;"
    "ALTER TABLE accounts ADD COLUMN replies INTEGER NOT NULL DEFAULT 0;" // 0 agents, 1 agents+bots
    "CREATE TABLE desk_threads ("
    " account_id INTEGER NOT NULL, desk_conversation TEXT NOT NULL,"
    " conversation_id INTEGER NOT NULL," // 0 = nobody's, as far as known
    " taken_s INTEGER NOT NULL,"         // unix seconds: parts made before were taken
    " news_at INTEGER NOT NULL,"         // microseconds; 0 = none that are to be fetched
    " sum INTEGER,"
    " PRIMARY KEY (account_id, desk_conversation)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX desk_threads_news ON desk_threads(account_id, desk_conversation) WHERE news_at > 0;"
    "CREATE TABLE desk_searches (account_id INTEGER PRIMARY KEY, until_s INTEGER NOT NULL, sum INTEGER) STRICT;"
    "CREATE INDEX conversations_contact ON conversations(contact) WHERE contact IS NOT NULL;"
    "INSERT INTO desk_threads SELECT s.account_id, c.desk_conversation, max(c.id), CAST(strftime('%s', 'now') AS INTEGER), 0, NULL"
    " FROM conversations c JOIN sources s ON s.id = c.source_id JOIN accounts a ON a.id = s.account_id"
    " WHERE c.desk_conversation <> '' AND a.gone = 0 GROUP BY s.account_id, c.desk_conversation;"
    "INSERT INTO desk_searches SELECT DISTINCT account_id, CAST(strftime('%s', 'now') AS INTEGER), NULL FROM desk_threads;"
    "DROP VIEW readable_messages;"
    "CREATE VIEW readable_messages AS SELECT m.id, a.name AS account, s.name AS source, s.platform,"
    " CASE m.direction WHEN 0 THEN 'inbound' WHEN 1 THEN 'reply' ELSE 'note' END AS direction,"
    " c.thread AS conversation, c.name AS conversation_name, m.sender_id, m.sender_name, m.text, m.format, m.attachments,"
    " CASE m.state WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' WHEN 2 THEN 'skipped' ELSE 'discarded' END AS state,"
    " CASE m.reason WHEN 1 THEN 'rejected' WHEN 2 THEN 'gave_up' WHEN 3 THEN 'by_hand' WHEN 4 THEN 'damaged'"
    " WHEN 5 THEN 'no_meaning' WHEN 6 THEN 'orphaned' WHEN 7 THEN 'unknown_kind' WHEN 8 THEN 'loop' WHEN 0 THEN '' ELSE m.reason END AS reason,"
    " m.in_doubt, m.late, m.attempts, m.last_error, m.desk_ref,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', m.sent_at / 1e6, 'unixepoch') AS sent_at,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', m.received_at / 1e6, 'unixepoch') AS received_at,"
    " CASE WHEN m.state <> 0 THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.changed_at / 1e6, 'unixepoch') END AS settled_at,"
    " CASE WHEN m.state = 0 AND m.next_attempt_at > 0"
    " THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.next_attempt_at / 1e6, 'unixepoch') END AS next_attempt_at"
    " FROM messages m LEFT JOIN conversations c ON c.id = m.conversation_id"
    " LEFT JOIN accounts a ON a.id = m.account_id LEFT JOIN sources s ON s.id = m.source_id;",

    // Files that messages came with (sqlite_media.c), what agents change of their replies, what is known of a customer. A file is
    // found by when it is wanted, by its bytes, and by its message while an agent may have to be told of it.
    "ALTER TABLE messages ADD COLUMN act INTEGER NOT NULL DEFAULT 0;"       // 0 says, 1 edits, 2 deletes
    "ALTER TABLE messages ADD COLUMN target_id INTEGER NOT NULL DEFAULT 0;" // the reply that it changes; 0 = none
    "ALTER TABLE conversations ADD COLUMN profile TEXT;"                    // JSON: model/message.h, profile_write
    "CREATE TABLE files ("
    " message_id INTEGER NOT NULL, nth INTEGER NOT NULL," // which of its attachments, from 0
    " account_id INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"           // 0 wanted, 1 kept, 2 failed
    " told INTEGER NOT NULL,"            // nothing needs to follow its message on its account
    " attempts INTEGER NOT NULL,"        // to fetch it
    " next_attempt_at INTEGER NOT NULL," // while wanted
    " size INTEGER NOT NULL,"            // of a kept one, bytes
    " hash TEXT,"                        // of a kept one
    " attachment TEXT,"                  // while wanted, as JSON
    " sum INTEGER,"
    " PRIMARY KEY (message_id, nth)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX files_wanted ON files(next_attempt_at, account_id) WHERE state = 0;"
    "CREATE INDEX files_kept ON files(hash, account_id, size) WHERE hash IS NOT NULL;"
    "CREATE INDEX files_untold ON files(message_id) WHERE told = 0;"
    "CREATE TABLE dropped (hash TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;"
    "CREATE TABLE account_files (account_id INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, sum INTEGER) STRICT;"
    "CREATE TABLE albums ("
    " message_id INTEGER PRIMARY KEY, conversation_id INTEGER NOT NULL, album TEXT NOT NULL,"
    " until_at INTEGER NOT NULL," // further parts are waited for until then
    " sum INTEGER"
    ") STRICT;"
    "CREATE UNIQUE INDEX albums_named ON albums(conversation_id, album);"
    "ALTER TABLE store ADD COLUMN link_key BLOB;" // links to files are signed with it
    "UPDATE store SET link_key = secret(32);"
    "DROP VIEW readable_messages;"
    "CREATE VIEW readable_messages AS SELECT m.id, a.name AS account, s.name AS source, s.platform,"
    " CASE m.direction WHEN 0 THEN 'inbound' WHEN 1 THEN 'reply' ELSE 'note' END AS direction,"
    " c.thread AS conversation, c.name AS conversation_name, m.sender_id, m.sender_name, m.text, m.format,"
    " CASE m.act WHEN 1 THEN 'edits' WHEN 2 THEN 'deletes' ELSE 'says' END AS act, m.attachments,"
    " CASE m.state WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' WHEN 2 THEN 'skipped' ELSE 'discarded' END AS state,"
    " CASE m.reason WHEN 1 THEN 'rejected' WHEN 2 THEN 'gave_up' WHEN 3 THEN 'by_hand' WHEN 4 THEN 'damaged'"
    " WHEN 5 THEN 'no_meaning' WHEN 6 THEN 'orphaned' WHEN 7 THEN 'unknown_kind' WHEN 8 THEN 'loop' WHEN 9 THEN 'joined' WHEN 0 THEN '' ELSE m.reason END AS reason,"
    " m.in_doubt, m.late, m.attempts, m.last_error, m.desk_ref,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', m.sent_at / 1e6, 'unixepoch') AS sent_at,"
    " strftime('%Y-%m-%dT%H:%M:%fZ', m.received_at / 1e6, 'unixepoch') AS received_at,"
    " CASE WHEN m.state <> 0 THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.changed_at / 1e6, 'unixepoch') END AS settled_at,"
    " CASE WHEN m.state = 0 AND m.next_attempt_at > 0"
    " THEN strftime('%Y-%m-%dT%H:%M:%fZ', m.next_attempt_at / 1e6, 'unixepoch') END AS next_attempt_at"
    " FROM messages m LEFT JOIN conversations c ON c.id = m.conversation_id"
    " LEFT JOIN accounts a ON a.id = m.account_id LEFT JOIN sources s ON s.id = m.source_id;",

    "ALTER TABLE accounts ADD COLUMN identity INTEGER NOT NULL DEFAULT 0;", // 0 none, 1 phone, 2 email

    // Unsettled messages, not replies, that do not stand in their lane as they were said: by their second, for those whose
    // references tell them apart (sqlite_age.c). Few; but while a platform brings what it held back for long, each.
    "CREATE INDEX messages_out_of_turn ON messages(conversation_id, sent_at) WHERE direction <> 1 AND "
    "(state = 2 OR (state = 0 AND (late = 1 OR received_at - sent_at > 3600000000)));",

    // Customers' pictures (store.h, struct avatar), found by when one is due, and by its bytes.
    "CREATE TABLE avatars ("
    " conversation_id INTEGER PRIMARY KEY,"
    " account_id INTEGER NOT NULL,"
    " due_at INTEGER NOT NULL,"   // 0 = nothing is to be done
    " attempts INTEGER NOT NULL," // since it is due
    " asked_at INTEGER NOT NULL," // the platform; 0 = never
    " size INTEGER NOT NULL,"     // of a kept one, bytes
    " picture TEXT,"              // the platform's name of it
    " hash TEXT, mime TEXT,"      // of a kept one
    " told TEXT,"                 // the desk's contact that shows it
    " sum INTEGER"
    ") STRICT;"
    "CREATE INDEX avatars_due ON avatars(due_at) WHERE due_at > 0;"
    "CREATE INDEX avatars_kept ON avatars(hash) WHERE hash IS NOT NULL;",
};

enum { APPLICATION_ID = 0x54524942 }; // "TRIB", so that no other program's database is taken for ours

int sqlite_schema_newest(void)
{
    return (int)(sizeof migrations / sizeof *migrations);
}

// secret(n): that many bytes fit for keys. SQLite's own chance is not made for them.
static void secret(sqlite3_context *context, int count, sqlite3_value **values)
{
    unsigned char bytes[64];
    int n = sqlite3_value_int(values[0]);
    must(count == 1 && n > 0 && n <= (int)sizeof bytes);
    chance_secret(bytes, (size_t)n);
    sqlite3_result_blob(context, bytes, n, SQLITE_TRANSIENT);
}

static int register_functions(sqlite3 *db)
{
    int code = sqlite3_create_function_v2(db, "secret", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, secret, NULL, NULL,
                                          NULL);
    return code == SQLITE_OK ? sql_seal_register(db) : code;
}

// A crash within leaves the version before: all of one migration is one transaction.
static int migrate_one(struct sql *sql, int version)
{
    char text[64];
    must(snprintf(text, sizeof text, "PRAGMA user_version = %d", version) < (int)sizeof text);
    int err = sql_exec(sql, "BEGIN IMMEDIATE", NULL);
    if (err)
        return err;
    int code = sqlite3_exec(sql->db, migrations[version - 1], NULL, NULL, NULL);
    // SQLITE_ERROR: what it changes is not as that version has it, so the file is not of the version that it says.
    err = (code & 0xff) == SQLITE_ERROR ? ERR_CORRUPT : sql_error(sql, code);
    if (!err)
        err = sql_exec(sql, text, NULL);
    if (!err)
        err = sql_exec(sql, "COMMIT", NULL);
    if (err && !sqlite3_get_autocommit(sql->db) && sql_exec(sql, "ROLLBACK", NULL) != 0)
        err = ERR_IO;
    return err;
}

static int check_application(struct sql *sql, int64_t version)
{
    int64_t application = 0, tables = 0;
    int err = sql_exec(sql, "PRAGMA application_id", &application);
    if (!err)
        err = sql_exec(sql, "SELECT count(*) FROM sqlite_schema", &tables);
    if (err)
        return err;
    if (application == APPLICATION_ID)
        return version > sqlite_schema_newest() ? ERR_REFUSED : version < 0 ? ERR_CORRUPT : 0;
    if (application != 0 || version != 0 || tables != 0)
        return ERR_INVALID;
    char text[64];
    must(snprintf(text, sizeof text, "PRAGMA application_id = %d", APPLICATION_ID) < (int)sizeof text);
    return sql_exec(sql, text, NULL);
}

int sqlite_schema_migrate(struct sql *sql)
{
    int64_t version = 0;
    int err = sql_error(sql, register_functions(sql->db)); // migrations read sums
    if (!err)
        err = sql_exec(sql, "PRAGMA user_version", &version);
    if (!err)
        err = check_application(sql, version);
    for (int next = (int)version + 1; !err && next <= sqlite_schema_newest(); next++)
        err = migrate_one(sql, next);
    return err;
}
