// Parts of a conversation at the desk as replies: what is said, what goes as a file, what was changed or taken back. Which of them are
// new is test_replies'.
#include "support/unit.h"

#include <string.h>

#include "base/buf.h"
#include "model/attachment.h"
#include "platform/html_text.h"
#include "relay/reply_parts.h"

#define NOW_S 1700000000
#define SECOND INT64_C(1000000)
#define PNG "{\"kind\":\"image\",\"url\":\"https://a/x?1&2\",\"name\":\"x.png\",\"state\":\"wanted\"}"
#define PDF "{\"kind\":\"file\",\"url\":\"https://a/y.pdf\",\"name\":\"y.pdf\",\"state\":\"wanted\"}"
#define ELSEWHERE "{\"kind\":\"file\",\"url\":\"https://a/z\",\"name\":\"z\"}"

static struct arena arena;
static struct reply_batch batch;
static struct account account;
static struct store_thread thread;
static struct platform platform;
static struct desk_part part;

// A message for each line; in its format the last link of all.
static void compose(struct str html, struct arena *room, struct reply_text **out_texts, size_t *out_count)
{
    struct html_text plain;
    html_text_read(html, room, &plain);
    *out_texts = arena_alloc(room, (plain.text.n + 1) * sizeof **out_texts);
    *out_count = 0;
    struct str link = STR_NONE;
    for (size_t i = 0; i < plain.span_count; i++)
        link = plain.spans[i].style == TEXT_LINK ? plain.spans[i].url : link;
    for (size_t at = 0; at < plain.text.n;) {
        size_t end = str_index(plain.text, '\n', at);
        if (end > at)
            (*out_texts)[(*out_count)++] = (struct reply_text){str_sub(plain.text, at, end), link};
        at = end + 1;
    }
}

static int begin(void **state)
{
    (void)state;
    account = (struct account){.id = 3};
    thread = (struct store_thread){.conversation_id = 7, .source_id = 5, .thread = STR("12"), .taken_s = NOW_S - 1000};
    platform = (struct platform){.compose = compose, .takes_files = true, .takes_acts = true};
    part = (struct desk_part){
        .id = STR("9"), .created_s = NOW_S - 5, .updated_s = NOW_S - 5, .author_name = STR("Bea"), .html = STR("Hi")};
    return 0;
}

static int finish(void **state)
{
    (void)state;
    reply_batch_done(&batch);
    arena_done(&arena);
    return 0;
}

static void make(void)
{
    struct reply_taking taking = {.account = &account,
                                  .platform = &platform,
                                  .thread = &thread,
                                  .now_us = NOW_S * SECOND,
                                  .keep_dedupe_us = 30 * 86400 * SECOND,
                                  .media_wait_us = 15 * SECOND};
    struct bot_guard guard = {0};
    reply_batch_done(&batch);
    reply_batch_make(&batch, &taking, &part, 1, &guard);
}

static const struct event *event_of(const char *key)
{
    for (size_t i = 0; i < batch.count; i++)
        if (str_eq_c(batch.accepts[i].event.dedupe_key, key))
            return &batch.accepts[i].event;
    return NULL;
}

// Key and text of each: "part:9=Hi|part:9#f1=".
static const char *made(void)
{
    struct str all = STR("");
    for (size_t i = 0; i < batch.count; i++) {
        const struct event *event = &batch.accepts[i].event;
        all = arena_printf(&arena, "%.*s%s%.*s=%.*s", STR_ARG(all), i ? "|" : "", STR_ARG(event->dedupe_key),
                           STR_ARG(event->text));
    }
    return all.p;
}

static void test_files_go_behind_the_words_each_as_a_message(void **state)
{
    (void)state;
    part.html = STR("<p>one</p><p>two</p>");
    part.attachments = STR("[" PNG "," PDF "]");
    make();
    assert_string_equal(made(), "part:9=one|part:9#2=two|part:9#f1=|part:9#f2=");
    for (size_t i = 0; i < batch.count; i++) {
        const struct store_accept *accept = &batch.accepts[i];
        assert_int_equal(accept->direction, REPLY);
        assert_int_equal(accept->conversation_id, 7);
        assert_int_equal(accept->event.act, REPLY_SAYS);
        assert_int_equal(accept->event.digest, 0); // what older versions stored is the same
        assert_int_equal(accept->wait_until_us, i < 2 ? 0 : (NOW_S + 15) * SECOND);
    }
    assert_str(event_of("part:9#f1")->attachments,
               "[{\"kind\":\"image\",\"url\":\"https://a/x?1&2\",\"name\":\"x.png\",\"mime\":null,\"size\":null,"
               "\"state\":\"wanted\"}]");
    assert_true(str_starts(event_of("part:9#f2")->attachments, STR("[{\"kind\":\"file\",\"url\":\"https://a/y.pdf\"")));
    assert_null(event_of("part:9")->attachments.p);
    // What is not fetched stays a link.
    part.html = STR("");
    part.attachments = STR("[" ELSEWHERE "," PNG "]");
    make();
    assert_string_equal(made(), "part:9=z|part:9#f1=");
    assert_str(event_of("part:9")->format, "https://a/z");
}

static void expect_words(const char *html, const char *expected)
{
    part.html = str_of(html);
    make();
    assert_string_equal(made(), expected);
}

static void test_images_in_the_text_that_go_as_files_leave_it(void **state)
{
    (void)state;
    part.attachments = STR("[" PNG "]");
    expect_words("<p>See</p><div><img src=\"https://a/x?1&amp;2\"></div>", "part:9=See|part:9#f1=");
    expect_words("<img alt='>' src='https://a/x?1&2'/>", "part:9#f1=");
    expect_words("so<IMG SRC=\"https://a/x?1&2\">it is", "part:9=so it is|part:9#f1=");
    // Not that image, no image, no end.
    expect_words("a <img src=\"https://a/other\">", "part:9=a|part:9#2=https://a/other|part:9#f1=");
    expect_words("<imgs>b</imgs>", "part:9=b|part:9#f1=");
    expect_words("c <img src=\"https://a/x?1&2", "part:9=c|part:9#f1=");
}

static void test_files_of_a_platform_that_takes_none_are_links(void **state)
{
    (void)state;
    platform.takes_files = false;
    part.html = STR("See <img src=\"https://a/x?1&amp;2\">");
    part.attachments = STR("[" PNG "," PDF "]");
    make();
    assert_string_equal(made(), "part:9=See|part:9#2=https://a/x?1&2|part:9#3=y.pdf");
    assert_str(event_of("part:9#3")->format, "https://a/y.pdf");
}

static void test_a_part_that_was_taken_back_takes_back_what_was_sent_of_it(void **state)
{
    (void)state;
    part.redacted = true;
    part.html = STR("");
    make();
    assert_int_equal(batch.count, 20 + FILES_MAX);
    static const char *const targets[] = {"part:9", "part:9#2", "part:9#20", "part:9#f1", "part:9#f32"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const struct event *event = event_of(arena_printf(&arena, "%s~gone", targets[i]).p);
        assert_non_null(event);
        assert_int_equal(event->act, REPLY_DELETES);
        assert_str(event->target_key, targets[i]);
    }
    assert_int_equal(batch.taken_s, NOW_S - 5);
    // Also when it was taken long before, but not too long.
    thread.taken_s = NOW_S;
    part.created_s = NOW_S - 48 * 3600;
    make();
    assert_int_equal(batch.count, 20 + FILES_MAX);
    part.created_s--;
    make();
    assert_int_equal(batch.count, 0);
    part.created_s = NOW_S - 5;
    platform.takes_acts = false;
    make();
    assert_int_equal(batch.count, 0);
}

static void test_a_part_that_was_changed_changes_what_was_sent_of_it(void **state)
{
    (void)state;
    thread.taken_s = NOW_S;
    part.created_s = part.updated_s = NOW_S - 3600;
    part.html = STR("<p>one</p><p>two</p>");
    make();
    assert_int_equal(batch.count, 0); // nothing was
    part.updated_s = NOW_S - 60;
    make();
    assert_int_equal(batch.count, 20);
    const struct event *first = &batch.accepts[0].event, *third = &batch.accepts[2].event;
    assert_int_equal(first->act, REPLY_EDITS);
    assert_str(first->target_key, "part:9");
    assert_str(first->text, "one");
    assert_int_equal(first->digest, 0);
    assert_true(str_starts(first->dedupe_key, STR("part:9~1699999940-")));
    assert_int_equal(first->sent_at_us, (NOW_S - 60) * SECOND);
    assert_str(batch.accepts[1].event.target_key, "part:9#2");
    // There may have been less of it: then it is said behind what there was.
    assert_str(batch.accepts[1].event.behind_key, "part:9");
    assert_str(first->behind_key, "part:9#f1");
    // There may have been more of it.
    assert_int_equal(third->act, REPLY_DELETES);
    assert_str(third->target_key, "part:9#3");
    // Read again it is the same; changed once more within the second it is not.
    struct str key = arena_str(&arena, first->dedupe_key);
    make();
    assert_true(str_eq(batch.accepts[0].event.dedupe_key, key));
    part.html = STR("<p>other</p>");
    make();
    assert_false(str_eq(batch.accepts[0].event.dedupe_key, key));
    platform.takes_acts = false;
    make();
    assert_int_equal(batch.count, 0);
}

static void test_a_new_part_is_said_as_it_is_now(void **state)
{
    (void)state;
    part.updated_s = NOW_S - 1;
    make();
    assert_string_equal(made(), "part:9=Hi");
    // Just behind what was taken it may be known or not: it is said, and changed if it was said otherwise.
    thread.taken_s = NOW_S;
    make();
    assert_int_equal(batch.count, 1 + 20);
    assert_str(batch.accepts[0].event.dedupe_key, "part:9");
    assert_int_equal(batch.accepts[0].event.act, REPLY_SAYS);
    assert_int_equal(batch.accepts[1].event.act, REPLY_EDITS);
}

static void test_acts_of_bots_are_for_the_customer_when_their_words_are(void **state)
{
    (void)state;
    part.by_bot = part.redacted = true;
    make();
    assert_int_equal(batch.count, 0);
    account.replies = REPLIES_AGENTS_AND_BOTS;
    make();
    assert_int_equal(batch.count, 20 + FILES_MAX);
    assert_int_equal(batch.guard.count, 0); // it says nothing
}

#define PARTS_TEST(test) cmocka_unit_test_setup_teardown(test, begin, finish)

static void compose_nothing(struct str html, struct arena *room, struct reply_text **out_texts, size_t *out_count)
{
    (void)html, (void)room;
    *out_texts = NULL;
    *out_count = 0;
}

// Else who writes at the desk could hold up everybody's messages: what is looked for from each "<" to the end takes a quarter of an
// hour, and the runner ends what hangs.
static void test_images_without_an_end_take_no_time(void **state)
{
    static const char *const pieces[] = {"<img ", "<img \"", "<img src='", "<img>"};
    (void)state;
    part.attachments = STR("[" PNG "]");
    platform.compose = compose_nothing;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct buf html;
        buf_init(&html, SIZE_MAX / 2);
        while (html.n < 3000000)
            buf_add_str(&html, str_of(pieces[i]));
        buf_must(&html);
        part.html = buf_str(&html);
        make();
        assert_non_null(event_of("part:9#f1"));
        buf_done(&html);
    }
    // It is read as browsers do: what has no end is all in it.
    platform.compose = compose;
    part.html = STR("<p>Hi</p><img src=\"https://a/x?1&amp;2\" alt='<p>no");
    make();
    assert_string_equal(made(), "part:9=Hi|part:9#f1=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PARTS_TEST(test_files_go_behind_the_words_each_as_a_message),
        PARTS_TEST(test_images_in_the_text_that_go_as_files_leave_it),
        PARTS_TEST(test_images_without_an_end_take_no_time),
        PARTS_TEST(test_files_of_a_platform_that_takes_none_are_links),
        PARTS_TEST(test_a_part_that_was_taken_back_takes_back_what_was_sent_of_it),
        PARTS_TEST(test_a_part_that_was_changed_changes_what_was_sent_of_it),
        PARTS_TEST(test_a_new_part_is_said_as_it_is_now),
        PARTS_TEST(test_acts_of_bots_are_for_the_customer_when_their_words_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
