/* SPDX-License-Identifier: Apache-2.0 */
/* The layer stays empty, which is GENERAL: an unknown one makes the service "not normal" in
 * OAP. */
#include "reporter/identity.h"

#include <stdlib.h>
#include <string.h>

#include "management.pb-c.h"
#include "propagation/utf8.h"

/* Valid UTF-8, heap; NULL when memory is out. */
static char *clean_copy(const char *string)
{
    struct sky_text text = sky_text_of(string);
    char *copy = malloc(3 * text.len + 1);

    if (copy != NULL)
        copy[sky_utf8_clean(copy, text)] = '\0';
    return copy;
}

struct sky_packet *sky_identity_keep_alive(const struct sky_reporter_options *options)
{
    Skywalking__V3__InstancePingPkg message;
    struct sky_packet *packet = NULL;

    skywalking__v3__instance_ping_pkg__init(&message);
    message.service = clean_copy(options->service);
    message.serviceinstance = clean_copy(options->instance);
    if (message.service != NULL && message.serviceinstance != NULL)
        packet = sky_packet_of(SKY_PACKET_KEEP_ALIVE, &message.base);
    free(message.service);
    free(message.serviceinstance);
    return packet;
}

static bool fill_properties(Skywalking__V3__InstanceProperties *message,
                            Skywalking__V3__KeyStringValuePair *pairs,
                            const struct sky_reporter_options *options)
{
    for (size_t i = 0; i < options->property_count; i++) {
        skywalking__v3__key_string_value_pair__init(&pairs[i]);
        message->properties[message->n_properties++] = &pairs[i];
        pairs[i].key = clean_copy(options->properties[i].key);
        pairs[i].value = clean_copy(options->properties[i].value);
        if (pairs[i].key == NULL || pairs[i].value == NULL)
            return false;
    }
    message->service = clean_copy(options->service);
    message->serviceinstance = clean_copy(options->instance);
    return message->service != NULL && message->serviceinstance != NULL;
}

struct sky_packet *sky_identity_properties(const struct sky_reporter_options *options)
{
    Skywalking__V3__InstanceProperties message;
    Skywalking__V3__KeyStringValuePair *pairs = calloc(options->property_count + 1, sizeof(*pairs));
    struct sky_packet *packet = NULL;

    skywalking__v3__instance_properties__init(&message);
    message.service = message.serviceinstance = NULL;
    message.properties = calloc(options->property_count + 1, sizeof(*message.properties));
    if (pairs != NULL && message.properties != NULL && fill_properties(&message, pairs, options))
        packet = sky_packet_of(SKY_PACKET_PROPERTIES, &message.base);
    for (size_t i = 0; i < message.n_properties; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
    }
    free(message.service);
    free(message.serviceinstance);
    free(message.properties);
    free(pairs);
    return packet;
}
