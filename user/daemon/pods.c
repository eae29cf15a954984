// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The pods of a node: when something is to be done. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "audit/json.h"
#include "apiserver/api.h"
#include "daemon.h"
#include "policy/text.h"
#include "target/cgroup.h"

#define SECOND 1000000000ull
#define MS 1000000ull
#define NEWS_NS (50 * MS)     /* from a change of cgroups to the question: it may be one of many ... */
#define SPACING_NS SECOND     /* ... and between two such */
#define ASK_NS (20 * MS)      /* the first time that a pod is not known, ... */
#define ASK_SOON_NS (100 * MS) /* ... at most while it may be about to start ... */
#define YOUNG_NS (20 * SECOND)
#define ASK_MAX_NS (2 * SECOND) /* ... and while it goes on to be */
#define FAILED_MAX_NS (10 * SECOND)

/* ---- which cgroups ---- */

static const char *const *places(const struct sl_daemon *d, size_t *n)
{
	const struct sl_config_kubernetes *k = &d->config->kubernetes;

	*n = k->n_cgroups ? k->n_cgroups : SL_PODS_PLACES;
	return k->n_cgroups ? (const char *const *)k->cgroups : sl_pods_places;
}

static bool leads(void *context, const char *path)
{
	const struct sl_daemon *d = context;
	size_t n;
	const char *const *list = places(d, &n);

	return sl_pod_cgroup_leads(path, list, n);
}

static struct sl_pod *find(struct sl_pods *p, __u64 id)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].id == id)
			return &p->list[i];
	return NULL;
}

static void drop(struct sl_pods *p, struct sl_pod *pod)
{
	sl_pod_free(pod);
	*pod = p->list[--p->n];
}

static void ask_in(struct sl_pods *p, __u64 wait_ns)
{
	__u64 at = sl_now_ns() + wait_ns;

	if (p->cri && (!p->ask_at_ns || at < p->ask_at_ns))
		p->ask_at_ns = at;
	p->by_clock = false;
}

/* Is one of the pods not known, that was found since then? */
static bool is_unknown(const struct sl_pods *p, __u64 since_ns)
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
	drop(p, pod);
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
	const char *const *list = places(d, &n);

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
			p->ask_wait_ns = ASK_NS;
			ask_in(p, 0);
		}
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

	return next > now + NEWS_NS && !is_unknown(p, 0) ? next - now : NEWS_NS;
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
			drop(p, pod);
	}
	p->walked = true;
	if (p->changed && p->walk_news) /* a sandbox may be another one now */
		ask_in(p, news_wait(p));
}

static const struct sl_cgroups_pods hooks = {.leads = leads, .saw = saw, .begin = begin, .end = end};

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
	drop(&d->pods, pod);
}

/* Their target went without us, as by `sluice detach`. */
static void look_at_ended(struct sl_daemon *d, __u64 now)
{
	struct sl_pods *p = &d->pods;
	bool left = false;
	__u32 slot;

	p->look_at_ns = 0;
	for (size_t i = 0; i < p->n;) {
		struct sl_pod *pod = &p->list[i];

		if (pod->ended && sl_state_find_cgroup(d->devices.state, pod->id, &slot) == -ENOENT) {
			pod->why[0] = 0;
			sl_pod_tell(d, pod, "ended", NULL);
			drop(p, pod);
			continue;
		}
		left |= pod->ended;
		i++;
	}
	if (left)
		p->look_at_ns = now + SECOND;
}

/* ---- the runtime ---- */

static void ask_later(struct sl_pods *p, __u64 max_ns)
{
	bool by_clock = p->by_clock;

	if (!p->ask_wait_ns)
		p->ask_wait_ns = ASK_NS;
	ask_in(p, p->ask_wait_ns);
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
	if (!is_unknown(p, 0))
		p->ask_wait_ns = 0;
	else if (p->cri && !p->ask_at_ns)
		ask_later(p, is_unknown(p, now - YOUNG_NS) ? ASK_SOON_NS : ASK_MAX_NS);
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
		look_at_ended(d, now);
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
	p->decide = true;
}

/* ---- life ---- */

static void on_news(void *context, __u32 events)
{
	(void)context; /* that the loop turns is enough: sl_pods_work looks */
	(void)events;
}

static void follow(struct sl_daemon *d, struct sl_loop_source *news, int fd)
{
	*news = (struct sl_loop_source){.fd = fd, .ready = on_news, .context = d};
	if (fd >= 0 && sl_loop_add(d->loop, news, EPOLLIN))
		news->fd = -1; /* the tick finds out */
}

static void unfollow(struct sl_daemon *d, struct sl_loop_source *news)
{
	if (news->fd >= 0)
		sl_loop_drop(d->loop, news);
	news->fd = -1;
}

static void close_runtime(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	unfollow(d, &p->cri_news);
	sl_cri_close(p->cri);
	free(p->cri_path);
	p->cri = NULL;
	p->cri_path = NULL;
	p->ask_at_ns = 0;
}

static void close_source(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	unfollow(d, &p->source_news);
	if (p->source)
		p->source->ops->free(p->source);
	free(p->source_of);
	p->source = NULL;
	p->source_of = NULL;
	p->version = 0;
}

static bool is_same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

/* What is opened is another one if this is another text; owned by the caller. */
static char *name_source(const struct sl_config_kubernetes *k)
{
	const struct sl_config_api *api = &k->api;
	char *text;

	if (!api->present)
		return strdup(k->directory);
	return asprintf(&text, "%s ca %s token %s node %s%s",
			api->server ? api->server : "in-cluster", api->ca ? api->ca : "of the pod",
			api->token ? api->token : "of the pod", api->name ? api->name : "of the host",
			api->no_status ? " without status" : "") < 0 ? NULL : text;
}

static int open_api(const struct sl_config_api *api, struct sl_kube_source **out)
{
	struct sl_api_config config = {.server = api->server, .ca = api->ca, .token = api->token,
				       .node = api->name, .no_status = api->no_status};
	struct sl_diag diag = {};
	int err = sl_api_open(&config, out, &diag);

	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	return err;
}

/* What became of a pod's policy, for the status of those that it was made of. */
static int fate_of(void *context, const char *uid, const char **why)
{
	struct sl_daemon *d = context;
	const struct sl_watched_cgroup *w;
	const struct sl_pod *pod = NULL;

	for (size_t i = 0; i < d->pods.n && !pod; i++)
		if (!d->pods.list[i].ended && !strcmp(d->pods.list[i].uid, uid))
			pod = &d->pods.list[i];
	if (!pod || pod->exempt)
		return pod ? 0 : 2;
	*why = pod->why;
	if (*pod->why)
		return -1;
	w = pod->text ? sl_cgroups_find(&d->cgroups, pod->id) : NULL;
	if (!w || w->renew || w->state == SL_WATCHED_WAITING)
		return 2;
	*why = w->why;
	return w->state == SL_WATCHED_ATTACHED && !*w->why ? 1 : -1;
}

static void open_source(struct sl_daemon *d)
{
	const struct sl_config_kubernetes *k = &d->config->kubernetes;
	struct sl_pods *p = &d->pods;
	char *name = name_source(k);
	int err;

	if (p->source && is_same(p->source_of, name)) {
		free(name);
		return;
	}
	close_source(d);
	p->source_of = name;
	if (!name)
		err = -ENOMEM;
	else
		err = k->api.present ? open_api(&k->api, &p->source) :
			sl_kube_directory_open(k->directory, &p->source);
	if (err) {
		fprintf(stderr, "sluiced: %s cannot be followed: %s: pods have the default\n",
			k->api.present ? "the API server" : k->directory, strerror(-err));
		return;
	}
	p->source->fate = fate_of;
	p->source->fate_context = d;
	follow(d, &p->source_news, p->source->ops->fd(p->source));
}

/* Only a source that does not know pods by itself asks for it. */
static void open_runtime(struct sl_daemon *d)
{
	const struct sl_config_kubernetes *k = &d->config->kubernetes;
	const char *path = k->cri ? k->cri : SL_CRI_SOCKET;
	struct sl_pods *p = &d->pods;
	int err;

	if (p->cri && is_same(p->cri_path, path))
		return;
	close_runtime(d);
	if (!p->source || !p->source->ops->set_pods)
		return;
	p->cri_path = strdup(path);
	err = p->cri_path ? sl_cri_open(path, &p->cri) : -ENOMEM;
	if (err) {
		fprintf(stderr, "sluiced: %s cannot be asked for pods: %s\n", path, strerror(-err));
		return;
	}
	follow(d, &p->cri_news, sl_cri_fd(p->cri));
	ask_in(p, 0);
}

/* The pod that sluiced itself is in: it needs what it asks. */
static void find_self(struct sl_daemon *d)
{
	const char *told = secure_getenv(SL_PODS_SELF);
	char uid[SL_POD_UID_MAX + 1] = "";
	struct sl_cgroup2 fs = {};
	struct sl_diag ignored = {};
	size_t n;
	const char *const *list = places(d, &n);

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
		d->cgroups.list[i].orphan |= d->cgroups.list[i].of_pod;
		d->cgroups.list[i].of_pod = false;
	}
	while (p->n)
		drop(p, &p->list[0]);
	close_runtime(d);
	close_source(d);
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
	d->cgroups.pods = &hooks;
	d->cgroups.pods_context = d;
	find_self(d);
	open_source(d);
	open_runtime(d);
	if (p->cri && sl_cri_pods(p->cri))
		on_answer(d); /* `node` may be another */
	p->decide = true;
}

void sl_pods_close(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	d->cgroups.pods = NULL;
	while (p->n)
		drop(p, &p->list[0]);
	free(p->list);
	p->list = NULL;
	close_runtime(d);
	close_source(d);
	free(p->self);
	p->self = NULL;
	p->on = false;
}
