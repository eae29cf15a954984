/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the forwarder asks the kernel (bpf/forward.bpf.c), as a test-run of its program:
 * this record, and behind it a DNS message. The kernel's own judge and learner answer, so
 * there is one of each.
 */
#ifndef SLUICE_FORWARD_H
#define SLUICE_FORWARD_H

#include <linux/types.h>

enum sl_ask_what {
	SL_ASK_QUESTION,	/* the workload's message: may it be asked? */
	SL_ASK_ALIAS,		/* a message that asks for an alias: does a rule deny it? */
	SL_ASK_LEARN,		/* an answer of addresses: learn them */
};

/* The program's return value. */
enum sl_ask_verdict {
	SL_ASK_PASS,
	SL_ASK_REFUSED,		/* reason and rule say why; recorded */
	SL_ASK_STRANGER,	/* no flow of the target's: say nothing to it */
	SL_ASK_BUSY,		/* no place to read the message in: ask again */
};

struct sl_ask {
	__u8 ethernet[14];	/* zero; the test-run wants a header */
	__u8 reserved[2];
	__u32 what;		/* enum sl_ask_what */
	/* of the workload's question; host byte order */
	__u32 client, forwarder; /* IPv4 addresses */
	__u16 client_port, forwarder_port;
	__u32 protocol;
	/* out */
	__u32 rule;		/* SL_NONE: none */
	__u32 flags;		/* SL_F_ of the generation */
	__u32 reason;		/* enum sl_reason */
	__u32 reserved2;
};

#define SL_ASK_MESSAGE_MAX 2304	/* a test-run's data lies in one page, with its headroom */

#endif
