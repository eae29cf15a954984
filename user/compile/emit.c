// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From ranges, classes, rows, ports and decisions to the words of a table. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define TABLE_BYTES_MAX (SL_TABLE_WORDS_MAX * sizeof(__u64))
/* A pattern is at most two nodes of the trie, of 304 bytes each, which the kernel's
 * allocator rounds up to 512. Measured on 6.18: 1,020 bytes a pattern of 20,000. */
#define PATTERN_COST 1024

/* Final decision ids ascend with the rule number, and among those of a rule with the id;
 * rank[id] is the final one. */
static __u32 *rank_chains(const struct compiler *c)
{
	__u32 *next = calloc(c->n_rules + 1, sizeof(*next)); /* id of each rule's next decision */
	__u32 *rank = malloc((c->n_chains + 1) * sizeof(*rank)), sum = 0, count;
	size_t i;

	if (!next || !rank) {
		free(next);
		free(rank);
		return NULL;
	}
	for (i = 0; i < c->n_chains; i++)
		next[chain_rule(c, i)]++;
	for (i = 0; i < c->n_rules; i++) {
		count = next[i];
		next[i] = sum;
		sum += count;
	}
	for (i = 0; i < c->n_chains; i++)
		rank[i] = next[chain_rule(c, i)]++;
	free(next);
	return rank;
}

/* Classes whose row and flags are equal are one; returns how many are left. A row's position is
 * its own: the classes that have it are a list, as long as there are different flags. */
static int unite_classes(struct compiler *c, __u32 *number, size_t *n)
{
	__u32 *of_row = malloc((c->rows.words.n + 1) * sizeof(*of_row)), k;
	__u32 *next = malloc((c->n_classes + 1) * sizeof(*next));
	int err = of_row && next ? 0 : -ENOMEM;
	struct class *class;
	size_t i;

	*n = 0;
	if (!err)
		memset(of_row, 0xff, c->rows.words.n * sizeof(*of_row));
	for (i = 0; !err && i < c->n_classes; i++) {
		class = &c->classes[i];
		for (k = of_row[class->row]; k != SL_NONE; k = next[k])
			if (c->classes[k].row_flags == class->row_flags)
				break;
		class->same_as = k == SL_NONE ? i : k;
		number[i] = k == SL_NONE ? (*n)++ : number[k];
		if (k == SL_NONE) {
			next[i] = of_row[class->row];
			of_row[class->row] = i;
		}
	}
	free(next);
	free(of_row);
	return err;
}

/* Renumbers the classes of a family's ranges and merges equal neighbours. */
static size_t unite_ranges(struct words *w, size_t stride, const __u32 *number)
{
	size_t i, k, out = 0, class_at = stride - 1;
	__u32 class, last = SL_NONE;

	for (i = 0; i < w->n; i += stride) {
		class = number[(__u32)w->v[i + class_at]];
		if (class == last)
			continue;
		for (k = 0; k < stride; k++)
			w->v[out + k] = w->v[i + k];
		w->v[out + class_at] = (w->v[out + class_at] & ~0xffffffffull) | class;
		out += stride;
		last = class;
	}
	w->n = out;
	return out / stride;
}

static __u32 log_flags(enum sl_log log)
{
	return log == SL_LOG_ALL ? SL_F_LOG_ALL : log == SL_LOG_NONE ? SL_F_LOG_NONE : 0;
}

/* The way to a resolver is no event of its own: its questions are. */
static __u32 decision_log(const struct compiler *c, const struct sl_rule_info *rule)
{
	if (rule->log)
		return log_flags(rule->log);
	if (rule->reason == SL_REASON_DNS_RESOLVER && c->policy->log == SL_LOG_ALL)
		return 0;
	return log_flags(c->policy->log);
}

static __u64 table_flags(const struct compiler *c)
{
	const struct sl_policy *p = c->policy;
	__u64 flags = 0;
	size_t i;

	if (p->mode == SL_MODE_AUDIT)
		flags |= SL_F_AUDIT;
	if (p->default_action == SL_ALLOW)
		flags |= SL_F_DEFAULT_ALLOW;
	if (p->on_deny == SL_DROP)
		flags |= SL_F_DROP;
	if (p->inbound == SL_INBOUND_ALLOW)
		flags |= SL_F_INBOUND_ALLOW;
	flags |= log_flags(p->log);
	if (c->n_uids)
		flags |= SL_F_UIDS;
	for (i = 0; i < c->n_rules; i++)
		if (c->deadlines[i])
			flags |= SL_F_DEADLINES;
	if (p->fragments_first)
		flags |= SL_F_FRAGMENTS;
	if (p->device.arp_deny)
		flags |= SL_F_ARP_DENY;
	if (p->device.nd_deny)
		flags |= SL_F_ND_DENY;
	if (p->device.dhcp_deny)
		flags |= SL_F_DHCP_DENY;
	if (p->has_dns)
		flags |= SL_F_NAMES | (c->queries_any ? SL_F_QUERIES_ANY : 0) |
			 (c->policy->dns.forward ? SL_F_FORWARD : 0);
	return flags;
}

static int write_classes(struct compiler *c, struct words *t, size_t n_classes, size_t rows_at)
{
	const struct class *class;
	size_t i, written = 0;

	for (i = 0; i < c->n_classes; i++) {
		class = &c->classes[i];
		if (class->same_as != i)
			continue;
		if (words_push(t, (__u64)class->row_flags << 32 | (class->row + rows_at)))
			return -ENOMEM;
		written++;
	}
	return written == n_classes ? 0 : -EINVAL;
}

static int write_uids(const struct compiler *c, struct words *t)
{
	size_t i;

	for (i = 0; i < c->n_uids; i++)
		if (words_push(t, (__u64)c->uids[i] << 32 | c->uid_view[i]))
			return -ENOMEM;
	return 0;
}

static int write_rows(const struct compiler *c, struct words *t, size_t ports_at)
{
	size_t i;
	__u64 word;

	for (i = 0; i < c->rows.words.n; i++) {
		word = c->rows.words.v[i];
		if (words_push(t, word ? word + ports_at : 0))
			return -ENOMEM;
	}
	return 0;
}

static int write_ports(const struct compiler *c, struct words *t, const __u32 *rank)
{
	size_t i;
	__u64 word;
	__u32 id;

	for (i = 0; i < c->ports.words.n; i++) {
		word = c->ports.words.v[i];
		id = (__u32)word;
		if (id != SL_NONE)
			word = (word & ~0xffffffffull) | rank[id];
		if (words_push(t, word))
			return -ENOMEM;
	}
	return 0;
}

static __u64 decision_flags(const struct compiler *c, __u32 id)
{
	const struct sl_rule_info *info = &c->rules[chain_rule(c, id)];
	__u64 flags = (info->action == SL_DENY ? SL_D_DENY : 0) |
		      decision_log(c, info) / SL_F_LOG_ALL << SL_D_LOG_SHIFT;

	if (chain_decider(c, id) & CHAIN_QUIC)
		return flags | SL_D_DENY | SL_REASON_SNI_QUIC << SL_D_REASON_SHIFT;
	if (info->sni == SL_SNI_VERIFY)
		flags |= SL_D_SNI_VERIFY;
	if (info->sni == SL_SNI_OBSERVE)
		flags |= SL_D_SNI_OBSERVE;
	return flags | (__u64)info->reason << SL_D_REASON_SHIFT;
}

static int write_decisions(const struct compiler *c, struct words *t, const __u32 *rank)
{
	size_t at = t->n, i;
	__u64 *d;

	if (words_fill(t, SL_DECISION_WORDS * c->n_chains, 0))
		return -ENOMEM;
	for (i = 0; i < c->n_chains; i++) {
		__u32 otherwise = chain_otherwise(c, i);

		d = t->v + at + SL_DECISION_WORDS * (size_t)rank[i];
		d[SL_D_RULE] = decision_flags(c, i) << 32 | chain_rule(c, i);
		d[SL_D_DEADLINE] = c->chains[2 * i + 1];
		d[SL_D_OTHERWISE] = otherwise == SL_NONE ? SL_NONE : rank[otherwise];
	}
	return 0;
}

int pad(struct words *t)
{
	while (t->n % SL_CHUNK_WORDS)
		if (words_push(t, 0))
			return -ENOMEM;
	return 0;
}

static int pad_page(struct words *t)
{
	while (t->n % SL_PAGE_WORDS)
		if (words_push(t, 0))
			return -ENOMEM;
	return 0;
}

#define LABEL_WORDS 2	/* of most rules: a default id */

/* Room for what is large, so that the table need not be copied as it grows. */
static int reserve(const struct compiler *c, size_t n_classes, size_t n4, size_t n6,
		   struct words *t)
{
	return words_reserve(t, SL_PAGE_WORDS + n_classes + c->n_uids + c->rows.words.n +
				c->ports.words.n + SL_DECISION_WORDS * c->n_chains +
				LABEL_WORDS * c->n_rules +
				SL_V4_GROUPS(n4) * (SL_CHUNK_WORDS + 1) +
				SL_V6_BLOCKS(n6) * (SL_V6_BLOCK_WORDS + 2));
}

/* What each verdict reads comes first, and the ranges, which are many, last. */
static int write_table(struct compiler *c, const __u32 *rank, size_t n_classes, size_t n4,
		       size_t n6, struct words *t)
{
	__u64 h[SL_HEADER_WORDS] = {SL_TABLE_MAGIC, c->options->generation, table_flags(c)};
	size_t rows_at, ports_at;

	if (reserve(c, n_classes, n4, n6, t) || words_append(t, h, SL_HEADER_WORDS))
		return -ENOMEM;
	h[SL_H_CLASSES] = section(n_classes, t->n);
	h[SL_H_UIDS] = section(c->n_uids, t->n + n_classes);
	rows_at = t->n + n_classes + c->n_uids;
	ports_at = rows_at + c->rows.words.n;
	h[SL_H_BASE] = section(c->n_views, rows_at + c->base_row);
	h[SL_H_RULES] = c->n_rules;
	if (write_classes(c, t, n_classes, rows_at) || write_uids(c, t) ||
	    write_rows(c, t, ports_at) || write_ports(c, t, rank) || pad(t))
		return -ENOMEM;
	h[SL_H_DECISIONS] = section(c->n_chains, t->n);
	if (write_decisions(c, t, rank) || pad(t) || write_sections(c, t, h) ||
	    write_ranges4(c, t, n4, h) || write_ranges6(c, t, n6, h) || pad_page(t))
		return -ENOMEM;
	h[SL_H_WORDS] = t->n;
	memcpy(t->v, h, sizeof(h));
	return 0;
}

static int too_many_patterns(struct compiler *c)
{
	if (c->names.n_ask_only)
		sl_error(c->diag, &c->policy->pos, "%zu of the %zu patterns of names are there for "
			 "the %zu search domains: write those that are needed, as "
			 "`dns: {search: []}`", c->names.n_ask_only, c->names.n,
			 c->policy->dns.n_search);
	return too_large(c, "64 MiB for the compiled table and its patterns of names");
}

int emit(struct compiler *c, struct sl_compiled *out)
{
	__u32 *number = malloc((c->n_classes + 1) * sizeof(*number));
	__u32 *rank = rank_chains(c);
	size_t n_classes, n4, n6;
	struct words t = {};
	int err = -ENOMEM;
	size_t i;

	if (number && rank && !unite_classes(c, number, &n_classes)) {
		n4 = unite_ranges(&c->v4, 1, number);
		n6 = unite_ranges(&c->v6, 3, number);
		err = n_classes > SL_CLASSES_MAX ? too_large(c, "65,535 address classes") :
						   write_table(c, rank, n_classes, n4, n6, &t);
	}
	if (!err && t.n > SL_TABLE_WORDS_MAX)
		err = too_large(c, "64 MiB for the compiled table");
	else if (!err && t.n * sizeof(__u64) + c->names.n * PATTERN_COST > TABLE_BYTES_MAX)
		err = too_many_patterns(c);
	if (!err)
		err = emit_patterns(c, number, out);
	for (i = c->first_name_class; !err && i < c->n_classes; i++)
		out->n_name_classes += c->classes[i].same_as == i;
	free(number);
	free(rank);
	if (err) {
		words_free(&t);
		return err;
	}
	out->table = (struct sl_table){.words = t.v, .n_words = t.n, .patterns = out->patterns,
				       .n_patterns = out->n_patterns};
	out->n_ranges4 = n4;
	out->n_ranges6 = n6;
	out->n_classes = n_classes;
	return 0;
}
