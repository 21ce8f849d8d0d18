/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of lines: whole lines, in order, around the end, between two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "proxy/access/line_ring.h"

/* Everything that is in the ring, as text; given up. */
static const char *take(struct sky_line_ring *ring)
{
    static char text[256];
    struct iovec pieces[2];
    int count = sky_line_ring_peek(ring, pieces);
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        memcpy(text + len, pieces[i].iov_base, pieces[i].iov_len);
        len += pieces[i].iov_len;
    }
    text[len] = '\0';
    sky_line_ring_pop(ring, len);
    return text;
}

static void whole_lines_or_none(void **state)
{
    struct sky_line_ring *ring = sky_line_ring_new(8);
    struct iovec pieces[2];
    (void)state;
    assert_int_equal(sky_line_ring_peek(ring, pieces), 0);
    assert_true(sky_line_ring_push(ring, SKY_TEXT("abc\n")));
    assert_false(sky_line_ring_push(ring, SKY_TEXT("defg\n")));
    assert_false(sky_line_ring_is_high(ring));
    assert_true(sky_line_ring_push(ring, SKY_TEXT("def\n")));
    assert_true(sky_line_ring_is_high(ring));
    assert_false(sky_line_ring_push(ring, SKY_TEXT("\n")));
    assert_int_equal(sky_line_ring_peek(ring, pieces), 1);
    assert_string_equal(take(ring), "abc\ndef\n");
    assert_false(sky_line_ring_is_high(ring));
    assert_false(sky_line_ring_push(ring, SKY_TEXT("12345678\n")));
    sky_line_ring_destroy(ring);
    sky_line_ring_destroy(NULL);
}

/* Every place of the wrap within a line. */
static void around_the_end(void **state)
{
    struct sky_line_ring *ring = sky_line_ring_new(7);
    (void)state;
    for (int i = 0; i < 20; i++) {
        char line[8];
        int len = snprintf(line, sizeof(line), "%d..\n", i % 10);
        assert_true(sky_line_ring_push(ring, sky_text(line, (size_t)len)));
        assert_string_equal(take(ring), line);
    }
    sky_line_ring_destroy(ring);
}

#define LINES 20000

static void *push_all(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        char line[16];
        int len = snprintf(line, sizeof(line), "%d\n", i);
        while (!sky_line_ring_push(arg, sky_text(line, (size_t)len)))
            sched_yield();
    }
    return NULL;
}

static void between_threads(void **state)
{
    struct sky_line_ring *ring = sky_line_ring_new(64);
    pthread_t producer;
    int next = 0, number = 0;
    (void)state;
    assert_int_equal(pthread_create(&producer, NULL, push_all, ring), 0);
    while (next < LINES) {
        struct iovec pieces[2];
        int count = sky_line_ring_peek(ring, pieces);
        size_t bytes = 0;
        if (count == 0)
            sched_yield();
        for (int i = 0; i < count; i++) {
            const char *base = pieces[i].iov_base;
            for (size_t k = 0; k < pieces[i].iov_len; k++) {
                if (base[k] != '\n') {
                    number = number * 10 + base[k] - '0';
                    continue;
                }
                assert_int_equal(number, next);
                next++;
                number = 0;
            }
            bytes += pieces[i].iov_len;
        }
        assert_int_equal(number, 0); /* it never ends within a line */
        sky_line_ring_pop(ring, bytes);
    }
    pthread_join(producer, NULL);
    sky_line_ring_destroy(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_lines_or_none),
        cmocka_unit_test(around_the_end),
        cmocka_unit_test(between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
