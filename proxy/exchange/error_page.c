/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/exchange/error_page.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#define PAGE_MAX_BYTES 1024

static const char *reason_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 421:
        return "Misdirected Request";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 507:
        return "Insufficient Storage";
    default:
        return "Error";
    }
}

/* A browser asks: Accept names text/html. */
static bool wants_html(const h2o_req_t *req)
{
    for (ssize_t i = -1; (i = h2o_find_header(&req->headers, H2O_TOKEN_ACCEPT, i)) != -1;) {
        h2o_iovec_t value = req->headers.entries[i].value;
        if (h2o_strstr(value.base, value.len, H2O_STRLIT("text/html")) != SIZE_MAX)
            return true;
    }
    return false;
}

/* Texts of failure.def hold nothing that HTML would have escaped. */
static h2o_iovec_t make_page(h2o_req_t *req, const struct sky_failure_info *info, bool html)
{
    char *page = h2o_mem_alloc_pool(&req->pool, PAGE_MAX_BYTES);
    const char *reason = reason_of(info->status);
    int len;

    if (html)
        len = snprintf(page, PAGE_MAX_BYTES,
                       "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">"
                       "<title>%d %s</title></head>\n"
                       "<body>\n<h1>%d %s</h1>\n<p>%s</p>\n<p>%s</p>\n</body>\n</html>\n",
                       info->status, reason, info->status, reason, info->page, info->advice);
    else
        len = snprintf(page, PAGE_MAX_BYTES, "%d %s\n%s\n%s\n", info->status, reason, info->page,
                       info->advice);
    return h2o_iovec_init(page, (size_t)len);
}

static void add_field(h2o_req_t *req, const h2o_token_t *token, const char *name, const char *value)
{
    h2o_add_header(&req->pool, &req->res.headers, token, name, value, strlen(value));
}

static void add_retry_after(h2o_req_t *req, uint32_t seconds)
{
    char *text = h2o_mem_alloc_pool(&req->pool, sizeof(H2O_UINT32_LONGEST_STR));

    snprintf(text, sizeof(H2O_UINT32_LONGEST_STR), "%" PRIu32, seconds);
    add_field(req, H2O_TOKEN_RETRY_AFTER, "Retry-After", text);
}

static void send_page(h2o_req_t *req, h2o_iovec_t page)
{
    static h2o_generator_t generator; /* keeps nothing: the page goes out in one piece */

    req->res.content_length = page.len;
    h2o_start_response(req, &generator);
    if (h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD")))
        h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
    else
        h2o_send(req, &page, page.len != 0 ? 1 : 0, H2O_SEND_STATE_FINAL);
}

static h2o_iovec_t body_of(const struct sky_error_page *page)
{
    return h2o_iovec_init((char *)(uintptr_t)page->body, page->len);
}

void sky_error_page_send(h2o_req_t *req, enum sky_failure failure, uint32_t retry_after_s,
                         const struct sky_error_page *custom)
{
    const struct sky_failure_info *info = sky_failure_info(failure);
    bool html = wants_html(req);
    h2o_iovec_t page = custom != NULL ? body_of(custom) : make_page(req, info, html);

    req->res.status = info->status;
    req->res.reason = reason_of(info->status);
    memset(&req->res.headers, 0, sizeof(req->res.headers));
    add_field(req, H2O_TOKEN_CONTENT_TYPE, "Content-Type",
              custom != NULL ? custom->type
              : html         ? "text/html; charset=utf-8"
                             : "text/plain; charset=utf-8");
    add_field(req, H2O_TOKEN_CACHE_CONTROL, "Cache-Control", "no-store");
    if (info->status == 405) /* RFC 9110, 15.5.6; it is about files only */
        add_field(req, H2O_TOKEN_ALLOW, "Allow", "GET, HEAD");
    if (info->status == 503 || retry_after_s != 0)
        add_retry_after(req, retry_after_s != 0 ? retry_after_s : 1);
    send_page(req, page);
}

/* What a client needs to go on, whatever the body says. */
static bool belongs_to_status(const h2o_header_t *field)
{
    return field->name == &H2O_TOKEN_WWW_AUTHENTICATE->buf ||
           field->name == &H2O_TOKEN_RETRY_AFTER->buf || field->name == &H2O_TOKEN_ALLOW->buf ||
           field->name == &H2O_TOKEN_SET_COOKIE->buf;
}

void sky_error_page_replace(h2o_req_t *req, const struct sky_error_page *custom)
{
    h2o_headers_t *headers = &req->res.headers;
    size_t kept = 0;

    for (size_t i = 0; i < headers->size; ++i)
        if (belongs_to_status(&headers->entries[i]))
            headers->entries[kept++] = headers->entries[i];
    headers->size = kept;
    add_field(req, H2O_TOKEN_CONTENT_TYPE, "Content-Type", custom->type);
    add_field(req, H2O_TOKEN_CACHE_CONTROL, "Cache-Control", "no-store");
    send_page(req, body_of(custom));
}
