// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The rules of a file, in their order, into the result. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int copy_string(char **to, const char *from)
{
	if (!from)
		return 0;
	*to = strdup(from);
	return *to ? 0 : -ENOMEM;
}

/* The default id is that of the rule as written: what @gateway is today must
 * not rename the rule. */
static int default_id(const struct sl_rule *src, struct sl_rule *dst)
{
	char id[SL_DEFAULT_ID_BYTES];

	sl_rule_default_id(src, id, sizeof(id));
	return copy_string(&dst->id, id);
}

static int copy_id(const struct sl_rule *src, struct sl_rule *dst)
{
	dst->id_written = src->id_written;
	return src->id ? copy_string(&dst->id, src->id) : default_id(src, dst);
}

static int resolve_matches(struct sl_resolver *r, const struct sl_frame *frame,
			   const struct sl_rule *src, struct sl_rule *dst)
{
	dst->matches = calloc(src->n_matches ? src->n_matches : 1, sizeof(*dst->matches));
	if (!dst->matches)
		return -ENOMEM;
	for (size_t i = 0; i < src->n_matches; i++) {
		struct sl_match *match = &dst->matches[dst->n_matches++];
		int err = sl_match_resolve(r, frame, &src->matches[i], src->empty_ok, match);

		if (err)
			return err;
		/* Every host an empty set: this match covers nothing. */
		if (!match->n_hosts) {
			sl_match_clear(match);
			dst->n_matches--;
		}
	}
	return 0;
}

static int resolve_rule(struct sl_resolver *r, const struct sl_frame *frame,
			const struct sl_rule *src, struct sl_rule **out)
{
	struct sl_rule *dst = calloc(1, sizeof(*dst));
	int err;

	if (!dst)
		return -ENOMEM;
	dst->action = src->action;
	dst->empty_ok = src->empty_ok;
	dst->resolves_private = src->resolves_private;
	dst->sni = src->sni;
	dst->log = src->log;
	dst->pos = src->pos;
	sl_expiry_resolve(r, src, dst);
	err = copy_id(src, dst);
	if (!err)
		err = copy_string(&dst->reason, src->reason);
	if (!err)
		err = resolve_matches(r, frame, src, dst);
	if (err)
		sl_rule_free(dst);
	else
		*out = dst;
	return err;
}

static bool match_stays(const struct sl_match *match)
{
	for (size_t i = 0; i < match->n_hosts; i++)
		if (match->hosts[i].kind == SL_HOST_SET)
			return false;
	for (size_t i = 0; i < match->n_uids; i++)
		if (match->uids[i].kind != SL_UID_NUMBER)
			return false;
	return match->n_hosts;
}

/* Would its resolution be a copy of it? */
static bool rule_stays(const struct sl_rule *rule)
{
	for (size_t i = 0; i < rule->n_matches && !rule->short_form; i++)
		if (!match_stays(&rule->matches[i]))
			return false;
	return rule->expiry == SL_EXPIRES_NEVER;
}

bool sl_rules_stay(const struct sl_policy *policy)
{
	for (size_t i = 0; i < policy->n_items; i++) {
		const struct sl_rule *rule = policy->items[i].rule;

		if (!rule || !rule->n_matches || !rule_stays(rule))
			return false;
		/* what names there are is learned from files of the target, and put to the rule */
		if (!rule->short_form && sl_rule_name(rule))
			return false;
	}
	return true;
}

/* Out of the frame's policy, or lent by it. */
static int take_rule(const struct sl_frame *frame, size_t i, struct sl_rule **out)
{
	struct sl_rule *rule = frame->ours->items[i].rule;
	int err = rule->id ? 0 : sl_rule_take_default_id(rule);

	if (err)
		return err;
	*out = rule;
	if (!frame->lent)
		frame->ours->items[i].rule = NULL;
	return 0;
}

static int add_rule(struct sl_resolver *r, const struct sl_frame *frame, size_t i)
{
	const struct sl_item *item = &frame->policy->items[i];
	struct sl_item *grown;
	struct sl_rule *rule = NULL;
	int err;

	grown = sl_array_grow(r->out->items, r->out->n_items, &r->cap_items, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	r->out->items = grown;
	if (frame->ours && rule_stays(item->rule))
		err = take_rule(frame, i, &rule);
	else
		err = resolve_rule(r, frame, item->rule, &rule);
	if (err)
		return err;
	grown[r->out->n_items++] = (struct sl_item){.rule = rule, .pos = item->pos};
	r->any_name = r->any_name || (!rule->short_form && sl_rule_name(rule));
	r->any_written_id |= rule->id_written;
	r->any_empty |= !rule->n_matches;
	return 0;
}

/* Room for a file's rules: to grow would touch as much memory again. */
static int reserve(struct sl_resolver *r, size_t n)
{
	size_t cap = r->out->n_items + n;
	struct sl_item *grown;

	if (cap <= r->cap_items)
		return 0;
	grown = reallocarray(r->out->items, cap, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	r->out->items = grown;
	r->cap_items = cap;
	return 0;
}

int sl_items_add(struct sl_resolver *r, const struct sl_frame *frame)
{
	int err = reserve(r, frame->policy->n_items);

	for (size_t i = 0; !err && i < frame->policy->n_items; i++) {
		const struct sl_item *item = &frame->policy->items[i];

		err = item->rule ? add_rule(r, frame, i) : sl_include_add(r, frame, item);
	}
	return err;
}
