// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "source.h"

#include <errno.h>
#include <string.h>

int sl_kube_source_policy(struct sl_kube_source *source, const struct sl_kube_pod *pod,
			  struct sl_policy **out, struct sl_diag *diag)
{
	struct sl_kube *kube = source->ops->objects(source);
	struct sl_diag *own;
	int err;

	if (!kube)
		return -EAGAIN;
	own = kube->diag;
	kube->diag = diag;
	err = sl_kube_pod_policy(kube, pod, out);
	kube->diag = own;
	return err;
}

const struct sl_kube_pod *sl_kube_find_uid(const struct sl_kube *kube, const char *uid)
{
	const struct sl_kube_pod *found = NULL;

	for (size_t i = 0; i < kube->n_pods; i++) {
		if (!kube->pods[i].uid || strcmp(kube->pods[i].uid, uid))
			continue;
		if (found)
			return NULL; /* which of them is it? */
		found = &kube->pods[i];
	}
	return found;
}
