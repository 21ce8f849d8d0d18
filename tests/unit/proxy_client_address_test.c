/* SPDX-License-Identifier: Apache-2.0 */
/* Who the client is, by lists that trusted peers have written. */
#include "proxy/client_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/peer_text.h"
#include "tests/fuzz/corpus.h"

static const char *text_of(const struct sockaddr_storage *address)
{
    static char out[SKY_PEER_TEXT_BYTES + 1];
    struct sky_text text = sky_peer_ip(address, out);

    out[text.len] = '\0';
    return out;
}

static const struct {
    const char *node, *ip; /* NULL: none */
} nodes[] = {
    {"192.0.2.1", "192.0.2.1"},
    {"192.0.2.1:80", "192.0.2.1"},
    {"2001:db8::1", "2001:db8::1"},
    {"[2001:db8::1]", "2001:db8::1"},
    {"[2001:db8::1]:65535", "2001:db8::1"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"", NULL},
    {"unknown", NULL},
    {"_hidden", NULL},
    {"192.0.2", NULL},
    {"192.0.2.256", NULL},
    {"192.0.2.1:", NULL},
    {"192.0.2.1:65536", NULL},
    {"192.0.2.1:8a", NULL},
    {"[192.0.2.1]", NULL},
    {"[2001:db8::1", NULL},
    {"[2001:db8::1]80", NULL},
    {"[2001:db8::1]:", NULL},
    {"[]", NULL},
    {"2001:db8::1%eth0", NULL},
    {"shop.test", NULL},
    {"192.0.2.1 ", NULL},
    {"11111111111111111111111111111111111111111111111111", NULL},
};

static void test_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        struct sockaddr_storage address;
        bool read = sky_client_node(sky_text_of(nodes[i].node), &address);
        if (read != (nodes[i].ip != NULL) || (read && strcmp(text_of(&address), nodes[i].ip) != 0))
            fail_msg("%s: %s", nodes[i].node, read ? text_of(&address) : "none");
    }
}

/* The peer is 10.0.0.9; 10.0.0.0/8 is trusted. */
static const struct {
    const char *list, *client;
    bool forwarded;
} walks[] = {
    {"", "10.0.0.9", false},
    {"192.0.2.1", "192.0.2.1", false},
    {"192.0.2.1, 10.0.0.1", "192.0.2.1", false},
    /* what an untrusted one has written before itself is not believed */
    {"203.0.113.7, 192.0.2.1, 10.0.0.1", "192.0.2.1", false},
    {"10.0.0.2, 10.0.0.1", "10.0.0.2", false},
    {"192.0.2.1,,10.0.0.1 ,", "192.0.2.1", false},
    {"192.0.2.1, nonsense, 10.0.0.1", "10.0.0.1", false},
    {"nonsense", "10.0.0.9", false},
    {"for=192.0.2.1", "192.0.2.1", true},
    {"For=\"192.0.2.1:80\";proto=https", "192.0.2.1", true},
    {"proto=https; for=192.0.2.1 , for=10.0.0.1", "192.0.2.1", true},
    {"for=\"[2001:db8::1]:80\", for=10.0.0.1", "2001:db8::1", true},
    {"for=192.0.2.1, for=unknown", "10.0.0.9", true},
    {"for=192.0.2.1, proto=http", "10.0.0.9", true},
    /* a comma, a semicolon and an escaped quote in a quoted text part nothing */
    {"for=192.0.2.1;host=\"a,b;for=203.0.113.7\\\"\", for=10.0.0.1", "192.0.2.1", true},
    {"for=203.0.113.7, for=192.0.2.1, for=10.0.0.1", "192.0.2.1", true},
};

static struct sockaddr_storage walk(const char *list, size_t len, bool forwarded)
{
    /* of exactly its size, so that AddressSanitizer sees a read beyond it */
    char *copy = memcpy(malloc(len + 1), list, len);
    char *exact = realloc(copy, len != 0 ? len : 1);
    struct sockaddr_storage client;
    struct sky_trust trust;

    assert_null(sky_trust_parse("10.0.0.0/8", &trust));
    assert_true(sky_client_node(SKY_TEXT("10.0.0.9"), &client));
    if (forwarded)
        (void)sky_client_walk_forwarded(sky_text(exact, len), &trust, &client);
    else
        (void)sky_client_walk(sky_text(exact, len), &trust, &client);
    sky_trust_fini(&trust);
    free(exact);
    return client;
}

static void test_walks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++) {
        struct sockaddr_storage client =
            walk(walks[i].list, strlen(walks[i].list), walks[i].forwarded);
        if (strcmp(text_of(&client), walks[i].client) != 0)
            fail_msg("%s: %s", walks[i].list, text_of(&client));
    }
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++)
        for (size_t len = 0; len <= strlen(walks[i].list); len++)
            (void)walk(walks[i].list, len, walks[i].forwarded);
}

/* Only the last elements are looked at; a client may write any number. */
static void test_many_elements(void **state)
{
    (void)state;
    char list[4096] = "for=192.0.2.1";
    for (int i = 0; i < 100; i++)
        strcat(list, ",for=10.0.0.1");
    struct sockaddr_storage client = walk(list, strlen(list), true);
    assert_string_equal(text_of(&client), "10.0.0.1");
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("client_address") >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_walks),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_many_elements),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
