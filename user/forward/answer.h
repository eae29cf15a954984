/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a resolver answered, as far as it is handed on: the chain of CNAMEs from the
 * question's name, the records at its end, and of a denial the SOA. The messages are
 * libldns's matter: names are compressed on the way in and out.
 */
#ifndef SLUICE_FORWARD_ANSWER_H
#define SLUICE_FORWARD_ANSWER_H

#include "message.h"
#include "sluice_forward.h"

#define SL_ANSWER_ALIASES 16	/* docs/names.md, "Answers" */
#define SL_ANSWER_ADDRESSES 64	/* more are cut off: they would not be learned */

struct sl_answer_alias {
	__u8 name[256];		/* wire format */
	size_t name_bytes;
};

struct sl_upstream {		/* free with sl_upstream_free */
	void *records, *soa;	/* lists of libldns's */
	unsigned rcode;
	struct sl_answer_alias aliases[SL_ANSWER_ALIASES];
	size_t n_aliases;
	__u8 lesson[SL_ASK_MESSAGE_MAX]; /* an answer of the addresses alone, for the kernel */
	size_t lesson_bytes;	/* 0: no address */
};

/*
 * Reads the answer to a query. strip: enum sl_dns_strip. -EINVAL: it cannot be read, or
 * does not hang together (a chain that is too long): it is not handed on. -ENOMEM.
 */
int sl_upstream_read(const struct sl_query *query, const __u8 *message, size_t length,
		     unsigned strip, struct sl_upstream *out);
void sl_upstream_free(struct sl_upstream *upstream);

/*
 * The answer to the client, at most max bytes; if it has to be cut, TC is set and so many
 * records stand in it as fit. *out owned by the caller. 0, -EMSGSIZE (not even without
 * records), -ENOMEM.
 */
int sl_upstream_write(const struct sl_query *query, const struct sl_upstream *upstream,
		      size_t max, __u8 **out, size_t *length);

#endif
