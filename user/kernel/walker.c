// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>

#include "complaint.h"
#include "sweep.skel.h"
#include "walker.h"

static int load(struct sweep *skel, sl_walker_map map_fd, const void *context)
{
	struct bpf_map *map;
	int err = 0, fd;

	bpf_object__for_each_map(map, skel->obj) {
		fd = bpf_map__is_internal(map) ? -1 : map_fd(context, bpf_map__name(map));
		if (!err && fd >= 0)
			err = bpf_map__reuse_fd(map, fd);
	}
	if (!err)
		err = sweep__load(skel);
	if (err)
		return err;
	err = fcntl(bpf_program__fd(skel->progs.sluice_sweep), F_DUPFD_CLOEXEC, 3);
	return err < 0 ? -errno : err;
}

int sl_walker_load(sl_walker_map map, const void *context)
{
	libbpf_print_fn_t before = sl_complaints_begin();
	struct sweep *skel = sweep__open();
	int fd = skel ? load(skel, map, context) : -errno;

	sweep__destroy(skel);
	sl_complaints_end(before);
	return fd;
}

int sl_walker_run(int walker_fd, __u32 slot, enum sl_settle why)
{
	struct sl_sweep sweep = {.slot = slot, .why = why};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &sweep, .data_size_in = sizeof(sweep),
		    .repeat = 1);

	return bpf_prog_test_run_opts(walker_fd, &run) ? -errno : 0;
}
