// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One device of `sluice watch`. A device that matches is never left open while its
 * policy cannot be resolved: it then denies everything. One that has a policy already,
 * from `sluice attach` or the libvirt hook, keeps it.
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "policy/print.h"
#include "policy/text.h"
#include "watch.h"

static void print_prefixes(const struct sl_cidr *list, size_t n, FILE *out)
{
	char text[SL_CIDR_TEXT];

	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s ", sl_cidr_format(&list[i], text));
	fputc('\n', out);
}

/* Two policies that print alike decide alike, and what DHCP may say goes by the network. */
static __u64 meaning_of(const struct sl_watch *watch, const struct sl_policy *resolved,
			const struct sl_environment *env)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	__u64 hash = 0;

	if (!out)
		return 0;
	sl_policy_print(resolved, out);
	if (watch->attach.binding.lease) {
		print_prefixes(env->subnet, env->n_subnet, out);
		print_prefixes(env->host, env->n_host, out);
		print_prefixes(env->gateway, env->n_gateway, out);
	}
	if (!fclose(out))
		hash = sl_hash(text);
	free(text);
	return hash;
}

static void complain(struct sl_watch *watch, const struct sl_watched *w, const char *change,
		     int err, const struct sl_diag *diag)
{
	const char *why = sl_watch_complain(diag, w->device.name);

	sl_watch_tell(watch, change, w, NULL, why ? why : strerror(-err));
}

/* ---- whose is it? ---- */

/* What a run of ours before this one left behind: the same policy's name (or our
 * isolation), and the same binding. The hook's and the user's bind something. */
static bool is_our_own(const struct sl_watch *watch, __u32 slot)
{
	const struct sl_binding_spec *want = &watch->options->attach.binding;
	struct sl_binding_spec binding;
	struct sl_table table;
	const char *name;
	bool own;

	if (sl_state_table(watch->state, slot, &table))
		return false;
	name = sl_table_label(table.words, table.n_words, 0);
	own = name && sl_binding_of_table(&table, &binding) &&
	      ((!strcmp(name, watch->policy) && sl_binding_same(&binding, want)) ||
	       !strcmp(name, SL_WATCH_ISOLATION));
	free(table.words);
	return own;
}

bool sl_watch_leaves(struct sl_watch *watch, struct sl_watched *w,
		     const struct sl_watch_found *found)
{
	/* generation 0: it is only held */
	if (!found->present || !found->attached || !found->generation ||
	    found->generation == w->generation ||
	    (!w->generation && is_our_own(watch, found->slot)))
		return false;
	if (w->state != SL_WATCHED_LEFT)
		sl_watch_tell(watch, "left", w, NULL, w->generation ?
			      "somebody attached another policy since" :
			      "it has a policy already, from `sluice attach` or the libvirt hook");
	w->state = SL_WATCHED_LEFT;
	w->renew = w->pending = false;
	return true;
}

/* ---- attaching ---- */

/* Between the news of a device and here its number can have become another's. */
bool sl_watch_is_there(const struct sl_watched *w)
{
	char name[IFNAMSIZ];

	return if_indextoname(w->device.ifindex, name) && !strcmp(name, w->device.name);
}

/* After the device has a generation of ours: it is ours, unless its number is another
 * device's by now. */
static int took(struct sl_watch *watch, struct sl_watched *w, const struct sl_attached *attached,
		__u64 meaning)
{
	struct sl_diag ignored = {};

	if (!sl_watch_is_there(w)) {
		sl_state_detach_device(watch->state, &w->device, &ignored);
		sl_diag_free(&ignored);
		return -ENODEV;
	}
	w->generation = attached->generation;
	w->meaning = meaning;
	w->renew = w->pending = false;
	return 0;
}

/* Gone, or renamed: then the news is under way. Else it is tried again. */
static void failed(struct sl_watch *watch, struct sl_watched *w, int err,
		   const struct sl_diag *diag)
{
	w->state = SL_WATCHED_FAILED;
	if (!sl_watch_is_there(w))
		return;
	complain(watch, w, "failed", err, diag);
	sl_watch_retry_later(watch);
}

static void isolate(struct sl_watch *watch, struct sl_watched *w, const struct sl_diag *why)
{
	struct sl_attached attached;
	struct sl_diag diag = {};
	int err = sl_watch_is_there(w) ? 0 : -ENODEV;

	if (!err)
		err = sl_device_isolate(watch->state, &w->device, SL_WATCH_ISOLATION, &attached,
					&diag);
	if (!err)
		err = took(watch, w, &attached, 0);
	if (err) {
		failed(watch, w, err, &diag);
	} else {
		w->state = SL_WATCHED_ISOLATED;
		w->pending = true;
		complain(watch, w, "isolated", 0, why);
		sl_watch_retry_later(watch);
	}
	sl_diag_free(&diag);
}

/* What it has goes on. */
static void keep(struct sl_watch *watch, struct sl_watched *w, int err, const struct sl_diag *diag)
{
	if (!w->pending && sl_watch_is_there(w))
		complain(watch, w, "kept", err, diag);
	w->pending = true;
	sl_watch_retry_later(watch);
}

/* What the policy means for the device, and the network that it was asked of. */
static int resolve(struct sl_watch *watch, const struct sl_watched *w, struct sl_environment *env,
		   struct sl_policy **resolved, struct sl_diag *diag)
{
	int err = sl_device_environment(&w->device, env, diag);

	return err ? err : sl_device_resolve(&watch->attach, env, resolved, diag);
}

/* Warnings are the policy's, and are said once, of the first device that gets it. */
static void warn_once(struct sl_watch *watch, const struct sl_diag *diag)
{
	if (!watch->warned)
		sl_diag_print(diag, stderr);
	watch->warned = true;
}

static void warn_of_veth(struct sl_watch *watch, const struct sl_watched *w)
{
	if (watch->veth_said || !sl_device_is_veth(w->device.name))
		return;
	fprintf(stderr, "sluice watch: %s is a veth: whoever has CAP_NET_ADMIN over its other end can "
		"send past this policy (docs/SECURITY.md)\n", w->device.name);
	watch->veth_said = true;
}

static int give(struct sl_watch *watch, struct sl_watched *w, const struct sl_policy *resolved,
		const struct sl_environment *env, const char *change, struct sl_diag *diag)
{
	struct sl_attached attached;
	int err = sl_watch_is_there(w) ? 0 : -ENODEV;

	if (!err)
		err = sl_device_put(watch->state, &w->device, resolved, env, &watch->attach,
				    &attached, diag);
	if (!err)
		err = took(watch, w, &attached, meaning_of(watch, resolved, env));
	if (err)
		return err;
	w->state = SL_WATCHED_ATTACHED;
	watch->retries = 0;
	warn_once(watch, diag);
	warn_of_veth(watch, w);
	sl_watch_tell(watch, change, w, resolved->name, NULL);
	return 0;
}

void sl_watch_attach(struct sl_watch *watch, struct sl_watched *w,
		     const struct sl_watch_found *found)
{
	struct sl_policy *resolved = NULL;
	struct sl_environment env = {};
	struct sl_diag diag = {};
	int err;

	if (sl_watch_leaves(watch, w, found))
		return;
	err = resolve(watch, w, &env, &resolved, &diag);
	if (err && found->present && found->attached && found->generation) {
		w->state = SL_WATCHED_ATTACHED;
		w->generation = found->generation;
		keep(watch, w, err, &diag);
	} else if (err) {
		isolate(watch, w, &diag);
	} else {
		err = give(watch, w, resolved, &env, "attached", &diag);
		if (err)
			failed(watch, w, err, &diag);
	}
	sl_policy_free(resolved);
	sl_environment_free(&env);
	sl_diag_free(&diag);
}

void sl_watch_renew(struct sl_watch *watch, struct sl_watched *w)
{
	struct sl_policy *resolved = NULL;
	struct sl_environment env = {};
	struct sl_diag diag = {};
	int err = resolve(watch, w, &env, &resolved, &diag);

	w->renew = false;
	if (!err && w->meaning && meaning_of(watch, resolved, &env) == w->meaning)
		w->pending = false;	/* nothing changed for this one */
	else if (!err)
		err = give(watch, w, resolved, &env, "renewed", &diag);
	if (err)
		keep(watch, w, err, &diag);
	sl_policy_free(resolved);
	sl_environment_free(&env);
	sl_diag_free(&diag);
}
