// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One device. A device that matches is never left open while its
 * policy cannot be resolved: it then denies everything. One that has a policy already,
 * from somebody else, keeps it.
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "policy/print.h"
#include "policy/address.h"
#include "policy/text.h"
#include "devices.h"

static void print_prefixes(const struct sl_cidr *list, size_t n, FILE *out)
{
	char text[SL_CIDR_TEXT];

	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s ", sl_cidr_format(&list[i], text));
	fputc('\n', out);
}

/* Two policies that print alike decide alike, for the same workload, and what DHCP may
 * say goes by the network. */
static __u64 meaning_of(const struct sl_policy *resolved, const struct sl_attach_options *options,
			const struct sl_environment *env)
{
	const struct sl_binding_spec *b = &options->binding;
	char buf[SL_CIDR_TEXT], mac[SL_MAC_TEXT], *text = NULL;
	size_t len, i;
	FILE *out = open_memstream(&text, &len);
	__u64 hash = 0;

	if (!out)
		return 0;
	sl_policy_print(resolved, out);
	fprintf(out, "%d %s %d %d", resolved->mode, b->has_mac ? sl_mac_format(b->mac, mac) : "",
		b->has_addresses, b->lease);
	for (i = 0; i < b->n_addresses; i++)
		fprintf(out, " %s", sl_cidr_format(&b->addresses[i], buf));
	for (i = 0; i < b->n_vlans; i++)
		fprintf(out, " %u", b->vlans[i]);
	if (b->routed)
		fprintf(out, " %u", env->upper);
	if (b->lease || b->routed)
		print_prefixes(env->subnet, env->n_subnet, out);
	if (b->lease) {
		print_prefixes(env->host, env->n_host, out);
		print_prefixes(env->gateway, env->n_gateway, out);
	}
	if (!fclose(out))
		hash = sl_hash(text);
	free(text);
	return hash;
}

/* Diagnostics on stderr, with the device's name; the first error's text, or err's, is
 * what is told and kept. */
static void complain(struct sl_devices *devices, struct sl_watched *w, const char *change, int err,
		     const struct sl_diag *diag)
{
	const char *first = NULL;

	if (diag->n_errors) {
		sl_devices_say_name(devices, w->device.name);
		fputs(":\n", stderr);
	}
	sl_diag_print(diag, stderr);
	for (size_t i = 0; i < diag->n && !first; i++)
		if (diag->entries[i].severity == SL_ERROR)
			first = diag->entries[i].message;
	snprintf(w->why, sizeof(w->why), "%s", first ? first : strerror(-err));
	devices->ops->tell(devices->context, change, w, NULL, w->why);
}

/* ---- whose is it? ---- */

/* What a run of ours before this one left behind. sluiced's tables say so. Else: the same
 * policy's name (or our isolation), and the same binding; the hook's and the user's bind
 * something. */
static bool is_our_own(const struct sl_devices *devices, const struct sl_watched *w, __u32 slot)
{
	const struct sl_given *given = &w->as.group->given;
	struct sl_binding_spec binding;
	struct sl_table table;
	const char *name;
	bool own;

	if (sl_state_table(devices->state, slot, &table))
		return false;
	name = sl_table_label(table.words, table.n_words, 0);
	own = name && sl_binding_of_table(&table, &binding) &&
	      ((!strcmp(name, given->name) && sl_binding_same(&binding, &given->attach.binding)) ||
	       !strcmp(name, devices->isolation));
	own |= devices->managed &&
	       table.words[SL_H_FLAGS] & (w->as.by_hand ? SL_F_BY_HAND : SL_F_MANAGED);
	free(table.words);
	return own;
}

/* Which policy somebody else gave it. Who that was a table does not say, unless it was sluiced. */
static void name_other(const struct sl_devices *devices, const struct sl_watched *w, __u32 slot,
		       char *why, size_t size)
{
	struct sl_table table = {};
	const char *name = NULL;
	bool managed = false;

	if (!sl_state_table(devices->state, slot, &table)) {
		name = sl_table_label(table.words, table.n_words, 0);
		managed = table.words[SL_H_FLAGS] & SL_F_MANAGED;
	}
	snprintf(why, size, "it has the policy %.64s %s, from %s", name ? name : "?",
		 w->generation ? "since" : "already",
		 managed ? "sluiced" :
			   "`sluice attach`, the libvirt hook or another `sluice watch`");
	free(table.words);
}

bool sl_device_leaves(struct sl_devices *devices, struct sl_watched *w,
		      const struct sl_device_found *found)
{
	char why[160];

	/* generation 0: it is only held */
	if (!found->present || !found->attached || found->broken || !found->generation ||
	    found->generation == w->generation ||
	    (!w->generation && is_our_own(devices, w, found->slot)))
		return false;
	if (w->as.state != SL_WATCHED_LEFT) {
		name_other(devices, w, found->slot, why, sizeof(why));
		devices->ops->tell(devices->context, "left", w, NULL, why);
	}
	w->as.state = SL_WATCHED_LEFT;
	w->as.renew = w->as.pending = false;
	return true;
}

/* ---- attaching ---- */

/* Between the news of a device and here its number can have become another's. */
bool sl_device_is_there(const struct sl_watched *w)
{
	char name[IFNAMSIZ];

	return if_indextoname(w->device.ifindex, name) && !strcmp(name, w->device.name);
}

/* After the device has a generation of ours: it is ours, unless its number is another
 * device's by now. */
static int took(struct sl_devices *devices, struct sl_watched *w,
		const struct sl_attached *attached, __u64 meaning)
{
	struct sl_diag ignored = {};

	if (!sl_device_is_there(w)) {
		sl_state_detach_device(devices->state, &w->device, &ignored);
		sl_diag_free(&ignored);
		return -ENODEV;
	}
	w->slot = attached->slot;
	w->generation = attached->generation;
	w->meaning = meaning;
	w->as.renew = w->as.pending = false;
	w->why[0] = 0;
	return sl_state_seal(devices->state, w->slot, &w->seal);
}

/* Gone, or renamed: then the news is under way. Else it is tried again. */
static void failed(struct sl_devices *devices, struct sl_watched *w, int err,
		   const struct sl_diag *diag)
{
	w->as.state = SL_WATCHED_FAILED;
	if (!sl_device_is_there(w))
		return;
	complain(devices, w, "failed", err, diag);
	sl_devices_retry_later(devices);
}

static void isolate(struct sl_devices *devices, struct sl_watched *w, const struct sl_diag *why)
{
	struct sl_attached attached;
	struct sl_diag diag = {};
	int err = sl_device_is_there(w) ? 0 : -ENODEV;

	if (!err)
		err = sl_device_isolate(devices->state, &w->device, devices->isolation, &attached,
					&diag);
	if (!err)
		err = took(devices, w, &attached, 0);
	if (err) {
		failed(devices, w, err, &diag);
	} else {
		w->as.state = SL_WATCHED_ISOLATED;
		w->as.pending = true;
		complain(devices, w, "isolated", 0, why);
		sl_devices_retry_later(devices);
	}
	sl_diag_free(&diag);
}

/* What it has goes on. */
static void keep(struct sl_devices *devices, struct sl_watched *w, int err,
		 const struct sl_diag *diag)
{
	if (!w->as.pending && sl_device_is_there(w))
		complain(devices, w, "kept", err, diag);
	w->as.pending = true;
	sl_devices_retry_later(devices);
}

/* What the policy means for the device, and the network that it was asked of. */
static int resolve(const struct sl_watched *w, struct sl_environment *env,
		   struct sl_policy **resolved, struct sl_diag *diag)
{
	int err = sl_device_environment(&w->device, env, diag);

	return err ? err : sl_device_resolve(&w->as.group->given.attach, env, resolved, diag);
}

/* Warnings are the policy's, and are said once, of the first device that gets it. */
static void warn_once(struct sl_target_group *group, const struct sl_diag *diag)
{
	if (!group->warned)
		sl_diag_print(diag, stderr);
	group->warned = true;
}

static void warn_of_veth(struct sl_devices *devices, const struct sl_watched *w)
{
	if (devices->veth_said ||
	    sl_state_device_peer(devices->state, &w->device) != SL_PEER_OPEN)
		return;
	sl_devices_say_name(devices, w->device.name);
	fputs(" is a veth whose other end is not guarded: whoever has CAP_NET_ADMIN "
	      "there can send past this policy (docs/SECURITY.md)\n", stderr);
	devices->veth_said = true;
}

static void given(struct sl_devices *devices, struct sl_watched *w, const char *change,
		  const char *policy, const struct sl_diag *diag)
{
	w->as.state = SL_WATCHED_ATTACHED;
	devices->retries = 0;
	warn_once(w->as.group, diag);
	warn_of_veth(devices, w);
	devices->ops->tell(devices->context, change, w, policy, NULL);
}

static int give(struct sl_devices *devices, struct sl_watched *w, const struct sl_policy *resolved,
		const struct sl_environment *env, const char *change, struct sl_diag *diag)
{
	const struct sl_attach_options *options = &w->as.group->given.attach;
	struct sl_attached attached;
	int err = sl_device_is_there(w) ? 0 : -ENODEV;

	if (!err)
		err = sl_device_put(devices->state, &w->device, resolved, env, options, &attached,
				    diag);
	if (!err)
		err = took(devices, w, &attached, meaning_of(resolved, options, env));
	if (!err)
		given(devices, w, change, resolved->name, diag);
	return err;
}

/* What the device has, of a run before this one, is to the bit what it would get: it goes
 * on as it is. */
static bool adopt(struct sl_devices *devices, struct sl_watched *w,
		  const struct sl_device_found *found, const struct sl_policy *resolved,
		  const struct sl_environment *env, const struct sl_diag *diag)
{
	const struct sl_attach_options *options = &w->as.group->given.attach;
	struct sl_attached attached = {.slot = found->slot, .generation = found->generation};

	if (!devices->managed || !found->present || !found->attached || !found->generation ||
	    !sl_device_has(devices->state, found->slot, resolved, env, options) ||
	    took(devices, w, &attached, meaning_of(resolved, options, env)))
		return false;
	given(devices, w, "adopted", resolved->name, diag);
	return true;
}

void sl_device_give(struct sl_devices *devices, struct sl_watched *w,
		    const struct sl_device_found *found)
{
	struct sl_policy *resolved = NULL;
	struct sl_environment env = {};
	struct sl_diag diag = {};
	int err;

	if (sl_device_leaves(devices, w, found))
		return;
	err = resolve(w, &env, &resolved, &diag);
	if (err && found->present && found->attached && found->generation && !found->broken) {
		took(devices, w,
		     &(struct sl_attached){.slot = found->slot, .generation = found->generation},
		     0);
		w->as.state = SL_WATCHED_ATTACHED;
		keep(devices, w, err, &diag);
	} else if (err) {
		isolate(devices, w, &diag);
	} else if (!adopt(devices, w, found, resolved, &env, &diag)) {
		err = give(devices, w, resolved, &env, "attached", &diag);
		if (err)
			failed(devices, w, err, &diag);
	}
	sl_policy_free(resolved);
	sl_environment_free(&env);
	sl_diag_free(&diag);
}

int sl_device_give_now(struct sl_devices *devices, struct sl_watched *w, struct sl_diag *diag)
{
	struct sl_policy *resolved = NULL;
	struct sl_environment env = {};
	int err = resolve(w, &env, &resolved, diag);

	if (!err)
		err = give(devices, w, resolved, &env, "attached", diag);
	sl_policy_free(resolved);
	sl_environment_free(&env);
	return err;
}

void sl_device_renew(struct sl_devices *devices, struct sl_watched *w)
{
	struct sl_policy *resolved = NULL;
	struct sl_environment env = {};
	struct sl_diag diag = {};
	int err = resolve(w, &env, &resolved, &diag);

	w->as.renew = false;
	if (!err && w->meaning &&
	    meaning_of(resolved, &w->as.group->given.attach, &env) == w->meaning)
		w->as.pending = false; /* nothing changed for this one */
	else if (!err)
		err = give(devices, w, resolved, &env, "renewed", &diag);
	if (err)
		keep(devices, w, err, &diag);
	sl_policy_free(resolved);
	sl_environment_free(&env);
	sl_diag_free(&diag);
}
