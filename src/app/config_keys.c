#include "app/config_keys.h"

#include "app/config.h"

#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))
#define SECOND 1000
#define DAY_US (86400 * INT64_C(1000000))
#define NO_END INT64_MAX
#define MIB (INT64_C(1) << 20)

#define IN_CONFIG(field) .offset = offsetof(struct config, field)
#define IN_ACCOUNT(field) .offset = offsetof(struct account, field)
#define IN_SOURCE(field) .offset = offsetof(struct source, field)
#define IN_DESK(field) .offset = offsetof(struct desk, field)

static const struct config_key admin_keys[] = {
    {"listen", KEY_ADDRESS, IN_CONFIG(admin_listen), .preset = "127.0.0.1:8081",
     .doc =
         "Where API, status page and metrics are served. Plain HTTP: keep it on a loopback address, or behind a proxy that "
         "speaks TLS."},
    {"token", KEY_SECRET, IN_CONFIG(admin_token), .preset_doc = "made, kept in `admin.token` beside the store",
     .doc = "What the API demands as `Authorization: Bearer TOKEN`."},
    {"socket", KEY_PATH, IN_CONFIG(admin_socket), .preset_doc = "`admin.sock` beside the store",
     .doc = "The Unix socket of the local command line, made with mode 0600."},
};
static const struct config_section admin_section = {"admin", "admin", admin_keys, COUNT(admin_keys)};

static const struct config_key delivery_keys[] = {
    {"max_attempts", KEY_NUMBER, IN_CONFIG(max_attempts), .min = 1, .max = 1000, .preset = "5",
     .doc = "Counted failures of one message after which it is reported and skipped (or held, see `on_failure`)."},
    {"retry_base", KEY_MS, IN_CONFIG(retry_base_ms), .min = 1, .max = 3600 * SECOND, .preset = "1s",
     .doc = "The pause after the first failure; each further one doubles it."},
    {"retry_cap", KEY_MS, IN_CONFIG(retry_cap_ms), .min = 1, .max = 24 * 3600 * SECOND, .preset = "60s",
     .doc = "The longest pause between two attempts."},
    {"timeout", KEY_MS, IN_CONFIG(timeout_ms), .min = 1, .max = 600 * SECOND, .preset = "30s",
     .doc = "How long a request may take until it counts as unanswered."},
    {"window", KEY_NUMBER, IN_CONFIG(window), .min = 1, .max = 1000, .preset = "10",
     .doc = "Messages of one lane held in memory."},
    {"concurrency", KEY_NUMBER, IN_CONFIG(concurrency), .min = 1, .max = 10000, .preset = "256",
     .doc = "Requests in flight, of the whole relay."},
    {"settle", KEY_MS, IN_CONFIG(settle_ms), .min = 0, .max = 3600 * SECOND, .preset = "15s",
     .doc = "How long an unanswered request may still take effect at the desk: it is looked for only after that."},
    {"shutdown", KEY_MS, IN_CONFIG(shutdown_ms), .min = 0, .max = 600 * SECOND, .preset = "8s",
     .doc = "How long a stop waits for requests in flight."},
};
static const struct config_section delivery_section = {"delivery", "delivery", delivery_keys, COUNT(delivery_keys)};

static const struct config_key retention_keys[] = {
    {"bodies", KEY_US, IN_CONFIG(keep_bodies_us), .min = INT64_C(1000000), .max = 36500 * DAY_US, .preset = "30d",
     .doc =
         "How long texts and files of settled messages are kept. Skipped ones keep theirs until somebody settles them."},
    {"dedupe", KEY_US, IN_CONFIG(keep_dedupe_us), .min = INT64_C(1000000), .max = 36500 * DAY_US, .preset = "30d",
     .doc = "How long an event that a platform sends again is known as a duplicate."},
};
static const struct config_section retention_section = {"retention", "retention", retention_keys,
                                                        COUNT(retention_keys)};

static const struct config_key media_keys[] = {
    {"wait", KEY_MS, IN_CONFIG(media_wait_ms), .min = 0, .max = 600 * SECOND, .preset = "15s",
     .doc = "How long a message waits at most for its files. What comes later follows as a message of its own."},
    {"max_file", KEY_SIZE, IN_CONFIG(max_file_bytes), .min = 1, .max = 1024 * MIB, .preset = "20MiB",
     .doc = "The largest file that is fetched; of a larger one the other side is told its name."},
    {"links", KEY_US, IN_CONFIG(link_us), .min = INT64_C(1000000), .max = 3650 * DAY_US, .preset = "7d",
     .doc = "How long a signed link to a kept file is good."},
};
static const struct config_section media_section = {"media", "media", media_keys, COUNT(media_keys)};

static const struct config_key quota_keys[] = {
    {"waiting", KEY_NUMBER, IN_CONFIG(most_waiting), .min = 0, .max = INT64_C(1000000000), .none = true,
     .preset = "1000000",
     .doc =
         "Messages of one account that may wait. With so many its webhooks are answered 503, and its bots are not asked."},
    {"files", KEY_SIZE, IN_CONFIG(most_file_bytes), .min = 0, .max = MIB << 30, .none = true, .preset = "10GiB",
     .doc =
         "Kept files of one account, together. With so much no more is fetched: webhooks of messages with files are answered "
         "503, a bot that is polled goes on without."},
};
static const struct config_section quota_section = {"quota", "quota", quota_keys, COUNT(quota_keys)};

static const struct config_key source_keys[] = {
    {"name", KEY_NAME, IN_SOURCE(name), .required = true,
     .doc = "Unique in its account; part of the webhook's address, `/hooks/ACCOUNT/SOURCE`."},
    {"platform", KEY_SOURCE_PLATFORM, IN_SOURCE(platform), .required = true, .doc = "Which platform it is."},
    {"token", KEY_SECRET, IN_SOURCE(token), .only = "telegram", .preset_doc = "none; `telegram` needs one",
     .doc = "The bot's token. One bot may appear in one source only."},
    {"secret", KEY_SECRET, IN_SOURCE(secret), .preset_doc = "`telegram`: made and registered; `webhook` needs one",
     .doc = "What shows that a webhook is genuine. `webhook`: `whsec_...`, or `none` for no check at all."},
    {"mode", KEY_WORD, IN_SOURCE(mode), .only = "telegram", .words = "|webhook|polling",
     .preset_doc = "`webhook` with a `public_url`, else `polling`",
     .doc =
         "`webhook` registers itself with the platform and needs `public_url`; `polling` (Telegram) asks for updates and needs none."},
    {"take_over", KEY_BOOL, IN_SOURCE(take_over), .only = "telegram", .preset = "false",
     .doc =
         "Whether a webhook that the bot has elsewhere is replaced (when polling: removed). Otherwise such a source is refused and "
         "shown with where it points."},
    {"api_url", KEY_BASE_URL, IN_SOURCE(api_url), .preset_doc = "the platform's own",
     .doc = "Base URL of the platform's API, for tests and self-hosted servers."},
};
static const struct config_section source_section = {"accounts.sources", "a source", source_keys, COUNT(source_keys)};

static const struct config_key desk_keys[] = {
    {"platform", KEY_DESK_PLATFORM, IN_DESK(platform), .required = true, .doc = "Which support platform it is."},
    {"token", KEY_SECRET, IN_DESK(token), .preset_doc = "none; `intercom` needs one",
     .doc = "The access token of its API."},
    {"client_secret", KEY_SECRET, IN_DESK(client_secret), .preset_doc = "none",
     .doc = "Verifies what the desk tells of agents' answers at `/desks/ACCOUNT` (`intercom`)."},
    {"api_url", KEY_BASE_URL, IN_DESK(api_url), .preset_doc = "the desk's own",
     .doc = "Base URL of the desk's API: another region, or tests."},
    {"url", KEY_URL, IN_DESK(url), .only = "webhook", .preset_doc = "none; `webhook` needs one",
     .doc = "Where a signed webhook goes."},
    {"secret", KEY_SECRET, IN_DESK(secret), .only = "webhook", .preset_doc = "none; `webhook` needs one",
     .doc = "What a signed webhook is signed with, `whsec_...`."},
    {"probe", KEY_WORD, IN_DESK(probe), .only = "webhook", .words = "head|none", .preset = "head",
     .doc = "How a signed webhook's address is asked whether it is well again: `HEAD`, or not at all."},
    {"rate", KEY_RATE, IN_DESK(rate_per_min), .min = 1, .max = 60 * 100000, .preset_doc = "none",
     .doc = "A ceiling on requests to this desk, such as `150/s` or `600/min`."},
};
static const struct config_section desk_section = {"accounts.desk", "a desk", desk_keys, COUNT(desk_keys)};

static const struct config_key account_keys[] = {
    {"name", KEY_NAME, IN_ACCOUNT(name), .required = true,
     .doc = "Unique in the store, and never changed: messages belong to it."},
    {"active", KEY_BOOL, IN_ACCOUNT(active), .preset = "true",
     .doc =
         "Whether its messages are delivered; they are taken and stored either way. Applied when it changes in the file, so that a "
         "deactivation by hand outlives restarts."},
    {"order", KEY_WORD, IN_ACCOUNT(order), .words = "account|conversation", .preset = "account",
     .doc = "What is kept in order: all inbound messages of the account, one at a time; or those of one conversation, "
            "conversations side by side."},
    {"on_failure", KEY_WORD, IN_ACCOUNT(on_failure), .words = "skip|hold", .preset = "skip",
     .doc =
         "What happens to a message that was refused or given up: it is reported and skipped, or it holds its lane until a person "
         "acts."},
    {"in_doubt", KEY_WORD, IN_ACCOUNT(in_doubt), .words = "resend|hold", .preset = "resend",
     .doc = "What happens to a message, or a reply, that may have arrived, where whoever takes it cannot tell."},
    {"replies", KEY_WORD, IN_ACCOUNT(replies), .words = "agents|agents+bots", .preset = "agents",
     .doc = "Whose words at the desk go to the customer: those of people, or those of its bots, too."},
    {"identity", KEY_WORD, IN_ACCOUNT(identity), .words = "none|phone|email", .preset = "none",
     .doc =
         "By what a customer who writes from several sources is known as one person at the desk (`intercom`): by a phone "
         "number or an e-mail address that they shared, or not at all."},
    {"sources", KEY_LIST, IN_ACCOUNT(sources), .required = true, .section = &source_section,
     .doc = "Where its customers write from: bots and numbers."},
    {"desk", KEY_SECTION, IN_ACCOUNT(desk), .required = true, .section = &desk_section,
     .doc = "Where its agents work."},
};
static const struct config_section account_section = {"accounts", "an account", account_keys, COUNT(account_keys)};

static const struct config_key root_keys[] = {
    {"listen", KEY_ADDRESS, IN_CONFIG(listen), .preset = "127.0.0.1:8080",
     .doc = "Where webhooks are taken, and where signed links to files lead."},
    {"public_url", KEY_BASE_URL, IN_CONFIG(public_url), .preset_doc = "none",
     .doc = "How platforms reach `listen`, usually through a proxy that speaks TLS."},
    {"store", KEY_STORE, IN_CONFIG(store_path), .preset = "sqlite:./tributary.db",
     .doc =
         "Where messages are kept: `sqlite:PATH`. A relative path counts from the directory that the relay was started in."},
    {"admin", KEY_SECTION, .section = &admin_section, .doc = "API, status page, metrics, command line."},
    {"delivery", KEY_SECTION, .section = &delivery_section, .doc = "How messages go to the desks."},
    {"retention", KEY_SECTION, .section = &retention_section, .doc = "How long settled messages are kept."},
    {"media", KEY_SECTION, .section = &media_section, .doc = "The files that messages come with."},
    {"quota", KEY_SECTION, .section = &quota_section,
     .doc = "What one account may take of the disk; `none` is no bound."},
    {"accounts", KEY_LIST, .section = &account_section, .preset_doc = "none", .doc = "Whose messages are carried."},
};
const struct config_section config_root = {"", "this file", root_keys, COUNT(root_keys)};

const struct config_key *config_key_find(const struct config_section *section, struct str name)
{
    for (size_t i = 0; i < section->count; i++)
        if (str_eq_c(name, section->keys[i].name))
            return &section->keys[i];
    return NULL;
}

// Edit distance of two short words; more than 3 is as good as anything.
static size_t distance(struct str a, struct str b)
{
    enum { LONGEST = 24 };
    size_t row[LONGEST + 1];
    if (a.n > LONGEST || b.n > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t best = diagonal + (a.p[i - 1] != b.p[j - 1]);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b.n];
}

const struct config_key *config_key_nearest(const struct config_section *section, struct str name)
{
    const struct config_key *nearest = NULL;
    size_t best = 4;
    for (size_t i = 0; i < section->count; i++) {
        struct str known = str_of(section->keys[i].name);
        size_t d = distance(name, known);
        if (d < best && d < known.n) {
            best = d;
            nearest = &section->keys[i];
        }
    }
    return nearest;
}
