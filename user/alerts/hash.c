// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "hash.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int sl_key_text_add(struct sl_key_text *key, const char *part)
{
	size_t len = part ? strlen(part) + 2 : 1, size = key->size;
	char *bytes;

	if (key->n + len > size) {
		size = (key->n + len) * 2;
		bytes = realloc(key->bytes, size);
		if (!bytes)
			return -ENOMEM;
		key->bytes = bytes;
		key->size = size;
	}
	key->bytes[key->n] = part ? 2 : 1;
	if (part)
		memcpy(key->bytes + key->n + 1, part, len - 1);
	key->n += len;
	return 0;
}

void sl_key_text_free(struct sl_key_text *key)
{
	free(key->bytes);
	*key = (struct sl_key_text){};
}

static __u64 rotate(__u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void rounds(__u64 v[4], int n)
{
	while (n--) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

static void seed(__u64 key[2])
{
	static __u64 kept[2];

	/* Without entropy the tables are slower under attack, not wrong. */
	if (!kept[0] && !kept[1] && getrandom(kept, sizeof(kept), GRND_NONBLOCK) < 0)
		kept[0] = 1;
	memcpy(key, kept, sizeof(kept));
}

__u64 sl_siphash(const void *bytes, size_t n)
{
	const unsigned char *at = bytes;
	__u64 key[2], word, v[4];
	size_t left = n;

	seed(key);
	v[0] = key[0] ^ 0x736f6d6570736575ull;
	v[1] = key[1] ^ 0x646f72616e646f6dull;
	v[2] = key[0] ^ 0x6c7967656e657261ull;
	v[3] = key[1] ^ 0x7465646279746573ull;
	for (; left >= 8; left -= 8, at += 8) {
		memcpy(&word, at, 8);
		v[3] ^= word;
		rounds(v, 2);
		v[0] ^= word;
	}
	word = (__u64)n << 56;
	for (size_t i = 0; i < left; i++)
		word |= (__u64)at[i] << (8 * i);
	v[3] ^= word;
	rounds(v, 2);
	v[0] ^= word;
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void sl_sha256(const void *bytes, size_t len, unsigned char *out, size_t n)
{
	unsigned char whole[SHA256_DIGEST_LENGTH];

	SHA256(bytes, len, whole);
	memcpy(out, whole, n);
}
