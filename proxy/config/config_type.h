/* SPDX-License-Identifier: Apache-2.0 */
/* The types an option can have: how its text is read, and how its value is written again. */
#ifndef SKY_PROXY_CONFIG_CONFIG_TYPE_H
#define SKY_PROXY_CONFIG_CONFIG_TYPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sky_option;

/* A word of an enumeration. The first word of a value is the one that is written. */
struct sky_choice {
    const char *word;
    unsigned value;
};

enum sky_option_shape {
    SKY_OPTION_SCALAR, /* one text */
    SKY_OPTION_LIST,   /* any number of texts; the field is a struct sky_strings */
    SKY_OPTION_JOINED  /* as a list, but read as one text with commas */
};

struct sky_option_type {
    const char *name;     /* as the reference calls it */
    const char *accepted; /* what may be written; NULL: the choices */
    enum sky_option_shape shape;
    bool secret;                      /* never shown */
    const struct sky_choice *choices; /* of an enumeration; ended by a NULL word */
    /* Reads text into *field, which holds zero or an earlier value. Returns NULL, or a static
     * sentence: then *field is as before. */
    const char *(*read)(const struct sky_option *option, void *field, const char *text);
    /* In place of read for a list: checks one item and may change its case. */
    const char *(*check)(char *item);
    /* A new reference; NULL when memory is out. */
    json_t *(*write)(const struct sky_option *option, const void *field);
    void (*fini)(void *field);
};

/* The types by the names used in options.def, and the C type of each one's field. */
#define SKY_OPTION_TYPES(X)                 \
    X(text, char *)                         \
    X(secret, char *)                       \
    X(directory, char *)                    \
    X(brokers, char *)                      \
    X(channel, char *)                      \
    X(access, char *)                       \
    X(format, enum sky_access_format)       \
    X(size, size_t)                         \
    X(duration, uint32_t)                   \
    X(count, uint32_t)                      \
    X(flag, bool)                           \
    X(quota, uint32_t)                      \
    X(rate, uint32_t)                       \
    X(auto_count, uint32_t)                 \
    X(frequency, struct sky_frequency)      \
    X(mode, enum sky_mode)                  \
    X(speaks, enum sky_upstream_protocol)   \
    X(statuses, struct sky_statuses)        \
    X(target, char *)                       \
    X(host, char *)                         \
    X(proxy_out, enum sky_proxy_protocol)   \
    X(balance, enum sky_balance)            \
    X(operation, enum sky_operation)        \
    X(shape, enum sky_shape)                \
    X(protocol, enum sky_config_protocol)   \
    X(onoff, enum sky_switch)               \
    X(unclear, enum sky_unclear)            \
    X(spool_sync, enum sky_spool_sync)      \
    X(unknown_host, enum sky_unknown_host)  \
    X(forwarded, enum sky_forwarded_fields) \
    X(level, enum sky_log_level)            \
    X(texts, struct sky_strings)            \
    X(pages, struct sky_strings)            \
    X(properties, struct sky_strings)       \
    X(kafka_properties, struct sky_strings) \
    X(methods, struct sky_strings)          \
    X(backends, struct sky_strings)         \
    X(trust, struct sky_trust)              \
    X(admin, struct sky_admin_config)

#define SKY_OPTION_TYPE(name, ctype) extern const struct sky_option_type sky_option_type_##name;
SKY_OPTION_TYPES(SKY_OPTION_TYPE)
#undef SKY_OPTION_TYPE

/* sky_option_format_size, sky_option_format_duration: the shortest exact text, "64KiB", "250ms". */
void sky_option_format_size(uint64_t bytes, char out[24]);
void sky_option_format_duration(uint64_t ms, char out[24]);

/* sky_strings_fini: frees the items and zeroes the list. */
struct sky_strings;
void sky_strings_fini(struct sky_strings *strings);

#endif
