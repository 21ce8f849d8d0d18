/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the spool, and the queue that they make, in a folder of their own. */
#include "reporter/spool/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reporter/log.h"
#include "tests/unit/numbered_packet.h"

static char folder[] = "/tmp/skystitch-spool-XXXXXX";
static int folder_fd;

static int set_up(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    folder_fd = mkdtemp(folder) != NULL ? open(folder, O_RDONLY | O_DIRECTORY) : -1;
    sky_log_set_level(SKY_LOG_ERROR);
    return folder_fd < 0;
}

static int tear_down(void **state)
{
    char command[100];

    (void)state;
    close(folder_fd);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static struct sky_packets packets_of(uint32_t first, uint32_t count, size_t size)
{
    struct sky_packets packets = {0};

    for (uint32_t i = first; i < first + count; i++)
        sky_packets_add(&packets, numbered_packet(i, size));
    return packets;
}

static void write_file(uint64_t number, uint32_t count, size_t size, bool is_ended)
{
    struct sky_spool_writer writer = {.fd = -1};
    struct sky_packets packets = packets_of(0, count, size);

    assert_int_equal(sky_spool_writer_open(&writer, folder_fd, number), 0);
    assert_int_equal(sky_spool_writer_append(&writer, &packets, UINT64_MAX), 0);
    assert_int_equal(packets.count, 0);
    assert_int_equal(writer.records, count);
    if (is_ended)
        assert_int_equal(sky_spool_writer_close(&writer), 0);
    else
        close(writer.fd);
}

static off_t size_of(uint64_t number)
{
    char name[SKY_SPOOL_NAME_BYTES];
    struct stat status;

    sky_spool_file_name(name, number);
    assert_int_equal(fstatat(folder_fd, name, &status, 0), 0);
    return status.st_size;
}

static void cut(uint64_t number, off_t size)
{
    char name[SKY_SPOOL_NAME_BYTES];

    sky_spool_file_name(name, number);
    int fd = openat(folder_fd, name, O_WRONLY);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void test_names(void **state)
{
    (void)state;
    char name[SKY_SPOOL_NAME_BYTES];
    uint64_t number;

    sky_spool_file_name(name, 0xfedcba9876543210u);
    assert_string_equal(name, "fedcba9876543210.spool");
    assert_true(sky_spool_file_number(name, &number));
    assert_true(number == 0xfedcba9876543210u);
    assert_false(sky_spool_file_number("1.spool", &number));
    assert_false(sky_spool_file_number("0000000000000001.spool.old", &number));
    assert_false(sky_spool_file_number("lock", &number));
}

static uint32_t read_all(uint64_t number, enum sky_spool_read *end)
{
    struct sky_spool_reader reader = {.fd = -1};
    struct sky_record record;
    uint32_t count = 0;

    assert_int_equal(sky_spool_reader_open(&reader, folder_fd, number, 0), 0);
    while ((*end = sky_spool_reader_next(&reader, &record)) == SKY_SPOOL_READ_RECORD) {
        assert_memory_equal(record.payload, &count, sizeof(count));
        count++;
    }
    sky_spool_reader_close(&reader);
    return count;
}

static void test_written_is_read(void **state)
{
    (void)state;
    enum sky_spool_read end;

    write_file(1, 1000, 300, true);
    assert_int_equal(read_all(1, &end), 1000);
    assert_int_equal(end, SKY_SPOOL_READ_END);
    write_file(2, 3, 3 << 20, true); /* larger than any buffer */
    assert_int_equal(read_all(2, &end), 3);
    assert_int_equal(end, SKY_SPOOL_READ_END);
    write_file(3, 10, 300, false);
    assert_int_equal(read_all(3, &end), 10);
    assert_int_equal(end, SKY_SPOOL_READ_END);
}

/* As after a kill or a power failure: what is whole is read, and counted the same. */
static void test_cut_at_every_byte(void **state)
{
    (void)state;
    enum sky_spool_read end;
    struct sky_spool_measure measure;

    write_file(1, 5, 20, true);
    off_t size = size_of(1);
    const off_t record = SKY_RECORD_HEAD_BYTES + 20;
    for (off_t left = size; left >= SKY_SPOOL_HEAD_BYTES; left--) {
        cut(1, left);
        off_t whole = (left - SKY_SPOOL_HEAD_BYTES) / record;
        if (whole > 5)
            whole = 5;
        bool is_clean = left == size || SKY_SPOOL_HEAD_BYTES + whole * record == left;
        assert_int_equal(read_all(1, &end), whole);
        assert_int_equal(end, is_clean ? SKY_SPOOL_READ_END : SKY_SPOOL_READ_BROKEN);
        assert_int_equal(sky_spool_file_measure(folder_fd, 1, 0, &measure), 0);
        assert_int_equal(measure.records, whole);
        assert_int_equal(measure.is_torn, !is_clean);
    }
    struct sky_spool_reader reader = {.fd = -1};
    cut(1, SKY_SPOOL_HEAD_BYTES - 1);
    assert_int_equal(sky_spool_reader_open(&reader, folder_fd, 1, 0), EILSEQ);
    assert_int_equal(sky_spool_file_measure(folder_fd, 1, 0, &measure), EILSEQ);
    sky_spool_reader_close(&reader);
}

static void test_measure_from_an_offset(void **state)
{
    (void)state;
    struct sky_spool_measure measure;
    const uint64_t record = SKY_RECORD_HEAD_BYTES + 20;

    write_file(1, 5, 20, true);
    assert_int_equal(
        sky_spool_file_measure(folder_fd, 1, SKY_SPOOL_HEAD_BYTES + 2 * record, &measure), 0);
    assert_int_equal(measure.records, 3);
    assert_int_equal(measure.offset, SKY_SPOOL_HEAD_BYTES + 2 * record);
    /* No record begins there: all are read again. */
    assert_int_equal(
        sky_spool_file_measure(folder_fd, 1, SKY_SPOOL_HEAD_BYTES + 2 * record + 1, &measure), 0);
    assert_int_equal(measure.records, 5);
    assert_int_equal(measure.offset, SKY_SPOOL_HEAD_BYTES);
    assert_int_equal(
        sky_spool_file_measure(folder_fd, 1, SKY_SPOOL_HEAD_BYTES + 5 * record, &measure), 0);
    assert_int_equal(measure.records, 0);
}

/* The queue. */

static struct sky_page_legacy open_store(struct sky_store *store, uint64_t max_bytes)
{
    struct sky_page_legacy legacy;
    char error[200] = "";

    if (!sky_store_open(store, folder, max_bytes, 2, &legacy, error, sizeof(error)))
        fail_msg("%s", error);
    return legacy;
}

static void close_store(struct sky_store *store)
{
    sky_store_close(store);
    sky_page_destroy(store->page);
}

static void write_some(struct sky_store *store, uint32_t first, uint32_t count, size_t size)
{
    struct sky_packets packets = packets_of(first, count, size);

    assert_int_equal(sky_store_write(store, &packets), 0);
    assert_int_equal(packets.count, 0);
}

/* Reads one chunk; returns how many packets it had, which are numbered from `first` on. */
static uint32_t read_some(struct sky_store *store, size_t bytes, uint32_t first, uint64_t *position)
{
    struct sky_packets packets = {0};

    assert_int_equal(sky_store_read(store, bytes, &packets, position), 0);
    for (const struct sky_packet *packet = packets.first; packet != NULL; packet = packet->next)
        assert_int_equal(packet_number(packet), first++);
    return (uint32_t)sky_packets_free(&packets);
}

static void test_queue(void **state)
{
    (void)state;
    struct sky_store store;
    uint64_t position = 0;
    uint32_t next = 0;

    open_store(&store, 1 << 20);
    write_some(&store, 0, 700, 1000); /* into a dozen files */
    assert_int_equal(store.records, 700);
    while (store.records > 0) {
        uint32_t count = read_some(&store, 20000, next, &position);
        assert_in_range(count, 1, 20);
        next += count;
        sky_store_settle(&store, position);
        assert_int_equal(store.records, 700 - next);
    }
    assert_null(store.oldest);
    assert_int_equal(store.bytes, 0);
    write_some(&store, 700, 1, 1000);
    assert_int_equal(read_some(&store, 20000, 700, &position), 1);
    close_store(&store);
}

/* What was read and not settled is read again by the next process, and nothing else is. */
static void test_queue_goes_on_where_it_was_settled(void **state)
{
    (void)state;
    struct sky_store store;
    uint64_t position = 0;

    open_store(&store, 1 << 20);
    write_some(&store, 0, 200, 1000);
    uint32_t settled = read_some(&store, 20000, 0, &position);
    sky_store_settle(&store, position);
    uint32_t unsettled = read_some(&store, 20000, settled, &position);
    assert_true(unsettled > 0);
    close_store(&store);
    open_store(&store, 1 << 20);
    assert_int_equal(store.records, 200 - settled);
    uint32_t next = settled;
    while (store.records > 0)
        next += read_some(&store, 20000, next, &position);
    assert_int_equal(next, 200);
    sky_store_settle(&store, position);
    close_store(&store);
    open_store(&store, 1 << 20);
    assert_int_equal(store.records, 0);
    assert_null(store.oldest);
    close_store(&store);
}

static void test_oldest_goes(void **state)
{
    (void)state;
    struct sky_store store;
    uint64_t position = 0;

    open_store(&store, 1 << 20);
    for (uint32_t i = 0; i < 30; i++) {
        write_some(&store, i * 100, 100, 1000);
        assert_true(store.bytes <= 1 << 20);
    }
    assert_true(store.dropped_full > 1900);
    assert_int_equal(store.dropped_full + store.records, 3000);
    read_some(&store, 20000, (uint32_t)store.dropped_full, &position);
    /* Larger than all of it. */
    write_some(&store, 0, 1, 2 << 20);
    assert_int_equal(store.dropped_full + store.records, 3001 - 20);
    close_store(&store);
}

static void test_lock_and_folder(void **state)
{
    (void)state;
    struct sky_store store, other;
    struct sky_page_legacy legacy;
    char error[200], expected[200];

    open_store(&store, 1 << 20);
    assert_false(sky_store_open(&other, folder, 1 << 20, 1, &legacy, error, sizeof(error)));
    snprintf(expected, sizeof(expected), "%s: is in use by process %ld", folder, (long)getpid());
    assert_string_equal(error, expected);
    close_store(&store);
    assert_true(sky_spool_folder_check(folder, error, sizeof(error)));
    assert_int_equal(chmod(folder, 0777), 0);
    assert_false(sky_spool_folder_check(folder, error, sizeof(error)));
    assert_false(sky_store_open(&other, folder, 1 << 20, 1, &legacy, error, sizeof(error)));
    assert_non_null(strstr(error, "everybody may write to it"));
    snprintf(expected, sizeof(expected), "%s/new", folder);
    assert_true(sky_spool_folder_check(expected, error, sizeof(error)));
    snprintf(expected, sizeof(expected), "%s/new/deep", folder);
    assert_false(sky_spool_folder_check(expected, error, sizeof(error)));
    assert_false(sky_spool_folder_check("/dev/null", error, sizeof(error)));
}

/* What a killed process had made and not settled is lost; what is told once is not told again. */
static void test_page(void **state)
{
    (void)state;
    struct sky_page_legacy legacy;

    struct sky_page *page = sky_page_make(folder_fd, 2, &legacy);
    assert_non_null(page);
    assert_int_equal(legacy.lost, 0);
    sky_page_store(&page->made[0], 100);
    sky_page_store(&page->made[1], 50);
    sky_page_store(&page->settled, 70);
    sky_page_store(&page->spooled, 60);
    atomic_store(&page->position, sky_page_position(3, 500));
    sky_page_destroy(page);
    page = sky_page_make(folder_fd, 5, &legacy);
    assert_int_equal(legacy.lost, 20);
    assert_true(legacy.position == sky_page_position(3, 500));
    sky_page_store(&page->settled, 1); /* more than was made: nonsense, not a loss */
    sky_page_destroy(page);
    page = sky_page_make(folder_fd, 1, &legacy);
    assert_int_equal(legacy.lost, 0);
    sky_page_destroy(page);
    for (off_t size = 0; size < 400; size += 7) {
        int fd = openat(folder_fd, "state", O_WRONLY);
        assert_int_equal(ftruncate(fd, size), 0);
        close(fd);
        page = sky_page_make(folder_fd, 1, &legacy);
        assert_int_equal(legacy.lost, 0);
        sky_page_destroy(page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_written_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_at_every_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_measure_from_an_offset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue_goes_on_where_it_was_settled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_oldest_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lock_and_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_page, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
