// The ring of news: what a listener reads, misses, and is woken for.
#include "relay/news.h"
#include "support/unit.h"

#include <pthread.h>
#include <string.h>

enum { RING = 4096, TELLERS = 4, EACH = 20000 };

static atomic_int wakes;

static void on_wake(void *arg)
{
    (void)arg;
    atomic_fetch_add(&wakes, 1);
}

static void tell(struct news *news, int64_t message_id)
{
    news_tell(news, &(struct news_item){.kind = NEWS_MESSAGE_ACCEPTED, .message_id = message_id});
}

static void test_nothing_is_made_while_nobody_listens(void **state)
{
    (void)state;
    struct news *news = news_new();
    struct news_item item;
    uint64_t missed = 0;
    assert_false(news_wanted(NULL));
    assert_false(news_wanted(news));
    tell(news, 1);
    uint64_t at = news_listen(news, on_wake, NULL);
    assert_true(news_wanted(news));
    assert_false(news_read(news, &at, &missed, &item));
    assert_int_equal(missed, 0);
    news_unlisten(news);
    assert_false(news_wanted(news));
    news_free(news);
}

static void test_a_listener_reads_in_order_and_is_woken_once(void **state)
{
    (void)state;
    struct news *news = news_new();
    struct news_item item;
    uint64_t missed = 0, at = news_listen(news, on_wake, NULL);
    atomic_store(&wakes, 0);
    for (int64_t i = 1; i <= 3; i++)
        tell(news, i);
    assert_int_equal(atomic_load(&wakes), 1);
    uint64_t before = at;
    for (int64_t i = 1; i <= 3; i++) {
        assert_true(news_read(news, &at, &missed, &item));
        assert_int_equal(item.message_id, i);
        assert_int_equal(item.number, before + (uint64_t)i);
        assert_true(item.at_us > 0);
    }
    tell(news, 4); // nobody sleeps yet
    assert_int_equal(atomic_load(&wakes), 1);
    assert_true(news_read(news, &at, &missed, &item));
    assert_false(news_read(news, &at, &missed, &item));
    tell(news, 5);
    assert_int_equal(atomic_load(&wakes), 2);
    assert_int_equal(missed, 0);
    news_unlisten(news);
    news_free(news);
}

static void test_who_is_slow_misses_the_oldest_and_learns_how_many(void **state)
{
    (void)state;
    struct news *news = news_new();
    struct news_item item;
    uint64_t missed = 0, at = news_listen(news, on_wake, NULL);
    for (int64_t i = 1; i <= RING + 10; i++)
        tell(news, i);
    assert_true(news_read(news, &at, &missed, &item));
    assert_int_equal(missed, 10);
    assert_int_equal(item.message_id, 11);
    for (int64_t i = 12; i <= RING + 10; i++) {
        assert_true(news_read(news, &at, &missed, &item));
        assert_int_equal(item.message_id, i);
    }
    assert_false(news_read(news, &at, &missed, &item));
    assert_int_equal(missed, 10);
    news_unlisten(news);
    news_free(news);
}

static void test_who_comes_back_goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct news *news = news_new();
    struct news_item item;
    uint64_t missed = 0, first = news_listen(news, on_wake, NULL);
    news_listen(news, on_wake, NULL);
    tell(news, 1);
    assert_true(news_read(news, &first, &missed, &item));
    uint64_t seen = first;
    news_unlisten(news);
    tell(news, 2); // the other one still listens
    assert_true(news_knows(news, seen));
    assert_false(news_knows(news, seen + 2)); // from the future
    assert_false(news_knows(news, 17));
    for (int64_t i = 0; i < RING; i++)
        tell(news, i);
    assert_false(news_knows(news, seen));
    news_unlisten(news);
    assert_false(news_knows(news, seen + 1));
    news_listen(news, on_wake, NULL);
    assert_false(news_knows(news, seen + 1)); // nobody knows what was in between
    news_unlisten(news);
    news_free(news);
}

static void test_texts_are_cut_between_characters(void **state)
{
    (void)state;
    char out[6];
    news_set(out, sizeof out, STR("abcd\xc3\xa4"));
    assert_string_equal(out, "abcd");
    news_set(out, sizeof out, STR("abc\xc3\xa4"));
    assert_string_equal(out, "abc\xc3\xa4");
    news_set(out, sizeof out, STR_NONE);
    assert_string_equal(out, "");
}

static void test_each_kind_has_a_name_of_its_own(void **state)
{
    (void)state;
    enum news_kind kind;
    for (int i = 0; i < NEWS_KINDS; i++) {
        assert_true(news_kind_of(str_of(news_kind_name((enum news_kind)i)), &kind));
        assert_int_equal(kind, i);
    }
    assert_false(news_kind_of(STR("message"), &kind));
    assert_false(news_kind_of(STR(""), &kind));
}

static void *tell_many(void *arg)
{
    for (int64_t i = 1; i <= EACH; i++)
        tell(arg, i);
    return NULL;
}

static void test_many_threads_tell_and_every_item_is_read_or_counted(void **state)
{
    (void)state;
    struct news *news = news_new();
    struct news_item item;
    pthread_t threads[TELLERS];
    uint64_t missed = 0, read = 0, at = news_listen(news, on_wake, NULL);
    for (int i = 0; i < TELLERS; i++)
        pthread_create(&threads[i], NULL, tell_many, news);
    uint64_t last = at;
    while (read + missed < TELLERS * EACH) {
        if (!news_read(news, &at, &missed, &item))
            continue;
        read++;
        assert_true(item.number > last);
        last = item.number;
    }
    for (int i = 0; i < TELLERS; i++)
        pthread_join(threads[i], NULL);
    assert_false(news_read(news, &at, &missed, &item));
    assert_int_equal(read + missed, TELLERS * EACH);
    news_unlisten(news);
    news_free(news);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_made_while_nobody_listens),
        cmocka_unit_test(test_a_listener_reads_in_order_and_is_woken_once),
        cmocka_unit_test(test_who_is_slow_misses_the_oldest_and_learns_how_many),
        cmocka_unit_test(test_who_comes_back_goes_on_where_it_stopped),
        cmocka_unit_test(test_texts_are_cut_between_characters),
        cmocka_unit_test(test_each_kind_has_a_name_of_its_own),
        cmocka_unit_test(test_many_threads_tell_and_every_item_is_read_or_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
