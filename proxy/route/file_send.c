/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: find the file, judge what is wanted of it, send head and first bytes at once, the
 * rest as the client takes it; large ones by the kernel, where it may.
 *
 * Failures: no such file, or a method other than GET and HEAD: the caller asks the app or answers
 * with a page. The file got shorter after its length was sent: the answer is cut. */
#include "proxy/route/file_send.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "proxy/front/answer_file.h"
#include "proxy/route/file_condition.h"
#include "proxy/route/route_rules.h"
#include "reporter/log.h"

#define PIECE_BYTES (64 * 1024)

/* Up to here, one read and one write with the head cost less than a sendfile behind the head. */
#define READ_MAX_BYTES (16 * 1024)

#define ETAG_BYTES 64
#define RANGE_BYTES 80

struct sending {
    h2o_generator_t super; /* first: h2o hands it back */
    const struct sky_route_rules *rules;
    struct sky_file file;
    struct sky_answer_file part; /* of it, that is still to be sent */
    bool *cut;
    char *piece; /* NULL until one is read */
    char etag[ETAG_BYTES], modified[H2O_TIMESTR_RFC1123_LEN + 1], range[RANGE_BYTES];
};

void sky_file_prepare(h2o_mimemap_t *types)
{
    static const char *const more[][2] = {
        {"avif", "image/avif"},
        {"js", "text/javascript"},
        {"map", "application/json"},
        {"md", "text/markdown"},
        {"mjs", "text/javascript"},
        {"otf", "font/otf"},
        {"ttf", "font/ttf"},
        {"wasm", "application/wasm"},
        {"webmanifest", "application/manifest+json"},
        {"woff", "font/woff"},
        {"xml", "application/xml"},
    };

    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); ++i)
        h2o_mimemap_define_mimetype(types, more[i][0], more[i][1], NULL);
}

static void on_dispose(void *arg)
{
    struct sending *sending = arg;

    close(sending->file.fd);
}

static struct sky_text wish(const h2o_req_t *req, const h2o_token_t *token)
{
    ssize_t at = h2o_find_header(&req->headers, token, -1);

    return at != -1
               ? sky_text(req->headers.entries[at].value.base, req->headers.entries[at].value.len)
               : sky_text(NULL, 0);
}

static bool is_head(const h2o_req_t *req)
{
    return h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
}

static void add_field(h2o_req_t *req, const h2o_token_t *token, const char *name, const char *value)
{
    h2o_add_header(&req->pool, &req->res.headers, token, name, value, strlen(value));
}

/* --- the body --- */

static void send_piece(struct sending *sending, h2o_req_t *req)
{
    struct sky_answer_file *part = &sending->part;
    size_t wanted = part->left < PIECE_BYTES ? (size_t)part->left : PIECE_BYTES;
    ssize_t got;

    if (sending->piece == NULL)
        sending->piece = h2o_mem_alloc_pool(&req->pool, wanted);
    do
        got = pread(part->fd, sending->piece, wanted, (off_t)part->at);
    while (got == -1 && errno == EINTR);
    if (got <= 0) {
        static struct sky_log_limit limit;
        sky_log_limited(&limit, SKY_LOG_WARN, "static %s: a file %s while it was sent",
                        sending->rules->files.folder,
                        got == 0 ? "got shorter" : "could not be read");
        *sending->cut = true;
        h2o_send(req, NULL, 0, H2O_SEND_STATE_ERROR);
        return;
    }
    part->at += (uint64_t)got;
    part->left -= (uint64_t)got;
    h2o_iovec_t piece = h2o_iovec_init(sending->piece, (size_t)got);
    h2o_send(req, &piece, 1, part->left == 0 ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct sending *sending = (struct sending *)generator;

    if (sending->part.left == 0)
        h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
    else
        send_piece(sending, req);
}

/* --- the head --- */

/* Time to the nanosecond and size tell versions apart, the coding its forms. */
static void describe(struct sending *sending, struct sky_file_state *state)
{
    const struct stat *stat = &sending->file.stat;
    struct tm tm;

    int len = snprintf(sending->etag, ETAG_BYTES, "\"%" PRIx64 ".%lx-%" PRIx64 "%s%s\"",
                       (uint64_t)stat->st_mtim.tv_sec, stat->st_mtim.tv_nsec,
                       (uint64_t)stat->st_size, sending->file.coding != NULL ? "-" : "",
                       sending->file.coding != NULL ? sending->file.coding : "");
    gmtime_r(&stat->st_mtime, &tm);
    h2o_time2str_rfc1123(sending->modified, &tm);
    *state = (struct sky_file_state){.size = (uint64_t)stat->st_size,
                                     .modified = stat->st_mtime,
                                     .etag = sky_text(sending->etag, (size_t)len)};
}

static enum sky_file_verdict judge(h2o_req_t *req, bool head, const struct sky_file_state *state,
                                   struct sky_file_part *part)
{
    struct sky_file_wishes wishes = {
        .if_match = wish(req, H2O_TOKEN_IF_MATCH),
        .if_none_match = wish(req, H2O_TOKEN_IF_NONE_MATCH),
        .if_modified_since = wish(req, H2O_TOKEN_IF_MODIFIED_SINCE),
        .if_unmodified_since = wish(req, H2O_TOKEN_IF_UNMODIFIED_SINCE),
        .if_range = wish(req, H2O_TOKEN_IF_RANGE),
        .range = head ? sky_text(NULL, 0) : wish(req, H2O_TOKEN_RANGE),
    };

    return sky_file_judge(&wishes, state, part);
}

static void add_type(h2o_req_t *req, const char *index)
{
    h2o_iovec_t name = req->path_normalized;

    if (index != NULL && name.base[name.len - 1] == '/')
        name = h2o_iovec_init(index, strlen(index));
    h2o_mimemap_type_t *type = h2o_mimemap_get_type_by_extension(
        req->pathconf->mimemap, h2o_get_filext(name.base, name.len));

    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, "Content-Type",
                   type->data.mimetype.base, type->data.mimetype.len);
}

static void start(struct sending *sending, h2o_req_t *req, int status, const char *reason)
{
    req->res.status = status;
    req->res.reason = reason;
    add_field(req, H2O_TOKEN_ETAG, "ETag", sending->etag);
    add_field(req, H2O_TOKEN_LAST_MODIFIED, "Last-Modified", sending->modified);
    add_field(req, H2O_TOKEN_VARY, "Vary", "Accept-Encoding");
    if (sending->rules->files.cache_control != NULL)
        add_field(req, H2O_TOKEN_CACHE_CONTROL, "Cache-Control",
                  sending->rules->files.cache_control);
    sky_route_change_answer(sending->rules, req);
    h2o_start_response(req, &sending->super);
}

static void send_bodiless(struct sending *sending, h2o_req_t *req, int status, const char *reason)
{
    req->res.content_length = status == 304 ? SIZE_MAX : 0;
    start(sending, req, status, reason);
    h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
}

static void send_content(struct sending *sending, h2o_req_t *req, bool head, bool whole)
{
    req->res.content_length = (size_t)sending->part.left;
    add_type(req, sending->rules->files.index);
    add_field(req, H2O_TOKEN_ACCEPT_RANGES, "Accept-Ranges", "bytes");
    if (sending->file.coding != NULL)
        add_field(req, H2O_TOKEN_CONTENT_ENCODING, "Content-Encoding", sending->file.coding);
    if (!whole)
        add_field(req, H2O_TOKEN_CONTENT_RANGE, "Content-Range", sending->range);
    start(sending, req, whole ? 200 : 206, whole ? "OK" : "Partial Content");
    if (head || sending->part.left == 0)
        h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
    else if (sending->part.left <= READ_MAX_BYTES || !sky_front_send_file(req, &sending->part))
        send_piece(sending, req);
}

static void answer(struct sending *sending, h2o_req_t *req, bool head)
{
    struct sky_file_state state;
    struct sky_file_part part;

    describe(sending, &state);
    enum sky_file_verdict verdict = judge(req, head, &state, &part);
    switch (verdict) {
    case SKY_FILE_UNCHANGED:
        send_bodiless(sending, req, 304, "Not Modified");
        return;
    case SKY_FILE_FAILED:
        send_bodiless(sending, req, 412, "Precondition Failed");
        return;
    case SKY_FILE_UNSATISFIABLE:
        snprintf(sending->range, RANGE_BYTES, "bytes */%" PRIu64, state.size);
        add_field(req, H2O_TOKEN_CONTENT_RANGE, "Content-Range", sending->range);
        send_bodiless(sending, req, 416, "Range Not Satisfiable");
        return;
    case SKY_FILE_WHOLE:
    case SKY_FILE_PART:
        break;
    }
    sending->part =
        (struct sky_answer_file){.fd = sending->file.fd, .at = part.first, .left = part.length};
    if (verdict == SKY_FILE_PART)
        snprintf(sending->range, RANGE_BYTES, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, part.first,
                 part.first + part.length - 1, state.size);
    send_content(sending, req, head, verdict == SKY_FILE_WHOLE);
}

/* --- what is not a file --- */

/* A page's relative links need the slash. One slash only before it: //host/ would lead away, and
 * browsers take a backslash for a slash. */
static void redirect_to_directory(const struct sky_route_rules *rules, h2o_req_t *req)
{
    static h2o_generator_t generator; /* keeps nothing: there is no body */
    size_t path_len = req->query_at != SIZE_MAX ? req->query_at : req->path.len, skipped = 0;

    while (skipped < path_len &&
           (req->path.base[skipped] == '/' || req->path.base[skipped] == '\\'))
        ++skipped;
    h2o_iovec_t parts[] = {
        h2o_iovec_init(H2O_STRLIT("/")),
        h2o_iovec_init(req->path.base + skipped, path_len - skipped),
        h2o_iovec_init(H2O_STRLIT("/")),
        h2o_iovec_init(req->path.base + path_len, req->path.len - path_len),
    };
    h2o_iovec_t location = h2o_concat_list(&req->pool, parts, 4);

    req->res.status = 301;
    req->res.reason = "Moved Permanently";
    req->res.content_length = 0;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_LOCATION, "Location", location.base,
                   location.len);
    sky_route_change_answer(rules, req);
    h2o_start_response(req, &generator);
    h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
}

static void log_error(struct sky_log_limit *limit, const struct sky_route_rules *rules,
                      const h2o_req_t *req)
{
    size_t path_len = req->query_at != SIZE_MAX ? req->query_at : req->path.len;

    sky_log_limited(limit, SKY_LOG_WARN, "static %s: %.*s: %s", rules->files.folder, (int)path_len,
                    req->path.base, strerror(errno));
}

enum sky_failure sky_file_look(const struct sky_route_config *route, struct sky_folder *folder,
                               const h2o_req_t *req, struct sky_file *file)
{
    const struct sky_route_rules *rules = route->rules;
    size_t prefix = strlen(route->path);
    struct sky_text path =
        sky_text(req->path_normalized.base + prefix, req->path_normalized.len - prefix);

    if (!is_head(req) && !h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET")))
        return SKY_FAILURE_FILE_METHOD;
    switch (sky_file_find(folder, path, rules->files.index, wish(req, H2O_TOKEN_ACCEPT_ENCODING),
                          file)) {
    case SKY_FILE_FOUND:
        return SKY_FAILURE_NONE;
    case SKY_FILE_DIRECTORY:
        file->fd = -1;
        return route->upstream == NULL && rules->files.index != NULL ? SKY_FAILURE_NONE
                                                                     : SKY_FAILURE_NO_FILE;
    case SKY_FILE_MISSING:
        if (errno != ENOENT) {
            static struct sky_log_limit limit;
            log_error(&limit, rules, req);
        }
        return SKY_FAILURE_NO_FILE;
    case SKY_FILE_BROKEN:
        break;
    }
    static struct sky_log_limit limit;
    log_error(&limit, rules, req);
    return SKY_FAILURE_FILE_BROKEN;
}

void sky_file_answer(const struct sky_route_config *route, h2o_req_t *req,
                     const struct sky_file *file, bool *cut)
{
    if (file->fd == -1) {
        redirect_to_directory(route->rules, req);
        return;
    }
    struct sending *sending = h2o_mem_alloc_shared(&req->pool, sizeof(*sending), on_dispose);
    *sending = (struct sending){
        .super = {.proceed = on_proceed}, .rules = route->rules, .file = *file, .cut = cut};
    answer(sending, req, is_head(req));
}
