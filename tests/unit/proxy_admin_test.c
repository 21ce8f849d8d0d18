/* SPDX-License-Identifier: Apache-2.0 */
/* The admin listener's parts without a socket: which Host is served, and the page of traces. */
#include "proxy/admin/admin_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/admin/admin_host.h"

static const struct host {
    const char *listen, *host;
    bool allowed;
} hosts[] = {
    {"127.0.0.1:9411", "127.0.0.1:9411", true},
    {"127.0.0.1:9411", "127.0.0.1", true},
    {"127.0.0.1:9411", "10.1.2.3:9411", true},
    {"127.0.0.1:9411", "[::1]:9411", true},
    {"127.0.0.1:9411", "[::1]", true},
    {"127.0.0.1:9411", "localhost", true},
    {"127.0.0.1:9411", "LocalHost:1", true},
    {"127.0.0.1:9411", "shop.localhost:9411", true},
    {"127.0.0.1:9411", "", true},
    {"127.0.0.1:9411", "evil.test", false},
    {"127.0.0.1:9411", "evil.test:9411", false},
    {"127.0.0.1:9411", "localhost.evil.test", false},
    {"127.0.0.1:9411", "notlocalhost", false},
    {"127.0.0.1:9411", ".localhost", false},
    {"127.0.0.1:9411", "127.0.0.1.evil.test", false},
    {"127.0.0.1:9411", "127.0.0.1evil:80", false},
    {"127.0.0.1:9411", "0x7f000001", false},
    {"127.0.0.1:9411", "::1", false},
    {"127.0.0.1:9411", "[::1", false},
    {"127.0.0.1:9411", "[::1]evil.test", false},
    {"127.0.0.1:9411", "[evil.test]", false},
    {"127.0.0.1:9411", "[", false},
    {"127.0.0.1:9411", ":", false},
    {":9411", "shop", false},
    {":9411", ":9411", false},
    {"shop-admin:9411", "shop-admin:9411", true},
    {"shop-admin:9411", "SHOP-ADMIN", true},
    {"shop-admin:9411", "shop", false},
    {"unix:/run/admin.sock", "evil.test", true},
};

static void test_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct sky_address listen;
        size_t len = strlen(hosts[i].host);
        char *exact = malloc(len + 1); /* no byte after the end may be read */
        memcpy(exact, hosts[i].host, len);
        assert_null(sky_address_parse(hosts[i].listen, &listen));
        if (sky_admin_host_allowed(sky_text(exact, len), &listen) != hosts[i].allowed)
            fail_msg("%s at %s", hosts[i].host, hosts[i].listen);
        free(exact);
        sky_address_fini(&listen);
    }
}

static void assert_shows(const char *traces, const char *part)
{
    char *page = sky_admin_page(traces, "shop");
    assert_non_null(page);
    if (strstr(page, part) == NULL)
        fail_msg("not on the page: %s\n%s", part, page);
    free(page);
}

static void test_page(void **state)
{
    static const char traces[] =
        "{\"traces\":[{\"traceId\":\"a1.b2\",\"operation\":\"GET:/users/<int:id>\",\"service\":"
        "\"shop\",\"startTime\":1700000000123,\"durationMs\":12,\"isError\":true,\"segments\":2,"
        "\"spans\":5,\"services\":[\"shop\",\"stock\"]}]}";
    (void)state;
    assert_shows(traces, "<a href=\"/traces/a1.b2\">GET:/users/&lt;int:id&gt;</a> <b "
                         "class=\"e\">error</b></td><td>shop, stock</td>");
    assert_shows(traces, "<td>2023-11-14 22:13:20</td>");
    assert_shows(traces, "12 ms</td><td class=\"n\">5</td>");
    assert_shows("{\"traces\":[]}", "No traces yet");
    assert_shows(NULL, "local.enabled: on");
}

/* Every name comes from somebody else. */
static void test_hostile_names(void **state)
{
    static const char traces[] =
        "{\"traces\":[{\"traceId\":\"\\\"><script>/../%\",\"operation\":\"<script>&\\\"'\","
        "\"startTime\":9223372036854775807,\"durationMs\":-1,\"services\":[\"<b>\",3],\"spans\":"
        "\"x\"},7]}";
    (void)state;
    char *page = sky_admin_page(traces, "<i>");
    assert_null(strstr(page, "<script>"));
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "<i>"));
    assert_non_null(strstr(page, "href=\"/traces/%22%3E%3Cscript%3E%2F..%2F%25\""));
    assert_non_null(strstr(page, "&lt;script&gt;&amp;&quot;'"));
    free(page);
    free(sky_admin_page("no JSON", "shop"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_hostile_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
