// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Targets that were given a policy by hand, over a restart: a file each, in a directory beside
 * the socket, which a reboot empties as it does the pins. It holds the request, with the text
 * of the policy. Whose table does not say that sluiced gave it by hand has another one since.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/json.h"
#include "daemon.h"
#include "hand.h"
#include "op_change.h"
#include "policy/text.h"

/* ---- names of files ---- */

static char *folder_of(const struct sl_daemon *d)
{
	const char *socket = d->options->socket, *slash = strrchr(socket, '/');
	char *path;

	return asprintf(&path, "%.*s/by-hand", slash ? (int)(slash - socket) : 1,
			slash ? socket : ".") < 0 ? NULL : path;
}

static void name_cgroup(__u64 id, char name[SL_HAND_NAME])
{
	snprintf(name, SL_HAND_NAME, "cgroup-%llu", (unsigned long long)id);
}

static void name_device(const struct sl_daemon *d, unsigned ifindex, char name[SL_HAND_NAME])
{
	snprintf(name, SL_HAND_NAME, "device-%llu-%u",
		 (unsigned long long)sl_state_netns(d->devices.state), ifindex);
}

void sl_hand_open(struct sl_daemon *d)
{
	char *folder = folder_of(d);

	if (folder && mkdir(folder, 0700) && errno != EEXIST)
		fprintf(stderr, "sluiced: %s: %s: what is attached by hand is not followed after a "
			"restart\n", folder, strerror(errno));
	free(folder);
}

/* ---- written ---- */

static json_t *begins_json(const struct sl_given *given)
{
	json_t *begins = json_object();

	for (size_t i = 0; i < given->n_begins; i++)
		json_object_set_new(begins, given->begins[i].id,
				    json_integer(given->begins[i].since_s));
	return begins;
}

/* Whole or not at all. */
static int write_file(const char *folder, const char *name, const json_t *record)
{
	char *path = NULL, *next = NULL;
	int err = asprintf(&path, "%s/%s", folder, name) < 0 ||
		  asprintf(&next, "%s/.next", folder) < 0 ? -ENOMEM : 0, fd;

	if (!err) {
		fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		err = fd < 0 ? -errno : json_dumpfd(record, fd, JSON_COMPACT) ? -EIO : 0;
		if (fd >= 0 && close(fd) && !err)
			err = -errno;
	}
	if (!err && rename(next, path))
		err = -errno;
	free(path);
	free(next);
	return err;
}

static void note(struct sl_daemon *d, const char *name, const char *where, const json_t *request,
		 const struct sl_given *given)
{
	char *folder = folder_of(d);
	json_t *record = json_pack("{s:s, s:O, s:o}", "where", where, "request", request, "begins",
				   begins_json(given));
	int err = folder && record ? write_file(folder, name, record) : -ENOMEM;

	if (err)
		fprintf(stderr, "sluiced: %s is not followed after a restart: %s\n", where,
			strerror(-err));
	json_decref(record);
	free(folder);
}

void sl_hand_note_cgroup(struct sl_daemon *d, const struct sl_watched_cgroup *w,
			 const json_t *request)
{
	char name[SL_HAND_NAME];

	name_cgroup(w->id, name);
	note(d, name, w->path, request, &w->as.group->given);
}

void sl_hand_note_device(struct sl_daemon *d, const struct sl_watched *w, const json_t *request)
{
	char name[SL_HAND_NAME];

	name_device(d, w->device.ifindex, name);
	note(d, name, w->device.name, request, &w->as.group->given);
}

static void forget(struct sl_daemon *d, const char *name)
{
	char *folder = folder_of(d), *path = NULL;

	if (folder && asprintf(&path, "%s/%s", folder, name) > 0)
		unlink(path);
	free(path);
	free(folder);
}

void sl_hand_forget_cgroup(struct sl_daemon *d, __u64 id)
{
	char name[SL_HAND_NAME];

	name_cgroup(id, name);
	forget(d, name);
}

void sl_hand_forget_device(struct sl_daemon *d, unsigned ifindex)
{
	char name[SL_HAND_NAME];

	name_device(d, ifindex, name);
	forget(d, name);
}

/* ---- read ---- */

static bool is_by_hand(const struct sl_daemon *d, __u32 slot)
{
	struct sl_table table;
	bool by_hand;

	if (sl_state_table(d->devices.state, slot, &table))
		return false;
	by_hand = table.words[SL_H_FLAGS] & SL_F_BY_HAND;
	free(table.words);
	return by_hand;
}

static int load_begins(struct sl_given *given, const json_t *begins)
{
	const char *id;
	json_t *since;
	int err = 0;

	json_object_foreach((json_t *)begins, id, since)
		if (!err)
			err = sl_given_begin(given, id, json_integer_value(since));
	return err;
}

/* A group with the policy of the record; NULL: said. */
static struct sl_target_group *load(const json_t *record, bool of_cgroup, const char *where)
{
	struct sl_target_group *group = sl_target_group_new();
	json_t *request = json_object_get(record, "request");
	struct sl_diag diag = {};
	int err = group ? 0 : -ENOMEM;

	if (!err) {
		group->given.of_cgroup = of_cgroup;
		err = load_begins(&group->given, json_object_get(record, "begins"));
	}
	if (!err)
		err = sl_change_load(request, group, &diag);
	if (err) {
		fprintf(stderr, "sluiced: %s stays as it is, and is not followed: its policy cannot be "
			"loaded again\n", where);
		sl_diag_print(&diag, stderr);
		sl_target_group_put(group);
		group = NULL;
	}
	sl_diag_free(&diag);
	return group;
}

/* False: there is no such target any more. */
static bool restore_cgroup(struct sl_daemon *d, __u64 id, const char *where, const json_t *record)
{
	struct sl_target_group *group;
	struct sl_watched_cgroup *w;
	__u32 slot;

	if (!d->cgroups.mount || sl_state_find_cgroup(d->devices.state, id, &slot) ||
	    !is_by_hand(d, slot))
		return false;
	group = load(record, true, where);
	w = group ? sl_cgroups_add(&d->cgroups, where, id, group) : NULL;
	sl_target_group_put(group);
	if (w)
		w->as.by_hand = true;
	return true;
}

struct device_search {
	const struct sl_daemon *daemon;
	unsigned ifindex;
	bool found;
};

static void look_at(void *context, const struct sl_target_view *view)
{
	struct device_search *search = context;

	if (view->here && view->target.kind == SL_TARGET_DEVICE &&
	    view->target.ifindex == search->ifindex)
		search->found = is_by_hand(search->daemon, view->slot);
}

static bool restore_device(struct sl_daemon *d, unsigned ifindex, const json_t *record)
{
	struct device_search search = {.daemon = d, .ifindex = ifindex};
	struct sl_target_group *group;
	char name[IFNAMSIZ];
	struct sl_watched *w;

	sl_state_targets(d->devices.state, look_at, &search);
	if (!search.found || !if_indextoname(ifindex, name))
		return false;
	group = load(record, false, name);
	w = group ? SL_ADD(d->devices.devices, d->devices.n_devices) : NULL;
	if (!w) {
		sl_target_group_put(group);
		return true;
	}
	w->as.group = group;
	w->as.by_hand = true;
	w->device.ifindex = ifindex;
	memcpy(w->device.name, name, sizeof(name));
	return true;
}

static void restore(struct sl_daemon *d, const char *folder, const char *name)
{
	unsigned long long id = 0;
	unsigned ifindex = 0;
	json_t *record = NULL;
	const char *where;
	bool there = false;
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) > 0) {
		record = json_load_file(path, 0, NULL);
		free(path);
	}
	where = json_string_value(json_object_get(record, "where"));
	if (where && sscanf(name, "cgroup-%llu", &id) == 1)
		there = restore_cgroup(d, id, where, record);
	else if (where && sscanf(name, "device-%llu-%u", &id, &ifindex) == 2 &&
		 id == sl_state_netns(d->devices.state))
		there = restore_device(d, ifindex, record);
	if (!there)
		forget(d, name);
	json_decref(record);
}

/* What is gone is no target any more: another device may have its number by now. */
static void sweep(struct sl_daemon *d)
{
	struct sl_diag diag = {};

	if (!sl_change_lock(d, &diag)) {
		sl_state_sweep(d->devices.state);
		sl_state_unlock(d->devices.state);
	}
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
}

void sl_hand_restore(struct sl_daemon *d)
{
	char *folder = folder_of(d);
	DIR *dir = folder ? opendir(folder) : NULL;
	struct dirent *entry;

	sweep(d);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			restore(d, folder, entry->d_name);
	if (dir)
		closedir(dir);
	free(folder);
}
