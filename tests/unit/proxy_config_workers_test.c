/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU quota of both versions of cgroups, on a made-up tree. */
#include "proxy/config/config_workers.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[] = "/tmp/skystitch-cgroup-XXXXXX";

static void put(const char *path, const char *text)
{
    char name[256];
    snprintf(name, sizeof(name), "%s/%s", root, path);
    for (char *slash = strchr(name + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(name, 0700);
        *slash = '/';
    }
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_tree(void **state)
{
    (void)state;
    if (mkdtemp(root) == NULL)
        return -1;
    put("cpu.max", "max 100000\n");
    put("pods/cpu.max", "250000 100000\n");
    put("pods/a/cpu.max", "400000 100000\n");
    put("pods/b/cpu.max", "150000 100000\n");
    put("pods/c/cpu.max", "5000 100000\n");
    put("free/cpu.max", "max 100000\n");
    put("odd/cpu.max", "what\n");
    put("zero/cpu.max", "1000 0\n");
    put("cpu/cpu.cfs_quota_us", "-1\n");
    put("cpu/cpu.cfs_period_us", "100000\n");
    put("cpu/docker/x/cpu.cfs_quota_us", "300000\n");
    put("cpu/docker/x/cpu.cfs_period_us", "100000\n");
    put("cpu/docker/y/cpu.cfs_quota_us", "50000\n");
    put("cpu/docker/y/cpu.cfs_period_us", "100000\n");
    return 0;
}

static int unlink_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static int remove_tree(void **state)
{
    (void)state;
    return nftw(root, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const struct sample {
    const char *membership;
    uint32_t cpus;
} samples[] = {
    {"", UINT32_MAX},
    {"0::/\n", UINT32_MAX},
    {"0::/free\n", UINT32_MAX},
    {"0::/pods/a\n", 3}, /* the group above allows less: 2.5 */
    {"0::/pods/b\n", 2},
    {"0::/pods/c\n", 1},
    {"0::/pods/b", 2},
    {"0::/pods\n", 3},
    {"0::/not/here\n", UINT32_MAX},
    {"0::/odd\n", UINT32_MAX},
    {"0::/zero\n", UINT32_MAX},
    {"2:cpuacct:/docker/x\n1:cpu:/docker/x\n0::/\n", 3},
    {"4:cpu,cpuacct:/docker/y\n", 1},
    {"4:cpuacct,cpu:/docker/y\n", 1},
    {"4:cpuset:/docker/y\n", UINT32_MAX},
    {"1:cpu:/seen/from/the/host\n", UINT32_MAX},
    {"1:cpu:/docker/x\n0::/pods/b\n", 2},
    {"nonsense\n1:cpu\n::\n", UINT32_MAX},
};

static void test_quota(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        if (sky_workers_quota(samples[i].membership, root) != samples[i].cpus)
            fail_msg("%s: %u", samples[i].membership,
                     sky_workers_quota(samples[i].membership, root));
    }
}

static void test_cut(void **state)
{
    static const char whole[] = "2:cpuacct:/docker/x\n1:cpu:/docker/x\n0::/pods/b\n";
    (void)state;
    for (size_t len = 0; len < sizeof(whole); len++) {
        char text[sizeof(whole)];
        snprintf(text, sizeof(text), "%.*s", (int)len, whole);
        assert_true(sky_workers_quota(text, root) >= 1);
    }
}

static void test_long_group(void **state)
{
    char *text = malloc(10000);
    (void)state;
    memset(text, 'a', 9999);
    memcpy(text, "0::/", 4);
    text[9999] = '\0';
    assert_int_equal(sky_workers_quota(text, root), UINT32_MAX);
    free(text);
}

static void test_here(void **state)
{
    (void)state;
    assert_in_range(sky_workers_auto(), 1, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_long_group),
        cmocka_unit_test(test_here),
    };
    return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
