// What is defined: the configuration in force, and the accounts, which stand in the file or are made by hand and live in the
// store. Taken up at the start, read again by a reload, changed by hand; one change at a time.
#pragma once
#include "admin/admin.h"
#include "app/config.h"
#include "relay/relay.h"
#include "store/store.h"

#include <pthread.h>

struct definitions {
    const char *config_path;
    struct config *config; // owned; under `lock` once a reload may run
    struct str fixed;      // of the configuration that the process was started with: config_fixed
    struct store *store;   // ours until `relay` runs, the committer's then
    struct directory *directory;
    struct board *board;
    struct relay *relay;  // NULL before it runs
    pthread_mutex_t lock; // one change at a time
    size_t damaged;       // accounts that were not what was stored, when the store was read
};

void definitions_init(struct definitions *definitions);
// Frees the configuration.
void definitions_done(struct definitions *definitions);
// Before the relay runs: the accounts of the file into the store, all accounts into the directory. On an error `why` has
// a sentence, or nothing where the store failed.
ERR_CHECK int definitions_take_file(struct definitions *definitions, struct buf *why);
// admin_options.reload: blocks until the file is in force. `arg`: the definitions.
int definitions_reload(void *arg, struct buf *report);
// admin_options.change: accounts, sources and desks by hand. `arg`: the definitions.
int definitions_change(void *arg, struct admin_change *change);
