/* SPDX-License-Identifier: Apache-2.0 */
/* What a call's end says about its backend, whatever was in the call. */
#include "reporter/standing.h"

#include <string.h>
#include <sys/random.h>

void sky_standing_init(struct sky_standing *standing, const char *const *names, size_t count)
{
    uint8_t entropy[32] = {0};

    standing->names = names;
    /* Only jitter depends on it; a kernel that gives none yet is no reason to stop. */
    if (getrandom(entropy, sizeof(entropy), GRND_NONBLOCK) < 0)
        memcpy(entropy + 8, &standing, sizeof(standing));
    sky_backends_init(&standing->backends, count, entropy);
}

static const char *name_of(const struct sky_standing *standing, const struct sky_call *call)
{
    return standing->names[call->backend];
}

void sky_standing_count(struct sky_standing *standing, const struct sky_call *call)
{
    bool is_ok = call->outcome == SKY_OUTCOME_CONFIRMED;

    sky_tally_add(standing->tally, is_ok ? SKY_TALLY_calls_ok : SKY_TALLY_calls_failed, 1);
    if (is_ok)
        sky_tally_add(standing->tally, SKY_TALLY_bytes_sent, call->sent_bytes);
    else
        sky_status_error(standing->status, name_of(standing, call), call->error);
}

void sky_standing_answered(struct sky_standing *standing, const struct sky_call *call,
                           unsigned epoch)
{
    sky_backends_answered(&standing->backends, epoch);
    sky_status_connected(standing->status, true);
    standing->told_denied = false;
    if (standing->told_up)
        return;
    sky_log_limited(&standing->up_limit, SKY_LOG_INFO, "reporter: %s answers",
                    name_of(standing, call));
    standing->told_up = true;
    standing->told_down = false;
}

void sky_standing_tell(struct sky_standing *standing, const struct sky_call *call)
{
    const char *name = name_of(standing, call);

    if (call->outcome == SKY_OUTCOME_DENIED && !standing->told_denied) {
        standing->told_denied = true;
        sky_log_limited(&standing->denied_limit, SKY_LOG_WARN, "reporter: %s: %s: check %s", name,
                        call->error, standing->credentials_option);
    }
    if (call->outcome == SKY_OUTCOME_UNSUPPORTED && !standing->told_unsupported) {
        standing->told_unsupported = true;
        sky_log(SKY_LOG_WARN, "reporter: %s: %s: is this the right address and protocol?", name,
                call->error);
    }
}

void sky_standing_failed(struct sky_standing *standing, const struct sky_call *call, unsigned epoch,
                         int64_t now_ms)
{
    bool is_slow = call->outcome == SKY_OUTCOME_DENIED || call->outcome == SKY_OUTCOME_UNSUPPORTED;
    const char *name = name_of(standing, call);

    sky_standing_tell(standing, call);
    if (epoch != standing->backends.epoch)
        return;
    bool is_pause = sky_backends_failed(&standing->backends, epoch, is_slow, now_ms);
    sky_status_connected(standing->status, false);
    standing->told_up = false;
    if (!is_pause)
        sky_log_limited(&standing->switch_limit, SKY_LOG_WARN, "reporter: %s: %s; trying the next",
                        name, call->error);
    if (!is_pause || standing->told_down)
        return;
    sky_log_limited(
        &standing->down_limit, SKY_LOG_WARN,
        "reporter: no backend takes segments, they are kept and sent later; last %s: %s", name,
        call->error);
    standing->told_down = true;
}

bool sky_standing_is_away(const struct sky_standing *standing)
{
    return !standing->backends.is_up && standing->backends.epoch > 0;
}
