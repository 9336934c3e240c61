// LDFLAGS: -Wl,--wrap=read
// The configuration file: what is read, and what each mistake is answered with.
#include "app/config.h"
#include "support/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESK "    desk: {platform: webhook, url: http://127.0.0.1:1/, secret: whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}\n"
#define SOURCE "    sources: [{name: site, platform: webhook, secret: none}]\n"
#define ACCOUNT "  - name: acme\n" SOURCE DESK
#define ACCOUNTS "accounts:\n" ACCOUNT

static char directory[4096];

static char *in_directory(const char *name)
{
    static char path[5000];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const char *text, size_t n, mode_t mode)
{
    char *path = in_directory(name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int to_directory(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/tributary-config-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(directory) || chdir(directory))
        return 1;
    write_file("tributary.env", "", 0, 0600);
    return 0;
}

// What loading this text says; "" when it is good. The name of the file is "t.yaml".
static const char *errors_of(const char *text, size_t n)
{
    static char said[CONFIG_ERRORS_MAX];
    struct buf errors;
    struct config *config = NULL;
    write_file("t.yaml", text, n, 0600);
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = config_load("t.yaml", &config, &errors);
    snprintf(said, sizeof said, "%.*s", STR_ARG(buf_str(&errors)));
    assert_int_equal(err, errors.n ? ERR_INVALID : ERR_OK);
    if (!err)
        config_free(config);
    buf_done(&errors);
    return said;
}

static struct config *load_good(const char *text)
{
    struct buf errors;
    struct config *config = NULL;
    write_file("t.yaml", text, strlen(text), 0600);
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = config_load("t.yaml", &config, &errors);
    if (err)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    buf_done(&errors);
    return config;
}

static void assert_text(struct str text, const char *expected)
{
    if (!expected)
        assert_null(text.p);
    else
        assert_string_equal(text.p, expected);
}

static void test_defaults_are_those_of_the_interface(void **state)
{
    (void)state;
    struct config *config = load_good("accounts: []\n");
    assert_text(config->listen, "127.0.0.1:8080");
    assert_text(config->admin_listen, "127.0.0.1:8081");
    assert_text(config->admin_token, NULL);
    assert_text(config->admin_socket, "./admin.sock");
    assert_text(config->public_url, NULL);
    assert_text(config->store_path, "./tributary.db");
    assert_int_equal(config->max_attempts, 5);
    assert_int_equal(config->retry_base_ms, 1000);
    assert_int_equal(config->retry_cap_ms, 60000);
    assert_int_equal(config->timeout_ms, 30000);
    assert_int_equal(config->window, 10);
    assert_int_equal(config->concurrency, 256);
    assert_int_equal(config->settle_ms, 15000);
    assert_int_equal(config->shutdown_ms, 8000);
    assert_int_equal(config->keep_bodies_us, INT64_C(30) * 86400 * 1000000);
    assert_int_equal(config->keep_dedupe_us, INT64_C(30) * 86400 * 1000000);
    assert_int_equal(config->account_count, 0);
    assert_text(config->warnings, "");
    config_free(config);
}

static void test_defaults_hold_in_sections_that_say_a_part(void **state)
{
    (void)state;
    struct config *config = load_good("delivery: {window: 3}\nadmin: {token: abc}\n" ACCOUNTS);
    assert_int_equal(config->window, 3);
    assert_int_equal(config->max_attempts, 5);
    assert_text(config->admin_listen, "127.0.0.1:8081");
    assert_text(config->admin_token, "abc");
    struct account *account = config_account(config, 0);
    assert_true(account->active);
    assert_int_equal(account->order, ORDER_ACCOUNT);
    assert_int_equal(account->on_failure, ON_FAILURE_SKIP);
    assert_int_equal(account->in_doubt, IN_DOUBT_RESEND);
    assert_int_equal(account->identity, IDENTITY_NONE);
    assert_int_equal(account->sources[0].mode, SOURCE_DEFAULT);
    assert_false(account->sources[0].take_over);
    assert_int_equal(account->desk.probe, DESK_PROBE_HEAD);
    assert_int_equal(account->desk.rate_per_min, 0);
    account_unref(account);
    config_free(config);
}

static void test_all_keys_are_read(void **state)
{
    (void)state;
    struct config *config = load_good(
        "listen: \"[::1]:1\"\n"
        "admin: {listen: 'unix:/a/b', token: t0, socket: /run/x.sock}\n"
        "public_url: https://relay.example.com/\n"
        "store: sqlite:/var/lib/t.db\n"
        "delivery: {max_attempts: 7, retry_base: 500ms, retry_cap: 2m, timeout: 10m, settle: 0s}\n"
        "retention: {bodies: 2h, dedupe: 1d}\nmedia: {wait: 2s, max_file: 512KiB, links: 1h}\nquota: {waiting: 5, files: 3GiB}\n"
        "accounts:\n"
        "- desk: {platform: webhook, url: 'http://127.0.0.1:1/x/?y=1/', secret: whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3,\n"
        "         probe: none, rate: 600/min}\n"
        "  in_doubt: hold\n  identity: email\n  on_failure: hold\n  order: conversation\n  active: false\n"
        "  sources:\n"
        "  - {name: a, platform: telegram, token: \"12345:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\", mode: polling, take_over: true, api_url: http://127.0.0.1:2//}\n"
        "  - {name: b, platform: webhook, secret: none}\n"
        "  name: acme\n");
    assert_text(config->listen, "[::1]:1");
    assert_text(config->admin_listen, "unix:/a/b");
    assert_text(config->admin_socket, "/run/x.sock");
    assert_text(config->public_url, "https://relay.example.com");
    assert_text(config->store_path, "/var/lib/t.db");
    assert_int_equal(config->retry_base_ms, 500);
    assert_int_equal(config->retry_cap_ms, 120000);
    assert_int_equal(config->settle_ms, 0);
    assert_int_equal(config->keep_bodies_us, INT64_C(7200) * 1000000);
    assert_int_equal(config->media_wait_ms, 2000);
    assert_int_equal(config->max_file_bytes, 512 * 1024);
    assert_int_equal(config->link_us, INT64_C(3600) * 1000000);
    assert_int_equal(config->most_waiting, 5);
    assert_int_equal(config->most_file_bytes, INT64_C(3) << 30);
    struct account *account = config_account(config, 0);
    assert_text(account->name, "acme");
    assert_text(account->defined_at, "t.yaml:10");
    assert_false(account->active);
    assert_int_equal(account->order, ORDER_CONVERSATION);
    assert_int_equal(account->on_failure, ON_FAILURE_HOLD);
    assert_int_equal(account->in_doubt, IN_DOUBT_HOLD);
    assert_int_equal(account->identity, IDENTITY_EMAIL);
    assert_int_equal(account->source_count, 2);
    assert_text(account->sources[1].account, "acme");
    assert_text(account->sources[0].api_url, "http://127.0.0.1:2");
    assert_int_equal(account->sources[0].mode, SOURCE_POLLING);
    assert_true(account->sources[0].take_over);
    assert_int_equal(account->desk.probe, DESK_PROBE_NONE);
    assert_int_equal(account->desk.rate_per_min, 600);
    assert_text(account->desk.url, "http://127.0.0.1:1/x/?y=1/");
    account_unref(account);
    config_free(config);
}

static void test_bounds_may_be_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t waiting, files;
    } rows[] = {
        {"admin: {token: t}\n", 1000000, INT64_C(10) << 30},
        {"quota: {waiting: none, files: none}\n", 0, 0},
        {"quota: {waiting: 0, files: 0}\n", 0, 0},
        {"quota: {files: 0B}\n", 1000000, 0},
        {"quota: {files: 1B}\n", 1000000, 1},
        {"quota: {files: 1048576GiB}\n", 1000000, INT64_C(1) << 50},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct config *config = load_good(rows[i].text);
        assert_int_equal(config->most_waiting, rows[i].waiting);
        assert_int_equal(config->most_file_bytes, rows[i].files);
        assert_int_equal(config->media_wait_ms, 15000);
        assert_int_equal(config->max_file_bytes, 20 << 20);
        assert_int_equal(config->link_us, INT64_C(7) * 86400 * 1000000);
        config_free(config);
    }
}

static const struct refusal {
    const char *text, *errors;
} refusals[] = {
    {"", "t.yaml: is empty; docs/configuration.md and tributary.yaml(5) have examples"},
    {"# nothing but this\n", "t.yaml: is empty; docs/configuration.md and tributary.yaml(5) have examples"},
    {"- a\n", "t.yaml:1: is no configuration; write keys and values, as in \"listen: 127.0.0.1:8080\""},
    {"text\n", "t.yaml:1: is no configuration; write keys and values, as in \"listen: 127.0.0.1:8080\""},
    {"listen: 127.0.0.1:1: c\n",
     "t.yaml:1: is no YAML (mapping values are not allowed in this context); mind indentation (spaces, no tabs), \"key: value\" and quotes"},
    {"window: 1\n\tx: 1\n",
     "t.yaml:1: window: is no key of this file; it belongs into delivery\n"
     "t.yaml:2: is no YAML (while scanning a plain scalar: found a tab character that violates indentation); mind indentation "
     "(spaces, no tabs), \"key: value\" and quotes"},
    {"listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2\n", "t.yaml:2: begins a second document; write all into one"},
    {"lisen: 127.0.0.1:1\n", "t.yaml:1: lisen: is no key of this file; did you mean listen?"},
    {"zzzz: 1\n",
     "t.yaml:1: zzzz: is no key of this file; there are listen, public_url, store, admin, delivery, retention, media, quota, accounts"},
    {"delivery: {listen: 127.0.0.1:1}\n",
     "t.yaml:1: delivery.listen: is no key of delivery; it belongs to the top of the file"},
    {"listen: 127.0.0.1:1\n\nlisten: 127.0.0.1:2\n", "t.yaml:3: listen: stands in line 1 already; keep one of them"},
    {"? [a]\n: b\n", "t.yaml:1: has a list as a key; write \"key: value\""},
    {"listen: [a]\n", "t.yaml:1: listen: is a list; write a single value"},
    {"listen: {a: b}\n", "t.yaml:1: listen: is a mapping; write a single value"},
    {"listen:\n", "t.yaml:1: listen: is empty; write a value or leave the key out"},
    {"listen: ~\n", "t.yaml:1: listen: \"~\" is empty; write a value or leave the key out"},
    {"listen: &x 127.0.0.1:1\npublic_url: *x\n", "t.yaml:2: public_url: is an alias; write the value out"},
    {"listen: !!str 127.0.0.1:1\n", "t.yaml:1: listen: has a tag (!...); write the value alone"},
    {"delivery: 5\n", "t.yaml:1: delivery: is a single value; write its keys below it, indented, or leave it out"},
    {"delivery:\n", "t.yaml:1: delivery: is empty; write its keys below it, indented, or leave it out"},
    {"accounts: {name: x}\n",
     "t.yaml:1: accounts: is a mapping; write a list below it, each entry with \"- \" before it, or leave it out"},
    {"accounts:\n",
     "t.yaml:1: accounts: is empty; write a list below it, each entry with \"- \" before it, or leave it out"},
    {"accounts: [acme]\n",
     "t.yaml:1: accounts: has an entry without keys; write its keys behind \"- \", as in \"- name: acme\""},
    {"admin: {token: ${HOME}}\n",
     "t.yaml:1: is no YAML (while parsing a flow mapping: did not find expected ',' or '}'); mind brackets and "
     "commas, and put a ${NAME} between { and } in quotes"},
    // addresses, URLs, stores
    {"listen: 8080\n",
     "t.yaml:1: listen: \"8080\" is no address; write a host and a port as in 127.0.0.1:8080 or [::1]:8080, or unix: "
     "and a path"},
    {"listen: 127.0.0.1:65536\n",
     "t.yaml:1: listen: \"127.0.0.1:65536\" is no address; write a host and a port as in 127.0.0.1:8080 or "
     "[::1]:8080, or unix: and a path"},
    {"listen: 1.2.3:80\n",
     "t.yaml:1: listen: \"1.2.3:80\" is no address; write a host and a port as in 127.0.0.1:8080 or [::1]:8080, or "
     "unix: and a path"},
    {"listen: \"[::1]\"\n",
     "t.yaml:1: listen: \"[::1]\" is no address; write a host and a port as in 127.0.0.1:8080 or [::1]:8080, or "
     "unix: and a path"},
    {"listen: 'unix:'\n", "t.yaml:1: listen: \"unix:\" is no Unix socket; write unix: and a path of at most 107 bytes"},
    {"public_url: relay.example.com\n",
     "t.yaml:1: public_url: \"relay.example.com\" is no URL; write it as in https://relay.example.com"},
    {"public_url: https://\n",
     "t.yaml:1: public_url: \"https://\" names no host; write it as in https://relay.example.com"},
    {"public_url: https://h:x/\n",
     "t.yaml:1: public_url: \"https://h:x/\" names no host; write it as in https://relay.example.com"},
    {"public_url: https://a@h/\n",
     "t.yaml:1: public_url: \"https://...@h/\" holds a user or a fragment; write it as in https://relay.example.com"},
    {"public_url: 'user:pass word@h'\n",
     "t.yaml:1: public_url: \"...@h\" is no URL; write it as in https://relay.example.com"},
    {"public_url: https://a:b?c@h/?d\n",
     "t.yaml:1: public_url: \"https://...@h/?...\" holds a user or a fragment; write it as in "
     "https://relay.example.com"},
    {"public_url: https://h/?a=b\n",
     "t.yaml:1: public_url: \"https://h/?...\" holds a query; paths are put behind this one, so write it as in "
     "https://relay.example.com"},
    {"store: /var/lib/t.db\n",
     "t.yaml:1: store: \"/var/lib/t.db\" is no store; write sqlite: and the path of a file, as in "
     "sqlite:/var/lib/tributary/tributary.db"},
    {"store: postgresql://u@h/d\n",
     "t.yaml:1: store: \"postgresql://...@h/d\" cannot be used: this version keeps messages in SQLite only; write "
     "sqlite: and the path of a file"},
    {"listen: 127.0.0.1:8081\n", "t.yaml: admin.listen: is the address of listen too; give it a port of its own"},
    // numbers and durations
    {"delivery: {max_attempts: 0}\n",
     "t.yaml:1: delivery.max_attempts: \"0\" is out of range; write a number from 1 to 1000"},
    {"delivery: {max_attempts: -1}\n",
     "t.yaml:1: delivery.max_attempts: \"-1\" is no number; write one from 1 to 1000, without quotes or unit"},
    {"delivery: {max_attempts: 05}\n",
     "t.yaml:1: delivery.max_attempts: \"05\" is no number; write one from 1 to 1000, without quotes or unit"},
    {"delivery: {max_attempts: 3x}\n",
     "t.yaml:1: delivery.max_attempts: \"3x\" is no number; write one from 1 to 1000, without quotes or unit"},
    {"delivery: {max_attempts: '3'}\n",
     "t.yaml:1: delivery.max_attempts: \"3\" is no number; write one from 1 to 1000, without quotes or unit"},
    {"delivery: {max_attempts: 99999999999999999999}\n",
     "t.yaml:1: delivery.max_attempts: \"99999999999999999999\" is no number; write one from 1 to 1000, without quotes or unit"},
    {"delivery: {timeout: 30}\n",
     "t.yaml:1: delivery.timeout: \"30\" is no duration; write a whole number and ms, s, m, h or d, as in 500ms or 30s"},
    {"delivery: {timeout: 30 s}\n",
     "t.yaml:1: delivery.timeout: \"30 s\" is no duration; write a whole number and ms, s, m, h or d, as in 500ms or 30s"},
    {"delivery: {timeout: 1.5s}\n",
     "t.yaml:1: delivery.timeout: \"1.5s\" is no duration; write a whole number and ms, s, m, h or d, as in 500ms or 30s"},
    {"delivery: {timeout: -1s}\n",
     "t.yaml:1: delivery.timeout: \"-1s\" is no duration; write a whole number and ms, s, m, h or d, as in 500ms or 30s"},
    {"delivery: {timeout: 0s}\n",
     "t.yaml:1: delivery.timeout: \"0s\" is out of range; write a duration from 1ms to 10m"},
    {"delivery: {timeout: 9223372036854775807d}\n",
     "t.yaml:1: delivery.timeout: \"9223372036854775807d\" is no duration; write a whole number and ms, s, m, h or d, as in 500ms or 30s"},
    // sizes and bounds
    {"media: {max_file: 20}\n",
     "t.yaml:1: media.max_file: \"20\" is no size; write a whole number and B, KiB, MiB or GiB, as in 20MiB"},
    {"media: {max_file: 20MB}\n",
     "t.yaml:1: media.max_file: \"20MB\" is no size; write a whole number and B, KiB, MiB or GiB, as in 20MiB"},
    {"media: {max_file: 1.5MiB}\n",
     "t.yaml:1: media.max_file: \"1.5MiB\" is no size; write a whole number and B, KiB, MiB or GiB, as in 20MiB"},
    {"media: {max_file: 9223372036854775807GiB}\n",
     "t.yaml:1: media.max_file: \"9223372036854775807GiB\" is no size; write a whole number and B, KiB, MiB or GiB, as in "
     "20MiB"},
    {"media: {max_file: none}\n",
     "t.yaml:1: media.max_file: \"none\" is no size; write a whole number and B, KiB, MiB or GiB, as in 20MiB"},
    {"media: {max_file: 0}\n", "t.yaml:1: media.max_file: \"0\" is out of range; write a size from 1B to 1GiB"},
    {"media: {max_file: 2GiB}\n", "t.yaml:1: media.max_file: \"2GiB\" is out of range; write a size from 1B to 1GiB"},
    {"media: {wait: 15}\n",
     "t.yaml:1: media.wait: \"15\" is no duration; write a whole number and ms, s, m, h or d, as in 500ms or 30s"},
    {"quota: {files: 1}\n",
     "t.yaml:1: quota.files: \"1\" is no size; write a whole number and B, KiB, MiB or GiB, as in 20MiB, or none"},
    {"quota: {files: 1048577GiB}\n",
     "t.yaml:1: quota.files: \"1048577GiB\" is out of range; write a size from 0B to 1048576GiB, or none"},
    {"quota: {waiting: many}\n",
     "t.yaml:1: quota.waiting: \"many\" is no number; write one from 0 to 1000000000, without "
     "quotes or unit, or none"},
    {"quota: {waiting: 1000000001}\n",
     "t.yaml:1: quota.waiting: \"1000000001\" is out of range; write a number from 0 to 1000000000, or none"},
    {"delivery: {retry_base: 2s, retry_cap: 1s}\n",
     "t.yaml: delivery.retry_cap: is below delivery.retry_base; write a longer one"},
    // accounts
    {"accounts:\n- {}\n", "t.yaml:2: accounts.name: is missing; an account needs it\n"
                          "t.yaml:2: accounts.sources: is missing; an account needs it\n"
                          "t.yaml:2: accounts.desk: is missing; an account needs it"},
    {"accounts:\n  - name: Acme\n" SOURCE DESK,
     "t.yaml:2: accounts.name: \"Acme\" is no name; write 1 to 63 of a-z, 0-9 and -"},
    {"accounts:\n  - name: acme\n    active: yes\n" SOURCE DESK,
     "t.yaml:3: accounts.active: \"yes\" is neither true nor false; write one of these, without quotes"},
    {"accounts:\n  - name: acme\n    active: \"true\"\n" SOURCE DESK,
     "t.yaml:3: accounts.active: \"true\" is neither true nor false; write one of these, without quotes"},
    {"accounts:\n  - name: acme\n    order: lane\n" SOURCE DESK,
     "t.yaml:3: accounts.order: \"lane\" cannot stand here; write account or conversation"},
    {"accounts:\n  - name: acme\n    sources: []\n" DESK,
     "t.yaml:3: accounts.sources: is empty; an account needs a source"},
    {"accounts:\n  - name: acme\n    sources:\n    - {name: a, platform: webhook, secret: none}\n    - {name: a, platform: webhook, secret: "
     "none}\n" DESK,
     "t.yaml:5: accounts.sources.name: \"a\" is the source in line 4 already; names are unique in an account"},
    {"accounts:\n  - name: acme\n    sources: [{name: a, platform: telegran}]\n" DESK,
     "t.yaml:3: accounts.sources.platform: \"telegran\" is no platform; there are telegram, webhook"},
    {"accounts:\n  - name: acme\n    sources: [{name: a, platform: webhook, secret: none, mode: pull}]\n" DESK,
     "t.yaml:3: accounts.sources.mode: \"pull\" cannot stand here; write webhook or polling"},
    {"accounts:\n  - name: acme\n    sources: [{name: a, platform: webhook}]\n" DESK,
     "t.yaml:3: accounts.sources: a webhook source needs a secret (whsec_...), or \"secret: none\" to take messages from anyone"},
    {"accounts:\n  - name: acme\n    sources: [{name: a, platform: webhook, secret: 'top secret'}]\n" DESK,
     "t.yaml:3: accounts.sources.secret: holds a space, a control character or a letter outside ASCII; write it as the platform gave it"},
    {"accounts:\n  - name: acme\n    sources: [{name: a, platform: webhook, secret: none, token: t}]\n" DESK,
     "t.yaml:3: accounts.sources.token: belongs to platform telegram, not to webhook, which has name, platform, secret, api_url; leave it out"},
    {"accounts:\n  - name: acme\n    sources: [{name: a, platform: webhook, secret: none, mode: polling}]\n" DESK,
     "t.yaml:3: accounts.sources.mode: belongs to platform telegram, not to webhook, which has name, platform, secret, api_url; leave it out"},
    {"accounts:\n  - name: acme\n    sources: [{name: a, platform: webhook, secret: none, take_over: false}]\n" DESK,
     "t.yaml:3: accounts.sources.take_over: belongs to platform telegram, not to webhook, which has name, platform, secret, api_url; leave it out"},
    {"accounts:\n  - name: acme\n" SOURCE "    desk: {platform: webhok}\n",
     "t.yaml:4: accounts.desk.platform: \"webhok\" is no desk; there are intercom, webhook"},
    {"accounts:\n  - name: acme\n" SOURCE
     "    desk: {platform: webhook, secret: whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}\n",
     "t.yaml:4: accounts.desk: a webhook desk needs a url that begins with https:// or http://"},
    {"accounts:\n  - name: acme\n" SOURCE "    desk: {platform: intercom, token: t, probe: none}\n",
     "t.yaml:4: accounts.desk.probe: belongs to platform webhook, not to intercom, which has platform, token, client_secret, api_url, rate; leave it out"},
    {"accounts:\n  - name: acme\n" SOURCE "    desk: {platform: intercom, token: t, rate: 150}\n",
     "t.yaml:4: accounts.desk.rate: \"150\" is no rate; write a whole number and /s or /min, as in 150/s"},
    {"accounts:\n" ACCOUNT ACCOUNT,
     "t.yaml:5: accounts.name: \"acme\" is the account in line 2 already; names are unique"},
    {"accounts:\n  - name: acme\n    sources: [{name: a, platform: telegram, token: \"12345:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]\n" DESK
     "  - sources: [{name: b, platform: telegram, token: \"12345:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\"}]\n" DESK
     "    name: other\n",
     "t.yaml:5: accounts.sources: is the same bot or number as source acme/a in line 3; one may appear in one source only"},
    // ${NAME}
    {"public_url: ${NOT_SET_ANYWHERE}\n",
     "t.yaml:1: public_url: needs ${NOT_SET_ANYWHERE}, which is not set; write it into tributary.env beside "
     "this file, or set it in the environment"},
    {"public_url: ${EMPTY_ONE}\n",
     "t.yaml:1: public_url: needs ${EMPTY_ONE}, which is empty; write it into tributary.env beside this file, or "
     "set it in the environment"},
    {"public_url: ${1X}\n",
     "t.yaml:1: public_url: has a ${...} that names no variable; write ${NAME} with letters, digits and _"},
    {"public_url: a${OPEN\n", "t.yaml:1: public_url: has a ${ without }; write ${NAME}, or $${ for a plain ${"},
    {"public_url: ${A_SECRET}\n",
     "t.yaml:1: public_url: \"${A_SECRET}\" is no URL; write it as in https://relay.example.com"},
    {"listen: \"127.0.0.1:1\\n\"\n", "t.yaml:1: listen: \"127.0.0.1:1?\" holds a control character"},
    // several at once
    {"listen: x\ndelivery:\n  window: x\n  timeout: x\n",
     "t.yaml:1: listen: \"x\" is no address; write a host and a port as in 127.0.0.1:8080 or [::1]:8080, or unix: and a path\n"
     "t.yaml:3: delivery.window: \"x\" is no number; write one from 1 to 1000, without quotes or unit\n"
     "t.yaml:4: delivery.timeout: \"x\" is no duration; write a whole number and ms, s, m, h or d, as in 500ms or 30s"},
};

static void test_each_mistake_is_answered_with_what_is_right(void **state)
{
    (void)state;
    setenv("EMPTY_ONE", "", 1);
    setenv("A_SECRET", "canary", 1);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        assert_string_equal(errors_of(refusals[i].text, strlen(refusals[i].text)), refusals[i].errors);
}

static void test_ten_mistakes_are_enough(void **state)
{
    (void)state;
    char text[1024] = "";
    for (int i = 0; i < 15; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "zzzzzzzz%d: 1\n", i);
    const char *said = errors_of(text, strlen(text));
    int lines = 1;
    for (const char *c = said; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 11);
    assert_non_null(strstr(said, "t.yaml:10: zzzzzzzz9: "));
    assert_non_null(strstr(said, "\nt.yaml: these are ten mistakes; the rest of it was not read"));
}

static void test_what_is_no_text_is_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(errors_of("listen: \0x\n", 11), "t.yaml"));
    assert_non_null(strstr(errors_of("\x7f"
                                     "ELF\x02\x01\x01\0\0",
                                     9),
                           "t.yaml: is no text (byte 0: "));
    assert_non_null(strstr(errors_of("listen: \xff\xfe\n", 11), "t.yaml: is no text (byte 8: "));
    char deep[4096];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "zzz: ", 5);
    assert_non_null(strstr(errors_of(deep, sizeof deep), "is nested too deep"));
    char *long_one = malloc(1 << 20);
    memset(long_one, 'a', 1 << 20);
    memcpy(long_one, "listen: ", 8);
    assert_non_null(strstr(errors_of(long_one, 1 << 20), "t.yaml:1: listen: \"aaa"));
    assert_non_null(strstr(errors_of(long_one, 1 << 20), "...\" is longer than 4096 bytes"));
    free(long_one);
}

static const char *errors_of_path(const char *path)
{
    static char said[CONFIG_ERRORS_MAX];
    struct buf errors;
    struct config *config = NULL;
    buf_init(&errors, CONFIG_ERRORS_MAX);
    assert_int_equal(config_load(path, &config, &errors), ERR_INVALID);
    snprintf(said, sizeof said, "%.*s", STR_ARG(buf_str(&errors)));
    buf_done(&errors);
    return said;
}

static void test_what_is_no_plain_file_is_refused(void **state)
{
    (void)state;
    assert_string_equal(errors_of_path("absent.yaml"), "absent.yaml: is not there");
    assert_int_equal(mkdir("dir.yaml", 0700), 0);
    assert_string_equal(errors_of_path("dir.yaml"), "dir.yaml: is a directory; name a file");
    assert_int_equal(mkfifo("fifo.yaml", 0600), 0);
    assert_string_equal(errors_of_path("fifo.yaml"),
                        "fifo.yaml: is no regular file (a pipe, socket or device); name a file");
    assert_string_equal(errors_of_path("/dev/zero"),
                        "/dev/zero: is no regular file (a pipe, socket or device); name a file");
    write_file("open.yaml", "accounts: []\n", 13, 0666);
    assert_string_equal(errors_of_path("open.yaml"),
                        "open.yaml: has mode 0666: others could change it; run chmod o-w on it");
    write_file("huge.yaml", "", 0, 0600);
    assert_int_equal(truncate("huge.yaml", (off_t)1 << 30), 0);
    assert_string_equal(errors_of_path("huge.yaml"), "huge.yaml: is larger than 512 MiB");
}

// What another process does to the file while it is read: after the first bytes of it came.
static void (*meanwhile)(void);

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size)
{
    ssize_t n = __real_read(fd, to, size);
    void (*now)(void) = meanwhile;
    meanwhile = NULL;
    if (now)
        now();
    return n;
}

static void grow(void)
{
    FILE *file = fopen("changing.yaml", "a");
    assert_non_null(file);
    fputs("listen: 127.0.0.1:1\n", file);
    fclose(file);
}

static void shrink(void)
{
    assert_int_equal(truncate("changing.yaml", 0), 0);
}

static void replace(void)
{
    write_file("other.yaml", "nonsense: 1\n", 12, 0600);
    assert_int_equal(rename("other.yaml", "changing.yaml"), 0);
}

static void test_item_53_file_that_changes_while_it_is_read(void **state)
{
    (void)state;
    void (*const changes[])(void) = {grow, shrink};
    for (size_t i = 0; i < 2; i++) {
        write_file("changing.yaml", "accounts: []\n", 13, 0600);
        meanwhile = changes[i];
        assert_non_null(strstr(errors_of_path("changing.yaml"), "was changed while it was read"));
    }
    // A new file under the name is the next reading's.
    struct buf errors;
    struct config *config = NULL;
    buf_init(&errors, CONFIG_ERRORS_MAX);
    write_file("changing.yaml", "accounts: []\n", 13, 0600);
    meanwhile = replace;
    assert_int_equal(config_load("changing.yaml", &config, &errors), ERR_OK);
    config_free(config);
    assert_non_null(strstr(errors_of_path("changing.yaml"), "nonsense"));
}

static void test_a_link_to_the_file_is_read(void **state)
{
    (void)state;
    write_file("real.yaml", "accounts: []\n", 13, 0644);
    assert_int_equal(symlink("real.yaml", "link.yaml"), 0);
    struct buf errors;
    struct config *config = NULL;
    buf_init(&errors, CONFIG_ERRORS_MAX);
    assert_int_equal(config_load("link.yaml", &config, &errors), ERR_OK);
    config_free(config);
}

static void with_env(const char *text, mode_t mode, const char *errors)
{
    write_file("tributary.env", text, strlen(text), mode);
    assert_string_equal(errors_of("public_url: ${URL_ONE}\n", 23), errors);
    write_file("tributary.env", "", 0, 0600);
}

static void test_tributary_env(void **state)
{
    (void)state;
    with_env("URL_ONE=https://a.example\n", 0600, "");
    with_env("# a comment\n\n  URL_ONE=\"https://a.example\"  \r\n", 0400, "");
    with_env("URL_ONE='https://a.example'", 0600, "");
    with_env("URL_ONE=https://a.example\n", 0640,
             "tributary.env: has mode 0640: others could read or change it; run chmod 600 on it");
    with_env("URL_ONE=1\nURL_TWO=2\nURL_ONE=3\n", 0600,
             "tributary.env:3: URL_ONE stands in line 1 already; keep one of them");
    with_env("URL_TWO=1\nexport URL_ONE=2\n", 0600,
             "tributary.env:2: is no NAME=value line; a name has letters, digits and _ and no space around the =");
    with_env("nonsense\n", 0600,
             "tributary.env:1: is no NAME=value line; a name has letters, digits and _ and no space around the =");
    with_env("URL_ONE=\xff\n", 0600, "tributary.env:1: holds bytes that are no text");
}

static void test_values_are_put_in_place_of_names(void **state)
{
    (void)state;
    setenv("HOST_ONE", "environment.example", 1);
    struct config *config = load_good("public_url: \"https://${HOST_ONE}/x\"\nadmin: {token: 'a$b$${c}d'}\n");
    assert_text(config->public_url, "https://environment.example/x");
    assert_text(config->admin_token, "a$b${c}d");
    config_free(config);
    write_file("tributary.env", "HOST_ONE=file.example\n", 22, 0600);
    config = load_good("public_url: https://${HOST_ONE}/${HOST_ONE}\n");
    assert_text(config->public_url, "https://file.example/file.example");
    config_free(config);
    write_file("tributary.env", "HOST_ONE=other.example\n", 23, 0600);
    config = load_good("public_url: https://${HOST_ONE}\n");
    assert_text(config->public_url, "https://other.example");
    config_free(config);
    write_file("tributary.env", "", 0, 0600);
}

// file_text of the one account of this file. Overwritten by the call after the next.
static const char *text_of_account(const char *file)
{
    static char texts[2][100];
    static int turn;
    turn = !turn;
    struct config *config = load_good(file);
    struct account *account = config_account(config, 0);
    snprintf(texts[turn], sizeof texts[turn], "%.*s", STR_ARG(account->file_text));
    account_unref(account);
    config_free(config);
    return texts[turn];
}

#define SAID_ACTIVE "accounts:\n  - name: acme\n    active: true\n" SOURCE DESK
#define JOINED(by) "accounts:\n  - name: acme\n    identity: " by "\n" SOURCE DESK
#define OTHER_ORDER "accounts:\n  - name: acme\n    order: conversation\n" SOURCE DESK

static void test_the_text_of_an_account_follows_what_the_file_says(void **state)
{
    (void)state;
    assert_string_equal(text_of_account(ACCOUNTS), text_of_account("# a line more\nlisten: 127.0.0.1:1\n" ACCOUNTS));
    assert_string_not_equal(text_of_account(ACCOUNTS), text_of_account(SAID_ACTIVE));
    assert_string_not_equal(text_of_account(ACCOUNTS), text_of_account(OTHER_ORDER));
    assert_string_equal(text_of_account(ACCOUNTS), text_of_account(JOINED("none")));
    assert_string_not_equal(text_of_account(ACCOUNTS), text_of_account(JOINED("phone")));
    assert_string_not_equal(text_of_account(JOINED("email")), text_of_account(JOINED("phone")));
    assert_non_null(strstr(text_of_account(ACCOUNTS), "active=unsaid"));
    assert_non_null(strstr(text_of_account(SAID_ACTIVE), "active=true"));
}

static void test_warnings(void **state)
{
    (void)state;
    struct config *config = load_good(
        "accounts:\n  - name: acme\n    on_failure: hold\n    sources: [{name: a, platform: telegram, token: \"12345:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\", "
        "mode: webhook}]\n" DESK);
    assert_text(
        config->warnings,
        "t.yaml:3: accounts.on_failure: hold with order: account lets one refused message stop all messages of the account until a "
        "person acts; order: conversation stops that conversation only\n"
        "t.yaml:4: accounts.sources.mode: webhook needs public_url to register itself; write public_url, or mode: polling");
    config_free(config);
    write_file("t.yaml", ACCOUNTS, strlen(ACCOUNTS), 0644);
    struct buf errors;
    buf_init(&errors, CONFIG_ERRORS_MAX);
    assert_int_equal(config_load("t.yaml", &config, &errors), ERR_OK);
    assert_text(config->warnings, "");
    assert_true(config->secrets_in_view);
    config_free(config);
}

static const char *socket_of(const char *text)
{
    static struct arena arena;
    struct str path = STR_NONE;
    struct buf errors;
    arena_done(&arena);
    write_file("t.yaml", text, strlen(text), 0600);
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = config_load_socket("t.yaml", &arena, &path, &errors);
    const char *said = arena_str(&arena, err ? buf_str(&errors) : path).p;
    buf_done(&errors);
    return said;
}

static void test_the_command_line_finds_the_socket_in_a_file_with_mistakes(void **state)
{
    (void)state;
    assert_string_equal(socket_of("accounts: []\n"), "./admin.sock");
    assert_string_equal(socket_of("nonsense: [1, {2: 3}]\nstore: sqlite:/a/b.db\n"), "/a/admin.sock");
    assert_string_equal(
        socket_of("accounts: ${NOT_SET_ANYWHERE}\nadmin: {token: \"${NOT_SET_ANYWHERE}\", socket: /s}\n"), "/s");
    assert_string_equal(socket_of("admin: {socket: /s}\nlisten: [\n"), "/s");
    assert_string_equal(
        socket_of("admin: {socket: \"${NOT_SET_ANYWHERE}\"}\n"),
        "t.yaml:1: admin.socket: needs ${NOT_SET_ANYWHERE}, which is not set; write it into tributary.env beside this file, or set "
        "it in the environment");
    write_file("tributary.env", "X=1\n", 4, 0644);
    assert_string_equal(socket_of("admin: {token: '${X}', socket: /s}\n"), "/s");
    write_file("tributary.env", "", 0, 0600);
}

static void test_a_hundred_thousand_accounts(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, CONFIG_ERRORS_MAX * 1024);
    buf_add_str(&text, STR("accounts:\n"));
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, "  - name: account-%d\n" SOURCE DESK, i);
    struct config *config = load_good(text.p);
    assert_int_equal(config->account_count, 100000);
    assert_int_equal(config->source_count, 100000);
    struct account *last = config_account(config, 99999);
    assert_text(last->name, "account-99999");
    account_unref(last);
    assert_true(config_has_account(config, STR("account-50000")));
    assert_false(config_has_account(config, STR("account-100000")));
    config_drop_accounts(config);
    assert_int_equal(config->account_count, 0);
    assert_false(config_has_account(config, STR("account-50000")));
    config_free(config);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_those_of_the_interface),
        cmocka_unit_test(test_defaults_hold_in_sections_that_say_a_part),
        cmocka_unit_test(test_all_keys_are_read),
        cmocka_unit_test(test_bounds_may_be_none),
        cmocka_unit_test(test_each_mistake_is_answered_with_what_is_right),
        cmocka_unit_test(test_ten_mistakes_are_enough),
        cmocka_unit_test(test_what_is_no_text_is_refused),
        cmocka_unit_test(test_what_is_no_plain_file_is_refused),
        cmocka_unit_test(test_item_53_file_that_changes_while_it_is_read),
        cmocka_unit_test(test_a_link_to_the_file_is_read),
        cmocka_unit_test(test_tributary_env),
        cmocka_unit_test(test_values_are_put_in_place_of_names),
        cmocka_unit_test(test_the_text_of_an_account_follows_what_the_file_says),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_the_command_line_finds_the_socket_in_a_file_with_mistakes),
        cmocka_unit_test(test_a_hundred_thousand_accounts),
    };
    return cmocka_run_group_tests(tests, to_directory, NULL);
}
