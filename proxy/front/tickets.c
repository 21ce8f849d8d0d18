/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/tickets.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES 16
#define IV_BYTES 16

struct key {
    unsigned char name[NAME_BYTES], cipher[32], mac[32];
    uint64_t born_ms; /* monotonic; 0: there is none */
};

/* Only handshakes come here, so a lock costs nothing that counts. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct key newest, former;
static uint64_t period_ms = 12 * 3600 * 1000;

void sky_tickets_set_period(uint32_t period)
{
    pthread_mutex_lock(&mutex);
    period_ms = period;
    pthread_mutex_unlock(&mutex);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1;
}

/* With the lock held. */
static bool rotate(uint64_t now)
{
    if (newest.born_ms != 0 && now - newest.born_ms < period_ms)
        return true;
    former = newest;
    if (former.born_ms != 0 && now - former.born_ms >= 2 * period_ms)
        OPENSSL_cleanse(&former, sizeof(former));
    newest.born_ms = now;
    if (RAND_bytes(newest.name, sizeof(newest.name)) == 1 &&
        RAND_bytes(newest.cipher, sizeof(newest.cipher)) == 1 &&
        RAND_bytes(newest.mac, sizeof(newest.mac)) == 1)
        return true;
    newest.born_ms = 0;
    return false;
}

/* A copy of the key, since another handshake may rotate it. 0: none; 1: as good as new; 2: opens
 * the ticket, but the client should get a new one. */
static int find(const unsigned char *name, struct key *key)
{
    int result = 0;
    uint64_t now = now_ms();

    pthread_mutex_lock(&mutex);
    if (rotate(now)) {
        if (name == NULL || memcmp(name, newest.name, NAME_BYTES) == 0) {
            *key = newest;
            result = 1;
        } else if (former.born_ms != 0 && now - former.born_ms < 2 * period_ms &&
                   memcmp(name, former.name, NAME_BYTES) == 0) {
            *key = former;
            result = 2;
        }
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

static bool set_up(const struct key *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int encrypt)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac,
                                          sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, encrypt) == 1 &&
           EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3); -1 ends the handshake, 0 goes on without a ticket. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypt)
{
    struct key key;
    int result;

    (void)ssl;
    if (encrypt) {
        result = RAND_bytes(iv, IV_BYTES) == 1 ? find(NULL, &key) : 0;
        if (result != 0)
            memcpy(name, key.name, NAME_BYTES);
    } else {
        result = find(name, &key);
    }
    if (result != 0 && !set_up(&key, iv, cipher, mac, encrypt))
        result = -1;
    OPENSSL_cleanse(&key, sizeof(key));
    return result;
}

bool sky_tickets_use(SSL_CTX *ctx)
{
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}

/* ---- from one process to the next ---- */

/* Written and read in one piece: less than PIPE_BUF. The form is this version's. */
struct parcel {
    char form[8];
    struct key newest, former;
};

static const char form[8] = "tickets1";

int sky_tickets_hand_over(void)
{
    struct parcel parcel;
    int ends[2];

    pthread_mutex_lock(&mutex);
    parcel = (struct parcel){.newest = newest, .former = former};
    pthread_mutex_unlock(&mutex);
    memcpy(parcel.form, form, sizeof(form));
    if (parcel.newest.born_ms == 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    bool written = write(ends[1], &parcel, sizeof(parcel)) == (ssize_t)sizeof(parcel);
    OPENSSL_cleanse(&parcel, sizeof(parcel));
    close(ends[1]);
    if (written)
        return ends[0];
    close(ends[0]);
    return -1;
}

bool sky_tickets_take_over(int fd)
{
    struct parcel parcel;
    bool sound = read(fd, &parcel, sizeof(parcel)) == (ssize_t)sizeof(parcel) &&
                 memcmp(parcel.form, form, sizeof(form)) == 0 && parcel.newest.born_ms <= now_ms();

    close(fd);
    if (sound) {
        pthread_mutex_lock(&mutex);
        newest = parcel.newest;
        former = parcel.former;
        pthread_mutex_unlock(&mutex);
    }
    OPENSSL_cleanse(&parcel, sizeof(parcel));
    return sound;
}
