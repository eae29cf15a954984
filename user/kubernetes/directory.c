// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Objects from a directory: files that somebody puts there, a ConfigMap that the kubelet has
 * mounted. It takes them all or none. The kubelet writes a new directory beside and
 * renames the link `..data` to it, so that its news is the link's.
 *
 * What changes without the files is not to be had here: this node's pods come from the runtime
 * (set_pods), other nodes' and Services from nowhere. What would ask for them is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "audit/json.h"
#include "directory.h"
#include "source.h"

#define SETTLE_NS (150 * 1000000ull)
#define NEWS                                                                                       \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
	 IN_CREATE | IN_ONLYDIR)

struct directory {
	struct sl_kube_source source;
	char *path; /* owned */
	int fd;	    /* inotify */
	int watch;  /* of the directory; -1: it was not there */
	__u64 read_at_ns; /* monotonic; 0: no news */
	struct sl_texts texts; /* that are in force */
	char *pods; /* as JSON; owned; NULL: not known yet */
	struct sl_diag diag;
	struct sl_kube *kube; /* of texts and pods; NULL: not known */
	bool loaded;	      /* texts were read once */
	bool pods_wrong;      /* `why` is about the last pods */
};

static struct directory *of(const struct sl_kube_source *source)
{
	return (struct directory *)source;
}

static __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + (__u64)ts.tv_nsec;
}

/* ---- what they say ---- */

/* Such an object would be right until the first change in the cluster. */
static int check_kinds(const struct sl_kube *kube)
{
	static const char why[] = "a directory cannot follow what changes by itself: this node's "
				  "pods come from its runtime, and for Services and pods elsewhere "
				  "the API server is asked (`source: api`)";

	if (kube->n_pods)
		return sl_error(kube->diag, &kube->pods->object.pos, "a Pod in a file: %s", why);
	if (kube->n_services)
		return sl_error(kube->diag, &kube->services->object.pos, "a Service in a file: %s", why);
	if (kube->n_endpoints)
		return sl_error(kube->diag, NULL, "Endpoints of %s/%s in a file: %s",
				kube->endpoints->namespace, kube->endpoints->service, why);
	return 0;
}

static int check_egress(const struct sl_kube *kube, const struct sl_kube_netpol *netpol,
			const struct sl_kube_egress *egress)
{
	static const char why[] = "which are not known here, where the objects are files: write an "
				  "ipBlock, or ask the API server (`source: api`)";

	for (size_t i = 0; i < egress->n_peers; i++)
		if (!egress->peers[i].is_block)
			return sl_error(kube->diag, &egress->peers[i].pos, "NetworkPolicy %s/%s: a "
					"selector of pods means the addresses of pods of the whole "
					"cluster, %s", netpol->object.namespace, netpol->object.name, why);
	for (size_t i = 0; i < egress->n_ports; i++)
		if (egress->ports[i].name)
			return sl_error(kube->diag, &egress->pos, "NetworkPolicy %s/%s: the port \"%s\" "
					"is what pods of the whole cluster call so, %s",
					netpol->object.namespace, netpol->object.name,
					egress->ports[i].name, why);
	return 0;
}

static int check_facts(const struct sl_kube *kube)
{
	int err, worst = check_kinds(kube);

	for (size_t i = 0; i < kube->n_netpols; i++)
		for (size_t r = 0; kube->netpols[i].governs_egress && r < kube->netpols[i].n_egress;
		     r++) {
			err = check_egress(kube, &kube->netpols[i], &kube->netpols[i].egress[r]);
			worst = err ? err : worst;
		}
	err = sl_kube_check_own(kube);
	return err ? err : worst;
}

/* Every file is tried, so that one look finds every error. pods: those of the runtime. */
static int make(const struct sl_texts *texts, const char *pods, struct sl_diag *diag,
		struct sl_kube **out)
{
	struct sl_kube *kube = sl_kube_new(diag);
	int err = 0, one;

	if (!kube)
		return -ENOMEM;
	kube->partial = true;
	for (size_t i = 0; i < texts->n && err != -ENOMEM; i++) {
		one = sl_kube_add(kube, texts->list[i].text, texts->list[i].len,
				  texts->list[i].path);
		err = one ? one : err;
	}
	if (!err)
		err = check_facts(kube);
	if (!err && pods)
		err = sl_kube_add(kube, pods, strlen(pods), "the runtime's pods");
	if (err)
		sl_kube_free(kube);
	else
		*out = kube;
	return err;
}

static void set_errors(struct directory *d, const struct sl_diag *diag, int err)
{
	const char *first = NULL;

	for (size_t i = 0; i < diag->n && !first; i++)
		if (diag->entries[i].severity == SL_ERROR)
			first = diag->entries[i].message;
	snprintf(d->source.why, sizeof(d->source.why), "%s", first ? first : strerror(-err));
	if (!d->source.stale_since_s)
		d->source.stale_since_s = time(NULL);
	json_decref(d->source.errors);
	d->source.errors = sl_json_diag(diag, SL_ERROR);
}

static void clear_errors(struct directory *d)
{
	d->source.why[0] = 0;
	d->source.stale_since_s = 0;
	json_decref(d->source.errors);
	d->source.errors = NULL;
}

/* Takes texts and pods over on success; what was in force goes on otherwise. */
static int take(struct directory *d, struct sl_texts *texts, char *pods)
{
	struct sl_diag diag = {};
	struct sl_kube *kube;
	int err = make(texts, pods, &diag, &kube);

	if (err) {
		set_errors(d, &diag, err);
		sl_diag_free(&diag);
		return err;
	}
	sl_kube_free(d->kube);
	sl_diag_free(&d->diag);
	d->diag = diag; /* what the objects' places name lives there */
	kube->diag = &d->diag;
	d->kube = kube;
	if (texts != &d->texts) {
		sl_texts_free(&d->texts);
		d->texts = *texts;
		d->loaded = true;
	}
	if (pods != d->pods) {
		free(d->pods);
		d->pods = pods;
	}
	d->source.version++;
	d->source.changed_s = time(NULL);
	return 0;
}

/* ---- news ---- */

/* Whether it was there before is news too. */
static void watch(struct directory *d)
{
	if (d->watch < 0)
		d->watch = inotify_add_watch(d->fd, d->path, NEWS);
}

static void reread(struct directory *d)
{
	struct sl_texts texts = {};
	struct sl_diag diag = {};
	int err;

	d->read_at_ns = 0;
	watch(d);
	err = sl_texts_read(d->path, &texts, &diag);
	if (err)
		set_errors(d, &diag, err);
	else if (d->loaded && sl_texts_same(&d->texts, &texts))
		clear_errors(d); /* what was wrong is as it was before */
	else if (!take(d, &texts, d->pods)) {
		clear_errors(d);
		texts = (struct sl_texts){};
	}
	sl_texts_free(&texts);
	sl_diag_free(&diag);
}

static void work(struct sl_kube_source *source)
{
	struct directory *d = of(source);
	_Alignas(struct inotify_event) char buf[4096];
	ssize_t got;

	while ((got = read(d->fd, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + got;) {
			const struct inotify_event *event = (const void *)at;

			if (event->mask & IN_IGNORED)
				d->watch = -1; /* it was removed */
			at += sizeof(*event) + event->len;
			d->read_at_ns = now_ns() + SETTLE_NS;
		}
	if (d->read_at_ns && now_ns() >= d->read_at_ns)
		reread(d);
}

static void reconcile(struct sl_kube_source *source)
{
	struct directory *d = of(source);
	__u64 version = source->version;
	bool known = d->read_at_ns;

	reread(d);
	source->drift += !known && source->version != version;
}

/* ---- pods ---- */

static int set_pods(struct sl_kube_source *source, const json_t *pods)
{
	struct directory *d = of(source);
	json_t *list = json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", pods);
	char *text = list ? json_dumps(list, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	int err = 0;

	json_decref(list);
	if (!text)
		return -ENOMEM;
	if (d->pods && !strcmp(d->pods, text)) {
		free(text);
		return 0;
	}
	err = take(d, &d->texts, text);
	if (err)
		free(text);
	else if (d->pods_wrong)
		clear_errors(d);
	d->pods_wrong = err;
	return err == -ENOMEM ? err : 0;
}

/* ---- life ---- */

static int fd_of(const struct sl_kube_source *source)
{
	return of(source)->fd;
}

static int timeout(const struct sl_kube_source *source)
{
	const struct directory *d = of(source);
	__u64 now = now_ns();

	if (!d->read_at_ns)
		return -1;
	return d->read_at_ns > now ? (int)((d->read_at_ns - now) / 1000000) + 1 : 0;
}

static struct sl_kube *objects(struct sl_kube_source *source)
{
	struct directory *d = of(source);

	return d->loaded && d->pods ? d->kube : NULL;
}

static void free_directory(struct sl_kube_source *source)
{
	struct directory *d = of(source);

	sl_kube_free(d->kube);
	sl_diag_free(&d->diag);
	sl_texts_free(&d->texts);
	json_decref(d->source.errors);
	if (d->fd >= 0)
		close(d->fd);
	free(d->pods);
	free(d->path);
	free(d);
}

static const struct sl_kube_source_ops ops = {
	.kind = "directory", .fd = fd_of, .timeout = timeout, .work = work,
	.reconcile = reconcile, .objects = objects, .set_pods = set_pods, .free = free_directory,
};

int sl_kube_directory_open(const char *path, struct sl_kube_source **out)
{
	struct directory *d = calloc(1, sizeof(*d));
	int err = 0;

	if (!d)
		return -ENOMEM;
	*d = (struct directory){.source = {.ops = &ops}, .path = strdup(path), .watch = -1,
				.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
	if (d->fd < 0)
		err = -errno;
	if (!d->path)
		err = -ENOMEM;
	if (err) {
		free_directory(&d->source);
		return err;
	}
	reread(d);
	*out = &d->source;
	return 0;
}
