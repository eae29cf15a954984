// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The pods of a node: their cgroups, as the walk finds them, until the last is gone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/json.h"
#include "daemon.h"
#include "policy/text.h"

#define SECOND 1000000000ull
#define NEWS_NS 50000000ull /* from a change of cgroups to the question: one of many ... */
#define SPACING_NS SECOND   /* ... and between two such */

/* ---- which cgroups ---- */

const char *const *sl_pods_places_of(const struct sl_daemon *d, size_t *n)
{
	const struct sl_config_kubernetes *k = &d->config->kubernetes;

	*n = k->n_cgroups ? k->n_cgroups : SL_PODS_PLACES;
	return k->n_cgroups ? (const char *const *)k->cgroups : sl_pods_places;
}

static bool leads(void *context, const char *path)
{
	const struct sl_daemon *d = context;
	size_t n;
	const char *const *list = sl_pods_places_of(d, &n);

	return sl_pod_cgroup_leads(path, list, n);
}

static struct sl_pod *find(struct sl_pods *p, __u64 id)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].id == id)
			return &p->list[i];
	return NULL;
}

void sl_pods_drop(struct sl_pods *p, struct sl_pod *pod)
{
	sl_pod_free(pod);
	*pod = p->list[--p->n];
}

void sl_pods_ask_in(struct sl_pods *p, __u64 wait_ns)
{
	__u64 at = sl_now_ns() + wait_ns;

	if (p->cri && (!p->ask_at_ns || at < p->ask_at_ns))
		p->ask_at_ns = at;
	p->by_clock = false;
}

bool sl_pods_unknown(const struct sl_pods *p, __u64 since_ns)
{
	for (size_t i = 0; i < p->n; i++)
		if (!p->list[i].ended && !p->list[i].text && !*p->list[i].why &&
		    p->list[i].found_ns >= since_ns)
			return true;
	return false;
}

static struct sl_pod *add(struct sl_pods *p, const char *path, __u64 id, const char *uid)
{
	struct sl_pod *pod = SL_ADD(p->list, p->n);

	if (!pod)
		return NULL;
	pod->id = id;
	pod->found_ns = sl_now_ns();
	pod->path = strdup(path);
	pod->uid = strdup(uid);
	if (pod->path && pod->uid)
		return pod;
	sl_pods_drop(p, pod);
	return NULL;
}

/* Of a cgroup's directory: one more for each below. */
static void note_children(struct sl_pods *p, struct sl_pod *pod, const struct stat *st)
{
	p->changed |= pod->children != st->st_nlink || pod->changed_s != st->st_mtim.tv_sec ||
		      pod->changed_ns != st->st_mtim.tv_nsec;
	pod->children = st->st_nlink;
	pod->changed_s = st->st_mtim.tv_sec;
	pod->changed_ns = st->st_mtim.tv_nsec;
}

static bool saw(void *context, const char *path, const struct stat *st)
{
	struct sl_daemon *d = context;
	struct sl_pods *p = &d->pods;
	char uid[SL_POD_UID_MAX + 1];
	struct sl_pod *pod;
	size_t n;
	const char *const *list = sl_pods_places_of(d, &n);

	if (!sl_pod_cgroup(path, list, n, uid))
		return false;
	pod = find(p, st->st_ino);
	if (!pod) {
		pod = add(p, path, st->st_ino, uid);
		if (!pod)
			return true; /* the default holds; the next walk tries again */
		p->drift += p->walked && !p->walk_news;
		sl_pod_decide(d, pod);
		if (!pod->text) {
			p->ask_wait_ns = SL_PODS_ASK_NS;
			sl_pods_ask_in(p, 0);
		}
	}
	if (pod->ended) { /* only for a configuration that did not name its place */
		pod->ended = false;
		p->ended--;
		sl_pod_decide(d, pod);
	}
	pod->seen = true;
	note_children(p, pod, st);
	return true;
}

static void begin(void *context, bool news)
{
	struct sl_daemon *d = context;
	const struct sl_watched_cgroup *w;

	d->pods.walk_news = news;
	d->pods.changed = false;
	for (size_t i = 0; i < d->pods.n; i++) {
		struct sl_pod *pod = &d->pods.list[i];

		pod->seen = false;
		w = pod->ended ? NULL : sl_cgroups_find(&d->cgroups, pod->id);
		if (!w || !w->generation)
			continue;
		pod->slot = w->slot; /* by which its end is known: the cgroup is gone then */
		pod->has_slot = true;
	}
}

/* A pod whose containers crash makes no more than one question a second. */
static __u64 news_wait(const struct sl_pods *p)
{
	__u64 now = sl_now_ns(), next = p->asked_at_ns + SPACING_NS;

	return next > now + NEWS_NS && !sl_pods_unknown(p, 0) ? next - now : NEWS_NS;
}

/* A cgroup that is gone and had no target leaves nothing behind. */
static void end(void *context)
{
	struct sl_daemon *d = context;
	struct sl_pods *p = &d->pods;

	for (size_t i = 0; i < p->n;) {
		struct sl_pod *pod = &p->list[i];

		if (pod->seen || pod->ended) {
			i++;
			continue;
		}
		p->drift += !p->walk_news;
		p->ended++;
		p->changed = true;
		pod->ended = true;
		p->look_at_ns = sl_now_ns();
		if (pod->text)
			i++;
		else
			sl_pods_drop(p, pod);
	}
	p->walked = true;
	/* a pod's first process may come long after its device: CRI-O's sandboxes have none */
	if (p->changed)
		sl_veths_on_links(d);
	if (p->changed && p->walk_news) /* a sandbox may be another one now */
		sl_pods_ask_in(p, news_wait(p));
}

const struct sl_cgroups_pods sl_pods_hooks = {
	.leads = leads, .saw = saw, .begin = begin, .end = end, .settled = sl_pod_settled,
};

/* ---- its end ---- */

static json_t *counters_of(const struct sl_state *state, __u32 slot)
{
	struct sl_meter m = {};
	struct sl_stats s;

	sl_state_read_stats(state, slot, &s);
	sl_state_read_meter(state, slot, &m);
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "decided",
			 sl_json_number(s.decided), "allowed", sl_json_number(s.allowed), "denied",
			 sl_json_number(s.denied), "audit_denied", sl_json_number(s.audit_denied),
			 "lost", sl_json_number(s.lost), "tx_bytes", sl_json_number(m.tx_bytes),
			 "rx_bytes", sl_json_number(m.rx_bytes));
}

static struct sl_pod *find_ended(struct sl_pods *p, __u32 slot)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].ended && p->list[i].has_slot && p->list[i].slot == slot)
			return &p->list[i];
	return NULL;
}

void sl_pods_end(struct sl_daemon *d, const struct sl_state *state, __u32 slot)
{
	struct sl_pod *pod = find_ended(&d->pods, slot);

	if (!pod)
		return;
	pod->why[0] = 0;
	sl_pod_tell(d, pod, "ended", counters_of(state, slot));
	sl_pods_drop(&d->pods, pod);
}

void sl_pods_look_at_ended(struct sl_daemon *d, __u64 now)
{
	struct sl_pods *p = &d->pods;
	bool left = false;
	__u32 slot;

	p->look_at_ns = 0;
	for (size_t i = 0; i < p->n;) {
		struct sl_pod *pod = &p->list[i];

		if (pod->ended &&
		    sl_state_find_cgroup(d->devices.state, pod->id, &slot) == -ENOENT) {
			pod->why[0] = 0;
			sl_pod_tell(d, pod, "ended", NULL);
			sl_pods_drop(p, pod);
			continue;
		}
		left |= pod->ended;
		i++;
	}
	if (left)
		p->look_at_ns = now + SECOND;
}
