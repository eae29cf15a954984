// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The table of one cgroup: made and put there, or what is there already. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup_table.h"
#include "policy/print.h"
#include "policy/text.h"

static __u64 meaning_of(const struct sl_policy *resolved)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	__u64 hash = 0;

	if (!out)
		return 0;
	sl_policy_print(resolved, out);
	fprintf(out, "%d", resolved->mode);
	if (!fclose(out))
		hash = sl_hash(text);
	free(text);
	return hash;
}

int sl_cgroup_took(struct sl_state *state, struct sl_watched_cgroup *w, __u32 slot, __u64 generation,
		   __u64 meaning)
{
	w->slot = slot;
	w->generation = generation;
	w->meaning = meaning;
	w->as.renew = w->as.pending = false;
	w->why[0] = 0;
	return sl_state_seal(state, slot, &w->seal);
}

/* Whose the table is, for the next sluiced. */
static __u64 mark_of(const struct sl_watched_cgroup *w)
{
	return w->as.by_hand ? SL_F_BY_HAND : SL_F_MANAGED;
}

static int attach(struct sl_cgroups *c, struct sl_state *state, struct sl_watched_cgroup *w,
		  const struct sl_cgroup_target *cgroup, const struct sl_policy *resolved,
		  const struct sl_compiled *compiled, __u64 meaning, struct sl_diag *diag)
{
	__u64 generation = compiled->table.words[SL_H_GENERATION];
	__u32 slot;
	int err = sl_state_attach_cgroup(state, cgroup, &compiled->table, &slot, diag);

	if (!err)
		err = sl_cgroup_took(state, w, slot, generation, meaning);
	if (!err)
		sl_forwarders_give(c->forwarders, state, &(struct sl_forwarder){.cgroup_id = w->id,
				   .path = w->path, .slot = slot, .generation = w->generation},
				   resolved, compiled);
	return err;
}

/* resolved is what all targets of the group have in common (given.h): is it compiled? */
static bool is_common(const struct sl_watched_cgroup *w, const struct sl_policy *resolved)
{
	return resolved && resolved == w->as.group->given.common.outline;
}

__u64 sl_cgroup_meaning(const struct sl_watched_cgroup *w, const struct sl_policy *resolved)
{
	return is_common(w, resolved) ? w->as.group->given.common.meaning : meaning_of(resolved);
}

void sl_cgroup_free_resolved(const struct sl_watched_cgroup *w, struct sl_policy *resolved)
{
	if (!is_common(w, resolved))
		sl_policy_free(resolved);
}

int sl_cgroup_put_table(struct sl_cgroups *c, struct sl_state *state, struct sl_watched_cgroup *w,
			const struct sl_cgroup_target *cgroup, const struct sl_policy *resolved,
			struct sl_diag *diag)
{
	struct sl_compile_options compile = {.generation = sl_state_next_generation(state),
					     .boot_epoch_ns = sl_boot_epoch_ns()};
	struct sl_compiled compiled = {};
	int err;

	if (is_common(w, resolved)) {
		compiled.table =
			sl_given_table_for(&w->as.group->given, compile.generation, mark_of(w));
		return attach(c, state, w, cgroup, resolved, &compiled,
			      w->as.group->given.common.meaning, diag);
	}
	err = sl_compile(resolved, &compile, &compiled, diag);
	if (err)
		return err;
	compiled.table.words[SL_H_FLAGS] |= mark_of(w);
	err = attach(c, state, w, cgroup, resolved, &compiled, meaning_of(resolved), diag);
	sl_compiled_free(&compiled);
	return err;
}

static bool same_words(const struct sl_table *a, const struct sl_table *b)
{
	return a->n_words == b->n_words && !memcmp(a->words, b->words, a->n_words * sizeof(*a->words));
}

bool sl_cgroup_has(struct sl_state *state, const struct sl_watched_cgroup *w, __u32 slot,
		   const struct sl_policy *resolved)
{
	struct sl_compile_options compile = {.boot_epoch_ns = sl_boot_epoch_ns()};
	struct sl_diag ignored = {};
	struct sl_compiled compiled;
	struct sl_table table, common;
	bool same = false;

	if (resolved->dns.forward || sl_state_table(state, slot, &table))
		return false;
	compile.generation = table.words[SL_H_GENERATION];
	if (is_common(w, resolved)) {
		common = sl_given_table_for(&w->as.group->given, compile.generation, mark_of(w));
		same = same_words(&common, &table);
	} else if (!(table.words[SL_H_FLAGS] & SL_F_DEADLINES) &&
		   !sl_compile(resolved, &compile, &compiled, &ignored)) {
		compiled.table.words[SL_H_FLAGS] |= mark_of(w);
		same = !compiled.n_patterns && same_words(&compiled.table, &table);
		sl_compiled_free(&compiled);
	}
	sl_diag_free(&ignored);
	free(table.words);
	return same;
}

bool sl_cgroup_is_anothers(struct sl_cgroups *c, struct sl_state *state,
			   const struct sl_watched_cgroup *w, __u32 slot, __u64 *generation)
{
	struct sl_table table;
	const char *name;
	bool ours;

	*generation = 0;
	if (sl_state_table(state, slot, &table))
		return false; /* held, or no table of ours: it is given one */
	*generation = table.words[SL_H_GENERATION];
	name = sl_table_label(table.words, table.n_words, 0);
	ours = w->generation == *generation ||
	       (!w->generation && ((table.words[SL_H_FLAGS] & mark_of(w)) ||
				   (name && !strcmp(name, c->isolation))));
	free(table.words);
	return !ours;
}
