/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Numbers at random from a seed that the test sets and prints (xorshift64; not 0). */
#ifndef SLUICE_TEST_RANDOM_BELOW_H
#define SLUICE_TEST_RANDOM_BELOW_H

#include <stdint.h>

static uint64_t state;

static inline unsigned int below(unsigned int n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned int)((state >> 11) % n);
}

#endif
