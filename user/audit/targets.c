// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <stdlib.h>
#include <string.h>

#include "targets.h"

#define KEPT 256	/* generations whose labels are held at once */

struct known {
	__u64 generation;	/* 0: free */
	__u32 slot;
	struct sl_table table;	/* holds the labels */
	const char **rules;
	size_t n_rules;
	struct sl_target target;
	char *policy;
	char *path;		/* of a cgroup; NULL: it was removed before */
};

struct sl_audit_targets {
	struct sl_state *state;
	struct sl_audit_names names;
	struct known known[KEPT];
	size_t next;		/* to be given up */
};

struct sl_audit_targets *sl_audit_targets_new(struct sl_state *state, __s64 boot_epoch_ns)
{
	struct sl_audit_targets *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->state = state;
	t->names.boot_epoch_ns = boot_epoch_ns;
	return t;
}

void sl_audit_targets_clock(struct sl_audit_targets *t, __s64 boot_epoch_ns)
{
	t->names.boot_epoch_ns = boot_epoch_ns;
}

static void forget(struct known *k)
{
	free(k->table.words);
	free(k->rules);
	free(k->policy);
	free(k->path);
	memset(k, 0, sizeof(*k));
}

void sl_audit_targets_free(struct sl_audit_targets *t)
{
	size_t i;

	for (i = 0; t && i < KEPT; i++)
		forget(&t->known[i]);
	free(t);
}

static int read_labels(struct known *k)
{
	size_t n = k->table.words[SL_H_RULES], i;
	const char *at = sl_table_label(k->table.words, k->table.n_words, 0);

	k->policy = strdup(at ? at : "");
	k->rules = calloc(n + 1, sizeof(*k->rules));
	if (!k->policy || !k->rules)
		return -1;
	for (i = 0; i < n && at; i++) {	/* each behind the one before */
		at += strlen(at) + 1;
		k->rules[i] = at;
	}
	k->n_rules = n;
	return 0;
}

/* Reads what decided the event; if that is given up, what is in force in its slot now; without
 * that (a veth that is held) the target alone, which is not kept. */
static struct known *learn(struct sl_audit_targets *t, __u32 slot, __u64 generation)
{
	struct known *k = &t->known[t->next];

	forget(k);
	if (sl_state_target_of(t->state, slot, &k->target))
		return NULL;
	if (k->target.kind == SL_TARGET_CGROUP)
		k->path = sl_state_cgroup_name(&k->target);
	if (sl_state_table_of(t->state, slot, generation, &k->table))
		return k;
	if (read_labels(k)) {
		forget(k);
		return NULL;
	}
	t->next = (t->next + 1) % KEPT;
	k->slot = slot;
	k->generation = k->table.words[SL_H_GENERATION];
	return k;
}

static struct known *find(struct sl_audit_targets *t, __u32 slot, __u64 generation)
{
	size_t i;

	for (i = 0; i < KEPT && generation; i++)
		if (t->known[i].generation == generation && t->known[i].slot == slot)
			return &t->known[i];
	return NULL;
}

const struct sl_audit_names *sl_audit_targets_names(struct sl_audit_targets *t,
						    const struct sl_event *event)
{
	struct known *k = find(t, event->slot, event->generation);
	bool same, cgroup;

	if (!k)
		k = learn(t, event->slot, event->generation);
	if (k && event->time_ns < k->target.since_ns)
		k = NULL;	/* the slot was another's when it happened */
	same = k && k->generation == event->generation;
	t->names.policy = same ? k->policy : NULL;
	cgroup = k && k->target.kind == SL_TARGET_CGROUP;
	t->names.target = !k ? NULL : cgroup ? k->path : k->target.name;
	t->names.target_kind = cgroup ? "cgroup" : "device";
	t->names.cgroup_id = cgroup ? k->target.cgroup_id : 0;
	t->names.ifindex = k && !cgroup && k->target.netns == sl_state_netns(t->state) ?
				   k->target.ifindex : 0;
	t->names.rule_ids = same ? k->rules : NULL;
	t->names.n_rules = t->names.rule_ids ? k->n_rules : 0;
	return &t->names;
}
