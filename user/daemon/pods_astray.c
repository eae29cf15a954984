// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Pods run on this node, and no cgroup is a pod's: the kubelet makes them somewhere else
 * (--cgroup-root, a node within a container), and none is judged. One that is found says that
 * the place is right; sluiced's own pod, where it is in one, is among them.
 */
#include <string.h>
#include <time.h>

#include "apiserver/api.h"
#include "daemon.h"

#define LATE_S 10 /* from when a node takes up a pod until its cgroup was there at the latest */

static bool is_found(const struct sl_pods *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (!p->list[i].ended)
			return true;
	return false;
}

/* By its own node's clock, which is ours. */
static bool runs_here(const struct sl_kube_pod *pod, const char *node, __s64 now_s)
{
	return !pod->ended && pod->node_name && !strcmp(pod->node_name, node) && pod->started_s &&
	       now_s >= pod->started_s + LATE_S;
}

static size_t by_runtime(const struct sl_cri_pods *pods, __s64 now_s)
{
	size_t n = 0;

	for (size_t i = 0; pods && i < pods->n; i++)
		n += now_s >= pods->list[i].created_s + LATE_S;
	return n;
}

static size_t by_server(struct sl_kube_source *source, __s64 now_s)
{
	const struct sl_kube *kube = source->ops->objects(source);
	const char *node = sl_api_node(source);
	size_t n = 0;

	for (size_t i = 0; kube && i < kube->n_pods; i++)
		n += runs_here(&kube->pods[i], node, now_s);
	return n;
}

size_t sl_pods_astray(const struct sl_daemon *d)
{
	const struct sl_pods *p = &d->pods;

	if (!p->on || !p->walked || is_found(p))
		return 0;
	if (d->config->kubernetes.api.present)
		return p->source ? by_server(p->source, time(NULL)) : 0;
	return p->cri ? by_runtime(sl_cri_pods(p->cri), time(NULL)) : 0;
}

void sl_pods_warn_astray(const struct sl_daemon *d, size_t n_pods, json_t *warnings)
{
	char places[512] = "";
	size_t n, len = 0;
	const char *const *list = sl_pods_places_of(d, &n);

	if (!n_pods)
		return;
	for (size_t i = 0; i < n && len < sizeof(places); i++)
		len += (size_t)snprintf(places + len, sizeof(places) - len, "%s%s", i ? ", " : "",
					list[i]);
	json_array_append_new(
		warnings,
		json_sprintf(
			"NOT ENFORCED: %s says that %zu pods run on this node, and no pod's "
			"cgroup is below %s: the kubelet makes them elsewhere. See "
			"/proc/PID/cgroup of a pod's process, and name the place in "
			"sluiced.yaml: `kubernetes: {cgroup: /.../kubepods}` (docs/sluiced.md)",
			d->config->kubernetes.api.present ? "the API server" : "the runtime",
			n_pods, places));
}
