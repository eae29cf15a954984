// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice explain: which rule decides about a flow, and why not those before it. */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "consider.h"
#include "output.h"
#include "policy/text.h"

#define RULE_TEXT_MAX 120	/* bytes of a rule's text that are shown to people */

struct explain {
	struct sl_resolve_options resolve;
	const char *policy, *destination, *protocol, *icmp, *uid;
	bool inbound, json;
};

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

static void print_decision(const struct sl_loaded *loaded, const struct sl_asked *asked)
{
	const struct sl_answer *a = &asked->answer;
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

static void print_notes(const struct sl_asked *asked)
{
	char buf[SL_CIDR_TEXT];

	if (asked->judged.family != asked->flow->address.family)
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

/* ---- JSON ---- */

static json_t *flow_json(const struct sl_asked *asked)
{
	const struct sl_test *flow = asked->flow;
	bool icmp = flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6;
	const char *protocol = sl_protocol_name(flow->protocol);
	char address[SL_CIDR_TEXT], judged[SL_CIDR_TEXT];

	return json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o}",
			 "direction", asked->inbound ? "ingress" : "egress",
			 "address", sl_cidr_format(&flow->address, address),
			 "judged_as", sl_cidr_format(&asked->judged, judged),
			 "family", flow->address.family,
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

static void print_json(const struct sl_loaded *loaded, const struct sl_asked *asked,
		       __u32 first, __u32 end)
{
	const struct sl_answer *a = &asked->answer;
	const struct sl_rule_info *info =
		a->rule == SL_NONE ? NULL : &loaded->compiled.rules[a->rule];

	sl_json_print(json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:o}",
				"verdict", a->deny ? "deny" : "allow",
				"rule", sl_json_text(info ? info->id : NULL),
				"reason", sl_reason_word(a->reason),
				"position", info ? sl_json_position(&info->pos) : json_null(),
				"mode", a->flags & SL_F_AUDIT ? "audit" : "enforce",
				"flow", flow_json(asked),
				"considered", considered_json(loaded, asked, first, end)));
}

/* ---- the question ---- */

static int read_uid(const char *text, struct sl_test *flow)
{
	struct passwd *user;
	__u64 number;

	if (sl_text_number(text, strlen(text), 4294967294u, &number)) {
		flow->uid = number;
	} else {
		user = getpwnam(text);
		if (!user)
			return sl_usage("explain", "--uid '%s' is no user of this host, and no "
					"number from 0 to 4294967294", text);
		flow->uid = user->pw_uid;
	}
	flow->has_uid = true;
	return 0;
}

/* TYPE or TYPE:CODE. */
static int read_icmp(const char *text, struct sl_test *flow)
{
	size_t len = strcspn(text, ":");
	__u64 type, code = 0;

	if (!sl_text_number(text, len, 255, &type) ||
	    (text[len] && !sl_text_number(text + len + 1, strlen(text + len + 1), 255, &code)))
		return sl_usage("explain", "--icmp is TYPE or TYPE:CODE, not '%s'", text);
	if (flow->protocol != IPPROTO_ICMP && flow->protocol != IPPROTO_ICMPV6)
		return sl_usage("explain", "--icmp goes with the protocols icmp and icmpv6");
	flow->icmp_type = type;
	flow->icmp_code = code;
	return 0;
}

static int parse_flow(const struct explain *e, struct sl_test *flow)
{
	char *text = NULL;
	struct sl_diag diag = {};
	int err;

	if (asprintf(&text, "%s%s%s", e->destination, e->protocol ? "/" : "",
		     e->protocol ? e->protocol : "") < 0)
		return -ENOMEM;
	err = sl_flow_parse(text, (struct sl_pos){}, flow, &diag);
	free(text);
	for (size_t i = 0; i < diag.n; i++) {
		fputs("sluice explain: ", stderr);
		sl_put_text(e->destination, stderr);
		fputs(": ", stderr);
		sl_put_text(diag.entries[i].message, stderr);
		putc('\n', stderr);
	}
	sl_diag_free(&diag);
	return err;
}

/* ADDRESS/NUMBER would be read as a protocol number; a prefix was meant. */
static bool is_prefix(const char *text)
{
	const char *slash = strchr(text, '/');
	__u64 number;

	return slash && !strchr(text, '[') &&
	       sl_text_number(slash + 1, strlen(slash + 1), 255, &number) &&
	       !sl_cidr_parse(text, (size_t)(slash - text), &(struct sl_cidr){}, NULL);
}

static int read_flow(const struct explain *e, struct sl_test *flow)
{
	int status;

	if (is_prefix(e->destination))
		return sl_usage("explain", "'%s' is a prefix: one address is wanted (a protocol's "
				"number goes with --proto %s)", e->destination,
				strchr(e->destination, '/') + 1);
	if (e->protocol && strchr(e->destination, '/'))
		return sl_usage("explain", "'%s' names a protocol, and so does --proto '%s'",
				e->destination, e->protocol);
	if (parse_flow(e, flow))
		return SL_EXIT_USAGE;
	status = e->uid ? read_uid(e->uid, flow) : 0;
	if (!status && e->icmp)
		status = read_icmp(e->icmp, flow);
	if (!status && e->inbound && flow->has_uid)
		status = sl_usage("explain", "an inbound flow has no --uid");
	return status;
}

/* The table decides; the rules as text must say the same. */
static int answer(const struct explain *e, const struct sl_loaded *loaded,
		  const struct sl_test *flow)
{
	struct sl_asked asked;
	__u32 match, first, end;

	sl_ask(loaded, flow, e->inbound, &asked);
	match = sl_consider_all(loaded, &asked);
	if (!sl_consider_agrees(loaded, &asked, match)) {
		fprintf(stderr, "sluice explain: internal error: the table says %s (%s, rule %s), "
			"the rules say otherwise (rule %s): please report it\n",
			asked.answer.deny ? "deny" : "allow",
			sl_reason_word(asked.answer.reason),
			asked.answer.rule == SL_NONE ? "none" : sl_asked_rule(loaded, &asked),
			match == SL_NONE ? "none" : loaded->compiled.rules[match].id);
		return SL_EXIT_FAILED;
	}
	sl_consider_range(loaded, e->inbound, &first, &end);
	if (asked.answer.rule != SL_NONE)
		end = asked.answer.rule;
	if (e->json) {
		print_json(loaded, &asked, first, end);
		return SL_EXIT_OK;
	}
	print_decision(loaded, &asked);
	print_notes(&asked);
	print_before(loaded, &asked, first, end);
	return SL_EXIT_OK;
}

static int explain(const struct explain *e)
{
	struct sl_test flow = {};
	struct sl_loaded loaded;
	int status = read_flow(e, &flow);

	if (!status) {
		status = sl_load_quietly(e->policy, &e->resolve, 1, true, &loaded);
		if (status)
			sl_diag_print(&loaded.diag, stderr);
		else
			status = answer(e, &loaded, &flow);
		sl_loaded_free(&loaded);
	}
	sl_test_clear(&flow);
	return status;
}

static const struct option options[] = {
	{"policy", required_argument, NULL, 'p'},
	{"uid", required_argument, NULL, 'u'},
	{"proto", required_argument, NULL, 'P'},
	{"icmp", required_argument, NULL, 'i'},
	{"inbound", no_argument, NULL, 'I'},
	{"output", required_argument, NULL, 'o'},
	{"trust-clock", no_argument, NULL, 't'},
	{"help", no_argument, NULL, 'h'},
	{},
};

/* True if the option was one of ours and its value is right. */
static bool take_option(struct explain *e, int c)
{
	switch (c) {
	case 'p':
		e->policy = optarg;
		return true;
	case 'u':
		e->uid = optarg;
		return true;
	case 'P':
		e->protocol = optarg;
		return true;
	case 'i':
		e->icmp = optarg;
		return true;
	case 'I':
		e->inbound = true;
		return true;
	case 't':
		e->resolve.trust_clock = true;
		return true;
	default:
		return false;
	}
}

int cmd_explain(int argc, char **argv)
{
	struct explain e = {};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":p:o:h", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("explain");
		if (c == 'o') {
			if (!sl_output_option(optarg, &e.json))
				return sl_usage("explain", "-o is text or json, not '%s'", optarg);
		} else if (!take_option(&e, c)) {
			return sl_option_wrong("explain", c, argv);
		}
	}
	if (!e.policy)
		return sl_usage("explain", "which policy? give -p FILE");
	if (argc - optind != 1)
		return sl_usage("explain", optind == argc ? "which DESTINATION?"
							  : "one DESTINATION at a time");
	e.destination = argv[optind];
	return sl_output_done("explain", explain(&e));
}
