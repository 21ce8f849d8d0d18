/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzzer's saved inputs inside a unit test. */
#ifndef SKY_TESTS_FUZZ_CORPUS_H
#define SKY_TESTS_FUZZ_CORPUS_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* sky_corpus_run: feeds every file of tests/fuzz/corpus/<name> to LLVMFuzzerTestOneInput. Returns
 * how many there were, so that a caller can refuse an empty corpus. */
static inline size_t sky_corpus_run(const char *name)
{
    char path[4096];
    static uint8_t bytes[1 << 20];
    size_t count = 0;

    snprintf(path, sizeof path, SKY_TESTS_DIR "/fuzz/corpus/%s", name);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, SKY_TESTS_DIR "/fuzz/corpus/%s/%s", name, entry->d_name);
        FILE *file = fopen(path, "rb");
        if (file == NULL)
            continue;
        LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, sizeof bytes, file));
        fclose(file);
        count++;
    }
    closedir(directory);
    return count;
}

#endif
