/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzzer's saved inputs inside a unit test. */
#ifndef SKY_TESTS_FUZZ_CORPUS_H
#define SKY_TESTS_FUZZ_CORPUS_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* sky_corpus_run: feeds every file of tests/fuzz/corpus/<name> to LLVMFuzzerTestOneInput. Returns
 * how many there were, so that a caller can refuse an empty corpus. */
static inline size_t sky_corpus_run(const char *name)
{
    char path[4096];
    struct stat status;
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
        if (file == NULL || fstat(fileno(file), &status) != 0)
            return 0;
        /* Of exactly the file's size, so that AddressSanitizer sees a read beyond it. */
        uint8_t *bytes = malloc((size_t)status.st_size);
        LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, (size_t)status.st_size, file));
        free(bytes);
        fclose(file);
        count++;
    }
    closedir(directory);
    return count;
}

#endif
