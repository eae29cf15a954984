// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The window of a group, and the conditions: docs/alerts.md, "Conditions". */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

void sl_window_advance(struct sl_alert_group *g, __s64 step)
{
	__s64 from = g->newest + 1;

	if (step - from >= SL_ALERT_BUCKETS)
		from = step - SL_ALERT_BUCKETS + 1;
	for (; from <= step; from++)
		g->counts[from % SL_ALERT_BUCKETS] = g->amounts[from % SL_ALERT_BUCKETS] = 0;
	if (step > g->newest)
		g->newest = step;
}

static __u64 plus(__u64 a, __u64 b)
{
	__u64 sum;

	return __builtin_add_overflow(a, b, &sum) ? ~0ull : sum;
}

__u64 sl_window_sum(const __u64 values[SL_ALERT_BUCKETS])
{
	__u64 sum = 0;

	for (int i = 0; i < SL_ALERT_BUCKETS; i++)
		sum = plus(sum, values[i]);
	return sum;
}

/* The threshold's number of values that were seen last: whether so many are in the window
 * depends on no other. */
static __u64 distinct(struct sl_alert_group *g, const struct sl_addition *add)
{
	struct sl_distinct *oldest = NULL, *at = g->distinct;
	struct sl_distinct *end = g->distinct + g->n_distinct;
	__u64 n = 0;

	for (; at < end && at->hash != add->hash; at++)
		if (!oldest || at->step < oldest->step)
			oldest = at;
	if (at < end)
		at->step = at->step > add->step ? at->step : add->step;
	else if (g->n_distinct < g->rule->threshold)
		g->distinct[g->n_distinct++] = (struct sl_distinct){add->hash, add->step};
	else if (oldest && oldest->step < add->step)
		*oldest = (struct sl_distinct){add->hash, add->step};
	for (at = g->distinct; at < g->distinct + g->n_distinct; at++)
		n += at->step > add->now_step - SL_ALERT_BUCKETS;
	return n;
}

/* Inserts a moment unless one is too near; false if it was. */
static bool moment(struct sl_alert_group *g, const struct sl_addition *add)
{
	__s64 merge = g->rule->merge_s * SL_SECOND_NS;
	size_t at = g->n_moments;

	for (size_t i = 0; i < g->n_moments; i++)
		if (llabs(g->moments[i] - add->time_ns) < merge)
			return false;
	while (at && g->moments[at - 1] > add->time_ns)
		at--;
	memmove(&g->moments[at + 1], &g->moments[at], (g->n_moments - at) * sizeof(*g->moments));
	g->moments[at] = add->time_ns;
	g->n_moments++;
	return true;
}

static void drop_moments(struct sl_alert_group *g, size_t n)
{
	g->n_moments -= n;
	memmove(g->moments, g->moments + n, g->n_moments * sizeof(*g->moments));
}

/* Every interval differs from the mean by at most so many percent of it. */
static bool is_regular(const struct sl_alert_group *g)
{
	__s64 n = (__s64)g->n_moments - 1, span = g->moments[n] - g->moments[0];

	for (__s64 i = 0; i < n; i++) {
		/* n times the difference: no fractions */
		__int128 off = (__int128)(g->moments[i + 1] - g->moments[i]) * n - span;

		if ((off < 0 ? -off : off) * 100 > (__int128)span * g->rule->jitter)
			return false;
	}
	return span >= g->rule->period_min_s * SL_SECOND_NS * n &&
	       span <= g->rule->period_max_s * SL_SECOND_NS * n;
}

static int beacon(struct sl_alert_group *g, const struct sl_addition *add, __u64 *value)
{
	__s64 oldest = add->now_ns - g->rule->window_s * SL_SECOND_NS;
	size_t over = 0;

	while (over < g->n_moments && g->moments[over] <= oldest)
		over++;
	drop_moments(g, over);
	if (!moment(g, add))
		return 0;
	if (g->n_moments > g->rule->threshold)
		drop_moments(g, 1);
	if (g->n_moments < 2 || g->n_moments < g->rule->threshold || !is_regular(g))
		return 0;
	*value = (__u64)((g->moments[g->n_moments - 1] - g->moments[0]) /
			 (__s64)(g->n_moments - 1) / 1000000);
	return 1;
}

int sl_window_add(struct sl_alert_group *g, const struct sl_addition *add, __u64 *value)
{
	__s64 slot = add->step % SL_ALERT_BUCKETS;

	sl_window_advance(g, add->now_step);
	g->counts[slot] = plus(g->counts[slot], add->count);
	g->amounts[slot] = plus(g->amounts[slot], add->amount);
	switch (g->rule->measure) {
	case SL_MEASURE_COUNT:
		*value = sl_window_sum(g->counts);
		break;
	case SL_MEASURE_AMOUNT:
		*value = sl_window_sum(g->amounts);
		break;
	case SL_MEASURE_DISTINCT:
		*value = distinct(g, add);
		break;
	case SL_MEASURE_NEW:
		*value = g->open ? g->value + 1 : 1;
		return add->is_new;
	case SL_MEASURE_BEACON:
		return beacon(g, add, value);
	}
	return *value >= g->rule->threshold;
}
