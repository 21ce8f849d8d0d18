/* SPDX-License-Identifier: Apache-2.0 */
#include "reporter/backends.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct sky_backends backends_of(size_t count, uint8_t seed)
{
    struct sky_backends backends;
    uint8_t entropy[32] = {[0] = 1, [8] = seed};

    sky_backends_init(&backends, count, entropy);
    return backends;
}

static bool lose(struct sky_backends *backends, bool slow, int64_t now_ms)
{
    return sky_backends_failed(backends, backends->epoch, slow, now_ms);
}

static void test_pause_doubles_with_jitter(void **state)
{
    (void)state;
    static const int64_t longest[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
    int64_t seen_low = INT64_MAX, seen_high = 0;

    for (int seed = 0; seed < 200; seed++) {
        struct sky_backends backends = backends_of(1, (uint8_t)seed);
        int64_t now = 1000000;
        assert_true(sky_backends_ready(&backends, now));
        for (size_t i = 0; i < sizeof(longest) / sizeof(longest[0]); i++) {
            assert_true(lose(&backends, false, now));
            int64_t pause = backends.ready_ms - now;
            assert_in_range(pause, longest[i] / 2, longest[i]);
            assert_false(sky_backends_ready(&backends, backends.ready_ms - 1));
            assert_true(sky_backends_ready(&backends, backends.ready_ms));
            now = backends.ready_ms;
            if (i == 0) {
                seen_low = pause < seen_low ? pause : seen_low;
                seen_high = pause > seen_high ? pause : seen_high;
            }
        }
        sky_backends_answered(&backends, backends.epoch);
        assert_true(lose(&backends, false, now));
        assert_in_range(backends.ready_ms - now, 500, 1000);
    }
    /* Many processes that lost the same backend do not come back at the same time. */
    assert_true(seen_low < 600 && seen_high > 900);
}

static void test_each_backend_once_and_then_a_pause(void **state)
{
    (void)state;
    struct sky_backends backends = backends_of(3, 1);

    assert_false(lose(&backends, false, 0));
    assert_int_equal(backends.current, 1);
    assert_true(sky_backends_ready(&backends, 0));
    assert_false(lose(&backends, false, 0));
    assert_int_equal(backends.current, 2);
    assert_true(lose(&backends, false, 0));
    assert_int_equal(backends.current, 0);
    assert_false(sky_backends_ready(&backends, 499));
}

static void test_an_answer_ends_the_round(void **state)
{
    (void)state;
    struct sky_backends backends = backends_of(2, 1);

    assert_false(lose(&backends, false, 0));
    sky_backends_answered(&backends, backends.epoch);
    assert_true(backends.is_up);
    assert_int_equal(backends.current, 1);
    assert_false(lose(&backends, false, 0));
    assert_int_equal(backends.current, 0);
    assert_false(backends.is_up);
    sky_backends_answered(&backends, backends.epoch);
    assert_false(lose(&backends, false, 0));
    sky_backends_prefer(&backends);
    assert_int_equal(backends.current, 0);
}

/* Of several calls that a dying backend fails, the first says so and the others repeat it. */
static void test_calls_of_an_older_epoch_say_nothing(void **state)
{
    (void)state;
    struct sky_backends backends = backends_of(2, 1);
    unsigned epoch = backends.epoch;

    assert_false(sky_backends_failed(&backends, epoch, false, 0));
    assert_false(sky_backends_failed(&backends, epoch, false, 0));
    assert_int_equal(backends.current, 1);
    sky_backends_answered(&backends, epoch);
    assert_false(backends.is_up);
}

/* What is still under way to the one that stood in for it says nothing of the preferred one. */
static void test_calls_to_the_substitute_say_nothing_of_the_preferred(void **state)
{
    (void)state;
    struct sky_backends backends = backends_of(2, 1);

    assert_false(lose(&backends, false, 0));
    sky_backends_answered(&backends, backends.epoch);
    unsigned of_substitute = backends.epoch;
    sky_backends_prefer(&backends);
    assert_false(sky_backends_failed(&backends, of_substitute, false, 0));
    assert_int_equal(backends.current, 0);
    assert_true(backends.is_up);
    assert_false(lose(&backends, false, 0));
    assert_int_equal(backends.current, 1);
}

static void test_slow_only_when_all_want_it(void **state)
{
    (void)state;
    struct sky_backends backends = backends_of(2, 1);

    assert_false(lose(&backends, true, 0));
    assert_true(lose(&backends, true, 0));
    assert_in_range(backends.ready_ms, 30000, 60000);

    backends = backends_of(2, 1);
    assert_false(lose(&backends, true, 0));
    assert_true(lose(&backends, false, 0));
    assert_in_range(backends.ready_ms, 500, 1000);
}

static void test_hurry_ends_a_pause(void **state)
{
    (void)state;
    struct sky_backends backends = backends_of(1, 1);

    assert_true(lose(&backends, true, 0));
    sky_backends_hurry(&backends, 10);
    assert_true(sky_backends_ready(&backends, 10));
    assert_true(lose(&backends, false, 10));
    assert_in_range(backends.ready_ms, 510, 1010);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pause_doubles_with_jitter),
        cmocka_unit_test(test_each_backend_once_and_then_a_pause),
        cmocka_unit_test(test_an_answer_ends_the_round),
        cmocka_unit_test(test_calls_of_an_older_epoch_say_nothing),
        cmocka_unit_test(test_calls_to_the_substitute_say_nothing_of_the_preferred),
        cmocka_unit_test(test_slow_only_when_all_want_it),
        cmocka_unit_test(test_hurry_ends_a_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
