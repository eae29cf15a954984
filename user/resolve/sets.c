// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Sets: those of each file into the result, each once, and what a name after @
 * stands for. A file sees its own sets and the built-in ones.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "sluice_sets.h"

static const struct {
	const char *name;
	const char *text; /* NULL: filled by resolution */
	const char *none; /* why it is empty here */
	const char *none_device; /* ... for a device */
} builtin_sets[] = {
#define X(name, contents) {#name, contents, NULL, NULL},
	SL_STATIC_SETS(X)
#undef X
		{"gateway", NULL, "no default route has a next hop",
		 "the host has no address on the device's network"},
	{"subnet", NULL, "no default route has an interface with a prefix",
	 "the host has no address on the device's network"},
	{"host", NULL, "the host has no address but loopback",
	 "the host has no address but loopback"},
	{"resolvers", NULL, "resolv.conf names no server", "resolv.conf names no server"},
};

_Static_assert(sizeof(builtin_sets) / sizeof(*builtin_sets) == SL_N_BUILTINS,
	       "SL_N_BUILTINS counts the table of sluice_sets.h");
#define Y(name, meaning) +1
#define X(name, contents) +1
_Static_assert(0 SL_STATIC_SETS(X) SL_RESOLVED_SETS(Y) == SL_N_BUILTINS,
	       "a set of sluice_sets.h has no entry here");
#undef X
#undef Y

int sl_sets_init(struct sl_resolver *r)
{
	for (size_t i = 0; i < SL_N_BUILTINS; i++) {
		r->builtins[i].name = builtin_sets[i].name;
		r->builtins[i].by_resolution = !builtin_sets[i].text;
		if (sl_strtab_add(&r->set_names, builtin_sets[i].name, &r->builtins[i]))
			return -ENOMEM;
	}
	return 0;
}

const struct sl_environment *sl_resolver_environment(struct sl_resolver *r,
						     const struct sl_pos *pos)
{
	int err = r->options->env ? r->options->env->err : 0;

	if (err) {
		sl_fail(r, pos, "cannot read the network of the target's processes: %s%s",
			strerror(-err), err == -EACCES || err == -EPERM ?
			": sluiced wants CAP_SYS_ADMIN and CAP_SYS_PTRACE for it" : "");
		return NULL;
	}
	if (r->options->env)
		return r->options->env;
	if (!r->own_env_read) {
		err = sl_environment_read(-1, NULL, &r->own_env);
		if (err) {
			sl_fail(r, pos,
				"cannot read routes, addresses and name servers "
				"of this machine: %s",
				strerror(-err));
			return NULL;
		}
		r->own_env_read = true;
	}
	return &r->own_env;
}

/* The words of a table entry of sluice_sets.h. */
static int fill_static(struct sl_builtin *builtin, const char *text)
{
	struct sl_cidr cidr;
	bool masked;
	size_t len;

	for (; *text; text += len + strspn(text + len, " ")) {
		len = strcspn(text, " ");
		if (sl_cidr_parse(text, len, &cidr, &masked))
			return -EINVAL;
		if (sl_cidr_list_add(&builtin->cidrs, &cidr))
			return -ENOMEM;
	}
	return 0;
}

static int fill_resolved(struct sl_resolver *r, struct sl_builtin *builtin,
			 const struct sl_pos *pos)
{
	bool listed = !strcmp(builtin->name, "resolvers") && r->root->n_resolvers;
	const struct sl_environment *env = listed ? NULL : sl_resolver_environment(r, pos);
	const struct sl_cidr *from;
	size_t n;

	if (listed)
		from = r->root->resolvers, n = r->root->n_resolvers;
	else if (!env)
		return -EINVAL;
	else if (!strcmp(builtin->name, "gateway"))
		from = env->gateway, n = env->n_gateway;
	else if (!strcmp(builtin->name, "subnet"))
		from = env->subnet, n = env->n_subnet;
	else if (!strcmp(builtin->name, "host"))
		from = env->host, n = env->n_host;
	else
		from = env->resolvers, n = env->n_resolvers;
	for (size_t i = 0; i < n; i++)
		if (sl_cidr_list_add(&builtin->cidrs, &from[i]))
			return -ENOMEM;
	return 0;
}

static int find_builtin(struct sl_resolver *r, struct sl_builtin *builtin,
			const struct sl_host *host, struct sl_set_ref *ref)
{
	int err = 0;

	if (!builtin->ready) {
		err = builtin->by_resolution
			      ? fill_resolved(r, builtin, &host->pos)
			      : fill_static(builtin, builtin_sets[builtin - r->builtins].text);
		if (err == -EINVAL) {
			r->failed = true;
			return 0;
		}
		if (err)
			return err;
		builtin->ready = true;
	}
	*ref = (struct sl_set_ref){
		.cidrs = builtin->cidrs.v,
		.n_cidrs = builtin->cidrs.n,
		.known = true,
	};
	return 0;
}

/* Levenshtein's distance of two set names. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[SL_ID_MAX + 2], diagonal, above, least;
	size_t n = strnlen(b, SL_ID_MAX);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; i < SL_ID_MAX && a[i]; i++) {
		diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			above = row[j + 1];
			least = diagonal + (a[i] != b[j]);
			if (above + 1 < least)
				least = above + 1;
			if (row[j] + 1 < least)
				least = row[j] + 1;
			diagonal = above;
			row[j + 1] = least;
		}
	}
	return row[n];
}

static const char *nearest(const struct sl_frame *frame, const char *name)
{
	unsigned best = strlen(name) / 3 + 1, d;
	const char *found = NULL, *candidate;

	for (size_t i = 0; i < frame->policy->n_sets + SL_N_BUILTINS; i++) {
		candidate = i < frame->policy->n_sets
				    ? frame->policy->sets[i]->name
				    : builtin_sets[i - frame->policy->n_sets].name;
		d = distance(name, candidate);
		if (d < best || (d == best && !found)) {
			best = d;
			found = candidate;
		}
	}
	return found;
}

static void fail_unknown(struct sl_resolver *r, const struct sl_frame *frame,
			 const struct sl_host *host)
{
	const char *near = nearest(frame, host->text);
	const struct sl_frame *up;

	for (up = frame->up; up; up = up->up)
		if (sl_strtab_find(&up->sets, host->text)) {
			sl_fail(r, &host->pos,
				"no set \"@%s\" in this fragment: "
				"a fragment sees only sets of its own",
				host->text);
			return;
		}
	if (near)
		sl_fail(r, &host->pos, "no set \"@%s\": is \"@%s\" meant?", host->text, near);
	else
		sl_fail(r, &host->pos,
			"no set \"@%s\": neither under \"sets\" nor "
			"built in",
			host->text);
}

int sl_set_find(struct sl_resolver *r, const struct sl_frame *frame, const struct sl_host *host,
		struct sl_set_ref *ref)
{
	struct sl_strtab_entry *own = sl_strtab_find(&frame->sets, host->text);

	*ref = (struct sl_set_ref){0};
	if (own && !own->value)
		return 0;
	if (own) {
		ref->set = own->value;
		ref->n_cidrs = ref->set->n_cidrs;
		ref->known = true;
		return 0;
	}
	for (size_t i = 0; i < SL_N_BUILTINS; i++)
		if (!strcmp(r->builtins[i].name, host->text))
			return find_builtin(r, &r->builtins[i], host, ref);
	fail_unknown(r, frame, host);
	return 0;
}

const char *sl_builtin_why_empty(const struct sl_resolver *r, const char *name)
{
	bool device = r->options->env && r->options->env->of_device;

	for (size_t i = 0; i < SL_N_BUILTINS; i++)
		if (!strcmp(builtin_sets[i].name, name))
			return device ? builtin_sets[i].none_device : builtin_sets[i].none;
	return NULL;
}
