// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Whose a target is, as others know it: the pod, or the container, that is in the cgroup or behind the device. */
#include "audit/json.h"
#include "daemon.h"

/* The cgroup that a device of our namespace leads to, by its veth; 0: none. */
static __u64 of_device(const struct sl_daemon *d, unsigned ifindex)
{
	const struct sl_watched_cgroup *w = ifindex ? sl_veths_owner(d, ifindex) : NULL;

	return w ? w->id : 0;
}

static const struct sl_pod *pod_of(const struct sl_daemon *d, __u64 id)
{
	for (size_t i = 0; i < d->pods.n; i++)
		if (d->pods.list[i].id == id && d->pods.list[i].name)
			return &d->pods.list[i];
	return NULL;
}

json_t *sl_daemon_whose(struct sl_daemon *d, __u64 cgroup_id, unsigned ifindex)
{
	__u64 id = cgroup_id ? cgroup_id : of_device(d, ifindex);
	const struct sl_pod *pod = id ? pod_of(d, id) : NULL;
	const struct sl_watched_cgroup *w;

	if (pod)
		return json_pack("{s:{s:o, s:o, s:o}}", "pod", "namespace",
				 sl_json_text(pod->namespace), "name", sl_json_text(pod->name),
				 "uid", sl_json_text(pod->uid));
	w = id ? sl_cgroups_find(&d->cgroups, id) : NULL;
	return w && w->container ? json_pack("{s:o}", "container", sl_json_text(w->container->name)) : NULL;
}
