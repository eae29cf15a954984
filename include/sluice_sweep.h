/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What user space tells sweep.bpf.c, as the data of BPF_PROG_TEST_RUN. */
#ifndef SLUICE_SWEEP_H
#define SLUICE_SWEEP_H

#include <linux/types.h>

struct sl_sweep {
	__u32 slot;
	__u32 reserved[3];	/* the kernel runs no program over less than an Ethernet header */
};

#endif
