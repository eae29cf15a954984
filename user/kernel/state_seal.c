// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Is a device's target as it was left? And back to that. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complaint.h"
#include "policy/text.h"
#include "state_internal.h"
#include "tc.h"

static __u32 inner_id(const struct sl_state *s, enum sl_state_map map, __u32 index)
{
	__u32 id;

	return bpf_map_lookup_elem(s->maps[map], &index, &id) ? 0 : id;
}

/* What the kernel reads of it, and its name, written once. */
static __u64 hash_of(const struct sl_target *t)
{
	char text[160];

	snprintf(text, sizeof(text), "%llx %x %x %x %x %llx %x %.16s", t->cgroup_id,
		 t->cgroup_level, t->buckets, t->kind, t->flags, t->netns, t->ifindex, t->name);
	return sl_hash(text);
}

static int seal_link(const struct sl_state *s, const struct sl_target *t,
		     enum sl_direction direction, struct sl_seal *out)
{
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);
	char *pin = sl_state_link_pin(s, t, direction);
	int fd = pin ? bpf_obj_get(pin) : -ENOMEM, err = fd < 0 ? fd : 0;

	free(pin);
	if (err)
		return err == -ENOENT ? 0 : err; /* the pin is gone */
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		err = -errno;
	close(fd);
	/* tcx.ifindex stands where xdp.ifindex does; 0: it was taken off the device */
	if (err || info.xdp.ifindex != t->ifindex)
		return err;
	out->links[direction] = info.id;
	out->programs[direction] = info.prog_id;
	if (t->netns == s->netns)
		err = sl_tcx_first(t->ifindex, direction, &out->first[direction]);
	return err == -ENODEV ? 0 : err;
}

static int seal_direction(const struct sl_state *s, const struct sl_target *t,
			  enum sl_direction direction, struct sl_seal *out)
{
	if (t->flags & SL_TARGET_TCX)
		return seal_link(s, t, direction, out);
	if (t->netns != s->netns)
		return 0;
	out->programs[direction] = sl_clsact_program(t->ifindex, direction);
	out->first[direction] = out->programs[direction];
	return 0;
}

int sl_state_seal(const struct sl_state *s, __u32 slot, struct sl_seal *out)
{
	struct sl_seal seal = {};
	struct sl_target t;
	__u32 index;
	int err = sl_state_target(s, slot, &t);

	if (err)
		return err;
	seal.word = __atomic_load_n(&s->words[slot], __ATOMIC_ACQUIRE);
	index = SL_WORD_INDEX(seal.word);
	seal.target = hash_of(&t);
	seal.table = seal.word ? inner_id(s, SL_M_TABLES, index) : 0;
	seal.patterns = seal.word ? inner_id(s, SL_M_NAMES, index) : 0;
	seal.flows = inner_id(s, SL_M_FLOWS, slot);
	if (t.kind == SL_TARGET_CGROUP)
		seal.leads =
			sl_state_judges_cgroup((struct sl_state *)s, slot, &t) ? t.cgroup_id : 0;
	else if (t.netns == s->netns && s->maps[SL_M_DEVICES] >= 0)
		bpf_map_lookup_elem(s->maps[SL_M_DEVICES], &t.ifindex, &seal.leads);
	if (t.kind == SL_TARGET_DEVICE)
		err = seal_direction(s, &t, SL_EGRESS, &seal);
	if (!err && t.kind == SL_TARGET_DEVICE)
		err = seal_direction(s, &t, SL_INGRESS, &seal);
	if (!err)
		*out = seal;
	return err;
}

const char *sl_seal_broken(const struct sl_seal *was, const struct sl_seal *is)
{
	for (int i = 0; i < 2; i++) {
		if (was->programs[i] != is->programs[i] || was->links[i] != is->links[i])
			return is->programs[i] ? "another program is in our place"
					       : "somebody took the programs off the device";
		if (was->first[i] != is->first[i])
			return "another program runs before ours";
	}
	if (was->word != is->word)
		return "sl_words was changed: another table would decide";
	if (was->leads != is->leads)
		return "sl_devices was changed: it leads elsewhere";
	if (was->target != is->target)
		return "sl_targets was changed";
	if (was->table != is->table || was->patterns != is->patterns)
		return "sl_tables was changed: another table would decide";
	return was->flows != is->flows ? "sl_flows was changed" : NULL;
}

static bool is_whole(const struct sl_state *s, enum sl_direction direction,
		     const struct sl_seal *seal)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);

	return s->programs[direction] >= 0 &&
	       !bpf_obj_get_info_by_fd(s->programs[direction], &info, &size) &&
	       seal->programs[direction] == info.id && seal->first[direction] == info.id;
}

/* A link that drops every frame, before all others: its descriptor or -errno. */
static int shut(unsigned ifindex, enum sl_direction direction)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 2 /* shot */},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int link, program = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "sluice_shut", "GPL", code, 2,
					  NULL);

	if (program < 0)
		return program;
	link = sl_tcx_link(program, ifindex, direction);
	close(program);
	return link;
}

/* A program is attached to a hook once (kernel/bpf/mprog.c): ours must go before it comes
 * back as the first. Meanwhile nothing passes, rather than everything. */
static int mend_link(const struct sl_state *s, const struct sl_target *t,
		     enum sl_direction direction)
{
	char *pin = sl_state_link_pin(s, t, direction);
	int shutter = pin ? shut(t->ifindex, direction) : -ENOMEM, err;

	if (shutter < 0) {
		free(pin);
		return shutter;
	}
	sl_state_drop_link(pin);
	free(pin);
	err = sl_state_attach_tcx(s, t, direction);
	if (!err)
		sl_state_detach_link(shutter);
	/* else it stays shut, until it is tried again or this process ends */
	if (!err || err == -ENODEV)
		close(shutter);
	return err;
}

static int mend_target(struct sl_state *s, const struct sl_device *device, __u32 slot,
		       struct sl_target *t)
{
	int err = sl_state_read_target(s, slot, t);

	if (err)
		return err;
	if (t->kind != SL_TARGET_DEVICE || t->ifindex != device->ifindex || t->netns != s->netns ||
	    (t->flags & (SL_TARGET_LIVE | SL_TARGET_ASIDE)) != SL_TARGET_LIVE)
		return -ESTALE; /* another's by now, or rewritten: given anew */
	return sl_state_lead_to(s, t->ifindex, slot);
}

int sl_state_mend(struct sl_state *s, const struct sl_device *device, __u32 slot)
{
	libbpf_print_fn_t before = sl_complaints_begin();
	__u32 index = SL_WORD_INDEX(s->words[slot]);
	enum sl_direction d;
	struct sl_seal seal;
	struct sl_target t;
	int err = mend_target(s, device, slot, &t);

	if (!err)
		err = sl_state_seal(s, slot, &seal);
	for (d = SL_EGRESS; !err && d <= SL_INGRESS; d++)
		if (!is_whole(s, d, &seal))
			err = t.flags & SL_TARGET_TCX ? mend_link(s, &t, d) : -EOPNOTSUPP;
	if (!err && (index != 2 * slot && index != 2 * slot + 1))
		__atomic_store_n(&s->words[slot], 0, __ATOMIC_RELEASE);
	sl_complaints_end(before);
	return err;
}
