// The configuration file: read whole, checked whole, or refused with all of its mistakes at once.
//
// Only the program layer knows it; what lies below gets options. Every key, its type, default and words stand in
// one table (config_keys.h), which also makes the documentation.
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "model/account_pack.h"

enum { CONFIG_ERRORS_MAX = 64 * 1024 }; // enough for the `errors` below

// All texts are in the arena and NUL-terminated.
struct config {
    struct arena arena;
    struct str path; // as it was given

    struct str listen;
    struct str admin_listen;
    struct str admin_token;  // STR_NONE: to be made and kept (admin_token.h)
    struct str admin_socket; // the default, beside the store, already put in
    struct str public_url;   // without a slash at its end; STR_NONE when absent
    struct str store_path;   // of the database file; relative to the working directory
    int64_t max_attempts, window, concurrency;
    int64_t retry_base_ms, retry_cap_ms, timeout_ms, settle_ms, shutdown_ms;
    int64_t keep_bodies_us, keep_dedupe_us;
    int64_t media_wait_ms, max_file_bytes, link_us;
    int64_t most_waiting, most_file_bytes; // of one account; 0: no bound

    struct packed_account **accounts; // in the order of the file; `mark` is the line
    size_t account_count, source_count;
    struct text_pool account_texts; // what they were packed with
    struct hash_index by_name;
    struct str warnings;  // lines "FILE:line: KEY: sentence"; "" for none
    bool secrets_in_view; // the file itself holds some, and everybody may read it
};

// The file to read: `given` unless NULL, else ./tributary.yaml, else /etc/tributary/tributary.yaml.
const char *config_find(const char *given);
// Reads and checks `path` and, when it is there, tributary.env beside it. ERR_INVALID: `errors` has lines
// "FILE:line: KEY: what is wrong and what would be right" (ten at most), no newline at the end, never a secret.
// The environment is read: call it on one thread at a time, and change the environment on none.
ERR_CHECK int config_load(const char *path, struct config **out, struct buf *errors);
// NULL is fine.
void config_free(struct config *config);
// The account at that place, below account_count: one reference, id 0, defined_at "FILE:line". Its file_text says what the
// file says of it, for telling a change in the file from a change by hand (accounts_file.h): short, without secrets, opaque
// to all others.
struct account *config_account(const struct config *config, size_t at);
bool config_has_account(const struct config *config, struct str name);
// When they have been taken over: very many take much memory.
void config_drop_accounts(struct config *config);

// One account, given by hand as JSON with the keys of the file. ERR_INVALID: `mistakes` has lines
// "KEY: what is wrong and what would be right", never a secret. `out`: one reference, no ids, no defined_at, no file_text.
ERR_CHECK int config_account_read(struct str json, struct account **out, struct buf *mistakes);
// What takes effect at a start only: lines "KEY VALUE", a secret as a digest; in the arena.
struct str config_fixed(const struct config *config, struct arena *arena);

// For the command line: where the socket of the daemon with this file is. Reads admin.socket and `store` only and does
// not mind mistakes elsewhere.
ERR_CHECK int config_load_socket(const char *path, struct arena *arena, struct str *out_socket, struct buf *errors);

// "admin.sock" in the directory of the store.
struct str config_default_socket(struct arena *arena, struct str store_path);
