/* SPDX-License-Identifier: Apache-2.0 */
/* The page of the newest traces. */
#ifndef SKY_PROXY_ADMIN_ADMIN_PAGE_H
#define SKY_PROXY_ADMIN_ADMIN_PAGE_H

/* sky_admin_page: HTML of the JSON of GET /api/traces; NULL for traces: none are kept. Names in it
 * come from clients and are escaped. Heap, freed by the caller; NULL when memory is out. */
char *sky_admin_page(const char *traces, const char *service);

#endif
