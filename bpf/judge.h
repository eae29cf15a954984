/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The packet of judge.bpf.c, also for the program that sends it. */
#ifndef SLUICE_JUDGE_H
#define SLUICE_JUDGE_H

#include "flow.bpf.h"

struct sl_judge_packet {
	__u8 ethernet[14];	/* eth_type_trans of the test-run wants a header */
	__u8 reserved[2];
	struct sl_flow flow;
	struct sl_subject subject;
	struct sl_answer answer;
};

#endif
