/* SPDX-License-Identifier: Apache-2.0 */
/* A list of packets in order of arrival, linked through the packets: moving segments between rings,
 * backlog and calls allocates nothing and so cannot fail. One thread. */
#ifndef SKY_REPORTER_PACKETS_H
#define SKY_REPORTER_PACKETS_H

#include <stddef.h>
#include <stdlib.h>

#include "reporter/segment.h"

/* Zero-initialised is empty. Owns its packets. */
struct sky_packets {
    struct sky_packet *first, *last;
    size_t count;
    size_t bytes; /* sum of sky_packet_cost */
};

struct ProtobufCMessage;

/* sky_packet_new: with room for `size` bytes, which the caller fills in. NULL when memory is out or
 * they exceed 3 MiB. */
struct sky_packet *sky_packet_new(enum sky_packet_kind kind, size_t size)
    __attribute__((warn_unused_result));

/* sky_packet_of: packs a message whose strings are valid UTF-8. NULL when memory is out or the
 * message exceeds 3 MiB. */
struct sky_packet *sky_packet_of(enum sky_packet_kind kind, const struct ProtobufCMessage *message)
    __attribute__((warn_unused_result));

/* sky_packet_cost: what a packet counts against a memory bound: its bytes and about what the
 * allocator adds. */
static inline size_t sky_packet_cost(const struct sky_packet *packet)
{
    return sizeof(*packet) + packet->size + 16;
}

/* sky_packets_add: takes the packet over. */
static inline void sky_packets_add(struct sky_packets *packets, struct sky_packet *packet)
{
    packet->next = NULL;
    if (packets->last != NULL)
        packets->last->next = packet;
    else
        packets->first = packet;
    packets->last = packet;
    packets->count++;
    packets->bytes += sky_packet_cost(packet);
}

/* sky_packets_shift: the first packet, now the caller's; NULL when the list is empty. */
static inline struct sky_packet *sky_packets_shift(struct sky_packets *packets)
{
    struct sky_packet *packet = packets->first;

    if (packet == NULL)
        return NULL;
    packets->first = packet->next;
    if (packets->first == NULL)
        packets->last = NULL;
    packets->count--;
    packets->bytes -= sky_packet_cost(packet);
    packet->next = NULL;
    return packet;
}

/* sky_packets_prepend: moves all of `front` before what is in `packets`; front is empty after. */
static inline void sky_packets_prepend(struct sky_packets *packets, struct sky_packets *front)
{
    if (front->first == NULL)
        return;
    front->last->next = packets->first;
    packets->first = front->first;
    if (packets->last == NULL)
        packets->last = front->last;
    packets->count += front->count;
    packets->bytes += front->bytes;
    *front = (struct sky_packets){0};
}

/* sky_packets_append: moves all of `more` behind what is in `packets`; more is empty after. */
static inline void sky_packets_append(struct sky_packets *packets, struct sky_packets *more)
{
    sky_packets_prepend(more, packets);
    *packets = *more;
    *more = (struct sky_packets){0};
}

/* sky_packets_free: frees all packets; the list is empty after. Returns how many there were. */
static inline size_t sky_packets_free(struct sky_packets *packets)
{
    size_t count = packets->count;
    struct sky_packet *packet;

    while ((packet = sky_packets_shift(packets)) != NULL)
        free(packet);
    return count;
}

#endif
