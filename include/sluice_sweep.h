/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What user space tells sweep.bpf.c, as the data of BPF_PROG_TEST_RUN. */
#ifndef SLUICE_SWEEP_H
#define SLUICE_SWEEP_H

#include <linux/types.h>

/* Why an entry is settled. */
enum sl_settle {
	SL_SETTLE_RULES,	/* its rule's row shall be exact */
	SL_SETTLE_OVER,		/* and its end be told, if it is over */
	SL_SETTLE_TAKEN,	/* and its end be told: its place is needed */
	SL_SETTLE_DETACHED,	/* and its end be told: the target is no more */
};

struct sl_sweep {
	__u32 slot;
	__u32 why;		/* enum sl_settle */
	__u32 reserved[2];	/* the kernel runs no program over less than an Ethernet header */
};

#endif
