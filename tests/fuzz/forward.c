// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What the forwarder reads of others (user/forward), on any bytes: a client's question, a
 * resolver's answer, the parameters of HTTPS records. Beyond what the sanitizers see: what
 * it makes of them it reads again, and the kernel's reader takes what it is to learn.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SL_INLINE static inline
#define SL_BARRIER(x) asm volatile("" : "+r"(x))
#define SL_DNS_FUNCTION static __attribute__((unused))
#define SL_DNS_STEP(name) static int name(__u32 i, struct sl_dns *d)
#define SL_DNS_LOOP(n, step, d)                                                                    \
	do {                                                                                       \
		for (__u32 step_ = 0; step_ < (n) && !step(step_, d); step_++)                     \
			;                                                                          \
	} while (0)
#include "forward/answer.h"
#include "sluice_dns.h"

static void require(int holds)
{
	if (!holds)
		abort();
}

/* A question that is read is asked again, refused, and read again. */
static void question(const uint8_t *data, size_t size)
{
	__u8 made[SL_DNS_SMALL_MAX];
	struct sl_query q, again;
	size_t n;

	sl_reply_malformed(data, size, made);
	if (sl_query_read(data, size, &q))
		return;
	require(q.name_bytes && q.name_bytes <= 255 && q.udp_size >= 512);
	n = sl_question_add_opt(made, sl_question_make(q.name, q.name_bytes, q.type, made));
	require(n <= SL_DNS_SMALL_MAX && !sl_query_read(made, n, &again));
	require(again.type == q.type && again.name_bytes == q.name_bytes &&
		!memcmp(again.name, q.name, q.name_bytes) && again.edns);
	n = sl_reply_make(&q, SL_RCODE_NXDOMAIN, SL_EDE_BLOCKED, "a-rule", made);
	require(n <= SL_DNS_SMALL_MAX);
	made[2] &= 0x7f;
	require(!sl_query_read(made, n, &again) && again.edns == q.edns);
}

static void parameters(const uint8_t *data, size_t size, unsigned strip)
{
	__u8 once[4096], twice[4096];
	size_t n, m;

	if (size > sizeof(once))
		return;
	n = sl_svcb_strip(data, size, strip, once);
	require(n <= size);
	m = n ? sl_svcb_strip(once, n, strip, twice) : 0;
	require(m == n && !memcmp(once, twice, n));
}

/* How many addresses the kernel's reader finds in the lesson. */
static unsigned lesson(const struct sl_upstream *u)
{
	static struct sl_dns d;

	if (!u->lesson_bytes)
		return 0;
	memset(&d, 0, sizeof(d));
	d.length = u->lesson_bytes;
	memcpy(d.message, u->lesson, u->lesson_bytes);
	require(sl_dns_answer(&d) == SL_DNS_GOOD && sl_dns_records(&d) == SL_DNS_GOOD);
	require(d.n_addresses && d.n_addresses <= SL_ANSWER_ADDRESSES && !d.over);
	return d.n_addresses;
}

static void answer(const struct sl_query *q, const uint8_t *data, size_t size, unsigned strip)
{
	static const size_t sizes[] = {512, 1232, SL_DNS_WIRE_MAX};
	struct sl_upstream u, again;
	size_t n;
	__u8 *message;

	if (sl_upstream_read(q, data, size, strip, &u))
		return;
	lesson(&u);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		if (sl_upstream_write(q, &u, sizes[i], &message, &n))
			continue;
		require(n <= sizes[i]);
		require(!sl_upstream_read(q, message, n, strip, &again));
		require(again.rcode == u.rcode && again.n_aliases <= u.n_aliases);
		require(lesson(&again) <= lesson(&u));
		if (!(message[2] & 2))	/* whole */
			require(again.n_aliases == u.n_aliases && lesson(&again) == lesson(&u));
		sl_upstream_free(&again);
		free(message);
	}
	sl_upstream_free(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const __u8 name[] = "\1x\4good\7example";
	static const __u16 types[] = {1, 28, 5, 65, 64, 16, 33, 15};
	struct sl_query q = {.name_bytes = sizeof(name), .udp_size = 512};
	unsigned how;

	if (!size)
		return 0;
	how = *data++;
	size--;
	memcpy(q.name, name, sizeof(name));
	q.type = types[how & 7];
	q.edns = how & 8;
	question(data, size);
	parameters(data, size, how >> 4 & 3);
	answer(&q, data, size, how >> 4 & 3);
	return 0;
}
