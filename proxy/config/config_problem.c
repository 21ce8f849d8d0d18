/* SPDX-License-Identifier: Apache-2.0 */
/* Lines about a wrong configuration, and the search for the name that was meant. */
#include "proxy/config/config_problem.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#define SHOWN_BYTES 60
#define NAME_BYTES 80
#define EDITS_MAX 3
#define ERRORS_SHOWN 40

/* Foreign bytes must not forge a line or move a terminal's cursor. */
static void put_escaped(FILE *out, const char *text)
{
    size_t shown = 0;
    for (; text[shown] != '\0' && shown < SHOWN_BYTES; shown++) {
        unsigned char byte = (unsigned char)text[shown];
        if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\x%02x", byte);
        else if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else
            fputc(byte, out);
    }
    if (text[shown] != '\0')
        fputs("...", out);
}

void sky_problem_report(struct sky_problems *problems, const struct sky_problem *problem)
{
    FILE *out = problems->out;
    if (problems->errors > ERRORS_SHOWN) {
        problems->errors += !problem->warning;
        return;
    }
    if (problem->warning)
        fputs("warning: ", out);
    else
        problems->errors++;
    if (problem->place != NULL)
        fprintf(out, "%s: ", problem->place);
    if (problem->option != NULL) {
        put_escaped(out, problem->option);
        fputs(": ", out);
    }
    if (problem->value != NULL) {
        fputc('"', out);
        put_escaped(out, problem->value);
        fputs("\" ", out);
    }
    fputs(problem->what, out);
    if (problem->accepted != NULL)
        fprintf(out, "; accepted: %s", problem->accepted);
    if (problem->nearest != NULL)
        fprintf(out, "; did you mean %s?", problem->nearest);
    fputc('\n', out);
    if (problems->errors > ERRORS_SHOWN)
        fputs("more is wrong, but not shown\n", out);
}

static int folded(char byte)
{
    return byte == '-' ? '_' : tolower((unsigned char)byte);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Damerau-Levenshtein, neighbours swapped at most once, over three rows. */
size_t sky_problem_distance(const char *a, const char *b, size_t limit)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    size_t gap = a_len > b_len ? a_len - b_len : b_len - a_len;
    if (gap > limit || a_len > NAME_BYTES || b_len > NAME_BYTES)
        return limit + 1;

    size_t rows[3][NAME_BYTES + 1];
    size_t *before = rows[0], *previous = rows[1], *current = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        previous[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        current[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t substituted = previous[j - 1] + (folded(a[i - 1]) != folded(b[j - 1]));
            current[j] = least(substituted, least(previous[j], current[j - 1]) + 1);
            if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
                folded(a[i - 2]) == folded(b[j - 1]))
                current[j] = least(current[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = previous;
        previous = current;
        current = oldest;
    }
    return least(previous[b_len], limit + 1);
}

bool sky_problem_nearer(const char *name, const char *candidate, size_t *best)
{
    size_t limit = strlen(name) / 3;
    if (limit == 0 || limit > EDITS_MAX)
        limit = limit == 0 ? 1 : EDITS_MAX;
    if (*best <= limit) {
        if (*best == 0)
            return false;
        limit = *best - 1;
    }
    size_t distance = sky_problem_distance(name, candidate, limit);
    if (distance > limit)
        return false;
    *best = distance;
    return true;
}
