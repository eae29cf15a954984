/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a container is called: its name and labels, from what the runtimes have on the
 * disk before its first process runs. No runtime is asked, so none can make us wait.
 *
 *   identify.c  from a container's id and bundle to its name and labels
 *   find.c      from a cgroup to its container
 *   match.c     which target of the configuration is a container's
 */
#ifndef SLUICE_CONTAINER_CONTAINER_H
#define SLUICE_CONTAINER_CONTAINER_H

#include <jansson.h>
#include <stdbool.h>

/* The annotation (or Docker label) by which a container chooses among the policies that
 * the administrator lists for it. */
#define SL_CONTAINER_CHOICE "sluice.dev/policy"

#define SL_CONTAINER_DOCKER "/var/lib/docker"
#define SL_CONTAINER_PODMAN "/var/lib/containers/storage"
#define SL_CONTAINER_CONTAINERD "/run/containerd"

#define SL_CONTAINER_TEXT_MAX 253 /* bytes of an id or a name */
#define SL_CONTAINER_ID_LEN 64	  /* hexadecimal digits of Docker's and Podman's ids */

struct sl_container {
	char *id;	/* owned */
	char *name;	/* owned; the id where the runtime has no other */
	json_t *labels; /* owned; texts by their keys: annotations, and Docker's labels */
};

/*
 * id and the directory of its bundle, as OCI's state says them; annotations (may be NULL) of
 * the state. Podman's names are in its storage, Docker's names and labels below docker
 * (its data root; NULL: the usual one). 0, -ENOMEM, or -EINVAL for an id that is none.
 * *out untouched on failure; free with sl_container_free.
 */
int sl_container_identify(const char *id, const char *bundle, const json_t *annotations,
			  const char *docker, struct sl_container *out);
/* From its parts, which are copied. */
int sl_container_make(const char *id, const char *name, const json_t *labels,
		      struct sl_container *out);
void sl_container_free(struct sl_container *container);

/* Where Docker says what the container is called; owned. NULL: it has no such one, or no memory. */
char *sl_container_docker_file(const char *root, const char *id);

/* A file of JSON; a new reference, NULL: none that can be read. */
json_t *sl_container_load(const char *path);

/* ---- find.c ---- */

/* Directories of the runtimes. */
struct sl_container_places {
	const char *docker;	/* its data root */
	const char *podman;	/* the graph root of its storage */
	const char *containerd; /* its state */
};

/*
 * The container whose cgroup that is, by its path in the hierarchy: Docker's, Podman's,
 * containerd's. -ENOENT: none's, as far as can be told; so is one within another
 * container's, which that one may have made.
 */
int sl_container_find(const struct sl_container_places *places, const char *cgroup,
		      struct sl_container *out);

/* The id that the path's last part has, as Docker, Podman and CRI name cgroups. False: none, or it is
 * within another container's. */
bool sl_container_id(const char *cgroup, char id[SL_CONTAINER_ID_LEN + 1]);

/* ---- match.c ---- */

/* Does the pattern (a shell's) match the name? */
bool sl_container_has_name(const struct sl_container *container, const char *pattern);
/* KEY, or KEY=PATTERN: has it that label? */
bool sl_container_has_label(const struct sl_container *container, const char *label);
/* The policy that it chooses, borrowed; NULL: none. */
const char *sl_container_choice(const struct sl_container *container);

#endif
