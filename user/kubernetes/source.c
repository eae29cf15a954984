// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "source.h"

#include <errno.h>
#include <string.h>

static int ask(struct sl_kube_source *source, const struct sl_kube_pod *pod, struct sl_policy **out,
	       struct sl_diag *diag,
	       int (*policy)(const struct sl_kube *, const struct sl_kube_pod *, struct sl_policy **))
{
	struct sl_kube *kube = source->ops->objects(source);
	struct sl_diag *own;
	int err;

	if (!kube)
		return -EAGAIN;
	own = kube->diag;
	kube->diag = diag;
	kube->trusts = source->trusts;
	kube->trusts_context = source->fate_context;
	kube->dns = source->dns;
	err = policy(kube, pod, out);
	kube->diag = own;
	return err;
}

int sl_kube_source_policy(struct sl_kube_source *source, const struct sl_kube_pod *pod,
			  struct sl_policy **out, struct sl_diag *diag)
{
	return ask(source, pod, out, diag, sl_kube_pod_policy);
}

int sl_kube_source_cluster_policy(struct sl_kube_source *source, const struct sl_kube_pod *pod,
				  struct sl_policy **out, struct sl_diag *diag)
{
	return ask(source, pod, out, diag, sl_kube_cluster_policy);
}

int sl_kube_source_expected_conf(struct sl_kube_source *source, const struct sl_kube_pod *pod,
				 char **text)
{
	struct sl_kube *kube = source->ops->objects(source);

	*text = NULL;
	if (!kube)
		return 0;
	kube->dns = source->dns;
	return sl_kube_expected_conf(kube, pod, text);
}

/* Whoever may make pods can claim to be the mirror of a static pod: the one that was there
 * first is believed. The kubelet takes away what has no static pod of its name. */
static bool is_older(const struct sl_kube_pod *a, const struct sl_kube_pod *b)
{
	return a->created_s && b->created_s && a->created_s < b->created_s;
}

const struct sl_kube_pod *sl_kube_find_uid(const struct sl_kube *kube, const char *uid)
{
	const struct sl_kube_pod *found = NULL;
	bool clear = true; /* which of them it is */

	for (size_t i = 0; i < kube->n_pods; i++) {
		const struct sl_kube_pod *pod = &kube->pods[i];

		if (!pod->uid || strcmp(pod->uid, uid) || (found && is_older(found, pod)))
			continue;
		clear = !found || is_older(pod, found);
		found = pod;
	}
	return clear ? found : NULL;
}
