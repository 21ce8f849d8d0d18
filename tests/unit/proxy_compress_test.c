/* SPDX-License-Identifier: Apache-2.0 */
/* Which answers are compressed, with what head, and that coders give back what they were given. */
#include "proxy/compress/compress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <brotli/decode.h>
#include <cmocka.h>

#include "proxy/http/coding_weight.h"

/* ---- Accept-Encoding ---- */

static const struct {
    const char *list, *coding;
    unsigned weight;
} weights[] = {
    {"", "gzip", 0},
    {"gzip", "gzip", 1000},
    {"GZIP", "gzip", 1000},
    {"gzip, deflate, br", "br", 1000},
    {"deflate,gzip;q=0.5", "gzip", 500},
    {"gzip ; Q=0.25 , br", "gzip", 250},
    {"gzip;q=0", "gzip", 0},
    {"gzip;q=0.000, *", "gzip", 0},
    {"gzip;q=1.000", "gzip", 1000},
    {"gzip;q=1.001", "gzip", 0},
    {"gzip;q=0.1234", "gzip", 0},
    {"gzip;q=2", "gzip", 0},
    {"gzip;q=", "gzip", 0},
    {"gzip;q=a", "gzip", 0},
    {"gzip;x=1;q=0.1", "gzip", 100},
    {"*", "gzip", 1000},
    {"*;q=0.3, br", "gzip", 300},
    {"gzipx, xgzip", "gzip", 0},
    {",,;,=,gzip", "gzip", 1000},
};

static void test_weights(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        unsigned weight =
            sky_coding_weight(sky_text_of(weights[i].list), sky_text_of(weights[i].coding));
        if (weight != weights[i].weight)
            fail_msg("%s: %u", weights[i].list, weight);
        for (size_t len = 0; len < strlen(weights[i].list); len++)
            (void)sky_coding_weight(sky_text(weights[i].list, len), SKY_TEXT("gzip"));
    }
}

/* ---- heads ---- */

static char *types[] = {(char *)"text/*", (char *)"application/json"};
static const struct sky_compress_config config = {true, true, 5, 4, 100, {types, 2}};

static void add(h2o_req_t *req, h2o_headers_t *headers, const h2o_token_t *token, const char *value)
{
    if (value != NULL)
        h2o_add_header(&req->pool, headers, token, NULL, value, strlen(value));
}

static const struct {
    int status;
    size_t length;
    const char *type, *coding, *control;
    bool fits;
} heads[] = {
    {200, 100, "text/html", NULL, NULL, true},
    {200, 99, "text/html", NULL, NULL, false},
    {200, SIZE_MAX, "text/html; charset=utf-8", NULL, NULL, true},
    {404, 5000, "Application/JSON ;x=y", NULL, NULL, true},
    {500, 5000, "application/json", NULL, "max-age=1", true},
    {200, 5000, "application/jsonp", NULL, NULL, false},
    {200, 5000, "image/png", NULL, NULL, false},
    {200, 5000, "text", NULL, NULL, false},
    {200, 5000, NULL, NULL, NULL, false},
    {200, 5000, "text/css", "gzip", NULL, false},
    {200, 5000, "text/css", "identity", NULL, false},
    {200, 5000, "text/css", NULL, "max-age=1, no-transform", false},
    {206, 5000, "text/css", NULL, NULL, false},
    {204, SIZE_MAX, "text/css", NULL, NULL, false},
    {205, SIZE_MAX, "text/css", NULL, NULL, false},
    {304, SIZE_MAX, "text/css", NULL, NULL, false},
};

static void test_which_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        h2o_req_t req = {.res = {.status = heads[i].status, .content_length = heads[i].length}};
        h2o_mem_init_pool(&req.pool);
        add(&req, &req.res.headers, H2O_TOKEN_CONTENT_TYPE, heads[i].type);
        add(&req, &req.res.headers, H2O_TOKEN_CONTENT_ENCODING, heads[i].coding);
        add(&req, &req.res.headers, H2O_TOKEN_CACHE_CONTROL, heads[i].control);
        if (sky_compress_fits(&config, &req) != heads[i].fits)
            fail_msg("%d %s", heads[i].status, heads[i].type);
        h2o_mem_clear_pool(&req.pool);
    }
}

static enum sky_coding choose(const struct sky_compress_config *with, const char *accepted)
{
    h2o_req_t req = {.version = 0x101};

    h2o_mem_init_pool(&req.pool);
    add(&req, &req.headers, H2O_TOKEN_ACCEPT_ENCODING, accepted);
    enum sky_coding coding = sky_compress_choose(with, &req);
    h2o_mem_clear_pool(&req.pool);
    return coding;
}

static void test_choice(void **state)
{
    (void)state;
    struct sky_compress_config gzip_only = config;
    gzip_only.brotli = false;

    assert_int_equal(choose(&config, NULL), SKY_CODING_NONE);
    assert_int_equal(choose(&config, "deflate"), SKY_CODING_NONE);
    assert_int_equal(choose(&config, "gzip"), SKY_CODING_GZIP);
    assert_int_equal(choose(&config, "gzip, br"), SKY_CODING_BROTLI);
    assert_int_equal(choose(&config, "gzip, br;q=0.9"), SKY_CODING_GZIP);
    assert_int_equal(choose(&config, "br;q=0, gzip;q=0.1"), SKY_CODING_GZIP);
    assert_int_equal(choose(&gzip_only, "gzip, br"), SKY_CODING_GZIP);
    assert_int_equal(choose(&gzip_only, "br"), SKY_CODING_NONE);
}

static struct sky_text value_of(const h2o_req_t *req, const h2o_token_t *token)
{
    ssize_t at = h2o_find_header(&req->res.headers, token, -1);

    return at != -1 ? sky_text(req->res.headers.entries[at].value.base,
                               req->res.headers.entries[at].value.len)
                    : sky_text(NULL, 0);
}

#define assert_field(req, token, text) \
    assert_true(sky_text_equal(value_of(req, token), sky_text_of(text)))

static void test_changed_head(void **state)
{
    (void)state;
    h2o_req_t req = {.res = {.status = 200, .content_length = 5000}};

    h2o_mem_init_pool(&req.pool);
    add(&req, &req.res.headers, H2O_TOKEN_ETAG, "\"a\"");
    add(&req, &req.res.headers, H2O_TOKEN_ACCEPT_RANGES, "bytes");
    add(&req, &req.res.headers, H2O_TOKEN_VARY, "Cookie");
    sky_compress_change_head(&req, SKY_CODING_GZIP);
    assert_field(&req, H2O_TOKEN_ETAG, "W/\"a\"");
    assert_field(&req, H2O_TOKEN_CONTENT_ENCODING, "gzip");
    assert_field(&req, H2O_TOKEN_ACCEPT_RANGES, NULL);
    assert_int_equal(req.res.headers.size, 4); /* a second Vary */
    assert_true(req.res.content_length == SIZE_MAX);
    sky_compress_change_head(&req, SKY_CODING_NONE);
    assert_int_equal(req.res.headers.size, 4); /* once is enough */
    assert_field(&req, H2O_TOKEN_ETAG, "W/\"a\"");
    h2o_mem_clear_pool(&req.pool);
}

static void test_vary_is_added_once(void **state)
{
    (void)state;
    static const char *const present[] = {"*", "Accept-Encoding", "cookie, accept-encoding"};

    for (size_t i = 0; i < 3; i++) {
        h2o_req_t req = {.res = {.status = 200, .content_length = 5000}};
        h2o_mem_init_pool(&req.pool);
        add(&req, &req.res.headers, H2O_TOKEN_VARY, present[i]);
        sky_compress_change_head(&req, SKY_CODING_NONE);
        assert_int_equal(req.res.headers.size, 1);
        assert_int_equal(req.res.content_length, 5000);
        h2o_mem_clear_pool(&req.pool);
    }
}

/* ---- coders ---- */

struct sink {
    enum sky_coding coding;
    z_stream gzip;
    BrotliDecoderState *brotli;
    char out[1 << 20];
    size_t len;
};

static void sink_init(struct sink *sink, enum sky_coding coding)
{
    memset(sink, 0, sizeof(*sink));
    sink->coding = coding;
    if (coding == SKY_CODING_GZIP)
        assert_int_equal(inflateInit2(&sink->gzip, 15 + 16), Z_OK);
    else
        assert_non_null(sink->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL));
}

/* True at the end of the stream. */
static bool sink_put(struct sink *sink, struct sky_text coded)
{
    if (sink->coding == SKY_CODING_GZIP) {
        sink->gzip.next_in = (Bytef *)(uintptr_t)coded.base;
        sink->gzip.avail_in = (uInt)coded.len;
        sink->gzip.next_out = (Bytef *)sink->out + sink->len;
        sink->gzip.avail_out = (uInt)(sizeof(sink->out) - sink->len);
        int result = inflate(&sink->gzip, Z_SYNC_FLUSH);
        assert_true(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
        sink->len = sizeof(sink->out) - sink->gzip.avail_out;
        return result == Z_STREAM_END;
    }
    const uint8_t *in = (const uint8_t *)coded.base;
    uint8_t *out = (uint8_t *)sink->out + sink->len;
    size_t in_left = coded.len, out_left = sizeof(sink->out) - sink->len;
    BrotliDecoderResult result =
        BrotliDecoderDecompressStream(sink->brotli, &in_left, &in, &out_left, &out, NULL);
    assert_true(result != BROTLI_DECODER_RESULT_ERROR);
    sink->len = sizeof(sink->out) - out_left;
    return result == BROTLI_DECODER_RESULT_SUCCESS;
}

static void sink_fini(struct sink *sink)
{
    if (sink->coding == SKY_CODING_GZIP)
        inflateEnd(&sink->gzip);
    else
        BrotliDecoderDestroyInstance(sink->brotli);
}

static char input[500000];

static void round_trip(enum sky_coding coding, size_t size, size_t piece, bool known, bool flush)
{
    static struct sink sink;
    struct sky_coder coder;
    bool ended = false;

    sink_init(&sink, coding);
    assert_true(sky_coder_init(&coder, coding, 4, known ? size : SIZE_MAX));
    for (size_t at = 0; at < size; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        assert_true(sky_coder_put(&coder, sky_text(input + at, len),
                                  flush ? SKY_CODER_FLUSH : SKY_CODER_MORE));
        ended = sink_put(&sink, sky_coder_take(&coder));
        assert_false(ended);
        if (flush) /* all of it is there at once */
            assert_int_equal(sink.len, at + len);
    }
    assert_true(sky_coder_put(&coder, sky_text(NULL, 0), SKY_CODER_FINISH));
    assert_true(sink_put(&sink, sky_coder_take(&coder)));
    assert_int_equal(sink.len, size);
    assert_memory_equal(sink.out, input, size);
    sky_coder_fini(&coder);
    sky_coder_fini(&coder);
    sink_fini(&sink);
}

static void test_round_trips(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 255, 256, 257, 511, 512, 1000, 32768, 65536, 500000};
    static const size_t pieces[] = {1000, 65536, 500000};

    for (size_t i = 0; i < sizeof(input); i++) /* half of it repeats itself */
        input[i] = (char)(i % 1024 < 512 ? i % 64 : i * 2654435761U >> 13);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
        for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++)
            for (int how = 0; how < 4; how++) {
                round_trip(SKY_CODING_GZIP, sizes[s], pieces[p], how & 1, how & 2);
                round_trip(SKY_CODING_BROTLI, sizes[s], pieces[p], how & 1, how & 2);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_which_fit),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_changed_head),
        cmocka_unit_test(test_vary_is_added_once),
        cmocka_unit_test(test_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
