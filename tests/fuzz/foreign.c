// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Any bytes as what an engine, a runtime or the API server answers; the first tells which. Of objects
 * that can be read each pod's policy is made, as sluiced does: refused with an error, or a text
 * that can be read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/internal.h"
#include "cri/cri.h"
#include "engine/engine.h"
#include "http/json.h"
#include "kubernetes/objects.h"

/* ---- the API server ---- */

static void must_parse(const struct sl_policy *policy)
{
	struct sl_policy *parsed;
	struct sl_diag diag = {};
	size_t len;
	char *text = sl_policy_text(policy, &len);

	if (!text || sl_policy_parse(text, len, "policy", SL_PARSE_POLICY, &parsed, &diag)) {
		fputs(text ? text : "no text", stderr);
		sl_diag_print(&diag, stderr);
		abort();
	}
	sl_policy_free(parsed);
	sl_diag_free(&diag);
	free(text);
}

static void judge(struct sl_kube *kube, const struct sl_kube_pod *pod,
		  int (*make)(const struct sl_kube *, const struct sl_kube_pod *, struct sl_policy **))
{
	struct sl_policy *policy = NULL;
	struct sl_diag diag = {}, *before = kube->diag;
	int err;

	kube->diag = &diag;
	err = make(kube, pod, &policy);
	if (err ? !diag.n_errors : diag.n_errors != 0)
		abort();
	if (!err && policy)
		must_parse(policy);
	sl_policy_free(policy);
	kube->diag = before;
	sl_diag_free(&diag);
}

/* Each line is {type, object}, of the kind that the object says, in pieces of n bytes. */
static void watch(struct sl_api *api, const char *text, size_t len, size_t n)
{
	const char *end = text + len, *newline;

	for (; text < end; text = newline < end ? newline + 1 : end) {
		struct sl_follow follow = {};
		unsigned kind = (unsigned char)*text % SL_KUBE_KINDS;

		newline = memchr(text, '\n', (size_t)(end - text));
		newline = newline ? newline : end;
		sl_follow_open(&follow, api, &sl_api_resources[kind]);
		for (const char *at = text + 1; at <= newline && at < end; at += n)
			if (sl_event_take(&follow, at, (size_t)(newline + (newline < end) - at) < n
					  ? (size_t)(newline + (newline < end) - at) : n))
				break;
		sl_follow_close(&follow);
	}
}

static void api_server(const char *text, size_t len)
{
	struct sl_api api = {.store = sl_store_new()};
	struct sl_kube *kube;

	if (len < 2 || !api.store)
		abort();
	watch(&api, text + 1, len - 1, (size_t)(unsigned char)*text + 1);
	kube = sl_store_objects(api.store);
	for (size_t i = 0; i < kube->n_pods && i < 4; i++) {
		judge(kube, &kube->pods[i], sl_kube_pod_policy);
		judge(kube, &kube->pods[i], sl_kube_cluster_policy);
	}
	sl_store_free(api.store);
}

/* ---- engines and runtimes ---- */

static void engine(const char *text, size_t len)
{
	struct sl_engine_list list = {};
	const char *why = NULL;

	if (sl_engine_read(text, len, &list, &why) && !why)
		abort();
	sl_engine_list_free(&list);
}

static void runtime(const char *bytes, size_t len)
{
	struct sl_cri_pod pod = {.id = strdup("a")};
	struct sl_cri_pods pods = {};
	const char *why = NULL;
	const void *message = bytes;

	if (len > 2 && !sl_cri_unframe(bytes, len, &message, &len, &why) && !message)
		abort();
	if (!sl_cri_read_list(message, len, &pods, &why))
		sl_cri_pods_free(&pods);
	sl_cri_read_status(message, len, &pod, &why);
	sl_cri_pod_free(&pod);
}

static void json(const char *text, size_t len)
{
	json_t *plain = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	json_t *read = sl_json_read(text, len, NULL);

	if (plain && !json_equal(plain, read))
		abort();
	json_decref(plain);
	json_decref(read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = size > 2 ? malloc(size - 1) : NULL;

	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	switch (data[0]) {
	case 'e':
		engine(copy, size - 1);
		break;
	case 'r':
		runtime(copy, size - 1);
		break;
	case 'j':
		json(copy, size - 1);
		break;
	default:
		api_server(copy, size - 1);
	}
	free(copy);
	return 0;
}
