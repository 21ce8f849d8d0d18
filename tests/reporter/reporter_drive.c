/* SPDX-License-Identifier: Apache-2.0 */
/* A reporter without a proxy, driven by lines on stdin; each is answered by one line on stdout.
 *
 *   push COUNT BYTES OPERATION   segments whose one tag has so many bytes
 *   counters                     a JSON object of all counters
 *   cpu                          CPU time of the reporter thread in us
 *   stop DEADLINE_MS             stops, then as counters
 *
 * Arguments: key=value, see main. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "reporter/reporter.h"

#define MAX_BACKENDS 4
#define MAX_TAG_BYTES (2u << 20)

static const char *backends[MAX_BACKENDS];
static const struct sky_property properties[] = {{"language", "python"}, {"hostname", "h\xff"}};

static struct sky_reporter_options options = {
    .protocol = SKY_PROTOCOL_GRPC,
    .backends = backends,
    .authentication = "",
    .kafka = {.name_space = "",
              .topic_segment = "skywalking-segments",
              .topic_management = "skywalking-managements"},
    .spool = {.max_bytes = 64u << 20},
    .service = "drive",
    .instance = "drive@host",
    .properties = properties,
    .property_count = 2,
    .worker_count = 1,
    .memory_bytes = 64u << 20,
    .batch_bytes = 1u << 20,
    .batch_interval_ms = 50,
    .heartbeat_ms = 30000,
    .properties_every = 10,
    .local_bytes = 1u << 20,
};

static bool set_option(const char *key, const char *value)
{
    if (strcmp(key, "protocol") == 0)
        options.protocol = strcmp(value, "grpc") == 0    ? SKY_PROTOCOL_GRPC
                           : strcmp(value, "http") == 0  ? SKY_PROTOCOL_HTTP
                           : strcmp(value, "kafka") == 0 ? SKY_PROTOCOL_KAFKA
                                                         : SKY_PROTOCOL_LOCAL;
    else if (strcmp(key, "backend") == 0 && options.backend_count < MAX_BACKENDS)
        backends[options.backend_count++] = value;
    else if (strcmp(key, "token") == 0)
        options.authentication = value;
    else if (strcmp(key, "tls") == 0)
        options.tls.enabled = strcmp(value, "on") == 0;
    else if (strcmp(key, "tls_ca") == 0)
        options.tls.ca = value;
    else if (strcmp(key, "tls_certificate") == 0)
        options.tls.certificate = value;
    else if (strcmp(key, "tls_key") == 0)
        options.tls.key = value;
    else if (strcmp(key, "tls_server_name") == 0)
        options.tls.server_name = value;
    else if (strcmp(key, "memory") == 0)
        options.memory_bytes = strtoul(value, NULL, 10);
    else if (strcmp(key, "batch") == 0)
        options.batch_bytes = strtoul(value, NULL, 10);
    else if (strcmp(key, "interval_ms") == 0)
        options.batch_interval_ms = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(key, "heartbeat_ms") == 0)
        options.heartbeat_ms = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(key, "properties_every") == 0)
        options.properties_every = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(key, "spool") == 0)
        options.spool.path = value;
    else if (strcmp(key, "spool_max") == 0)
        options.spool.max_bytes = strtoul(value, NULL, 10);
    else if (strcmp(key, "spool_rate") == 0)
        options.spool.rate_bytes = strtoul(value, NULL, 10);
    else if (strcmp(key, "on_unclear") == 0)
        options.drops_unclear = strcmp(value, "drop") == 0;
    else if (strcmp(key, "gzip") == 0)
        options.gzip = strcmp(value, "on") == 0;
    else if (strcmp(key, "local") == 0)
        options.local_enabled = strcmp(value, "on") == 0;
    else
        return false;
    return true;
}

static size_t next_number;

static void push(struct sky_reporter *reporter, size_t bytes, const char *operation)
{
    static char text[MAX_TAG_BYTES];
    char id[32];

    memset(text, 'x', bytes);
    int length = snprintf(id, sizeof(id), "segment-%zu", next_number++);
    const struct sky_tag tag = {SKY_TEXT("text"), sky_text(text, bytes)};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    const struct sky_span span = {.parent = -1,
                                  .start_ms = now_ms,
                                  .end_ms = now_ms + 1,
                                  .operation = sky_text_of(operation),
                                  .layer = SKY_LAYER_HTTP,
                                  .component = 7001,
                                  .tags = &tag,
                                  .tag_count = 1};
    const struct sky_segment segment = {.trace_id = sky_text(id, (size_t)length),
                                        .segment_id = sky_text(id, (size_t)length),
                                        .service = SKY_TEXT("drive"),
                                        .instance = SKY_TEXT("drive@host"),
                                        .spans = &span,
                                        .span_count = 1};
    struct sky_packet *packet = sky_segment_pack(&segment);
    if (packet == NULL)
        abort();
    struct sky_ring *ring = sky_reporter_ring(reporter, 0);
    sky_ring_push(ring, packet);
    if (sky_ring_high_water(ring))
        sky_reporter_wake(reporter);
}

static void print_counters(struct sky_reporter *reporter)
{
    struct sky_reporter_counters counters;

    sky_reporter_counters(reporter, &counters);
    printf("{");
#define SKY_COUNTER(name, metric, labels, help) \
    printf("\"%s\": %" PRIu64 ", ", #name, counters.name);
#include "reporter/reporter_counters.def"
#undef SKY_COUNTER
    printf("\"backlog_segments\": %" PRIu64 ", \"backlog_bytes\": %" PRIu64
           ", \"spool_segments\": %" PRIu64 ", \"spool_bytes\": %" PRIu64
           ", \"local_segments\": %" PRIu64 ", \"spool_ready\": %s, \"connected\": %s}\n",
           counters.backlog_segments, counters.backlog_bytes, counters.spool_segments,
           counters.spool_bytes, counters.local_segments, counters.spool_ready ? "true" : "false",
           counters.connected ? "true" : "false");
}

/* Of all threads but this one. */
static void print_cpu(void)
{
    struct timespec all, own;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &all);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
    printf("%" PRId64 "\n",
           (int64_t)(all.tv_sec - own.tv_sec) * 1000000 + (all.tv_nsec - own.tv_nsec) / 1000);
}

static bool obey(struct sky_reporter *reporter, const char *line)
{
    char operation[64];
    size_t count, bytes;
    unsigned deadline_ms;

    if (sscanf(line, "push %zu %zu %63s", &count, &bytes, operation) == 3 &&
        bytes <= MAX_TAG_BYTES) {
        while (count-- > 0)
            push(reporter, bytes, operation);
        printf("pushed\n");
    } else if (sscanf(line, "stop %u", &deadline_ms) == 1) {
        sky_reporter_stop(reporter, deadline_ms);
        print_counters(reporter);
    } else if (strcmp(line, "counters\n") == 0) {
        print_counters(reporter);
    } else if (strcmp(line, "cpu\n") == 0) {
        print_cpu();
    } else {
        return false;
    }
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    char line[256];

    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value == NULL)
            return 2;
        *value = '\0';
        if (!set_option(argv[i], value + 1))
            return 2;
    }
    struct sky_reporter *reporter = sky_reporter_new(&options);
    if (reporter == NULL || sky_reporter_start(reporter) != 0)
        return 1;
    bool is_understood = true;
    while (is_understood && fgets(line, sizeof(line), stdin) != NULL)
        is_understood = obey(reporter, line);
    sky_reporter_stop(reporter, 0);
    sky_reporter_destroy(reporter);
    return is_understood ? 0 : 2;
}
