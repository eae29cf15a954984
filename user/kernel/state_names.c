// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Reading what a target has learned (docs/names.md). */
#include <bpf/bpf.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "state_internal.h"

/* The inner map of a slot; a descriptor or -errno. */
static int open_inner(int outer, __u32 slot)
{
	__u32 id;

	if (bpf_map_lookup_elem(outer, &slot, &id))
		return -errno;
	return bpf_map_get_fd_by_id(id);
}

static __u32 now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (__u32)ts.tv_sec;
}

/* The name in its place, the right way round; false: it is another's by now. */
static bool read_name(int known, const struct sl_owner *owner, char out[SL_NAME_CHARACTERS + 1])
{
	struct sl_name name;
	__u32 i;

	if (bpf_map_lookup_elem(known, &owner->name, &name) || name.tag != owner->tag ||
	    (name.sequence & 1) || name.characters > SL_NAME_CHARACTERS)
		return false;
	for (i = 0; i < name.characters; i++)
		out[i] = (char)name.key.data[name.characters - 1 - i];
	out[i] = 0;
	return true;
}

static void tell_owners(int known, const struct sl_learned *learned, sl_lesson_handler handler,
			void *context)
{
	struct sl_lesson lesson = {.high = learned->high, .low = learned->low,
				   .family = SL_LEARNED_FAMILY(learned->place)};
	__u32 now = now_s();

	for (int i = 0; i < SL_OWNERS; i++) {
		const struct sl_owner *owner = &learned->owners[i];

		if (!owner->tag || owner->until_s <= now || !read_name(known, owner, lesson.name))
			continue;
		lesson.left_s = owner->until_s - now;
		handler(context, &lesson);
	}
}

int sl_state_learned(const struct sl_state *s, __u32 slot, sl_lesson_handler handler,
		     void *context)
{
	int learned = open_inner(s->maps[SL_M_LEARNED], slot);
	int known = open_inner(s->maps[SL_M_KNOWN], slot);
	struct sl_learned_bucket bucket;
	int err = learned < 0 ? learned : known < 0 ? known : 0;

	for (__u32 i = 0; !err && i < SL_LEARNED_BUCKETS; i++) {
		if (bpf_map_lookup_elem(learned, &i, &bucket))
			err = -errno;
		for (int way = 0; !err && way < SL_LEARNED_WAYS; way++)
			if (bucket.ways[way].place)
				tell_owners(known, &bucket.ways[way], handler, context);
	}
	if (learned >= 0)
		close(learned);
	if (known >= 0)
		close(known);
	return err;
}
