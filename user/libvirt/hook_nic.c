// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From a NIC in the XML to a judged device, or to what `fail` says. */
#include "hook_nic.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "hook.h"
#include "kernel/expedite.h"
#include "resolve/resolve.h"
#include "target/device.h"
#include "target/links.h"

#define LINKS_MS 5000

_Static_assert(SL_NIC_ADDRESSES_MAX <= SL_BINDING_ADDRESSES_MAX, "a binding holds them");

static int open_state(struct sl_guest *guest)
{
	struct sl_state_options options = {.path = guest->state_path, .create = true};

	if (guest->state)
		return 0;
	sl_expedite_open(); /* without it takes longer */
	return sl_state_open(&options, &guest->state, guest->diag);
}

/* ---- is it a device whose frames cross tc? ---- */

static void ignore_link(void *context, enum sl_link_change change, const struct sl_link *link,
			const struct sl_link *before)
{
}

/* `tun`, `veth`, ...: the kernel's word for the device. */
static int kind_of(unsigned ifindex, char kind[16])
{
	const struct sl_link *link;
	struct sl_links *links;
	int err = sl_links_open(0, ignore_link, NULL, &links);

	if (err)
		return err;
	while (!err && sl_links_catching_up(links)) {
		struct pollfd ready = {.fd = sl_links_fd(links), .events = POLLIN};

		err = poll(&ready, 1, LINKS_MS) > 0 ? sl_links_read(links) : -ETIMEDOUT;
	}
	link = err ? NULL : sl_links_find(links, ifindex);
	if (link)
		memcpy(kind, link->kind, sizeof(link->kind));
	else if (!err)
		err = -ENODEV;
	sl_links_close(links);
	return err;
}

/* An <interface type='ethernet'> can name any device of the host's. */
static int check_kind(struct sl_guest *guest, const struct sl_device *device)
{
	char kind[16] = "";
	int err = kind_of(device->ifindex, kind);

	if (err)
		return sl_error(guest->diag, NULL, "device '%s': cannot be looked at: %s",
				device->name, strerror(-err));
	if (!strcmp(kind, "macvtap") || !strcmp(kind, "macvlan") || !strcmp(kind, "ipvtap") ||
	    !strcmp(kind, "ipvlan"))
		return sl_error(guest->diag, NULL, "device '%s' is a %s: its frames bypass the "
				"host's tc hooks", device->name, kind);
	return 0;
}

static int find_device(struct sl_guest *guest, const struct sl_nic *nic, struct sl_device *device)
{
	int err;

	if (!nic->device)
		return sl_error(guest->diag, &nic->pos, "the interface has no <target dev=...>: "
				"nobody knows which device is its");
	err = sl_device_find(nic->device, device, guest->diag);
	return err ? err : check_kind(guest, device);
}

/* ---- its policy ---- */

static void make_binding(const struct sl_guest *guest, const struct sl_nic *nic,
			 struct sl_binding_spec *spec)
{
	spec->has_mac = nic->has_mac;
	memcpy(spec->mac, nic->mac, sizeof(spec->mac));
	for (size_t i = 0; i < nic->n_addresses; i++)
		spec->addresses[spec->n_addresses++] = nic->addresses[i];
	spec->lease = nic->lease || (!nic->n_addresses && !guest->config.any_address);
	spec->has_addresses = spec->n_addresses || spec->lease;
	memcpy(spec->vlans, nic->vlans, sizeof(spec->vlans));
	spec->n_vlans = nic->n_vlans;
}

static void warn_of_limits(struct sl_guest *guest, const struct sl_nic *nic,
			   const struct sl_policy *policy)
{
	if (nic->bandwidth && (policy->limits.out.average || policy->limits.in.average))
		sl_warn(guest->diag, &nic->pos, "both libvirt's <bandwidth> and `limits: bandwidth` "
			"of the policy %s limit %s: the smaller one holds", policy->name,
			nic->device);
}

static int choose(struct sl_guest *guest, const struct sl_nic *nic, char **path)
{
	const char *wanted = nic->policy ? nic->policy : guest->domain.policy;
	char *shipped = sl_profile_dir();
	struct sl_policy_places places = {guest->config.policies, shipped};
	int err = shipped ? sl_policy_choose(&places, guest->name, wanted, path, guest->diag) :
			    -ENOMEM;

	free(shipped);
	return err;
}

static int enforce(struct sl_guest *guest, const struct sl_nic *nic, const struct sl_device *device)
{
	struct sl_attach_options options = {};
	struct sl_environment env = {};
	struct sl_policy *policy = NULL;
	struct sl_attached attached;
	char *path = NULL;
	int err = choose(guest, nic, &path);

	if (err)
		return err;
	options.policy = path;
	make_binding(guest, nic, &options.binding);
	err = sl_device_environment(device, &env, guest->diag);
	if (!err)
		err = sl_device_resolve(&options, &env, &policy, guest->diag);
	options.network = &env;
	if (!err)
		err = sl_device_put(guest->state, device, policy, NULL, &options, &attached,
				    guest->diag);
	if (!err)
		warn_of_limits(guest, nic, policy);
	else
		sl_error(guest->diag, NULL, "%s: the policy %s cannot be enforced", device->name,
			 path);
	sl_policy_free(policy);
	sl_environment_free(&env);
	free(path);
	return err;
}

/* ---- and if it cannot be ---- */

/* True if nothing passes now. */
static bool isolate(struct sl_guest *guest, const struct sl_device *device, const char *then)
{
	struct sl_attached attached;

	if (sl_device_isolate(guest->state, device, SL_HOOK_ISOLATION, &attached, guest->diag))
		return false;
	sl_warn(guest->diag, NULL, "%s: %s without network (fail: isolate)", device->name, then);
	return true;
}

/* Nothing can be put in the way of this NIC's frames; is the guest to start? */
static bool is_open(struct sl_guest *guest, const struct sl_nic *nic)
{
	if (guest->config.fail == SL_FAIL_OPEN) {
		sl_warn(guest->diag, &nic->pos, "%s: UNFILTERED (fail: open)",
			nic->device ? nic->device : "a NIC");
		return true;
	}
	sl_error(guest->diag, &nic->pos, "%s: its frames cannot be judged: the guest is refused",
		 nic->device ? nic->device : "a NIC");
	return false;
}

static bool is_uncovered_ok(struct sl_guest *guest, const struct sl_nic *nic, const char *why)
{
	const char *name = nic->device ? nic->device : nic->type;

	if (guest->config.uncovered_ok || guest->config.fail == SL_FAIL_OPEN) {
		sl_warn(guest->diag, &nic->pos, "%s: NOT COVERED: %s", name, why);
		return true;
	}
	sl_error(guest->diag, &nic->pos, "%s is not covered: %s; `uncovered: warn` in the "
		 "configuration lets such guests start", name, why);
	return false;
}

/* Nothing of it is on the host: no network at all, or a card of which nobody knows here
 * whether it is a network's. */
static bool has_no_device(struct sl_guest *guest, const struct sl_nic *nic)
{
	if (!strcmp(nic->type, "hostdev-any")) {
		sl_warn(guest->diag, &nic->pos, "a device of the host's is given to the guest: if it is "
			"a network card, its frames are judged by nobody");
		return true;
	}
	return !strcmp(nic->type, "null");
}

bool sl_hook_start_nic(struct sl_guest *guest, const struct sl_nic *nic)
{
	const char *why = sl_nic_uncovered(nic);
	struct sl_device device;

	if (why)
		return is_uncovered_ok(guest, nic, why);
	if (has_no_device(guest, nic))
		return true;
	if (find_device(guest, nic, &device) || open_state(guest))
		return is_open(guest, nic);
	if (!guest->config_is_broken && !enforce(guest, nic, &device))
		return true;
	switch (guest->config.fail) {
	case SL_FAIL_ISOLATE:
		return isolate(guest, &device, "the guest starts") || is_open(guest, nic);
	case SL_FAIL_REFUSE:
		sl_error(guest->diag, NULL, "the guest is refused (fail: refuse)");
		return false;
	case SL_FAIL_OPEN:
		break;
	}
	return is_open(guest, nic);
}

/* ---- while it runs ---- */

/* The same; the guest goes on in any case. */
static void say_open(struct sl_guest *guest, const struct sl_nic *nic)
{
	const char *name = nic->device ? nic->device : "a NIC";

	if (guest->config.fail == SL_FAIL_OPEN)
		sl_warn(guest->diag, &nic->pos, "%s: UNFILTERED (fail: open)", name);
	else
		sl_error(guest->diag, &nic->pos, "%s: NOTHING JUDGES ITS FRAMES; the guest goes on, "
			 "since libvirt would kill it: `virsh destroy` it, or mend what is wrong and "
			 "call `sluice libvirt-hook` as docs/libvirt.md says", name);
}

struct lookup {
	unsigned ifindex;
	__u64 netns;
	bool found;
};

static void compare(void *context, const struct sl_target_view *view)
{
	struct lookup *lookup = context;

	lookup->found |= view->target.kind == SL_TARGET_DEVICE && view->attached &&
			 view->target.ifindex == lookup->ifindex &&
			 view->target.netns == lookup->netns;
}

static bool is_attached(struct sl_guest *guest, const struct sl_device *device)
{
	struct lookup lookup = {device->ifindex, sl_state_netns(guest->state), false};

	return !sl_state_targets(guest->state, compare, &lookup) && lookup.found;
}

void sl_hook_reconnect_nic(struct sl_guest *guest, const struct sl_nic *nic)
{
	const char *why = sl_nic_uncovered(nic);
	struct sl_device device;

	if (why) {
		sl_warn(guest->diag, &nic->pos, "%s: NOT COVERED: %s",
			nic->device ? nic->device : nic->type, why);
		return;
	}
	if (has_no_device(guest, nic))
		return;
	if (find_device(guest, nic, &device) || open_state(guest)) {
		say_open(guest, nic);
		return;
	}
	if (is_attached(guest, &device) ||
	    (!guest->config_is_broken && !enforce(guest, nic, &device)))
		return;
	if (guest->config.fail == SL_FAIL_OPEN || !isolate(guest, &device, "the guest goes on"))
		say_open(guest, nic);
}
