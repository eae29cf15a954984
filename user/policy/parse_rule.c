// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The list of rules: each with its match and options, or an include. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "parser.h"
#include "short_rule.h"
#include "text.h"

struct rule_state {
	struct sl_rule *rule;
	struct sl_item *item;
	struct sl_pos uses_pos;
};

static void allow_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct rule_state *state = object;

	state->rule->action = SL_ALLOW;
	sl_matches_read(p, key, state->rule);
}

static void deny_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct rule_state *state = object;

	state->rule->action = SL_DENY;
	sl_matches_read(p, key, state->rule);
}

static void include_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct rule_state *state = object;

	if (!sl_is_text(p, key))
		return;
	if (!p->yaml.scalar_len)
		sl_wrong_value(p, key);
	else
		sl_copy_text(p, key, &state->item->include);
}

static void id_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_rule *rule = ((struct rule_state *)object)->rule;
	unsigned earlier;
	int found;

	if (!sl_copy_name(p, key, &rule->id))
		return;
	rule->id_written = true;
	found = sl_names_add(&p->ids, rule->id, p->yaml.pos.line, &earlier);
	if (found > 0)
		sl_error(p->diag, &p->yaml.pos, "the id \"%s\" is taken by the rule in line %u",
			 rule->id, earlier);
	else if (found < 0)
		sl_parser_no_memory(p);
}

static void reason_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_copy_text(p, key, &((struct rule_state *)object)->rule->reason);
}

static void expires_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_rule *rule = ((struct rule_state *)object)->rule;

	if (!sl_is_text(p, key))
		return;
	rule->expires_pos = p->yaml.pos;
	if (!sl_expires_parse(p->yaml.scalar, p->yaml.scalar_len, rule))
		sl_wrong_value(p, key);
}

static void empty_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"ok", NULL};

	if (!sl_word_read(p, key, words))
		((struct rule_state *)object)->rule->empty_ok = true;
}

static void uses_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct rule_state *state = object;
	__u64 number;

	state->uses_pos = p->yaml.pos;
	if (sl_number_read(p, key, 4294967295u, &number) && !number)
		sl_wrong_value(p, key);
}

static void log_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	((struct rule_state *)object)->rule->log = sl_log_read(p, key);
}

static void sni_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"off", "observe", "verify", NULL};
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		((struct rule_state *)object)->rule->sni = (enum sl_sni)word;
}

static void resolves_to_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"private", NULL};

	if (!sl_word_read(p, key, words))
		((struct rule_state *)object)->rule->resolves_private = true;
}

static sl_value_fn *const rule_values[] = {
	[SL_RULE_ALLOW] = allow_read,
	[SL_RULE_DENY] = deny_read,
	[SL_RULE_INCLUDE] = include_read,
	[SL_RULE_ID] = id_read,
	[SL_RULE_REASON] = reason_read,
	[SL_RULE_EXPIRES] = expires_read,
	[SL_RULE_EMPTY] = empty_read,
	[SL_RULE_USES] = uses_read,
	[SL_RULE_LOG] = log_read,
	[SL_RULE_LIMITS] = sl_rule_limits_read,
	[SL_RULE_SNI] = sni_read,
	[SL_RULE_RESOLVES_TO] = resolves_to_read,
};

/* Includes: nothing stands beside them. */
static void include_check(struct sl_parser *p, const struct sl_map *map,
			  const struct sl_pos *pos)
{
	for (int i = 0; i < SL_RULE_N; i++) {
		if (i == SL_RULE_INCLUDE || !map->lines[i])
			continue;
		sl_error(p->diag, pos, "\"%s\" stands beside \"include\"; an include takes no "
			 "other key", map->table->keys[i].name);
	}
}

/* A server's name can be held against the names of a rule, not against an address. */
static void sni_check(struct sl_parser *p, const struct sl_rule *rule)
{
	size_t i, k;

	if (rule->sni == SL_SNI_OFF)
		return;
	if (rule->action == SL_DENY)
		sl_error(p->diag, &rule->pos, "\"sni\" belongs to an \"allow\" by name");
	for (i = 0; i < rule->n_matches; i++) {
		const struct sl_match *match = &rule->matches[i];
		bool tcp = !match->n_protocols;

		for (k = 0; k < match->n_hosts; k++) {
			if (!sl_host_is_name(&match->hosts[k]))
				sl_error(p->diag, &match->hosts[k].pos, "\"sni\" belongs to an "
					 "\"allow\" by name, and this is none: write it in a rule "
					 "of its own");
		}
		for (k = 0; k < match->n_protocols; k++)
			tcp |= match->protocols[k] == IPPROTO_TCP ||
			       match->protocols[k] == SL_PROTOCOL_ANY;
		if (!tcp)
			sl_error(p->diag, &match->pos, "\"sni\" looks at TCP, which this match "
				 "leaves out");
	}
}

/* What goes together with names. */
static void names_check(struct sl_parser *p, const struct sl_rule *rule)
{
	const struct sl_host *name = sl_rule_name(rule);

	if (rule->resolves_private && (rule->action == SL_DENY || !name))
		sl_error(p->diag, &rule->pos, "\"resolves_to\" belongs to an \"allow\" by name: it "
			 "says which addresses the name may have");
	for (size_t i = 0; i < rule->n_matches && rule->action == SL_DENY; i++) {
		const struct sl_match *match = &rule->matches[i];

		name = sl_match_name(match);
		if (name && (match->n_ports || match->n_protocols || match->has_icmp ||
			     match->n_uids))
			sl_error(p->diag, &name->pos, "a deny by name acts on the question for the "
				 "name, not on addresses, which names share: it takes no ports, "
				 "protocol or uid; write the name alone, in a rule of its own");
	}
}

static void rule_check(struct sl_parser *p, const struct rule_state *state,
		       const struct sl_map *map)
{
	const struct sl_rule *rule = state->rule;
	bool allow = map->lines[SL_RULE_ALLOW], deny = map->lines[SL_RULE_DENY];

	if (p->yaml.type == SL_YAML_END)
		return;
	if (map->lines[SL_RULE_INCLUDE]) {
		include_check(p, map, &rule->pos);
		return;
	}
	if (allow && deny)
		sl_error(p->diag, &rule->pos, "a rule with both \"allow\" and \"deny\"; write two "
			 "rules, the first that matches decides");
	else if (!allow && !deny && !map->faulty)
		sl_error(p->diag, &rule->pos, "a rule wants \"allow\", \"deny\" or \"include\"");
	names_check(p, rule);
	sni_check(p, rule);
	if (rule->expiry == SL_EXPIRES_AFTER && !map->lines[SL_RULE_ID])
		sl_error(p->diag, &rule->expires_pos, "a rule that expires after a duration needs "
			 "an \"id\" of its own, so that its time goes on after a change");
	if (map->lines[SL_RULE_USES] && !map->lines[SL_RULE_ID])
		sl_error(p->diag, &state->uses_pos, "a rule with \"uses\" needs an \"id\" of its "
			 "own, so that its count goes on after a change");
}

static void rule_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_policy *policy = object;
	struct rule_state state = {0};
	struct sl_map map;
	char buf[SL_QUOTE_MAX + 32];

	(void)key;
	if (p->yaml.type != SL_YAML_MAP) {
		sl_error(p->diag, &p->yaml.pos, "a rule is a mapping with \"allow\", \"deny\" or "
			 "\"include\"; found %s", sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
		sl_yaml_skip(&p->yaml);
		return;
	}
	if (sl_short_rule_read(p))
		return;
	state.item = SL_ADD(policy->items, policy->n_items);
	state.rule = calloc(1, sizeof(*state.rule));
	if (!state.item || !state.rule) {
		free(state.rule);
		sl_parser_no_memory(p);
		return;
	}
	state.item->rule = state.rule;
	state.item->pos = state.rule->pos = p->yaml.pos;
	sl_map_read(p, &sl_keys_rule, rule_values, &state, &map);
	rule_check(p, &state, &map);
	if (state.item->include) {
		sl_rule_free(state.rule);
		state.item->rule = NULL;
	}
}

void sl_rules_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, rule_read, object, true);
}
