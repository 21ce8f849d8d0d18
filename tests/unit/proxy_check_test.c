/* SPDX-License-Identifier: Apache-2.0 */
/* What results of health checks make of a server; the checks themselves are in the e2e tests. */
#include "proxy/back/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Results as + and -; after each: u when the server is up, d when it is down. */
static void expect(const char *results, const char *states, uint32_t rise, uint32_t fall)
{
    struct sky_check_state state = {0};
    char found[32] = "";

    for (size_t i = 0; results[i] != '\0'; ++i) {
        bool before = state.down;
        bool changed = sky_check_note(&state, results[i] == '+', rise, fall);
        assert_int_equal(changed, state.down != before);
        found[i] = state.down ? 'd' : 'u';
    }
    assert_string_equal(found, states);
}

static void results_in_a_row_count(void **state)
{
    (void)state;
    expect("+---+++", "uuudduu", 2, 3);
    expect("+--+--+---", "uuuuuuuuud", 2, 3); /* a good one in between */
    expect("+---+-+-++", "uuuddddddu", 2, 3);
    expect("+-+-+", "ududu", 1, 1);
}

static void the_first_counts_at_once(void **state)
{
    (void)state;
    expect("-", "d", 2, 3);
    expect("-++", "ddu", 2, 3);
    expect("+--", "uuu", 2, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_in_a_row_count),
        cmocka_unit_test(the_first_counts_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
