// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What each map holds, as numbers: a change of include/sluice_abi.h that concerns a map raises
 * the map's number here, beside SL_ABI_VERSION. By them another version knows what it may
 * go on with (state_upgrade.c).
 */
#include "state_internal.h"

#ifndef SL_LAYOUT_COUNTS	/* the tests build another one, too */
#define SL_LAYOUT_COUNTS 1
#endif
#ifndef SL_LAYOUT_FLOWS
#define SL_LAYOUT_FLOWS 1
#endif

const struct sl_state_layout sl_state_layouts[SL_LAYOUTS] = {
	[SL_M_INFO] = {"sl_info", 1, false},
	[SL_M_TABLES] = {"sl_tables", 2, false},
	[SL_M_WORDS] = {"sl_words", 1, false},
	[SL_M_TARGETS] = {"sl_targets", 1, false},
	[SL_M_STATS] = {"sl_stats", SL_LAYOUT_COUNTS, true},
	[SL_M_HITS] = {"sl_hits", SL_LAYOUT_COUNTS, true},
	[SL_M_FLOWS] = {"sl_flows", SL_LAYOUT_FLOWS, false},
	[SL_M_LOCKS] = {"sl_flow_locks", 1, false},
	[SL_M_BUDGETS] = {"sl_budgets", 1, true},
	[SL_M_LIMITERS] = {"sl_limiters", 1, true},
	[SL_M_EVENTS] = {"sl_events", SL_LAYOUT_COUNTS, true},
	[SL_M_LEASES] = {"sl_leases", 1, false},
	[SL_M_METERS] = {"sl_meters", 1, true},
	[SL_M_DENIALS] = {"sl_denials", 1, true},
	[SL_M_NAMES] = {"sl_names", 1, false},
	[SL_M_KNOWN] = {"sl_known", 1, false},
	[SL_M_LEARNED] = {"sl_learned", 1, false},
	[SL_M_SCRATCH] = {"sl_scratch", 1, true},
	[SL_M_DEVICES] = {"sl_devices", 1, false},
	[SL_M_MAX] = {SL_CGROUPS_FOLDER "/sl_cgroups", 1, false},
	[SL_M_MAX + 1] = {SL_CGROUPS_FOLDER "/sl_points", 1, false},
	[SL_M_MAX + 2] = {SL_CGROUPS_FOLDER "/sl_sockets", 1, false},
};

_Static_assert(SL_LAYOUTS <= SL_LAYOUTS_ROOM, "sl_info has room for each");

void sl_state_note_layouts(struct sl_state *s)
{
	unsigned i;

	for (i = 0; i < SL_LAYOUTS; i++)
		s->info.layouts[i] = sl_state_layouts[i].version;
}

bool sl_state_has_layout(const struct sl_state *s, unsigned which)
{
	return s->info.layouts[which] == sl_state_layouts[which].version;
}
