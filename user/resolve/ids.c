// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Ids: counters and begin times belong to (target, id), so an id names one rule.
 * Written ids go first; default ids that meet another get a number behind.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void fail_duplicate(struct sl_resolver *r, const struct sl_rule *rule,
			   const struct sl_rule *other)
{
	bool same_place = rule->pos.file == other->pos.file && rule->pos.line == other->pos.line &&
			  rule->pos.column == other->pos.column;

	if (same_place)
		sl_fail(r, &rule->pos,
			"id \"%s\" stands twice in the policy, because "
			"its file is included twice",
			rule->id);
	else
		sl_fail(r, &rule->pos, "id \"%s\" is that of the rule at %s:%u:%u already",
			rule->id, other->pos.file ? other->pos.file : "<stdin>", other->pos.line,
			other->pos.column);
}

static bool of_the_gate(const struct sl_resolver *r, const char *id)
{
	static const char *const ids[] = {"dns-resolver", "dns-gate", "dns-search"};

	for (size_t i = 0; r->out->has_dns && i < sizeof(ids) / sizeof(*ids); i++)
		if (!strcmp(id, ids[i]))
			return true;
	return false;
}

static int take_written(struct sl_resolver *r, struct sl_strtab *ids)
{
	for (size_t i = 0; r->any_written_id && i < r->out->n_items; i++) {
		struct sl_rule *rule = r->out->items[i].rule;
		struct sl_strtab_entry *entry;

		if (!rule->id_written)
			continue;
		entry = sl_strtab_find(ids, rule->id);
		if (of_the_gate(r, rule->id))
			sl_fail(r, &rule->pos,
				"id \"%s\" belongs to the gate that "
				"\"dns\" or a rule by name makes",
				rule->id);
		else if (entry)
			fail_duplicate(r, rule, entry->value);
		else if (sl_strtab_add(ids, rule->id, rule))
			return -ENOMEM;
	}
	return 0;
}

/* The next number for a default id, kept with the id: a million equal rules
 * must not count from 2 each. */
static int number_id(struct sl_strtab *ids, struct sl_strtab *counts, struct sl_rule *rule)
{
	struct sl_strtab_entry *count = sl_strtab_find(counts, rule->id);
	uintptr_t next = count ? (uintptr_t)count->value : 2;
	const char *base = count ? count->key : rule->id;
	char *id;

	for (;; next++) {
		if (asprintf(&id, "%s-%zu", base, (size_t)next) < 0)
			return -ENOMEM;
		if (!sl_strtab_find(ids, id))
			break;
		free(id);
	}
	if (count) {
		count->value = (void *)(next + 1);
	} else {
		/* The key must outlive this rule's id. */
		base = sl_strtab_find(ids, rule->id)->key;
		if (sl_strtab_add(counts, base, (void *)(next + 1))) {
			free(id);
			return -ENOMEM;
		}
	}
	sl_rule_set_id(rule, id);
	return 0;
}

#define AHEAD 16	/* rules whose ids are on their way */

static int take_default(struct sl_resolver *r, struct sl_strtab *ids)
{
	struct sl_item *items = r->out->items;
	size_t n = r->out->n_items;
	struct sl_strtab counts = {0};
	__u64 hashes[AHEAD] = {0};
	int err = 0;

	for (size_t i = 0; !err && i < n + AHEAD; i++) {
		struct sl_rule *rule = i < AHEAD ? NULL : items[i - AHEAD].rule;
		__u64 hash = rule ? hashes[i % AHEAD] : 0;
		bool taken;

		if (i < n)
			hashes[i % AHEAD] = sl_strtab_expect(ids, items[i].rule->id);
		if (!rule || rule->id_written)
			continue;
		err = sl_strtab_put(ids, rule->id, hash, rule, &taken);
		if (err || !taken)
			continue;
		err = number_id(ids, &counts, rule);
		if (!err)
			err = sl_strtab_add(ids, rule->id, rule);
	}
	sl_strtab_free(&counts);
	return err;
}

int sl_ids_assign(struct sl_resolver *r)
{
	struct sl_strtab ids = {0};
	int err = sl_strtab_reserve(&ids, r->out->n_items);

	if (!err)
		err = take_written(r, &ids);
	if (!err)
		err = take_default(r, &ids);
	sl_strtab_free(&ids);
	return err;
}
