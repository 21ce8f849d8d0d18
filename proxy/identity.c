/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/identity.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void add(struct sky_identity *identity, const char *key, const char *value)
{
    size_t size = strlen(value) + 1;
    if (size == 1 || identity->count == SKY_IDENTITY_MAX ||
        size > sizeof(identity->texts) - identity->used)
        return;
    char *copy = identity->texts + identity->used;
    memcpy(copy, value, size);
    identity->used += size;
    identity->properties[identity->count++] = (struct sky_property){key, copy};
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
    add_addresses(identity);
}
