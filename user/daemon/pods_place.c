// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The cgroup above all pods. A kubelet takes one that is there (pkg/kubelet/cm/
 * node_container_manager_linux.go makes it if it does not exist), and news of one that it makes
 * come some milliseconds later: a pod on the node's network waits for nothing, and could send
 * before. So it is made, and judged, before sluiced says that it is ready.
 *
 * A slice is systemd's to make: where the hierarchies are hybrid it takes a directory in cgroup2
 * for a sign that its own is there too (cg_create in src/shared/cgroup-setup.c), and the kubelet
 * then ends for want of that one. deploy/systemd/sluiced.service.d/kubernetes.conf has systemd make
 * it first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"

static bool is_there(const struct sl_daemon *d, const char *place)
{
	char *real;
	bool there;

	if (asprintf(&real, "%s%s", d->cgroups.mount, place) < 0)
		return false;
	there = !access(real, F_OK);
	free(real);
	return there;
}

static bool any_is_there(const struct sl_daemon *d, const char *const *places, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_there(d, places[i]))
			return true;
	return false;
}

static int tell(void *context, const char *real, int err)
{
	(void)context;
	if (err)
		fprintf(stderr,
			"sluiced: %s cannot be made: %s; it is followed once a kubelet "
			"makes it, and a pod on the node's network may send before that is seen\n",
			real, strerror(err));
	return err;
}

void sl_pods_make_place(struct sl_daemon *d)
{
	const struct sl_config_kubernetes *k = d->config ? &d->config->kubernetes : NULL;
	const char *const *places;
	size_t n;

	if (!k || !k->present || !d->cgroups.mount)
		return;
	places = sl_pods_places_of(d, &n);
	if (any_is_there(d, places, n))
		return;
	if (!k->n_cgroups)
		n = 1; /* the others are kubelets' with a root of their own, or slices */
	for (size_t i = 0; i < n; i++)
		if (!sl_pods_place_is_slice(places[i]) &&
		    sl_cgroup_dirs_make(d->cgroups.mount, places[i], tell, NULL))
			return;
}
