// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Which devices there are: what the links say. */
#include <net/if_arp.h>
#include <string.h>

#include "devices.h"
#include "policy/text.h"

struct sl_watched *sl_devices_find(struct sl_devices *devices, unsigned ifindex)
{
	for (size_t i = 0; i < devices->n_devices; i++)
		if (devices->devices[i].device.ifindex == ifindex)
			return &devices->devices[i];
	return NULL;
}

/* Its maker chose it: any bytes but / and white space. */
void sl_devices_say_name(const struct sl_devices *devices, const char *name)
{
	fprintf(stderr, "%s: ", devices->program);
	sl_put_text(name, stderr);
}

static void set_name(struct sl_watched *w, const char *name)
{
	memcpy(w->device.name, name, sizeof(w->device.name));
}

/* What is no Ethernet device (lo, a tun) has no frames to judge. */
static void consider(struct sl_devices *devices, const struct sl_link *link)
{
	struct sl_target_group *group = sl_devices_match(devices, link->name);
	struct sl_watched *w;

	if (!group || sl_devices_find(devices, link->ifindex)) /* by hand, of a run before this one */
		return;
	if (link->type != ARPHRD_ETHER) {
		sl_devices_say_name(devices, link->name);
		fprintf(stderr, " matches, but is no Ethernet device (type %u): not attached\n",
			link->type);
		return;
	}
	w = SL_ADD(devices->devices, devices->n_devices);
	if (!w) {
		sl_devices_say_name(devices, link->name);
		fputs(": out of memory: NOT ATTACHED\n", stderr);
		return;
	}
	w->as.group = sl_target_group_get(group);
	w->device.ifindex = link->ifindex;
	w->is_new = devices->started;
	set_name(w, link->name);
}

void sl_devices_add(struct sl_devices *devices, unsigned ifindex, const char *name,
		    struct sl_target_group *group)
{
	struct sl_watched *w = SL_ADD(devices->devices, devices->n_devices);

	if (!w)
		return;
	w->as.group = sl_target_group_get(group);
	w->device.ifindex = ifindex;
	w->of_veth = true;
	set_name(w, name);
}

void sl_devices_drop(struct sl_devices *devices, struct sl_watched *w)
{
	sl_target_group_put(w->as.group);
	*w = devices->devices[--devices->n_devices];
}

/* Whoever may rename a device may also detach it; that a name changed is no wish
 * that its frames pass. What has a policy keeps it, the one of its old name. */
static void renamed(struct sl_devices *devices, struct sl_watched *w, const struct sl_link *link)
{
	struct sl_target_group *group =
		w->of_veth ? w->as.group : sl_devices_match(devices, link->name);
	bool has_none = w->as.state == SL_WATCHED_WAITING || w->as.state == SL_WATCHED_FAILED;
	char why[80];

	snprintf(why, sizeof(why), "was %s%s", w->device.name,
		 group || w->as.by_hand ? "" : "; stays attached, though no pattern matches");
	set_name(w, link->name);
	if (has_none && !w->as.by_hand && !group) {
		sl_devices_drop(devices, w);
		return;
	}
	if (!w->as.by_hand && group)
		sl_assign(&w->as, group);
	w->as.orphan = !w->as.by_hand && !group;
	if (has_none) {
		w->as.state = SL_WATCHED_WAITING;
		return;
	}
	devices->ops->tell(devices->context, "renamed", w, NULL, why);
	/* a new generation brings the name into the state, and so into events */
	w->meaning = 0;
	w->as.renew = true;
}

static void gone(struct sl_devices *devices, struct sl_watched *w)
{
	if (w->as.state == SL_WATCHED_ATTACHED || w->as.state == SL_WATCHED_ISOLATED)
		devices->ops->tell(devices->context, "gone", w, NULL, NULL);
	devices->sweep = true;
	sl_devices_drop(devices, w);
}

void sl_devices_on_link(void *context, enum sl_link_change change, const struct sl_link *link,
			const struct sl_link *before)
{
	struct sl_devices *devices = context;
	struct sl_watched *w = sl_devices_find(devices, link->ifindex);

	switch (change) {
	case SL_LINK_NEW:
		consider(devices, link);
		break;
	case SL_LINK_RENAMED:
		if (w)
			renamed(devices, w, link);
		else
			consider(devices, link);
		break;
	case SL_LINK_MASTER:
		if (w)
			sl_devices_on_change(devices);
		break;
	case SL_LINK_AGAIN:
		devices->check_at_ns = sl_now_ns();
		break;
	case SL_LINK_GONE:
		if (w)
			gone(devices, w);
		break;
	}
}
