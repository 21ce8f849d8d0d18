/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "proxy/stitch/stitch_channel.h"
#include "proxy/stitch/stitch_message.h"
#include "tests/unit/stitch_fixture.h"

#define MAX_RECEIVED 64

struct received {
    unsigned count;
    size_t lens[MAX_RECEIVED];
    char firsts[MAX_RECEIVED];
    unsigned strangers, gone; /* connections that spoke first, and that are closed */
};

struct channel_fixture {
    struct fixture loop;
    struct received received;
    struct sky_stitch_channel *channel;
};

static void on_message(void *data, void **peer, struct sky_text message, bool known)
{
    struct received *received = data;
    assert_true(known); /* we are our own user */
    assert_true(received->count < MAX_RECEIVED);
    received->lens[received->count] = message.len;
    received->firsts[received->count++] = message.base[0];
    if (*peer == NULL)
        received->strangers++;
    *peer = received;
}

static void on_gone(void *data, void *peer)
{
    struct received *received = data;
    assert_ptr_equal(peer, received);
    received->gone++;
}

static void start(struct channel_fixture *fixture, const char *directory, const char *group)
{
    memset(&fixture->received, 0, sizeof(fixture->received));
    fixture_loop_init(&fixture->loop);
    fixture->channel =
        sky_stitch_channel_new(&fixture->loop.ctx, directory, group, 7, &fixture->loop.counters,
                               on_message, on_gone, &fixture->received);
}

static void stop(struct channel_fixture *fixture)
{
    sky_stitch_channel_destroy(fixture->channel);
    fixture_loop_fini(&fixture->loop);
}

static const char *address_of(const struct channel_fixture *fixture)
{
    return sky_stitch_channel_address(fixture->channel).base;
}

static int connect_to(const struct channel_fixture *fixture)
{
    int fd = fixture_try_connect(address_of(fixture));
    assert_true(fd != -1);
    return fd;
}

static void make_directory(char *path)
{
    strcpy(path, "/tmp/sky-channel-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static void touch(const char *directory, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd != -1);
    close(fd);
}

static int bind_socket(const char *directory, const char *name, int type)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/%s", directory, name);
    int fd = socket(AF_UNIX, type, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

/* A socket file that nobody listens on, as a killed proxy leaves it. */
static void leave_stale(const char *directory, const char *name)
{
    close(bind_socket(directory, name, SOCK_SEQPACKET));
}

static bool exists(const char *directory, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

static size_t entry_count(const char *directory)
{
    size_t count = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static void connections_are_told_apart(void **state)
{
    struct channel_fixture fixture;
    (void)state;
    start(&fixture, NULL, "");
    int silent = connect_to(&fixture), first = connect_to(&fixture), second = connect_to(&fixture);
    fixture_send(first, "a", 1);
    fixture_send(first, "b", 1);
    fixture_send(second, "c", 1);
    fixture_turn(&fixture.loop);
    assert_int_equal(fixture.received.count, 3);
    assert_int_equal(fixture.received.strangers, 2);
    close(silent);
    close(first);
    fixture_turn(&fixture.loop);
    assert_int_equal(fixture.received.gone, 1);
    stop(&fixture);
    assert_int_equal(fixture.received.gone, 2);
    close(second);
}

static void messages_keep_their_boundaries(void **state)
{
    static char big[SKY_STITCH_MESSAGE_MAX_BYTES];
    struct channel_fixture fixture;
    (void)state;
    memset(big, 'c', sizeof(big));
    start(&fixture, NULL, "");
    int fd = connect_to(&fixture);
    fixture_send(fd, "a", 1);
    fixture_send(fd, "bb", 2);
    fixture_send(fd, big, sizeof(big));
    fixture_send(fd, "d", 1);
    fixture_turn(&fixture.loop);
    assert_int_equal(fixture.received.count, 4);
    assert_memory_equal(fixture.received.firsts, "abcd", 4);
    assert_int_equal(fixture.received.lens[1], 2);
    assert_int_equal(fixture.received.lens[2], sizeof(big));
    close(fd);
    stop(&fixture);
}

static void a_message_that_is_too_large_is_dropped_whole(void **state)
{
    static char huge[SKY_STITCH_MESSAGE_MAX_BYTES + 1];
    struct channel_fixture fixture;
    (void)state;
    start(&fixture, NULL, "");
    int fd = connect_to(&fixture);
    fixture_send(fd, huge, sizeof(huge));
    fixture_send(fd, "a", 1);
    fixture_turn(&fixture.loop);
    assert_int_equal(fixture.received.count, 1);
    assert_int_equal(fixture.received.firsts[0], 'a');
    assert_int_equal(fixture_count(&fixture.loop, SKY_COUNT_stitch_message_oversize), 1);
    close(fd);
    stop(&fixture);
}

/* What was sent before the end counts, and the connection's place is free again. */
static void a_helper_may_come_and_go(void **state)
{
    struct channel_fixture fixture;
    (void)state;
    start(&fixture, NULL, "");
    for (int i = 0; i < 40; i++) {
        int fd = connect_to(&fixture);
        fixture_send(fd, "a", 1);
        close(fd);
        fixture_turn(&fixture.loop);
    }
    assert_int_equal(fixture.received.count, 40);
    assert_int_equal(fixture_count(&fixture.loop, SKY_COUNT_stitch_connections), 40);
    assert_false(sky_stitch_channel_poll(fixture.channel));
    stop(&fixture);
}

/* One poll takes one message of each connection: nobody waits behind a flood. */
static void connections_are_served_in_turns(void **state)
{
    struct channel_fixture fixture;
    (void)state;
    start(&fixture, NULL, "");
    int flood = connect_to(&fixture), other = connect_to(&fixture);
    fixture_turn(&fixture.loop);
    for (int i = 0; i < 20; i++)
        fixture_send(flood, "f", 1);
    fixture_send(other, "o", 1);
    assert_true(sky_stitch_channel_poll(fixture.channel));
    assert_int_equal(fixture.received.count, 2);
    assert_non_null(memchr(fixture.received.firsts, 'o', 2));
    close(flood);
    close(other);
    stop(&fixture);
}

/* Large messages from many: the loop gets back to its requests after a few, and to the rest later.
 */
static void a_flood_is_taken_in_portions(void **state)
{
    enum { CONNECTIONS = 12, EACH = 4 };
    static char large[40000];
    struct channel_fixture fixture;
    int fds[CONNECTIONS];
    (void)state;
    start(&fixture, NULL, "");
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = connect_to(&fixture);
        fixture_turn(&fixture.loop);
        assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
    }
    for (int k = 0; k < EACH; k++)
        for (int i = 0; i < CONNECTIONS; i++)
            fixture_send(fds[i], large, sizeof(large));
    fixture_turn(&fixture.loop);
    assert_in_range(fixture.received.count, 1, CONNECTIONS);
    fixture_wait(&fixture.loop, &fixture.received.count, CONNECTIONS * EACH);
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
    stop(&fixture);
}

static void connections_are_bounded(void **state)
{
    enum { LIMIT = 1024, TRIED = LIMIT + 3 };
    static int fds[TRIED];
    struct channel_fixture fixture;
    struct rlimit limit;
    char byte;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    assert_true(limit.rlim_cur > 2 * TRIED + 32);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    start(&fixture, NULL, "");
    for (int i = 0; i < TRIED; i++) {
        fds[i] = connect_to(&fixture);
        fixture_turn(&fixture.loop);
    }
    assert_int_equal(fixture_count(&fixture.loop, SKY_COUNT_stitch_connections), LIMIT);
    assert_int_equal(fixture_count(&fixture.loop, SKY_COUNT_stitch_connections_refused), 3);
    assert_int_equal(recv(fds[TRIED - 1], &byte, 1, MSG_DONTWAIT), 0);
    assert_int_equal(recv(fds[LIMIT - 1], &byte, 1, MSG_DONTWAIT), -1);
    /* A place that is left is a place for the next. */
    close(fds[0]);
    fixture_turn(&fixture.loop);
    fds[0] = connect_to(&fixture);
    fixture_turn(&fixture.loop);
    assert_int_equal(fixture_count(&fixture.loop, SKY_COUNT_stitch_connections), LIMIT + 1);
    for (int i = 0; i < TRIED; i++)
        close(fds[i]);
    stop(&fixture);
}

/* Accepting goes on by itself once there are descriptors again, and does not spin until then. */
static void no_descriptor_is_a_pause(void **state)
{
    struct channel_fixture fixture;
    struct rlimit limit, none;
    (void)state;
    start(&fixture, NULL, "");
    fixture_turn(&fixture.loop);
    int fd = connect_to(&fixture);
    fixture_send(fd, "a", 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    fixture_turn(&fixture.loop);
    assert_false(sky_stitch_channel_poll(fixture.channel));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(fixture.received.count, 0);
    assert_int_equal(fixture_count(&fixture.loop, SKY_COUNT_stitch_connections_refused), 1);
    fixture_wait(&fixture.loop, &fixture.received.count, 1);
    close(fd);
    stop(&fixture);
}

static void an_abstract_name_says_whose_it_is(void **state)
{
    struct channel_fixture first, second;
    char prefix[64];
    (void)state;
    start(&first, NULL, "");
    start(&second, NULL, "");
    snprintf(prefix, sizeof(prefix), "@skystitch-%d-", (int)getpid());
    assert_int_equal(strncmp(address_of(&first), prefix, strlen(prefix)), 0);
    assert_string_not_equal(address_of(&first), address_of(&second));
    close(connect_to(&first));
    close(connect_to(&second));
    stop(&first);
    stop(&second);
}

static void a_file_is_for_owner_and_group_and_goes_at_the_end(void **state)
{
    struct channel_fixture fixture;
    struct stat status;
    char directory[32], prefix[64];
    struct group *group = getgrgid(getegid());
    (void)state;
    make_directory(directory);
    start(&fixture, directory, group != NULL ? group->gr_name : "");
    assert_non_null(fixture.channel);
    snprintf(prefix, sizeof(prefix), "%s/skystitch-%d-", directory, (int)getpid());
    assert_int_equal(strncmp(address_of(&fixture), prefix, strlen(prefix)), 0);
    assert_int_equal(stat(address_of(&fixture), &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0660);
    assert_int_equal(status.st_gid, getegid());
    int fd = connect_to(&fixture);
    fixture_send(fd, "a", 1);
    fixture_turn(&fixture.loop);
    assert_int_equal(fixture.received.count, 1);
    close(fd);
    stop(&fixture);
    assert_int_equal(entry_count(directory), 0);
    rmdir(directory);
}

static void only_what_refuses_is_removed(void **state)
{
    struct channel_fixture living, fixture;
    char directory[32];
    (void)state;
    make_directory(directory);
    leave_stale(directory, "skystitch-1-0-0.sock");
    leave_stale(directory, "other.sock");
    leave_stale(directory, "skystitch-else");
    touch(directory, "skystitch-2-0-0.sock.bak");
    int stream = bind_socket(directory, "skystitch-3-0-0.sock", SOCK_STREAM);
    assert_int_equal(listen(stream, 1), 0);
    start(&living, directory, "");
    start(&fixture, directory, "");
    assert_false(exists(directory, "skystitch-1-0-0.sock"));
    assert_true(exists(directory, "other.sock"));
    assert_true(exists(directory, "skystitch-else"));
    assert_true(exists(directory, "skystitch-2-0-0.sock.bak"));
    assert_true(exists(directory, "skystitch-3-0-0.sock"));
    assert_int_equal(entry_count(directory), 6);
    close(stream);
    close(connect_to(&living));
    stop(&living);
    stop(&fixture);
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

static void a_channel_that_cannot_be_had_is_none(void **state)
{
    struct channel_fixture fixture;
    char path[200], directory[32];
    (void)state;
    start(&fixture, "/nonexistent/directory", "");
    assert_null(fixture.channel);
    stop(&fixture);

    make_directory(directory);
    snprintf(path, sizeof(path), "%s/%0100d", directory, 0);
    start(&fixture, path, "");
    assert_null(fixture.channel);
    stop(&fixture);

    /* The helper will say by `!k` that it cannot reach it. */
    start(&fixture, directory, "no such group");
    assert_non_null(fixture.channel);
    stop(&fixture);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_told_apart),
        cmocka_unit_test(messages_keep_their_boundaries),
        cmocka_unit_test(a_message_that_is_too_large_is_dropped_whole),
        cmocka_unit_test(a_helper_may_come_and_go),
        cmocka_unit_test(connections_are_served_in_turns),
        cmocka_unit_test(a_flood_is_taken_in_portions),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(no_descriptor_is_a_pause),
        cmocka_unit_test(an_abstract_name_says_whose_it_is),
        cmocka_unit_test(a_file_is_for_owner_and_group_and_goes_at_the_end),
        cmocka_unit_test(only_what_refuses_is_removed),
        cmocka_unit_test(a_channel_that_cannot_be_had_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
