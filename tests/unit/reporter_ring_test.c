/* SPDX-License-Identifier: Apache-2.0 */
/* The ring's bounds by count and by bytes, and the hand-over between two threads. */
#include "reporter/ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reporter/packets.h"
#include "tests/unit/numbered_packet.h"

static void test_packets_leave_in_order(void **state)
{
    (void)state;
    struct sky_ring *ring = sky_ring_new(8, 1 << 20);

    assert_null(sky_ring_pop(ring));
    for (uint32_t i = 0; i < 100; i++) {
        assert_true(sky_ring_push(ring, numbered_packet(2 * i, 16)));
        assert_true(sky_ring_push(ring, numbered_packet(2 * i + 1, 16)));
        for (uint32_t j = 0; j < 2; j++) {
            struct sky_packet *packet = sky_ring_pop(ring);
            assert_int_equal(packet_number(packet), 2 * i + j);
            free(packet);
        }
    }
    assert_null(sky_ring_pop(ring));
    assert_int_equal(sky_ring_pushed(ring), 200);
    assert_int_equal(sky_ring_refused(ring), 0);
    sky_ring_destroy(ring);
}

static void test_full_by_count(void **state)
{
    (void)state;
    struct sky_ring *ring = sky_ring_new(8, 1 << 20);

    for (uint32_t i = 0; i < 8; i++)
        assert_true(sky_ring_push(ring, numbered_packet(i, 16)));
    assert_false(sky_ring_push(ring, numbered_packet(8, 16)));
    assert_int_equal(sky_ring_pushed(ring), 8);
    assert_int_equal(sky_ring_refused(ring), 1);
    free(sky_ring_pop(ring));
    assert_true(sky_ring_push(ring, numbered_packet(9, 16)));
    sky_ring_destroy(ring);
}

static void test_full_by_bytes(void **state)
{
    (void)state;
    struct sky_packet *first = numbered_packet(0, 1000);
    struct sky_ring *ring = sky_ring_new(8, 2 * sky_packet_cost(first));

    assert_true(sky_ring_push(ring, first));
    assert_true(sky_ring_push(ring, numbered_packet(1, 1000)));
    assert_false(sky_ring_push(ring, numbered_packet(2, 4)));
    free(sky_ring_pop(ring));
    assert_true(sky_ring_push(ring, numbered_packet(3, 1000)));
    assert_int_equal(sky_ring_refused(ring), 1);
    sky_ring_destroy(ring);
}

static void test_high_water_is_told_once(void **state)
{
    (void)state;
    struct sky_ring *ring = sky_ring_new(8, 1 << 20);

    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 7; i++) {
            assert_true(sky_ring_push(ring, numbered_packet(i, 16)));
            assert_int_equal(sky_ring_high_water(ring), i == 3);
        }
        for (uint32_t i = 0; i < 7; i++)
            free(sky_ring_pop(ring));
    }
    sky_ring_destroy(ring);

    ring = sky_ring_new(8, 1000);
    assert_true(sky_ring_push(ring, numbered_packet(0, 600)));
    assert_true(sky_ring_high_water(ring));
    assert_false(sky_ring_high_water(ring));
    sky_ring_destroy(ring);
}

enum { CROSSINGS = 200000 };

static void *produce(void *argument)
{
    struct sky_ring *ring = argument;

    for (uint32_t i = 0; i < CROSSINGS; i++) {
        sky_ring_push(ring, numbered_packet(i, 8 + i % 64));
        if (sky_ring_high_water(ring))
            sched_yield();
    }
    return NULL;
}

/* Every packet arrives whole, in order, or is counted as refused. */
static void test_two_threads(void **state)
{
    (void)state;
    struct sky_ring *ring = sky_ring_new(64, 4096);
    size_t arrived = 0;
    uint32_t next = 0;
    pthread_t producer;

    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);
    while (arrived + sky_ring_refused(ring) < CROSSINGS) {
        struct sky_packet *packet = sky_ring_pop(ring);
        if (packet == NULL) {
            sched_yield();
            continue;
        }
        uint32_t number = packet_number(packet);
        assert_true(number >= next && packet->size == 8 + number % 64);
        next = number + 1;
        arrived++;
        free(packet);
    }
    pthread_join(producer, NULL);
    assert_null(sky_ring_pop(ring));
    assert_int_equal(sky_ring_pushed(ring), arrived);
    sky_ring_destroy(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_leave_in_order),
        cmocka_unit_test(test_full_by_count),
        cmocka_unit_test(test_full_by_bytes),
        cmocka_unit_test(test_high_water_is_told_once),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
