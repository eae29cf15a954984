// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The reader of DNS messages (include/sluice_dns.h), as the kernel runs it, for
 * tests/oracle/dns_model.py. Standard input: messages, each behind `q` or `a` and its
 * length (16 bits, big-endian). Standard output, a line for each:
 *
 *	bad
 *	good NAME TYPE ID			a question
 *	good NAME TYPE ID [ADDRESS/TTL]...	an answer
 */
#include <arpa/inet.h>
#include <stdio.h>
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

static void print_question(const struct sl_dns *d)
{
	__u32 i;

	fputs("good ", stdout);
	for (i = 0; i < d->characters; i++)
		putchar(d->text[SL_DNS_LAST - i]);
	if (!d->characters)
		putchar('.');
	printf(" %u %u", d->type, d->id);
}

static void print_addresses(const struct sl_dns *d)
{
	char text[INET6_ADDRSTRLEN];
	__u32 i;

	for (i = 0; i < d->n_addresses; i++)
		printf(" %s/%u", inet_ntop(d->addresses[i].family == 4 ? AF_INET : AF_INET6,
					   d->addresses[i].bytes, text, sizeof(text)),
		       d->addresses[i].ttl_s);
}

/* As sl_judge_answer() in bpf/dns_answer.bpf.h. The walk overwrites the text. */
static void read_answer(struct sl_dns *d)
{
	int verdict = sl_dns_answer(d);

	if (verdict == SL_DNS_GOOD && sl_dns_records(d) != SL_DNS_GOOD)
		verdict = SL_DNS_BAD;
	if (verdict == SL_DNS_BAD || sl_dns_read_again(d, SL_DNS_HEADER) != SL_DNS_READ) {
		fputs("bad", stdout);
		return;
	}
	print_question(d);
	if (verdict == SL_DNS_GOOD)
		print_addresses(d);
}

static void read_question(struct sl_dns *d)
{
	if (sl_dns_question(d) == SL_DNS_GOOD)
		print_question(d);
	else
		fputs("bad", stdout);
}

int main(void)
{
	static struct sl_dns d;
	unsigned char head[3];

	while (fread(head, sizeof(head), 1, stdin) == 1) {
		/* The last message's bytes stay behind this one's, as in the kernel. */
		d.seed = 0x1234567890abcdefull;
		d.length = (__u32)head[1] << 8 | head[2];
		if (d.length > SL_DNS_BYTES ||
		    (d.length && fread(d.message, d.length, 1, stdin) != 1)) {
			fprintf(stderr, "dns: a message of %u bytes that is not there\n", d.length);
			return 1;
		}
		if (head[0] == 'q')
			read_question(&d);
		else
			read_answer(&d);
		putchar('\n');
	}
	return 0;
}
