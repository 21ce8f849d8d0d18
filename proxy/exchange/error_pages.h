/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of the user's own for answers that say what went wrong: read once, then constant. */
#ifndef SKY_PROXY_EXCHANGE_ERROR_PAGES_H
#define SKY_PROXY_EXCHANGE_ERROR_PAGES_H

#include <stddef.h>

#define SKY_ERROR_PAGE_MAX_BYTES (1024 * 1024)
#define SKY_ERROR_PAGES_ACCEPTED "a list of STATUS=FILE, as 502=/srv/502.html or 5xx=/srv/50x.html"

struct sky_error_page {
    struct sky_error_page *next;
    int first, last;  /* statuses */
    const char *type; /* static */
    size_t len;
    char body[];
};

/* sky_error_pages_check: NULL, or what is wrong with the text, but for the file. */
const char *sky_error_pages_check(const char *text);

/* sky_error_pages_add: reads the file into a new first one of the list. NULL, or a static sentence:
 * nothing was added. */
const char *sky_error_pages_add(struct sky_error_page **pages, const char *text);

/* sky_error_pages_find: the page of this status rather than that of its class; NULL: none. */
const struct sky_error_page *sky_error_pages_find(const struct sky_error_page *pages, int status);

void sky_error_pages_destroy(struct sky_error_page *pages);

#endif
