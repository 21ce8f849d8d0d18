/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/compress/coder.h"

#include <brotli/encode.h>
#include <stdlib.h>

#define OUT_STEP_BYTES 16384

/* RFC 1952: the window's size is not written, so it may be as small as the input. */
#define GZIP_WRAPPER 16
#define GZIP_WINDOW_BITS_MIN 9
#define MEMORY_LEVEL_MAX 8

#define BROTLI_WINDOW_BITS 18

/* The window that holds an input of this size. */
static int window_bits(size_t size, int min, int max)
{
    int bits = max;

    while (bits > min && size <= (size_t)1 << (bits - 1))
        --bits;
    return bits;
}

static bool begin_gzip(struct sky_coder *coder, unsigned level, size_t size)
{
    int bits = window_bits(size, GZIP_WINDOW_BITS_MIN, MAX_WBITS);
    int memory = MEMORY_LEVEL_MAX - (MAX_WBITS - bits);

    return deflateInit2(&coder->gzip, (int)level, Z_DEFLATED, bits + GZIP_WRAPPER,
                        memory > 1 ? memory : 1, Z_DEFAULT_STRATEGY) == Z_OK;
}

static bool begin_brotli(struct sky_coder *coder, unsigned quality, size_t size)
{
    int bits = window_bits(size, BROTLI_MIN_WINDOW_BITS, BROTLI_WINDOW_BITS);

    coder->brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    return coder->brotli != NULL &&
           BrotliEncoderSetParameter(coder->brotli, BROTLI_PARAM_QUALITY, quality) &&
           BrotliEncoderSetParameter(coder->brotli, BROTLI_PARAM_LGWIN, (uint32_t)bits) &&
           (size > UINT32_MAX ||
            BrotliEncoderSetParameter(coder->brotli, BROTLI_PARAM_SIZE_HINT, (uint32_t)size));
}

bool sky_coder_init(struct sky_coder *coder, enum sky_coding coding, unsigned level, size_t size)
{
    *coder = (struct sky_coder){0};
    if (coding == SKY_CODING_GZIP ? !begin_gzip(coder, level, size)
                                  : !begin_brotli(coder, level, size))
        return false;
    coder->coding = coding;
    return true;
}

static bool make_room(struct sky_coder *coder)
{
    if (coder->out_capacity - coder->out_bytes >= OUT_STEP_BYTES / 2)
        return true;
    size_t capacity = coder->out_capacity + OUT_STEP_BYTES;
    char *out = realloc(coder->out, capacity);
    if (out == NULL)
        return false;
    coder->out = out;
    coder->out_capacity = capacity;
    return true;
}

static bool put_gzip(struct sky_coder *coder, struct sky_text bytes, enum sky_coder_end end)
{
    static const int flushes[] = {[SKY_CODER_MORE] = Z_NO_FLUSH,
                                  [SKY_CODER_FLUSH] = Z_SYNC_FLUSH,
                                  [SKY_CODER_FINISH] = Z_FINISH};
    z_stream *gzip = &coder->gzip;

    gzip->next_in = (Bytef *)(uintptr_t)bytes.base;
    gzip->avail_in = (uInt)bytes.len;
    do {
        if (!make_room(coder))
            return false;
        uInt room = (uInt)(coder->out_capacity - coder->out_bytes);
        gzip->next_out = (Bytef *)coder->out + coder->out_bytes;
        gzip->avail_out = room;
        int result = deflate(gzip, flushes[end]);
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return false;
        coder->out_bytes += room - gzip->avail_out;
    } while (gzip->avail_out == 0);
    return true;
}

static bool put_brotli(struct sky_coder *coder, struct sky_text bytes, enum sky_coder_end end)
{
    static const BrotliEncoderOperation operations[] = {[SKY_CODER_MORE] = BROTLI_OPERATION_PROCESS,
                                                        [SKY_CODER_FLUSH] = BROTLI_OPERATION_FLUSH,
                                                        [SKY_CODER_FINISH] =
                                                            BROTLI_OPERATION_FINISH};
    const uint8_t *in = (const uint8_t *)bytes.base;
    size_t left = bytes.len;

    do {
        if (!make_room(coder))
            return false;
        size_t room = coder->out_capacity - coder->out_bytes;
        uint8_t *out = (uint8_t *)coder->out + coder->out_bytes;
        if (!BrotliEncoderCompressStream(coder->brotli, operations[end], &left, &in, &room, &out,
                                         NULL))
            return false;
        coder->out_bytes = coder->out_capacity - room;
    } while (left != 0 || BrotliEncoderHasMoreOutput(coder->brotli));
    return true;
}

bool sky_coder_put(struct sky_coder *coder, struct sky_text bytes, enum sky_coder_end end)
{
    while (bytes.len > UINT32_MAX) { /* what zlib can count */
        if (!sky_coder_put(coder, sky_text(bytes.base, UINT32_MAX), SKY_CODER_MORE))
            return false;
        bytes = sky_text(bytes.base + UINT32_MAX, bytes.len - UINT32_MAX);
    }
    return coder->coding == SKY_CODING_GZIP ? put_gzip(coder, bytes, end)
                                            : put_brotli(coder, bytes, end);
}

struct sky_text sky_coder_take(struct sky_coder *coder)
{
    struct sky_text out = sky_text(coder->out, coder->out_bytes);

    coder->out_bytes = 0;
    return out;
}

void sky_coder_fini(struct sky_coder *coder)
{
    deflateEnd(&coder->gzip); /* of a zeroed one: an error that means nothing */
    if (coder->brotli != NULL)
        BrotliEncoderDestroyInstance(coder->brotli);
    free(coder->out);
    *coder = (struct sky_coder){0};
}
