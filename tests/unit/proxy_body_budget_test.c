/* SPDX-License-Identifier: Apache-2.0 */
/* What all bodies may hold together: exact, given back whole, and charged by body buffers. */
#include "proxy/front/body_budget.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/front/body_buffer.h"

#define STEP SKY_BODY_BUDGET_STEP_BYTES

static void test_without_a_budget(void **state)
{
    (void)state;
    struct sky_body_share share = {0};

    assert_true(sky_body_share_take(&share, UINT64_MAX));
    sky_body_share_give_back(&share, UINT64_MAX);
    sky_body_share_fini(&share);
}

/* Small limits are exact although a loop takes steps: what is missing is taken singly. */
static void test_the_limit_is_exact(void **state)
{
    (void)state;
    struct sky_body_budget budget;
    struct sky_body_share share;

    sky_body_budget_init(&budget, 1000);
    sky_body_share_init(&share, &budget);
    assert_true(sky_body_share_take(&share, 600));
    assert_true(sky_body_share_take(&share, 400));
    assert_false(sky_body_share_take(&share, 1));
    sky_body_share_give_back(&share, 400);
    assert_false(sky_body_share_take(&share, 401));
    assert_true(sky_body_share_take(&share, 400));
    sky_body_share_give_back(&share, 1000);
    sky_body_share_fini(&share);
    assert_int_equal(sky_body_budget_taken(&budget), 0);
}

/* What one loop keeps for itself is bounded. */
static void test_spare_goes_back(void **state)
{
    (void)state;
    struct sky_body_budget budget;
    struct sky_body_share one, other;

    sky_body_budget_init(&budget, 100 * STEP);
    sky_body_share_init(&one, &budget);
    sky_body_share_init(&other, &budget);
    assert_true(sky_body_share_take(&one, 100 * STEP));
    assert_false(sky_body_share_take(&other, 1));
    sky_body_share_give_back(&one, 100 * STEP);
    assert_int_equal(sky_body_budget_taken(&budget), STEP);
    assert_true(sky_body_share_take(&other, 99 * STEP));
    sky_body_share_give_back(&other, 99 * STEP);
    sky_body_share_fini(&one);
    sky_body_share_fini(&other);
    assert_int_equal(sky_body_budget_taken(&budget), 0);
}

static void test_a_smaller_limit(void **state)
{
    (void)state;
    struct sky_body_budget budget;
    struct sky_body_share share;

    sky_body_budget_init(&budget, 4 * STEP);
    sky_body_share_init(&share, &budget);
    assert_true(sky_body_share_take(&share, 4 * STEP));
    sky_body_budget_set_limit(&budget, STEP);
    assert_false(sky_body_share_take(&share, 1));
    sky_body_share_give_back(&share, 4 * STEP);
    assert_false(sky_body_share_take(&share, STEP + 1));
    assert_true(sky_body_share_take(&share, STEP));
    sky_body_share_give_back(&share, STEP);
    sky_body_share_fini(&share);
}

/* Loops take and give back at the same time: never more than there is, all of it in the end. */
#define LOOPS 4
#define UNIT 100000
static struct sky_body_budget shared;
static _Atomic uint64_t held;

static void *run(void *arg)
{
    bool *sound = arg;
    struct sky_body_share share;

    sky_body_share_init(&share, &shared);
    for (int i = 0; i < 20000; i++) {
        if (!sky_body_share_take(&share, UNIT))
            continue;
        *sound &= atomic_fetch_add(&held, UNIT) + UNIT <= (uint64_t)3 * STEP;
        atomic_fetch_sub(&held, UNIT);
        sky_body_share_give_back(&share, UNIT);
    }
    sky_body_share_fini(&share);
    return NULL;
}

static void test_many_loops(void **state)
{
    (void)state;
    pthread_t threads[LOOPS];
    bool sound[LOOPS] = {true, true, true, true};

    sky_body_budget_init(&shared, (uint64_t)3 * STEP);
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &sound[i]), 0);
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(sound[i]);
    }
    assert_int_equal(sky_body_budget_taken(&shared), 0);
}

/* ---- bodies ---- */

static void test_bodies_are_charged(void **state)
{
    (void)state;
    static char bytes[100000];
    struct sky_body_budget budget;
    struct sky_body_share share;
    struct sky_body_settings settings = {1 << 20, 8192, "/tmp", &share, open, write};
    struct sky_body_buffer first, second;
    struct sky_text body;

    sky_body_budget_init(&budget, sizeof bytes + 8192);
    sky_body_share_init(&share, &budget);
    sky_body_buffer_init(&first, &settings);
    sky_body_buffer_init(&second, &settings);
    assert_int_equal(sky_body_buffer_append(&first, sky_text(bytes, sizeof bytes)), SKY_BODY_OK);
    assert_int_equal(sky_body_buffer_finish(&first, &body), SKY_BODY_OK);
    /* the first one's memory is free again, its file is not */
    assert_int_equal(sky_body_buffer_append(&second, sky_text(bytes, 8192)), SKY_BODY_OK);
    assert_int_equal(sky_body_buffer_append(&second, sky_text(bytes, 1)), SKY_BODY_OVER_BUDGET);
    sky_body_buffer_fini(&second);
    sky_body_buffer_fini(&first);
    sky_body_buffer_fini(&first);
    sky_body_share_fini(&share);
    assert_int_equal(sky_body_budget_taken(&budget), 0);
}

static void test_an_expected_body_is_charged(void **state)
{
    (void)state;
    struct sky_body_budget budget;
    struct sky_body_share share;
    struct sky_body_settings settings = {1 << 20, 8192, "/tmp", &share, open, write};
    struct sky_body_buffer buffer;

    sky_body_budget_init(&budget, 5000);
    sky_body_share_init(&share, &budget);
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(sky_body_buffer_expect(&buffer, 5001), SKY_BODY_OVER_BUDGET);
    sky_body_buffer_fini(&buffer);
    sky_body_share_fini(&share);
    assert_int_equal(sky_body_budget_taken(&budget), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_budget),
        cmocka_unit_test(test_the_limit_is_exact),
        cmocka_unit_test(test_spare_goes_back),
        cmocka_unit_test(test_a_smaller_limit),
        cmocka_unit_test(test_many_loops),
        cmocka_unit_test(test_bodies_are_charged),
        cmocka_unit_test(test_an_expected_body_is_charged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
