// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The forwarder's program, over a target's maps. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complaint.h"
#include "forward.skel.h"
#include "gate.h"
#include "kernel_internal.h"
#include "named.skel.h"
#include "state_internal.h"

/* Every map is the target's, by its name: none is made. */
static int share_maps(struct forward *skel, const struct bpf_object *target)
{
	struct bpf_map *map, *own;
	int err = 0;

	bpf_object__for_each_map(map, skel->obj) {
		if (bpf_map__is_internal(map))
			continue;
		own = bpf_object__find_map_by_name(target, bpf_map__name(map));
		err = own ? bpf_map__reuse_fd(map, bpf_map__fd(own)) : -ENOENT;
		if (err)
			return err;
	}
	return err;
}

static int load(struct forward *skel, const struct named *named)
{
	int err;

	skel->rodata->sl_slot = named->rodata->sl_slot;
	skel->rodata->sl_netns = named->rodata->sl_netns;
	skel->rodata->sl_seed = named->rodata->sl_seed;
	err = share_maps(skel, named->obj);
	if (!err)
		err = forward__load(skel);
	if (err)
		return err;
	err = fcntl(bpf_program__fd(skel->progs.sluice_forward), F_DUPFD_CLOEXEC, 3);
	return err < 0 ? -errno : err;
}

int sl_kernel_gate(const struct sl_kernel *kernel, struct sl_diag *diag)
{
	const struct named *named = sl_kernel_named(kernel);
	libbpf_print_fn_t before = sl_complaints_begin();
	struct forward *skel = named ? forward__open() : NULL;
	int fd = skel ? load(skel, named) : -EINVAL;

	forward__destroy(skel);
	sl_complaints_end(before);
	if (fd < 0)
		sl_say_why(diag, "the forwarder's program cannot be loaded", fd);
	return fd;
}

int sl_kernel_mark_forwarder(const struct sl_kernel *kernel, int socket_fd)
{
	const struct named *named = sl_kernel_named(kernel);
	struct sl_socket note = {.flags = SL_SOCK_FORWARDER};

	if (!named)
		return -EINVAL;
	return bpf_map_update_elem(bpf_map__fd(named->maps.sl_sockets), &socket_fd, &note, 0) ?
		       -errno : 0;
}

/* ---- over the pinned state's ---- */

static int open_own(const struct sl_state *s, const char *name)
{
	char *pin = sl_state_pin(s, false, SL_CGROUPS_FOLDER "/%s", name);
	int fd = pin ? bpf_obj_get(pin) : -1, err = pin ? -errno : -ENOMEM;

	free(pin);
	return fd < 0 ? err : fd;
}

static int share_one(const struct sl_state *s, struct bpf_map *map)
{
	int fd, err;

	for (enum sl_state_map m = SL_M_INFO + 1; m < SL_M_MAX; m++)
		if (!strcmp(bpf_map__name(map), sl_state_map_names[m]))
			return bpf_map__reuse_fd(map, s->maps[m]);
	fd = open_own(s, bpf_map__name(map));
	err = fd < 0 ? fd : bpf_map__reuse_fd(map, fd);
	if (fd >= 0)
		close(fd);
	return err;
}

static int load_over_state(struct forward *skel, const struct sl_state *s, __u32 slot)
{
	struct bpf_map *map;
	int err = 0;

	skel->rodata->sl_slot = slot;
	skel->rodata->sl_seed = s->info.seed;
	skel->rodata->sl_listens_in = s->netns;
	bpf_object__for_each_map(map, skel->obj)
		if (!err && !bpf_map__is_internal(map))
			err = share_one(s, map);
	if (!err)
		err = forward__load(skel);
	if (err)
		return err;
	err = fcntl(bpf_program__fd(skel->progs.sluice_forward), F_DUPFD_CLOEXEC, 3);
	return err < 0 ? -errno : err;
}

int sl_state_gate(const struct sl_state *state, __u32 slot, struct sl_diag *diag)
{
	libbpf_print_fn_t before = sl_complaints_begin();
	struct forward *skel = forward__open();
	int fd = skel ? load_over_state(skel, state, slot) : -errno;

	forward__destroy(skel);
	sl_complaints_end(before);
	if (fd < 0)
		sl_say_why(diag, "the forwarder's program cannot be loaded", fd);
	return fd;
}

int sl_state_mark_forwarder(const struct sl_state *state, int socket_fd)
{
	struct sl_socket note = {.flags = SL_SOCK_FORWARDER};
	int map = open_own(state, "sl_sockets"), err;

	if (map < 0)
		return map;
	err = bpf_map_update_elem(map, &socket_fd, &note, 0) ? -errno : 0;
	close(map);
	return err;
}

int sl_gate_ask(int gate_fd, struct sl_ask *ask, const void *message, size_t length)
{
	__u8 data[sizeof(*ask) + SL_ASK_MESSAGE_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = data, .data_out = data,
		    .data_size_in = sizeof(*ask) + length, .data_size_out = sizeof(data),
		    .repeat = 1);

	if (length > SL_ASK_MESSAGE_MAX)
		return -EMSGSIZE;
	memcpy(data, ask, sizeof(*ask));
	memcpy(data + sizeof(*ask), message, length);
	if (bpf_prog_test_run_opts(gate_fd, &run))
		return -errno;
	memcpy(ask, data, sizeof(*ask));
	return (int)run.retval;
}
