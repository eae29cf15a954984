// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Going through a target's flows: bpf/sweep.bpf.c, over the pinned maps. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "complaint.h"
#include "sluice_sweep.h"
#include "state_internal.h"
#include "sweep.skel.h"

static int share(const struct sl_state *s, struct bpf_map *map)
{
	for (enum sl_state_map m = SL_M_INFO + 1; m < SL_M_MAX; m++)
		if (!strcmp(bpf_map__name(map), sl_state_map_names[m]))
			return bpf_map__reuse_fd(map, s->maps[m]);
	return -ENOENT;
}

static int load(const struct sl_state *s, struct sweep *skel)
{
	struct bpf_map *map;
	int err = 0;

	skel->rodata->sl_seed = s->info.seed;
	bpf_object__for_each_map(map, skel->obj)
		if (!err && !bpf_map__is_internal(map))
			err = share(s, map);
	if (!err)
		err = sweep__load(skel);
	if (err)
		return err;
	err = fcntl(bpf_program__fd(skel->progs.sluice_sweep), F_DUPFD_CLOEXEC, 3);
	return err < 0 ? -errno : err;
}

/* Once a process: a descriptor, or -errno. */
static int open_walker(struct sl_state *s)
{
	libbpf_print_fn_t before;
	struct sweep *skel;

	if (s->walker >= 0)
		return s->walker;
	before = sl_complaints_begin();
	skel = sweep__open();
	s->walker = skel ? load(s, skel) : -errno;
	sweep__destroy(skel);
	sl_complaints_end(before);
	return s->walker;
}

int sl_state_settle_flows(struct sl_state *s, __u32 slot)
{
	const struct sl_sweep sweep = {.slot = slot};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &sweep, .data_size_in = sizeof(sweep),
		    .repeat = 1);
	int fd = open_walker(s);

	if (fd < 0)
		return fd;
	return bpf_prog_test_run_opts(fd, &run) ? -errno : 0;
}
