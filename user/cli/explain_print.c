// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice explain: what it found, for people and as JSON. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "explain.h"
#include "output.h"
#include "policy/text.h"

#define RULE_TEXT_MAX 120	/* bytes of a rule's text that are shown to people */

/* ---- text ---- */

static void put_rule_text(const struct sl_rule *rule)
{
	char *text = rule ? sl_rule_canonical(rule) : NULL;

	if (!text)
		return;
	fputs(": ", stdout);
	if (strlen(text) > RULE_TEXT_MAX)
		strcpy(text + RULE_TEXT_MAX - 3, "...");
	sl_put_text(text, stdout);
	free(text);
}

static void print_decision(const struct sl_loaded *loaded, const struct sl_answer *a)
{
	const struct sl_rule_info *info;
	size_t cursor = 0;

	fputs(a->deny ? "denied" : "allowed", stdout);
	if (a->rule == SL_NONE) {
		if (a->reason == SL_REASON_DEFAULT)
			printf(": no rule matches, and the default is %s\n",
			       a->deny ? "deny" : "allow");
		else
			printf(": %s\n", sl_reason_text(a->reason));
		return;
	}
	info = &loaded->compiled.rules[a->rule];
	printf(" by rule %s (", info->id);
	sl_put_place(&info->pos, stdout);
	putchar(')');
	if (info->rule)
		put_rule_text(sl_written_rule(loaded, a->rule, &cursor));
	else if (info->reason != SL_REASON_RULE)
		printf(": %s", sl_reason_text(info->reason));
	putchar('\n');
	if (info->rule && info->rule->reason) {
		fputs("reason: ", stdout);
		sl_put_text(info->rule->reason, stdout);
		putchar('\n');
	}
}

/* The question for the name that owns the address, and by which pattern. */
static void print_question(const struct sl_explained *x)
{
	const struct sl_answer *a = &x->asked.question;
	struct sl_match pattern = {.hosts = (struct sl_host *)x->pattern, .n_hosts = 1};
	char *text;

	printf("question for %s: ", x->asked.owner);
	if (a->rule == SL_NONE && !a->deny)
		puts("allowed: no rule names it, and any name may be asked (queries: any); what is "
		     "answered teaches nothing");
	else if (!a->deny && !x->pattern)
		puts("allowed by dns-search: an allowed name with a search domain behind it; what "
		     "is answered teaches nothing");
	else
		print_decision(x->loaded, a);
	text = x->pattern ? sl_match_canonical(&pattern) : NULL;
	if (text)
		printf("  its pattern: %s\n", text);
	free(text);
}

static void print_notes(const struct sl_asked *asked)
{
	char buf[SL_CIDR_TEXT];

	if (!asked->flow->name && asked->judged.family != asked->flow->address.family)
		printf("the address embeds %s and is judged as that\n",
		       sl_cidr_format(&asked->judged, buf));
	if (asked->answer.flags & SL_F_AUDIT)
		fputs("mode is audit: what the policy denies is reported, and passes\n", stdout);
}

struct widths {
	int number, id, place;
};

static void widen(int *width, const char *text)
{
	int n = text ? (int)strlen(text) : 0;

	if (n > *width)
		*width = n;
}

static struct widths measure(const struct sl_loaded *loaded, __u32 first, __u32 end)
{
	struct widths w = {};
	char number[16], *place;

	for (__u32 i = first; i < end; i++) {
		place = sl_place(&loaded->compiled.rules[i].pos);
		widen(&w.id, loaded->compiled.rules[i].id);
		widen(&w.place, place);
		free(place);
	}
	snprintf(number, sizeof(number), "%u", end - first);
	widen(&w.number, number);
	return w;
}

static void print_before(const struct sl_loaded *loaded, const struct sl_asked *asked,
			 __u32 first, __u32 end)
{
	struct widths w = measure(loaded, first, end);
	struct sl_considered considered;
	char *place, *why;
	size_t cursor = 0;

	if (first == end)
		return;
	puts(asked->answer.rule == SL_NONE ? "rules that do not match:" : "before it:");
	for (__u32 i = first; i < end; i++) {
		considered = sl_consider(loaded, i, asked);
		why = sl_why_text(loaded, i, sl_written_rule(loaded, i, &cursor), &considered,
				  asked);
		place = sl_place(&loaded->compiled.rules[i].pos);
		printf("  %*u  %-*s  %-*s  ", w.number, i - first + 1, w.id,
		       loaded->compiled.rules[i].id, w.place, place ? place : "?");
		sl_put_text(why ? why : "out of memory", stdout);
		putchar('\n');
		free(why);
		free(place);
	}
}

void sl_explain_text(const struct sl_explained *x)
{
	if (x->asked.owner)
		print_question(x);
	if (x->asked.connects) {
		if (x->asked.flow->name)
			fputs("connection to an address that it alone owns: ", stdout);
		else if (x->asked.owner)
			fputs("connection: ", stdout);
		print_decision(x->loaded, &x->asked.answer);
	}
	print_notes(&x->asked);
	print_before(x->loaded, &x->asked, x->first, x->end);
}

/* ---- JSON ---- */

static json_t *flow_json(const struct sl_asked *asked)
{
	const struct sl_test *flow = asked->flow;
	bool icmp = flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6;
	const char *protocol = sl_protocol_name(flow->protocol);
	char address[SL_CIDR_TEXT], judged[SL_CIDR_TEXT];

	if (flow->question_only)
		return json_null();
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "direction", asked->inbound ? "ingress" : "egress",
			 "name", sl_json_text(asked->owner),
			 "address", flow->name ? json_null()
				    : json_string(sl_cidr_format(&flow->address, address)),
			 "judged_as", !asked->connects ? json_null()
				      : json_string(sl_cidr_format(&asked->judged, judged)),
			 "family", flow->name ? json_null() : json_integer(flow->address.family),
			 "protocol", protocol ? json_string(protocol)
					      : sl_json_number(flow->protocol),
			 "port", flow->port ? sl_json_number(flow->port) : json_null(),
			 "icmp", icmp ? json_pack("{s:i, s:i}", "type", flow->icmp_type, "code",
						  flow->icmp_code) : json_null(),
			 "uid", flow->has_uid ? sl_json_number(flow->uid) : json_null());
}

static json_t *considered_json(const struct sl_loaded *loaded, const struct sl_asked *asked,
			       __u32 first, __u32 end)
{
	struct sl_considered considered;
	json_t *list = json_array();
	size_t cursor = 0;
	char *why;

	for (__u32 i = first; i < end; i++) {
		considered = sl_consider(loaded, i, asked);
		why = sl_why_text(loaded, i, sl_written_rule(loaded, i, &cursor), &considered,
				  asked);
		json_array_append_new(list, json_pack("{s:o, s:o, s:b, s:o}", "rule",
				      sl_json_text(loaded->compiled.rules[i].id), "position",
				      sl_json_position(&loaded->compiled.rules[i].pos),
				      "matched", 0, "why", sl_json_text(why)));
		free(why);
	}
	return list;
}

static json_t *position_json(const struct sl_loaded *loaded, const struct sl_answer *a)
{
	return a->rule < loaded->compiled.n_rules
		       ? sl_json_position(&loaded->compiled.rules[a->rule].pos)
		       : json_null();
}

static json_t *question_json(const struct sl_explained *x)
{
	const struct sl_answer *a = &x->asked.question;
	struct sl_match pattern = {.hosts = (struct sl_host *)x->pattern, .n_hosts = 1};
	char *text = x->pattern ? sl_match_canonical(&pattern) : NULL;
	json_t *object;

	if (!x->asked.owner)
		return json_null();
	object = json_pack("{s:s, s:s, s:o, s:s, s:o, s:o}", "name", x->asked.owner,
			   "verdict", a->deny ? "deny" : "allow",
			   "rule", sl_json_text(sl_answer_rule(x->loaded, a)),
			   "reason", sl_reason_word(a->reason),
			   "pattern", sl_json_text(text),
			   "position", position_json(x->loaded, a));
	free(text);
	return object;
}

void sl_explain_json(const struct sl_explained *x)
{
	const struct sl_answer *a = &x->asked.answer;

	sl_json_print(json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:o, s:o}",
				"verdict", a->deny ? "deny" : "allow",
				"rule", sl_json_text(sl_answer_rule(x->loaded, a)),
				"reason", sl_reason_word(a->reason),
				"position", position_json(x->loaded, a),
				"mode", a->flags & SL_F_AUDIT ? "audit" : "enforce",
				"question", question_json(x),
				"flow", flow_json(&x->asked),
				"considered", considered_json(x->loaded, &x->asked, x->first,
							      x->end)));
}
