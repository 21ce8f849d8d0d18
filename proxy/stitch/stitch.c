/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path, no message (nearly every request): track -> answer says `more` 0 -> finish -> report.
 * Happy path, messages: they lie in the socket when the answer's head arrives -> finish polls the
 *   channel once -> complete -> report.
 * Failures: a message is not there -> held; it comes -> report; it does not -> timer -> report as
 * it is. The app took the connection over, as for a WebSocket: no header, but a first message that
 * is not the last, so the same wait. Held bytes above stitch.hold_max -> the oldest is reported as
 * it is. The answer has no header although a helper was seen in this upstream -> one turn of the
 * loop, for what a dying worker sent. An unsampled stream (`?`) -> it says something only if it
 * breaks, and did so before its end: read, not waited for. A message for no open segment, a second
 * of a kind, or one that cannot be read -> dropped, counted. No channel -> header and
 * sw8-stitch-data alone, nothing is waited for. */
#include "proxy/stitch/stitch.h"

#include "propagation/base64.h"
#include "proxy/process/processes.h"
#include "proxy/stitch/stitch_channel.h"
#include "proxy/stitch/stitch_header.h"
#include "proxy/stitch/stitch_hold.h"
#include "proxy/stitch/stitch_message.h"
#include "proxy/stitch/stitch_own.h"
#include "proxy/stitch/stitch_token.h"
#include "reporter/log.h"

/* Reads of the channel before an entry is held: what is in the socket has come by then. */
#define MAX_POLLS 8
/* Before the end, when nothing waits for us any more but what was sent to us. */
#define MAX_LAST_POLLS 64
/* In sw8-stitch-data. */
#define DATA_MAX_BYTES 4096

struct sky_stitch {
    struct sky_counters *counters;
    struct sky_stitch_channel *channel; /* NULL: none */
    bool channel_is_file;               /* reaches upstreams that are not on this machine too */
    struct sky_stitch_token *token;     /* NULL: none */
    struct sky_processes *processes;    /* NULL: nothing is asked of them */
    struct sky_stitch_table table;
    struct sky_stitch_hold hold;
    sky_stitch_own_fn *on_own; /* NULL: there are none */
    void *own_data;
};

/* How a message came. */
struct origin {
    void **peer; /* of the connection; NULL: with an answer */
    bool known;  /* see sky_stitch_channel_fn */
};

/* Whether everything is there that header and messages speak of. Without a header, only the closing
 * message can say so. */
static bool is_complete(const struct sky_app_part *part)
{
    if (part->last)
        return part->arrived > part->last_seq;
    return part->header && !part->head.stream && part->arrived >= part->head.announced;
}

/* Whether there is more to come than is here: the answer says so, or there was none (the app took
 * the connection over) and a first message came ahead of the rest. */
static bool is_announced(const struct sky_app_part *part)
{
    if (!part->header)
        return part->arrived != 0;
    return part->head.stream || part->head.announced != 0;
}

static bool is_duplicate(const struct sky_app_part *part, const struct sky_stitch_message *message)
{
    if ((part->seqs >> message->seq & 1) != 0)
        return true;
    return part->last && (message->last || message->seq > part->last_seq);
}

static void note_arrival(struct sky_app_part *part, const struct sky_stitch_message *message)
{
    part->arrived++;
    part->seqs |= UINT64_C(1) << message->seq;
    if (message->last) {
        part->last = true;
        part->last_seq = message->seq;
    }
}

static void take(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                 const struct sky_stitch_message *message)
{
    struct sky_stitch_taken taken;
    sky_stitch_message_take(message, entry->pool, &entry->part, &taken);
    sky_stitch_hold_charge(&stitch->hold, entry, taken.bytes);
    sky_count(stitch->counters, SKY_COUNT_stitch_message);
    if (taken.cut)
        sky_count(stitch->counters, SKY_COUNT_stitch_cut);
    if (taken.limited)
        sky_count(stitch->counters, SKY_COUNT_stitch_limited);
    if (taken.bad_spans != 0)
        sky_count_add(stitch->counters, SKY_COUNT_stitch_span_bad, taken.bad_spans);
}

/* Decides over a readable message of `size` bytes for an entry. May report other entries, held
 * ones. */
static void accept_message(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                           const struct sky_stitch_message *message, size_t size)
{
    if (is_duplicate(&entry->part, message)) {
        sky_count(stitch->counters, SKY_COUNT_stitch_message_duplicate);
        return;
    }
    note_arrival(&entry->part, message);
    sky_stitch_table_see_helper(&stitch->table, entry->upstream);
    if (sky_stitch_hold_make_room(&stitch->hold, size, entry)) {
        take(stitch, entry, message);
        return;
    }
    entry->part.truncated = true;
    sky_count(stitch->counters, SKY_COUNT_stitch_message_overflow);
}

/* Who speaks, for sky_process_trust_fn. */
struct speaker {
    const struct sky_stitch *stitch;
    bool known;
};

static bool may_speak(void *data, struct sky_text request)
{
    const struct speaker *speaker = data;
    struct sky_id segment;

    return speaker->known || (sky_id_parse(request, &segment) &&
                              sky_stitch_table_find(&speaker->stitch->table, segment) != NULL);
}

static void take_word(struct sky_stitch *stitch, const struct origin *origin,
                      const struct json_t *root)
{
    struct speaker speaker = {stitch, origin->known};

    if (stitch->processes == NULL || origin->peer == NULL) {
        sky_count(stitch->counters, SKY_COUNT_process_message_unasked);
        return;
    }
    struct sky_process *process = *origin->peer;
    sky_processes_take(stitch->processes, &process, root, may_speak, &speaker, stitch->counters);
    *origin->peer = process;
}

static void take_own(struct sky_stitch *stitch, bool known,
                     const struct sky_stitch_message *message)
{
    h2o_mem_pool_t pool;
    struct sky_stitch_own own;

    if (!known || stitch->on_own == NULL) {
        sky_count(stitch->counters, SKY_COUNT_stitch_own_refused);
        return;
    }
    h2o_mem_init_pool(&pool);
    if (sky_stitch_own_read(message, &pool, &own)) {
        sky_count(stitch->counters, SKY_COUNT_stitch_own);
        stitch->on_own(stitch->own_data, &own);
    } else {
        sky_count(stitch->counters, SKY_COUNT_stitch_message_bad);
    }
    h2o_mem_clear_pool(&pool);
}

/* Reads a message; false when it is none of a request, which is counted. */
static bool read_message(struct sky_stitch *stitch, const struct origin *origin,
                         struct sky_text bytes, struct sky_stitch_message *message)
{
    switch (sky_stitch_message_read(bytes, message)) {
    case SKY_STITCH_MESSAGE_OK:
        return true;
    case SKY_STITCH_MESSAGE_VERSION:
        sky_count(stitch->counters, SKY_COUNT_stitch_message_version);
        return false;
    case SKY_STITCH_MESSAGE_PROCESS:
        take_word(stitch, origin, message->root);
        sky_stitch_message_fini(message);
        return false;
    case SKY_STITCH_MESSAGE_OWN:
        take_own(stitch, origin->known, message);
        sky_stitch_message_fini(message);
        return false;
    case SKY_STITCH_MESSAGE_BAD:
        break;
    }
    sky_count(stitch->counters, SKY_COUNT_stitch_message_bad);
    return false;
}

static void on_message(void *data, void **peer, struct sky_text bytes, bool known)
{
    struct sky_stitch *stitch = data;
    struct origin origin = {peer, known};
    struct sky_stitch_message message;

    if (!read_message(stitch, &origin, bytes, &message))
        return;
    struct sky_stitch_entry *entry = sky_stitch_table_find(&stitch->table, message.segment);
    if (entry != NULL)
        accept_message(stitch, entry, &message, bytes.len);
    else
        sky_count(stitch->counters, sky_stitch_table_was_given_up(&stitch->table, message.segment)
                                        ? SKY_COUNT_stitch_message_late
                                        : SKY_COUNT_stitch_message_unknown);
    sky_stitch_message_fini(&message);
    if (entry != NULL && h2o_linklist_is_linked(&entry->held) && is_complete(&entry->part))
        sky_stitch_hold_report(&stitch->hold, entry);
}

static void on_gone(void *data, void *peer)
{
    const struct sky_stitch *stitch = data;

    sky_processes_leave(stitch->processes, peer);
}

static void open_channel(struct sky_stitch *stitch, h2o_context_t *ctx,
                         const struct sky_config *config, size_t worker_index)
{
    const char *setting = config->stitch.channel;
    if (setting == NULL || strcmp(setting, "off") == 0)
        return;
    stitch->channel_is_file = strcmp(setting, "auto") != 0;
    stitch->channel =
        sky_stitch_channel_new(ctx, stitch->channel_is_file ? setting : NULL,
                               config->stitch.group != NULL ? config->stitch.group : "",
                               worker_index, stitch->counters, on_message, on_gone, stitch);
    if (stitch->channel == NULL)
        sky_count(stitch->counters, SKY_COUNT_stitch_channel_failed);
}

struct sky_stitch *sky_stitch_new(h2o_context_t *ctx, const struct sky_config *config,
                                  size_t worker_index, struct sky_counters *counters)
{
    struct sky_stitch *stitch = h2o_mem_alloc(sizeof(*stitch));

    memset(stitch, 0, sizeof(*stitch));
    stitch->counters = counters;
    stitch->token = sky_stitch_token_new(config->stitch.token);
    sky_stitch_table_init(&stitch->table);
    sky_stitch_hold_init(&stitch->hold, ctx, config, counters, &stitch->table);
    open_channel(stitch, ctx, config, worker_index);
    return stitch;
}

void sky_stitch_ask_processes(struct sky_stitch *stitch, struct sky_processes *processes)
{
    stitch->processes = processes;
}

void sky_stitch_on_own(struct sky_stitch *stitch, sky_stitch_own_fn *on_own, void *data)
{
    stitch->on_own = on_own;
    stitch->own_data = data;
}

struct sky_text sky_stitch_channel(const struct sky_stitch *stitch, bool upstream_is_local)
{
    if (stitch->channel == NULL || (!stitch->channel_is_file && !upstream_is_local))
        return SKY_TEXT("-");
    return sky_stitch_channel_address(stitch->channel);
}

static char *append(char *dst, struct sky_text text)
{
    memcpy(dst, text.base, text.len);
    return dst + text.len;
}

/* Decimal digits of a time since 1970. Not snprintf, which costs more than all of the tracing. */
static struct sky_text format_time(int64_t t0_us, char buffer[20])
{
    uint64_t rest = t0_us > 0 ? (uint64_t)t0_us : 0;
    size_t at = 20;
    do {
        buffer[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    return sky_text(buffer + at, 20 - at);
}

size_t sky_stitch_request_value(const struct sky_stitch *stitch, struct sky_id segment,
                                int64_t t0_us, bool will_report, bool upstream_is_local, char *dst)
{
    char digits[20], hex[SKY_ID_HEX], mac[SKY_STITCH_MAC_HEX];
    struct sky_text t0 = format_time(t0_us, digits);

    struct sky_text channel = sky_stitch_channel(stitch, upstream_is_local);
    char *end = append(dst, SKY_TEXT("1;"));
    end = append(end, channel);
    *end++ = ';';
    end = append(end, t0);
    *end++ = ';';
    if (will_report)
        *end++ = 's';
    if (stitch->processes != NULL && channel.len > 1)
        end = append(end, sky_processes_flags(stitch->processes));
    if (stitch->token == NULL)
        return (size_t)(end - dst);
    sky_id_format(segment, hex);
    if (sky_stitch_token_mac(stitch->token, sky_text(hex, sizeof(hex)), t0, mac)) {
        *end++ = ';';
        end = append(end, sky_text(mac, sizeof(mac)));
    }
    return (size_t)(end - dst);
}

void sky_stitch_track(struct sky_stitch *stitch, struct sky_stitch_entry *entry)
{
    memset(&entry->part, 0, sizeof(entry->part));
    entry->part.spans_end = &entry->part.spans;
    entry->bytes = 0;
    entry->held = (h2o_linklist_t){NULL, NULL};
    entry->timer = (h2o_timeout_entry_t){.cb = NULL};
    entry->bucket = (h2o_linklist_t){NULL, NULL};
    sky_stitch_table_add(&stitch->table, entry);
}

void sky_stitch_untrack(struct sky_stitch *stitch, struct sky_stitch_entry *entry)
{
    if (is_announced(&entry->part) && !is_complete(&entry->part))
        sky_stitch_table_give_up(&stitch->table, entry->segment);
    sky_stitch_hold_release(&stitch->hold, entry);
}

void sky_stitch_retrack(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                        struct sky_id segment)
{
    sky_stitch_table_give_up(&stitch->table, entry->segment);
    sky_stitch_hold_release(&stitch->hold, entry);
    entry->segment = segment;
    sky_stitch_track(stitch, entry);
}

static void note_lost(struct sky_stitch *stitch, uint32_t lost)
{
    static struct sky_log_limit limit;
    if (lost == 0)
        return;
    sky_count_add(stitch->counters, SKY_COUNT_stitch_lost, lost);
    struct sky_text channel = sky_stitch_channel(stitch, true);
    sky_log_limited(&limit, SKY_LOG_WARN,
                    "stitch.channel: a helper lost %u messages on their way to %.*s: can the app "
                    "reach it (stitch.channel, stitch.group), or did they come too late?",
                    (unsigned)lost, (int)channel.len, channel.base);
}

void sky_stitch_answer(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                       struct sky_text value, size_t count)
{
    if (count == 0)
        return;
    if (count > 1) {
        sky_count(stitch->counters, SKY_COUNT_stitch_header_twice);
        return;
    }
    struct sky_app_header header;
    /* Longer values are refused unread. */
    size_t size = value.len <= SKY_STITCH_HEADER_MAX_BYTES ? value.len : 0;
    switch (sky_stitch_header_parse(value, h2o_mem_alloc_pool(entry->pool, size), &header)) {
    case SKY_STITCH_HEADER_OK:
        break;
    case SKY_STITCH_HEADER_VERSION:
        sky_count(stitch->counters, SKY_COUNT_stitch_header_version);
        return;
    case SKY_STITCH_HEADER_BAD:
        sky_count(stitch->counters, SKY_COUNT_stitch_header_bad);
        return;
    }
    sky_count(stitch->counters, SKY_COUNT_stitch_header);
    entry->part.header = true;
    entry->part.head = header;
    sky_stitch_table_see_helper(&stitch->table, entry->upstream);
    note_lost(stitch, header.lost);
}

void sky_stitch_data(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                     struct sky_text value, size_t count)
{
    char bytes[SKY_BASE64_LEN(DATA_MAX_BYTES) / 4 * 3];
    struct sky_stitch_message message;

    if (stitch->token == NULL) {
        sky_count(stitch->counters, SKY_COUNT_stitch_message_unasked);
        return;
    }
    ssize_t len = -1;
    if (count == 1 && value.len <= SKY_BASE64_LEN(DATA_MAX_BYTES))
        len = sky_base64_decode(bytes, value);
    if (len < 0 || len > DATA_MAX_BYTES) {
        sky_count(stitch->counters, SKY_COUNT_stitch_message_bad);
        return;
    }
    struct origin origin = {NULL, false};
    if (!read_message(stitch, &origin, sky_text(bytes, (size_t)len), &message))
        return;
    if (sky_stitch_same_id(message.segment, entry->segment))
        accept_message(stitch, entry, &message, (size_t)len);
    else
        sky_count(stitch->counters, SKY_COUNT_stitch_message_unknown);
    sky_stitch_message_fini(&message);
}

/* Reads what lies in the channel, until everything of the entry has come. */
static void poll_for(struct sky_stitch *stitch, const struct sky_stitch_entry *entry)
{
    if (stitch->channel == NULL)
        return;
    for (size_t i = 0; i < MAX_POLLS && !is_complete(&entry->part); i++) {
        if (!sky_stitch_channel_poll(stitch->channel))
            break;
    }
}

void sky_stitch_catch_up(struct sky_stitch *stitch, struct sky_stitch_entry *entry)
{
    if (entry->part.head.if_broken)
        poll_for(stitch, entry);
}

void sky_stitch_finish(struct sky_stitch *stitch, struct sky_stitch_entry *entry)
{
    bool announced = is_announced(&entry->part);
    if (announced)
        poll_for(stitch, entry);
    if (stitch->channel == NULL || is_complete(&entry->part) || entry->part.head.if_broken) {
        sky_stitch_hold_report(&stitch->hold, entry);
        return;
    }
    if (announced) {
        sky_stitch_hold_add(&stitch->hold, entry);
        return;
    }
    if (sky_stitch_table_has_helper(&stitch->table, entry->upstream)) {
        sky_stitch_hold_add_turn(&stitch->hold, entry);
        return;
    }
    sky_stitch_hold_report(&stitch->hold, entry);
}

void sky_stitch_merge(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                      const struct sky_stitch_window *window, struct sky_stitch_merged *merged)
{
    sky_stitch_merge_part(entry->pool, &entry->part, window, merged);
    if (merged->duplicate_ids != 0)
        sky_count_add(stitch->counters, SKY_COUNT_stitch_span_duplicate, merged->duplicate_ids);
    if (merged->bad_parents != 0)
        sky_count_add(stitch->counters, SKY_COUNT_stitch_span_parent, merged->bad_parents);
    if (merged->bad_times != 0)
        sky_count_add(stitch->counters, SKY_COUNT_stitch_span_time, merged->bad_times);
}

size_t sky_stitch_bytes(const struct sky_stitch *stitch)
{
    return atomic_load_explicit(&stitch->hold.bytes, memory_order_relaxed);
}

void sky_stitch_flush(struct sky_stitch *stitch)
{
    for (size_t i = 0; stitch->channel != NULL && i < MAX_LAST_POLLS; i++) {
        if (!sky_stitch_channel_poll(stitch->channel))
            break;
    }
    sky_stitch_hold_flush(&stitch->hold);
}

void sky_stitch_destroy(struct sky_stitch *stitch)
{
    sky_stitch_flush(stitch);
    sky_stitch_hold_fini(&stitch->hold);
    sky_stitch_channel_destroy(stitch->channel);
    sky_stitch_token_destroy(stitch->token);
    free(stitch);
}
