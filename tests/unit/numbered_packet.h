/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that tests can tell apart. */
#ifndef SKY_TESTS_UNIT_NUMBERED_PACKET_H
#define SKY_TESTS_UNIT_NUMBERED_PACKET_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/segment.h"

/* numbered_packet: `size` bytes, at least 4, that begin with the number. */
static inline struct sky_packet *numbered_packet(uint32_t number, size_t size)
{
    struct sky_packet *packet = malloc(sizeof(*packet) + size);

    if (packet == NULL)
        abort();
    packet->next = NULL;
    packet->size = (uint32_t)size;
    packet->kind = SKY_PACKET_SEGMENT;
    memset(packet->data, 0, size);
    memcpy(packet->data, &number, sizeof(number));
    return packet;
}

static inline uint32_t packet_number(const struct sky_packet *packet)
{
    uint32_t number;

    memcpy(&number, packet->data, sizeof(number));
    return number;
}

#endif
