// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Which kinds the server has: EndpointSlices (v1, from Kubernetes 1.21 on) or Endpoints, and
 * whether our own are installed. They count as not installed only when the server has said so
 * three times in twenty seconds, and has answered 404 for them: one that has just started does
 * not name them yet, and a node that believed it would open what they close.
 */
#include <string.h>

#include "internal.h"

#define PATIENCE 3
#define SOON_MS 10000
#define LATER_MS 60000
#define ASK_S 30

static bool has_version(const json_t *groups, const char *name, const char *version)
{
	size_t i, k;
	json_t *group, *one;

	json_array_foreach(groups, i, group) {
		const char *its = json_string_value(json_object_get(group, "name"));

		if (!its || strcmp(its, name))
			continue;
		json_array_foreach(json_object_get(group, "versions"), k, one) {
			its = json_string_value(json_object_get(one, "version"));
			if (its && !strcmp(its, version))
				return true;
		}
	}
	return false;
}

static void want(struct sl_api *api, enum sl_kube_kind kind, bool wanted)
{
	sl_follow_want(&api->follows[kind], wanted);
}

/* What stands behind Services is known by one of the two at any time: the one that was asked for goes when
 * the other was listed whole, since without it what the cluster denies is open by its Services. */
static void want_endpoints(struct sl_api *api, bool slices)
{
	struct sl_follow *now = &api->follows[slices ? SL_KUBE_SLICE : SL_KUBE_ENDPOINTS];
	struct sl_follow *before = &api->follows[slices ? SL_KUBE_ENDPOINTS : SL_KUBE_SLICE];

	sl_follow_want(now, true);
	if (!before->synced || now->synced)
		sl_follow_want(before, false);
}

/* An answer that follows on another is the same one. */
static void count(struct sl_discovery *d, bool own)
{
	__u64 now = sl_api_now();

	if (own) {
		d->lacking = 0;
	} else if (d->lacking < PATIENCE && (!d->lacking || now >= d->counted + SOON_MS)) {
		d->counted = now;
		d->lacking++;
	}
}

static void apply(struct sl_api *api, const json_t *groups)
{
	struct sl_discovery *d = &api->discovery;
	bool own = has_version(groups, "sluice.dev", "v1alpha1");

	d->has_slices = has_version(groups, "discovery.k8s.io", "v1");
	want(api, SL_KUBE_NAMESPACE, true);
	want(api, SL_KUBE_POD, true);
	want(api, SL_KUBE_NETPOL, true);
	want(api, SL_KUBE_SERVICE, true);
	want_endpoints(api, d->has_slices);
	want(api, SL_KUBE_OWN, true);
	want(api, SL_KUBE_CLUSTER_OWN, true);
	count(d, own);
	if (d->lacking >= PATIENCE) {
		sl_follow_missing(&api->follows[SL_KUBE_OWN]);
		sl_follow_missing(&api->follows[SL_KUBE_CLUSTER_OWN]);
	}
	d->known = true;
	d->again = sl_api_now() + (d->lacking && d->lacking < PATIENCE ? SOON_MS : LATER_MS);
}

/* A list without the kinds that every server has is of no API server. */
static void done(void *context, CURLcode code)
{
	struct sl_api *api = context;
	struct sl_discovery *d = &api->discovery;
	const struct sl_body *body = &d->request.answer;
	json_t *list = NULL, *groups;

	if (!code && d->request.status == 200)
		list = json_loadb(body->n ? body->bytes : "", body->n, JSON_REJECT_DUPLICATES, NULL);
	groups = json_object_get(list, "groups");
	if (!code && d->request.status == 200 &&
	    !has_version(groups, "networking.k8s.io", "v1")) {
		d->request.trouble = SL_API_GARBAGE;
		d->request.reason = "/apis without networking.k8s.io/v1";
	}
	if (sl_request_trouble(&d->request, code)) {
		d->again = sl_api_now() +
			sl_trouble_note(api, &d->trouble, &d->request, code, "ask for /apis");
	} else {
		sl_trouble_over(api, &d->trouble, "ask for /apis");
		apply(api, groups);
	}
	json_decref(list);
}

bool sl_api_lacks_own(const struct sl_kube_source *source)
{
	return ((const struct sl_api *)source)->discovery.lacking >= PATIENCE;
}

void sl_discovery_open(struct sl_api *api)
{
	sl_request_open(&api->discovery.request, api, done, api);
}

void sl_discovery_work(struct sl_api *api, __u64 now)
{
	struct sl_discovery *d = &api->discovery;

	if (d->request.active || now < d->again)
		return;
	d->again = now + SOON_MS;
	if (sl_request_get(&d->request, "/apis", ASK_S))
		d->again = now + sl_trouble_note(api, &d->trouble, &d->request, CURLE_OK,
						 "ask for /apis");
}

void sl_discovery_close(struct sl_discovery *discovery)
{
	sl_request_free(&discovery->request);
}
