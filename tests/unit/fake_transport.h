/* SPDX-License-Identifier: Apache-2.0 */
/* A transport without a network for tests of the sender and the reporter: calls end when a test
 * says so, or in wait with the outcome of `decide`. */
#ifndef SKY_TESTS_UNIT_FAKE_TRANSPORT_H
#define SKY_TESTS_UNIT_FAKE_TRANSPORT_H

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/transport.h"

#define FAKE_MAX_CALLS 8

static struct {
    struct sky_call *calls[FAKE_MAX_CALLS]; /* under way, oldest first */
    size_t call_count;
    size_t started[SKY_CALL_KIND_COUNT]; /* by kind */
    bool is_out_of_memory;
    enum sky_outcome (*decide)(const struct sky_call *call);
} fake;

static struct sky_transport *fake_create(const struct sky_reporter_options *options)
{
    (void)options;
    return malloc(1);
}

static bool fake_start(struct sky_transport *transport, struct sky_call *call)
{
    (void)transport;
    if (fake.is_out_of_memory)
        return false;
    if (fake.call_count == FAKE_MAX_CALLS)
        abort();
    fake.calls[fake.call_count++] = call;
    fake.started[call->kind]++;
    return true;
}

static struct sky_call *fake_take(size_t index)
{
    struct sky_call *call = fake.calls[index];

    fake.call_count--;
    memmove(&fake.calls[index], &fake.calls[index + 1],
            (fake.call_count - index) * sizeof(struct sky_call *));
    return call;
}

static void fake_end(size_t index, enum sky_outcome outcome)
{
    struct sky_call *call = fake_take(index);

    call->outcome = outcome;
    call->sent_bytes = call->packets.bytes;
    snprintf(call->error, sizeof(call->error), "outcome %d", (int)outcome);
    call->done(call);
}

static bool fake_wait(struct sky_transport *transport, int wake_fd, int timeout_ms)
{
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN};
    size_t count = fake.call_count;

    (void)transport;
    poll(&wake, 1, count > 0 ? 0 : timeout_ms);
    while (count-- > 0)
        fake_end(0, fake.decide(fake.calls[0]));
    return wake.revents != 0;
}

static void fake_cancel(struct sky_transport *transport, struct sky_call *call)
{
    size_t index = 0;

    (void)transport;
    while (fake.calls[index] != call)
        index++;
    fake_take(index);
}

static void fake_destroy(struct sky_transport *transport)
{
    if (fake.call_count != 0)
        abort();
    free(transport);
}

static const struct sky_transport_ops fake_ops = {
    .max_batch_bytes = SIZE_MAX,
    .credentials_option = "reporter.authentication",
    .create = fake_create,
    .start = fake_start,
    .wait = fake_wait,
    .cancel = fake_cancel,
    .destroy = fake_destroy,
};

#endif
