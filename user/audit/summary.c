// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What was blocked, grouped. */
#include <stdlib.h>
#include <string.h>

#include "hint.h"
#include "named.h"
#include "summary.h"

#define GROUPS_MAX 1000		/* beyond: one group for the rest */

struct group {
	struct sl_named_event first;
	__u64 count;
	bool several;		/* processes */
};

struct sl_summary {
	struct group *groups;
	size_t n, cap;
	__u64 rest;
};

struct sl_summary *sl_summary_new(void)
{
	return calloc(1, sizeof(struct sl_summary));
}

static bool same_group(const struct sl_event *a, const struct sl_event *b)
{
	bool inbound = a->direction == SL_INGRESS;

	return a->direction == b->direction && a->family == b->family &&
	       a->protocol == b->protocol && a->rule == b->rule && a->reason == b->reason &&
	       a->verdict == b->verdict && a->destination_port == b->destination_port &&
	       !memcmp(inbound ? a->source : a->destination, inbound ? b->source : b->destination,
		       sizeof(a->destination)) &&
	       !memcmp(a->comm, b->comm, sizeof(a->comm)) && sl_event_same_name(a, b);
}

void sl_summary_add(struct sl_summary *s, const struct sl_event *e)
{
	struct group *groups;
	size_t i, cap;

	for (i = 0; i < s->n; i++) {
		if (same_group(&s->groups[i].first.event, e)) {
			s->groups[i].count++;
			s->groups[i].several |= s->groups[i].first.event.pid != e->pid;
			return;
		}
	}
	if (s->n == s->cap) {
		cap = s->cap ? s->cap * 2 : 16;
		groups = s->n < GROUPS_MAX ? realloc(s->groups, cap * sizeof(*groups)) : NULL;
		if (!groups) {
			s->rest++;
			return;
		}
		s->groups = groups;
		s->cap = cap;
	}
	s->groups[s->n] = (struct group){.count = 1};
	sl_event_copy(&s->groups[s->n++].first, e);
}

static int compare(const void *a, const void *b)
{
	const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->first.event.time_ns < y->first.event.time_ns ? -1 : 1;
}

static void print_rule(const struct group *g, const struct sl_audit_names *names, char buf[160])
{
	const char *rule = sl_event_rule(names, &g->first.event);
	const struct sl_rule_info *info = rule ? &names->compiled->rules[g->first.event.rule] : NULL;
	unsigned line = info && info->rule ? info->pos.line : 0;

	if (!rule)
		snprintf(buf, 160, "no rule (%s)", sl_reason_word(g->first.event.reason));
	else if (line)
		snprintf(buf, 160, "%s (line %u)", rule, line);
	else
		snprintf(buf, 160, "%s", rule);
}

static void print_group(const struct group *g, const struct sl_audit_names *names, FILE *out)
{
	char endpoint[SL_ENDPOINT_TEXT], rule[160], process[SL_PROCESS_TEXT], where[SL_ENDPOINT_TEXT + 16];

	sl_event_endpoint(&g->first.event, endpoint);
	snprintf(where, sizeof(where), "%s%s",
		 g->first.event.direction == SL_INGRESS ? "from " : "", endpoint);
	print_rule(g, names, rule);
	fprintf(out, "sluice: %7llu  %-36s  %-28s  %s%s\n", (unsigned long long)g->count, where,
		rule, sl_event_process(&g->first.event, process), g->several ? " and others" : "");
}

void sl_summary_print(const struct sl_summary *s, const struct sl_audit_names *names, size_t max,
		      FILE *out)
{
	struct group **sorted;
	__u64 left = s->rest;
	unsigned said = 0;
	size_t i;

	if (!s->n)
		return;
	sorted = malloc(s->n * sizeof(*sorted));
	if (!sorted)
		return;
	for (i = 0; i < s->n; i++)
		sorted[i] = &s->groups[i];
	qsort(sorted, s->n, sizeof(*sorted), compare);
	fprintf(out, "sluice: %7s  %-36s  %-28s  %s\n", "COUNT", "DESTINATION", "RULE", "PROCESS");
	for (i = 0; i < s->n; i++) {
		if (i < max)
			print_group(sorted[i], names, out);
		else
			left += sorted[i]->count;
	}
	if (left)
		fprintf(out, "sluice: %7llu  to other destinations\n",
			(unsigned long long)left);
	for (i = 0; i < s->n; i++)
		sl_hint(&sorted[i]->first.event, names, &said, out);
	free(sorted);
}

void sl_summary_free(struct sl_summary *s)
{
	if (!s)
		return;
	free(s->groups);
	free(s);
}
