// account list|show, source list, desk show|resume: what there is. Changes: cli_changes.c.
#include "app/cli_run.h"

#include <stdlib.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

static void add_account(struct cli *cli, struct cli_table *table, yyjson_val *account)
{
    bool active = yyjson_get_bool(yyjson_obj_get(account, "active"));
    bool left = yyjson_get_bool(yyjson_obj_get(account, "left_file"));
    struct str defined = cli_text(cli, account, "defined_at");
    cli_table_add(table, cli_text(cli, account, "name"));
    cli_table_add(table, active ? STR("active") : left ? STR("inactive, left the file") : STR("inactive"));
    cli_table_add(table, cli_text(cli, account, "order"));
    cli_table_add(table, arena_printf(&cli->arena, "%zu", yyjson_arr_size(yyjson_obj_get(account, "sources"))));
    cli_table_add(table, cli_text(cli, yyjson_obj_get(account, "desk"), "platform"));
    cli_table_add(table, cli_text(cli, account, "pending"));
    cli_table_add(table, defined.n ? defined : STR("by hand"));
}

// Objects of all pages, one after another, between the brackets of `items`.
static void json_items(struct json *json, yyjson_val *items)
{
    size_t i, max, n;
    yyjson_val *item;
    yyjson_arr_foreach(items, i, max, item)
    {
        char *text = yyjson_val_write(item, 0, &n);
        json_raw(json, (struct str){text, text ? n : 0});
        free(text);
    }
}

// All pages of /api/v1/accounts. The next page's target, or NULL.
static const char *next_page(struct cli *cli, yyjson_val *root)
{
    struct str next = json_get_str(root, "next");
    if (!next.p)
        return NULL;
    return arena_printf(&cli->arena, "/api/v1/accounts?limit=1000&after=%s", cli_escape(cli, next.p)).p;
}

int cli_account_list(struct cli *cli)
{
    static const char *const titles[] = {"ACCOUNT", "STATE", "ORDER", ">SOURCES", "DESK", ">PENDING", "DEFINED"};
    struct json json = {.out = &cli->out};
    struct cli_table table;
    const char *target = "/api/v1/accounts?limit=1000";
    cli_table_init(&table, &cli->arena, titles, COUNT(titles));
    if (cli->json)
        buf_add_str(&cli->out, STR("{\"items\":["));
    while (target) {
        yyjson_doc *doc;
        size_t i, max;
        yyjson_val *account;
        if (cli_call(cli, "GET", target, STR_NONE, &doc)) {
            buf_clear(&cli->out);
            return CLI_FAILED;
        }
        yyjson_val *items = yyjson_obj_get(yyjson_doc_get_root(doc), "items");
        if (cli->json)
            json_items(&json, items);
        yyjson_arr_foreach(items, i, max, account)
        {
            if (!cli->json)
                add_account(cli, &table, account);
        }
        target = next_page(cli, yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
    }
    if (cli->json)
        buf_add_str(&cli->out, STR("],\"next\":null}\n"));
    else
        cli_table_write(&table, cli->width, &cli->out);
    return CLI_DONE;
}

static void print_members(struct cli *cli, yyjson_val *object, const char *indent)
{
    size_t i, max;
    yyjson_val *key, *value;
    if (!object)
        return;
    yyjson_obj_foreach(object, i, max, key, value)
    {
        const char *name = yyjson_get_str(key);
        struct str text = cli_clean(&cli->arena, cli_text_of(cli, value));
        if (!yyjson_is_ctn(value) && text.n)
            buf_printf(&cli->out, "%s%-15s %.*s\n", indent, name, STR_ARG(text));
    }
}

void cli_print_account(struct cli *cli, yyjson_val *account)
{
    size_t i, max;
    yyjson_val *source;
    print_members(cli, account, "");
    yyjson_arr_foreach(yyjson_obj_get(account, "sources"), i, max, source)
    {
        buf_add_str(&cli->out, STR("source\n"));
        print_members(cli, source, "  ");
    }
    buf_add_str(&cli->out, STR("desk\n"));
    print_members(cli, yyjson_obj_get(account, "desk"), "  ");
}

int cli_one(struct cli *cli, const char *method, const char *target, struct str body,
            void (*print)(struct cli *cli, yyjson_val *root))
{
    yyjson_doc *doc;
    if (cli_call(cli, method, target, body, &doc))
        return CLI_FAILED;
    if (cli->json)
        cli_print_json(cli, yyjson_doc_get_root(doc));
    else
        print(cli, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return CLI_DONE;
}

const char *cli_account_path(struct cli *cli, const char *rest)
{
    return arena_printf(&cli->arena, "/api/v1/accounts/%s%s", cli_escape(cli, cli->args[0]), rest).p;
}

int cli_account_show(struct cli *cli)
{
    return cli_one(cli, "GET", cli_account_path(cli, ""), STR_NONE, cli_print_account);
}

void cli_print_desk(struct cli *cli, yyjson_val *desk)
{
    print_members(cli, desk, "");
}

int cli_desk_show(struct cli *cli)
{
    return cli_one(cli, "GET", cli_account_path(cli, "/desk"), STR_NONE, cli_print_desk);
}

int cli_desk_resume(struct cli *cli)
{
    return cli_one(cli, "POST", cli_account_path(cli, "/desk/resume"), STR_NONE, cli_print_desk);
}

static void print_sources(struct cli *cli, yyjson_val *root)
{
    static const char *const titles[] = {"SOURCE", "PLATFORM", "MODE", "STATE", "TEXT"};
    struct cli_table table;
    size_t i, max;
    yyjson_val *source;
    cli_table_init(&table, &cli->arena, titles, COUNT(titles));
    yyjson_arr_foreach(yyjson_obj_get(root, "items"), i, max, source)
    {
        cli_table_add(&table, cli_text(cli, source, "name"));
        cli_table_add(&table, cli_text(cli, source, "platform"));
        cli_table_add(&table, cli_text(cli, source, "mode"));
        cli_table_add(&table, cli_text(cli, source, "state"));
        cli_table_add(&table, cli_text(cli, source, "text"));
    }
    cli_table_write(&table, cli->width, &cli->out);
}

int cli_source_list(struct cli *cli)
{
    return cli_one(cli, "GET", cli_account_path(cli, "/sources?limit=1000"), STR_NONE, print_sources);
}
