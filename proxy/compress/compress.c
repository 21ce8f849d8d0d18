/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: the answer begins -> its head says that it may be compressed -> the head is changed,
 * a coder stands in the chain of output streams -> each piece goes through it.
 * Failures: no memory for a coder: the answer goes out as it is. None in its middle: it is cut, as
 * what is missing could not be told from the end. */
#include "proxy/compress/compress.h"

#include "proxy/http/coding_weight.h"

struct prefilter {
    h2o_req_prefilter_t super;
    const struct sky_compress_config *config;
    struct sky_counters *counters;
};

struct stream {
    h2o_ostream_t super;
    struct sky_coder *coder; /* in the request's pool */
    struct sky_counters *counters;
    enum sky_coder_end end_of_piece;
    bool begun; /* the head is out */
};

static struct sky_text view(h2o_iovec_t bytes)
{
    return sky_text(bytes.base, bytes.len);
}

static struct sky_text field_of(const h2o_headers_t *headers, const h2o_token_t *token)
{
    ssize_t at = h2o_find_header(headers, token, -1);

    return at != -1 ? view(headers->entries[at].value) : sky_text(NULL, 0);
}

/* ---- the choice ---- */

static bool lists_type(const struct sky_compress_config *config, struct sky_text type)
{
    const char *end = type.len != 0 ? memchr(type.base, ';', type.len) : NULL;

    if (end != NULL)
        type.len = (size_t)(end - type.base);
    while (type.len != 0 && (type.base[type.len - 1] == ' ' || type.base[type.len - 1] == '\t'))
        type.len--;
    for (size_t i = 0; i < config->types.count; ++i) {
        struct sky_text listed = sky_text_of(config->types.items[i]);
        if (listed.base[listed.len - 1] == '*') {
            listed.len--;
            if (type.len >= listed.len &&
                sky_text_equal_nocase(sky_text(type.base, listed.len), listed))
                return true;
        } else if (sky_text_equal_nocase(type, listed)) {
            return true;
        }
    }
    return false;
}

bool sky_compress_fits(const struct sky_compress_config *config, const h2o_req_t *req)
{
    const h2o_res_t *res = &req->res;
    struct sky_text control = field_of(&res->headers, H2O_TOKEN_CACHE_CONTROL);

    return res->status >= 200 && res->status != 204 && res->status != 205 && res->status != 206 &&
           res->status != 304 &&
           (res->content_length == SIZE_MAX || res->content_length >= config->min_size) &&
           h2o_find_header(&res->headers, H2O_TOKEN_CONTENT_ENCODING, -1) == -1 &&
           h2o_strstr(control.base, control.len, H2O_STRLIT("no-transform")) == SIZE_MAX &&
           lists_type(config, field_of(&res->headers, H2O_TOKEN_CONTENT_TYPE));
}

enum sky_coding sky_compress_choose(const struct sky_compress_config *config, const h2o_req_t *req)
{
    struct sky_text accepted = field_of(&req->headers, H2O_TOKEN_ACCEPT_ENCODING);
    unsigned gzip = config->gzip ? sky_coding_weight(accepted, SKY_TEXT("gzip")) : 0;
    unsigned brotli = config->brotli ? sky_coding_weight(accepted, SKY_TEXT("br")) : 0;

    if (gzip == 0 && brotli == 0)
        return SKY_CODING_NONE;
    return brotli >= gzip ? SKY_CODING_BROTLI : SKY_CODING_GZIP;
}

/* ---- the head ---- */

static bool varies(const h2o_headers_t *headers)
{
    for (ssize_t i = -1; (i = h2o_find_header(headers, H2O_TOKEN_VARY, i)) != -1;) {
        struct sky_text value = view(headers->entries[i].value);
        if (h2o_contains_token(value.base, value.len, H2O_STRLIT("*"), ',') ||
            h2o_contains_token(value.base, value.len, H2O_STRLIT("accept-encoding"), ','))
            return true;
    }
    return false;
}

/* RFC 9110, 8.8.1: the bytes are others now, what they mean is the same. */
static void weaken_etag(h2o_req_t *req)
{
    ssize_t at = h2o_find_header(&req->res.headers, H2O_TOKEN_ETAG, -1);

    if (at == -1)
        return;
    h2o_iovec_t *value = &req->res.headers.entries[at].value;
    if (value->len != 0 && value->base[0] == '"')
        *value = h2o_concat(&req->pool, h2o_iovec_init(H2O_STRLIT("W/")), *value);
}

static void drop(h2o_headers_t *headers, const h2o_token_t *token)
{
    ssize_t at;

    while ((at = h2o_find_header(headers, token, -1)) != -1)
        h2o_delete_header(headers, at);
}

void sky_compress_change_head(h2o_req_t *req, enum sky_coding coding)
{
    h2o_headers_t *headers = &req->res.headers;

    if (!varies(headers))
        h2o_add_header(&req->pool, headers, H2O_TOKEN_VARY, "Vary", H2O_STRLIT("Accept-Encoding"));
    if (coding == SKY_CODING_NONE)
        return;
    h2o_add_header(&req->pool, headers, H2O_TOKEN_CONTENT_ENCODING, "Content-Encoding",
                   coding == SKY_CODING_GZIP ? "gzip" : "br", coding == SKY_CODING_GZIP ? 4 : 2);
    drop(headers, H2O_TOKEN_CONTENT_LENGTH);
    drop(headers, H2O_TOKEN_ACCEPT_RANGES); /* ranges of what the app has, not of this */
    req->res.content_length = SIZE_MAX;
    weaken_etag(req);
}

/* ---- the body ---- */

static bool encode(struct stream *stream, const h2o_iovec_t *bufs, size_t count,
                   enum sky_coder_end end)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; ++i) {
        bytes += bufs[i].len;
        if (!sky_coder_put(stream->coder, view(bufs[i]), SKY_CODER_MORE))
            return false;
    }
    sky_count_add(stream->counters, SKY_COUNT_compress_in, bytes);
    return (bytes == 0 && end != SKY_CODER_FINISH) ||
           sky_coder_put(stream->coder, sky_text(NULL, 0), end);
}

static void on_send(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
                    h2o_send_state_t state)
{
    struct stream *stream = (struct stream *)self;
    bool final = state == H2O_SEND_STATE_FINAL;

    if (state != H2O_SEND_STATE_ERROR &&
        !encode(stream, bufs, count, final ? SKY_CODER_FINISH : stream->end_of_piece)) {
        sky_count(stream->counters, SKY_COUNT_compress_failed);
        state = H2O_SEND_STATE_ERROR;
    }
    struct sky_text coded = sky_coder_take(stream->coder);
    h2o_iovec_t out = h2o_iovec_init(coded.base, coded.len);
    sky_count_add(stream->counters, SKY_COUNT_compress_out, out.len);
    if (!stream->begun && state == H2O_SEND_STATE_IN_PROGRESS && out.len == 0) {
        /* the head alone; libh2o's function would keep it back for the first bytes */
        stream->begun = true;
        self->next->do_send(self->next, req, NULL, 0, state);
        return;
    }
    stream->begun = true;
    h2o_ostream_send_next(self, req, &out, out.len != 0 ? 1 : 0, state);
}

static void dispose_coder(void *coder)
{
    sky_coder_fini(coder);
}

static void begin(const struct prefilter *prefilter, h2o_req_t *req, enum sky_coding coding,
                  h2o_ostream_t ***slot)
{
    const struct sky_compress_config *config = prefilter->config;
    size_t size = req->res.content_length;
    struct sky_coder *coder = h2o_mem_alloc_shared(&req->pool, sizeof(*coder), dispose_coder);

    if (!sky_coder_init(coder, coding,
                        coding == SKY_CODING_GZIP ? config->gzip_level : config->brotli_quality,
                        size)) {
        sky_count(prefilter->counters, SKY_COUNT_compress_failed);
        return;
    }
    sky_count(prefilter->counters,
              coding == SKY_CODING_GZIP ? SKY_COUNT_compressed_gzip : SKY_COUNT_compressed_brotli);
    sky_compress_change_head(req, coding);
    struct stream *stream = (struct stream *)h2o_add_ostream(req, sizeof(*stream), *slot);
    stream->super.do_send = on_send;
    stream->coder = coder;
    stream->counters = prefilter->counters;
    stream->begun = false;
    stream->end_of_piece = size == SIZE_MAX ? SKY_CODER_FLUSH : SKY_CODER_MORE;
    *slot = &stream->super.next;
}

static void on_setup_ostream(h2o_req_prefilter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    const struct prefilter *prefilter = (const struct prefilter *)self;
    bool head = h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));

    if (sky_compress_fits(prefilter->config, req)) {
        enum sky_coding coding = sky_compress_choose(prefilter->config, req);
        if (head || coding == SKY_CODING_NONE)
            sky_compress_change_head(req, coding);
        else
            begin(prefilter, req, coding, &slot);
    }
    h2o_setup_next_prefilter(self, req, slot);
}

void sky_compress_prepare(h2o_req_t *req, const struct sky_compress_config *config,
                          struct sky_counters *counters)
{
    struct prefilter *prefilter = (struct prefilter *)h2o_add_prefilter(req, sizeof(*prefilter));

    prefilter->super.on_setup_ostream = on_setup_ostream;
    prefilter->config = config;
    prefilter->counters = counters;
}
