// An account in a small block comes out as it went in: every field, absent texts and empty ones.
#include "model/account_pack.h"
#include "support/unit.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The second one was unpacked.
static void assert_same(struct str a, struct str b)
{
    assert_int_equal(a.p == NULL, b.p == NULL);
    assert_true(str_eq(a, b));
    if (b.p)
        assert_int_equal(b.p[b.n], 0);
}

static void assert_same_sources(const struct source *a, const struct source *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(a[i].id, b[i].id);
        assert_int_equal(a[i].account_id, b[i].account_id);
        assert_int_equal(a[i].mode, b[i].mode);
        assert_int_equal(a[i].take_over, b[i].take_over);
        assert_same(a[i].account, b[i].account);
        assert_same(a[i].name, b[i].name);
        assert_same(a[i].platform, b[i].platform);
        assert_same(a[i].token, b[i].token);
        assert_same(a[i].secret, b[i].secret);
        assert_same(a[i].api_url, b[i].api_url);
        assert_same(a[i].made_secret, b[i].made_secret);
        assert_same(a[i].registered_url, b[i].registered_url);
    }
}

static void assert_same_desk(const struct desk *a, const struct desk *b)
{
    assert_same(a->platform, b->platform);
    assert_same(a->token, b->token);
    assert_same(a->client_secret, b->client_secret);
    assert_same(a->api_url, b->api_url);
    assert_same(a->url, b->url);
    assert_same(a->secret, b->secret);
    assert_int_equal(a->probe, b->probe);
    assert_int_equal(a->rate_per_min, b->rate_per_min);
}

static void assert_same_account(const struct account *a, const struct account *b)
{
    assert_int_equal(a->id, b->id);
    assert_same(a->name, b->name);
    assert_int_equal(a->active, b->active);
    assert_int_equal(a->order, b->order);
    assert_int_equal(a->order_barrier, b->order_barrier);
    assert_int_equal(a->on_failure, b->on_failure);
    assert_int_equal(a->in_doubt, b->in_doubt);
    assert_int_equal(a->replies, b->replies);
    assert_int_equal(a->identity, b->identity);
    assert_int_equal(a->damaged, b->damaged);
    assert_int_equal(a->left_file, b->left_file);
    assert_same(a->defined_at, b->defined_at);
    assert_same(a->file_text, b->file_text);
    assert_same_desk(&a->desk, &b->desk);
    assert_int_equal(a->source_count, b->source_count);
    assert_int_equal(a->former_count, b->former_count);
    assert_same_sources(a->sources, b->sources, a->source_count);
    assert_same_sources(a->former, b->former, a->former_count);
}

static void check(const struct account *account, struct text_pool *pool)
{
    struct packed_account *packed = account_pack(account, pool);
    struct account *back = account_unpack(packed, pool);
    assert_true(str_eq(packed_account_name(packed), account->name));
    assert_int_equal(packed_account_id(packed), account->id);
    assert_int_equal(packed->mark, 0);
    free(packed); // the account has texts of its own
    assert_same_account(account, back);
    account_unref(back);
}

static struct source sources[] = {
    {.id = 1,
     .account_id = 300,
     .account = STR("acme"),
     .name = STR("a"),
     .platform = STR("telegram"),
     .token = STR("1:x")},
    {.id = INT64_MAX,
     .account_id = 300,
     .account = STR("acme"),
     .name = STR("b"),
     .platform = STR("webhook"),
     .token = STR(""),
     .secret = STR("none"),
     .mode = SOURCE_POLLING,
     .take_over = true,
     .api_url = STR("https://api.example"),
     .made_secret = STR("made"),
     .registered_url = STR("https://r.example/hooks/acme/b")},
    {.id = 128, .account = STR("acme"), .name = STR("c"), .mode = SOURCE_WEBHOOK},
};

static struct account *full(void)
{
    struct account *account = account_new();
    account->id = 300;
    account->name = STR("acme");
    account->active = true;
    account->order = ORDER_CONVERSATION;
    account->order_barrier = INT64_C(123456789012);
    account->on_failure = ON_FAILURE_HOLD;
    account->in_doubt = IN_DOUBT_HOLD;
    account->replies = REPLIES_AGENTS_AND_BOTS;
    account->identity = IDENTITY_EMAIL;
    account->damaged = true;
    account->left_file = true;
    account->defined_at = STR("/etc/tributary/tributary.yaml:12345");
    account->file_text = STR("active=true rest=0123456789abcdef");
    account->desk = (struct desk){.platform = STR("intercom"),
                                  .token = STR("token"),
                                  .client_secret = STR("client"),
                                  .api_url = STR("https://api.example"),
                                  .url = STR(""),
                                  .secret = STR("secret"),
                                  .probe = DESK_PROBE_NONE,
                                  .rate_per_min = 600};
    account->sources = sources;
    account->source_count = 2;
    account->former = sources + 2;
    account->former_count = 1;
    return account;
}

static void test_all_comes_out_as_it_went_in(void **state)
{
    (void)state;
    struct text_pool pool = {0};
    struct account *account = full();
    check(account, &pool);
    account->active = account->damaged = account->left_file = false;
    account->id = -1;
    account->order_barrier = INT64_MIN;
    account->defined_at = STR("a place without a line");
    check(account, &pool);
    account->defined_at = STR(":7");
    check(account, &pool);
    account->defined_at = account->file_text = STR_NONE;
    account->desk = (struct desk){0};
    account->source_count = account->former_count = 0;
    check(account, &pool);
    account_unref(account);
    text_pool_done(&pool);
}

static void test_long_texts_and_a_pool_that_is_full(void **state)
{
    (void)state;
    struct text_pool pool = {0};
    struct account *account = full();
    char text[70000];
    for (int i = 0; i < TEXT_POOL_TEXTS_MAX; i++) {
        snprintf(text, sizeof text, "text %d", i);
        assert_true(text_pool_number(&pool, str_of(text)));
    }
    memset(text, 'x', sizeof text);
    account->desk.secret = account->desk.api_url = (struct str){text, sizeof text};
    check(account, &pool);
    account_unref(account);
    text_pool_done(&pool);
}

static void test_what_many_share_is_kept_once(void **state)
{
    (void)state;
    struct text_pool pool = {0};
    struct account *account = full();
    struct packed_account *packed = account_pack(account, &pool);
    size_t size = malloc_usable_size(packed), texts = pool.count;
    free(packed);
    account->defined_at = STR("/etc/tributary/tributary.yaml:67890");
    free(account_pack(account, &pool));
    assert_int_equal(pool.count, texts);
    assert_int_equal(texts, 5); // three platforms, one address, one path
    assert_true(size < 220);    // of 260 bytes of texts and 3 sources
    account_unref(account);
    text_pool_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_comes_out_as_it_went_in),
        cmocka_unit_test(test_long_texts_and_a_pool_that_is_full),
        cmocka_unit_test(test_what_many_share_is_kept_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
