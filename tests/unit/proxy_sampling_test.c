/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling: which requests are taken when they begin, and which are kept when they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "proxy/trace/sampling.h"

#define SECOND INT64_C(1000000)
#define START (1000000 * 3 * SECOND) /* where a window begins */

static const struct sky_sampling_config all = {.rate_ppm = SKY_RATE_ONE};
static const struct sky_id some_id = {1, 2};

static bool is_reported(const struct sky_sampling_config *config,
                        struct sky_sampling_window *window, int64_t now_us)
{
    return sky_sampling_begin(config, window, SKY_SAMPLING_OURS, some_id, now_us) ==
           SKY_SAMPLING_REPORT;
}

static void everything_by_default(void **state)
{
    struct sky_sampling_window window = {0};
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_true(is_reported(&all, &window, START));
}

static size_t count_of_rate(uint32_t rate_ppm, size_t traces)
{
    struct sky_sampling_config config = {.rate_ppm = rate_ppm};
    struct sky_sampling_window window = {0};
    struct sky_ids ids;
    uint8_t entropy[32] = {7};
    size_t taken = 0;
    sky_ids_init(&ids, entropy);
    for (size_t i = 0; i < traces; i++)
        taken += sky_sampling_begin(&config, &window, SKY_SAMPLING_OURS, sky_ids_next(&ids),
                                    START) == SKY_SAMPLING_REPORT;
    return taken;
}

static void a_rate_takes_its_part(void **state)
{
    (void)state;
    assert_int_equal(count_of_rate(0, 100000), 0);
    assert_int_equal(count_of_rate(SKY_RATE_ONE, 100000), 100000);
    /* the ids are of a fixed seed; six standard deviations */
    assert_in_range(count_of_rate(SKY_RATE_ONE / 2, 100000), 49050, 50950);
    assert_in_range(count_of_rate(SKY_RATE_ONE / 100, 100000), 811, 1189);
}

static void a_rate_decides_by_the_id(void **state)
{
    struct sky_sampling_config half = {.rate_ppm = SKY_RATE_ONE / 2};
    struct sky_sampling_config more = {.rate_ppm = SKY_RATE_ONE / 2 + 1};
    struct sky_sampling_window window = {0};
    struct sky_id low = {UINT64_MAX, UINT64_MAX / 2 - 1000000}, high = {0, UINT64_MAX / 2 + 1};
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sky_sampling_begin(&half, &window, SKY_SAMPLING_OURS, low, START),
                         SKY_SAMPLING_REPORT);
        assert_int_equal(sky_sampling_begin(&half, &window, SKY_SAMPLING_OURS, high, START),
                         SKY_SAMPLING_LEAVE);
    }
    /* what a rate takes, a higher one takes too */
    assert_int_equal(sky_sampling_begin(&more, &window, SKY_SAMPLING_OURS, low, START),
                     SKY_SAMPLING_REPORT);
    assert_int_equal(sky_sampling_begin(&more, &window, SKY_SAMPLING_OURS, high, START),
                     SKY_SAMPLING_REPORT);
}

static void so_many_in_three_seconds(void **state)
{
    struct sky_sampling_config config = {.rate_ppm = SKY_RATE_ONE, .per_3_seconds = 2};
    struct sky_sampling_window window = {0};
    (void)state;
    assert_true(is_reported(&config, &window, START));
    assert_true(is_reported(&config, &window, START + SECOND));
    assert_false(is_reported(&config, &window, START + SECOND));
    assert_false(is_reported(&config, &window, START + 3 * SECOND - 1));
    assert_true(is_reported(&config, &window, START + 3 * SECOND));
    /* a clock read before the window began */
    assert_true(is_reported(&config, &window, START + 3 * SECOND - 1));
    assert_false(is_reported(&config, &window, START + 3 * SECOND - 1));
    assert_false(is_reported(&config, &window, START + 4 * SECOND));
    /* the last number that the places can hold */
    config.per_3_seconds = UINT32_MAX;
    atomic_store(&window.state, (uint64_t)(START / (3 * SECOND)) << 32 | (UINT32_MAX - 1));
    assert_true(is_reported(&config, &window, START));
    assert_false(is_reported(&config, &window, START));
    assert_true(is_reported(&config, &window, START + 3 * SECOND));
}

static void the_rate_spares_the_window(void **state)
{
    struct sky_sampling_config config = {.rate_ppm = SKY_RATE_ONE / 2, .per_3_seconds = 1};
    struct sky_sampling_window window = {0};
    struct sky_id left = {0, UINT64_MAX};
    (void)state;
    assert_int_equal(sky_sampling_begin(&config, &window, SKY_SAMPLING_OURS, left, START),
                     SKY_SAMPLING_LEAVE);
    assert_true(is_reported(&config, &window, START));
}

static void joined_is_taken_and_counts(void **state)
{
    struct sky_sampling_config config = {.rate_ppm = 0, .per_3_seconds = 2};
    struct sky_sampling_window window = {0};
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(sky_sampling_begin(&config, &window, SKY_SAMPLING_JOINED, some_id, START),
                         SKY_SAMPLING_REPORT);
    config.rate_ppm = SKY_RATE_ONE;
    assert_false(is_reported(&config, &window, START));
    assert_true(is_reported(&config, &window, START + 3 * SECOND));
}

static void unsampled_by_the_caller(void **state)
{
    struct sky_sampling_config config = all;
    struct sky_sampling_window window = {0};
    (void)state;
    assert_int_equal(
        sky_sampling_begin(&config, &window, SKY_SAMPLING_JOINED_UNSAMPLED, some_id, START),
        SKY_SAMPLING_LEAVE);
    config.keep_errors = true;
    assert_int_equal(
        sky_sampling_begin(&config, &window, SKY_SAMPLING_JOINED_UNSAMPLED, some_id, START),
        SKY_SAMPLING_UNDECIDED);
}

static void undecided_while_something_may_keep_it(void **state)
{
    struct sky_sampling_config config = {.rate_ppm = 0};
    struct sky_sampling_window window = {0};
    (void)state;
    assert_int_equal(sky_sampling_begin(&config, &window, SKY_SAMPLING_OURS, some_id, START),
                     SKY_SAMPLING_LEAVE);
    config.keep_slower_than_ms = 1;
    assert_int_equal(sky_sampling_begin(&config, &window, SKY_SAMPLING_OURS, some_id, START),
                     SKY_SAMPLING_UNDECIDED);
    config = (struct sky_sampling_config){.keep_errors = true};
    assert_int_equal(sky_sampling_begin(&config, &window, SKY_SAMPLING_OURS, some_id, START),
                     SKY_SAMPLING_UNDECIDED);
}

static void kept_at_the_end(void **state)
{
    struct sky_sampling_config errors = {.keep_errors = true}, slow = {.keep_slower_than_ms = 500};
    struct sky_sampling_config both = {.keep_errors = true, .keep_slower_than_ms = 500};
    (void)state;
    assert_int_equal(sky_sampling_end(&errors, true, 0), SKY_SAMPLING_KEPT_ERROR);
    assert_int_equal(sky_sampling_end(&errors, false, 3600 * SECOND), SKY_SAMPLING_LEFT);
    assert_int_equal(sky_sampling_end(&slow, true, 500000), SKY_SAMPLING_LEFT);
    assert_int_equal(sky_sampling_end(&slow, false, 500001), SKY_SAMPLING_KEPT_SLOW);
    assert_int_equal(sky_sampling_end(&slow, false, -1), SKY_SAMPLING_LEFT);
    assert_int_equal(sky_sampling_end(&both, true, 500001), SKY_SAMPLING_KEPT_ERROR);
    assert_int_equal(sky_sampling_end(&both, false, 500001), SKY_SAMPLING_KEPT_SLOW);
    assert_int_equal(sky_sampling_end(&both, false, 0), SKY_SAMPLING_LEFT);
}

#define THREADS 4
#define TRIES 20000
#define LIMIT 1000

struct shared {
    struct sky_sampling_window window;
    size_t taken[THREADS];
    _Atomic int next;
};

static void *try_often(void *arg)
{
    static const struct sky_sampling_config config = {.rate_ppm = SKY_RATE_ONE,
                                                      .per_3_seconds = LIMIT};
    struct shared *shared = arg;
    size_t *taken = &shared->taken[atomic_fetch_add(&shared->next, 1)];
    for (int i = 0; i < TRIES; i++)
        *taken += is_reported(&config, &shared->window, START);
    return NULL;
}

/* Also when all workers ask at once, exactly so many are taken. */
static void exact_over_threads(void **state)
{
    struct shared shared = {.next = 0};
    pthread_t threads[THREADS];
    size_t taken = 0;
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, try_often, &shared), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        taken += shared.taken[i];
    assert_int_equal(taken, LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_by_default),
        cmocka_unit_test(a_rate_takes_its_part),
        cmocka_unit_test(a_rate_decides_by_the_id),
        cmocka_unit_test(so_many_in_three_seconds),
        cmocka_unit_test(the_rate_spares_the_window),
        cmocka_unit_test(joined_is_taken_and_counts),
        cmocka_unit_test(unsampled_by_the_caller),
        cmocka_unit_test(undecided_while_something_may_keep_it),
        cmocka_unit_test(kept_at_the_end),
        cmocka_unit_test(exact_over_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
