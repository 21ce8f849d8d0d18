/* SPDX-License-Identifier: Apache-2.0 */
/* A name service for test_names.py, to be preloaded: names below .test have the addresses that the
 * file SKY_TEST_NAMES gives them, a line `name address` for each; others are libc's. No answer ever
 * comes for `silent.test`. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int getaddrinfo_fn(const char *name, const char *service, const struct addrinfo *hints,
                           struct addrinfo **list);

/* In one piece, as libc's freeaddrinfo frees it. */
struct node {
    struct addrinfo info;
    struct sockaddr_in address;
};

static struct addrinfo *new_node(const char *ip, const char *service)
{
    struct node *node = calloc(1, sizeof(*node));

    if (node == NULL)
        abort();
    node->address.sin_family = AF_INET;
    node->address.sin_port = htons((unsigned short)atoi(service));
    inet_pton(AF_INET, ip, &node->address.sin_addr);
    node->info.ai_family = AF_INET;
    node->info.ai_socktype = SOCK_STREAM;
    node->info.ai_addr = (struct sockaddr *)&node->address;
    node->info.ai_addrlen = sizeof(node->address);
    return &node->info;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    static const char ours[] = ".test";
    size_t len = name != NULL ? strlen(name) : 0;
    struct addrinfo **end = list;
    char known[128], ip[64];

    if (len < sizeof(ours) || strcmp(name + len - (sizeof(ours) - 1), ours) != 0) {
        void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
        getaddrinfo_fn *libc;
        memcpy(&libc, &symbol, sizeof(libc));
        return libc(name, service, hints, list);
    }
    while (strcmp(name, "silent.test") == 0)
        pause();
    FILE *file = fopen(getenv("SKY_TEST_NAMES"), "r");
    if (file == NULL)
        return EAI_AGAIN;
    *list = NULL;
    while (fscanf(file, "%127s %63s", known, ip) == 2) {
        if (strcmp(known, name) != 0)
            continue;
        *end = new_node(ip, service);
        end = &(*end)->ai_next;
    }
    fclose(file);
    return *list != NULL ? 0 : EAI_NONAME;
}
