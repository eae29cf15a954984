// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sl_info: whose the state is, and by which rules it was made. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "state_internal.h"

int sl_state_new_info(struct sl_state *s)
{
	s->info = (struct sl_info){.magic = SL_STATE_MAGIC, .table_magic = SL_TABLE_MAGIC,
				   .next_generation = 1, .abi = SL_ABI_VERSION,
				   .slots = SL_SLOTS};
	sl_state_note_layouts(s);
	if (getrandom(&s->info.seed, sizeof(s->info.seed), 0) != sizeof(s->info.seed) ||
	    getrandom(&s->info.mark, sizeof(s->info.mark), 0) != sizeof(s->info.mark))
		return -EIO;
	s->info.mark |= 1;
	s->maps[SL_M_INFO] = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_info", sizeof(__u32),
					    sizeof(struct sl_info), 1, NULL);
	return s->maps[SL_M_INFO] < 0 ? -errno : 0;
}

int sl_state_write_info(const struct sl_state *s)
{
	__u32 zero = 0;

	return bpf_map_update_elem(s->maps[SL_M_INFO], &zero, &s->info, 0) ? -errno : 0;
}

int sl_state_refuse(const struct sl_state *s, struct sl_diag *diag, const char *why)
{
	sl_error(diag, NULL, "%s: %s; it is not adopted. Detach with the version that made it, "
		 "or remove the pins (this opens their devices): rm -r %s", s->path, why, s->path);
	return -EINVAL;
}

/* Of another version the first fields are read: magic to cgroup_programs have their places for
 * good. */
#define INFO_HEAD offsetof(struct sl_info, layouts)
#define INFO_MAX 512

static int read_value(struct sl_state *s)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info), zero = 0;
	char value[INFO_MAX] = {};

	if (bpf_obj_get_info_by_fd(s->maps[SL_M_INFO], &info, &size) ||
	    info.type != BPF_MAP_TYPE_ARRAY || info.value_size < INFO_HEAD ||
	    info.value_size > sizeof(value) ||
	    bpf_map_lookup_elem(s->maps[SL_M_INFO], &zero, value))
		return -EINVAL;
	memcpy(&s->info, value, sizeof(s->info));
	if (info.value_size != sizeof(s->info)) /* then the layouts are not ours to read */
		memset(s->info.layouts, 0, sizeof(s->info.layouts));
	return 0;
}

static int refuse_version(struct sl_state *s, struct sl_diag *diag)
{
	sl_error(diag, NULL, s->info.abi == SL_ABI_BETWEEN ?
			 "%s: a sluiced is taking it over, or was ended while it did (ABI %u here is %u): "
			 "start sluiced, which goes on" :
			 "%s: of another version of Sluice (its ABI is %u, this version's is %u): the "
			 "sluiced of this version takes it over when it starts; or use the version that "
			 "made it", s->path, s->info.abi, SL_ABI_VERSION);
	return -EINVAL;
}

int sl_state_read_info(struct sl_state *s, bool upgrade, struct sl_diag *diag)
{
	char *pin = sl_state_pin(s, false, "sl_info");

	if (!pin)
		return -ENOMEM;
	s->maps[SL_M_INFO] = bpf_obj_get(pin);
	free(pin);
	if (s->maps[SL_M_INFO] < 0)
		return -errno;
	if (read_value(s))
		return sl_state_refuse(s, diag, "sl_info is not ours");
	if (s->info.magic != SL_STATE_MAGIC)
		return sl_state_refuse(s, diag, "half written");
	if (s->info.abi != SL_ABI_VERSION)
		return upgrade ? -EXDEV : refuse_version(s, diag);
	if (s->info.table_magic != SL_TABLE_MAGIC || s->info.slots != SL_SLOTS)
		return sl_state_refuse(s, diag, "of another version of Sluice");
	return 0;
}

__u64 sl_state_next_generation(struct sl_state *s)
{
	__u64 generation = s->info.next_generation++;

	sl_state_write_info(s);
	return generation;
}

int sl_state_pin_info(const struct sl_state *s)
{
	char *pin = sl_state_pin(s, false, "sl_info");
	int err = !pin ? -ENOMEM : bpf_obj_pin(s->maps[SL_M_INFO], pin) ? -errno : 0;

	free(pin);
	return err;
}
