// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A container's name and labels, from its annotations and the files of Docker and Podman. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "http/json.h"

#define FILE_MAX (64u << 20) /* of Podman's list: some 1 KiB for each container */
/* CRI-O's: its bundles are not beside a list, as Podman's are (internal/annotations) */
#define NAME_OF_CRIO "io.kubernetes.cri-o.Name"

/* What goes into a path must be one part of it. */
static bool is_id(const char *text)
{
	size_t len = strlen(text);

	return len && len <= SL_CONTAINER_TEXT_MAX && text[0] != '.' && !strchr(text, '/');
}

static void add_texts(json_t *labels, const json_t *from)
{
	const char *key;
	json_t *value;

	/* the iterator's casts are jansson's own */
	json_object_foreach((json_t *)from, key, value) if (json_is_string(value))
		json_object_set(labels, key, value);
}

int sl_container_make(const char *id, const char *name, const json_t *labels,
		      struct sl_container *out)
{
	struct sl_container c;

	if (!is_id(id) || !name || !*name || strlen(name) > SL_CONTAINER_TEXT_MAX)
		return -EINVAL;
	c = (struct sl_container){strdup(id), strdup(name), json_object()};
	if (!c.id || !c.name || !c.labels) {
		sl_container_free(&c);
		return -ENOMEM;
	}
	if (labels)
		add_texts(c.labels, labels);
	*out = c;
	return 0;
}

void sl_container_free(struct sl_container *c)
{
	free(c->id);
	free(c->name);
	json_decref(c->labels);
	*c = (struct sl_container){};
}

/* Owned; NULL: it cannot be read whole. */
static char *read_whole(int fd, size_t len)
{
	char *text = malloc(len);
	ssize_t got = 1;

	for (size_t n = 0; text && n < len && got > 0; n += got > 0 ? (size_t)got : 0)
		got = pread(fd, text + n, len - n, (off_t)n);
	if (got > 0)
		return text;
	free(text);
	return NULL;
}

/* A file that the runtime replaces by renaming: it is always whole. */
json_t *sl_container_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	char *text = size > 0 && size <= (off_t)FILE_MAX ? read_whole(fd, (size_t)size) : NULL;
	json_t *json = text ? sl_json_read(text, (size_t)size, NULL) : NULL;

	free(text);
	if (fd >= 0)
		close(fd);
	return json;
}

static int rename_to(struct sl_container *c, const char *name)
{
	char *copy;

	if (!name || !*name || strlen(name) > SL_CONTAINER_TEXT_MAX)
		return 0;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(c->name);
	c->name = copy;
	return 0;
}

static char *docker_file(const char *root, const char *below, const char *id)
{
	struct stat st;
	char *path;

	if (asprintf(&path, "%s/%s%scontainers/%s/config.v2.json", root, below, *below ? "/" : "", id) < 0)
		return NULL;
	if (!stat(path, &st))
		return path;
	free(path);
	return NULL;
}

/* UID.GID: what dockerd --userns-remap makes in its data root, and takes for it. */
static bool is_remapped(const char *name)
{
	size_t n = strspn(name, "0123456789"), m;

	m = n && name[n] == '.' ? strspn(name + n + 1, "0123456789") : 0;
	return m && !name[n + 1 + m];
}

char *sl_container_docker_file(const char *root, const char *id)
{
	char *path = docker_file(root, "", id);
	DIR *dir = path ? NULL : opendir(root);
	struct dirent *entry;

	while (dir && !path && (entry = readdir(dir)))
		if (is_remapped(entry->d_name))
			path = docker_file(root, entry->d_name, id);
	if (dir)
		closedir(dir);
	return path;
}

/* DATA-ROOT/containers/ID/config.v2.json, written when the container is created. */
static int read_docker(struct sl_container *c, const char *root)
{
	char *path = sl_container_docker_file(root, c->id);
	const char *name;
	json_t *json;
	int err;

	if (!path)
		return 0;
	json = sl_container_load(path);
	free(path);
	name = json_string_value(json_object_get(json, "Name"));
	if (name && *name == '/')
		name++;
	err = rename_to(c, name);
	if (!err)
		add_texts(c->labels, json_object_get(json_object_get(json, "Config"), "Labels"));
	json_decref(json);
	return err;
}

/* GRAPH-ROOT/DRIVER-containers/ID/userdata is the bundle; containers.json beside ID. */
static int read_podman(struct sl_container *c, const char *bundle)
{
	const char *end = bundle ? strstr(bundle, "-containers/") : NULL, *id;
	json_t *list, *one;
	char *path;
	int err = 0;
	size_t i;

	if (!end)
		return 0;
	end += strlen("-containers/");
	if (asprintf(&path, "%.*scontainers.json", (int)(end - bundle), bundle) < 0)
		return -ENOMEM;
	list = sl_container_load(path);
	free(path);
	json_array_foreach(list, i, one)
	{
		id = json_string_value(json_object_get(one, "id"));
		if (id && !strcmp(id, c->id) && !err)
			err = rename_to(c, json_string_value(json_array_get(
						   json_object_get(one, "names"), 0)));
	}
	json_decref(list);
	return err;
}

int sl_container_identify(const char *id, const char *bundle, const json_t *annotations,
			  const char *docker, struct sl_container *out)
{
	struct sl_container c;
	int err = sl_container_make(id, id, annotations, &c);

	if (err)
		return err;
	err = rename_to(&c, json_string_value(json_object_get(annotations, NAME_OF_CRIO)));
	if (!err)
		err = read_podman(&c, bundle);
	if (!err)
		err = read_docker(&c, docker ? docker : SL_CONTAINER_DOCKER);
	if (err)
		sl_container_free(&c);
	else
		*out = c;
	return err;
}
