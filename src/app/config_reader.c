#include "app/config_reader.h"

#include "app/config_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 32, SHOWN_MAX = 60 };

void config_reader_init(struct config_reader *reader, const char *path, struct str text, struct buf *errors)
{
    *reader = (struct config_reader){.path = path, .errors = errors};
    if (!yaml_parser_initialize(&reader->yaml)) {
        buf_printf(errors, "%s: memory is out", path ? path : "the definition");
        reader->stop = true;
        return;
    }
    yaml_parser_set_encoding(&reader->yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->yaml, (const unsigned char *)text.p, text.n);
}

static void drop_event(struct config_reader *reader)
{
    if (reader->has_event)
        yaml_event_delete(&reader->event);
    reader->has_event = false;
}

void config_reader_done(struct config_reader *reader)
{
    drop_event(reader);
    yaml_parser_delete(&reader->yaml);
    arena_done(&reader->scratch);
}

static void add_line(struct config_reader *reader, int line, const char *where, const char *sentence)
{
    if (reader->errors->n)
        buf_add_char(reader->errors, '\n');
    if (!reader->path) {
        where += strncmp(where, "accounts.", 9) == 0 ? 9 : strcmp(where, "accounts") == 0 ? 8 : 0;
        buf_printf(reader->errors, "%s%s%s", where, *where ? ": " : "", sentence);
        return;
    }
    buf_printf(reader->errors, "%s", reader->path);
    if (line)
        buf_printf(reader->errors, ":%d", line);
    buf_printf(reader->errors, ": %s%s%s", where, *where ? ": " : "", sentence);
}

void config_reader_mistake(struct config_reader *reader, int line, const struct config_section *section,
                           const char *key, const char *format, ...)
{
    if (reader->stop)
        return;
    char sentence[1024], where[256];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    const char *path = section ? section->path : "";
    snprintf(where, sizeof where, "%s%s%s", path, *path && key ? "." : "", key ? key : "");
    add_line(reader, line, where, sentence);
    if (++reader->mistakes < CONFIG_MISTAKES_MAX)
        return;
    reader->stop = true;
    add_line(reader, 0, "", "these are ten mistakes; the rest of it was not read");
}

int config_reader_line(const struct config_reader *reader)
{
    return reader->has_event ? (int)reader->event.start_mark.line + 1 : 0;
}

static void syntax_mistake(struct config_reader *reader)
{
    const yaml_parser_t *yaml = &reader->yaml;
    if (!reader->path)
        config_reader_mistake(reader, 0, NULL, NULL, "holds a character that cannot stand in a definition (%s)",
                              yaml->problem ? yaml->problem : "unreadable");
    else if (yaml->error == YAML_MEMORY_ERROR)
        config_reader_mistake(reader, 0, NULL, NULL, "memory is out");
    else if (yaml->error == YAML_READER_ERROR)
        config_reader_mistake(reader, 0, NULL, NULL, "is no text (byte %zu: %s); write YAML in UTF-8",
                              yaml->problem_offset, yaml->problem ? yaml->problem : "unreadable");
    else
        config_reader_mistake(reader, (int)yaml->problem_mark.line + 1, NULL, NULL, "is no YAML (%s%s%s); mind %s",
                              yaml->context ? yaml->context : "", yaml->context ? ": " : "",
                              yaml->problem ? yaml->problem : "unreadable",
                              yaml->context && strstr(yaml->context, "flow")
                                  ? "brackets and commas, and put a ${NAME} between { and } in quotes"
                                  : "indentation (spaces, no tabs), \"key: value\" and quotes");
    reader->stop = true;
}

bool config_reader_next(struct config_reader *reader)
{
    drop_event(reader);
    if (reader->stop)
        return false;
    if (!yaml_parser_parse(&reader->yaml, &reader->event)) {
        syntax_mistake(reader);
        return false;
    }
    reader->has_event = true;
    return true;
}

static bool at(const struct config_reader *reader, yaml_event_type_t type)
{
    return !reader->stop && reader->has_event && reader->event.type == type;
}

// To the start or the end of a document, and to what stands behind it.
static bool pass_frame(struct config_reader *reader)
{
    if (!config_reader_next(reader))
        return false;
    return config_reader_next(reader);
}

bool config_reader_open(struct config_reader *reader)
{
    if (!pass_frame(reader))
        return false;
    if (at(reader, YAML_STREAM_END_EVENT)) {
        config_reader_mistake(reader, 0, NULL, NULL,
                              "is empty; docs/configuration.md and tributary.yaml(5) have examples");
        return false;
    }
    if (!config_reader_next(reader))
        return false;
    if (at(reader, YAML_MAPPING_START_EVENT))
        return true;
    config_reader_mistake(reader, config_reader_line(reader), NULL, NULL,
                          "is no configuration; write keys and values, as in \"listen: 127.0.0.1:8080\"");
    return false;
}

void config_reader_close(struct config_reader *reader)
{
    if (!pass_frame(reader))
        return;
    if (!at(reader, YAML_STREAM_END_EVENT))
        config_reader_mistake(reader, config_reader_line(reader), NULL, NULL,
                              "begins a second document; write all into one");
}

void config_reader_skip(struct config_reader *reader)
{
    int depth = 0;
    do {
        if (at(reader, YAML_MAPPING_START_EVENT) || at(reader, YAML_SEQUENCE_START_EVENT))
            depth++;
        if (at(reader, YAML_MAPPING_END_EVENT) || at(reader, YAML_SEQUENCE_END_EVENT))
            depth--;
        if (depth > DEPTH_MAX) {
            config_reader_mistake(reader, config_reader_line(reader), NULL, NULL, "is nested too deep");
            reader->stop = true;
        }
    } while (depth > 0 && config_reader_next(reader));
}

static const char *node_kind(const struct config_reader *reader)
{
    switch (reader->event.type) {
    case YAML_MAPPING_START_EVENT:
        return reader->path ? "a mapping" : "an object";
    case YAML_SEQUENCE_START_EVENT:
        return "a list";
    case YAML_ALIAS_EVENT:
        return "an alias";
    default:
        return "a single value";
    }
}

static struct str scalar(const struct config_reader *reader)
{
    return (struct str){(const char *)reader->event.data.scalar.value, reader->event.data.scalar.length};
}

static bool is_plain(const struct config_reader *reader)
{
    return reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

bool config_reader_text(struct config_reader *reader, const struct config_section *section, const char *key,
                        struct arena *arena, struct str *out)
{
    int line = config_reader_line(reader);
    if (at(reader, YAML_ALIAS_EVENT)) {
        config_reader_mistake(reader, line, section, key, "is an alias; write the value out");
        return false;
    }
    if (!at(reader, YAML_SCALAR_EVENT)) {
        config_reader_mistake(reader, line, section, key, "is %s; write a single value", node_kind(reader));
        config_reader_skip(reader);
        return false;
    }
    if (reader->event.data.scalar.tag) {
        config_reader_mistake(reader, line, section, key, "has a tag (!...); write the value alone");
        return false;
    }
    struct str text = scalar(reader);
    if (is_plain(reader) && (str_eq_c(text, "~") || str_eq_c(text, "null")))
        text = STR("");
    const char *why = NULL;
    if (!reader->path) {
        *out = text;
        return true;
    }
    if (!config_env_expand(&reader->env, text, arena, out, &why))
        return true;
    config_reader_mistake(reader, line, section, key, "%s", why);
    return false;
}

// An address may hold what opens it: who stands before the @, and what stands behind the question mark.
static struct str address_shown(struct str text, struct arena *arena)
{
    size_t colon = str_index(text, ':', 0), from = 0, to = 0;
    if (str_starts(str_sub(text, colon, text.n), STR("://")))
        from = colon + 3;
    for (size_t at = str_index(text, '@', from); at < text.n; at = str_index(text, '@', at + 1))
        to = at; // the last one: a password may hold others
    struct str rest = str_sub(text, to ? to : from, text.n), path = str_sub(rest, 0, str_index(rest, '?', 0));
    return arena_printf(arena, "%.*s%s%.*s%s", STR_ARG(str_sub(text, 0, from)), to ? "..." : "", STR_ARG(path),
                        path.n < rest.n ? "?..." : "");
}

// The value as it stands in the file (never what ${NAME} stands for), short and printable, in quotes; "" for a secret.
static struct str shown(const struct config_reader *reader, const struct config_key *key, struct arena *arena)
{
    struct str text = scalar(reader);
    if (key->type == KEY_SECRET || !text.n)
        return STR("");
    if (key->type == KEY_URL || key->type == KEY_BASE_URL || key->type == KEY_STORE)
        text = address_shown(text, arena);
    struct str copy = arena_str(arena, str_sub(text, 0, SHOWN_MAX));
    for (size_t i = 0; i < copy.n; i++)
        if ((unsigned char)copy.p[i] < ' ' || copy.p[i] == 0x7F)
            ((char *)(uintptr_t)copy.p)[i] = '?';
    return arena_printf(arena, "\"%.*s%s\" ", STR_ARG(copy), text.n > SHOWN_MAX ? "..." : "");
}

static void read_scalar(struct config_reader *reader, const struct config_section *section,
                        const struct config_key *key, void *target)
{
    struct str text;
    int line = config_reader_line(reader);
    if (!config_reader_text(reader, section, key->name, &reader->scratch, &text))
        return;
    bool literal = str_eq(text, scalar(reader));
    reader->own_secrets += key->type == KEY_SECRET && literal && !str_eq_c(text, "none");
    const char *wrong = config_value_set(key, text, !is_plain(reader), reader->texts, (char *)target + key->offset);
    if (wrong)
        config_reader_mistake(reader, line, section, key->name, "%s%s", shown(reader, key, &reader->scratch).p, wrong);
}

// A section or list in place of which something else stands.
static void wrong_kind(struct config_reader *reader, const struct config_section *section, const struct config_key *key)
{
    bool list = key->type == KEY_LIST;
    const char *write;
    if (reader->path)
        write = list ? "a list below it, each entry with \"- \" before it, or leave it out"
                     : "its keys below it, indented, or leave it out";
    else // JSON
        write = list ? "a list, its entries between [ and ], or leave it out"
                     : "an object, its keys between { and }, or leave it out";
    bool empty = at(reader, YAML_SCALAR_EVENT) && !scalar(reader).n;
    config_reader_mistake(reader, config_reader_line(reader), section, key->name, "is %s; write %s",
                          empty ? "empty" : node_kind(reader), write);
    config_reader_skip(reader);
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the table of keys
static void read_value(struct config_reader *reader, const struct config_section *section, const struct config_key *key,
                       void *target)
{
    yaml_event_type_t wanted = key->type == KEY_LIST ? YAML_SEQUENCE_START_EVENT : YAML_MAPPING_START_EVENT;
    if (!key->section)
        read_scalar(reader, section, key, target);
    else if (!at(reader, wanted))
        wrong_kind(reader, section, key);
    else if (key->type == KEY_LIST)
        reader->read_list(reader, key, (char *)target + key->offset);
    else
        config_reader_section(reader, key->section, (char *)target + key->offset);
}

// A section at or below `section` that has a key of that name, or NULL.
// NOLINTNEXTLINE(misc-no-recursion): as deep as the table of keys
static const struct config_section *section_of(const struct config_section *section, struct str name)
{
    if (config_key_find(section, name))
        return section;
    for (size_t i = 0; i < section->count; i++) {
        const struct config_section *found = section->keys[i].section ? section_of(section->keys[i].section, name)
                                                                      : NULL;
        if (found)
            return found;
    }
    return NULL;
}

// What to do about a key that `section` has not.
static const char *advice(const struct config_section *section, struct str name, struct arena *arena)
{
    const struct config_section *other = section_of(&config_root, name);
    const struct config_key *nearest = config_key_nearest(section, name);
    if (other == &config_root)
        return "it belongs to the top of the file";
    if (other)
        return arena_printf(arena, "it belongs into %s", other->path).p;
    if (nearest)
        return arena_printf(arena, "did you mean %s?", nearest->name).p;
    struct str known = STR("");
    for (size_t i = 0; i < section->count; i++)
        known = arena_printf(arena, "%.*s%s%s", STR_ARG(known), i ? ", " : "", section->keys[i].name);
    return arena_printf(arena, "there are %.*s", STR_ARG(known)).p;
}

static void unknown_key(struct config_reader *reader, const struct config_section *section, struct str name)
{
    struct str text = arena_printf(&reader->scratch, "%.*s", STR_ARG(str_sub(name, 0, SHOWN_MAX)));
    config_reader_mistake(reader, config_reader_line(reader), section, text.p, "is no key of %s; %s", section->what,
                          advice(section, name, &reader->scratch));
}

// The key at hand. NULL when its value is to be passed over (noted).
static const struct config_key *read_key(struct config_reader *reader, const struct config_section *section, int *lines)
{
    int line = config_reader_line(reader);
    if (!at(reader, YAML_SCALAR_EVENT)) {
        config_reader_mistake(reader, line, section, NULL, "has %s as a key; write \"key: value\"", node_kind(reader));
        config_reader_skip(reader);
        return NULL;
    }
    const struct config_key *key = config_key_find(section, scalar(reader));
    if (!key) {
        unknown_key(reader, section, scalar(reader));
        return NULL;
    }
    int *first = &lines[key - section->keys];
    if (*first) {
        config_reader_mistake(reader, line, section, key->name, "stands in line %d already; keep one of them", *first);
        return NULL;
    }
    *first = line;
    return key;
}

// What is not in the file: a section's keys have their presets too.
// NOLINTNEXTLINE(misc-no-recursion): as deep as the table of keys
static void put_presets(struct config_reader *reader, const struct config_section *section, void *target,
                        const int *lines, int line)
{
    static const int none[CONFIG_SECTION_KEYS_MAX];
    for (size_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        void *field = (char *)target + key->offset;
        if (lines[i])
            continue;
        if (key->required)
            config_reader_mistake(reader, line, section, key->name, "is missing; %s needs it", section->what);
        else if (key->preset)
            (void)config_value_set(key, str_of(key->preset), false, reader->texts, field);
        else if (key->type == KEY_SECTION)
            put_presets(reader, key->section, field, none, line);
    }
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the table of keys
void config_reader_section(struct config_reader *reader, const struct config_section *section, void *target)
{
    int lines[CONFIG_SECTION_KEYS_MAX] = {0};
    int line = config_reader_line(reader), before = reader->mistakes;
    while (config_reader_next(reader) && !at(reader, YAML_MAPPING_END_EVENT)) {
        const struct config_key *key = read_key(reader, section, lines);
        if (!config_reader_next(reader))
            return;
        if (key)
            read_value(reader, section, key, target);
        else
            config_reader_skip(reader);
    }
    arena_done(&reader->scratch);
    if (reader->stop)
        return;
    put_presets(reader, section, target, lines, line);
    if (reader->finish)
        reader->finish(reader, section, target, lines, line, reader->mistakes - before);
}
