// Links to kept files: what is signed comes back as it was, what is altered in any way is forged, and what is over is expired.
#include "model/media_link.h"

#include "model/http.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
static const int64_t now_us = INT64_C(1700000000) * 1000000;
static const struct media_links links = {
    .base = STR("https://relay.example.com"), .key = {1, 2, 3}, .lifetime_us = INT64_C(3600) * 1000000};

static struct attachment file_named(const char *name, const char *mime)
{
    return (struct attachment){
        .name = str_of(name), .mime = str_of(mime), .state = FILE_KEPT, .hash = STR(HASH), .size = 3};
}

static enum media_link_reading read_target(struct str target, int64_t at_us, struct arena *arena,
                                           struct attachment *out)
{
    size_t mark = str_index(target, '?', 0);
    return media_link_read(&links, str_sub(target, 0, mark), str_sub(target, mark + 1, target.n), at_us, arena, out);
}

// Path and query of a link.
static struct str target_of(const struct attachment *file, struct arena *arena)
{
    struct str link = media_link(&links, file, now_us, arena);
    assert_true(str_starts(link, STR("https://relay.example.com/media/" HASH "?exp=1700003600&sig=")));
    return str_sub(link, links.base.n, link.n);
}

static void test_a_link_says_what_was_signed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *mime;
    } files[] = {
        {"photo.jpg", "image/jpeg"},
        {"", ""},
        {"a b&c=d?e#f%00/..\\\"+;.txt", "text/plain; charset=\"utf-8\""},
        {"\xd1\x84\xd0\xbe\xd1\x82\xd0\xbe \xf0\x9f\x98\x80", "image/png"},
        {"not\xffutf-8\r\nX: y", "x"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct arena arena = {0};
        struct attachment file = file_named(files[i].name, files[i].mime), out = {0};
        assert_int_equal(read_target(target_of(&file, &arena), now_us, &arena, &out), MEDIA_LINK_GOOD);
        assert_str(out.name, files[i].name);
        assert_str(out.mime, files[i].mime);
        assert_str(out.hash, HASH);
        assert_int_equal(out.state, FILE_KEPT);
        arena_done(&arena);
    }
}

static void test_long_and_broken_names_are_cut_to_what_a_link_can_hold(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct attachment out = {0}, file = file_named("", "");
    char name[4000], wanted[201] = {0};
    memcpy(name, "xyz", 3);
    for (size_t i = 3; i < sizeof name; i++) // characters of two bytes: the 200th byte is the first of one
        name[i] = i % 2 ? '\xc3' : '\xa4';
    memcpy(wanted, name, 199);
    file.name = (struct str){name, sizeof name};
    assert_int_equal(read_target(target_of(&file, &arena), now_us, &arena, &out), MEDIA_LINK_GOOD);
    assert_str(out.name, wanted);
    file.name = (struct str){"a\0b", 3};
    assert_int_equal(read_target(target_of(&file, &arena), now_us, &arena, &out), MEDIA_LINK_GOOD);
    assert_str(out.name, "a");
    arena_done(&arena);
}

static void test_it_is_good_until_its_time_is_over(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct attachment file = file_named("a", "b"), out = {0};
    struct str target = target_of(&file, &arena);
    assert_int_equal(read_target(target, now_us + links.lifetime_us - 1, &arena, &out), MEDIA_LINK_GOOD);
    assert_int_equal(read_target(target, now_us + links.lifetime_us, &arena, &out), MEDIA_LINK_EXPIRED);
    // Whether it is forged is asked first: who cannot sign learns nothing.
    struct str forged = arena_str(&arena, target);
    ((char *)(uintptr_t)forged.p)[8] ^= 1;
    assert_int_equal(read_target(forged, now_us + links.lifetime_us, &arena, &out), MEDIA_LINK_FORGED);
    arena_done(&arena);
}

// Each single byte of it, changed to another that may stand there.
static void test_every_altered_byte_is_found(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct attachment file = file_named("name.pdf", "application/pdf"), out = {0};
    struct str target = target_of(&file, &arena);
    for (size_t i = 0; i < target.n; i++) {
        struct str altered = arena_str(&arena, target);
        char *c = (char *)(uintptr_t)altered.p + i;
        *c = *c == '1' ? '2' : '1';
        assert_int_equal(read_target(altered, now_us, &arena, &out), MEDIA_LINK_FORGED);
    }
    assert_null(out.hash.p);
    arena_done(&arena);
}

static struct str replaced(struct str text, const char *from, const char *to, struct arena *arena)
{
    const char *hit = memmem(text.p, text.n, from, strlen(from));
    assert_non_null(hit);
    size_t at = (size_t)(hit - text.p);
    return ARENA_JOIN(arena, str_sub(text, 0, at), str_of(to), str_sub(text, at + strlen(from), text.n));
}

// Another key, file, name, type or time; parameters that are missing, twice, or written in another way.
static void test_what_is_not_what_was_signed_is_forged(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"/media/0011", "/media/0012"},
        {"/media/", "/media//"},
        {"/media/", "/media/../media/"},
        {"/media/", "/Media/"},
        {"/media/", "/media/%30"},
        {"aabbccddeeff?", "AABBCCDDEEFF?"},
        {"eeff?", "eef?"},
        {"eeff?", "eeff/?"},
        {"eeff?", "eeff%00?"},
        {"exp=1700003600", "exp=1700003601"},
        {"exp=1700003600", "exp=01700003600"},
        {"exp=1700003600", "exp=+1700003600"},
        {"exp=1700003600", "exp=-1700003600"},
        {"exp=1700003600", "exp=99999999999999999999"},
        {"exp=1700003600", "exp=9223372036854"},
        {"exp=1700003600", "exp="},
        {"exp=1700003600&", ""},
        {"exp=1700003600", "exp=1700003600&exp=1700003600"},
        {"exp=", "EXP="},
        {"&sig=", "&sig=x"},
        {"&sig=", "&xsig="},
        {"&sig=", "&sig=&sig="},
        {"&name=name.pdf", ""},
        {"&name=name.pdf", "&name=name.pdf&name=other.html"},
        {"&name=name.pdf", "&name=name%2epdf%00"},
        {"&name=name.pdf", "&name=name.html"},
        {"&name=name.pdf", "&name=name.pdf%26mime=text"},
        {"&mime=", "&mime=text/html&mime="},
        {"application", "text"},
        {"application%2Fpdf", "application%2"},
    };
    struct arena arena = {0};
    struct attachment file = file_named("name.pdf", "application/pdf"), out = {0};
    struct str target = target_of(&file, &arena);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct str changed = replaced(target, changes[i].from, changes[i].to, &arena);
        if (read_target(changed, now_us, &arena, &out) != MEDIA_LINK_FORGED)
            fail_msg("taken: %.*s", STR_ARG(changed));
    }
    struct media_links other = links;
    other.key[31] ^= 1;
    size_t mark = str_index(target, '?', 0);
    assert_int_equal(
        media_link_read(&other, str_sub(target, 0, mark), str_sub(target, mark + 1, target.n), now_us, &arena, &out),
        MEDIA_LINK_FORGED);
    assert_int_equal(media_link_read(&links, STR("/media/" HASH), STR_NONE, now_us, &arena, &out), MEDIA_LINK_FORGED);
    assert_int_equal(media_link_read(&links, STR("/media/"), STR_NONE, now_us, &arena, &out), MEDIA_LINK_FORGED);
    arena_done(&arena);
}

// The signature in capitals: it is made in one way only.
static void test_a_signature_in_capitals_is_none(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct attachment file = file_named("a", "b"), out = {0};
    struct str target = arena_str(&arena, target_of(&file, &arena));
    char *signature = strstr((char *)(uintptr_t)target.p, "&sig=") + 5;
    for (size_t i = 0; i < 64; i++)
        if (signature[i] >= 'a')
            signature[i] = (char)(signature[i] - 'a' + 'A');
    assert_int_equal(read_target(target, now_us, &arena, &out), MEDIA_LINK_FORGED);
    arena_done(&arena);
}

// Programs between write escapes and the order of parameters in their own way, and add parameters of theirs.
static void test_other_ways_to_write_the_same_are_good(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"my%20name", "my+name"},
        {"my%20name", "%6dy%20name"},
        {"image%2Fpng", "image/png"},
        {"image%2Fpng", "image%2fpng&utm_source=mail"},
        {"/media/" HASH "?", "/media/" HASH "?x&&"},
    };
    struct arena arena = {0};
    struct attachment file = file_named("my name", "image/png"), out = {0};
    struct str target = target_of(&file, &arena);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct str changed = replaced(target, changes[i].from, changes[i].to, &arena);
        assert_int_equal(read_target(changed, now_us, &arena, &out), MEDIA_LINK_GOOD);
        assert_str(out.name, "my name");
        assert_str(out.mime, "image/png");
    }
    arena_done(&arena);
}

// So links stay good over versions: computed by hand with another program (openssl dgst -sha256 -mac HMAC).
static void test_the_signature_is_hmac_sha256_of_the_link(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct attachment file = file_named("a b.png", "image/png");
    struct str target = target_of(&file, &arena);
    assert_str(
        target,
        "/media/" HASH
        "?exp=1700003600&sig=9617d5e635be9e6283346a66eece019751ad92c2e36a93f8c8f0dc73ee6fa1ac&name=a%20b.png&mime=image%2Fpng");
    arena_done(&arena);
}

static void test_a_lasting_link_is_always_the_same(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct attachment file = file_named("avatar.png", "image/png"), out = {0};
    struct str link = media_link_lasting(&links, &file, &arena);
    assert_true(str_starts(link, STR("https://relay.example.com/media/" HASH "?exp=253402300799&sig=")));
    assert_true(str_eq(link, media_link_lasting(&links, &file, &arena)));
    struct str target = str_sub(link, links.base.n, link.n);
    int64_t year_us = INT64_C(31556952) * 1000000;
    assert_int_equal(read_target(target, now_us + 1000 * year_us, &arena, &out), MEDIA_LINK_GOOD);
    assert_str(out.mime, "image/png");
    assert_str(out.hash, HASH);
    struct attachment page = file_named("avatar.png", "text/html");
    struct str other = media_link_lasting(&links, &page, &arena);
    assert_false(str_eq(str_sub(other, 0, str_index(other, '&', 140)), str_sub(link, 0, str_index(link, '&', 140))));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_link_says_what_was_signed),
        cmocka_unit_test(test_long_and_broken_names_are_cut_to_what_a_link_can_hold),
        cmocka_unit_test(test_it_is_good_until_its_time_is_over),
        cmocka_unit_test(test_every_altered_byte_is_found),
        cmocka_unit_test(test_what_is_not_what_was_signed_is_forged),
        cmocka_unit_test(test_a_signature_in_capitals_is_none),
        cmocka_unit_test(test_other_ways_to_write_the_same_are_good),
        cmocka_unit_test(test_the_signature_is_hmac_sha256_of_the_link),
        cmocka_unit_test(test_a_lasting_link_is_always_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
