// Accounts with their sources and desk, as configured: plain data.
//
// A published account is immutable and shared by reference count; a change makes a new one and the
// directory (relay/directory.h) swaps them. All its texts live in its own arena.
#pragma once
#include "base/arena.h"
#include "base/str.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum order_rule { ORDER_ACCOUNT, ORDER_CONVERSATION };
enum failure_policy { ON_FAILURE_SKIP, ON_FAILURE_HOLD };
enum doubt_policy { IN_DOUBT_RESEND, IN_DOUBT_HOLD };
enum replies_policy { REPLIES_AGENTS, REPLIES_AGENTS_AND_BOTS };
// By what one person is known who writes from several sources.
enum identity_policy { IDENTITY_NONE, IDENTITY_PHONE, IDENTITY_EMAIL };
enum source_mode { SOURCE_DEFAULT, SOURCE_WEBHOOK, SOURCE_POLLING };
enum desk_probe { DESK_PROBE_HEAD, DESK_PROBE_NONE };

// One channel of an account on a social platform.
struct source {
    int64_t id; // of the store; 0 before it is stored
    int64_t account_id;
    struct str account, name;
    struct str platform; // a name in the registry
    struct str token;    // STR_NONE where the platform has none
    struct str secret;   // what the configuration says: STR_NONE when absent, "none" when it says so
    enum source_mode mode;
    bool take_over;
    struct str api_url; // without a slash at its end; the connector's own when absent from the file

    // What we made or learned ourselves; kept in the store with the source.
    struct str made_secret;    // used where `secret` is absent and the platform lets us choose one
    struct str registered_url; // the webhook URL that we last registered: this one is ours
};

// The account's support platform.
struct desk {
    struct str platform;
    struct str token;
    struct str client_secret;
    struct str api_url; // as with sources
    struct str url;     // signed webhook only
    struct str secret;  // signed webhook only
    enum desk_probe probe;
    int64_t rate_per_min; // a ceiling on requests that the operator set; 0 = none
};

struct account {
    atomic_int refs;
    struct arena arena;
    int64_t id; // of the store; 0 before it is stored
    struct str name;
    bool active;
    enum order_rule order;
    // The rule was changed while messages were pending: those up to this place are in lanes of the rule before, and the
    // ones behind wait until they are settled. 0 = none are left.
    int64_t order_barrier;
    enum failure_policy on_failure;
    enum doubt_policy in_doubt;
    enum replies_policy replies; // whose words at the desk go to the customer
    enum identity_policy identity;
    struct source *sources;
    size_t source_count;
    struct source *former; // sources it had once: messages of theirs may still wait, and go out under their name
    size_t former_count;
    struct desk desk;
    struct str defined_at; // "FILE:line" when the configuration file defines it, else STR_NONE
    // What the file said of it when it was last applied, for telling a change in the file from a change by hand: opaque
    // (app/config.h). STR_NONE: made by hand, or it left the file.
    struct str file_text;
    bool damaged; // what the store has of it is not what was stored: inactive until somebody sets it again. Not copied
    bool left_file; // it stood in the file once and does no longer: deactivated, kept, flagged
};

// An empty account with one reference.
struct account *account_new(void);
struct account *account_ref(const struct account *account);
// The last one frees it. NULL is fine.
void account_unref(const struct account *account);
// A deep copy with one reference, to be changed before it is published.
struct account *account_copy(const struct account *account);
// A copy of the account that knows the sources which the account had before and has no more, too.
struct account *account_with_former(const struct account *account, const struct account *before);
// The source of that name, or NULL.
const struct source *account_find_source(const struct account *account, struct str name);
const struct source *account_find_source_id(const struct account *account, int64_t source_id);
// The same, or a former one: whose message it is, or was.
const struct source *account_find_any_source_id(const struct account *account, int64_t source_id);

// The secret that requests of this source are checked with: configured, else made by us; STR_NONE = none.
struct str source_secret(const struct source *source);
// Where the platform's webhooks for this source are to go; without a public URL only the path.
struct str source_hook_url(const struct source *source, struct str public_url, struct arena *arena);
// Two desks are the same when address and token are: they share a governor, a suspension and a guard.
uint64_t desk_identity(const struct desk *desk);
// The same of who takes the replies of a source: two sources are never the same.
uint64_t source_identity(const struct source *source);

// A name as INTERFACE.md wants it: [a-z0-9-]{1,63}.
bool account_name_is_valid(struct str name);

const char *order_rule_name(enum order_rule rule);
const char *failure_policy_name(enum failure_policy policy);
const char *doubt_policy_name(enum doubt_policy policy);
const char *replies_policy_name(enum replies_policy policy);   // "agents", "agents+bots"
const char *identity_policy_name(enum identity_policy policy); // "none", "phone", "email"
const char *source_mode_name(enum source_mode mode);           // "default", "webhook", "polling"
