// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Devices that let nothing pass, since the CNI made them before anybody knew their pods. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"
#include "op_change.h"
#include "policy/text.h"
#include "target/veth.h"

#define LOOK_NS 1000000000ull

int sl_veths_held(struct sl_daemon *d, const char *uid, const struct sl_veth *veth)
{
	struct sl_held_veth *held = SL_ADD(d->held, d->n_held);

	if (!held)
		return -ENOMEM;
	snprintf(held->uid, sizeof(held->uid), "%s", uid);
	held->ifindex = veth->ifindex;
	memcpy(held->name, veth->name, sizeof(held->name));
	return 0;
}

/* ---- of an earlier sluiced ---- */

/* It has no table: it lets nothing pass. */
static void note_held(void *context, const struct sl_target_view *view)
{
	struct sl_veth veth = {.ifindex = view->target.ifindex, .nsid = -1};

	if (view->target.kind != SL_TARGET_DEVICE || !view->here || !view->attached || view->generation)
		return;
	memcpy(veth.name, view->target.name, sizeof(veth.name));
	sl_veths_held(context, "", &veth); /* without memory it stays as it is */
}

void sl_veths_find_held(struct sl_daemon *d)
{
	sl_state_targets(d->devices.state, note_held, d);
}

static bool is_nobodys(const struct sl_daemon *d)
{
	for (size_t i = 0; i < d->n_held; i++)
		if (!*d->held[i].uid)
			return true;
	return false;
}

static void claim(void *context, const struct sl_veth *veth)
{
	struct sl_daemon *d = context;

	for (size_t i = 0; i < d->n_held; i++) {
		struct sl_held_veth *held = &d->held[i];
		const struct sl_pod *pod;

		if (*held->uid || held->ifindex != veth->ifindex)
			continue;
		pod = sl_veths_pod_behind(d, veth->nsid);
		if (pod)
			snprintf(held->uid, sizeof(held->uid), "%s", pod->uid);
	}
}

/* Whose they are the networks behind them tell. */
static void find_owners(struct sl_daemon *d)
{
	__u64 now = sl_now_ns();

	if (!d->pods.on || !is_nobodys(d) || now < d->held_look_at_ns)
		return;
	sl_veth_each(claim, d);
	d->held_look_at_ns = is_nobodys(d) ? now + LOOK_NS : 0;
}

/* ---- their end ---- */

static const struct sl_pod *known_pod(const struct sl_daemon *d, const char *uid)
{
	for (size_t i = 0; i < d->pods.n; i++)
		if (!d->pods.list[i].ended && d->pods.list[i].text &&
		    !strcmp(d->pods.list[i].uid, uid))
			return &d->pods.list[i];
	return NULL;
}

/* Its pod is known, and it has no policy: the pod is exempt, or its policy is none for a veth. */
static bool let_go(struct sl_daemon *d, const struct sl_held_veth *held)
{
	struct sl_device device = {.ifindex = held->ifindex};
	struct sl_diag diag = {};
	int err = sl_change_lock(d, &diag);

	memcpy(device.name, held->name, sizeof(device.name));
	if (!err) {
		sl_state_detach_device(d->devices.state, &device, &diag);
		sl_state_unlock(d->devices.state);
	}
	sl_diag_free(&diag);
	return !err;
}

/* True: it is held no more. */
static bool settle(struct sl_daemon *d, const struct sl_held_veth *held)
{
	const struct sl_veth veth = {.ifindex = held->ifindex, .nsid = -1};
	const struct sl_pod *pod = known_pod(d, held->uid);
	const struct sl_watched_cgroup *w = pod ? sl_cgroups_find(&d->cgroups, pod->id) : NULL;
	struct sl_veth named = veth;

	if (!sl_links_find(d->devices.links, held->ifindex) && !if_nametoindex(held->name))
		return true;
	if (!*held->uid && sl_devices_find(&d->devices, held->ifindex))
		return true; /* judged by what found it */
	if (!pod || !w)
		return false;
	if (!w->has_veths || (w->veths && w->veths->unfit))
		return let_go(d, held);
	if (!w->veths || !w->veths->group)
		return false; /* its cgroup's turn has not come yet */
	memcpy(named.name, held->name, sizeof(named.name));
	sl_veths_take(d, w->veths, &named);
	return true;
}

void sl_veths_settle_held(struct sl_daemon *d)
{
	find_owners(d);
	for (size_t i = 0; i < d->n_held;)
		if (settle(d, &d->held[i]))
			d->held[i] = d->held[--d->n_held];
		else
			i++;
}
