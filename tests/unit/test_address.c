// Which addresses are public (RELIABILITY.md, section 6, item 32).
#include "net/address.h"

#include "support/unit.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>
#include <sys/un.h>

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
    address.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    void *bytes = address.ss_family == AF_INET6 ? (void *)&in6->sin6_addr : (void *)&in->sin_addr;
    assert_int_equal(inet_pton(address.ss_family, text, bytes), 1);
    return address;
}

static void check_public(const char *const *texts, size_t count, bool is_public)
{
    for (size_t i = 0; i < count; i++) {
        struct sockaddr_storage address = address_of(texts[i]);
        if (address_is_public((struct sockaddr *)&address) != is_public)
            fail_msg("%s is %spublic", texts[i], is_public ? "" : "not ");
    }
}
#define CHECK_PUBLIC(texts, is_public) check_public(texts, sizeof(texts) / sizeof *(texts), is_public)

static void test_special_ranges_are_not_public_to_their_edges(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fdff:ffff::1",
        "ff02::1",
        "100::1",
        "2001:db8::1",
        "2001::1",
        "2001:10::1",
        "3fff::1",
        "64:ff9b:1::1",
        "4000::1",
        "1fff::1",
    };
    CHECK_PUBLIC(texts, false);
}

static void test_private_ipv4_inside_ipv6_is_not_public(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:169.254.169.254", "::127.0.0.1",     "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",  "2002:7f00:1::1",  "2002:a9fe:a9fe::1",      "2002:c0a8:101::",
    };
    CHECK_PUBLIC(texts, false);
}

static void test_others_are_public_next_to_the_ranges_too(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "1.0.0.0",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",   "100.128.0.0",
        "126.255.255.255", "128.0.0.0",       "169.253.255.255", "169.255.0.0",      "172.15.255.255",
        "172.32.0.0",      "192.0.1.0",       "192.167.255.255", "192.169.0.0",      "198.17.255.255",
        "198.20.0.0",      "223.255.255.255", "149.154.167.220", "2001:200::1",      "2001:4860:4860::8888",
        "2606:4700::1111", "2a00:1450::1",    "::ffff:8.8.8.8",  "64:ff9b::8.8.8.8", "2002:808:808::1",
    };
    CHECK_PUBLIC(texts, true);
}

static void test_other_families_are_not_public(void **state)
{
    (void)state;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    assert_false(address_is_public((struct sockaddr *)&local));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special_ranges_are_not_public_to_their_edges),
        cmocka_unit_test(test_private_ipv4_inside_ipv6_is_not_public),
        cmocka_unit_test(test_others_are_public_next_to_the_ranges_too),
        cmocka_unit_test(test_other_families_are_not_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
