/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 byte by byte is tested end to end (tests/e2e/test_http2.py); here the fuzzer's corpus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fuzz/corpus.h"

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("http2") >= 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
