// What agents say at the desk on its way into the store: relay/replies.h, over the core on its bench. What becomes of the
// stored replies is test_dispatcher's.
#include "support/rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static struct rig rig;

static void with(struct rig_options options)
{
    options.desk = "intercom";
    options.reads_desk = true;
    options.source = options.source ? options.source : "telegram";
    rig_init(&rig, &options);
}

// The conversation of chat `chat` is the desk's `desk_conversation`; nothing waits.
static void link_chat(const char *chat, const char *contact, const char *desk_conversation)
{
    const struct account *account = rig_account(&rig, "acme");
    struct store_accept accept = {
        .account_id = account->id,
        .source_id = account->sources[0].id,
        .received_at_us = rig.clock.wall_us,
        .event = {.dedupe_key = str_of(chat), .conversation = str_of(chat), .text = STR("Hello"), .sent_at_us = 1},
    };
    struct store_change change = {.kind = STORE_ACCEPT, .accept = &accept};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    struct link known = {.contact = str_of(contact), .conversation = str_of(desk_conversation)};
    struct store_outcome outcome = {.message_id = accept.message_id,
                                    .state = MESSAGE_DELIVERED,
                                    .at_us = rig.clock.wall_us + 1,
                                    .conversation_id = accept.conversation_id,
                                    .link = &known};
    change = (struct store_change){.kind = STORE_OUTCOME, .outcome = &outcome};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    account_unref(account);
}

static int64_t now_s(void)
{
    return rig.clock.wall_us / 1000000;
}

static char body[65536];

// A conversation as Intercom shows it, with these parts (JSON, a list without its brackets).
static const char *conversation(const char *id, const char *contact, const char *parts)
{
    snprintf(body, sizeof body,
             "{\"type\":\"conversation\",\"id\":\"%s\",\"source\":{\"type\":\"conversation\",\"id\":\"1\",\"body\":"
             "\"<p>Hello</p>\",\"author\":{\"type\":\"user\",\"id\":\"%s\"}},\"contacts\":{\"type\":\"contact.list\","
             "\"contacts\":[{\"type\":\"contact\",\"id\":\"%s\"}]},\"conversation_parts\":{\"type\":"
             "\"conversation_part.list\",\"conversation_parts\":[%s],\"total_count\":1}}",
             id, contact, contact, parts);
    return body;
}

static char part_text[4][1024];

static const char *part_of(int slot, const char *author, int id, int64_t created_s, const char *html)
{
    snprintf(
        part_text[slot], sizeof part_text[slot],
        "{\"type\":\"conversation_part\",\"id\":\"%d\",\"part_type\":\"comment\",\"body\":\"%s\",\"created_at\":%lld,"
        "\"author\":{\"type\":\"%s\",\"id\":\"9\",\"name\":\"Bea\"},\"attachments\":[]}",
        id, html, (long long)created_s, author);
    return part_text[slot];
}

static const char *part(int id, int64_t created_s, const char *html)
{
    return part_of(0, "admin", id, created_s, html);
}

// The replies as the store has them, by their texts and files: "one|two|[a.png]".
static char said[4096];

static void note_files(const struct message *message)
{
    struct arena arena = {0};
    struct attachment *files;
    size_t count = attachments_read(message->attachments, &arena, &files);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(said);
        snprintf(said + n, sizeof said - n, "[%.*s]", STR_ARG(files[i].name));
    }
    arena_done(&arena);
}

static void note_reply(void *arg, const struct message *message)
{
    int *count = arg;
    size_t n = strlen(said);
    snprintf(said + n, sizeof said - n, "%s%.*s", ++*count > 1 ? "|" : "", STR_ARG(message->text));
    note_files(message);
}

static const char *replies(void)
{
    struct message_filter filter = {.by_direction = true, .direction = REPLY};
    int count = 0;
    *said = 0;
    assert_int_equal(rig.reader->ops->messages(rig.reader, &filter, 0, 1000, note_reply, &count), 0);
    return said;
}

static void count_news(void *arg, int64_t account_id, struct str desk_conversation)
{
    (void)account_id, (void)desk_conversation;
    ++*(int *)arg;
}

static int news_left(void)
{
    int count = 0;
    assert_int_equal(rig.store->ops->each_news(rig.store, count_news, &count), 0);
    return count;
}

static struct rig_call *fetch_of(const char *id)
{
    char text[64];
    snprintf(text, sizeof text, "/conversations/%s", id);
    return rig_open_with(&rig, text);
}

static struct rig_call *search(void)
{
    return rig_open_with(&rig, "/conversations/search");
}

// The desk is searched in vain.
static void answer_search(void)
{
    rig_answer(&rig, search(), 200,
               "{\"type\":\"conversation.list\",\"conversations\":[],\"pages\":{},\"total_count\":0}");
}

// Telegram takes what is sent to it.
static void let_telegram_take(void)
{
    for (struct rig_call *call; (call = rig_open_with(&rig, "sendMessage"));)
        rig_answer(&rig, call, 200, "{\"ok\":true,\"result\":{\"message_id\":5,\"date\":1,\"chat\":{\"id\":1}}}");
}

static void done(void)
{
    let_telegram_take();
    rig_done(&rig);
}

static void test_what_an_agent_said_becomes_replies_in_its_order(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    assert_int_equal(news_left(), 1);
    char both[2100];
    snprintf(both, sizeof both, "%s,%s", part_of(0, "admin", 2, now_s(), "<p>one</p>"),
             part_of(1, "admin", 3, now_s(), "<p>two</p>"));
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", both));
    assert_string_equal(replies(), "one|two");
    assert_int_equal(news_left(), 0);
    assert_null(fetch_of("77"));
    done();
}

static void test_files_are_replies_of_their_own_each_once(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    char with_files[2000];
    snprintf(
        with_files, sizeof with_files,
        "{\"type\":\"conversation_part\",\"id\":\"2\",\"part_type\":\"comment\",\"body\":\"<p>See</p><img "
        "src=\\\"https://files.test/a.png?x=1&amp;y=2\\\">\",\"created_at\":%lld,\"author\":{\"type\":\"admin\","
        "\"id\":\"9\",\"name\":\"Bea\"},\"attachments\":[{\"type\":\"upload\",\"name\":\"a.png\",\"url\":"
        "\"https://files.test/a.png?x=1&y=2\",\"content_type\":\"image/png\"},{\"type\":\"upload\",\"name\":\"<b>.pdf\","
        "\"url\":\"https://files.test/b.pdf\",\"content_type\":\"application/pdf\"}]}",
        (long long)now_s());
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", with_files));
    assert_string_equal(replies(), "See|[a.png]|[<b>.pdf]");
    done();
}

static void test_a_part_that_is_read_again_is_one_reply(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    for (int i = 0; i < 3; i++) {
        rig_news(&rig, "acme", "77");
        rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    }
    assert_string_equal(replies(), "one");
    done();
}

// Its row may have aged out: nobody would know any more that it was sent.
static void test_a_part_that_was_taken_long_ago_is_not_taken_again(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    int64_t then_s = now_s();
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, then_s, "<p>one</p>")));
    clock_manual_pass(&rig.clock, 40LL * 86400 * 1000000);
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(1002, then_s, "<p>one, as if unknown</p>")));
    assert_string_equal(replies(), "one");
    done();
}

// keep.dedupe may be shorter than a day.
static void test_a_part_that_the_store_may_have_forgotten_is_not_taken_again(void **state)
{
    (void)state;
    with((struct rig_options){.keep_dedupe_us = 3600 * INT64_C(1000000)});
    link_chat("5", "c5", "77");
    int64_t then_s = now_s();
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, then_s, "<p>one</p>")));
    clock_manual_pass(&rig.clock, 3550 * INT64_C(1000000));
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(1002, then_s, "<p>one, as if unknown</p>")));
    assert_string_equal(replies(), "one");
    done();
}

// Of a thread that is known, nothing counts but how far it was taken: neither a day's history nor only a day's is read.
static void test_a_known_thread_goes_on_where_it_was_taken_to(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(3, now_s() - 3600, "<p>of before</p>")));
    assert_string_equal(replies(), "one");
    int64_t then_s = now_s() + 10; // the relay is down for three days
    clock_manual_pass(&rig.clock, 3LL * 86400 * 1000000);
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(4, then_s, "<p>two</p>")));
    assert_string_equal(replies(), "one|two");
    done();
}

// An app may give a part any time that it likes.
static void test_a_part_of_the_far_future_hides_none_that_come_after_it(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    char both[2100];
    snprintf(both, sizeof both, "%s", part_of(0, "admin", 2, INT64_MAX / 2, "<p>one</p>"));
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", both));
    assert_string_equal(replies(), "one");
    clock_manual_pass(&rig.clock, 5 * 1000000);
    snprintf(both, sizeof both, "%s,%s", part_of(0, "admin", 2, INT64_MAX / 2, "<p>one</p>"),
             part_of(1, "admin", 3, now_s(), "<p>two</p>"));
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", both));
    assert_string_equal(replies(), "one|two");
    done();
}

// As HTTP says it.
static const char *http_date_of(int64_t at_s)
{
    static char text[40];
    time_t at = (time_t)at_s;
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return text;
}

// What is said at the desk now is not of the future because our clock is behind.
static void test_a_clock_that_is_set_back_hides_no_answer(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part_of(0, "admin", 2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "one");
    clock_manual_pass(&rig.clock, 100 * 1000000);
    int64_t desk_s = now_s();
    rig.clock.wall_us -= INT64_C(3600) * 1000000;
    char both[2100];
    snprintf(both, sizeof both, "%s,%s", part_of(0, "admin", 2, desk_s - 100, "<p>one</p>"),
             part_of(1, "admin", 3, desk_s, "<p>two</p>"));
    rig_news(&rig, "acme", "77");
    rig_answer_with(&rig, fetch_of("77"), 200, "Date", http_date_of(desk_s), conversation("77", "c5", both));
    assert_string_equal(replies(), "one|two");
    done();
}

static void test_news_that_come_while_it_is_read_have_it_read_again(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    clock_manual_pass(&rig.clock, 1000);
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_int_equal(news_left(), 1);
    char both[2100];
    snprintf(both, sizeof both, "%s,%s", part_of(0, "admin", 2, now_s(), "<p>one</p>"),
             part_of(1, "admin", 3, now_s(), "<p>two</p>"));
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", both));
    assert_string_equal(replies(), "one|two");
    assert_int_equal(news_left(), 0);
    done();
}

static void test_a_desk_that_is_down_is_asked_again_and_nothing_is_lost(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    for (int i = 0; i < 3; i++) {
        rig_answer(&rig, fetch_of("77"), 503, "");
        assert_null(fetch_of("77"));
        assert_int_equal(rig_alarms(&rig, "replies_unread"), i == 2);
        rig_pass(&rig, 30000);
    }
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_int_equal(rig_alarms(&rig, "replies_unread"), 0);
    assert_string_equal(replies(), "one");
    done();
}

static void test_a_desk_that_says_429_is_left_alone_though_others_were_still_answered(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    link_chat("6", "c6", "78");
    rig_news(&rig, "acme", "77");
    rig_news(&rig, "acme", "78");
    rig_answer_with(&rig, fetch_of("77"), 429, "Retry-After", "60", "");
    rig_answer(&rig, fetch_of("78"), 200, conversation("78", "c6", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "one");
    rig_news(&rig, "acme", "78");
    rig_pass(&rig, 59000);
    assert_null(fetch_of("7"));
    rig_pass(&rig, 2000);
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(3, now_s(), "<p>two</p>")));
    rig_answer(&rig, fetch_of("78"), 404, "{}");
    assert_string_equal(replies(), "one|two");
    done();
}

static void test_what_fails_at_the_same_time_is_one_failure_of_the_desk(void **state)
{
    (void)state;
    with((struct rig_options){0});
    char id[16];
    for (int i = 0; i < 16; i++) {
        snprintf(id, sizeof id, "%d", 1000 + i);
        rig_news(&rig, "acme", id);
    }
    for (struct rig_call *call; (call = rig_open(&rig));)
        rig_answer(&rig, call, 503, "");
    assert_int_equal(rig_alarms(&rig, "replies_unread"), 0);
    rig_pass(&rig, 1500);
    assert_int_equal(rig_open_count(&rig), 16);
    for (struct rig_call *call; (call = rig_open(&rig));)
        rig_answer(&rig, call, 404, "{}");
    done();
}

static void test_a_crash_loses_no_news(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "one");
    done();
}

static void test_a_conversation_that_cannot_be_read_stops_no_other(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    link_chat("6", "c6", "78");
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    rig_news(&rig, "acme", "77");
    for (int i = 0; i < 5; i++) {
        rig_answer(&rig, fetch_of("77"), 200, "{\"type\":\"something else\"}");
        rig_pass(&rig, 30000);
        if (search())
            answer_search();
    }
    assert_null(fetch_of("77"));
    rig_news(&rig, "acme", "78");
    rig_answer(&rig, fetch_of("78"), 200, conversation("78", "c6", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "one");
    assert_int_equal(news_left(), 1);
    rig_pass(&rig, 300000);
    answer_search(); // nobody tells of it any more
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(3, now_s(), "<p>two</p>")));
    assert_string_equal(replies(), "one|two");
    done();
}

static void test_a_search_finds_what_no_notice_told_of(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    assert_null(search());
    rig_pass(&rig, 2500);
    rig_answer(
        &rig, search(), 200,
        "{\"type\":\"conversation.list\",\"conversations\":[{\"type\":\"conversation\",\"id\":\"77\",\"updated_at\":"
        "1700000000}],\"pages\":{},\"total_count\":1}");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "one");
    rig_pass(&rig, 170000);
    assert_null(search());
    rig_pass(&rig, 60000);
    answer_search();
    done();
}

static void test_a_search_that_fails_is_repeated_from_where_the_last_one_ended(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    rig_pass(&rig, 2500);
    char first[1024];
    snprintf(first, sizeof first, "%.*s", STR_ARG(search()->body));
    rig_lose(&rig, search(), HTTP_TIMEOUT, true);
    rig_pass(&rig, 1500);
    assert_str(search()->body, first);
    answer_search();
    done();
}

// The clock was ahead when the desk was searched last.
static void test_a_search_does_not_begin_in_the_future(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    struct store_searched until = {.account_id = 1, .until_s = now_s() + 100000};
    struct store_change change = {.kind = STORE_SEARCHED, .searched = &until};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    rig_pass(&rig, 2500);
    char since[32];
    snprintf(since, sizeof since, "\"value\":%lld}", (long long)now_s() - 300);
    assert_true(memmem(search()->body.p, search()->body.n, since, strlen(since)));
    answer_search();
    done();
}

static void test_a_desk_that_cannot_be_searched_is_read_all_the_same_and_somebody_is_told(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    rig_pass(&rig, 2500);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(rig_alarms(&rig, "replies_unread"), i >= 3);
        rig_answer(&rig, search(), 500, "");
        rig_news(&rig, "acme", "77");
        rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
        rig_pass(&rig, 20000);
        assert_null(search());
        rig_pass(&rig, 220000);
    }
    answer_search();
    assert_int_equal(rig_alarms(&rig, "replies_unread"), 0);
    done();
}

static void test_of_an_inactive_account_nothing_is_read_until_it_is_activated(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    rig_set_active(&rig, "acme", false);
    rig_news(&rig, "acme", "77");
    rig_pass(&rig, 600000);
    assert_int_equal(rig_open_count(&rig), 0);
    assert_int_equal(news_left(), 1);
    rig_set_active(&rig, "acme", true);
    rig_pass(&rig, 2500);
    assert_non_null(search());
    answer_search();
    done();
}

static void test_what_waited_to_be_read_when_its_account_was_switched_off_is_read_when_it_is_on(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 503, "");
    rig_set_active(&rig, "acme", false);
    rig_pass(&rig, 600000);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_set_active(&rig, "acme", true);
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "one");
    done();
}

static void test_bots_speak_where_the_account_lets_them(void **state)
{
    (void)state;
    for (enum replies_policy policy = REPLIES_AGENTS; policy <= REPLIES_AGENTS_AND_BOTS; policy++) {
        with((struct rig_options){.replies = policy});
        link_chat("5", "c5", "77");
        rig_news(&rig, "acme", "77");
        char both[2100];
        snprintf(both, sizeof both, "%s,%s", part_of(0, "bot", 2, now_s(), "<p>beep</p>"),
                 part_of(1, "admin", 3, now_s(), "<p>two</p>"));
        rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", both));
        assert_string_equal(replies(), policy == REPLIES_AGENTS ? "two" : "beep|two");
        done();
    }
}

static int discarded(void)
{
    struct store_totals totals;
    assert_int_equal(rig.reader->ops->totals(rig.reader, &totals), 0);
    return (int)totals.discarded;
}

static void test_bots_that_answer_each_other_are_stopped(void **state)
{
    (void)state;
    with((struct rig_options){.replies = REPLIES_AGENTS_AND_BOTS});
    link_chat("5", "c5", "77");
    for (int i = 0; i < 25; i++) {
        rig_news(&rig, "acme", "77");
        rig_answer(&rig, fetch_of("77"), 200,
                   conversation("77", "c5", part_of(0, "bot", 2 + i, now_s(), "<p>beep</p>")));
        let_telegram_take();
        rig_pass(&rig, 5000);
        let_telegram_take();
    }
    assert_int_equal(discarded(), 5);
    clock_manual_pass(&rig.clock, 600LL * 1000000);
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part_of(0, "bot", 99, now_s(), "<p>beep</p>")));
    assert_int_equal(discarded(), 5);
    while (search())
        answer_search();
    done();
}

static const char *beeps(int first, int count, int64_t since_s, int apart_s)
{
    static char parts[16384];
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += (size_t)snprintf(parts + n, sizeof parts - n, "%s%s", i ? "," : "",
                              part_of(0, "bot", first + i, since_s + (int64_t)i * apart_s, "<p>beep</p>"));
    return parts;
}

// They were counted again with each try, and thrown away as a loop.
static void test_what_bots_say_is_counted_once_however_often_it_is_read(void **state)
{
    (void)state;
    with((struct rig_options){.replies = REPLIES_AGENTS_AND_BOTS});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    int64_t at_s = now_s();
    for (int i = 0; i < 4; i++) {
        rig.fault = (struct store_fault){.err = ERR_FULL, .after = i < 3 ? 1 : -1};
        rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", beeps(2, 8, at_s, 0)));
        rig.fault.after = -1;
        rig_pass(&rig, 30000);
    }
    assert_int_equal(discarded(), 0);
    assert_string_equal(replies(), "beep|beep|beep|beep|beep|beep|beep|beep");
    done();
}

// After an outage: they are a loop by when they were said, not by when they are read.
static void test_what_bots_said_in_an_hour_is_no_loop_when_it_is_read_at_once(void **state)
{
    (void)state;
    with((struct rig_options){.replies = REPLIES_AGENTS_AND_BOTS});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", beeps(2, 30, now_s() - 3000, 100)));
    assert_int_equal(discarded(), 0);
    done();
}

static bool is_alarmed(void)
{
    return rig_alarms(&rig, "replies_unread") > 0;
}

static void set_token(const char *token)
{
    const struct account *before = rig_account(&rig, "acme");
    struct account *now = account_copy(before);
    now->desk.token = arena_str(&now->arena, str_of(token));
    directory_put(rig.directory, account_ref(now));
    dispatcher_account_changed(rig.dispatcher, before, now);
    replies_account_changed(rig.replies, before, now);
    account_unref(before);
    account_unref(now);
    rig_turn(&rig);
}

static void fail_three_times(void)
{
    rig_news(&rig, "acme", "77");
    for (int i = 0; i < 3; i++) {
        rig_answer(&rig, fetch_of("77"), 503, "");
        rig_pass(&rig, 40000);
    }
    assert_true(is_alarmed());
}

// It stood for ever.
static void test_the_alarm_of_a_desk_that_is_not_read_ends_with_the_desk(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    fail_three_times();
    set_token("other");
    assert_false(is_alarmed());
    fail_three_times();
    rig_set_active(&rig, "acme", false);
    assert_false(is_alarmed());
    done();
}

// They are told apart by their ids, not by the second in which they were made.
static void test_bots_that_answer_within_a_second_are_counted_each(void **state)
{
    (void)state;
    char parts[16384] = "";
    size_t n = 0;
    with((struct rig_options){.replies = REPLIES_AGENTS_AND_BOTS});
    link_chat("5", "c5", "77");
    for (int i = 0; i < 25; i++) {
        n += (size_t)snprintf(parts + n, sizeof parts - n, "%s%s", n ? "," : "",
                              part_of(0, "bot", 2 + i, now_s(), "<p>beep</p>"));
        rig_news(&rig, "acme", "77");
        rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", parts));
        let_telegram_take();
    }
    assert_int_equal(discarded(), 5);
    done();
}

static void test_a_conversation_that_an_agent_began_goes_to_its_customer(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "500");
    char both[2100];
    snprintf(both, sizeof both, "%s,%s", part_of(0, "admin", 2, now_s() - 200000, "<p>of the day before yesterday</p>"),
             part_of(1, "admin", 3, now_s() - 10, "<p>news</p>"));
    rig_answer(&rig, fetch_of("500"), 200, conversation("500", "c5", both));
    assert_string_equal(replies(), "news");
    done();
}

// It was written before the relay knew the customer, or took replies at all.
static void test_of_a_conversation_that_an_agent_began_what_was_said_before_the_desk_was_searched_is_history(
    void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "500");
    rig_answer(&rig, fetch_of("500"), 200, conversation("500", "c5", part(2, now_s() - 3600, "<p>of before</p>")));
    assert_string_equal(replies(), "");
    done();
}

static void test_a_conversation_that_an_agent_began_while_the_relay_was_down_for_days_goes_to_its_customer(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    int64_t then_s = now_s() + 60;
    clock_manual_pass(&rig.clock, 3LL * 86400 * 1000000);
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    rig_pass(&rig, 2500);
    rig_answer(
        &rig, search(), 200,
        "{\"type\":\"conversation.list\",\"conversations\":[{\"type\":\"conversation\",\"id\":\"500\",\"updated_at\":"
        "1700000060}],\"pages\":{},\"total_count\":1}");
    rig_answer(&rig, fetch_of("500"), 200, conversation("500", "c5", part(2, then_s, "<p>news</p>")));
    assert_string_equal(replies(), "news");
    done();
}

static void test_a_conversation_of_nobody_we_know_is_forgotten(void **state)
{
    (void)state;
    with((struct rig_options){0});
    rig_news(&rig, "acme", "900");
    for (int64_t pause_ms = 1000; pause_ms <= 64000; pause_ms *= 4) { // it could be ours yet
        assert_int_equal(news_left(), 1);
        rig_answer(&rig, fetch_of("900"), 200, conversation("900", "stranger", part(2, now_s(), "<p>one</p>")));
        assert_null(fetch_of("900"));
        rig_pass(&rig, pause_ms);
    }
    assert_string_equal(replies(), "");
    assert_int_equal(news_left(), 0);
    rig_news(&rig, "acme", "901");
    rig_answer(&rig, fetch_of("901"), 404, "{\"type\":\"error.list\",\"errors\":[{\"code\":\"not_found\"}]}");
    assert_int_equal(news_left(), 0);
    done();
}

// The message is there for its agent to be told so, and is what the note names.
static void test_what_nobody_takes_is_kept_as_plain_text(void **state)
{
    (void)state;
    with((struct rig_options){.source = "webhook"});
    link_chat("c1", "c5", "77");
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>Tom &amp; <b>Ada</b></p>")));
    assert_string_equal(replies(), "Tom & Ada");
    done();
}

// The notice comes before the answer to the request that made the conversation is stored (RELIABILITY.md, hostile input 77).
static void test_an_agent_who_is_quicker_than_our_record_is_heard(void **state)
{
    (void)state;
    with((struct rig_options){0});
    rig_news(&rig, "acme", "77");
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "");
    link_chat("5", "c5", "77");
    rig_pass(&rig, 1000);
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "one");
    assert_int_equal(news_left(), 0);
    done();
}

// An agent deletes the conversations of customers who have blocked the bot; that says nothing of the desk.
static void test_notes_in_conversations_that_are_gone_do_not_close_the_guard_over_the_desk(void **state)
{
    (void)state;
    with((struct rig_options){0});
    for (int i = 0; i < 7; i++) {
        char chat[16], desk_conversation[16];
        snprintf(chat, sizeof chat, "%d", 5 + i);
        snprintf(desk_conversation, sizeof desk_conversation, "%d", 77 + i);
        link_chat(chat, chat, desk_conversation);
        rig_pass(&rig, 100); // the bot's rate
        rig_reply(&rig, "acme", chat, "one");
        rig_answer(&rig, rig_open_with(&rig, "sendMessage"), 403,
                   "{\"ok\":false,\"error_code\":403,\"description\":\"Forbidden: bot was blocked by the user\"}");
        rig_answer(&rig, rig_open_with(&rig, "/me"), 200, "{\"type\":\"admin\",\"id\":\"9\"}");
        rig_answer(&rig, rig_open_with(&rig, "/reply"), 404, "{\"type\":\"error.list\",\"errors\":[]}");
    }
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 0);
    done();
}

static void test_a_store_that_takes_nothing_loses_no_reply(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    rig.fault = (struct store_fault){.err = ERR_FULL, .after = 1}; // the question whose it is passes
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "");
    rig.fault.after = -1;
    rig_pass(&rig, 30000);
    rig_answer(&rig, fetch_of("77"), 200, conversation("77", "c5", part(2, now_s(), "<p>one</p>")));
    assert_string_equal(replies(), "one");
    done();
}

static void test_so_many_are_read_at_a_time_and_no_more(void **state)
{
    (void)state;
    with((struct rig_options){0});
    char id[16];
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "%d", 1000 + i);
        rig_news(&rig, "acme", id);
    }
    assert_int_equal(rig_open_count(&rig), 16);
    int answered = 0;
    for (struct rig_call *call; (call = rig_open(&rig)); answered++)
        rig_answer(&rig, call, 404, "{}");
    assert_int_equal(answered, 40);
    assert_int_equal(news_left(), 0);
    done();
}

static void test_a_stop_while_it_is_read_leaves_the_news(void **state)
{
    (void)state;
    with((struct rig_options){0});
    link_chat("5", "c5", "77");
    rig_news(&rig, "acme", "77");
    rig_crash(&rig, &(struct rig_options){.desk = "intercom", .reads_desk = true});
    assert_int_equal(news_left(), 1);
    assert_non_null(fetch_of("77"));
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_an_agent_said_becomes_replies_in_its_order),
        cmocka_unit_test(test_files_are_replies_of_their_own_each_once),
        cmocka_unit_test(test_a_part_that_is_read_again_is_one_reply),
        cmocka_unit_test(test_a_part_that_was_taken_long_ago_is_not_taken_again),
        cmocka_unit_test(test_a_part_that_the_store_may_have_forgotten_is_not_taken_again),
        cmocka_unit_test(test_a_known_thread_goes_on_where_it_was_taken_to),
        cmocka_unit_test(test_a_part_of_the_far_future_hides_none_that_come_after_it),
        cmocka_unit_test(test_a_clock_that_is_set_back_hides_no_answer),
        cmocka_unit_test(test_news_that_come_while_it_is_read_have_it_read_again),
        cmocka_unit_test(test_a_desk_that_is_down_is_asked_again_and_nothing_is_lost),
        cmocka_unit_test(test_a_desk_that_says_429_is_left_alone_though_others_were_still_answered),
        cmocka_unit_test(test_what_fails_at_the_same_time_is_one_failure_of_the_desk),
        cmocka_unit_test(test_a_crash_loses_no_news),
        cmocka_unit_test(test_a_conversation_that_cannot_be_read_stops_no_other),
        cmocka_unit_test(test_a_search_finds_what_no_notice_told_of),
        cmocka_unit_test(test_a_search_that_fails_is_repeated_from_where_the_last_one_ended),
        cmocka_unit_test(test_a_search_does_not_begin_in_the_future),
        cmocka_unit_test(test_a_desk_that_cannot_be_searched_is_read_all_the_same_and_somebody_is_told),
        cmocka_unit_test(test_of_an_inactive_account_nothing_is_read_until_it_is_activated),
        cmocka_unit_test(test_what_waited_to_be_read_when_its_account_was_switched_off_is_read_when_it_is_on),
        cmocka_unit_test(test_bots_speak_where_the_account_lets_them),
        cmocka_unit_test(test_bots_that_answer_each_other_are_stopped),
        cmocka_unit_test(test_what_bots_say_is_counted_once_however_often_it_is_read),
        cmocka_unit_test(test_what_bots_said_in_an_hour_is_no_loop_when_it_is_read_at_once),
        cmocka_unit_test(test_the_alarm_of_a_desk_that_is_not_read_ends_with_the_desk),
        cmocka_unit_test(test_bots_that_answer_within_a_second_are_counted_each),
        cmocka_unit_test(test_a_conversation_that_an_agent_began_goes_to_its_customer),
        cmocka_unit_test(
            test_of_a_conversation_that_an_agent_began_what_was_said_before_the_desk_was_searched_is_history),
        cmocka_unit_test(
            test_a_conversation_that_an_agent_began_while_the_relay_was_down_for_days_goes_to_its_customer),
        cmocka_unit_test(test_a_conversation_of_nobody_we_know_is_forgotten),
        cmocka_unit_test(test_what_nobody_takes_is_kept_as_plain_text),
        cmocka_unit_test(test_an_agent_who_is_quicker_than_our_record_is_heard),
        cmocka_unit_test(test_notes_in_conversations_that_are_gone_do_not_close_the_guard_over_the_desk),
        cmocka_unit_test(test_a_store_that_takes_nothing_loses_no_reply),
        cmocka_unit_test(test_so_many_are_read_at_a_time_and_no_more),
        cmocka_unit_test(test_a_stop_while_it_is_read_leaves_the_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
