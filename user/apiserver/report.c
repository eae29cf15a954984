// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What EgressPolicies are told in their status, by server-side apply: each node owns its element
 * of `nodes`, a list that is a map by name, so no node writes another's; `conditions` sum those
 * up, and every node would write the same: the first of `nodes` does it, the next if it does
 * not. A node without a selected pod has no element. docs/kubernetes.md.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "internal.h"
#include "policy/text.h"

#define LOOK_MS 1000		/* between two looks at all of them, when something is new */
#define IDLE_MS 5000		/* ... and when nothing is: a pod's fate brings no news */
#define NODE_MS 1000		/* a difference is written when it is as old as this */
#define PODS_MS 30000		/* ... if it is only the number of pods */
#define RANK_MS 3000		/* what the second of the nodes waits longer than the first */
#define WAIT_MAX_MS 30000
#define SETTLE_MS 60000
#define REST_MS 5000		/* between two writes of one of them, or attempts */
#define REFUSED_MS 60000	/* without the right to */
#define ASK_S 30
#define MANAGER_MAX 128		/* metav1's limit of a field manager's name */
#define MESSAGE_MAX SL_STATUS_MESSAGE

struct sl_report {
	struct sl_api_request request;
	struct sl_api_state trouble;
	char manager[MANAGER_MAX + 1];	/* of this node's element */
	__u64 look_at, again;
	__u64 seen;			/* news of the store, at the last look */
	__u64 written;
	bool waits;			/* a difference that is not old enough yet */
};

/* ---- this node's element ---- */

struct fate {
	unsigned ok, failed, unknown;
	char why[MESSAGE_MAX];	  /* of one that failed */
	char partly[MESSAGE_MAX]; /* of one that is in force but for a clause */
};

/* The line of text that is about the object, or about all; out stays empty: none is. */
static void clause_of(const struct sl_stored *own, const char *text, char *out, size_t size)
{
	char head[512];
	size_t n = (size_t)snprintf(head, sizeof(head), "%s %s%s%s ", sl_kube_kinds[own->kind].kind,
				    own->namespace, *own->namespace ? "/" : "", own->name);

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		bool is_its = !strncmp(text, head, n);

		if (!is_its && strncmp(text, SL_FATE_OF_ALL, sizeof(SL_FATE_OF_ALL) - 1))
			continue;
		snprintf(out, size, "%.*s", (int)strcspn(text, "\n") - (is_its ? (int)n : 0),
			 text + (is_its ? n : 0));
		return;
	}
}

static void look_at_pods(struct sl_api *api, const struct sl_stored *own, struct fate *fate)
{
	const struct sl_kube_source *source = &api->source;
	struct sl_kube *kube = sl_store_objects(api->store);
	struct sl_diag diag = {}, *before = kube->diag;
	const char *why;

	kube->diag = &diag;
	for (size_t i = 0; i < kube->n_pods && own->own && source->fate; i++) {
		const struct sl_kube_pod *pod = &kube->pods[i];
		enum sl_kube_fate is;
		bool selected;

		if (pod->ended || !pod->uid || !pod->node_name || strcmp(pod->node_name, api->node) ||
		    sl_kube_own_selects(kube, own->own, pod, &selected) || !selected)
			continue;
		is = source->fate(source->fate_context, pod->uid, &why);
		if (is == SL_FATE_OF_CLUSTER)
			is = own->kind == SL_KUBE_CLUSTER_OWN ? SL_FATE_IN_FORCE : SL_FATE_REFUSED;
		if (is == SL_FATE_PARTLY && !*fate->partly)
			clause_of(own, why, fate->partly, sizeof(fate->partly));
		fate->ok += is == SL_FATE_IN_FORCE || is == SL_FATE_PARTLY;
		fate->unknown += is == SL_FATE_UNKNOWN;
		fate->failed += is == SL_FATE_REFUSED;
		if (is == SL_FATE_REFUSED && !*fate->why)
			snprintf(fate->why, sizeof(fate->why), "%s/%s: %s", pod->object.namespace,
				 pod->object.name, why);
	}
	kube->diag = before;
	sl_diag_free(&diag);
}

/* NULL: none, or no memory. there: what the server has; after a start it stays until this node
 * knows its pods again. */
static json_t *make_element(struct sl_api *api, const struct sl_stored *own, const json_t *there)
{
	struct fate fate = {};

	look_at_pods(api, own, &fate);
	if (fate.unknown && there && sl_api_now() < api->complete_at + SETTLE_MS)
		return json_deep_copy(there);
	if (!fate.ok && !fate.failed)
		return NULL;
	if (!fate.failed && *fate.partly)
		snprintf(fate.why, sizeof(fate.why), "partly: %.*s", MESSAGE_MAX - 16, fate.partly);
	for (char *c = fate.why; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	/* without an empty text: Kubernetes 1.20 reads that as null in an apply */
	return json_pack("{s:s, s:i, s:s, s:I, s:s*}", "name", api->node, "pods",
			 (int)(fate.ok + fate.failed), "state", fate.failed ? "Failed" : "Enforced",
			 "observedGeneration", own->generation, "message",
			 *fate.why ? fate.why : NULL);
}

/* 0: the same; 1: of other pods alone; 2: of something that matters. */
static int differs(const json_t *wanted, const json_t *there)
{
	json_t *copy;
	int how;

	if (!wanted || !there)
		return wanted || there ? 2 : 0;
	if (json_equal(wanted, there))
		return 0;
	copy = json_copy((json_t *)wanted);
	json_object_set(copy, "pods", json_object_get(there, "pods"));
	how = json_equal(copy, there) ? 1 : 2;
	json_decref(copy);
	return how;
}

/* ---- when ---- */

static __u64 chance(__u64 below)
{
	__u32 n = 0;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) < 0)
		n = 0;
	return n % below;
}

/* Those of the nodes in turn; one that is not among them only if none of them does. */
static __u64 wait_of(const struct sl_status_sum *sum)
{
	__u64 wait = NODE_MS + sum->before * (__u64)RANK_MS;

	if (!sum->among)
		wait = WAIT_MAX_MS / 6 + chance(WAIT_MAX_MS / 2);
	return wait < WAIT_MAX_MS || !sum->among ? wait : WAIT_MAX_MS + chance(WAIT_MAX_MS);
}

/* True: the difference is old enough, and the last attempt too. */
static bool is_due(__u64 *due, __u64 rest, bool differs_now, __u64 wait, __u64 now)
{
	if (!differs_now)
		*due = 0;
	else if (!*due)
		*due = now + wait;
	return differs_now && now >= *due && now >= rest;
}

/* ---- writing ---- */

static char *path_of(struct sl_api *api, const struct sl_stored *own, const char *manager)
{
	CURL *easy = api->report->request.easy;
	char *namespace = curl_easy_escape(easy, own->namespace, 0), *path = NULL;
	char *name = curl_easy_escape(easy, own->name, 0), *by = curl_easy_escape(easy, manager, 0);
	bool cluster = !*own->namespace;

	if (namespace && name && by &&
	    asprintf(&path, "/apis/sluice.dev/v1alpha1/%s%s%s%s/%s/status?fieldManager=%s&force=true",
		     cluster ? "" : "namespaces/", namespace, cluster ? "" : "/",
		     sl_api_resources[own->kind].plural, name, by) < 0)
		path = NULL;
	curl_free(namespace);
	curl_free(name);
	curl_free(by);
	return path;
}

/* Takes the status. */
static int patch(struct sl_api *api, const struct sl_stored *own, const char *manager, json_t *status)
{
	const struct sl_kube_kind_name *kind = &sl_kube_kinds[own->kind];
	struct sl_report *r = api->report;
	json_t *object = json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion", kind->version, "kind",
				   kind->kind, "metadata", "name", own->name, "status", status);
	char *body = object ? json_dumps(object, JSON_COMPACT) : NULL;
	char *path;
	int err = -ENOMEM;

	json_decref(object);
	if (!r->request.easy)
		r->request.easy = curl_easy_init();
	path = r->request.easy ? path_of(api, own, manager) : NULL;
	if (path && body)
		err = sl_request_patch(&r->request, path, "application/apply-patch+yaml", body, ASK_S);
	else
		free(body);
	free(path);
	return err;
}

/* 1: a request is under way. */
static int look_at_node(struct sl_api *api, const struct sl_stored *own, __u64 now)
{
	const json_t *there = sl_status_find(json_object_get(own->status, "nodes"), "name", api->node);
	json_t *wanted = make_element(api, own, there), *status;
	int how = differs(wanted, there);

	if (!is_due(&own->times->node, own->times->node_rest, how, how == 1 ? PODS_MS : NODE_MS, now)) {
		api->report->waits |= how;
		json_decref(wanted);
		return 0;
	}
	/* nothing of it: the server drops what this manager had */
	status = wanted ? json_pack("{s:[o]}", "nodes", wanted) : json_object();
	own->times->node = 0;
	own->times->node_rest = now + REST_MS;
	return patch(api, own, api->report->manager, status) ? 0 : 1;
}

static int look_at_conditions(struct sl_api *api, const struct sl_stored *own, __u64 now)
{
	struct sl_status_sum sum = {};
	json_t *conditions;
	bool news;

	sl_status_add_up(api, own, &sum);
	conditions = sl_status_conditions(own, &sum, &news);
	if (!is_due(&own->times->conditions, own->times->conditions_rest, news, news ? wait_of(&sum) : 0, now)) {
		api->report->waits |= news;
		json_decref(conditions);
		return 0;
	}
	own->times->conditions = 0;
	own->times->conditions_rest = now + REST_MS;
	return patch(api, own, "sluice", json_pack("{s:o}", "conditions", conditions)) ? 0 : 1;
}

static int look(void *context, const struct sl_stored *own)
{
	struct sl_api *api = context;
	__u64 now = sl_api_now();

	return look_at_node(api, own, now) || look_at_conditions(api, own, now);
}

static void done(void *context, CURLcode code)
{
	struct sl_api *api = context;
	struct sl_report *r = api->report;
	__u64 now = sl_api_now(), wait;

	r->look_at = now;
	if (!code && r->request.status == 404) /* it is gone, and so is what it was told */
		return;
	if (!sl_request_trouble(&r->request, code)) {
		r->written++;
		sl_trouble_over(api, &r->trouble, "write status");
		return;
	}
	wait = sl_trouble_note(api, &r->trouble, &r->request, code,
			       "write status (patch egresspolicies/status)");
	if (r->trouble.trouble == SL_API_RIGHTS)
		wait = REFUSED_MS;
	if (r->trouble.trouble != SL_API_REFUSED) /* which is about this one policy */
		r->again = now + wait;
}

/* ---- for api.c ---- */

static __u64 news_of(const struct sl_api *api)
{
	return sl_store_version(api->store) + api->follows[SL_KUBE_OWN].events +
		api->follows[SL_KUBE_CLUSTER_OWN].events + api->source.version;
}

void sl_report_work(struct sl_api *api, __u64 now)
{
	struct sl_report *r = api->report;
	__u64 news = news_of(api);

	if (!r || !api->complete)
		return;
	if (news != r->seen && r->look_at > now + LOOK_MS)
		r->look_at = now + LOOK_MS;
	if (r->request.active || now < r->look_at || now < r->again)
		return;
	r->seen = news;
	r->look_at = now + IDLE_MS;
	r->waits = false;
	if (!sl_store_each(api->store, SL_KUBE_OWN, look, api))
		sl_store_each(api->store, SL_KUBE_CLUSTER_OWN, look, api);
	if (!r->request.active && r->waits)
		r->look_at = now + LOOK_MS;
}

int sl_report_open(struct sl_api *api)
{
	struct sl_report *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	/* two nodes of one manager would take each other's element away */
	if (strlen(api->node) + 8 <= MANAGER_MAX)
		snprintf(r->manager, sizeof(r->manager), "sluice-%s", api->node);
	else
		snprintf(r->manager, sizeof(r->manager), "sluice-%.80s-%016llx", api->node,
			 (unsigned long long)sl_hash(api->node));
	sl_request_open(&r->request, api, done, api);
	api->report = r;
	return 0;
}

void sl_report_close(struct sl_api *api)
{
	if (api->report)
		sl_request_free(&api->report->request);
	free(api->report);
	api->report = NULL;
}

json_t *sl_report_json(const struct sl_api *api)
{
	const struct sl_report *r = api->report;

	if (!r)
		return json_null();
	return json_pack("{s:I, s:s?}", "written", (json_int_t)r->written, "why",
			 *r->trouble.why ? r->trouble.why : NULL);
}

void sl_report_numbers(const struct sl_api *api, struct sl_api_numbers *out)
{
	if (!api->report)
		return;
	out->events = api->report->written;
	memcpy(out->failures, api->report->trouble.failures, sizeof(out->failures));
}
