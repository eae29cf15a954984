// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Devices as targets: attached, detached. */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "complaint.h"
#include "state_internal.h"
#include "tc.h"

int sl_device_find(const char *name, struct sl_device *out, struct sl_diag *diag)
{
	struct ifreq request = {};
	struct sl_device device = {};
	int fd, err = 0;

	device.ifindex = strlen(name) < sizeof(device.name) ? if_nametoindex(name) : 0;
	if (!device.ifindex) {
		sl_error(diag, NULL, "no device '%s' in this network namespace (`ip link` lists "
			 "them)", name);
		return -ENODEV;
	}
	strcpy(device.name, name);
	strcpy(request.ifr_name, name);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request))
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err) {
		sl_error(diag, NULL, "device '%s': %s", name, strerror(-err));
		return err;
	}
	if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
		sl_error(diag, NULL, "device '%s' is no Ethernet device (type %u): its frames "
			 "cannot be judged; attach to a tap or to the host's end of a veth", name,
			 request.ifr_hwaddr.sa_family);
		return -EOPNOTSUPP;
	}
	*out = device;
	return 0;
}

/* ---- attach ---- */

/* The links of a process that was killed go when the kernel comes to it; until then the
 * same program cannot be linked. */
static int link_once_free(int program, unsigned ifindex, enum sl_direction direction)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	int fd, i;

	for (i = 0; i < 100; i++) {
		fd = sl_tcx_link(program, ifindex, direction);
		if (fd != -EEXIST)
			break;
		nanosleep(&pause, NULL);
	}
	return fd;
}

int sl_state_attach_tcx(const struct sl_state *s, const struct sl_target *t,
		      enum sl_direction direction)
{
	char *pin = sl_state_link_pin(s, t, direction);
	int fd, err = 0;

	if (!pin)
		return -ENOMEM;
	fd = link_once_free(s->programs[direction], t->ifindex, direction);
	if (fd < 0) {
		err = fd;
	} else {
		unlink(pin);	/* of a device that had this index and is gone */
		if (bpf_obj_pin(fd, pin))
			err = -errno;
		close(fd);
	}
	free(pin);
	return err;
}

static int attach_clsact(const struct sl_state *s, struct sl_target *t,
			 enum sl_direction direction)
{
	bool made = false;
	int err = sl_clsact_attach(s->programs[direction], t->ifindex, direction, &made);

	if (made)
		t->flags |= SL_TARGET_QDISC;
	return err;
}

static void drop_attachment(const struct sl_state *s, const struct sl_target *t)
{
	enum sl_direction direction;
	char *pin;

	sl_state_drop_peer(s, t);
	for (direction = SL_EGRESS; direction <= SL_INGRESS; direction++) {
		/* one that was given up half-way does not say by what */
		pin = sl_state_link_pin(s, t, direction);
		if (pin)
			sl_state_drop_link(pin);
		free(pin);
		if (!(t->flags & SL_TARGET_TCX) && t->netns == s->netns &&
		    sl_state_has_filter(s, t, direction))
			sl_clsact_detach(t->ifindex, direction);
	}
	if ((t->flags & SL_TARGET_QDISC) && t->netns == s->netns)
		sl_clsact_remove_qdisc(t->ifindex);
}

static int attach_programs(const struct sl_state *s, struct sl_target *t,
			   enum sl_direction first)
{
	enum sl_direction second = first == SL_INGRESS ? SL_EGRESS : SL_INGRESS;
	int err;

	t->flags |= SL_TARGET_TCX;
	err = sl_state_attach_tcx(s, t, first);
	if (!err)
		err = sl_state_attach_tcx(s, t, second);
	if (err != -EINVAL)
		return err;
	t->flags &= ~SL_TARGET_TCX;	/* before 6.6 */
	err = attach_clsact(s, t, first);
	return err ? err : attach_clsact(s, t, second);
}

static int say_attach(struct sl_diag *diag, const struct sl_device *device,
		      const struct sl_target *t, int err)
{
	if (err == -ENODEV)
		sl_error(diag, NULL, "device '%s' went away meanwhile", device->name);
	else if (err == -EEXIST && (t->flags & SL_TARGET_TCX))
		sl_error(diag, NULL, "device '%s': our program is on it already, linked by a process "
			 "that still lives (`bpftool link show`)", device->name);
	else if (err == -EEXIST)
		sl_error(diag, NULL, "device '%s': somebody else's tc filter or ingress queueing "
			 "discipline has the first place (`tc filter show dev %s ingress`); remove "
			 "it, or use a kernel from 6.6", device->name, device->name);
	else
		sl_say_why(diag, "the programs cannot be attached to the device", err);
	return err;
}

int sl_state_lead_to(const struct sl_state *s, unsigned ifindex, __u32 slot)
{
	__u64 word = SL_DEVICE_WORD(ifindex, slot);

	return bpf_map_update_elem(s->maps[SL_M_DEVICES], &ifindex, &word, 0) ? -errno : 0;
}

void sl_state_forget_target(struct sl_state *s, __u32 slot, const struct sl_target *t)
{
	__u64 word;

	drop_attachment(s, t);
	if (t->netns == s->netns && s->maps[SL_M_DEVICES] >= 0 &&
	    !bpf_map_lookup_elem(s->maps[SL_M_DEVICES], &t->ifindex, &word) &&
	    (__u32)word == slot)
		bpf_map_delete_elem(s->maps[SL_M_DEVICES], &t->ifindex);
	sl_state_clear_slot(s, slot, t);
}

/* What it had received before our programs were there is nothing that they missed. */
static __u32 received_beyond(const struct sl_state *s, __u32 slot, unsigned ifindex)
{
	struct sl_meter seen = {};
	__u32 received = 0;

	if (!sl_device_received(ifindex, &received))
		return 0;
	sl_state_read_meter(s, slot, &seen);
	return received - (__u32)seen.tx_frames;
}

/* With a table to the workload first: what it then sends finds all in place. Without
 * one from it first: each frame that passes is one too many, and linking a program
 * takes a grace period. */
static int attach_new(struct sl_state *s, const struct sl_device *device,
		      const struct sl_table *table, __u32 *out, struct sl_diag *diag)
{
	struct sl_target t = {.kind = SL_TARGET_DEVICE, .netns = s->netns,
			      .ifindex = device->ifindex, .since_ns = sl_state_boot_ns()};
	__u32 slot;
	int err = sl_state_find_room(s, &slot, diag);

	if (err)
		return err;
	memcpy(t.name, device->name, sizeof(t.name));
	err = table ? sl_state_fill_slot(s, &t, table, slot, diag) :
		      sl_state_write_target(s, slot, &t);
	if (err) {
		sl_state_clear_slot(s, slot, &t);
		return err;
	}
	err = sl_state_lead_to(s, device->ifindex, slot);
	if (!err)
		err = attach_programs(s, &t, table ? SL_INGRESS : SL_EGRESS);
	if (!err) {
		t.flags |= SL_TARGET_LIVE;
		t.cgroup_level = received_beyond(s, slot, device->ifindex);
		err = sl_state_write_target(s, slot, &t);
	}
	if (err) {
		say_attach(diag, device, &t, err);
		sl_state_forget_target(s, slot, &t);
		return err;
	}
	if (table)	/* what is held gets one soon; others wait to be held. Status tells if it fails */
		sl_state_guard_peer(s, &t);
	*out = slot;
	return 0;
}

/* The target of a device, by its index in this namespace. */
bool sl_state_find_device(const struct sl_state *s, unsigned ifindex, __u32 *slot,
			struct sl_target *t)
{
	__u64 word;

	if (s->maps[SL_M_DEVICES] < 0 ||
	    bpf_map_lookup_elem(s->maps[SL_M_DEVICES], &ifindex, &word))
		return false;
	*slot = (__u32)word;
	return !sl_state_read_target(s, *slot, t) && t->kind == SL_TARGET_DEVICE &&
	       t->ifindex == ifindex && t->netns == s->netns;
}

/* A target that is not attached is one of a device that had this index before: it is
 * forgotten, as one that was given up half-way is; but if that device was moved to another
 * namespace it stays ours. */
static bool find_attached(struct sl_state *s, unsigned ifindex, __u32 *slot, struct sl_target *t,
			  int *err)
{
	if (!sl_state_find_device(s, ifindex, slot, t))
		return false;
	if (!s->path || sl_state_is_attached(s, t))
		return true;
	if ((t->flags & SL_TARGET_ASIDE) || sl_state_is_moved(s, t))
		*err = sl_state_set_aside(s, *slot, t);
	else
		sl_state_forget_target(s, *slot, t);
	return false;
}

static int say_aside(struct sl_diag *diag, const struct sl_device *device,
		     const struct sl_target *moved, int err)
{
	sl_error(diag, NULL, "device '%s' has the index (%u) of '%s', which was moved to another "
		 "network namespace, and whose pins cannot be put aside: %s; try again, or "
		 "`sluice detach --dev %s`, which opens that one", device->name, device->ifindex,
		 moved->name, strerror(-err), moved->name);
	return err;
}

static int switch_device(struct sl_state *s, __u32 slot, struct sl_target *t,
			 const struct sl_device *device, const struct sl_table *table,
			 struct sl_diag *diag)
{
	int err = s->words[slot] ? sl_state_switch_slot(s, slot, table, diag) :
				   sl_state_fill_slot(s, t, table, slot, diag); /* was held */

	if (err || !strcmp(t->name, device->name))
		return err;
	memcpy(t->name, device->name, sizeof(t->name));	/* renamed since */
	return sl_state_write_target(s, slot, t);
}

int sl_state_attach_device(struct sl_state *s, const struct sl_device *device,
			   const struct sl_table *table, __u32 *slot, struct sl_diag *diag)
{
	libbpf_print_fn_t before = sl_complaints_begin();
	struct sl_target t;
	__u32 found;
	int err = 0;

	sl_state_sweep_some(s);
	if (find_attached(s, device->ifindex, &found, &t, &err)) {
		err = switch_device(s, found, &t, device, table, diag);
		if (!err)
			sl_state_guard_peer(s, &t);
		if (!err)
			*slot = found;
	} else {
		err = err ? say_aside(diag, device, &t, err) :
			    attach_new(s, device, table, slot, diag);
	}
	sl_complaints_end(before);
	return err;
}

int sl_state_hold_device(struct sl_state *s, const struct sl_device *device,
			 struct sl_diag *diag)
{
	libbpf_print_fn_t before = sl_complaints_begin();
	struct sl_target t;
	__u32 slot;
	int err = 0;

	if (!find_attached(s, device->ifindex, &slot, &t, &err))
		err = err ? say_aside(diag, device, &t, err) :
			    attach_new(s, device, NULL, &slot, diag);
	sl_complaints_end(before);
	return err;
}

int sl_state_detach_device(struct sl_state *s, const struct sl_device *device,
			   struct sl_diag *diag)
{
	libbpf_print_fn_t before;
	struct sl_target t;
	__u32 slot;

	if (!sl_state_find_device(s, device->ifindex, &slot, &t)) {
		sl_error(diag, NULL, "device '%s' has no policy (`sluice status` lists those that "
			 "have one)", device->name);
		return -ENOENT;
	}
	before = sl_complaints_begin();
	sl_state_forget_target(s, slot, &t);
	sl_complaints_end(before);
	return 0;
}

int sl_state_detach_slot(struct sl_state *s, __u32 slot, struct sl_diag *diag)
{
	libbpf_print_fn_t before;
	struct sl_target t;

	if (sl_state_read_target(s, slot, &t) || t.kind == SL_TARGET_FREE)
		return -ENOENT;
	if (t.kind == SL_TARGET_CGROUP) {
		sl_state_forget_cgroup(s, slot, &t);
		return 0;
	}
	if (!(t.flags & SL_TARGET_TCX) && t.netns != s->netns) {
		sl_error(diag, NULL, "device '%s' is in another network namespace: detach it there "
			 "(`nsenter --net=/run/netns/NAME sluice detach`)", t.name);
		return -EXDEV;
	}
	before = sl_complaints_begin();
	sl_state_forget_target(s, slot, &t);
	sl_complaints_end(before);
	return 0;
}
