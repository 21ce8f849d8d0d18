/* SPDX-License-Identifier: Apache-2.0 */
/* The pages for people: the newest traces, and one trace, which a script draws from its JSON. */
#ifndef SKY_PROXY_ADMIN_ADMIN_PAGE_H
#define SKY_PROXY_ADMIN_ADMIN_PAGE_H

/* sky_admin_page: HTML of the JSON of GET /api/traces; NULL for traces: none are kept. Names in it
 * come from clients and are escaped. Heap, freed by the caller; NULL when memory is out. */
char *sky_admin_page(const char *traces, const char *service);

/* The files in page/: that of one trace, whatever its id, and what it loads. Heap, freed by the
 * caller; NULL when memory is out. */
char *sky_admin_trace_page(void);
char *sky_admin_style(void);
char *sky_admin_script(void);

#endif
