/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/trace/identity.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *keep(struct sky_identity *identity, const char *text, size_t len)
{
    if (len >= sizeof(identity->texts) - identity->used)
        return NULL;
    char *copy = identity->texts + identity->used;
    memcpy(copy, text, len);
    copy[len] = '\0';
    identity->used += len + 1;
    return copy;
}

/* key is kept by the caller. */
static void add(struct sky_identity *identity, const char *key, const char *value)
{
    if (value[0] == '\0' || identity->count == SKY_IDENTITY_MAX)
        return;
    const char *copy = keep(identity, value, strlen(value));
    if (copy != NULL)
        identity->properties[identity->count++] = (struct sky_property){key, copy};
}

static void add_configured(struct sky_identity *identity, const struct sky_strings *properties)
{
    for (size_t i = 0; i < properties->count; i++) {
        const char *equals = strchr(properties->items[i], '=');
        const char *key =
            keep(identity, properties->items[i], (size_t)(equals - properties->items[i]));
        if (key != NULL)
            add(identity, key, equals + 1);
    }
}

static void add_addresses(struct sky_identity *identity)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *a = all; a != NULL; a = a->ifa_next) {
        if (a->ifa_addr == NULL || a->ifa_addr->sa_family != AF_INET ||
            (a->ifa_flags & IFF_UP) == 0 || (a->ifa_flags & IFF_LOOPBACK) != 0)
            continue;
        char text[INET_ADDRSTRLEN];
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a->ifa_addr;
        if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)) != NULL)
            add(identity, "ipv4", text);
    }
    freeifaddrs(all);
}

void sky_identity_init(struct sky_identity *identity, const struct sky_config *config)
{
    identity->count = identity->used = 0;
    struct utsname system;
    /* the language of the app behind us: it decides how OAP's pages show the instance */
    add(identity, "language", "python");
    if (uname(&system) == 0) {
        add(identity, "OS Name", system.sysname);
        add(identity, "hostname", system.nodename);
    }
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    add(identity, "Process No.", pid);
    add(identity, "namespace", config->agent.name_space);
    add(identity, "skystitch", SKY_VERSION);
    add_configured(identity, &config->agent.properties);
    add_addresses(identity);
}
