// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One kind: listed page by page, then watched from the version that the list had, and from the
 * last version of the watch when that ends. A version that the server has no more (410) is
 * listed again. What was known stays until a whole list says otherwise.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "http/json.h"
#include "internal.h"

#define LIST_S 120
#define WATCH_S 300		/* and up to as much again, by chance */
#define WATCH_GRACE_S 30	/* the server ends a watch: we only if it does not */
#define SHORT_MS 1000		/* a watch that ends so soon is none */

#define SLUICE "/apis/sluice.dev/v1alpha1/"

const struct sl_api_resource sl_api_resources[SL_KUBE_KINDS] = {
	[SL_KUBE_NAMESPACE] = {SL_KUBE_NAMESPACE, "/api/v1/namespaces", "namespaces"},
	[SL_KUBE_POD] = {SL_KUBE_POD, "/api/v1/pods", "pods"},
	[SL_KUBE_NETPOL] = {SL_KUBE_NETPOL, "/apis/networking.k8s.io/v1/networkpolicies",
			    "networkpolicies"},
	[SL_KUBE_SERVICE] = {SL_KUBE_SERVICE, "/api/v1/services", "services"},
	[SL_KUBE_SLICE] = {SL_KUBE_SLICE, "/apis/discovery.k8s.io/v1/endpointslices",
			   "endpointslices"},
	[SL_KUBE_ENDPOINTS] = {SL_KUBE_ENDPOINTS, "/api/v1/endpoints", "endpoints"},
	[SL_KUBE_OWN] = {SL_KUBE_OWN, SLUICE "egresspolicies", "egresspolicies"},
	[SL_KUBE_CLUSTER_OWN] = {SL_KUBE_CLUSTER_OWN, SLUICE "clusteregresspolicies",
				 "clusteregresspolicies"},
};

/* ---- paths ---- */

/* NAME=VALUE behind the path, escaped. 0 or -ENOMEM. */
static int add_query(char **path, CURL *easy, const char *name, const char *value)
{
	char *escaped = curl_easy_escape(easy, value, 0), *longer = NULL;

	if (escaped && asprintf(&longer, "%s%c%s=%s", *path, strchr(*path, '?') ? '&' : '?', name,
				escaped) < 0)
		longer = NULL;
	curl_free(escaped);
	if (!longer)
		return -1;
	free(*path);
	*path = longer;
	return 0;
}

static int add_number(char **path, CURL *easy, const char *name, unsigned n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	return add_query(path, easy, name, text);
}

static char *path_of(const struct sl_follow *f, bool watch, unsigned seconds)
{
	char *path = strdup(f->what->path), node[300];
	int bad = !path;

	snprintf(node, sizeof(node), "spec.nodeName=%s", f->api->node);
	if (!bad && f->what->kind == SL_KUBE_POD && f->node_only)
		bad = add_query(&path, f->request.easy, "fieldSelector", node);
	if (!bad && watch)
		bad = add_query(&path, f->request.easy, "watch", "1") ||
			add_query(&path, f->request.easy, "allowWatchBookmarks", "true") ||
			add_query(&path, f->request.easy, "resourceVersion", f->version) ||
			add_number(&path, f->request.easy, "timeoutSeconds", seconds);
	if (!bad && !watch)
		bad = add_number(&path, f->request.easy, "limit", f->page) ||
			(f->more && add_query(&path, f->request.easy, "continue", f->more));
	if (!bad)
		return path;
	free(path);
	return NULL;
}

/* ---- beginning ---- */

static const char *verb(const struct sl_follow *f, char buf[64])
{
	snprintf(buf, 64, "%s %s", f->state == SL_FOLLOW_WATCH ? "watch" : "list",
		 f->what->plural);
	return buf;
}

static void failed(struct sl_follow *f, CURLcode code)
{
	char what[64];

	f->again = sl_api_now() +
		sl_trouble_note(f->api, &f->trouble, &f->request, code, verb(f, what));
	if (f->trouble.trouble == SL_API_MISSING)
		f->api->discovery.again = 0; /* is it there at all? */
	f->state = SL_FOLLOW_WAIT;
}

static void drop_page(struct sl_follow *f)
{
	free(f->more);
	f->more = NULL;
}

static void begin(struct sl_follow *f)
{
	unsigned seconds = WATCH_S;
	char *path;
	__u32 chance = 0;
	int err;

	if (!f->request.easy)
		f->request.easy = curl_easy_init();
	getrandom(&chance, sizeof(chance), GRND_NONBLOCK);
	seconds += chance % WATCH_S;
	f->state = f->list_next ? SL_FOLLOW_LIST : SL_FOLLOW_WATCH;
	f->request.take = f->list_next ? NULL : sl_event_take;
	f->seen = 0;
	if (!f->page)
		f->page = f->api->page;
	if (f->list_next && !f->more)
		sl_store_begin_list(f->api->store, f->what->kind);
	path = f->request.easy ? path_of(f, !f->list_next, seconds) : NULL;
	if (path) {
		err = sl_request_get(&f->request, path,
				     f->list_next ? LIST_S : seconds + WATCH_GRACE_S);
	} else {
		f->request.trouble = SL_API_MEMORY;
		err = -1;
	}
	free(path);
	if (err)
		failed(f, CURLE_OK);
}

/* ---- lists ---- */

static int wrong(struct sl_follow *f, const char *reason)
{
	f->request.trouble = SL_API_GARBAGE;
	f->request.reason = reason;
	return -1;
}

static int put_items(struct sl_follow *f, const json_t *items)
{
	const char *why;
	size_t i;
	json_t *item;
	int err;

	json_array_foreach(items, i, item) {
		sl_api_look(f->api, f->what->kind, item, false);
		err = sl_store_put(f->api->store, f->what->kind, item, &why);
		if (err == -EINVAL)
			return wrong(f, why);
		if (err) {
			f->request.trouble = SL_API_MEMORY;
			return -1;
		}
	}
	return 0;
}

static int keep_text(char **to, const char *text)
{
	char *copy = text && *text ? strdup(text) : NULL;

	free(*to);
	*to = copy;
	return text && *text && !copy ? -1 : 0;
}

/* One page. 1: it was the last. */
static int read_page(struct sl_follow *f)
{
	const struct sl_body *answer = &f->request.answer;
	json_t *list = sl_json_read(answer->n ? answer->bytes : "", answer->n, NULL);
	json_t *metadata = json_object_get(list, "metadata");
	const char *more = json_string_value(json_object_get(metadata, "continue"));
	const json_t *items = json_object_get(list, "items");
	const char *version = sl_event_version(list);
	int err = 0;

	if (!list)
		err = wrong(f, "a list that is no JSON");
	else if (!version || !(json_is_array(items) || json_is_null(items)))
		err = wrong(f, "a list without items and resourceVersion");
	if (!err)
		err = put_items(f, items);
	if (!err && (keep_text(&f->more, more) || keep_text(&f->version, version))) {
		f->request.trouble = SL_API_MEMORY;
		err = -1;
	}
	json_decref(list);
	return err ? err : !f->more;
}

static void listed(struct sl_follow *f)
{
	f->lists++;
	sl_store_end_list(f->api->store, f->what->kind);
	f->synced = true;
	f->absent = false;
	f->wide = !f->node_only;
	f->list_next = false;
	f->again = 0;
	/* what it took is not needed by a watch */
	sl_body_free(&f->request.answer);
}

/*
 * Whoever may write a few objects could make a page longer than an answer may be, and the list would
 * never come: then fewer at once, and after each page that came twice as many.
 */
static bool try_fewer(struct sl_follow *f)
{
	if (!f->request.answer.too_long || f->page == 1)
		return false;
	f->page = f->page < 4 ? 1 : f->page / 4;
	return true;
}

static void after_page(struct sl_follow *f, CURLcode code)
{
	int last = code || f->request.status != 200 ? -1 : read_page(f);

	f->state = SL_FOLLOW_WAIT;
	if (last >= 0)
		f->page = f->page * 2 < f->api->page ? f->page * 2 : f->api->page;
	if (last < 0 && try_fewer(f)) {
		f->again = 0;	/* the same page */
	} else if (last > 0) {
		listed(f);
	} else if (!last) {
		f->again = 0;	/* the next page */
	} else {
		bool over = f->request.status == 410; /* of `continue`: from its first page */

		drop_page(f);
		f->state = SL_FOLLOW_LIST;
		failed(f, code);
		f->expired += over;
	}
}

/* ---- watches ---- */

/* Its version is too old, by status or by an event: list, and wait only if that is nothing new. */
static void expired(struct sl_follow *f, CURLcode code, bool brief)
{
	f->expired++;
	f->list_next = true;
	if (brief && !f->seen) {
		failed(f, code);
		return;
	}
	f->state = SL_FOLLOW_WAIT;
	f->again = 0;
}

static void after_watch(struct sl_follow *f, CURLcode code)
{
	bool brief = sl_api_now() < f->request.began + SHORT_MS;

	if (f->request.status == 410 || (f->list_next && !f->request.trouble)) {
		expired(f, code, brief);
		return;
	}
	if (!code && f->request.status == 200 && !f->request.trouble && (f->seen || !brief)) {
		f->state = SL_FOLLOW_WAIT;
		f->again = 0;
		return;
	}
	/* An event that is none: what else has been missed is in a list. */
	f->list_next = f->list_next || f->request.trouble == SL_API_GARBAGE;
	failed(f, code);
}

static void done(void *context, CURLcode code)
{
	struct sl_follow *f = context;

	if (f->state == SL_FOLLOW_LIST)
		after_page(f, code);
	else
		after_watch(f, code);
}

/* ---- for api.c ---- */

void sl_follow_open(struct sl_follow *follow, struct sl_api *api,
		    const struct sl_api_resource *what)
{
	follow->api = api;
	follow->what = what;
	follow->list_next = true;
	follow->node_only = what->kind == SL_KUBE_POD;
	sl_request_open(&follow->request, api, done, follow);
}

void sl_follow_close(struct sl_follow *follow)
{
	sl_request_free(&follow->request);
	drop_page(follow);
	free(follow->version);
	follow->version = NULL;
}

void sl_follow_work(struct sl_follow *follow, __u64 now)
{
	char what[64];

	if (!follow->wanted)
		return;
	if (sl_request_is_late(&follow->request, now)) {
		sl_request_stop(&follow->request);
		done(follow, CURLE_OPERATION_TIMEDOUT);
	}
	/* a watch that the server has taken up is one that works */
	if (follow->state == SL_FOLLOW_WATCH && follow->request.status == 200 &&
	    (follow->seen || now > follow->request.answered + SHORT_MS))
		sl_trouble_over(follow->api, &follow->trouble, verb(follow, what));
	if (follow->state == SL_FOLLOW_WAIT && now >= follow->again)
		begin(follow);
}

void sl_follow_restart(struct sl_follow *follow)
{
	sl_request_stop(&follow->request);
	drop_page(follow);
	follow->state = SL_FOLLOW_WAIT;
	follow->list_next = true;
	follow->again = 0;
}

void sl_follow_missing(struct sl_follow *follow)
{
	if (follow->absent || follow->trouble.trouble != SL_API_MISSING)
		return;
	fprintf(stderr, "sluiced: kubernetes: %s are not installed: apply deploy/kubernetes/crds to "
		"have them\n", follow->what->plural);
	sl_store_begin_list(follow->api->store, follow->what->kind);
	sl_store_end_list(follow->api->store, follow->what->kind);
	follow->absent = follow->synced = true;
}

void sl_follow_want(struct sl_follow *follow, bool wanted)
{
	if (follow->wanted == wanted)
		return;
	follow->wanted = wanted;
	follow->synced = false;
	sl_follow_restart(follow);
	if (wanted)
		return;
	sl_store_begin_list(follow->api->store, follow->what->kind);
	sl_store_end_list(follow->api->store, follow->what->kind);
	follow->trouble.trouble = SL_API_FINE;
	follow->trouble.since_s = 0;
}
