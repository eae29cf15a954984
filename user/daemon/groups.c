// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Which policy is for which device: groups of patterns. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"
#include "policy/text.h"

struct sl_target_group *sl_target_group_new(void)
{
	struct sl_target_group *group = calloc(1, sizeof(*group));

	if (group)
		group->refs = 1;
	return group;
}

struct sl_target_group *sl_target_group_get(struct sl_target_group *group)
{
	group->refs++;
	return group;
}

static void free_texts(char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

void sl_target_group_put(struct sl_target_group *group)
{
	if (!group || --group->refs)
		return;
	free_texts(group->patterns, group->n_patterns);
	free_texts(group->labels, group->n_labels);
	free(group->policy);
	sl_given_free(&group->given);
	free(group);
}

static int add_text(char ***texts, size_t *n, const char *text)
{
	char *copy = strdup(text), **added;

	added = copy ? SL_ADD(*texts, *n) : NULL;
	if (!added) {
		free(copy);
		return -ENOMEM;
	}
	*added = copy;
	return 0;
}

int sl_target_group_add_pattern(struct sl_target_group *group, const char *pattern)
{
	return add_text(&group->patterns, &group->n_patterns, pattern);
}

int sl_target_group_add_label(struct sl_target_group *group, const char *label)
{
	return add_text(&group->labels, &group->n_labels, label);
}

static bool has(const struct sl_target_group *group, const char *name)
{
	return sl_link_pattern((const char *const *)group->patterns, group->n_patterns, name) >= 0;
}

struct sl_target_group *sl_devices_match(const struct sl_devices *devices, const char *name)
{
	for (size_t i = 0; i < devices->n_groups; i++)
		if (has(devices->groups[i], name))
			return devices->groups[i];
	return NULL;
}

void sl_assign(struct sl_assignment *as, struct sl_target_group *group)
{
	sl_target_group_get(group); /* first: the other reference may be the last one */
	sl_target_group_put(as->group);
	as->group = group;
}

void sl_assign_anew(struct sl_assignment *as, struct sl_target_group *group)
{
	sl_assign(as, group);
	as->orphan = false;
	as->renew = true;
	if (as->state == SL_WATCHED_FAILED)
		as->state = SL_WATCHED_WAITING;
}

void sl_assign_matching(struct sl_assignment *as, struct sl_target_group *group)
{
	if (group)
		sl_assign_anew(as, group);
	else
		as->orphan = true;
}

/* What its own group, or a pod's, leads to is no matter of patterns. */
static void regroup(struct sl_devices *devices, struct sl_watched *w)
{
	if (!w->as.by_hand && !w->of_veth)
		sl_assign_matching(&w->as, sl_devices_match(devices, w->device.name));
}

static bool has_nothing(const struct sl_watched *w)
{
	return w->as.state != SL_WATCHED_ATTACHED && w->as.state != SL_WATCHED_ISOLATED;
}

static void on_known(void *context, enum sl_link_change change, const struct sl_link *link,
		     const struct sl_link *before)
{
	struct sl_devices *devices = context;

	if (!sl_devices_find(devices, link->ifindex))
		sl_devices_on_link(devices, change, link, before);
}

void sl_devices_regroup(struct sl_devices *devices, struct sl_target_group **groups, size_t n)
{
	struct sl_target_group **old = devices->groups;
	size_t n_old = devices->n_groups;

	devices->groups = groups;
	devices->n_groups = n;
	for (size_t i = 0; i < devices->n_devices; i++)
		regroup(devices, &devices->devices[i]);
	for (size_t i = 0; i < devices->n_devices;) {
		struct sl_watched *w = &devices->devices[i];

		if (w->as.orphan && has_nothing(w))
			sl_devices_drop(devices, w);
		else
			i++;
	}
	for (size_t i = 0; i < n_old; i++)
		sl_target_group_put(old[i]);
	free(old);
	if (devices->links)
		sl_links_each(devices->links, on_known, devices);
}

void sl_devices_take_back(struct sl_devices *devices)
{
	for (size_t i = 0; i < devices->n_devices; i++)
		if (devices->devices[i].as.state == SL_WATCHED_RELEASED) {
			devices->devices[i].as.state = SL_WATCHED_WAITING;
			devices->devices[i].held = false;
		}
}
