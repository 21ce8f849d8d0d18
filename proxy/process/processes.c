/* SPDX-License-Identifier: Apache-2.0 */
/* A list of few. A process is known as long as one of its connections is open, so a worker that is
 * killed takes its memory and threads out of the sums, while what it has collected stays in them.
 *
 * Failures: a word without an id, of a stranger, or of more processes than are kept -> counted,
 * left out; memory is out -> the same. */
#include "proxy/process/processes.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "reporter/identity.h"

/* As many as connections of one channel. */
#define MAX_PROCESSES 1024

struct sky_process {
    struct sky_process *next;
    char id[SKY_PROCESS_ID_BYTES];
    size_t id_bytes;
    unsigned connections;
    bool has_meters;
    struct sky_process_meters meters; /* as of at_ms */
    int64_t at_ms;
    double cpu; /* CPUs in use between the last two words */
};

struct property {
    char *key, *value;
};

struct sky_processes {
    const struct sky_config *config;
    struct sky_reporter *reporter;
    char flags[4];
    pthread_mutex_t lock;
    /* Under the lock. */
    struct sky_process *first;
    size_t count;
    int64_t gc_collected[3], gc_us; /* of all that ever were */
    struct property properties[SKY_PROCESS_MAX_PROPERTIES];
    size_t property_count;
    bool has_news; /* of properties */
};

struct sky_processes *sky_processes_new(const struct sky_config *config,
                                        struct sky_reporter *reporter)
{
    struct sky_processes *processes = calloc(1, sizeof(*processes));
    char *flag;

    if (processes == NULL)
        return NULL;
    processes->config = config;
    processes->reporter = reporter;
    pthread_mutex_init(&processes->lock, NULL);
    flag = processes->flags;
    if (sky_reporter_takes(reporter, SKY_PACKET_PROPERTIES))
        *flag++ = 'p';
    if (config->reporter.meters && sky_reporter_takes(reporter, SKY_PACKET_METERS))
        *flag++ = 'm';
    if (config->reporter.logs && sky_reporter_takes(reporter, SKY_PACKET_LOG))
        *flag++ = 'l';
    return processes;
}

void sky_processes_destroy(struct sky_processes *processes)
{
    if (processes == NULL)
        return;
    assert(processes->first == NULL);
    for (size_t i = 0; i < processes->property_count; i++) {
        free(processes->properties[i].key);
        free(processes->properties[i].value);
    }
    pthread_mutex_destroy(&processes->lock);
    free(processes);
}

struct sky_text sky_processes_flags(const struct sky_processes *processes)
{
    return sky_text_of(processes->flags);
}

int64_t sky_processes_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_asked(const struct sky_processes *processes, char flag)
{
    return strchr(processes->flags, flag) != NULL;
}

/* Under the lock, all of them. */

static struct sky_process *find(const struct sky_processes *processes, struct sky_text id)
{
    struct sky_process *process = processes->first;

    while (process != NULL && !sky_text_equal(sky_text(process->id, process->id_bytes), id))
        process = process->next;
    return process;
}

static struct sky_process *find_or_add(struct sky_processes *processes, struct sky_text id)
{
    struct sky_process *process = find(processes, id);

    if (process != NULL || processes->count == MAX_PROCESSES)
        return process;
    process = calloc(1, sizeof(*process));
    if (process == NULL)
        return NULL;
    memcpy(process->id, id.base, id.len);
    process->id_bytes = id.len;
    process->next = processes->first;
    processes->first = process;
    processes->count++;
    return process;
}

static void leave(struct sky_processes *processes, struct sky_process *process)
{
    struct sky_process **link = &processes->first;

    if (process == NULL || --process->connections > 0)
        return;
    while (*link != process)
        link = &(*link)->next;
    *link = process->next;
    processes->count--;
    free(process);
}

/* Two channels of one process may be read in the other order, so totals can seem to shrink. */
static int64_t growth(int64_t before, int64_t now)
{
    return now > before ? now - before : 0;
}

static void add_meters(struct sky_processes *processes, struct sky_process *process,
                       const struct sky_process_meters *meters, int64_t now_ms)
{
    const struct sky_process_meters *before = &process->meters;

    if (process->has_meters) {
        for (size_t i = 0; i < 3; i++)
            processes->gc_collected[i] += growth(before->gc_collected[i], meters->gc_collected[i]);
        processes->gc_us += growth(before->gc_us, meters->gc_us);
        if (now_ms > process->at_ms)
            process->cpu = (double)growth(before->cpu_us, meters->cpu_us) /
                           ((double)(now_ms - process->at_ms) * 1000);
    }
    process->has_meters = true;
    process->meters = *meters;
    process->at_ms = now_ms;
}

static void set_property(struct sky_processes *processes, const struct sky_tag *said)
{
    size_t i = 0;

    while (i < processes->property_count &&
           !sky_text_equal(sky_text_of(processes->properties[i].key), said->key))
        i++;
    struct property *property = &processes->properties[i];
    if (i == SKY_PROCESS_MAX_PROPERTIES ||
        (i < processes->property_count &&
         sky_text_equal(sky_text_of(property->value), said->value)))
        return;
    struct property made = {strndup(said->key.base, said->key.len),
                            strndup(said->value.base, said->value.len)};
    if (made.key == NULL || made.value == NULL) {
        free(made.key);
        free(made.value);
        return;
    }
    if (i == processes->property_count) {
        processes->property_count++;
    } else {
        free(property->key);
        free(property->value);
    }
    *property = made;
    processes->has_news = true;
}

static void add_properties(struct sky_processes *processes, const struct sky_process_word *word)
{
    struct sky_tag said;

    for (size_t i = 0; i < SKY_PROCESS_MAX_PROPERTIES; i++) {
        if (sky_process_property(word, i, &said))
            set_property(processes, &said);
    }
}

/* False: the process is one too many. Its id is random in part: a stranger cannot take it. */
static bool introduce(struct sky_processes *processes, struct sky_process **known,
                      const struct sky_process_word *word)
{
    struct sky_process *process = find_or_add(processes, word->process);

    if (process != *known) {
        if (process != NULL)
            process->connections++;
        leave(processes, *known);
        *known = process;
    }
    if (process == NULL)
        return false;
    if (word->has_meters && is_asked(processes, 'm'))
        add_meters(processes, process, &word->meters, sky_processes_now_ms());
    if (is_asked(processes, 'p'))
        add_properties(processes, word);
    return true;
}

/* Not under the lock. */
static void pass_on_logs(struct sky_processes *processes, const struct sky_process_word *word,
                         struct sky_counters *counters)
{
    const struct sky_reported_by by = {sky_text_of(processes->config->agent.service),
                                       sky_text_of(processes->config->agent.instance)};
    struct sky_tag tags[SKY_PROCESS_MAX_LOG_TAGS];
    struct sky_log_record record;

    for (size_t i = 0; i < sky_process_log_count(word); i++) {
        struct sky_packet *packet = NULL;
        if (is_asked(processes, 'l') && sky_process_log(word, i, tags, &record))
            packet = sky_log_record_pack(&by, &record);
        if (packet != NULL)
            sky_reporter_offer(processes->reporter, packet);
        else
            sky_count(counters, SKY_COUNT_process_log_bad);
    }
    if (word->lost_logs != 0)
        sky_count_add(counters, SKY_COUNT_process_log_lost, word->lost_logs);
}

void sky_processes_take(struct sky_processes *processes, struct sky_process **process,
                        const struct json_t *root, sky_process_trust_fn *trust, void *trust_data,
                        struct sky_counters *counters)
{
    struct sky_process_word word;
    bool is_trusted, is_known = false;

    if (!sky_process_word_read(root, &word)) {
        sky_count(counters, SKY_COUNT_process_message_bad);
        return;
    }
    bool is_vouched_for = trust(trust_data, word.request);
    pthread_mutex_lock(&processes->lock);
    is_trusted = is_vouched_for || find(processes, word.process) != NULL;
    if (is_trusted)
        is_known = introduce(processes, process, &word);
    pthread_mutex_unlock(&processes->lock);
    if (!is_trusted) {
        sky_count(counters, SKY_COUNT_process_message_refused);
        return;
    }
    sky_count(counters, is_known ? SKY_COUNT_process_message : SKY_COUNT_process_message_too_many);
    pass_on_logs(processes, &word, counters);
}

void sky_processes_leave(struct sky_processes *processes, struct sky_process *process)
{
    pthread_mutex_lock(&processes->lock);
    leave(processes, process);
    pthread_mutex_unlock(&processes->lock);
}

size_t sky_processes_count(struct sky_processes *processes)
{
    pthread_mutex_lock(&processes->lock);
    size_t count = processes->count;
    pthread_mutex_unlock(&processes->lock);
    return count;
}

void sky_processes_sum(struct sky_processes *processes, int64_t now_ms, int64_t fresh_ms,
                       struct sky_processes_sum *sum)
{
    *sum = (struct sky_processes_sum){0};
    pthread_mutex_lock(&processes->lock);
    for (const struct sky_process *process = processes->first; process != NULL;
         process = process->next) {
        if (!process->has_meters)
            continue;
        sum->with_meters++;
        sum->rss_bytes += (double)process->meters.rss_bytes;
        sum->threads += (double)process->meters.threads;
        /* one that has had no request for so long does nothing */
        if (now_ms - process->at_ms <= fresh_ms)
            sum->cpu += process->cpu;
    }
    for (size_t i = 0; i < 3; i++)
        sum->gc_collected[i] = (double)processes->gc_collected[i];
    sum->gc_ms = (double)processes->gc_us / 1000;
    pthread_mutex_unlock(&processes->lock);
}

static bool is_of_identity(const struct sky_identity *identity, const char *key)
{
    for (size_t i = 0; i < identity->count; i++) {
        if (strcmp(identity->properties[i].key, key) == 0)
            return true;
    }
    return false;
}

static struct sky_packet *pack_properties(const struct sky_processes *processes,
                                          const struct sky_identity *identity)
{
    struct sky_property all[SKY_IDENTITY_MAX + SKY_PROCESS_MAX_PROPERTIES];
    size_t count = identity->count;

    memcpy(all, identity->properties, count * sizeof(*all));
    for (size_t i = 0; i < processes->property_count; i++) {
        const struct property *said = &processes->properties[i];
        if (!is_of_identity(identity, said->key))
            all[count++] = (struct sky_property){said->key, said->value};
    }
    return sky_identity_properties(&(struct sky_reporter_options){
        .service = processes->config->agent.service,
        .instance = processes->config->agent.instance,
        .properties = all,
        .property_count = count,
    });
}

struct sky_packet *sky_processes_properties(struct sky_processes *processes,
                                            const struct sky_identity *identity)
{
    struct sky_packet *packet = NULL;

    pthread_mutex_lock(&processes->lock);
    if (processes->has_news)
        packet = pack_properties(processes, identity);
    if (packet != NULL)
        processes->has_news = false;
    pthread_mutex_unlock(&processes->lock);
    return packet;
}
