/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Hashes over what a hostile workload may choose. */
#ifndef SLUICE_ALERTS_HASH_H
#define SLUICE_ALERTS_HASH_H

#include <linux/types.h>
#include <stddef.h>

/* A text of parts, each of which is there or not, without ambiguity: \1 stands for a part
 * that is not there, \2 begins one, NUL ends it. Texts hold no NUL. */
struct sl_key_text {
	char *bytes;		/* owned */
	size_t n, size;
};

/* NULL: not there. 0 or -ENOMEM. */
int sl_key_text_add(struct sl_key_text *key, const char *part);
void sl_key_text_free(struct sl_key_text *key);

/* SipHash-2-4 (Aumasson, Bernstein: SipHash, a fast short-input PRF) with a key of this
 * process: for tables only. */
__u64 sl_siphash(const void *bytes, size_t n);

/* The first n bytes of SHA-256, for what must be the same tomorrow; n <= 32. */
void sl_sha256(const void *bytes, size_t len, unsigned char *out, size_t n);

#endif
