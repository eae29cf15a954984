// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The pods of a node: when something is to be done. */
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "target/cgroup.h"

#define SECOND 1000000000ull
#define MS 1000000ull
#define ASK_SOON_NS (100 * MS) /* at most, while a pod that is not known may be about to start ... */
#define YOUNG_NS (20 * SECOND)
#define ASK_MAX_NS (2 * SECOND) /* ... and while it goes on to be */
#define FAILED_MAX_NS (10 * SECOND)

/* ---- the runtime ---- */

static void ask_later(struct sl_pods *p, __u64 max_ns)
{
	bool by_clock = p->by_clock;

	if (!p->ask_wait_ns)
		p->ask_wait_ns = SL_PODS_ASK_NS;
	sl_pods_ask_in(p, p->ask_wait_ns);
	p->by_clock = by_clock;
	p->ask_wait_ns = p->ask_wait_ns < max_ns / 2 ? 2 * p->ask_wait_ns : max_ns;
}

static void on_answer(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;
	__u64 version = p->source ? p->source->version : 0;
	json_t *objects;

	if (sl_cri_error(p->cri)) {
		ask_later(p, FAILED_MAX_NS);
		return;
	}
	objects = p->source ? sl_pods_objects(p, &d->config->kubernetes) : NULL;
	if (p->source && (!objects || p->source->ops->set_pods(p->source, objects)))
		ask_later(p, FAILED_MAX_NS); /* no memory */
	json_decref(objects);
	p->drift += p->by_clock && version && p->source->version != version;
	p->by_clock = false;
	p->decide = true;
}

static void work_on_runtime(struct sl_daemon *d, __u64 now)
{
	struct sl_pods *p = &d->pods;

	if (p->ask_at_ns && now >= p->ask_at_ns) {
		p->ask_at_ns = 0;
		p->asked_at_ns = now;
		sl_cri_ask(p->cri, false);
	}
	if (sl_cri_work(p->cri))
		on_answer(d);
}

/* ---- work ---- */

static void decide_all(struct sl_daemon *d, __u64 now)
{
	struct sl_pods *p = &d->pods;

	p->decide = false;
	p->version = p->source ? p->source->version : 0;
	for (size_t i = 0; i < p->n; i++)
		if (!p->list[i].ended)
			sl_pod_decide(d, &p->list[i]);
	if (!sl_pods_unknown(p, 0))
		p->ask_wait_ns = 0;
	else if (p->cri && !p->ask_at_ns)
		ask_later(p, sl_pods_unknown(p, now - YOUNG_NS) ? ASK_SOON_NS : ASK_MAX_NS);
}

void sl_pods_work(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;
	__u64 now = sl_now_ns();

	if (!p->on)
		return;
	if (p->source)
		p->source->ops->work(p->source);
	if (p->cri)
		work_on_runtime(d, now);
	if (p->decide || (p->source && p->source->version != p->version))
		decide_all(d, now);
	if (p->look_at_ns && now >= p->look_at_ns)
		sl_pods_look_at_ended(d, now);
}

static void sooner(int *wait, int other)
{
	if (other >= 0 && (*wait < 0 || other < *wait))
		*wait = other;
}

static int until(__u64 at_ns)
{
	__u64 now = sl_now_ns();

	if (!at_ns)
		return -1;
	return at_ns > now ? (int)((at_ns - now) / MS) + 1 : 0;
}

int sl_pods_timeout(const struct sl_daemon *d)
{
	const struct sl_pods *p = &d->pods;
	int wait = -1;

	if (!p->on)
		return -1;
	if (p->source)
		sooner(&wait, p->source->ops->timeout(p->source));
	if (p->cri)
		sooner(&wait, sl_cri_timeout(p->cri));
	sooner(&wait, until(p->ask_at_ns));
	sooner(&wait, until(p->look_at_ns));
	return p->decide ? 0 : wait;
}

void sl_pods_reconcile(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	if (!p->on)
		return;
	if (p->source)
		p->source->ops->reconcile(p->source);
	p->by_clock = !p->ask_at_ns;
	p->ask_at_ns = 0;
	if (p->cri)
		sl_cri_ask(p->cri, true);
	sl_pods_try_again(p);
	p->decide = true;
}

/* ---- life ---- */

/* The pod that sluiced itself is in: it needs what it asks. */
static void find_self(struct sl_daemon *d)
{
	const char *told = secure_getenv(SL_PODS_SELF);
	char uid[SL_POD_UID_MAX + 1] = "";
	struct sl_cgroup2 fs = {};
	struct sl_diag ignored = {};
	size_t n;
	const char *const *list = sl_pods_places_of(d, &n);

	free(d->pods.self);
	if (!told && !sl_cgroup2_find(&fs, &ignored)) {
		if (sl_pod_cgroup_within(fs.path, list, n, uid))
			told = uid;
		sl_cgroup2_free(&fs);
	}
	d->pods.self = told && *told ? strdup(told) : NULL;
	sl_diag_free(&ignored);
}

/* What they have stays, as that of other targets that the configuration names no more. */
static void forget_all(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	for (size_t i = 0; i < d->cgroups.n; i++) {
		d->cgroups.list[i].as.orphan |= d->cgroups.list[i].of_pod;
		d->cgroups.list[i].of_pod = false;
	}
	while (p->n)
		sl_pods_drop(p, &p->list[p->n - 1]);
	sl_pods_close_sources(d);
	p->on = false;
	d->cgroups.pods = NULL;
}

void sl_pods_regroup(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	if (!d->config->kubernetes.present) {
		if (p->on)
			forget_all(d);
		return;
	}
	p->on = true;
	d->cgroups.sweep |= !d->cgroups.looked_back; /* pods that ended while nobody followed them */
	d->cgroups.pods = &sl_pods_hooks;
	d->cgroups.pods_context = d;
	find_self(d);
	sl_pods_know_dns(d);
	sl_pods_open(d);
	if (p->cri && sl_cri_pods(p->cri))
		on_answer(d); /* `node` may be another */
	p->decide = true;
}

void sl_pods_close(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	d->cgroups.pods = NULL;
	while (p->n)
		sl_pods_drop(p, &p->list[p->n - 1]);
	free(p->list);
	p->list = NULL;
	sl_pods_close_sources(d);
	sl_pods_forget_dns(p);
	free(p->self);
	p->self = NULL;
	p->on = false;
}
