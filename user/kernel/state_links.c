// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The links of cgroups: pinned in a folder of each cgroup's own. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "complaint.h"
#include "state_internal.h"

/* The first one's link makes the storage (sl_points), which the others ask. */
static const struct hook {
	const char *program;	/* and its link */
	enum bpf_attach_type attach;
	enum bpf_prog_type type;
} hooks[] = {
	{"sluice_sock_create", BPF_CGROUP_INET_SOCK_CREATE, BPF_PROG_TYPE_CGROUP_SOCK},
	{"sluice_connect4", BPF_CGROUP_INET4_CONNECT, BPF_PROG_TYPE_CGROUP_SOCK_ADDR},
	{"sluice_connect6", BPF_CGROUP_INET6_CONNECT, BPF_PROG_TYPE_CGROUP_SOCK_ADDR},
	{"sluice_sendmsg4", BPF_CGROUP_UDP4_SENDMSG, BPF_PROG_TYPE_CGROUP_SOCK_ADDR},
	{"sluice_sendmsg6", BPF_CGROUP_UDP6_SENDMSG, BPF_PROG_TYPE_CGROUP_SOCK_ADDR},
	{"sluice_ingress", BPF_CGROUP_INET_INGRESS, BPF_PROG_TYPE_CGROUP_SKB},
	{"sluice_egress", BPF_CGROUP_INET_EGRESS, BPF_PROG_TYPE_CGROUP_SKB},
};
static const struct hook witness = {SL_WITNESS, BPF_CGROUP_INET_SOCK_RELEASE,
				    BPF_PROG_TYPE_CGROUP_SOCK};

#define N_HOOKS (sizeof(hooks) / sizeof(*hooks))

/* The folder of a cgroup's links, or (name) one of them. */
static char *link_pin(const struct sl_state *s, __u64 id, const char *name)
{
	return sl_state_pin(s, false, SL_CGROUPS_FOLDER "/%llu%s%s", (unsigned long long)id,
			    name ? "/" : "", name ? name : "");
}

/* Is it a link of this hook to this cgroup? One that the kernel took off, or somebody,
 * is to none. */
static bool is_link(int fd, __u64 id, const struct hook *hook)
{
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == BPF_LINK_TYPE_CGROUP &&
	       info.cgroup.cgroup_id == id && info.cgroup.attach_type == hook->attach;
}

static bool has_link(const struct sl_state *s, __u64 id, const struct hook *hook)
{
	char *pin = link_pin(s, id, hook->program);
	int fd = pin ? bpf_obj_get(pin) : -1;
	bool has = fd >= 0 && is_link(fd, id, hook);

	if (fd >= 0)
		close(fd);
	free(pin);
	return has;
}

static int open_program(const struct sl_state *s, const struct hook *hook, struct sl_diag *diag)
{
	char *pin = sl_state_pin(s, false, SL_CGROUPS_FOLDER "/%s", hook->program);
	int fd = pin ? sl_state_get_program(s, pin, hook->program, hook->type, diag) : -ENOMEM;

	free(pin);
	return fd;
}

static int link_program(const struct sl_state *s, __u64 id, int fd, const struct hook *hook,
			struct sl_diag *diag)
{
	char *pin = link_pin(s, id, hook->program);
	int program = open_program(s, hook, diag), link = -1, err = program < 0 ? program : 0;

	if (!pin)
		err = -ENOMEM;
	if (!err) {
		link = bpf_link_create(program, fd, hook->attach, NULL);
		err = link < 0 ? -errno : 0;
	}
	if (!err) {
		unlink(pin);	/* of one that was detached */
		err = bpf_obj_pin(link, pin) ? -errno : 0;
	}
	if (link >= 0)
		close(link);
	if (program >= 0)
		close(program);
	free(pin);
	return err;
}

static int make_folder(const struct sl_state *s, __u64 id)
{
	char *folder = link_pin(s, id, NULL);
	int err = !folder ? -ENOMEM : mkdir(folder, 0700) && errno != EEXIST ? -errno : 0;

	free(folder);
	return err;
}

static void remove_folder(const struct sl_state *s, __u64 id)
{
	char *folder = link_pin(s, id, NULL);

	if (folder)
		rmdir(folder);	/* fails if a link is in it */
	free(folder);
}

static void drop_link(const struct sl_state *s, __u64 id, const struct hook *hook)
{
	char *pin = link_pin(s, id, hook->program);

	if (pin)
		sl_state_drop_link(pin);
	free(pin);
}

static int ensure_link(const struct sl_state *s, __u64 id, int fd, const struct hook *hook,
		       struct sl_diag *diag)
{
	int err = make_folder(s, id);

	if (!err && !has_link(s, id, hook))
		err = link_program(s, id, fd, hook, diag);
	if (err && !diag->n_errors)
		sl_say_why(diag, "a program cannot be attached to the cgroup", err);
	return err;
}

/* ---- the witness of a target ---- */

int sl_state_add_witness(const struct sl_state *s, __u64 id, int fd, struct sl_diag *diag)
{
	return ensure_link(s, id, fd, &witness, diag);
}

void sl_state_drop_witness(const struct sl_state *s, __u64 id)
{
	drop_link(s, id, &witness);
	remove_folder(s, id);
}

bool sl_state_has_witness(const struct sl_state *s, __u64 id)
{
	return has_link(s, id, &witness);
}

/* ---- the links of an attach point ---- */

bool sl_state_has_links(const struct sl_state *s, __u64 id, bool all)
{
	size_t n = 0, i;

	for (i = 0; i < N_HOOKS; i++)
		n += has_link(s, id, &hooks[i]);
	return all ? n == N_HOOKS : n;
}

int sl_state_ensure_links(const struct sl_state *s, __u64 id, int fd, struct sl_diag *diag)
{
	int err = 0;
	size_t i;

	for (i = 0; i < N_HOOKS && !err; i++)
		err = ensure_link(s, id, fd, &hooks[i], diag);
	return err;
}

void sl_state_drop_links(const struct sl_state *s, __u64 id)
{
	size_t i;

	for (i = 0; i < N_HOOKS; i++)
		drop_link(s, id, &hooks[i]);
	remove_folder(s, id);
}

/* ---- another version's program ---- */

/* The kernel compares only the kind of program (__cgroup_bpf_replace): a link of another
 * hook is left alone. */
static int update_link(const struct sl_state *s, __u64 id, const struct hook *hook, int program)
{
	char *pin = link_pin(s, id, hook->program);
	int fd = pin ? bpf_obj_get(pin) : -1, err = 0;

	if (fd >= 0 && is_link(fd, id, hook) && bpf_link_update(fd, program, NULL))
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(pin);
	return err;
}

static const struct hook *hook_of(const char *program)
{
	size_t i;

	for (i = 0; i < N_HOOKS; i++)
		if (!strcmp(hooks[i].program, program))
			return &hooks[i];
	return strcmp(program, SL_WITNESS) ? NULL : &witness;
}

int sl_state_update_links(const struct sl_state *s, const char *program, int fd)
{
	char *folder = sl_state_pin(s, false, SL_CGROUPS_FOLDER);
	const struct hook *hook = hook_of(program);
	DIR *dir = folder ? opendir(folder) : NULL;
	int err = hook && dir ? 0 : -ENOENT;
	struct dirent *entry;
	__u64 id;

	while (!err && (entry = readdir(dir))) {
		id = strtoull(entry->d_name, NULL, 10);
		if (id)
			err = update_link(s, id, hook, fd);
	}
	if (dir)
		closedir(dir);
	free(folder);
	return err;
}
