// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "suits.h"

int sl_suits_command(const struct sl_policy *policy, struct sl_diag *diag)
{
	const struct sl_limits *limits = &policy->limits;

	if (!limits->out.average && !limits->in.average && !limits->flow_interval_ns)
		return 0;
	return sl_error(diag, &limits->pos, "\"limits\" holds devices only, a command cannot be "
			"held to it: take it out of the policy for `sluice run`");
}
