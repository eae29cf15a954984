// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The source as a whole: what it asks for, when it says that something changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define PAGE 200
#define TELL_MS 100	/* changes of one moment are one change */
#define NARROW_MS 600000 /* so that a policy that comes and goes costs no list each time */
#define TICK_MS 1000

static struct sl_api *api_of(const struct sl_kube_source *source)
{
	return (struct sl_api *)source;
}

bool sl_api_complete(const struct sl_api *api)
{
	bool complete = api->discovery.known;

	for (unsigned i = 0; i < SL_KUBE_KINDS; i++)
		complete = complete && (!api->follows[i].wanted || api->follows[i].synced);
	return complete;
}

/* ---- pods of other nodes ---- */

static void choose_pods(struct sl_api *api, __u64 now)
{
	struct sl_follow *pods = &api->follows[SL_KUBE_POD];
	bool all = sl_store_wants_all_pods(api->store);

	if (all)
		api->narrow_at = 0;
	else if (!pods->node_only && !api->narrow_at)
		api->narrow_at = now + NARROW_MS;
	if (all == pods->node_only && (all || now >= api->narrow_at)) {
		pods->node_only = !all;
		sl_follow_restart(pods);
	}
	api->partial = all && !pods->wide;
	sl_store_objects(api->store)->partial = api->partial;
}

/* ---- our own end ---- */

void sl_api_look(struct sl_api *api, enum sl_kube_kind kind, const json_t *object, bool deleted)
{
	const json_t *metadata = json_object_get(object, "metadata");
	const char *name = json_string_value(json_object_get(metadata, "name"));

	if (kind == SL_KUBE_NAMESPACE && api->namespace && name && !strcmp(name, api->namespace) &&
	    (deleted || json_is_string(json_object_get(metadata, "deletionTimestamp"))))
		api->ending = true;
}

static void end(struct sl_api *api)
{
	if (api->ending_s)
		return;
	api->ending_s = time(NULL);
	sl_discovery_close(&api->discovery);
	sl_report_close(api);
	for (unsigned i = 0; i < SL_KUBE_KINDS; i++)
		sl_request_stop(&api->follows[i].request);
	api->source.stale_since_s = api->ending_s;
	snprintf(api->source.why, sizeof(api->source.why), "the namespace %s, of sluiced itself, is "
		 "being deleted: what is in force stays so", api->namespace);
	fprintf(stderr, "sluiced: kubernetes: %s\n", api->source.why);
}

/* ---- telling ---- */

/* Since when, and why, of the kind that has waited longest. */
static void tell_trouble(struct sl_api *api)
{
	const struct sl_api_state *worst = &api->discovery.trouble;

	for (unsigned i = 0; i < SL_KUBE_KINDS; i++) {
		const struct sl_api_state *state = &api->follows[i].trouble;

		if (state->since_s && !api->follows[i].absent && (!worst->since_s || state->since_s < worst->since_s))
			worst = state;
	}
	api->source.stale_since_s = worst->since_s;
	snprintf(api->source.why, sizeof(api->source.why), "%s", worst->why);
}

static void tell_changes(struct sl_api *api, __u64 now)
{
	bool partial = api->partial != api->told_partial;

	if (!api->complete && sl_api_complete(api)) {
		api->complete = true;
		api->complete_at = now;
		api->tell_at = now;
	}
	if (!api->complete)
		return;
	if (!api->tell_at && (partial || sl_store_version(api->store) != api->told_version))
		api->tell_at = now + TELL_MS;
	if (!api->tell_at || now < api->tell_at)
		return;
	api->tell_at = 0;
	api->told_version = sl_store_version(api->store);
	api->told_partial = api->partial;
	api->source.version++;
	api->source.changed_s = time(NULL);
}

/* ---- the source ---- */

static int source_fd(const struct sl_kube_source *source)
{
	return api_of(source)->multi.epoll;
}

static int sooner(int wait, __u64 at, __u64 now)
{
	int left = at <= now ? 0 : at - now > TICK_MS ? TICK_MS : (int)(at - now);

	return left < wait ? left : wait;
}

static int source_timeout(const struct sl_kube_source *source)
{
	const struct sl_api *api = api_of(source);
	__u64 now = sl_api_now();
	int wait = TICK_MS;

	if (api->ending_s)
		return wait;
	if (api->multi.due)
		wait = sooner(wait, api->multi.due, now);
	if (api->tell_at)
		wait = sooner(wait, api->tell_at, now);
	if (!api->discovery.request.active)
		wait = sooner(wait, api->discovery.again, now);
	for (unsigned i = 0; i < SL_KUBE_KINDS; i++)
		if (api->follows[i].wanted && api->follows[i].state == SL_FOLLOW_WAIT)
			wait = sooner(wait, api->follows[i].again, now);
	return wait;
}

static void source_work(struct sl_kube_source *source)
{
	struct sl_api *api = api_of(source);
	__u64 now = sl_api_now();

	if (!api->ending_s) {
		sl_account_refresh(&api->account, now);
		sl_multi_work(&api->multi, sl_api_request_done, NULL);
	}
	if (api->ending) {
		end(api);
		return;
	}
	sl_discovery_work(api, now);
	choose_pods(api, now);
	for (unsigned i = 0; i < SL_KUBE_KINDS; i++)
		sl_follow_work(&api->follows[i], now);
	tell_changes(api, now);
	tell_trouble(api);
	sl_report_work(api, now);
}

/* A watch that lost something is noticed by its server or by the next list. */
static void source_reconcile(struct sl_kube_source *source)
{
	(void)source;
}

static struct sl_kube *source_objects(struct sl_kube_source *source)
{
	struct sl_api *api = api_of(source);

	return api->complete ? sl_store_objects(api->store) : NULL;
}


static void source_free(struct sl_kube_source *source)
{
	struct sl_api *api = api_of(source);

	if (!source)
		return;
	for (unsigned i = 0; i < SL_KUBE_KINDS; i++)
		sl_follow_close(&api->follows[i]);
	sl_discovery_close(&api->discovery);
	sl_report_close(api);
	sl_multi_close(&api->multi);
	sl_account_close(&api->account);
	sl_store_free(api->store);
	json_decref(source->errors);
	free(api->node);
	free(api);
}

static const struct sl_kube_source_ops ops = {
	.kind = "api",
	.fd = source_fd,
	.timeout = source_timeout,
	.work = source_work,
	.reconcile = source_reconcile,
	.objects = source_objects,
	.free = source_free,
};

/* ---- opening ---- */

static char *node_name(const char *given)
{
	const char *name = given ? given : getenv("NODE_NAME");
	char host[256] = "";

	if (name && *name)
		return strdup(name);
	gethostname(host, sizeof(host) - 1);
	for (char *c = host; *c; c++) /* as the kubelet calls it */
		if (*c >= 'A' && *c <= 'Z')
			*c += 'a' - 'A';
	return strdup(host);
}

int sl_api_open(const struct sl_api_config *config, struct sl_kube_source **out,
		struct sl_diag *diag)
{
	struct sl_api *api = calloc(1, sizeof(*api));
	int err;

	if (!api)
		return -ENOMEM;
	api->source.ops = &ops;
	api->multi.epoll = -1;
	api->page = config->page ? config->page : PAGE;
	api->node = node_name(config->node);
	api->namespace = getenv("POD_NAMESPACE");
	api->store = sl_store_new();
	sl_discovery_open(api);
	for (unsigned i = 0; i < SL_KUBE_KINDS; i++)
		sl_follow_open(&api->follows[i], api, &sl_api_resources[i]);
	err = api->node && api->store ? sl_account_open(&api->account, config, diag) : -ENOMEM;
	if (!err)
		err = sl_multi_open(&api->multi);
	if (!err && !config->no_status)
		err = sl_report_open(api);
	if (err)
		source_free(&api->source);
	else
		*out = &api->source;
	return err;
}
