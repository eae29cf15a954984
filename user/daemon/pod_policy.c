// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One pod: who it is, which policy it has, what is said of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit/json.h"
#include "daemon.h"
#include "policy/print.h"

/* Of pods of namespaces that are exempt, and of sluiced's own. */
static const char exempt_policy[] =
	"sluice: 1\n"
	"name: pods-exempt\n"
	"default: allow\n"
	"inbound: allow\n"
	"fragments: first-decides\n"
	"rules:\n"
	"  - allow: {to: [any, \"64:ff9b:1::/48\", \"2002::/16\", \"2001::/32\"]}\n"
	"    id: exempt\n";

void sl_pod_free(struct sl_pod *pod)
{
	sl_target_group_put(pod->group);
	free(pod->uid);
	free(pod->path);
	free(pod->namespace);
	free(pod->name);
	free(pod->text);
	free(pod->cluster);
	free(pod->in_force);
	free(pod->unfit);
	free(pod->partly);
}

/* ---- what is said ---- */

static char *called(const struct sl_pod *pod)
{
	char *text;

	return asprintf(&text, "%s/%s", pod->namespace ? pod->namespace : "?",
			pod->name ? pod->name : pod->uid) < 0
		       ? NULL
		       : text;
}

void sl_pod_tell(struct sl_daemon *d, const struct sl_pod *pod, const char *change, json_t *more)
{
	json_t *record = json_pack("{s:s, s:s, s:{s:s, s:o}, s:{s:o, s:o, s:o}, s:o, s:o}", "event",
				   "pod", "change", change, "target", "kind", "cgroup", "name",
				   sl_json_text(pod->path), "pod", "namespace",
				   sl_json_text(pod->namespace), "name", sl_json_text(pod->name),
				   "uid", sl_json_text(pod->uid), "cgroup", sl_json_number(pod->id),
				   "why", *pod->why ? sl_json_text(pod->why) : json_null());

	if (record && more)
		json_object_update(record, more);
	json_decref(more);
	sl_daemon_record(d, record, *pod->why);
}

static void refuse(struct sl_daemon *d, struct sl_pod *pod, const struct sl_diag *diag, int err)
{
	const struct sl_diag_entry *first = NULL;
	char why[sizeof(pod->why)], *name;

	for (size_t i = 0; i < diag->n && !first; i++)
		if (diag->entries[i].severity == SL_ERROR)
			first = &diag->entries[i];
	if (first && first->pos.file && !first->pos.column) /* a path in an object of the server */
		snprintf(why, sizeof(why), "%s: %s", first->pos.file, first->message);
	else if (first && first->pos.file)
		snprintf(why, sizeof(why), "%s:%u:%u: %s", first->pos.file, first->pos.line,
			 first->pos.column, first->message);
	else
		snprintf(why, sizeof(why), "%s", first ? first->message : strerror(-err));
	if (!strcmp(why, pod->why))
		return;
	memcpy(pod->why, why, sizeof(why));
	name = sl_escaped(pod->path);
	fprintf(stderr, "sluiced: %s: the policy of this pod cannot be given, it %s:\n",
		name ? name : "?", pod->held ? "has what ClusterEgressPolicies say, and nothing else passes" :
		pod->text ? "keeps what it has" : "keeps the default");
	free(name);
	sl_diag_print(diag, stderr);
	sl_pod_tell(d, pod, "refused", NULL);
}

/* ---- its policy ---- */

/* On its node's network it has none of its own; of an exempt one nothing is judged. */
static bool has_veths(const struct sl_daemon *d, const struct sl_pod *pod)
{
	return !d->config->kubernetes.no_veth && !pod->host_network && !pod->exempt;
}

/* Its cgroup obeys the group from the next turn on; what was given by hand stays. */
static int watch(struct sl_daemon *d, struct sl_pod *pod)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, pod->id);

	if (!w)
		w = sl_cgroups_add(&d->cgroups, pod->path, pod->id, pod->group);
	if (!w)
		return -ENOMEM;
	if (w->as.by_hand)
		return 0;
	w->of_pod = true;
	w->has_veths = has_veths(d, pod);
	sl_assign_anew(&w->as, pod->group);
	return 0;
}

/* What its first question is judged by, if it comes before its own resolv.conf was seen. */
static void expect(struct sl_daemon *d, const struct sl_pod *pod, const struct sl_kube_pod *object)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, pod->id);
	char *text = NULL;

	if (!w || !w->of_pod || !object || sl_kube_source_expected_conf(d->pods.source, object, &text))
		return;
	free(w->expected);
	w->expected = text;
}

/* The text is the one that it has. */
static int keep(struct sl_daemon *d, struct sl_pod *pod)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, pod->id);

	if (!w)
		return watch(d, pod);
	if (w->of_pod)
		w->has_veths = has_veths(d, pod);
	return 0;
}

static int make_group(struct sl_daemon *d, struct sl_pod *pod)
{
	struct sl_target_group *group = sl_target_group_new();

	if (!group)
		return -ENOMEM;
	group->given.of_cgroup = true;
	group->line = d->config->kubernetes.pos.line;
	group->policy = called(pod);
	if (!group->policy) {
		sl_target_group_put(group);
		return -ENOMEM;
	}
	pod->group = group;
	return 0;
}

/* Takes the text over. Durations go on, since it is the same `given`. */
static int give(struct sl_daemon *d, struct sl_pod *pod, char *text, size_t len,
		struct sl_diag *diag)
{
	const struct sl_attach_options options = {.managed = true,
						  .trust_clock = d->config->trust_clock};
	int err = pod->group ? 0 : make_group(d, pod);

	if (!err)
		err = sl_given_load_text(&pod->group->given, &options, text, len,
					 pod->group->policy, diag);
	if (!err)
		err = watch(d, pod);
	if (err) {
		free(text);
		return err;
	}
	free(pod->text);
	pod->text = text;
	return 0;
}

/* 0: it has it, or is not known enough to; text: owned by the caller, NULL then. */
static int make_text(struct sl_daemon *d, struct sl_pod *pod, const struct sl_kube_pod *object,
		     char **text, size_t *len, struct sl_diag *diag)
{
	struct sl_policy *policy;
	int err;

	*text = NULL;
	if (pod->exempt) {
		*text = strdup(exempt_policy);
		*len = sizeof(exempt_policy) - 1;
	} else if (!object) {
		return 0;
	} else {
		err = sl_kube_source_policy(d->pods.source, object, &policy, diag);
		if (err)
			return err == -EAGAIN ? 0 : err;
		*text = sl_policy_text(policy, len);
		sl_policy_free(policy);
	}
	return *text ? 0 : -ENOMEM;
}

/* What ClusterEgressPolicies alone say of it; NULL: none selects it. */
static int make_cluster_text(struct sl_daemon *d, const struct sl_kube_pod *object, char **text,
			     size_t *len)
{
	struct sl_policy *policy = NULL;
	struct sl_diag diag = {}; /* said already, with the rest */
	int err = object ? sl_kube_source_cluster_policy(d->pods.source, object, &policy, &diag) : 0;

	*text = !err && policy ? sl_policy_text(policy, len) : NULL;
	if (!err && policy && !*text)
		err = -ENOMEM;
	sl_policy_free(policy);
	sl_diag_free(&diag);
	return err;
}

static bool is_same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

/*
 * What it should have cannot be given. Objects of its namespace may be why, and whoever writes
 * those must not hold back what the cluster's say: where that is not what it has, it gets that, and the
 * rest of what it does is denied.
 */
static void hold(struct sl_daemon *d, struct sl_pod *pod, const struct sl_kube_pod *object)
{
	struct sl_diag diag = {};
	char *text = NULL, *copy;
	size_t len = 0;
	int err = pod->exempt ? 0 : make_cluster_text(d, object, &text, &len);

	pod->has_cluster = !err && pod->text && is_same(text, pod->unfit ? pod->in_force : pod->cluster);
	copy = err || pod->has_cluster || !text ? NULL : strdup(text);
	if (copy && !give(d, pod, copy, len, &diag)) {
		pod->has_cluster = pod->held = true;
		free(pod->cluster);
		pod->cluster = text;
		text = NULL;
	}
	free(text);
	sl_diag_free(&diag);
}

static void remember_cluster(struct sl_daemon *d, struct sl_pod *pod, const struct sl_kube_pod *object)
{
	char *text = NULL;
	size_t len;

	if (!pod->exempt && make_cluster_text(d, object, &text, &len))
		return; /* no memory: it is another one then, and is given */
	free(pod->cluster);
	pod->cluster = text;
	pod->has_cluster = true;
}

/* text: as make_text has it; taken over. */
static int take(struct sl_daemon *d, struct sl_pod *pod, char *text, size_t len, struct sl_diag *diag)
{
	bool same = text && pod->text && !strcmp(text, pod->text);
	int err;

	if (same) {
		free(text);
		err = keep(d, pod);
	} else {
		err = give(d, pod, text, len, diag);
	}
	if (!err) {
		pod->why[0] = 0;
		pod->held = false;
	}
	if (!err && !same)
		sl_diag_print(diag, stderr); /* warnings */
	return err;
}

/* What was warned of that is an EgressPolicy's, as the API server's objects are placed. */
static void note_partly(struct sl_pod *pod, const struct sl_diag *diag)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (size_t i = 0; out && i < diag->n; i++)
		if (diag->entries[i].severity != SL_ERROR && diag->entries[i].pos.file &&
		    !diag->entries[i].pos.column)
			fprintf(out, "%s: %s\n", diag->entries[i].pos.file, diag->entries[i].message);
	if (out)
		fclose(out);
	free(pod->partly);
	pod->partly = text && *text ? text : NULL;
	if (!pod->partly)
		free(text);
}

/* What it has there is what was made of it, or was not: of a gateway that its network has not, of a
 * uid without a number in it. Then it is as one whose objects are wrong. */
void sl_pod_settled(void *context, const struct sl_watched_cgroup *w, const char *why)
{
	struct sl_daemon *d = context;
	struct sl_pod *pod = NULL;

	for (size_t i = 0; i < d->pods.n && !pod; i++)
		if (d->pods.list[i].id == w->id && d->pods.list[i].group == w->as.group)
			pod = &d->pods.list[i];
	if (!pod || (why && pod->held)) /* the cluster's own */
		return;
	if (!why && pod->unfit && is_same(pod->text, pod->unfit)) {
		free(pod->unfit);
		pod->unfit = NULL;
		d->pods.decide = true;
	} else if (why && !is_same(pod->text, pod->unfit) && pod->text) {
		free(pod->unfit);
		pod->unfit = strdup(pod->text);
		snprintf(pod->unfit_why, sizeof(pod->unfit_why), "%s", why);
		d->pods.decide = true;
	}
	if (!why) {
		free(pod->in_force);
		pod->in_force = pod->cluster ? strdup(pod->cluster) : NULL;
	}
}

/* Its network may be another by now. One that was not held has its text still, and is tried anyway. */
void sl_pods_try_again(struct sl_pods *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].held) {
			free(p->list[i].unfit);
			p->list[i].unfit = NULL;
		}
}

/* The text is one that could not be given on its cgroup. */
static int check_fit(const struct sl_pod *pod, const char *text, struct sl_diag *diag)
{
	return is_same(text, pod->unfit) ? sl_error(diag, NULL, "%s", pod->unfit_why) : 0;
}

void sl_pod_decide(struct sl_daemon *d, struct sl_pod *pod)
{
	const struct sl_kube_pod *object = sl_pod_identify(d, pod);
	struct sl_diag diag = {};
	size_t len = 0;
	char *text;
	int err = make_text(d, pod, object, &text, &len, &diag);

	if (!err && text && check_fit(pod, text, &diag)) {
		free(text);
		err = -EINVAL;
	}
	if (!err && text) {
		err = take(d, pod, text, len, &diag);
		if (!err) {
			remember_cluster(d, pod, object);
			note_partly(pod, &diag);
		}
	}
	expect(d, pod, object);
	if (err) {
		hold(d, pod, object);
		refuse(d, pod, &diag, err);
	}
	if (pod->text && !pod->told && !err) {
		pod->told = true;
		sl_pod_tell(d, pod, "judged",
			    json_pack("{s:s, s:b, s:b}", "policy", pod->group->given.name,
				      "host_network", pod->host_network, "exempt", pod->exempt));
	}
	sl_diag_free(&diag);
}
