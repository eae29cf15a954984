// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One pod: who it is, by its object or the runtime, and whether it is judged. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

static bool is_one_of(char *const *patterns, size_t n, const char *namespace)
{
	for (size_t i = 0; i < n; i++)
		if (!fnmatch(patterns[i], namespace, 0))
			return true;
	return false;
}

static bool is_exempt(const struct sl_config_kubernetes *config, const char *namespace)
{
	return is_one_of(config->exempt, config->n_exempt, namespace);
}

bool sl_pod_may_annotate(void *context, const char *namespace)
{
	const struct sl_daemon *d = context;
	const struct sl_config_kubernetes *config = &d->config->kubernetes;

	return is_one_of(config->annotations, config->n_annotations, namespace);
}

bool sl_pods_is_exempt(const struct sl_daemon *d, const char *uid, const char *namespace)
{
	return (d->pods.self && !strcmp(d->pods.self, uid)) ||
	       (namespace && is_exempt(&d->config->kubernetes, namespace));
}

static void set_text(char **to, const char *text)
{
	char *copy = *to && !strcmp(*to, text) ? NULL : strdup(text);

	if (!copy)
		return;
	free(*to);
	*to = copy;
}

static const struct sl_cri_pod *of_runtime(const struct sl_pods *p, const char *uid)
{
	const struct sl_cri_pods *pods = p->cri ? sl_cri_pods(p->cri) : NULL;

	for (size_t i = 0; pods && i < pods->n; i++)
		if (!strcmp(pods->list[i].uid, uid))
			return &pods->list[i];
	return NULL;
}

const struct sl_kube_pod *sl_pod_identify(struct sl_daemon *d, struct sl_pod *pod)
{
	struct sl_pods *p = &d->pods;
	struct sl_kube *kube = p->source ? p->source->ops->objects(p->source) : NULL;
	const struct sl_kube_pod *object = kube ? sl_kube_find_uid(kube, pod->uid) : NULL;
	const struct sl_cri_pod *cri = of_runtime(p, pod->uid);

	if (object) {
		set_text(&pod->namespace, object->object.namespace);
		set_text(&pod->name, object->object.name);
		pod->host_network = object->host_network;
		pod->started_s = object->started_s ? object->started_s : pod->started_s;
	} else if (cri) {
		set_text(&pod->namespace, cri->namespace);
		set_text(&pod->name, cri->name);
		pod->host_network = cri->host_network;
	}
	if (cri)
		pod->started_s = cri->created_s;
	pod->exempt = sl_pods_is_exempt(d, pod->uid, pod->namespace);
	return object;
}
