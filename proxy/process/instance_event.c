/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/process/instance_event.h"

#include <sys/random.h>
#include <time.h>

#include "propagation/ids.h"
#include "reporter/records.h"

int64_t sky_instance_event_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sky_instance_event(const struct sky_config *config, struct sky_reporter *reporter,
                        const char *name, const char *message, int64_t start_ms)
{
    const struct sky_reported_by by = {sky_text_of(config->agent.service),
                                       sky_text_of(config->agent.instance)};
    char hex[SKY_ID_HEX];
    struct sky_id id;

    if (!config->reporter.events || !sky_reporter_takes(reporter, SKY_PACKET_EVENT) ||
        getrandom(&id, sizeof(id), GRND_NONBLOCK) != sizeof(id))
        return;
    sky_id_format(id, hex);
    struct sky_packet *packet = sky_event_pack(&by, &(struct sky_event){
                                                        .uuid = sky_text(hex, sizeof(hex)),
                                                        .name = sky_text_of(name),
                                                        .message = sky_text_of(message),
                                                        .start_ms = start_ms,
                                                        .end_ms = sky_instance_event_now_ms(),
                                                    });
    if (packet != NULL)
        sky_reporter_offer(reporter, packet);
}
