// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Going through the targets' flows: what they have carried, and which are over. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "state_internal.h"
#include "walker.h"

#define PERIOD_NS 1000000000ull	/* between two looks for flows that are over */
#define AT_ONCE 64		/* targets in one look; each takes about 0.2 ms of a CPU */

static int map_fd(const void *context, const char *name)
{
	const struct sl_state *s = context;

	for (enum sl_state_map m = SL_M_INFO + 1; m < SL_M_MAX; m++)
		if (!strcmp(name, sl_state_map_names[m]))
			return s->maps[m];
	return -1;
}

/* The program is loaded once a process. */
static int walk(struct sl_state *s, __u32 slot, enum sl_settle why)
{
	if (s->walker < 0)
		s->walker = sl_walker_load(map_fd, s);
	return s->walker < 0 ? s->walker : sl_walker_run(s->walker, slot, why);
}

int sl_state_settle_flows(struct sl_state *s, __u32 slot)
{
	return walk(s, slot, SL_SETTLE_RULES);
}

/* Has the target had flows whose end is to be told? */
static bool has_logged(const struct sl_state *s, __u32 slot)
{
	struct sl_stats stats;

	return !bpf_map_lookup_elem(s->maps[SL_M_STATS], &slot, &stats) && stats.logged;
}

void sl_state_end_flows(struct sl_state *s, __u32 slot)
{
	if (has_logged(s, slot))
		walk(s, slot, SL_SETTLE_DETACHED);
}

/* Those that one look does not come to are the next one's. */
void sl_state_tell_ends(struct sl_state *s)
{
	__u64 now = sl_state_boot_ns();
	__u32 i, n = 0;

	if (now - s->looked_ns < PERIOD_NS)
		return;
	s->looked_ns = now;
	for (i = 0; i < SL_SLOTS && n < AT_ONCE; i++) {
		__u32 slot = (s->look_at + i) % SL_SLOTS;

		if (s->targets[slot].kind == SL_TARGET_FREE || !has_logged(s, slot))
			continue;
		if (walk(s, slot, SL_SETTLE_OVER))
			return;
		n++;
	}
	s->look_at = (s->look_at + i) % SL_SLOTS;
}
