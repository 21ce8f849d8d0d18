/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/exchange/error_pages.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "502=" or "5xx="; false for all else. */
static bool read_status(const char *text, int *first, int *last)
{
    if (text[0] < '4' || text[0] > '5')
        return false;
    *first = *last = (text[0] - '0') * 100;
    if (strncasecmp(text + 1, "xx=", 3) == 0) {
        *last += 99;
        return true;
    }
    if (text[1] < '0' || text[1] > '9' || text[2] < '0' || text[2] > '9' || text[3] != '=')
        return false;
    *first = *last += (text[1] - '0') * 10 + (text[2] - '0');
    return true;
}

const char *sky_error_pages_check(const char *text)
{
    int first, last;

    if (!read_status(text, &first, &last))
        return "does not begin with a status from 400 to 599, or 4xx or 5xx, and =";
    return text[4] == '/' ? NULL : "names no file that begins with /";
}

static const char *type_of(const char *path)
{
    const char *end = strrchr(path, '.');

    if (end != NULL && (strcasecmp(end, ".html") == 0 || strcasecmp(end, ".htm") == 0))
        return "text/html; charset=utf-8";
    if (end != NULL && strcasecmp(end, ".json") == 0)
        return "application/json";
    return "text/plain; charset=utf-8";
}

static const char *read_page(FILE *file, struct sky_error_page **page)
{
    struct sky_error_page *read = malloc(sizeof(*read) + SKY_ERROR_PAGE_MAX_BYTES + 1);

    if (read == NULL)
        return "memory is out";
    read->len = fread(read->body, 1, SKY_ERROR_PAGE_MAX_BYTES + 1, file);
    if (ferror(file) || read->len > SKY_ERROR_PAGE_MAX_BYTES) {
        free(read);
        return ferror(file) ? "names a file that cannot be read" : "names a file above 1 MiB";
    }
    struct sky_error_page *shrunk = realloc(read, sizeof(*read) + read->len);
    *page = shrunk != NULL ? shrunk : read;
    return NULL;
}

const char *sky_error_pages_add(struct sky_error_page **pages, const char *text)
{
    const char *problem = sky_error_pages_check(text), *path = text + 4;
    struct sky_error_page *page;

    if (problem != NULL)
        return problem;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT   ? "names a file that is not there"
               : errno == EACCES ? "names a file that this user may not read"
                                 : "names a file that cannot be opened";
    problem = read_page(file, &page);
    fclose(file);
    if (problem != NULL)
        return problem;
    read_status(text, &page->first, &page->last);
    page->type = type_of(path);
    page->next = *pages;
    *pages = page;
    return NULL;
}

const struct sky_error_page *sky_error_pages_find(const struct sky_error_page *pages, int status)
{
    const struct sky_error_page *found = NULL;

    for (; pages != NULL; pages = pages->next) {
        if (status < pages->first || status > pages->last)
            continue;
        if (pages->first == pages->last)
            return pages;
        found = pages;
    }
    return found;
}

void sky_error_pages_destroy(struct sky_error_page *pages)
{
    while (pages != NULL) {
        struct sky_error_page *next = pages->next;
        free(pages);
        pages = next;
    }
}
