// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Are a target's programs on its device? And is that here, elsewhere, or gone? */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state_internal.h"
#include "tc.h"

static const char *const link_words[2] = {[SL_EGRESS] = "from", [SL_INGRESS] = "to"};

/* ---- pins ---- */

/* In the namespace of the target, which may be another than ours. The index of one that was
 * put aside is another's: the moment at which it was attached is its own. */
static char *pin_of(const struct sl_state *s, const struct sl_target *t, bool aside,
		    const char *word)
{
	unsigned long long netns = t->netns, since = t->since_ns;

	if (aside)
		return sl_state_pin(s, false, "netns-%llu/moved-%llu-%s", netns, since, word);
	return sl_state_pin(s, false, "netns-%llu/link-%u-%s", netns, t->ifindex, word);
}

char *sl_state_link_pin(const struct sl_state *s, const struct sl_target *t,
			enum sl_direction direction)
{
	return pin_of(s, t, t->flags & SL_TARGET_ASIDE, link_words[direction]);
}

char *sl_state_peer_pin(const struct sl_state *s, const struct sl_target *t)
{
	return pin_of(s, t, t->flags & SL_TARGET_ASIDE, "peer");
}

static int put_aside(const struct sl_state *s, const struct sl_target *t, const char *word)
{
	char *from = pin_of(s, t, false, word), *to = pin_of(s, t, true, word);
	int err = !from || !to ? -ENOMEM : rename(from, to) && errno != ENOENT ? -errno : 0;

	free(from);
	free(to);
	return err;
}

/* In this order it can be done again after a process that died at it: what leads here goes
 * last. */
int sl_state_set_aside(struct sl_state *s, __u32 slot, struct sl_target *t)
{
	int err;

	t->flags |= SL_TARGET_ASIDE;
	err = sl_state_write_target(s, slot, t);
	if (!err)
		err = put_aside(s, t, link_words[SL_EGRESS]);
	if (!err)
		err = put_aside(s, t, link_words[SL_INGRESS]);
	if (!err)
		err = put_aside(s, t, "peer");
	if (!err && bpf_map_delete_elem(s->maps[SL_M_DEVICES], &t->ifindex))
		err = -errno;
	return err;
}

/* ---- where is it? ---- */

/* The index, wherever it is now, of the device that the link is on, and the link's id; 0:
 * the device is gone; -ENOENT: the link is; another error: it cannot be looked at. */
static int linked_ifindex(const struct sl_state *s, const struct sl_target *t,
			  enum sl_direction direction, __u32 *id)
{
	char *pin = sl_state_link_pin(s, t, direction);
	int found = pin ? sl_tcx_link_ifindex(pin, id) : -ENOMEM;

	free(pin);
	return found;
}

/* What cannot be looked at (no descriptor, no memory) is taken for attached: what is not is
 * swept, and that opens. */
static bool has_link(const struct sl_state *s, const struct sl_target *t,
		     enum sl_direction direction)
{
	__u32 id;
	int found = linked_ifindex(s, t, direction, &id);

	return found == (int)t->ifindex || (found < 0 && found != -ENOENT);
}

/* On another device than the one that has its index here? In a namespace that is not ours
 * nobody can tell. */
static bool is_elsewhere(const struct sl_state *s, const struct sl_target *t,
			 enum sl_direction direction)
{
	__u32 id = 0;
	int found = linked_ifindex(s, t, direction, &id), has;

	if (found <= 0)
		return false;
	if (found != (int)t->ifindex || (t->flags & SL_TARGET_ASIDE))
		return true;
	if (t->netns != s->netns)
		return false;
	has = sl_tcx_has_link(t->ifindex, direction, id);
	return !has || has == -ENODEV;
}

bool sl_state_is_moved(const struct sl_state *s, const struct sl_target *t)
{
	if (!s->path || !(t->flags & SL_TARGET_LIVE) || !(t->flags & SL_TARGET_TCX))
		return false;
	return is_elsewhere(s, t, SL_EGRESS) || is_elsewhere(s, t, SL_INGRESS);
}

bool sl_state_has_filter(const struct sl_state *s, const struct sl_target *t,
			 enum sl_direction direction)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);

	if (t->netns != s->netns)	/* cannot be seen from here: taken for attached */
		return true;
	return s->programs[direction] >= 0 &&
	       !bpf_obj_get_info_by_fd(s->programs[direction], &info, &size) &&
	       sl_clsact_is_attached(t->ifindex, direction, info.id);
}

bool sl_state_is_linked(const struct sl_state *s, const struct sl_target *t)
{
	bool tcx = t->flags & SL_TARGET_TCX;

	if (!s->path || !(t->flags & SL_TARGET_LIVE))
		return false;
	return tcx ? has_link(s, t, SL_EGRESS) && has_link(s, t, SL_INGRESS) :
		     sl_state_has_filter(s, t, SL_EGRESS) && sl_state_has_filter(s, t, SL_INGRESS);
}

bool sl_state_is_attached(const struct sl_state *s, const struct sl_target *t)
{
	return sl_state_is_linked(s, t) && !sl_state_is_moved(s, t);
}

/* A link tells when its device is gone (and yet another one may have come, of its name and
 * index, which is told from it by nothing else). Without a link the device may live, in
 * another namespace or here: what took the links off took nothing else. */
bool sl_state_may_live(const struct sl_state *s, const struct sl_target *t)
{
	char name[IF_NAMESIZE] = "";
	int from = 0, to = 0;
	__u32 id;

	if (t->flags & SL_TARGET_TCX) {
		from = linked_ifindex(s, t, SL_EGRESS, &id);
		to = linked_ifindex(s, t, SL_INGRESS, &id);
	}
	if (t->flags & SL_TARGET_ASIDE)
		return from && to;
	if (t->netns == s->netns && !if_indextoname(t->ifindex, name))
		return from > 0 || to > 0;
	if (from == -ENOENT && to == -ENOENT)
		return true;
	return (from && to) || (t->netns == s->netns && !strcmp(name, t->name));
}

/* Ours are put before all others, but somebody can put one before ours later
 * (BPF_F_BEFORE); what that one passes ours never see. */
__u32 sl_state_preceding(const struct sl_state *s, const struct sl_target *t)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info), first;
	int i;

	if (!(t->flags & SL_TARGET_TCX) || t->netns != s->netns)
		return 0;
	for (i = 0; i < 2; i++) {
		if (!sl_tcx_first(t->ifindex, i, &first) && first && s->programs[i] >= 0 &&
		    !bpf_obj_get_info_by_fd(s->programs[i], &info, &size) && first != info.id)
			return first;
	}
	return 0;
}

bool sl_state_device_is_attached(const struct sl_state *s, const struct sl_device *device)
{
	struct sl_target t;
	__u32 slot;

	return sl_state_find_device(s, device->ifindex, &slot, &t) && sl_state_is_attached(s, &t);
}
