// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The reader of DNS messages (include/sluice_dns.h), as the kernel runs it, on any
 * bytes. Beyond what the sanitizers see: what it found lies within its bounds, and
 * reading the same message again finds the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SL_INLINE static inline
#define SL_BARRIER(x) asm volatile("" : "+r"(x))
#define SL_DNS_FUNCTION static
#define SL_DNS_STEP(name) static int name(__u32 i, struct sl_dns *d)
#define SL_DNS_LOOP(n, step, d)                                                                    \
	do {                                                                                       \
		for (__u32 step_ = 0; step_ < (n) && !step(step_, d); step_++)                     \
			;                                                                          \
	} while (0)
#include "sluice_dns.h"

static void require(int holds)
{
	if (!holds)
		abort();
}

static void load(struct sl_dns *d, const uint8_t *data, size_t size)
{
	memset(d, 0, sizeof(*d));
	d->seed = 0x1234567890abcdefull;
	d->length = size;
	memcpy(d->message, data, size);
}

/* A name as patterns are: labels between dots, lower-case, reversed. */
static void check_text(const struct sl_dns *d)
{
	__u32 i, label = 0;
	__u8 c;

	require(d->characters <= SL_NAME_CHARACTERS);
	for (i = 0; i < d->characters; i++) {
		c = d->text[SL_DNS_LAST - i];
		require(c == '.' || !c || sl_dns_letter(c) == c);
		label = c == '.' ? 0 : label + 1;
		require(label <= 63);
	}
	require(!d->text[SL_DNS_LAST + 1]);
}

static int read_answer(struct sl_dns *d)
{
	int verdict = sl_dns_answer(d);
	__u32 i;

	if (verdict != SL_DNS_GOOD)
		return verdict;
	check_text(d);
	verdict = sl_dns_records(d);
	require(d->n_addresses <= SL_DNS_ADDRESSES_MAX && d->n_aliases <= SL_DNS_ALIASES_MAX);
	for (i = 0; i < d->n_addresses; i++)
		require(d->addresses[i].family == 4 || d->addresses[i].family == 6);
	for (i = 0; i < d->n_aliases && verdict == SL_DNS_GOOD; i++)
		require(d->aliases[i] < d->length &&
			sl_dns_read_again(d, d->aliases[i]) == SL_DNS_READ);
	return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sl_dns one, two;
	int verdict;

	if (size > SL_DNS_BYTES)
		return 0;
	load(&one, data, size);
	if (sl_dns_question(&one) == SL_DNS_GOOD)
		check_text(&one);
	load(&one, data, size);
	verdict = read_answer(&one);
	load(&two, data, size);
	require(read_answer(&two) == verdict && one.question == two.question &&
		one.n_addresses == two.n_addresses &&
		!memcmp(one.addresses, two.addresses, sizeof(one.addresses)));
	return 0;
}
