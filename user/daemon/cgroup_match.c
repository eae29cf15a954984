// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Which cgroup is whose: paths, units of systemd, containers. */
#include <fnmatch.h>
#include <limits.h>
#include <string.h>

#include "cgroups.h"

#define SLICE ".slice"

/* ---- units ---- */

static bool is_slice(const char *part, size_t len)
{
	return len > sizeof(SLICE) - 1 &&
	       !memcmp(part + len - (sizeof(SLICE) - 1), SLICE, sizeof(SLICE) - 1);
}

/* Is the slice the one that systemd puts into the slice above? a-b.slice stands in a.slice,
 * and what has no dash at the top: systemd.slice(5). */
static bool is_below_slice(const char *part, size_t len, const char *above, size_t above_len)
{
	size_t stem = len - (sizeof(SLICE) - 1);
	size_t head = above ? above_len - (sizeof(SLICE) - 1) + 1 : 0;

	if (above && (stem <= head || part[head - 1] != '-' || memcmp(part, above, head - 1)))
		return false;
	return stem > head && !memchr(part + head, '-', stem - head);
}

/* The part of the path behind its slices, if these stand as systemd puts them; else NULL. A
 * slice in its place is behind those above it. */
static const char *behind_slices(const char *path)
{
	const char *above = NULL, *part = path + 1, *end;
	size_t above_len = 0, len;

	for (;; above = part, above_len = len, part = end + 1) {
		end = strchrnul(part, '/');
		len = (size_t)(end - part);
		if (is_slice(part, len) && !is_below_slice(part, len, above, above_len))
			return NULL;
		if (!*end || !is_slice(part, len))
			return part;
	}
}

/* The name of the unit whose cgroup this is, or NULL: it is none of the system's manager. What
 * a user's own manager, a container or anybody else makes in a place that was given to it has
 * a name that proves nothing. A name that could be taken for a file of the kernel's has a _
 * before it (systemd's cg_escape). */
static const char *unit_of(const char *path)
{
	const char *unit = behind_slices(path);

	if (!unit || strchr(unit, '/'))
		return NULL;
	return unit + (*unit == '_');
}

/* ---- patterns ---- */

static bool matches_path(const struct sl_target_group *g, const char *path)
{
	const char *name = g->of == SL_GROUP_OF_UNITS ? unit_of(path) : path;

	for (size_t i = 0; name && i < g->n_patterns; i++)
		if (!fnmatch(g->patterns[i], name, FNM_PATHNAME))
			return true;
	return false;
}

static bool matches_container(const struct sl_target_group *g, const struct sl_container *container)
{
	const char *choice = sl_container_choice(container);
	bool named = !g->n_patterns;

	if (g->chosen && (!choice || strcmp(choice, g->policy)))
		return false;
	for (size_t i = 0; i < g->n_patterns && !named; i++)
		named = sl_container_has_name(container, g->patterns[i]);
	for (size_t i = 0; i < g->n_labels && named; i++)
		named = sl_container_has_label(container, g->labels[i]);
	return named;
}

struct sl_target_group *sl_cgroups_match(const struct sl_cgroups *c, const char *path,
					 const struct sl_container *container)
{
	for (size_t i = 0; i < c->n_groups; i++) {
		struct sl_target_group *g = c->groups[i];

		if (g->of == SL_GROUP_OF_CONTAINERS ? container && matches_container(g, container)
						    : matches_path(g, path))
			return g;
	}
	return NULL;
}

/* Could a path below this one match? The pattern's first parts are compared. */
static bool leads_below(const char *pattern, const char *path)
{
	size_t parts = 0, len;
	const char *at;
	char head[PATH_MAX];

	for (at = path; *at; at++)
		parts += *at == '/';
	for (at = pattern; *at && (*at != '/' || parts--); at++)
		;
	if (!*at)
		return false; /* as deep as this one, or less */
	len = (size_t)(at - pattern);
	if (len >= sizeof(head))
		return true;
	memcpy(head, pattern, len);
	head[len] = 0;
	return !fnmatch(head, path, FNM_PATHNAME);
}

/* Is it a slice in its place? Only there units are. */
static bool holds_units(const char *path)
{
	const char *last = behind_slices(path);

	return last && !strchr(last, '/') && is_slice(last, strlen(last));
}

bool sl_cgroups_may_be_below(const struct sl_cgroups *c, const char *path)
{
	bool units = holds_units(path);

	if (c->pods && c->pods->leads(c->pods_context, path))
		return true;
	for (size_t i = 0; i < c->n_groups; i++) {
		const struct sl_target_group *g = c->groups[i];

		if (g->of == SL_GROUP_OF_CONTAINERS)
			return true;
		for (size_t k = 0; k < g->n_patterns; k++)
			if (g->of == SL_GROUP_OF_UNITS ? units : leads_below(g->patterns[k], path))
				return true;
	}
	return false;
}
