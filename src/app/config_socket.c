// The one key that the command line needs, found without minding what else is in the file: a newer daemon's keys, another user's
// secrets, a mistake being mended.
#include "app/config.h"
#include "app/config_reader.h"
#include "app/config_value.h"

#include <string.h>

struct search {
    struct config_reader reader;
    struct arena *arena;
    struct str socket, store;
};

// The value at hand, when it is that of `name` in `section`, else passed over.
static void take_value(struct search *search, const struct config_section *section, const char *name, struct str *out)
{
    const struct config_key *key = config_key_find(section, str_of(name));
    struct str text;
    int line = config_reader_line(&search->reader);
    if (!config_reader_text(&search->reader, section, name, search->arena, &text))
        return;
    const char *wrong = config_value_set(key, text, true, search->arena, out);
    if (wrong)
        config_reader_mistake(&search->reader, line, section, name, "%s", wrong);
}

static bool at_key(const struct config_reader *reader, const char *name)
{
    const yaml_event_t *event = &reader->event;
    return event->type == YAML_SCALAR_EVENT && strcmp((const char *)event->data.scalar.value, name) == 0;
}

static void search_admin(struct search *search)
{
    struct config_reader *reader = &search->reader;
    const struct config_section *admin = config_key_find(&config_root, STR("admin"))->section;
    if (reader->event.type != YAML_MAPPING_START_EVENT) {
        config_reader_skip(reader);
        return;
    }
    while (config_reader_next(reader) && reader->event.type != YAML_MAPPING_END_EVENT) {
        bool wanted = at_key(reader, "socket");
        config_reader_skip(reader);
        if (!config_reader_next(reader))
            return;
        if (wanted)
            take_value(search, admin, "socket", &search->socket);
        else
            config_reader_skip(reader);
    }
}

static void search_root(struct search *search)
{
    struct config_reader *reader = &search->reader;
    while (!search->socket.p && config_reader_next(reader) && reader->event.type != YAML_MAPPING_END_EVENT) {
        bool is_store = at_key(reader, "store"), is_admin = at_key(reader, "admin");
        config_reader_skip(reader);
        if (!config_reader_next(reader))
            return;
        if (is_store)
            take_value(search, &config_root, "store", &search->store);
        else if (is_admin)
            search_admin(search);
        else
            config_reader_skip(reader);
    }
}

static int find_socket(const char *path, struct str text, struct arena *arena, struct str *out_socket,
                       struct buf *errors)
{
    struct search search = {.arena = arena};
    size_t before = errors->n;
    const char *why;
    config_reader_init(&search.reader, path, text, errors);
    if (config_env_read(&search.reader.env, path, arena, &why))
        search.reader.env.count = 0; // not ours to read: it matters only where the two keys name something
    if (config_reader_open(&search.reader))
        search_root(&search);
    config_reader_done(&search.reader);
    if (errors->n != before)
        return ERR_INVALID;
    const struct config_key *store = config_key_find(&config_root, STR("store"));
    if (!search.store.p)
        (void)config_value_set(store, str_of(store->preset), false, arena, &search.store);
    *out_socket = search.socket.p ? search.socket : config_default_socket(arena, search.store);
    return ERR_OK;
}

int config_load_socket(const char *path, struct arena *arena, struct str *out_socket, struct buf *errors)
{
    struct buf text;
    const char *why = NULL;
    if (config_text_read(path, CONFIG_FILE_MAX, 0, arena, &text, &why)) {
        buf_printf(errors, "%s: %s", path, why);
        return ERR_INVALID;
    }
    int err = find_socket(path, buf_str(&text), arena, out_socket, errors);
    buf_done(&text);
    return err;
}
