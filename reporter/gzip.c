/* SPDX-License-Identifier: Apache-2.0 */
/* One stream serves all packets of a batch: making one costs more than compressing a segment. */
#include "reporter/gzip.h"

#include <string.h>
#include <zlib.h>

/* The window and the tables of a stream are cleared for each message; these are as large as
 * segments of a kilobyte need. */
#define WINDOW_BITS 12
#define GZIP_FORMAT 16
#define MEMORY_LEVEL 4

static struct sky_packet *compress_packet(z_stream *stream, const struct sky_packet *packet)
{
    union {
        const uint8_t *readable;
        uint8_t *writable; /* zlib only reads it */
    } from = {packet->data};

    if (deflateReset(stream) != Z_OK)
        return NULL;
    size_t bound = deflateBound(stream, packet->size);
    struct sky_packet *copy = malloc(sizeof(*copy) + bound);
    if (copy == NULL)
        return NULL;
    stream->next_in = from.writable;
    stream->avail_in = packet->size;
    stream->next_out = copy->data;
    stream->avail_out = (uInt)bound;
    if (deflate(stream, Z_FINISH) != Z_STREAM_END) {
        free(copy);
        return NULL;
    }
    copy->kind = packet->kind;
    copy->size = (uint32_t)(bound - stream->avail_out);
    return copy;
}

bool sky_gzip_packets(const struct sky_packets *packets, struct sky_packets *compressed)
{
    z_stream stream = {0};

    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS + GZIP_FORMAT, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    const struct sky_packet *packet = packets->first;
    for (; packet != NULL; packet = packet->next) {
        struct sky_packet *copy = compress_packet(&stream, packet);
        if (copy == NULL)
            break;
        sky_packets_add(compressed, copy);
    }
    deflateEnd(&stream);
    if (packet != NULL)
        sky_packets_free(compressed);
    return packet == NULL;
}
