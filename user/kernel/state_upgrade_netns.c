// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Another version's programs of the devices of each network namespace: ours in their place, in
 * every link, over the same maps (state_upgrade.c). */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complaint.h"
#include "device.skel.h"
#include "state_internal.h"
#include "tc.h"

#define NETNS_PREFIX "netns-"

struct place {
	struct sl_state *s;
	const char *folder;	/* netns-COOKIE */
	struct device *skel;
};

static int pin_in(const struct place *p, const char *name, int fd)
{
	char *pin = sl_state_pin(p->s, false, "%s/%s", p->folder, name);
	int err = pin ? sl_state_replace_pin(p->s, fd, pin) : -ENOMEM;

	free(pin);
	return err;
}

/* The maps that there are become the object's; what the first object made is the others' too. */
static int share_maps(const struct place *p, struct sl_diag *diag)
{
	const struct bpf_map *devices = sl_state_map_of(p->skel, SL_M_DEVICES);
	char *pin = sl_state_pin(p->s, false, "%s/%s", p->folder, sl_state_map_names[SL_M_DEVICES]);
	enum sl_state_map m;
	int err = 0, fd;

	for (m = SL_M_INFO + 1; m < SL_M_DEVICES && !err; m++)
		if (p->s->maps[m] >= 0)
			err = bpf_map__reuse_fd(sl_state_map_of(p->skel, m), p->s->maps[m]);
	fd = pin && !err ? sl_state_get_map(pin, devices, diag) : -ENOMEM;
	free(pin);
	if (err || fd < 0)
		return err ? err : fd;
	err = bpf_map__reuse_fd(sl_state_map_of(p->skel, SL_M_DEVICES), fd);
	close(fd);
	return err;
}

/* Those that begin anew. */
static int keep_maps(struct sl_state *s, const struct device *skel)
{
	enum sl_state_map m;

	for (m = SL_M_INFO + 1; m < SL_M_DEVICES; m++) {
		if (s->maps[m] >= 0)
			continue;
		s->maps[m] = dup(bpf_map__fd(sl_state_map_of(skel, m)));
		if (s->maps[m] < 0)
			return -errno;
	}
	return 0;
}

/* link-INDEX-from and -to, and moved-SINCE-... (state_attached.c): of which direction? */
static bool is_link(const char *name, enum sl_direction *direction)
{
	const char *word = strrchr(name, '-');

	if ((strncmp(name, "link-", 5) && strncmp(name, "moved-", 6)) || !word || (strcmp(word, "-from") && strcmp(word, "-to")))
		return false;
	*direction = strcmp(word, "-to") ? SL_EGRESS : SL_INGRESS;
	return true;
}

static int replace_link(const struct place *p, const char *name, const int *programs,
			struct sl_diag *diag)
{
	enum sl_direction direction;
	char *pin;
	int err;

	if (!is_link(name, &direction))
		return 0;
	pin = sl_state_pin(p->s, false, "%s/%s", p->folder, name);
	err = pin ? sl_tcx_replace(pin, direction, programs ? programs[direction] : -1) : -ENOMEM;
	if (err == -ENOLINK)	/* its device is gone */
		err = 0;
	else if (err == -EXDEV)
		err = sl_error(diag, NULL, "%s: no link of a device's program; it is not adopted: remove "
			       "the pin (`sluice status` then tells what is not enforced)", pin);
	else if (err)
		sl_say_why(diag, pin ? pin : "a link", err);
	free(pin);
	return err;
}

/* programs NULL: only looks whether they are what they should be. */
static int replace_links(const struct place *p, const int *programs, struct sl_diag *diag)
{
	char *path = sl_state_pin(p->s, false, "%s", p->folder);
	DIR *dir = path ? opendir(path) : NULL;
	int err = dir ? 0 : path ? -errno : -ENOMEM;
	struct dirent *entry;

	while (dir && !err && (entry = readdir(dir)))
		err = replace_link(p, entry->d_name, programs, diag);
	if (dir)
		closedir(dir);
	free(path);
	return err;
}

static int replace_programs(const struct place *p, struct sl_diag *diag)
{
	const int programs[2] = {
		[SL_EGRESS] = bpf_program__fd(p->skel->progs.sluice_from_workload),
		[SL_INGRESS] = bpf_program__fd(p->skel->progs.sluice_to_workload),
	};
	int i, err = replace_links(p, programs, diag);

	for (i = 0; i < 2 && !err; i++)
		err = pin_in(p, sl_state_program_names[i], programs[i]);
	return err;
}

static int load(const struct place *p)
{
	p->skel->rodata->sl_seed = p->s->info.seed;
	p->skel->rodata->sl_mark = p->s->info.mark;
	p->skel->rodata->sl_netns = strtoull(p->folder + strlen(NETNS_PREFIX), NULL, 10);
	return device__load(p->skel);
}

static bool has_programs(const struct sl_state *s, const char *folder)
{
	char *pin = sl_state_pin(s, false, "%s/%s", folder, sl_state_map_names[SL_M_DEVICES]);
	bool has = pin && !access(pin, F_OK);

	free(pin);
	return has;
}

static int open_programs(struct place *p)
{
	p->skel = device__open();
	if (!p->skel)
		return errno ? -errno : -ENOMEM;
	return sl_state_size_maps(p->skel);
}

int sl_state_check_namespace(struct sl_state *s, const char *folder, struct sl_diag *diag)
{
	struct place p = {s, folder, NULL};
	int err = open_programs(&p);

	if (!err)
		err = share_maps(&p, diag);
	if (!err)
		err = replace_links(&p, NULL, diag);
	device__destroy(p.skel);
	return err;
}

int sl_state_take_namespace(struct sl_state *s, const char *folder, struct sl_diag *diag)
{
	struct place p = {s, folder, NULL};
	int err = open_programs(&p);

	if (!err)
		err = share_maps(&p, diag);
	if (!err)
		err = load(&p);
	if (!err)
		err = keep_maps(s, p.skel);
	if (!err)
		err = replace_programs(&p, diag);
	if (err && !diag->n_errors)
		sl_say_why(diag, "the device programs cannot be replaced", err);
	device__destroy(p.skel);
	return err;
}

int sl_state_each_namespace(struct sl_state *s, sl_state_namespace *call, struct sl_diag *diag)
{
	DIR *dir = opendir(s->path);
	int err = dir ? 0 : -errno;
	struct dirent *entry;

	while (dir && !err && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, NETNS_PREFIX, strlen(NETNS_PREFIX)) &&
		    has_programs(s, entry->d_name))
			err = call(s, entry->d_name, diag);
	if (dir)
		closedir(dir);
	return err;
}
