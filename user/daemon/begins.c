// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "begins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"

/* systemd may name several, with a colon between; ours names one. */
static char *path_of(const struct sl_daemon_options *o)
{
	const char *state = secure_getenv("STATE_DIRECTORY"), *slash = strrchr(o->socket, '/');
	char *path;
	int n;

	if (state && *state)
		n = asprintf(&path, "%.*s/begins", (int)strcspn(state, ":"), state);
	else
		n = asprintf(&path, "%.*s/begins", slash ? (int)(slash - o->socket) : 1,
			     slash ? o->socket : ".");
	return n < 0 ? NULL : path;
}

/* ---- whose ---- */

static json_t *texts(char *const *list, size_t n)
{
	json_t *out = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(list[i]));
	return out;
}

/* What makes a target the same one after a restart, as after a reload. */
static json_t *key_of(const struct sl_target_group *g)
{
	return json_pack("{s:b, s:i, s:o, s:o, s:s?}", "cgroup", g->given.of_cgroup, "of",
			 (int)g->of, "patterns", texts(g->patterns, g->n_patterns), "labels",
			 texts(g->labels, g->n_labels), "chosen", g->chosen ? g->policy : NULL);
}

/* ---- read ---- */

static bool is_whole(const json_t *memory)
{
	const json_t *one;
	size_t i;

	json_array_foreach(memory, i,
			   one) if (!json_is_object(json_object_get(one, "target")) ||
				    !json_is_object(json_object_get(one, "begins"))) return false;
	return json_is_array(memory);
}

json_t *sl_begins_read(const struct sl_daemon_options *options)
{
	char *path = path_of(options);
	json_error_t error = {.text = "not what sluiced writes there"};
	json_t *memory = NULL;
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (fd < 0 && (!path || errno == ENOENT)) {
		free(path);
		return NULL;
	}
	if (fd < 0)
		snprintf(error.text, sizeof(error.text), "%s", strerror(errno));
	else
		memory = json_loadfd(fd, 0, &error);
	if (fd >= 0)
		close(fd);
	if (memory && !is_whole(memory)) {
		json_decref(memory);
		memory = NULL;
	}
	if (!memory)
		fprintf(stderr, "sluiced: %s: %s; durations of `expires` count from now on\n", path,
			error.text);
	free(path);
	return memory;
}

int sl_begins_recall(const json_t *memory, struct sl_target_group *group)
{
	json_t *key = memory ? key_of(group) : NULL, *since;
	const json_t *one;
	const char *id;
	size_t i;
	int err = memory && !key ? -ENOMEM : 0;

	json_array_foreach(memory, i, one)
	{
		if (!key || !json_equal(json_object_get(one, "target"), key))
			continue;
		json_object_foreach(json_object_get(one, "begins"), id, since) if (!err) err =
			sl_given_begin(&group->given, id, json_integer_value(since));
	}
	json_decref(key);
	return err;
}

/* ---- written ---- */

static void add_groups(json_t *memory, struct sl_target_group *const *groups, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct sl_given *given = &groups[i]->given;
		json_t *begins = json_object();

		for (size_t k = 0; k < given->n_begins; k++)
			json_object_set_new(begins, given->begins[k].id,
					    json_integer(given->begins[k].since_s));
		if (given->n_begins)
			json_array_append_new(memory,
					      json_pack("{s:o, s:O}", "target", key_of(groups[i]),
							"begins", begins));
		json_decref(begins);
	}
}

/* Whole or not at all, and on the disk before it is the file. */
static int write_file(const char *path, const json_t *memory)
{
	char *next;
	int err, fd;

	if (asprintf(&next, "%s.next", path) < 0)
		return -ENOMEM;
	fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = fd < 0 ? -errno : json_dumpfd(memory, fd, JSON_COMPACT) || fsync(fd) ? -EIO : 0;
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	if (!err && rename(next, path))
		err = -errno;
	free(next);
	return err;
}

/* The same as what stands there: nothing is written. */
static bool is_known(const char *path, const json_t *memory)
{
	json_t *there = json_load_file(path, 0, NULL);
	bool same =
		there ? json_equal(there, memory) : !json_array_size(memory) && access(path, F_OK);

	json_decref(there);
	return same;
}

json_t *sl_begins_of(const struct sl_config *config)
{
	json_t *memory = json_array();

	if (!memory)
		return NULL;
	add_groups(memory, config->groups, config->n_groups);
	add_groups(memory, config->cgroups, config->n_cgroups);
	add_groups(memory, config->runs, config->n_runs);
	return memory;
}

void sl_begins_keep(const struct sl_daemon_options *options, const struct sl_config *config)
{
	char *path = path_of(options);
	json_t *memory = sl_begins_of(config);
	int err = path && memory ? 0 : -ENOMEM;

	if (!err && !is_known(path, memory))
		err = write_file(path, memory);
	if (err)
		fprintf(stderr,
			"sluiced: %s: %s; durations of `expires` begin anew with a restart\n",
			path ? path : "begins", strerror(-err));
	json_decref(memory);
	free(path);
}
