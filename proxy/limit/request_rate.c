/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/limit/request_rate.h"

#include <time.h>

#include "proxy/client_address.h"
#include "proxy/front/http1_front.h"
#include "proxy/limit/rate_limit.h"
#include "proxy/route/route_rules.h"
#include "proxy/worker.h"

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint32_t sky_request_rate_check(struct sky_worker *worker, const h2o_req_t *req,
                                const struct sky_route_config *route)
{
    const struct sky_config *config = worker->config;
    const struct sky_rate_config *rate = &config->rate_limit.requests;
    struct sockaddr_storage client;
    struct sky_address_key key;
    uint32_t zone = 0;

    if (route != NULL && route->rules != NULL && route->rules->rate.rate.count != 0) {
        rate = &route->rules->rate;
        zone = route->zone;
    }
    if (rate->rate.count == 0)
        return 0;
    sky_client_address(req, sky_front_forwarded_trust(req, &config->forwarded.trust), &client);
    if (!sky_address_key_of((struct sockaddr *)&client, &key))
        return 0;
    struct sky_rate_verdict verdict =
        sky_rate_limit_take(worker->rate_limit, &key, zone, rate, now_ns());
    if (verdict.evicted)
        sky_count(&worker->counters, SKY_COUNT_rate_limit_evicted);
    return verdict.wait_s;
}
