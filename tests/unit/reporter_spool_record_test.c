/* SPDX-License-Identifier: Apache-2.0 */
/* Records as bytes, and the checksum that guards them. */
#include "reporter/spool/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reporter/spool/crc32c.h"
#include "tests/fuzz/corpus.h"

/* RFC 3720 B.4, and the check value that catalogues of CRCs give. */
static void test_crc_vectors(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], rising[32], falling[32];

    memset(ones, 0xff, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++) {
        rising[i] = i;
        falling[i] = 31 - i;
    }
    assert_int_equal(sky_crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(sky_crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(sky_crc32c(0, rising, 32), 0x46dd794e);
    assert_int_equal(sky_crc32c(0, falling, 32), 0x113fdb5c);
    assert_int_equal(sky_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(sky_crc32c_portable(0, "123456789", 9), 0xe3069283);
    assert_int_equal(sky_crc32c(0, "", 0), 0);
}

static void test_crc_in_parts_and_without_the_instruction(void **state)
{
    (void)state;
    uint8_t bytes[100];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    for (size_t length = 0; length <= sizeof(bytes); length++) {
        uint32_t whole = sky_crc32c(0, bytes, length);
        assert_int_equal(sky_crc32c_portable(0, bytes, length), whole);
        for (size_t cut = 0; cut <= length; cut++)
            assert_int_equal(sky_crc32c(sky_crc32c(0, bytes, cut), bytes + cut, length - cut),
                             whole);
    }
}

static void test_head(void **state)
{
    (void)state;
    uint8_t head[SKY_SPOOL_HEAD_BYTES];

    sky_spool_head_write(head);
    assert_true(sky_spool_head_read(head, sizeof(head)));
    assert_false(sky_spool_head_read(head, sizeof(head) - 1));
    for (size_t i = 0; i < sizeof(head); i++) {
        head[i] ^= 1;
        assert_false(sky_spool_head_read(head, sizeof(head)));
        head[i] ^= 1;
    }
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    uint8_t bytes[SKY_RECORD_HEAD_BYTES + 5] = "         hello";
    struct sky_record record;
    size_t needed;

    sky_record_head(bytes, 3, bytes + SKY_RECORD_HEAD_BYTES, 5);
    for (size_t count = 0; count < sizeof(bytes); count++) {
        uint8_t *exact = malloc(count + 1);
        memcpy(exact, bytes, count);
        assert_int_equal(sky_record_read(exact, count, &record, &needed), SKY_RECORD_SHORT);
        assert_int_equal(needed,
                         count < SKY_RECORD_HEAD_BYTES ? SKY_RECORD_HEAD_BYTES : sizeof(bytes));
        free(exact);
    }
    assert_int_equal(sky_record_read(bytes, sizeof(bytes), &record, &needed), SKY_RECORD_WHOLE);
    assert_int_equal(needed, sizeof(bytes));
    assert_int_equal(record.kind, 3);
    assert_int_equal(record.payload_bytes, 5);
    assert_memory_equal(record.payload, "hello", 5);
}

/* But for the length, which may make it one of more bytes than there are. */
static void test_each_bit_matters(void **state)
{
    (void)state;
    uint8_t bytes[SKY_RECORD_HEAD_BYTES + 5] = "         hello";
    struct sky_record record;
    size_t needed;

    sky_record_head(bytes, 0, bytes + SKY_RECORD_HEAD_BYTES, 5);
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(sky_record_read(bytes, sizeof(bytes), &record, &needed),
                             SKY_RECORD_WHOLE);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void test_lengths_that_cannot_be(void **state)
{
    (void)state;
    const uint8_t huge[SKY_RECORD_HEAD_BYTES] = {0xff, 0xff, 0xff, 0xff};
    const uint8_t zeros[SKY_RECORD_HEAD_BYTES] = {0};
    struct sky_record record;
    size_t needed;

    assert_int_equal(sky_record_read(huge, sizeof(huge), &record, &needed), SKY_RECORD_BROKEN);
    /* What a power failure may leave in a file. */
    assert_int_equal(sky_record_read(zeros, sizeof(zeros), &record, &needed), SKY_RECORD_BROKEN);
}

static void test_end(void **state)
{
    (void)state;
    uint8_t bytes[SKY_RECORD_END_BYTES];
    struct sky_record record;
    uint64_t count = 0;
    size_t needed;

    sky_record_end(bytes, 0x123456789abcdef0u);
    assert_int_equal(sky_record_read(bytes, sizeof(bytes), &record, &needed), SKY_RECORD_WHOLE);
    assert_true(sky_record_end_count(&record, &count));
    assert_true(count == 0x123456789abcdef0u);
    record.kind = 0;
    assert_false(sky_record_end_count(&record, &count));
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("spool_record") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_vectors),
        cmocka_unit_test(test_crc_in_parts_and_without_the_instruction),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_each_bit_matters),
        cmocka_unit_test(test_lengths_that_cannot_be),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
