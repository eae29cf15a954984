// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What rules by name say that their author may not mean. */
#include <netinet/in.h>
#include <string.h>

#include "internal.h"

/* A name that the pattern covers and none that is more specific: no pattern has this
 * label. */
static const char *name_of(const struct sl_host *host, char buf[SL_PATTERN_BYTES])
{
	if (host->kind == SL_HOST_NAME)
		return host->text;
	snprintf(buf, SL_PATTERN_BYTES, "\001%s%s", host->text ? "." : "",
		 host->text ? host->text : "");
	return buf;
}

void ask_names(const struct sl_compiled *compiled, const struct entry *e, struct sl_question *q,
	       struct sl_answer *answer)
{
	char buf[SL_PATTERN_BYTES];
	const char *name = name_of(sl_match_name(e->names), buf);

	if (!sl_names_question(compiled, name, 0, answer) || answer->deny ||
	    compiled->rules[e->rule].action == SL_DENY)
		return;
	sl_names_connection(compiled, q, &name, 1, answer);
}

/* The rule by address, before this one, that denies what it allows; SL_NONE. places: an
 * address of each family. */
static __u32 denied_by(const struct compiler *c, const struct sl_compiled *compiled,
		       const struct entry *e, const struct sl_question places[2])
{
	struct sl_answer v4 = {}, v6 = {};
	struct sl_question q;

	for (int i = 0; i < 2; i++) {
		q = places[i];
		q.protocol = e->keys[0].low >> 16;
		q.key = (__u16)e->keys[0].low;
		q.has_uid = e->n_uids > 0;
		q.uid = e->n_uids ? e->uids[0].number : 0;
		ask_names(compiled, e, &q, i ? &v6 : &v4);
	}
	if (!v4.deny || !v6.deny || v4.rule >= e->rule || v6.rule >= e->rule ||
	    (c->rules[v4.rule].rule && sl_rule_name(c->rules[v4.rule].rule)))
		return SL_NONE;
	return v4.rule;
}

static bool has_every_name(const struct sl_match *match)
{
	size_t i;

	for (i = 0; i < match->n_hosts; i++)
		if (match->hosts[i].kind == SL_HOST_EVERY_NAME)
			return true;
	return false;
}

/* The record that carries the keys of an Encrypted ClientHello (RFC 9460). */
#define TYPE_HTTPS 65

static bool gets_keys(const struct sl_policy *p)
{
	size_t i;

	if (p->dns.forward && (p->dns.strip & SL_STRIP_ECH))
		return false;
	for (i = 0; i < p->dns.n_types; i++)
		if (p->dns.types[i] == TYPE_HTTPS)
			return true;
	return !p->dns.n_types; /* the default has it */
}

static void review_servers(struct compiler *c)
{
	size_t i;

	for (i = 0; i < c->n_rules; i++) {
		if (c->rules[i].sni == SL_SNI_OFF || !gets_keys(c->policy))
			continue;
		sl_warn(c->diag, &c->rules[i].pos,
			"rule '%s' looks at servers' names, which clients hide "
			"if an HTTPS record gives them a key: `dns: {types: [A, AAAA, CNAME]}` "
			"keeps those records from them, `dns: {mode: forward, strip: [ech]}` the key",
			c->rules[i].id);
		return;
	}
}

/* Docker's resolver has a second port, which the gate does not know (docs/names.md,
 * "Stubs"). Which one is not known here: any that is reached will do. */
static void review_stub(struct compiler *c, const struct sl_compiled *compiled)
{
	static const struct sl_cidr docker = {.addr = {127, 0, 0, 11}, .family = 4, .len = 32};
	struct sl_question q = {.protocol = IPPROTO_UDP, .key = 40000};
	struct sl_answer answer;
	bool there = false;
	size_t i;

	for (i = 0; i < c->policy->n_resolvers; i++)
		there |= !memcmp(&c->policy->resolvers[i], &docker, sizeof(docker));
	sl_question_address(&q, &docker);
	if (!there || !sl_table_judge(&compiled->table, &q, &answer) || answer.deny)
		return;
	sl_warn(c->diag, &c->policy->pos,
		"the resolver 127.0.0.11 is Docker's, which answers at another "
		"port too, where no question is judged: put `- deny: 127.0.0.11` before the rule "
		"that allows loopback (questions pass nevertheless)");
}

static void review_entry(struct compiler *c, const struct sl_compiled *compiled,
			 const struct entry *e, const struct sl_question places[2])
{
	const struct sl_rule_info *rule = &c->rules[e->rule];
	__u32 by = denied_by(c, compiled, e, places);

	if (by != SL_NONE)
		sl_warn(c->diag, &rule->pos,
			"rule '%s' lets names be asked, but '%s' in line %u "
			"comes before it and denies the connections",
			rule->id, c->rules[by].id, c->rules[by].pos.line);
	if (!c->queries_any && !c->policy->limits.dns_interval_ns && has_every_name(e->names))
		sl_warn(c->diag, &rule->pos,
			"rule '%s' lets every name be asked, and a name can "
			"carry data to whoever answers for it: `limits: {dns: 20/s}` bounds how "
			"much",
			rule->id);
}

void review_names(struct compiler *c, const struct sl_compiled *compiled)
{
	struct sl_question places[2] = {};
	size_t i;

	review_servers(c);
	review_stub(c, compiled);
	if (!c->names.n)
		return;	/* to find the places takes a walk over all ranges */
	if (!sl_table_common_address(&compiled->table, 4, &places[0]) ||
	    !sl_table_common_address(&compiled->table, 6, &places[1]))
		return;
	for (i = 0; i < c->n_entries; i++) {
		const struct entry *e = &c->entries[i];

		if (e->names && !e->quic && c->rules[e->rule].action == SL_ALLOW &&
		    c->reached[e->rule])
			review_entry(c, compiled, e, places);
	}
}
