// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <stdbool.h>
#include <stddef.h>

#include "lacks.h"

static const struct {
	__u32 flags;		/* SL_F_: none of them is set */
	__u32 lacks;
} by_flags[] = {
	{SL_F_FRAGMENTS, SL_LACKS_FRAGMENTS},
	{SL_F_LIMIT_OUT | SL_F_LIMIT_IN, SL_LACKS_BANDWIDTH},
	{SL_F_LIMIT_FLOWS, SL_LACKS_FLOW_LIMIT},
	{SL_F_UIDS, SL_LACKS_UIDS},
	{SL_F_DEADLINES, SL_LACKS_CHANGE},
	{SL_F_AUDIT, SL_LACKS_AUDIT},
	{SL_F_DROP, SL_LACKS_DROP},
	{SL_F_FORWARD, SL_LACKS_FORWARDER},
};

static bool has_sni(const struct sl_table *table)
{
	const __u64 section = table->words[SL_H_DECISIONS];
	const __u64 *decision = table->words + (__u32)section;
	__u32 i;

	for (i = 0; i < section >> 32; i++, decision += SL_DECISION_WORDS)
		if (decision[SL_D_RULE] >> 32 & (SL_D_SNI_OBSERVE | SL_D_SNI_VERIFY))
			return true;
	return false;
}

__u32 sl_lacks_of(const struct sl_table *table)
{
	__u32 flags = (__u32)table->words[SL_H_FLAGS], lacks = 0;
	size_t i;

	for (i = 0; i < sizeof(by_flags) / sizeof(*by_flags); i++)
		if (!(flags & by_flags[i].flags))
			lacks |= by_flags[i].lacks;
	if (!has_sni(table))
		lacks |= SL_LACKS_SNI;
	if (table->words[SL_H_V6] >> 32 <= SL_FEW_GROUPS6 &&
	    table->words[SL_H_FULL] >> 32 <= SL_FEW_GROUPS6)
		lacks |= SL_LACKS_RANGES6;
	return lacks;
}
