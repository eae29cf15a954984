/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the files of the engine share; nothing else includes it. */
#ifndef SLUICE_ALERTS_ENGINE_INTERNAL_H
#define SLUICE_ALERTS_ENGINE_INTERNAL_H

#include "engine.h"
#include "hash.h"

#define SL_SECOND_NS 1000000000ll

/* A value of a scan, and the step in which it was last seen. */
struct sl_distinct {
	__u64 hash;
	__s64 step;
};

/* The records of one rule that agree in the fields of its group. */
struct sl_alert_group {
	struct sl_alert_group *chain, *older, *newer;
	const struct sl_alert_rule *rule;
	__u64 hash;
	char *key;			/* owned: struct sl_key_text */
	size_t key_len;

	/* The window: slot step % SL_ALERT_BUCKETS of each step up to newest. */
	__s64 newest;
	__u64 counts[SL_ALERT_BUCKETS], amounts[SL_ALERT_BUCKETS];
	struct sl_distinct *distinct;	/* owned; DISTINCT */
	__s64 *moments;			/* owned, ascending; BEACON */
	size_t n_distinct, n_moments;
	struct sl_sample *samples[SL_ALERT_SAMPLES];	/* the oldest first */
	size_t n_samples;

	/* The alert, if it is open. */
	bool open, evicted;
	__s64 start_ns, end_ns, next_told_ns;
	__u64 count, value, told, serial;
	size_t place;			/* in the heap */
};

struct sl_alert_list {
	struct sl_alert_group *oldest, *newest;
};

struct sl_alert_engine {
	const struct sl_alerts_config *config;
	struct sl_alert_memory *memory;
	sl_alert_fn tell;
	void *context;
	__s64 now_ns;
	__u64 serial;
	struct sl_alert_group **table;		/* size: a power of two */
	size_t size;
	struct sl_alert_list idle, active;	/* active: with an open alert */
	struct sl_alert_group **heap;		/* of the open ones: what is due first */
	size_t n_heap;
	struct sl_alert_stats stats;
};

static inline __s64 sl_rule_step_ns(const struct sl_alert_rule *rule)
{
	return rule->window_s * (SL_SECOND_NS / SL_ALERT_BUCKETS);
}

/* ---- engine_groups.c ---- */

/* The group of a record, made if there is none: then the least used one goes, if there is
 * no room. NULL when out of memory. */
struct sl_alert_group *sl_group_get(struct sl_alert_engine *engine,
				    const struct sl_alert_rule *rule,
				    const struct sl_alert_record *record);
/* It becomes the last to go, of those with or without an open alert. */
void sl_group_touch(struct sl_alert_engine *engine, struct sl_alert_group *group, bool open);
void sl_group_free(struct sl_alert_group *group);

/* The heap of open alerts, by the time at which something is due. */
int sl_heap_init(struct sl_alert_engine *engine);
void sl_heap_add(struct sl_alert_engine *engine, struct sl_alert_group *group);
void sl_heap_remove(struct sl_alert_engine *engine, struct sl_alert_group *group);
void sl_heap_moved(struct sl_alert_engine *engine, struct sl_alert_group *group);
__s64 sl_group_due(const struct sl_alert_group *group);

/* ---- engine_window.c ---- */

/* Brings the window to the step; what fell out is zero. */
void sl_window_advance(struct sl_alert_group *group, __s64 step);
__u64 sl_window_sum(const __u64 values[SL_ALERT_BUCKETS]);

/* What the record adds, in a step of the window. */
struct sl_addition {
	__s64 step, now_step, time_ns, now_ns;
	__u64 count, amount;
	__u64 hash;		/* DISTINCT */
	bool is_new;		/* NEW */
};

/* True if the rule's condition holds; *value is then its measure. Negative: -errno. */
int sl_window_add(struct sl_alert_group *group, const struct sl_addition *add, __u64 *value);

/* ---- engine.c ---- */

/* Ends the open alert of a group and tells it. */
void sl_alert_end(struct sl_alert_engine *engine, struct sl_alert_group *group, __s64 end_ns,
		  bool evicted);

#endif
