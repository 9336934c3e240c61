#include "app/config.h"

#include "app/config_reader.h"
#include "app/config_value.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/table.h"
#include "desk/desk.h"
#include "platform/platform.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { WARNINGS_MAX = 20 };

// A name of a source or an identity: it may stand once.
struct seen {
    UT_hash_handle hh;
    struct str text;
    int line;
    struct str where; // "acme/bot"
};

struct load {
    struct config_reader reader; // `arg` is the load
    struct config *config;
    struct buf warnings;
    int warning_count;
    size_t room;              // of config->accounts
    struct arena seen_memory; // of the identities
    // The identities of the account at hand wait here until its name is known (it may stand last).
    struct seen *identities;
    // Of the account at hand.
    struct account *account;
    struct source *sources;
    int *source_lines;
    size_t source_count, source_room;
    struct seen *source_names;
    int active_line;

    int webhook_line; // of the first source that asks for webhooks; public_url may stand after it
};

static void warn(struct load *load, int line, const char *key, const char *sentence)
{
    if (load->warning_count++ >= WARNINGS_MAX)
        return;
    struct buf *out = &load->warnings;
    if (out->n)
        buf_add_char(out, '\n');
    buf_add_str(out, str_of(load->reader.path));
    if (line)
        buf_printf(out, ":%d", line);
    buf_printf(out, ": %s%s%s", key, *key ? ": " : "", sentence);
}

// The line of `key` in what was read, or of the whole when the key is not there.
static int line_of(const struct config_section *section, const char *key, const int *lines, int line)
{
    const struct config_key *found = config_key_find(section, str_of(key));
    int there = found ? lines[found - section->keys] : 0;
    return there ? there : line;
}

// The keys that the platform has, with commas between.
static struct str keys_of(struct load *load, const struct config_section *section, struct str platform)
{
    struct str names = STR("");
    for (size_t i = 0; i < section->count; i++)
        if (!section->keys[i].only || str_eq_c(platform, section->keys[i].only))
            names = arena_printf(&load->reader.scratch, "%.*s%s%s", STR_ARG(names), names.n ? ", " : "",
                                 section->keys[i].name);
    return names;
}

// True when all keys that are there belong to the platform.
static bool check_only(struct load *load, const struct config_section *section, const int *lines, struct str platform)
{
    int before = load->reader.mistakes;
    for (size_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        if (lines[i] && key->only && !str_eq_c(platform, key->only))
            config_reader_mistake(&load->reader, lines[i], section, key->name,
                                  "belongs to platform %s, not to %.*s, which has %.*s; leave it out", key->only,
                                  STR_ARG(platform), STR_ARG(keys_of(load, section, platform)));
    }
    return load->reader.mistakes == before;
}

static void finish_source(struct load *load, const struct config_section *section, struct source *source,
                          const int *lines, int line)
{
    const struct platform *platform = platform_find(source->platform);
    if (!source->api_url.p)
        source->api_url = str_of(platform->api_url);
    if (!check_only(load, section, lines, source->platform))
        return;
    const char *wrong = platform->check ? platform->check(source, &load->reader.scratch) : NULL;
    if (wrong)
        config_reader_mistake(&load->reader, line, section, NULL, "%s", wrong);
    if (source->mode == SOURCE_WEBHOOK && !load->webhook_line)
        load->webhook_line = line_of(section, "mode", lines, line);
}

static void finish_desk(struct load *load, const struct config_section *section, struct desk *desk, const int *lines,
                        int line)
{
    const struct desk_connector *connector = desk_connector_find(desk->platform);
    if (!desk->api_url.p)
        desk->api_url = str_of(connector->api_url);
    if (!check_only(load, section, lines, desk->platform))
        return;
    const char *wrong = connector->check ? connector->check(desk, &load->reader.scratch) : NULL;
    if (wrong)
        config_reader_mistake(&load->reader, line, section, NULL, "%s", wrong);
}

static void finish_account(struct load *load, const struct config_section *section, struct account *account,
                           const int *lines, int line)
{
    if (load->reader.path)
        account->defined_at = arena_printf(&account->arena, "%s:%d", load->reader.path, line);
    load->active_line = lines[config_key_find(section, STR("active")) - section->keys];
    if (load->reader.path && account->on_failure == ON_FAILURE_HOLD && account->order == ORDER_ACCOUNT)
        warn(load, line_of(section, "on_failure", lines, line), "accounts.on_failure",
             "hold with order: account lets one refused message stop all messages of the account until a person acts; "
             "order: conversation stops that conversation only");
}

static void finish(struct config_reader *reader, const struct config_section *section, void *target, const int *lines,
                   int line, int mistakes)
{
    struct load *load = reader->arg;
    if (mistakes)
        return;
    if (strcmp(section->path, "accounts.sources") == 0)
        finish_source(load, section, target, lines, line);
    else if (strcmp(section->path, "accounts.desk") == 0)
        finish_desk(load, section, target, lines, line);
    else if (strcmp(section->path, "accounts") == 0)
        finish_account(load, section, target, lines, line);
}

// True when an equal text was there before: *out_first is that one, else NULL.
static bool saw(struct arena *memory, struct seen **set, struct str text, int line, struct str where,
                const struct seen **out_first)
{
    struct seen *first;
    HASH_FIND(hh, *set, text.p, text.n, first);
    *out_first = first;
    if (first)
        return true;
    struct seen *new = arena_of(memory, struct seen);
    *new = (struct seen){.text = arena_str(memory, text), .line = line, .where = arena_str(memory, where)};
    HASH_ADD_KEYPTR(hh, *set, new->text.p, new->text.n, new);
    return false;
}

// Where the first of two stands.
static const char *place_of(struct load *load, int line)
{
    return load->reader.path ? arena_printf(&load->reader.scratch, "in line %d", line).p : "before it";
}

static void check_source_twins(struct load *load, const struct config_section *section)
{
    struct arena memory = {0};
    for (size_t i = 0; i < load->source_count && load->source_count > 1; i++) {
        struct str name = load->sources[i].name;
        const struct seen *first;
        if (name.n && saw(&memory, &load->source_names, name, load->source_lines[i], name, &first))
            config_reader_mistake(&load->reader, load->source_lines[i], section, "name",
                                  "\"%.*s\" is the source %s already; names are unique in an account", STR_ARG(name),
                                  place_of(load, first->line));
    }
    HASH_CLEAR(hh, load->source_names);
    arena_done(&memory);
}

static void check_identities(struct load *load, const struct config_section *section)
{
    struct arena *scratch = &load->reader.scratch;
    for (size_t i = 0; i < load->account->source_count; i++) {
        const struct source *source = &load->account->sources[i];
        const struct platform *platform = platform_find(source->platform);
        struct str identity = platform && platform->identity ? platform->identity(source, scratch) : STR_NONE;
        if (!identity.n)
            continue;
        struct str where = arena_printf(scratch, "%.*s/%.*s", STR_ARG(load->account->name), STR_ARG(source->name));
        const struct seen *first;
        if (saw(&load->seen_memory, &load->identities, identity, load->source_lines[i], where, &first))
            config_reader_mistake(&load->reader, load->source_lines[i], section, NULL,
                                  "is the same bot or number as source %.*s %s; one may appear in one source only",
                                  STR_ARG(first->where), place_of(load, first->line));
    }
    arena_done(scratch);
}

// What the file says of the account, in short: whether it says `active`, and a digest of all else as it takes effect.
static struct str make_file_text(struct load *load)
{
    const struct account *account = load->account;
    const struct desk *desk = &account->desk;
    struct arena *scratch = &load->reader.scratch;
    size_t count = 0;
    struct str *parts = arena_alloc(scratch, (9 + 6 * account->source_count) * sizeof *parts);
    parts[count++] = arena_printf(scratch, "%d %d %d %d %" PRId64, (int)account->order, (int)account->on_failure,
                                  (int)account->in_doubt, (int)desk->probe, desk->rate_per_min);
    struct str of_desk[] = {desk->platform, desk->token, desk->client_secret, desk->api_url, desk->url, desk->secret};
    for (size_t i = 0; i < sizeof of_desk / sizeof *of_desk; i++)
        parts[count++] = of_desk[i];
    for (size_t i = 0; i < account->source_count; i++) {
        const struct source *source = &account->sources[i];
        parts[count++] = arena_printf(scratch, "%d %d %d", (int)source->mode, (int)source->take_over,
                                      source->secret.p != NULL);
        struct str texts[] = {source->name, source->platform, source->token, source->secret, source->api_url};
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++)
            parts[count++] = texts[j];
    }
    if (account->replies != REPLIES_AGENTS) // accounts from before the key have not changed in their file
        parts[count++] = str_of(replies_policy_name(account->replies));
    if (account->identity != IDENTITY_NONE) // likewise
        parts[count++] = str_of(identity_policy_name(account->identity));
    const char *active = load->active_line ? account->active ? "true" : "false" : "unsaid";
    struct str text = arena_printf(&load->account->arena, "active=%s rest=%016" PRIx64, active,
                                   hash_strs(parts, count));
    arena_done(scratch);
    return text;
}

struct named {
    const struct config *config;
    struct str name;
};

static bool has_name(const void *arg, uint32_t number)
{
    const struct named *named = arg;
    return str_eq(packed_account_name(named->config->accounts[number]), named->name);
}

// NULL when there is none of that name.
static const struct packed_account *find_account(const struct config *config, struct str name)
{
    struct named named = {config, name};
    uint32_t number = hash_index_find(&config->by_name, hash_str(name), has_name, &named);
    return number == HASH_INDEX_NONE ? NULL : config->accounts[number];
}

// Also one with mistakes: the configuration is refused then, and others of its name are told.
static void keep_account(struct load *load, int line)
{
    struct config *config = load->config;
    if (config->account_count == load->room) {
        load->room = load->room ? load->room * 2 : 16;
        config->accounts = mem_resize(config->accounts, load->room * sizeof(struct packed_account *));
    }
    struct packed_account *packed = account_pack(load->account, &config->account_texts);
    packed->mark = (uint32_t)line;
    hash_index_add(&config->by_name, hash_str(load->account->name), (uint32_t)config->account_count);
    config->accounts[config->account_count++] = packed;
    config->source_count += load->account->source_count;
}

static void read_account(struct load *load, const struct config_key *key)
{
    struct config_reader *reader = &load->reader;
    int line = config_reader_line(reader), before = reader->mistakes;
    const struct config_section *sources = config_key_find(key->section, STR("sources"))->section;
    load->account = account_new();
    load->source_count = 0;
    reader->texts = &load->account->arena;
    config_reader_section(reader, key->section, load->account);
    struct account *account = load->account;
    const struct packed_account *first = find_account(load->config, account->name);
    if (account->name.n && first)
        config_reader_mistake(reader, line, key->section, "name",
                              "\"%.*s\" is the account in line %d already; names are unique", STR_ARG(account->name),
                              (int)first->mark);
    check_source_twins(load, sources);
    for (size_t i = 0; i < account->source_count; i++)
        account->sources[i].account = account->name;
    if (reader->mistakes == before && !reader->stop)
        check_identities(load, sources);
    if (reader->mistakes == before && !reader->stop && reader->path)
        account->file_text = make_file_text(load);
    if (account->name.n && !first)
        keep_account(load, line);
    account_unref(account);
    load->account = NULL;
    reader->texts = &load->config->arena;
}

static void read_source(struct load *load, const struct config_key *key)
{
    if (load->source_count == load->source_room) {
        load->source_room = load->source_room ? load->source_room * 2 : 4;
        load->sources = mem_resize(load->sources, load->source_room * sizeof *load->sources);
        load->source_lines = mem_resize(load->source_lines, load->source_room * sizeof *load->source_lines);
    }
    struct source *source = &load->sources[load->source_count];
    *source = (struct source){0};
    load->source_lines[load->source_count++] = config_reader_line(&load->reader);
    config_reader_section(&load->reader, key->section, source);
}

static bool is_accounts(const struct config_key *key)
{
    return strcmp(key->section->path, "accounts") == 0;
}

static void end_sources(struct load *load, const struct config_key *key, int line)
{
    struct account *account = load->account;
    must(account);
    if (!load->source_count)
        config_reader_mistake(&load->reader, line, key->section, NULL, "is empty; an account needs a source");
    size_t size = load->source_count * sizeof *account->sources;
    account->sources = arena_alloc(&account->arena, size);
    account->source_count = load->source_count;
    if (size)
        memcpy(account->sources, load->sources, size);
}

static void read_list(struct config_reader *reader, const struct config_key *key, void *field)
{
    (void)field;
    struct load *load = reader->arg;
    int line = config_reader_line(reader);
    while (config_reader_next(reader) && reader->event.type != YAML_SEQUENCE_END_EVENT) {
        if (reader->event.type != YAML_MAPPING_START_EVENT) {
            config_reader_mistake(
                reader, config_reader_line(reader), key->section, NULL, "%s",
                reader->path ? "has an entry without keys; write its keys behind \"- \", as in \"- name: acme\""
                             : "has an entry that is no object; write its keys between { and }");
            config_reader_skip(reader);
        } else if (is_accounts(key)) {
            read_account(load, key);
        } else {
            read_source(load, key);
        }
    }
    if (!is_accounts(key) && !reader->stop)
        end_sources(load, key, line);
}

struct str config_default_socket(struct arena *arena, struct str store_path)
{
    size_t slash = store_path.n;
    while (slash > 0 && store_path.p[slash - 1] != '/')
        slash--;
    return arena_printf(arena, "%.*sadmin.sock", (int)slash, store_path.p);
}

static void check_socket(struct load *load)
{
    struct config *config = load->config;
    if (config->admin_socket.p)
        return;
    config->admin_socket = config_default_socket(&config->arena, config->store_path);
    if (config->admin_socket.n >= sizeof((struct sockaddr_un *)0)->sun_path)
        config_reader_mistake(
            &load->reader, 0, NULL, "admin.socket",
            "would be \"%.*s\" beside the store, which is too long for a Unix socket; write a path of at most 107 bytes",
            STR_ARG(config->admin_socket));
}

static void check_whole(struct load *load, unsigned mode)
{
    const struct config *config = load->config;
    if (load->reader.stop)
        return;
    check_socket(load);
    if (str_eq(config->listen, config->admin_listen) && !str_ends(config->listen, STR(":0")))
        config_reader_mistake(&load->reader, 0, NULL, "admin.listen",
                              "is the address of listen too; give it a port of its own");
    if (config->retry_cap_ms < config->retry_base_ms)
        config_reader_mistake(&load->reader, 0, NULL, "delivery.retry_cap",
                              "is below delivery.retry_base; write a longer one");
    if (load->webhook_line && !config->public_url.p)
        warn(load, load->webhook_line, "accounts.sources.mode",
             "webhook needs public_url to register itself; write public_url, or mode: polling");
    load->config->secrets_in_view = load->reader.own_secrets && (mode & S_IROTH);
}

static void begin_reading(struct load *load)
{
    struct config_reader *reader = &load->reader;
    reader->texts = &load->config->arena;
    reader->read_list = read_list;
    reader->finish = finish;
    reader->arg = load;
}

static void read_file(struct load *load, unsigned mode)
{
    struct config_reader *reader = &load->reader;
    begin_reading(load);
    if (config_reader_open(reader)) {
        config_reader_section(reader, &config_root, load->config);
        config_reader_close(reader);
        check_whole(load, mode);
    }
}

static void load_done(struct load *load)
{
    HASH_CLEAR(hh, load->identities);
    HASH_CLEAR(hh, load->source_names);
    arena_done(&load->seen_memory);
    account_unref(load->account);
    free(load->sources);
    free(load->source_lines);
    buf_done(&load->warnings);
    config_reader_done(&load->reader);
}

static void load_text(struct config *config, struct str text, unsigned mode, struct config_env *env, struct buf *errors)
{
    struct load load = {.config = config};
    buf_init(&load.warnings, CONFIG_ERRORS_MAX);
    config_reader_init(&load.reader, config->path.p, text, errors);
    load.reader.env = *env;
    read_file(&load, mode);
    config->warnings = arena_str(&config->arena, buf_str(&load.warnings));
    load_done(&load);
}

// Both files. False: noted in `errors`.
static bool read_texts(const char *path, struct arena *arena, struct buf *out, struct config_env *env,
                       struct buf *errors)
{
    const char *why = NULL;
    if (config_text_read(path, CONFIG_FILE_MAX, S_IWOTH, arena, out, &why)) {
        buf_printf(errors, "%s: %s", path, why);
        return false;
    }
    if (config_env_read(env, path, arena, &why)) {
        buf_add_str(errors, str_of(why));
        buf_done(out);
        return false;
    }
    return true;
}

int config_load(const char *path, struct config **out, struct buf *errors)
{
    struct config *config = mem_new_of(struct config);
    struct arena scratch = {0}; // values of tributary.env go with it
    struct config_env env;
    struct buf text;
    struct stat status = {0};
    config->path = arena_str(&config->arena, str_of(path));
    size_t before = errors->n;
    bool read = read_texts(path, &scratch, &text, &env, errors);
    if (read) {
        (void)stat(path, &status);
        load_text(config, buf_str(&text), status.st_mode, &env, errors);
        buf_done(&text);
    }
    arena_done(&scratch);
    if (errors->n != before || errors->failed) {
        config_free(config);
        return ERR_INVALID;
    }
    *out = config;
    return ERR_OK;
}

int config_account_read(struct str json, struct account **out, struct buf *mistakes)
{
    struct config *config = mem_new_of(struct config);
    struct load load = {.config = config};
    buf_init(&load.warnings, CONFIG_ERRORS_MAX);
    config_reader_init(&load.reader, NULL, json, mistakes);
    begin_reading(&load);
    if (config_reader_open(&load.reader)) {
        read_account(&load, config_key_find(&config_root, STR("accounts")));
        config_reader_close(&load.reader);
    }
    load_done(&load);
    bool good = !mistakes->n && !mistakes->failed && config->account_count == 1;
    if (good)
        *out = config_account(config, 0);
    config_free(config);
    return good ? ERR_OK : ERR_INVALID;
}

static void add_fixed(const struct config_section *section, const struct config *config, struct arena *arena,
                      struct buf *out)
{
    for (size_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->type == KEY_LIST)
            continue;
        if (key->section) {
            add_fixed(key->section, config, arena, out);
            continue;
        }
        struct str value = config_value_text(key, (const char *)config + key->offset, arena);
        if (key->type == KEY_SECRET && value.p)
            value = arena_printf(arena, "%016" PRIx64, hash_str(value));
        buf_printf(out, "%s%s%s %.*s\n", section->path, *section->path ? "." : "", key->name, STR_ARG(value));
    }
}

struct str config_fixed(const struct config *config, struct arena *arena)
{
    struct buf out;
    buf_init(&out, CONFIG_ERRORS_MAX);
    add_fixed(&config_root, config, arena, &out);
    struct str text = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return text;
}

struct account *config_account(const struct config *config, size_t at)
{
    must(at < config->account_count);
    return account_unpack(config->accounts[at], &config->account_texts);
}

bool config_has_account(const struct config *config, struct str name)
{
    return find_account(config, name) != NULL;
}

void config_drop_accounts(struct config *config)
{
    for (size_t i = 0; i < config->account_count; i++)
        free(config->accounts[i]);
    free(config->accounts);
    config->accounts = NULL;
    config->account_count = 0;
    hash_index_done(&config->by_name);
    text_pool_done(&config->account_texts);
}

void config_free(struct config *config)
{
    if (!config)
        return;
    config_drop_accounts(config);
    arena_done(&config->arena);
    free(config);
}

const char *config_find(const char *given)
{
    if (given)
        return given;
    return access("tributary.yaml", F_OK) == 0 ? "tributary.yaml" : "/etc/tributary/tributary.yaml";
}
