/* SPDX-License-Identifier: Apache-2.0 */
/* Answers from a folder of files, given by the worker itself. Reads of the disk block it, as with
 * other servers: what is served often is in the page cache. */
#ifndef SKY_PROXY_ROUTE_FILE_SEND_H
#define SKY_PROXY_ROUTE_FILE_SEND_H

#include <h2o.h>

#include "proxy/config/config.h"
#include "proxy/exchange/failure.h"
#include "proxy/route/file_find.h"

/* sky_file_prepare: adds types of the web of today to libh2o's; before the first h2o_context_init.
 */
void sky_file_prepare(h2o_mimemap_t *types);

/* sky_file_look: looks up what the request's path names in the route's folder. SKY_FAILURE_NONE
 * when there is something to answer with: *file is to be handed to sky_file_answer. Else NO_FILE,
 * FILE_METHOD or FILE_BROKEN, of which the last was logged. */
enum sky_failure sky_file_look(const struct sky_route_config *route, struct sky_folder *folder,
                               const h2o_req_t *req, struct sky_file *file);

/* sky_file_answer: sends the file, or the way to the directory. Sets *cut, which lives as long as
 * the request, if the file ends early. As with h2o_send, the request may be gone when it returns.
 */
void sky_file_answer(const struct sky_route_config *route, h2o_req_t *req,
                     const struct sky_file *file, bool *cut);

#endif
