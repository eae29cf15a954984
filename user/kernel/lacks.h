/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_KERNEL_LACKS_H
#define SLUICE_KERNEL_LACKS_H

#include "compile/compile.h"
#include "sluice_lacks.h"

/* SL_LACKS_ of a table that stays the only one. */
__u32 sl_lacks_of(const struct sl_table *table);

/* Of what a table lacks: can no packet of a command's have to be dropped silently, that is, as if
 * it had been sent? */
static inline bool sl_never_silent(__u32 lacks)
{
	const __u32 all = SL_LACKS_DROP | SL_LACKS_BANDWIDTH | SL_LACKS_SNI;

	return (lacks & all) == all;
}

#endif
