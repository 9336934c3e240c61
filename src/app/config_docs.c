// The table of keys as documentation.
#include "app/config_keys.h"

static const char *type_name(const struct config_key *key)
{
    switch (key->type) {
    case KEY_SECTION:
        return "section";
    case KEY_LIST:
        return "list";
    case KEY_NAME:
        return "name";
    case KEY_SECRET:
        return "secret";
    case KEY_PATH:
        return "path";
    case KEY_BASE_URL:
    case KEY_URL:
        return "URL";
    case KEY_ADDRESS:
        return "address";
    case KEY_STORE:
        return "store";
    case KEY_SOURCE_PLATFORM:
    case KEY_DESK_PLATFORM:
        return "platform";
    case KEY_BOOL:
        return "true or false";
    case KEY_WORD:
        return "word";
    case KEY_NUMBER:
        return key->none ? "number or `none`" : "number";
    case KEY_MS:
    case KEY_US:
        return "duration";
    case KEY_RATE:
        return "rate";
    case KEY_SIZE:
        return key->none ? "size or `none`" : "size";
    }
    return "";
}

static void write_path(struct buf *out, const struct config_section *section, const struct config_key *key)
{
    buf_printf(out, "%s%s%s", section->path, *section->path ? "." : "", key->name);
}

// "`head` or `none`"
static void write_words(struct buf *out, const char *words, const char *before, const char *after)
{
    struct str rest = str_of(words);
    const char *between = "";
    for (size_t from = 0, to; from <= rest.n; from = to + 1) {
        to = str_index(rest, '|', from);
        if (to == from)
            continue;
        buf_printf(out, "%s%s%.*s%s", between, before, STR_ARG(str_sub(rest, from, to)), after);
        between = " or ";
    }
}

static void write_default(struct buf *out, const struct config_key *key)
{
    if (key->required)
        buf_add_str(out, STR("required"));
    else if (key->preset)
        buf_printf(out, "`%s`", key->preset);
    else
        buf_add_str(out, str_of(key->preset_doc ? key->preset_doc : ""));
}

static void markdown_row(struct buf *out, const struct config_section *section, const struct config_key *key)
{
    buf_add_str(out, STR("| `"));
    write_path(out, section, key);
    buf_add_str(out, STR("` | "));
    if (key->type == KEY_WORD)
        write_words(out, key->words, "`", "`");
    else
        buf_add_str(out, str_of(type_name(key)));
    buf_add_str(out, STR(" | "));
    write_default(out, key);
    buf_printf(out, " | %s |\n", key->doc);
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the table of keys
static void markdown_section(struct buf *out, const struct config_section *section)
{
    for (size_t i = 0; i < section->count; i++) {
        markdown_row(out, section, &section->keys[i]);
        if (section->keys[i].section)
            markdown_section(out, section->keys[i].section);
    }
}

void config_keys_markdown(struct buf *out)
{
    buf_add_str(out, STR("| key | type | default | meaning |\n|---|---|---|---|\n"));
    markdown_section(out, &config_root);
}

// Text for troff: backquotes become bold, a leading dot or quote and backslashes are made harmless.
static void write_man_text(struct buf *out, struct str text)
{
    bool bold = false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '`') {
            bold = !bold;
            buf_add_str(out, bold ? STR("\\fB") : STR("\\fR"));
        } else if (text.p[i] == '-') {
            buf_add_str(out, STR("\\-"));
        } else {
            buf_add_char(out, text.p[i]);
        }
    }
}

static void man_key(struct buf *out, const struct config_section *section, const struct config_key *key)
{
    buf_add_str(out, STR(".TP\n.B "));
    write_path(out, section, key);
    buf_add_char(out, '\n');
    write_man_text(out, str_of(key->doc));
    buf_add_str(out, STR("\n.br\n"));
    struct buf line;
    buf_init(&line, 4096);
    if (key->type == KEY_WORD)
        write_words(&line, key->words, "`", "`");
    else
        buf_add_str(&line, str_of(type_name(key)));
    buf_add_str(&line, key->required ? STR("; ") : key->preset || key->preset_doc ? STR("; default: ") : STR(""));
    write_default(&line, key);
    write_man_text(out, buf_str(&line));
    buf_done(&line);
    buf_add_char(out, '\n');
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the table of keys
static void man_section(struct buf *out, const struct config_section *section)
{
    for (size_t i = 0; i < section->count; i++) {
        man_key(out, section, &section->keys[i]);
        if (section->keys[i].section)
            man_section(out, section->keys[i].section);
    }
}

void config_keys_man(struct buf *out)
{
    man_section(out, &config_root);
}
