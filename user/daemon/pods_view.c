// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The pods of a node, as status and metrics show them. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "apiserver/api.h"
#include "audit/json.h"
#include "daemon.h"

#define NO_VETH_NS (5 * 1000000000ull)
#define PARTLY_WARNINGS 8 /* of a pod; all of them are in -o json */

/* Whether what it should have is in force, too: a target that could not be given it is isolated,
 * or keeps what it had. */
static enum sl_pod_state state_of(struct sl_daemon *d, const struct sl_pod *pod, const char **why)
{
	const struct sl_watched_cgroup *w;

	*why = pod->why;
	if (pod->ended)
		return SL_POD_ENDED;
	if (*pod->why)
		return SL_POD_REFUSED;
	w = pod->text ? sl_cgroups_find(&d->cgroups, pod->id) : NULL;
	if (!w || w->as.state == SL_WATCHED_WAITING)
		return SL_POD_UNKNOWN;
	*why = w->as.state == SL_WATCHED_RELEASED ? "it was detached by hand" : w->why;
	return **why ? SL_POD_REFUSED : pod->exempt ? SL_POD_EXEMPT : SL_POD_JUDGED;
}

void sl_pods_count(struct sl_daemon *d, size_t counts[SL_POD_STATES])
{
	const char *ignored;

	memset(counts, 0, SL_POD_STATES * sizeof(*counts));
	for (size_t i = 0; i < d->pods.n; i++)
		counts[state_of(d, &d->pods.list[i], &ignored)]++;
}

struct leaving {
	struct sl_cgroups *cgroups;
	size_t n;
};

static void count_left(void *context, const struct sl_target_view *view)
{
	struct leaving *l = context;

	l->n += view->target.kind == SL_TARGET_CGROUP && (view->flags & SL_F_MANAGED) &&
		!sl_cgroups_find(l->cgroups, view->target.cgroup_id);
}

size_t sl_pods_left(struct sl_daemon *d)
{
	struct leaving l = {.cgroups = &d->cgroups};

	sl_state_targets(d->devices.state, count_left, &l);
	return l.n;
}

const char *sl_pods_stale(const struct sl_pods *p)
{
	const char *runtime = p->cri ? sl_cri_error(p->cri) : NULL;

	if (!p->on)
		return NULL;
	if (runtime)
		return runtime;
	if (!p->source)
		return "the objects cannot be followed: see the log";
	return p->source->stale_since_s ? p->source->why : NULL;
}

/* ---- the default of another configuration ---- */

struct old_places {
	struct sl_daemon *daemon;
	json_t *warnings;
	size_t n;
};

static bool is_default(const struct sl_daemon *d, const char *name)
{
	const char *own = d->config->kubernetes.policy;

	return name && (!strcmp(name, SL_PODS_UNKNOWN) || (own && !strcmp(name, own)));
}

/* A cgroup's directory has one link more for each below. */
static bool is_empty(const char *path)
{
	struct stat st;

	return !stat(path, &st) && st.st_nlink <= 2;
}

/* Pods may still be made below it: nobody follows them, and nothing of theirs passes. One without
 * any is no news: sluiced makes such places itself. */
static void look_at_place(void *context, const struct sl_target_view *view)
{
	struct old_places *all = context;
	struct sl_daemon *d = all->daemon;
	const struct sl_watched_cgroup *w;
	struct sl_table table = {};
	char *path;

	if (view->target.kind != SL_TARGET_CGROUP || !view->attached || !(view->flags & SL_F_MANAGED))
		return;
	w = sl_cgroups_find(&d->cgroups, view->target.cgroup_id);
	if (w && !w->as.orphan)
		return;
	sl_state_table(d->devices.state, view->slot, &table);
	path = table.words && is_default(d, sl_table_label(table.words, table.n_words, 0)) ?
		       sl_state_cgroup_path(&view->target) : NULL;
	if (path && !is_empty(path)) {
		char *name = sl_escaped(path);

		all->n++;
		json_array_append_new(
			all->warnings,
			json_sprintf("%s: an earlier configuration had pods there, `cgroup` of `kubernetes` "
				     "does not name it any more: no pod there is followed, and a new one is "
				     "denied everything; name it, or open it by `sluice detach --cgroup`",
				     name ? name : "?"));
		free(name);
	}
	free(path);
	free(table.words);
}

/* How many cgroups of pods an earlier configuration has left closed. */
static size_t old_places(struct sl_daemon *d, json_t *warnings)
{
	struct old_places all = {d, warnings, 0};

	sl_state_targets(d->devices.state, look_at_place, &all);
	return all.n;
}

/* ---- status ---- */

static const char *netns_of(const struct sl_pods *p, const char *uid)
{
	const struct sl_cri_pods *pods = p->cri ? sl_cri_pods(p->cri) : NULL;

	for (size_t i = 0; pods && i < pods->n; i++)
		if (!strcmp(pods->list[i].uid, uid))
			return pods->list[i].netns;
	return NULL;
}

static void warn_of_pod(const struct sl_pod *pod, const char *why, __s64 open_s, json_t *warnings)
{
	json_t *name = json_sprintf("pod %s/%s", pod->namespace ? pod->namespace : "?",
				    pod->name ? pod->name : pod->uid);
	const char *text = json_string_value(name);

	if (*why)
		json_array_append_new(warnings, json_sprintf("%s: its policy is refused, it keeps %s: %s",
							     text, pod->text ? "what it had" : "the default",
							     why));
	if (open_s && !pod->ended)
		json_array_append_new(
			warnings, json_sprintf("%s ran %lld s before anything judged it: what it sent "
					       "then is in no record (docs/kubernetes.md)",
					       text, (long long)open_s));
	if (pod->host_network && !pod->exempt && !pod->ended)
		json_array_append_new(
			warnings,
			json_sprintf("%s is on its node's network: EgressPolicies judge the sockets of its "
				     "cgroup, NetworkPolicies do not hold for it, and what it may send by "
				     "packet sockets, or through other processes of the node, is not judged",
				     text));
	json_decref(name);
}

/* Nothing leads there that netlink knows: looked for since so long. */
static void warn_of_no_veth(const struct sl_daemon *d, const struct sl_pod *pod, json_t *one,
			    json_t *warnings)
{
	const struct sl_watched_cgroup *w = sl_cgroups_find((struct sl_cgroups *)&d->cgroups, pod->id);

	if (pod->ended || !w || !w->has_veths || json_array_size(json_object_get(one, "veths")) ||
	    json_is_string(json_object_get(one, "veths_why")) ||
	    sl_now_ns() < pod->found_ns + NO_VETH_NS)
		return;
	json_array_append_new(warnings,
			      json_sprintf("pod %s/%s: no veth leads from this network namespace to its "
					   "own: its sockets are judged, its packet sockets are not "
					   "(docs/kubernetes.md)", pod->namespace, pod->name));
}

/* Once, whichever pods it is about. */
static void warn_once(json_t *warnings, const char *text)
{
	json_t *each;
	size_t i;

	json_array_foreach(warnings, i, each)
		if (!strcmp(json_string_value(each), text))
			return;
	json_array_append_new(warnings, sl_json_text(text));
}

/* What is not in force of policies that are, and Services that are denied since only some of their
 * endpoints are allowed. */
static json_t *partly_json(const struct sl_pod *pod, json_t *warnings)
{
	char *lines = strdup(pod->partly ? pod->partly : ""), *rest = NULL;
	json_t *list = json_array();

	for (char *line = lines ? strtok_r(lines, "\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\n", &rest)) {
		json_array_append_new(list, sl_json_text(line));
		if (json_array_size(list) <= PARTLY_WARNINGS)
			warn_once(warnings, line);
	}
	free(lines);
	return list;
}

static json_t *pod_json(struct sl_daemon *d, struct sl_pod *pod, json_t *warnings)
{
	static const char *const names[] = {
		[SL_POD_JUDGED] = "judged", [SL_POD_UNKNOWN] = "unknown", [SL_POD_REFUSED] = "refused",
		[SL_POD_EXEMPT] = "exempt", [SL_POD_ENDED] = "ended",
	};
	__s64 open_s = sl_pods_open_s(d, pod);
	const char *why;
	enum sl_pod_state state = state_of(d, pod, &why);
	char started[40];
	json_t *one;

	warn_of_pod(pod, why, open_s, warnings);
	one = json_pack("{s:o, s:o, s:o, s:o, s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:s?}", "namespace",
			 sl_json_text(pod->namespace), "name", sl_json_text(pod->name), "uid",
			 sl_json_text(pod->uid), "cgroup", sl_json_text(pod->path), "state",
			 names[state], "host_network", pod->host_network, "exempt", pod->exempt, "why",
			 *why ? sl_json_text(why) : json_null(), "partly",
			 partly_json(pod, warnings), "open_s",
			 json_integer(open_s), "netns",
			 sl_json_text(netns_of(&d->pods, pod->uid)), "started",
			 pod->started_s ? sl_view_time(pod->started_s, started) : NULL);
	if (one) {
		sl_veths_json(d, pod->id, one);
		warn_of_no_veth(d, pod, one, warnings);
	}
	return one;
}

static json_t *source_json(const struct sl_daemon *d)
{
	const struct sl_pods *p = &d->pods;
	const struct sl_kube_source *s = p->source;
	bool api = d->config->kubernetes.api.present;
	char changed[40], stale[40];

	if (!s)
		return json_null();
	return json_pack("{s:s, s:o, s:o, s:o, s:s?, s:s?, s:o, s:O?}", "kind", s->ops->kind, "directory",
			 api ? json_null() : sl_json_text(p->source_of), "api",
			 api ? sl_api_json(s) : json_null(), "version", sl_json_number(s->version), "changed",
			 s->changed_s ? sl_view_time(s->changed_s, changed) : NULL, "stale_since",
			 s->stale_since_s ? sl_view_time(s->stale_since_s, stale) : NULL, "why",
			 *s->why ? sl_json_text(s->why) : json_null(), "errors", s->errors);
}

static json_t *runtime_json(const struct sl_pods *p)
{
	const struct sl_cri_pods *pods = p->cri ? sl_cri_pods(p->cri) : NULL;

	if (!p->cri)
		return json_null();
	/* a change of a running pod's never comes to the runtime */
	return json_pack("{s:o, s:s?, s:s, s:o, s:o, s:o}", "socket", sl_json_text(p->cri_path), "version",
			 sl_cri_version(p->cri), "labels", "as each pod was made with", "pods",
			 pods ? sl_json_number(pods->n) : json_null(), "unreadable",
			 sl_json_number(pods ? pods->unreadable : 0), "why",
			 sl_json_text(sl_cri_error(p->cri)));
}

/* An EgressPolicy that is written then is in force only when the CRDs are seen. */
static void warn_of_crds(const struct sl_daemon *d, json_t *warnings)
{
	if (!d->config->kubernetes.api.present || !sl_api_lacks_own(d->pods.source))
		return;
	json_array_append_new(warnings,
			      json_string("objects: the API server does not have EgressPolicies (sluice.dev/v1alpha1): "
					  "none is in force; apply the CRDs in deploy/kubernetes/crds, which are "
					  "looked for each minute"));
}

/* The objects' errors, each with its place; else what is wrong as a whole. */
static void warn_of_objects(const struct sl_daemon *d, json_t *warnings)
{
	const struct sl_pods *p = &d->pods;
	const json_t *errors, *error;
	size_t i;

	if (p->cri && sl_cri_error(p->cri))
		json_array_append_new(warnings, json_sprintf("pods: %s", sl_cri_error(p->cri)));
	if (!p->source)
		return;
	warn_of_crds(d, warnings);
	errors = p->source->errors;
	if (p->source->stale_since_s && !json_array_size(errors))
		json_array_append_new(warnings, json_sprintf("objects: %s", p->source->why));
	json_array_foreach((json_t *)errors, i, error) {
		const char *file = json_string_value(json_object_get(error, "file"));

		json_array_append_new(
			warnings,
			json_sprintf("objects are not taken, those of before go on: %s:%lld:%lld: %s",
				     file ? file : p->source->ops->kind,
				     (long long)json_integer_value(json_object_get(error, "line")),
				     (long long)json_integer_value(json_object_get(error, "column")),
				     json_string_value(json_object_get(error, "message"))));
	}
}

json_t *sl_pods_json(struct sl_daemon *d, json_t *warnings)
{
	struct sl_pods *p = &d->pods;
	size_t counts[SL_POD_STATES], old, astray;
	json_t *list;

	if (!p->on)
		return json_null();
	sl_pods_count(d, counts);
	warn_of_objects(d, warnings);
	old = old_places(d, warnings);
	astray = sl_pods_astray(d);
	sl_pods_warn_astray(d, astray, warnings);
	list = json_array();
	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(list, pod_json(d, &p->list[i], warnings));
	return json_pack("{s:o, s:o, s:b, s:o, s:o, s:o}", "source", source_json(d), "runtime",
			 runtime_json(p), "ready",
			 p->walked && !counts[SL_POD_UNKNOWN] && !counts[SL_POD_REFUSED] && !old &&
				 !astray && !sl_pods_stale(p), "drift",
			 sl_json_number(p->drift + (p->source ? p->source->drift : 0)), "left",
			 sl_json_number(sl_pods_left(d)), "pods", list);
}
