// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A policy of 20,000 rules is asked about each endpoint of each Service of the cluster. What a set
 * holds stands here once, however many rules use it.
 */
#include "rule_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/builtin.h"
#include "policy/text.h"

#define OF_SET (1u << 31)	/* in a prefix: the number is a set's */

/* ---- made ---- */

/* That it is for alone; 0: others too. */
static __u16 only_port(const struct sl_match *match)
{
	return match->n_ports == 1 && match->ports->low == match->ports->high ? match->ports->low : 0;
}

static int add_set_use(struct sl_rule_index *index, const void *set, unsigned use)
{
	struct sl_set_use *slot = SL_ADD(index->set_uses, index->n_set_uses);

	if (!slot)
		return -ENOMEM;
	*slot = (struct sl_set_use){set, use};
	return 0;
}

/* Of a set that the policy lists merge.c has put down which. */
static const void *known_set(const struct sl_host *host)
{
	return host->set ? (const void *)host->set : sl_builtin_set(host->text);
}

static int add_anywhere(struct sl_rule_index *index, unsigned use)
{
	unsigned *slot = SL_ADD(index->anywhere, index->n_anywhere);

	if (!slot)
		return -ENOMEM;
	*slot = use;
	return 0;
}

static int add_host(struct sl_rule_index *index, const struct sl_host *host,
		    const struct sl_match *match, unsigned use)
{
	static const struct sl_cidr any = {};

	if (host->kind == SL_HOST_ANY)
		return sl_prefixes_add(&index->prefixes, &any, only_port(match), use);
	if (host->kind == SL_HOST_CIDR)
		return sl_prefixes_add(&index->prefixes, &host->cidr, only_port(match), use);
	if (host->kind == SL_HOST_SET && known_set(host))
		return add_set_use(index, known_set(host), use);
	return host->kind == SL_HOST_SET || sl_host_is_name(host) ? add_anywhere(index, use) : 0;
}

static int add_rule(struct sl_rule_index *index, const struct sl_rule *rule, size_t at)
{
	int err = 0;

	for (size_t m = 0; m < rule->n_matches && !err; m++) {
		const struct sl_match *match = &rule->matches[m];
		struct sl_rule_use *slot = SL_ADD(index->uses, index->n_uses);

		if (!slot)
			return -ENOMEM;
		*slot = (struct sl_rule_use){rule, match, at};
		for (size_t h = 0; h < match->n_hosts && !err; h++)
			err = add_host(index, &match->hosts[h], match, (unsigned)index->n_uses - 1);
	}
	return err;
}

static int compare_set_uses(const void *a, const void *b)
{
	const struct sl_set_use *x = a, *y = b;

	if (x->set != y->set)
		return x->set < y->set ? -1 : 1;
	return (x->use > y->use) - (x->use < y->use);
}

static int add_builtin(struct sl_rule_index *index, const char *text, unsigned number)
{
	struct sl_cidr cidr;
	size_t len;
	bool masked;
	int err = 0;

	for (; *text && !err; text += len + strspn(text + len, " ")) {
		len = strcspn(text, " ");
		if (!sl_cidr_parse(text, len, &cidr, &masked))
			err = sl_prefixes_add(&index->prefixes, &cidr, 0, number);
	}
	return err;
}

/* What the set holds, once for all its uses, which stand at uses. */
static int add_set(struct sl_rule_index *index, const struct sl_set_use *uses, size_t n)
{
	const struct sl_host *host = NULL;
	const struct sl_match *match = index->uses[uses->use].match;
	struct sl_set_group *group = SL_ADD(index->sets, index->n_sets);
	unsigned number = OF_SET | (unsigned)(index->n_sets - 1);
	int err = 0;

	if (!group)
		return -ENOMEM;
	*group = (struct sl_set_group){.uses = calloc(n, sizeof(*group->uses)), .n = n};
	if (!group->uses)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		group->uses[i] = uses[i].use;
	for (size_t h = 0; h < match->n_hosts && !host; h++)
		if (match->hosts[h].kind == SL_HOST_SET && known_set(&match->hosts[h]) == uses->set)
			host = &match->hosts[h];
	if (!host)
		return -EINVAL; /* a use is of a host that has the set */
	if (!host->set)
		return add_builtin(index, uses->set, number);
	for (size_t i = 0; i < host->set->n_cidrs && !err; i++)
		err = sl_prefixes_add(&index->prefixes, &host->set->cidrs[i], 0, number);
	return err;
}

static int add_sets(struct sl_rule_index *index)
{
	size_t n;
	int err = 0;

	if (index->n_set_uses)
		qsort(index->set_uses, index->n_set_uses, sizeof(*index->set_uses), compare_set_uses);
	for (size_t i = 0; i < index->n_set_uses && !err; i += n) {
		for (n = 1; i + n < index->n_set_uses; n++)
			if (index->set_uses[i + n].set != index->set_uses[i].set)
				break;
		err = add_set(index, &index->set_uses[i], n);
	}
	return err;
}

int sl_rule_index_make(struct sl_rule_index *index, const struct sl_policy *policy, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		if (policy->items[i].rule)
			err = add_rule(index, policy->items[i].rule, i);
		else
			index->includes = i + 1;
	if (!err)
		err = add_sets(index);
	if (!err)
		err = sl_prefixes_sort(&index->prefixes);
	index->runs = calloc(SL_PREFIX_RUNS + index->n_sets, sizeof(*index->runs));
	return err || index->runs ? err : -ENOMEM;
}

void sl_rule_index_free(struct sl_rule_index *index)
{
	for (size_t i = 0; i < index->n_sets; i++)
		free(index->sets[i].uses);
	free(index->sets);
	free(index->set_uses);
	free(index->uses);
	free(index->anywhere);
	free(index->runs);
	sl_prefixes_free(&index->prefixes);
	memset(index, 0, sizeof(*index));
}

/* ---- asked: the runs are a heap, the one with the earliest rule first ---- */

static void sift(struct sl_prefix_run *runs, size_t n, size_t at)
{
	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		struct sl_prefix_run run = runs[at];

		if (child + 1 < n && *runs[child + 1].at < *runs[child].at)
			child++;
		if (*run.at <= *runs[child].at)
			return;
		runs[at] = runs[child];
		runs[child] = run;
	}
}

static void add_group(struct sl_rule_index *index, struct sl_set_group *group)
{
	if (group->seen == index->questions)
		return;
	group->seen = index->questions;
	index->runs[index->n_runs++] = (struct sl_prefix_run){group->uses, group->uses + group->n};
}

void sl_rule_index_ask(struct sl_rule_index *index, const struct sl_cidr *address, int protocol,
		       __u16 port)
{
	struct sl_prefix_run found[SL_PREFIX_RUNS];
	size_t n = sl_prefixes_find(&index->prefixes, address, port, found);

	index->protocol = protocol;
	index->port = port;
	index->questions++;
	index->n_runs = 0;
	for (size_t i = 0; i < n; i++) {
		for (; found[i].end > found[i].at && found[i].end[-1] & OF_SET; found[i].end--)
			add_group(index, &index->sets[found[i].end[-1] & ~OF_SET]);
		if (found[i].end > found[i].at)
			index->runs[index->n_runs++] = found[i];
	}
	for (size_t i = index->n_runs / 2; i-- > 0;)
		sift(index->runs, index->n_runs, i);
}

const struct sl_rule_use *sl_rule_index_next(struct sl_rule_index *index)
{
	while (index->n_runs) {
		struct sl_prefix_run *first = index->runs;
		const struct sl_rule_use *use = &index->uses[*first->at++];

		if (first->at == first->end)
			*first = index->runs[--index->n_runs];
		sift(index->runs, index->n_runs, 0);
		if (sl_kube_match_is_for(use->match, index->protocol, index->port))
			return use;
	}
	return NULL;
}

/* Behind the last allow of the run. */
static size_t allows_of(const struct sl_rule_index *index, const unsigned *first, const unsigned *end)
{
	while (end > first) {
		const struct sl_rule_use *use = &index->uses[*--end];

		if (use->rule->action == SL_ALLOW &&
		    sl_kube_match_is_for(use->match, index->protocol, index->port))
			return use->at + 1;
	}
	return 0;
}

size_t sl_rule_index_allows(const struct sl_rule_index *index)
{
	size_t last = allows_of(index, index->anywhere, index->anywhere + index->n_anywhere);

	last = last > index->includes ? last : index->includes;
	for (size_t i = 0; i < index->n_runs; i++) {
		size_t end = allows_of(index, index->runs[i].at, index->runs[i].end);

		last = end > last ? end : last;
	}
	return last;
}
