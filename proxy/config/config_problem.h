/* SPDX-License-Identifier: Apache-2.0 */
/* The lines that tell a user what is wrong with the configuration:
 * `place: option: what is wrong; accepted: ...; did you mean ...?` */
#ifndef SKY_PROXY_CONFIG_CONFIG_PROBLEM_H
#define SKY_PROXY_CONFIG_CONFIG_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Where lines go, and how many of them forbid a start. Caller-owned. */
struct sky_problems {
    FILE *out; /* borrowed */
    size_t errors;
};

/* One line. Every text is borrowed and only read; NULL leaves its part out. */
struct sky_problem {
    const char *place;    /* "shop.yaml:3:5", "environment", "command line" */
    const char *option;   /* its path, or the name of the variable */
    const char *value;    /* what was given; quoted, escaped and cut to 60 bytes */
    const char *what;     /* the sentence's rest: "is no size" */
    const char *accepted; /* what would have been right */
    const char *nearest;  /* the name that was probably meant */
    bool warning;         /* does not count as an error; the line says so */
};

/* sky_problem_report: writes the line and counts it. After 41 errors lines are only counted. */
void sky_problem_report(struct sky_problems *problems, const struct sky_problem *problem);

/* sky_problem_distance: edits between two names (insertion, deletion, substitution, neighbours
 * swapped); case and the difference of - and _ are ignored. At most `limit` + 1. */
size_t sky_problem_distance(const char *a, const char *b, size_t limit);

/* sky_problem_nearer: whether candidate is nearer to name than *best edits, and near enough to be
 * meant (a third of the name's length, at most 3 edits); lowers *best then. Start with SIZE_MAX. */
bool sky_problem_nearer(const char *name, const char *candidate, size_t *best);

#endif
