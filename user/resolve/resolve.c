// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * From a policy as written to what it means here and now. Order: settings, the
 * policy's sets, its rules with what they include, the gate, inbound, ids.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

/* The base name of the policy's file without its ending, with `-` for what a
 * name may not hold. */
static char *default_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	const char *base = slash ? slash + 1 : path ? path : "stdin";
	const char *dot = strrchr(base, '.');
	size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base);
	char *name;

	name = strndup(n ? base : "policy", n ? n : 6);
	if (!name)
		return NULL;
	if (strlen(name) > SL_ID_MAX)
		name[SL_ID_MAX] = '\0';
	for (char *c = name; *c; c++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			    "0123456789._-",
			    *c))
			*c = '-';
	return name;
}

static int copy_settings(struct sl_resolver *r, const char *path)
{
	const struct sl_policy *src = r->root;
	struct sl_policy *out = r->out;

	out->name = src->name ? strdup(src->name) : default_name(path);
	if (!out->name)
		return -ENOMEM;
	out->mode = src->mode;
	out->default_action = src->default_action;
	out->on_deny = src->on_deny;
	out->log = src->log;
	out->inbound = src->inbound;
	out->fragments_first = src->fragments_first;
	out->device = src->device;
	out->limits = src->limits;
	out->pos = src->pos;
	return 0;
}

static int add_inbound(struct sl_resolver *r, const struct sl_frame *frame)
{
	const struct sl_policy *src = r->root;

	if (!src->n_inbound)
		return 0;
	r->out->inbound_matches = calloc(src->n_inbound, sizeof(*r->out->inbound_matches));
	if (!r->out->inbound_matches)
		return -ENOMEM;
	for (size_t i = 0; i < src->n_inbound; i++) {
		struct sl_match *match = &r->out->inbound_matches[r->out->n_inbound++];
		int err = sl_match_resolve(r, frame, &src->inbound_matches[i], false, match);

		if (err)
			return err;
	}
	return 0;
}

static int copy_tests(struct sl_resolver *r)
{
	const struct sl_policy *src = r->root;

	if (!src->n_tests)
		return 0;
	r->out->tests = calloc(src->n_tests, sizeof(*r->out->tests));
	if (!r->out->tests)
		return -ENOMEM;
	for (size_t i = 0; i < src->n_tests; i++) {
		struct sl_test *test = &r->out->tests[r->out->n_tests++];

		*test = src->tests[i];
		test->text = test->text ? strdup(test->text) : NULL;
		test->name = test->name ? strdup(test->name) : NULL;
		if ((src->tests[i].text && !test->text) || (src->tests[i].name && !test->name))
			return -ENOMEM;
	}
	return 0;
}

/* Rules that cover nothing go, now that their ids have been judged. */
static void drop_empty_rules(struct sl_policy *out)
{
	size_t kept = 0;

	for (size_t i = 0; i < out->n_items; i++)
		if (out->items[i].rule->n_matches)
			out->items[kept++] = out->items[i];
		else
			sl_rule_free(out->items[i].rule);
	out->n_items = kept;
}

static int resolve_all(struct sl_resolver *r, struct sl_frame *frame, const char *path)
{
	int err;

	if (sl_policy_refuse_unenforced(r->root, r->diag))
		r->failed = true;
	err = sl_sets_init(r);
	if (!err)
		err = copy_settings(r, path);
	if (!err)
		err = sl_sets_add(r, frame);
	if (!err)
		err = sl_items_add(r, frame);
	if (!err)
		err = sl_dns_resolve(r);
	if (!err)
		err = sl_hosts_learn(r);
	if (!err)
		err = add_inbound(r, frame);
	if (!err)
		err = copy_tests(r);
	if (!err)
		err = sl_ids_assign(r);
	if (!err && r->failed)
		err = -EINVAL;
	return err;
}

static int resolve(struct sl_frame *frame, const struct sl_resolve_options *options,
		   struct sl_policy **out, struct sl_diag *diag)
{
	static const struct sl_resolve_options defaults;
	const char *path = frame->file;
	struct sl_resolver r = {
		.options = options ? options : &defaults,
		.diag = diag,
		.root = frame->policy,
	};
	int err;

	r.now_s = r.options->now_s ? r.options->now_s : time(NULL);
	if (path && stat(path, &frame->st))
		frame->st.st_ino = 0;
	r.out = calloc(1, sizeof(*r.out));
	if (r.out)
		r.out->lent = frame->lent;
	err = r.out ? resolve_all(&r, frame, path) : -ENOMEM;
	if (err) {
		sl_policy_free(r.out);
	} else {
		if (r.any_empty)
			drop_empty_rules(r.out);
		sl_sets_prune(r.out);
		*out = r.out;
	}
	sl_strtab_free(&frame->sets);
	sl_strtab_free(&r.set_names);
	for (size_t i = 0; i < SL_N_BUILTINS; i++)
		free(r.builtins[i].cidrs.v);
	sl_environment_free(&r.own_env);
	return err;
}

int sl_resolve(const struct sl_policy *policy, const char *path,
	       const struct sl_resolve_options *options, struct sl_policy **out,
	       struct sl_diag *diag)
{
	struct sl_frame frame = {.policy = policy, .file = path};

	return resolve(&frame, options, out, diag);
}

int sl_resolve_lent(struct sl_policy *policy, const char *path,
		    const struct sl_resolve_options *options, struct sl_policy **out,
		    struct sl_diag *diag)
{
	struct sl_frame frame = {.policy = policy, .file = path};

	frame.ours = sl_rules_stay(policy) ? policy : NULL;
	frame.lent = frame.ours;
	return resolve(&frame, options, out, diag);
}

int sl_resolve_ours(struct sl_policy *policy, const char *path,
		    const struct sl_resolve_options *options, struct sl_policy **out,
		    struct sl_diag *diag)
{
	struct sl_frame frame = {.policy = policy, .ours = policy, .file = path};

	return resolve(&frame, options, out, diag);
}
