// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Whose cgroup it is, by its path and what the runtimes have on the disk. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container.h"

#define SCOPE ".scope"
#define TASKS "io.containerd.runtime.v2.task"

static const char *const prefixes[] = {"", "docker-", "libpod-", "cri-containerd-", "crio-"};

static bool is_hex_id(const char *text, size_t len)
{
	return len == SL_CONTAINER_ID_LEN && strspn(text, "0123456789abcdef") >= len;
}

/* The id in one part of a path, as the runtimes with and without systemd make it: [PREFIX-]ID
 * [.scope]. NULL: none. (libpod-conmon-ID is its monitor's.) */
static const char *id_in(const char *part, size_t len)
{
	size_t n = sizeof(SCOPE) - 1;

	if (len > n && !strncmp(part + len - n, SCOPE, n))
		len -= n;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		n = strlen(prefixes[i]);
		if (len > n && !strncmp(part, prefixes[i], n) && is_hex_id(part + n, len - n))
			return part + n;
	}
	return NULL;
}

/*
 * What a container makes below its own cgroup could have the name of another one: no part
 * but the last may be a container's.
 */
static bool is_within_another(const char *path)
{
	const char *part = path, *end;

	while (*part && (end = strchr(part + 1, '/'))) {
		if (id_in(part + 1, (size_t)(end - part - 1)))
			return true;
		part = end;
	}
	return false;
}

static int docker(const struct sl_container_places *places, const char *id,
		  struct sl_container *out)
{
	char *path = sl_container_docker_file(places->docker, id);
	bool known = path;

	free(path);
	return known ? sl_container_identify(id, NULL, NULL, places->docker, out) : -ENOENT;
}

static bool ends_in(const char *text, size_t len, const char *end, size_t end_len)
{
	return len >= end_len && !memcmp(text + len - end_len, end, end_len);
}

/* SLICE:PREFIX:NAME, as runc's systemd driver makes a scope of it: SLICE/PREFIX-NAME.scope. */
static bool is_scope_of(const char *cgroup, const char *own)
{
	const char *prefix = strchr(own, ':'), *name = prefix ? strchr(prefix + 1, ':') : NULL;
	char *scope;
	bool same;
	int n;

	if (!name)
		return false;
	n = asprintf(&scope, "/%.*s/%.*s%s%s.scope", prefix == own ? 12 : (int)(prefix - own),
		     prefix == own ? "system.slice" : own, (int)(name - prefix - 1), prefix + 1,
		     name == prefix + 1 ? "" : "-", name + 1);
	if (n < 0)
		return false;
	same = ends_in(cgroup, strlen(cgroup), scope, (size_t)n);
	free(scope);
	return same;
}

/* Is that the cgroup of the spec's cgroupsPath? */
static bool is_own(const char *cgroup, const char *own)
{
	if (!own || !*own)
		return false;
	return own[0] == '/' ? ends_in(cgroup, strlen(cgroup), own, strlen(own))
			     : is_scope_of(cgroup, own);
}

/* The spec of a bundle has the annotations. -ENOENT: no bundle is there. */
static int bundle(const struct sl_container_places *places, const char *id, const char *dir,
		  const char *cgroup, struct sl_container *out)
{
	const char *own;
	json_t *spec;
	char *path;
	int err = -ENOENT;

	if (asprintf(&path, "%s/config.json", dir) < 0)
		return -ENOMEM;
	spec = sl_container_load(path);
	free(path);
	own = json_string_value(json_object_get(json_object_get(spec, "linux"), "cgroupsPath"));
	if (spec && (!cgroup || is_own(cgroup, own)))
		err = sl_container_identify(id, dir, json_object_get(spec, "annotations"),
					    places->docker, out);
	json_decref(spec);
	return err;
}

/* One more directory between: of storage drivers, of namespaces. */
static int below_each(const struct sl_container_places *places, const char *top, const char *suffix,
		      const char *id, const char *rest, const char *cgroup,
		      struct sl_container *out)
{
	DIR *dir = opendir(top);
	struct dirent *entry;
	int err = -ENOENT;
	char *path;
	size_t len, n = strlen(suffix);

	while (dir && err == -ENOENT && (entry = readdir(dir))) {
		len = strlen(entry->d_name);
		if (entry->d_name[0] == '.' || len < n || strcmp(entry->d_name + len - n, suffix))
			continue;
		if (asprintf(&path, "%s/%s/%s%s", top, entry->d_name, id, rest) < 0) {
			err = -ENOMEM;
			continue;
		}
		err = bundle(places, id, path, cgroup, out);
		free(path);
	}
	if (dir)
		closedir(dir);
	return err;
}

static int by_id(const struct sl_container_places *places, const char *id, struct sl_container *out)
{
	char *tasks;
	int err = docker(places, id, out);

	if (err == -ENOENT)
		err = below_each(places, places->podman, "-containers", id, "/userdata", NULL, out);
	if (err != -ENOENT)
		return err;
	if (asprintf(&tasks, "%s/" TASKS, places->containerd) < 0)
		return -ENOMEM;
	err = below_each(places, tasks, "", id, "", NULL, out);
	free(tasks);
	return err;
}

/* Of a scope each part behind a dash may be the name: which one it is says the spec. */
static int by_scope(const struct sl_container_places *places, const char *tasks, const char *cgroup,
		    const char *last, struct sl_container *out)
{
	char *id = strndup(last, strlen(last) - (sizeof(SCOPE) - 1));
	const char *at = id;
	int err = id ? -ENOENT : -ENOMEM;

	for (; at && err == -ENOENT; at = strchr(at, '-') ? strchr(at, '-') + 1 : NULL)
		if (*at && *at != '.')
			err = below_each(places, tasks, "", at, "", cgroup, out);
	free(id);
	return err;
}

/* containerd lets its callers name containers: `ctr run IMAGE web` is /default/web, or with systemd
 * SLICE/PREFIX-web.scope. */
static int by_path(const struct sl_container_places *places, const char *cgroup,
		   struct sl_container *out)
{
	const char *id = strrchr(cgroup, '/') + 1;
	char *tasks;
	int err;

	if (!*id || *id == '.' || asprintf(&tasks, "%s/" TASKS, places->containerd) < 0)
		return *id && *id != '.' ? -ENOMEM : -ENOENT;
	err = below_each(places, tasks, "", id, "", cgroup, out);
	if (err == -ENOENT && ends_in(id, strlen(id), SCOPE, sizeof(SCOPE) - 1))
		err = by_scope(places, tasks, cgroup, id, out);
	free(tasks);
	return err;
}

bool sl_container_id(const char *cgroup, char id[SL_CONTAINER_ID_LEN + 1])
{
	const char *last = strrchr(cgroup, '/'), *found;

	found = last && !is_within_another(cgroup) ? id_in(last + 1, strlen(last + 1)) : NULL;
	if (found)
		snprintf(id, SL_CONTAINER_ID_LEN + 1, "%s", found);
	return found;
}

static int find(const struct sl_container_places *places, const char *cgroup,
		struct sl_container *out)
{
	char id[SL_CONTAINER_ID_LEN + 1];

	return sl_container_id(cgroup, id) ? by_id(places, id, out) : by_path(places, cgroup, out);
}

/* As is_within_another, of those whose names are no ids: their runtime's files tell. What cannot be
 * told counts as one. */
static bool is_within_a_named(const struct sl_container_places *places, const char *cgroup)
{
	char *path = strdup(cgroup), *end = path;
	struct sl_container above = {};
	bool found = !path;

	while (!found && (end = strchr(end + 1, '/'))) {
		*end = 0;
		found = by_path(places, path, &above) != -ENOENT;
		*end = '/';
	}
	sl_container_free(&above);
	free(path);
	return found;
}

int sl_container_find(const struct sl_container_places *places, const char *cgroup,
		      struct sl_container *out)
{
	struct sl_container found = {};
	int err;

	if (cgroup[0] != '/' || is_within_another(cgroup))
		return -ENOENT;
	err = find(places, cgroup, &found);
	if (!err && is_within_a_named(places, cgroup)) {
		sl_container_free(&found);
		err = -ENOENT;
	}
	if (!err)
		*out = found;
	return err;
}
