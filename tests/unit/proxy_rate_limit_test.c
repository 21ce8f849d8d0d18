/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets: bursts, waiting, sharing between threads, and a table that is full. */
#include "proxy/limit/rate_limit.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND 1000000000ULL

static const struct sky_rate_config ten_a_second = {{10, 1}, 5};
static const struct sky_rate_config one_a_minute = {{1, 60}, 1};

static struct sky_address_key client(uint64_t number)
{
    return (struct sky_address_key){{number, 1}};
}

static uint32_t take(struct sky_rate_limit *limit, uint64_t number, uint32_t zone,
                     const struct sky_rate_config *rate, uint64_t now_ns)
{
    struct sky_address_key key = client(number);

    return sky_rate_limit_take(limit, &key, zone, rate, now_ns).wait_s;
}

static void test_burst_then_rate(void **state)
{
    (void)state;
    struct sky_rate_limit *limit = sky_rate_limit_new(64);
    uint64_t now = 5 * SECOND;

    for (int i = 0; i < 5; i++)
        assert_int_equal(take(limit, 1, 0, &ten_a_second, now), 0);
    assert_int_equal(take(limit, 1, 0, &ten_a_second, now), 1);
    now += SECOND / 10 - 1;
    assert_int_equal(take(limit, 1, 0, &ten_a_second, now), 1);
    now += 1;
    assert_int_equal(take(limit, 1, 0, &ten_a_second, now), 0);
    assert_int_equal(take(limit, 1, 0, &ten_a_second, now), 1);
    /* full again, and not more than full */
    now += 100 * SECOND;
    for (int i = 0; i < 5; i++)
        assert_int_equal(take(limit, 1, 0, &ten_a_second, now), 0);
    assert_int_equal(take(limit, 1, 0, &ten_a_second, now), 1);
    sky_rate_limit_destroy(limit);
}

static void test_wait_is_what_it_takes(void **state)
{
    (void)state;
    struct sky_rate_limit *limit = sky_rate_limit_new(64);

    assert_int_equal(take(limit, 1, 0, &one_a_minute, SECOND), 0);
    assert_int_equal(take(limit, 1, 0, &one_a_minute, SECOND), 60);
    assert_int_equal(take(limit, 1, 0, &one_a_minute, 2 * SECOND), 59);
    assert_int_equal(take(limit, 1, 0, &one_a_minute, 2 * SECOND + 1), 59);
    /* who is refused does not wait longer for it */
    assert_int_equal(take(limit, 1, 0, &one_a_minute, 60 * SECOND), 1);
    assert_int_equal(take(limit, 1, 0, &one_a_minute, 61 * SECOND), 0);
    sky_rate_limit_destroy(limit);
}

static void test_clients_and_zones_are_apart(void **state)
{
    (void)state;
    struct sky_rate_limit *limit = sky_rate_limit_new(1000);

    for (uint64_t number = 0; number < 10; number++)
        for (uint32_t zone = 0; zone < 10; zone++)
            assert_int_equal(take(limit, number, zone, &one_a_minute, SECOND), 0);
    for (uint64_t number = 0; number < 10; number++)
        for (uint32_t zone = 0; zone < 10; zone++)
            assert_int_equal(take(limit, number, zone, &one_a_minute, SECOND), 60);
    sky_rate_limit_destroy(limit);
}

/* 64 buckets are one in each shard: the older client of two has to go. */
static void test_oldest_is_forgotten(void **state)
{
    (void)state;
    enum { CLIENTS = 1000 };
    struct sky_rate_limit *limit = sky_rate_limit_new(64);
    unsigned evicted = 0, remembered = 0;

    for (uint64_t number = 0; number < CLIENTS; number++) {
        struct sky_address_key key = client(number);
        struct sky_rate_verdict verdict =
            sky_rate_limit_take(limit, &key, 0, &one_a_minute, SECOND);
        assert_int_equal(verdict.wait_s, 0);
        evicted += verdict.evicted;
        /* the newest is not the one that goes */
        assert_int_equal(take(limit, number, 0, &one_a_minute, SECOND), 60);
    }
    assert_int_equal(evicted, CLIENTS - 64);
    for (uint64_t number = CLIENTS; number-- != 0;)
        remembered += take(limit, number, 0, &one_a_minute, SECOND) != 0;
    assert_in_range(remembered, 1, 64);
    /* those whose bucket is full again may be forgotten, and are not counted */
    struct sky_address_key key = client(CLIENTS);
    for (int i = 0; i < 100; i++, key.words[0]++)
        assert_false(sky_rate_limit_take(limit, &key, 0, &one_a_minute, 100 * SECOND).evicted &&
                     i == 0);
    sky_rate_limit_destroy(limit);
}

/* Use, not age, decides who goes. */
static void test_use_keeps(void **state)
{
    (void)state;
    struct sky_rate_limit *limit = sky_rate_limit_new(64 * 8);

    assert_int_equal(take(limit, 0, 0, &one_a_minute, SECOND), 0);
    for (uint64_t number = 1; number < 20000; number++) {
        (void)take(limit, number, 0, &one_a_minute, SECOND);
        if (number % 50 == 0)
            assert_int_equal(take(limit, 0, 0, &one_a_minute, SECOND), 60);
    }
    sky_rate_limit_destroy(limit);
}

/* Each token is given out once, however many workers ask. */
#define THREADS 4
static struct sky_rate_limit *shared;
static _Atomic unsigned given;

static void *run(void *arg)
{
    static const struct sky_rate_config thousand = {{1, 3600}, 1000};
    (void)arg;
    for (int i = 0; i < 2000; i++)
        if (take(shared, 7, 0, &thousand, SECOND) == 0)
            atomic_fetch_add(&given, 1);
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];

    shared = sky_rate_limit_new(64);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&given), 1000);
    sky_rate_limit_destroy(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate),
        cmocka_unit_test(test_wait_is_what_it_takes),
        cmocka_unit_test(test_clients_and_zones_are_apart),
        cmocka_unit_test(test_oldest_is_forgotten),
        cmocka_unit_test(test_use_keeps),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
