#include "sandbox/fault.h"

#include "sandbox/own.h"

#include <fnmatch.h>
#include <string.h>

struct entry {
    struct entry *next;
    int64_t id;
    struct fault fault;
    struct str method; // STR_NONE: any
    char *path;        // with a method: a pattern for the whole path; else a part of it; NULL: every request
    int64_t left;      // how often it will act; below 0: until cleared
    int64_t skip;      // matching requests that pass first
    int64_t seen, hits;
    double chance; // of acting on a request that matches
};

struct fault_list {
    struct entry *first;
    int64_t last_id;
    struct chance chance;
    bool notifies;
};

static const char *const names[] = {
    [FAULT_NONE] = "none",
    [FAULT_LATENCY] = "latency",
    [FAULT_STATUS] = "status",
    [FAULT_RATE_LIMIT] = "rate_limit",
    [FAULT_REFUSE] = "refuse",
    [FAULT_DROP_AFTER] = "drop_after",
    [FAULT_DROP_BEFORE] = "drop_before",
    [FAULT_HANG] = "hang",
    [FAULT_TRUNCATE] = "truncate",
    [FAULT_GARBAGE] = "garbage",
    [FAULT_RESET] = "reset",
    [FAULT_LOSE] = "lose",
    [FAULT_TWICE] = "twice",
    [FAULT_LATE] = "late",
    [FAULT_SWAP] = "swap",
    [FAULT_FILE_404] = "file_404",
    [FAULT_FILE_SLOW] = "file_slow",
    [FAULT_FILE_TRUNCATED] = "file_truncated",
    [FAULT_FILE_WRONG_TYPE] = "file_wrong_type",
    [FAULT_FILE_ENDLESS] = "file_endless",
    [FAULT_FILE_CLAIMS] = "file_claims",
    [FAULT_FILE_EXPIRES] = "file_expires",
};

// What a kind hits.
enum target { OF_REQUESTS, OF_NOTICES, OF_FILES, OF_ADDRESSES };

static enum target target_of(enum fault_kind kind)
{
    return kind == FAULT_FILE_EXPIRES ? OF_ADDRESSES
           : kind >= FAULT_FILE_404   ? OF_FILES
           : kind >= FAULT_LOSE       ? OF_NOTICES
                                      : OF_REQUESTS;
}

const char *fault_kind_name(enum fault_kind kind)
{
    return names[kind];
}

struct fault_list *fault_list_new(uint64_t seed, bool notifies)
{
    struct fault_list *list = mem_new_of(struct fault_list);
    list->notifies = notifies;
    chance_init(&list->chance, seed);
    return list;
}

static void entry_free(struct entry *entry)
{
    disown(&entry->fault.body);
    disown(&entry->method);
    free(entry->path);
    free(entry);
}

int fault_list_clear(struct fault_list *list, int64_t id)
{
    int gone = 0;
    for (struct entry **at = &list->first; *at;) {
        struct entry *entry = *at;
        if (id && entry->id != id) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        entry_free(entry);
        gone++;
    }
    return gone;
}

void fault_list_free(struct fault_list *list)
{
    if (!list)
        return;
    fault_list_clear(list, 0);
    free(list);
}

static bool applies_by_default(enum fault_kind kind)
{
    return kind == FAULT_DROP_AFTER || kind == FAULT_HANG || kind == FAULT_TRUNCATE || kind == FAULT_GARBAGE;
}

static bool read_kind(yyjson_val *spec, enum fault_kind *out)
{
    struct str name = json_get_str(spec, "fault");
    for (size_t i = 1; i < sizeof(names) / sizeof(*names); i++)
        if (str_eq_c(name, names[i])) {
            *out = (enum fault_kind)i;
            return true;
        }
    return false;
}

// An integer at `key` in [low, high]; absent and null leave `out` as it is.
static bool read_int(yyjson_val *spec, const char *key, int64_t low, int64_t high, int64_t *out)
{
    yyjson_val *value = yyjson_obj_get(spec, key);
    int64_t n = 0;
    if (!value || yyjson_is_null(value))
        return true;
    if (!json_get_int(spec, key, &n) || n < low || n > high)
        return false;
    *out = n;
    return true;
}

static bool read_path(yyjson_val *spec, struct entry *entry)
{
    yyjson_val *value = yyjson_obj_get(spec, "path");
    if (!value || yyjson_is_null(value))
        return true;
    struct str path = json_val_str(value);
    if (!path.p || path.n == 0)
        return false;
    size_t space = str_index(path, ' ', 0);
    if (space < path.n) {
        entry->method = own(str_sub(path, 0, space));
        path = str_sub(path, space + 1, path.n);
    }
    entry->path = mem_dup(path.p, path.n);
    return true;
}

static bool read_body(yyjson_val *spec, struct fault *fault)
{
    yyjson_val *value = yyjson_obj_get(spec, "body");
    if (!value || yyjson_is_null(value))
        return true;
    if (yyjson_is_str(value)) {
        fault->body = own(json_val_str(value));
        return true;
    }
    size_t n = 0;
    char *text = yyjson_val_write(value, 0, &n);
    if (!text)
        return false;
    fault->body = own((struct str){text, n});
    free(text);
    return true;
}

static bool known_keys(yyjson_val *spec, const char **why)
{
    static const char *const keys[] = {"fault", "path",        "count", "after", "status",
                                       "ms",    "retry_after", "body",  "apply", "chance"};
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(spec, i, n, key, value)
    {
        bool known = false;
        for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            known |= yyjson_equals_str(key, keys[k]);
        if (!known) {
            *why = "unknown key; there are fault, path, count, after, status, ms, retry_after, body, apply and chance";
            return false;
        }
    }
    return true;
}

static bool read_entry(yyjson_val *spec, struct entry *entry, const char **why)
{
    struct fault *fault = &entry->fault;
    int64_t status = fault->status;
    yyjson_val *apply = yyjson_obj_get(spec, "apply");
    yyjson_val *chance = yyjson_obj_get(spec, "chance");
    *why = NULL;
    if (!read_kind(spec, &fault->kind))
        *why =
            "\"fault\" is one of latency, status, rate_limit, refuse, drop_after, drop_before, hang, truncate, garbage, reset; of notifications lose, twice, late, swap; of files file_404, file_slow, file_truncated, file_wrong_type, file_endless, file_claims, file_expires";
    else if (!read_path(spec, entry))
        *why = "\"path\" is a part of the path, or a method, a space and a pattern for the whole path";
    else if (!read_int(spec, "count", 1, INT64_MAX, &entry->left))
        *why = "\"count\" is 1 or more, or null: until cleared";
    else if (!read_int(spec, "after", 0, INT64_MAX, &entry->skip))
        *why = "\"after\" is the number of matching requests that pass first";
    else if (!read_int(spec, "status", 200, 599, &status))
        *why = "\"status\" is 200 to 599";
    else if (!read_int(spec, "ms", 0, 3600000, &fault->ms))
        *why = "\"ms\" is 0 to 3600000";
    else if (!read_int(spec, "retry_after", 0, 1000000, &fault->retry_after_s))
        *why = "\"retry_after\" is a number of seconds";
    else if (!read_body(spec, fault) || (apply && !yyjson_is_bool(apply)))
        *why = "\"apply\" is true or false, \"body\" text or JSON";
    else if (chance && (!yyjson_is_num(chance) || yyjson_get_num(chance) < 0 || yyjson_get_num(chance) > 1))
        *why = "\"chance\" is 0 to 1";
    fault->status = (int)status;
    fault->apply = apply ? yyjson_get_bool(apply) : applies_by_default(fault->kind);
    entry->chance = chance ? yyjson_get_num(chance) : 1;
    return !*why;
}

bool fault_list_add(struct fault_list *list, yyjson_val *spec, const char **why, int64_t *out_id, struct fault *out_now)
{
    *why = "a JSON object is needed";
    *out_now = (struct fault){0};
    if (!yyjson_is_obj(spec) || !known_keys(spec, why))
        return false;
    struct entry *entry = mem_new_of(struct entry);
    entry->left = -1;
    entry->fault.status = 500;
    entry->fault.retry_after_s = -1;
    bool good = read_entry(spec, entry, why);
    if (good && target_of(entry->fault.kind) == OF_NOTICES && !list->notifies) {
        *why = "this stand-in sends no notifications that it could lose, double or delay";
        good = false;
    }
    if (!good) {
        entry_free(entry);
        return false;
    }
    entry->id = ++list->last_id;
    *out_id = entry->id;
    if (entry->fault.kind == FAULT_REFUSE && !entry->path && entry->skip == 0) {
        *out_now = entry->fault;
        out_now->body = STR_NONE;
        entry_free(entry);
        return true;
    }
    struct entry **at = &list->first;
    while (*at)
        at = &(*at)->next;
    *at = entry;
    return true;
}

static bool matches(const struct entry *entry, struct str method, const char *path)
{
    if (!entry->path)
        return true;
    if (!entry->method.p)
        return strstr(path, entry->path) != NULL;
    return str_eq(entry->method, method) && fnmatch(entry->path, path, FNM_PATHNAME) == 0;
}

// Counts a match; true when the fault acts on it.
static bool acts(struct fault_list *list, struct entry *entry)
{
    entry->seen++;
    if (entry->skip > 0) {
        entry->skip--;
        return false;
    }
    if (entry->chance < 1 && (double)chance_below(&list->chance, 1000000) >= entry->chance * 1e6)
        return false;
    if (entry->left > 0)
        entry->left--;
    entry->hits++;
    return true;
}

static bool take(struct fault_list *list, enum target target, struct str method, struct str path, struct arena *arena,
                 struct fault *out)
{
    if (!list->first)
        return false;
    const char *text = arena_str(arena, path).p;
    for (struct entry *entry = list->first; entry; entry = entry->next) {
        if (entry->left == 0 || target_of(entry->fault.kind) != target || !matches(entry, method, text) ||
            !acts(list, entry))
            continue;
        *out = entry->fault;
        out->body = arena_str(arena, entry->fault.body);
        return true;
    }
    return false;
}

bool fault_list_take(struct fault_list *list, struct str method, struct str path, struct arena *arena,
                     struct fault *out)
{
    return take(list, OF_REQUESTS, method, path, arena, out);
}

bool fault_list_take_notice(struct fault_list *list, struct str topic, struct arena *arena, struct fault *out)
{
    return take(list, OF_NOTICES, STR_NONE, topic, arena, out);
}

bool fault_list_take_file(struct fault_list *list, struct str method, struct str path, struct arena *arena,
                          struct fault *out)
{
    return take(list, OF_FILES, method, path, arena, out);
}

bool fault_list_take_expiry(struct fault_list *list, struct str method, struct str path, struct arena *arena)
{
    struct fault out;
    return take(list, OF_ADDRESSES, method, path, arena, &out);
}

static void entry_write(const struct entry *entry, struct json *json)
{
    json_open(json, '{');
    json_key_int(json, "id", entry->id);
    json_key_str(json, "fault", str_of(names[entry->fault.kind]));
    json_key_str(json, "method", entry->method);
    json_key_str(json, "path", str_of(entry->path));
    json_key_int(json, "seen", entry->seen);
    json_key_int(json, "hits", entry->hits);
    json_key(json, "left");
    if (entry->left < 0)
        json_null(json);
    else
        json_int(json, entry->left);
    json_key_bool(json, "apply", entry->fault.apply);
    json_key_int(json, "ms", entry->fault.ms);
    json_key_int(json, "status", entry->fault.status);
    json_close(json, '}');
}

void fault_list_write(const struct fault_list *list, struct json *json)
{
    json_open(json, '[');
    for (const struct entry *entry = list->first; entry; entry = entry->next)
        entry_write(entry, json);
    json_close(json, ']');
}
