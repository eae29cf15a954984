// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The runtime's pods as the objects that a directory of policies lacks. */
#include <arpa/inet.h>

#include "daemon.h"

/* A kubelet's own, which no object has. */
static json_t *labels_of(const struct sl_cri_pod *pod)
{
	json_t *labels = json_copy(pod->labels);

	json_object_del(labels, "io.kubernetes.pod.name");
	json_object_del(labels, "io.kubernetes.pod.namespace");
	json_object_del(labels, "io.kubernetes.pod.uid");
	return labels;
}

/* Of those the one that is read; NULL: it has none. */
static json_t *annotations_of(const struct sl_cri_pod *pod)
{
	return pod->application ? json_pack("{s:s}", SL_CRI_APPLICATION, pod->application) : NULL;
}

static bool is_address(const char *text)
{
	unsigned char ignored[16];

	return inet_pton(AF_INET, text, ignored) == 1 || inet_pton(AF_INET6, text, ignored) == 1;
}

/* [{ip}]; what is none is left out: the pod then does not reach itself by it. */
static json_t *ips_of(const json_t *addresses)
{
	json_t *list = json_array(), *text;
	size_t i;

	json_array_foreach((json_t *)addresses, i, text) if (is_address(json_string_value(text)))
		json_array_append_new(list, json_pack("{s:O}", "ip", text));
	return list;
}

static json_t *node_ips(const struct sl_config_kubernetes *config)
{
	json_t *list = json_array();

	for (size_t i = 0; i < config->n_node; i++)
		json_array_append_new(list, json_pack("{s:s}", "ip", config->node[i]));
	return list;
}

json_t *sl_pods_objects(const struct sl_pods *p, const struct sl_config_kubernetes *config)
{
	const struct sl_cri_pods *pods = sl_cri_pods(p->cri);
	json_t *list = json_array();

	for (size_t i = 0; list && i < pods->n; i++) {
		const struct sl_cri_pod *pod = &pods->list[i];
		json_t *object = json_pack(
			"{s:s, s:s, s:{s:s, s:s, s:s, s:o, s:o*}, s:{s:b}, s:{s:s, s:o, s:o}}",
			"apiVersion", "v1", "kind", "Pod", "metadata", "name", pod->name,
			"namespace", pod->namespace, "uid", pod->uid, "labels", labels_of(pod),
			"annotations", annotations_of(pod), "spec", "hostNetwork", pod->host_network, "status", "phase", "Running",
			"podIPs", ips_of(pod->addresses), "hostIPs", node_ips(config));

		if (!object || json_array_append_new(list, object)) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}
