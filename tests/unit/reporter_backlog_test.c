/* SPDX-License-Identifier: Apache-2.0 */
#include "reporter/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/numbered_packet.h"

enum { SIZE = 84 };

static size_t cost(void)
{
    return sizeof(struct sky_packet) + SIZE + 16;
}

static struct sky_backlog backlog_of(size_t room, uint32_t count)
{
    struct sky_backlog backlog = {.max_bytes = room * cost()};

    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(sky_backlog_add(&backlog, numbered_packet(i, SIZE)), 0);
    return backlog;
}

static void assert_numbers(const struct sky_packets *packets, const uint32_t *numbers, size_t count)
{
    const struct sky_packet *packet = packets->first;

    assert_int_equal(packets->count, count);
    assert_int_equal(packets->bytes, count * cost());
    for (size_t i = 0; i < count; i++, packet = packet->next)
        assert_int_equal(packet_number(packet), numbers[i]);
    assert_null(packet);
}

static void test_oldest_makes_room(void **state)
{
    (void)state;
    struct sky_backlog backlog = backlog_of(3, 3);

    assert_int_equal(sky_backlog_add(&backlog, numbered_packet(3, SIZE)), 1);
    assert_numbers(&backlog.queue, (const uint32_t[]){1, 2, 3}, 3);
    assert_int_equal(sky_backlog_add(&backlog, numbered_packet(4, SIZE + 1)), 2);
    assert_int_equal(backlog.queue.count, 2);
    sky_packets_free(&backlog.queue);
}

static void test_larger_than_all_room(void **state)
{
    (void)state;
    struct sky_backlog backlog = backlog_of(3, 2);

    assert_int_equal(sky_backlog_add(&backlog, numbered_packet(9, 4 * cost())), 3);
    assert_int_equal(sky_backlog_count(&backlog), 0);
    assert_int_equal(sky_backlog_bytes(&backlog), 0);
}

static void test_take_by_bytes_and_count(void **state)
{
    (void)state;
    struct sky_backlog backlog = backlog_of(10, 6);
    struct sky_packets a = {0}, b = {0}, c = {0};

    sky_backlog_take(&backlog, SIZE_MAX, 2 * cost(), &a);
    assert_numbers(&a, (const uint32_t[]){0, 1}, 2);
    sky_backlog_take(&backlog, 1, SIZE_MAX, &b);
    assert_numbers(&b, (const uint32_t[]){2}, 1);
    sky_backlog_take(&backlog, SIZE_MAX, 1, &c);
    assert_numbers(&c, (const uint32_t[]){3}, 1);
    assert_int_equal(sky_backlog_count(&backlog), 6);
    assert_int_equal(sky_backlog_bytes(&backlog), 6 * cost());

    sky_backlog_return(&backlog, &b);
    assert_int_equal(sky_backlog_release(&backlog, &a), 2);
    sky_backlog_return(&backlog, &c);
    assert_numbers(&backlog.queue, (const uint32_t[]){3, 2, 4, 5}, 4);
    assert_int_equal(sky_backlog_count(&backlog), 4);
    sky_packets_free(&backlog.queue);
}

static void test_return_to_an_empty_queue(void **state)
{
    (void)state;
    struct sky_backlog backlog = backlog_of(10, 2);
    struct sky_packets batch = {0};

    sky_backlog_take(&backlog, SIZE_MAX, SIZE_MAX, &batch);
    sky_backlog_return(&backlog, &batch);
    assert_int_equal(sky_backlog_add(&backlog, numbered_packet(2, SIZE)), 0);
    assert_numbers(&backlog.queue, (const uint32_t[]){0, 1, 2}, 3);
    sky_backlog_return(&backlog, &batch);
    assert_int_equal(sky_backlog_count(&backlog), 3);
    sky_packets_free(&backlog.queue);
}

/* What a call holds counts, and stays: the queue, then the newcomer, gives way. */
static void test_taken_packets_count_and_stay(void **state)
{
    (void)state;
    struct sky_backlog backlog = backlog_of(3, 3);
    struct sky_packets batch = {0}, other = {0};

    sky_backlog_take(&backlog, 2, SIZE_MAX, &batch);
    assert_int_equal(sky_backlog_add(&backlog, numbered_packet(3, SIZE)), 1);
    assert_numbers(&backlog.queue, (const uint32_t[]){3}, 1);
    sky_backlog_take(&backlog, 1, SIZE_MAX, &other);
    assert_int_equal(backlog.taken_count, 3);
    assert_int_equal(sky_backlog_add(&backlog, numbered_packet(4, SIZE)), 1);
    assert_int_equal(sky_backlog_count(&backlog), 3);
    assert_numbers(&batch, (const uint32_t[]){0, 1}, 2);
    sky_backlog_release(&backlog, &other);
    assert_int_equal(sky_backlog_release(&backlog, &batch), 2);
    assert_int_equal(sky_backlog_bytes(&backlog), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oldest_makes_room),
        cmocka_unit_test(test_larger_than_all_room),
        cmocka_unit_test(test_take_by_bytes_and_count),
        cmocka_unit_test(test_return_to_an_empty_queue),
        cmocka_unit_test(test_taken_packets_count_and_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
