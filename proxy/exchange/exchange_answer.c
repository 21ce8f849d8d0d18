/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/exchange/exchange_answer.h"

#include "proxy/front/http1_front.h"

/* No name that h2o has a token for is longer. */
#define TOKEN_NAME_MAX 32

/* h2o knows fields by lower-case names: its own token if there is one, else a copy in the pool. */
static h2o_header_t make_field(h2o_mem_pool_t *pool, const struct sky_answer_field *field)
{
    struct sky_text name = field->name;
    h2o_header_t header = {.orig_name = name.base,
                           .value = h2o_iovec_init(field->value.base, field->value.len)};

    if (name.len <= TOKEN_NAME_MAX) {
        char lower[TOKEN_NAME_MAX];
        memcpy(lower, name.base, name.len);
        h2o_strtolower(lower, name.len);
        const h2o_token_t *token = h2o_lookup_token(lower, name.len);
        if (token != NULL) {
            header.name = (h2o_iovec_t *)(uintptr_t)&token->buf;
            return header;
        }
    }
    header.name = h2o_mem_alloc_pool(pool, sizeof(*header.name));
    *header.name = h2o_strdup(pool, name.base, name.len);
    h2o_strtolower(header.name->base, name.len);
    return header;
}

static void make_fields(h2o_mem_pool_t *pool, const struct sky_answer *answer,
                        h2o_headers_t *headers)
{
    *headers = (h2o_headers_t){NULL, 0, 0};
    h2o_vector_reserve(pool, headers, answer->field_count);
    for (size_t i = 0; i < answer->field_count; ++i) {
        h2o_header_t header = make_field(pool, &answer->fields[i]);
        if (header.name != &H2O_TOKEN_DATE->buf)
            headers->entries[headers->size++] = header;
    }
}

void sky_exchange_fill_response(h2o_req_t *req, const struct sky_answer *answer)
{
    struct sky_text reason = answer->reason;

    req->res.status = answer->status;
    req->res.reason = h2o_strdup(&req->pool, reason.base, reason.len).base;
    /* RFC 9110, 8.6: no Content-Length in a 204 */
    req->res.content_length =
        answer->content_length == SKY_ANSWER_NO_LENGTH || answer->status == 204
            ? SIZE_MAX
            : (size_t)answer->content_length;
    make_fields(&req->pool, answer, &req->res.headers);
}

bool sky_exchange_asked_for(struct sky_text asked, struct sky_text protocol)
{
    const char *at = asked.base, *end = at + asked.len;

    while (protocol.len != 0 && at != end) {
        const char *begin = at;
        while (at != end && *at != ',' && *at != ' ' && *at != '\t')
            ++at;
        if (sky_text_equal_nocase(sky_text(begin, (size_t)(at - begin)), protocol))
            return true;
        while (at != end && (*at == ',' || *at == ' ' || *at == '\t'))
            ++at;
    }
    return false;
}

void sky_exchange_inform(h2o_req_t *req, const struct sky_answer *answer)
{
    h2o_headers_t headers;

    make_fields(&req->pool, answer, &headers);
    sky_front_inform(req, answer->status, headers.entries, headers.size);
}

struct sky_trace_outcome sky_exchange_tunnel_outcome(const struct sky_tunnel *tunnel)
{
    static const char *const failures[] = {[SKY_TUNNEL_STOPPED] = "proxy stopped",
                                           [SKY_TUNNEL_CLIENT] = NULL,
                                           [SKY_TUNNEL_APP] = NULL,
                                           [SKY_TUNNEL_IDLE] = "tunnel idle"};

    return (struct sky_trace_outcome){
        .status = 101,
        .body_bytes = tunnel->app.bytes,
        .tunnel = true,
        .tunnel_in_bytes = tunnel->client.bytes,
        .tunnel_out_bytes = tunnel->app.bytes,
        .failure = failures[tunnel->cause],
    };
}
