/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns run as the state machine of their regular expression, all states at once: paths come
 * from strangers, and backtracking would let them choose the time it takes. */
#include "proxy/trace/ignore.h"

#include "proxy/http/percent.h"

#define STATES (SKY_IGNORE_PATTERN_MAX_BYTES + 1)

/* What stands at one place of a pattern. Signs of several characters use their further places as
 * states of their own. */
enum sign {
    LITERAL,
    ONE,         /* ? */
    STAR,        /* * */
    ANY,         /* first of **: at the start of a segment */
    ANY_WITHIN,  /* second of **: within a segment */
    DEEP,        /* first of the four of slash, star, star, slash: before the slash */
    DEEP_EDGE,   /* second: just behind a slash */
    DEEP_WITHIN, /* third: within a segment */
    END
};

struct machine {
    const char *pattern;
    enum sign signs[STATES];
    bool now[STATES], next[STATES];
};

static void read_signs(struct machine *machine, size_t len)
{
    const char *pattern = machine->pattern;
    size_t at = 0;

    while (at < len) {
        enum sign *sign = &machine->signs[at];
        if (strncmp(pattern + at, "/**/", 4) == 0) {
            sign[0] = DEEP;
            sign[1] = DEEP_EDGE;
            sign[2] = DEEP_WITHIN;
            sign[3] = LITERAL; /* never reached */
            at += 4;
        } else if (strncmp(pattern + at, "**", 2) == 0) {
            sign[0] = ANY;
            sign[1] = ANY_WITHIN;
            at += 2;
        } else {
            sign[0] = pattern[at] == '*' ? STAR : pattern[at] == '?' ? ONE : LITERAL;
            at += 1;
        }
    }
    machine->signs[len] = END;
}

/* Enters a place from the one before it; signs that may stand for nothing are passed as well. */
static void enter(const struct machine *machine, bool *states, size_t at)
{
    for (;;) {
        states[at] = true;
        if (machine->signs[at] == STAR)
            at += 1;
        else if (machine->signs[at] == ANY)
            at += 2;
        else
            return;
    }
}

/* The states that follow from one state and the path's next byte. */
static void step(struct machine *machine, size_t at, char byte)
{
    bool *next = machine->next, slash = byte == '/';

    switch (machine->signs[at]) {
    case LITERAL:
        if (machine->pattern[at] == byte)
            enter(machine, next, at + 1);
        return;
    case ONE:
        if (!slash)
            enter(machine, next, at + 1);
        return;
    case STAR:
        if (!slash)
            enter(machine, next, at);
        return;
    case ANY:
        if (!slash) {
            next[at + 1] = true;
            enter(machine, next, at + 2);
        }
        return;
    case ANY_WITHIN:
        if (slash) {
            next[at - 1] = true; /* a segment must follow, so nothing is passed here */
        } else {
            next[at] = true;
            enter(machine, next, at + 1);
        }
        return;
    case DEEP:
        if (slash) {
            next[at + 1] = true;
            enter(machine, next, at + 4);
        }
        return;
    case DEEP_EDGE:
    case DEEP_WITHIN: {
        size_t edge = machine->signs[at] == DEEP_EDGE ? at : at - 1;
        next[slash ? edge : edge + 1] = true;
        if (slash)
            enter(machine, next, edge + 3);
        return;
    }
    case END:
        return;
    }
}

static bool run(const char *pattern, size_t len, struct sky_text path)
{
    struct machine machine;

    machine.pattern = pattern;
    read_signs(&machine, len);
    memset(machine.now, 0, len + 1);
    enter(&machine, machine.now, 0);
    while (path.len != 0) {
        char byte = (char)sky_percent_take(&path);
        bool alive = false;
        memset(machine.next, 0, len + 1);
        for (size_t at = 0; at < len; ++at) {
            alive |= machine.now[at];
            if (machine.now[at])
                step(&machine, at, byte);
        }
        if (!alive)
            return false;
        memcpy(machine.now, machine.next, len + 1);
    }
    return machine.now[len];
}

/* Length of the part of a pattern that stands for itself. */
static size_t literal_length(const char *pattern)
{
    size_t len = strcspn(pattern, "*?");

    if (len != 0 && strncmp(pattern + len - 1, "/**/", 4) == 0)
        --len;
    return len;
}

bool sky_ignore_matches(const char *pattern, struct sky_text path)
{
    size_t literal = literal_length(pattern), len;

    /* Most requests part from most patterns here. */
    for (size_t i = 0; i < literal; ++i) {
        if (path.len == 0 || (char)sky_percent_take(&path) != pattern[i])
            return false;
    }
    pattern += literal;
    len = strlen(pattern);
    if (len == 0)
        return path.len == 0;
    return literal + len <= SKY_IGNORE_PATTERN_MAX_BYTES && run(pattern, len, path);
}

/* Something must stand before the suffix. */
static bool ends(struct sky_text path, struct sky_text suffix)
{
    return suffix.len != 0 && path.len > suffix.len &&
           memcmp(path.base + path.len - suffix.len, suffix.base, suffix.len) == 0;
}

bool sky_ignored(const struct sky_config *config, struct sky_text method, struct sky_text target)
{
    const struct sky_strings *methods = &config->agent.ignore_method;
    const struct sky_strings *suffixes = &config->agent.ignore_suffix;
    const struct sky_strings *patterns = &config->agent.ignore_path;
    struct sky_text path = sky_percent_path(target);

    for (size_t i = 0; i < methods->count; ++i) {
        if (sky_text_equal_nocase(method, sky_text_of(methods->items[i])))
            return true;
    }
    for (size_t i = 0; i < suffixes->count; ++i) {
        if (ends(path, sky_text_of(suffixes->items[i])))
            return true;
    }
    for (size_t i = 0; i < patterns->count; ++i) {
        if (sky_ignore_matches(patterns->items[i], path))
            return true;
    }
    return false;
}

bool sky_ignore_probe(struct sky_text user_agent)
{
    static const struct sky_text beginnings[] = {
        {"kube-probe/", 11},
        {"ELB-HealthChecker/", 18},
        {"Amazon-Route53-Health-Check-Service", 35},
        {"GoogleHC/", 9},
        {"GoogleStackdriverMonitoring-UptimeChecks", 40},
        {"Edge Health Probe", 17},   /* Azure Front Door */
        {"Load Balancer Agent", 19}, /* Azure */
        {"Consul Health Check", 19},
        {"Envoy/HC", 8},
    };

    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); ++i) {
        if (sky_text_starts(user_agent, beginnings[i]))
            return true;
    }
    return false;
}
