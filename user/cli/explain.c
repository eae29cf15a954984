// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice explain: which rule decides about a flow, and why not those before it. */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "behind.h"
#include "explain.h"
#include "output.h"
#include "policy/domain.h"
#include "policy/text.h"

struct explain {
	struct sl_resolve_options resolve;
	const char *policy, *device, *destination, *protocol, *icmp, *uid, *owner;
	bool inbound, json;
};

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
	struct sl_test who = {};
	int status;

	if (is_prefix(e->destination))
		return sl_usage("explain", "'%s' is a prefix: one address is wanted (a protocol's "
				"number goes with --proto %s)", e->destination,
				strchr(e->destination, '/') + 1);
	if (e->protocol && strchr(e->destination, '/'))
		return sl_usage("explain", "'%s' names a protocol, and so does --proto '%s'",
				e->destination, e->protocol);
	status = e->uid ? read_uid(e->uid, &who) : 0;
	if (status)
		return status;
	if (parse_flow(e, flow))
		return SL_EXIT_USAGE;
	flow->has_uid = who.has_uid;
	flow->uid = who.uid;
	if (e->icmp)
		status = read_icmp(e->icmp, flow);
	if (!status && e->inbound && flow->has_uid)
		status = sl_usage("explain", "an inbound flow has no --uid");
	if (!status && e->inbound && flow->name)
		status = sl_usage("explain", "'%s' is a name: DNS says where a name can be reached, "
				  "not who calls", flow->name);
	if (!status && flow->question_only && flow->has_uid)
		status = sl_usage("explain", "the question for '%s' has no --uid: give a port too",
				  flow->name);
	return status;
}

static int disagree(const struct sl_loaded *loaded, const struct sl_answer *a, const char *rule)
{
	const char *told = sl_answer_rule(loaded, a);

	fprintf(stderr, "sluice explain: internal error: the table says %s (%s, rule %s), the "
		"rules say otherwise (rule %s): please report it\n", a->deny ? "deny" : "allow",
		sl_reason_word(a->reason), told ? told : "none", rule);
	return SL_EXIT_FAILED;
}

/* The table decides; the rules as text must say the same. */
static int answer(const struct explain *e, const struct sl_loaded *loaded,
		  const struct sl_test *flow, const char *owner)
{
	struct sl_explained x = {.loaded = loaded};
	__u32 match;
	bool agrees;

	sl_ask(loaded, flow, e->inbound, owner, &x.asked);
	if (x.asked.owner) {
		x.pattern = sl_consider_question(loaded, &x.asked, &agrees);
		if (!agrees)
			return disagree(loaded, &x.asked.question, "of the question");
	}
	if (x.asked.connects) {
		match = sl_consider_all(loaded, &x.asked);
		if (!sl_consider_agrees(loaded, &x.asked, match))
			return disagree(loaded, &x.asked.answer,
					match == SL_NONE ? "none" : loaded->compiled.rules[match].id);
		sl_consider_range(loaded, e->inbound, &x.first, &x.end);
		if (x.asked.answer.rule != SL_NONE)
			x.end = x.asked.answer.rule;
	}
	(e->json ? sl_explain_json : sl_explain_text)(&x);
	return SL_EXIT_OK;
}

/* --name NAME: the owner of an address. */
static int read_owner(const struct explain *e, const struct sl_test *flow, char **owner)
{
	struct sl_diag diag = {};
	int err;

	if (!e->owner)
		return 0;
	if (flow->name)
		return sl_usage("explain", "--name goes with an address; '%s' is a name",
				e->destination);
	if (e->inbound)
		return sl_usage("explain", "an inbound flow has no --name");
	err = sl_domain_read(e->owner, strlen(e->owner), e->owner, strlen(e->owner), NULL, owner,
			     &diag);
	for (size_t i = 0; err && i < diag.n; i++) {
		fputs("sluice explain: --name ", stderr);
		sl_put_text(diag.entries[i].message, stderr);
		putc('\n', stderr);
	}
	sl_diag_free(&diag);
	return err ? SL_EXIT_USAGE : 0;
}

static int explain(const struct explain *e)
{
	struct sl_test flow = {};
	struct sl_loaded loaded;
	char *owner = NULL;
	int status = read_flow(e, &flow);

	if (!status)
		status = read_owner(e, &flow, &owner);
	if (!status) {
		status = sl_behind_load(e->policy, &e->resolve, true, &loaded);
		if (status)
			sl_diag_print(&loaded.diag, stderr);
		else
			status = answer(e, &loaded, &flow, owner);
		sl_loaded_free(&loaded);
	}
	sl_test_clear(&flow);
	free(owner);
	return status;
}

static const struct option options[] = {
	{"policy", required_argument, NULL, 'p'},
	{"dev", required_argument, NULL, 'd'},
	{"uid", required_argument, NULL, 'u'},
	{"proto", required_argument, NULL, 'P'},
	{"icmp", required_argument, NULL, 'i'},
	{"name", required_argument, NULL, 'n'},
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
	case 'd':
		e->device = optarg;
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
	case 'n':
		e->owner = optarg;
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

static int explain_behind(struct explain *e)
{
	struct sl_environment env = {};
	int status = e->device ? sl_behind_read(e->device, &env) : 0;

	if (!status) {
		e->resolve.env = e->device ? &env : NULL;
		status = explain(e);
		e->resolve.env = NULL;
	}
	sl_environment_free(&env);
	return status;
}

int cmd_explain(int argc, char **argv)
{
	struct explain e = {};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":p:o:h", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("explain");
		if (c == 'p' && e.policy)
			return sl_usage("explain", "-p %s: -p %s was given before; ask one policy at a "
					"time", optarg, e.policy);
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
	return sl_output_done("explain", explain_behind(&e));
}
