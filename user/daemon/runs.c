// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The cgroups of runs: kept ready, ended, removed, found again after a restart. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "audit/json.h"
#include "daemon.h"
#include "op_change.h"

#define SECOND 1000000000ull
#define OWNER "user.sluice.uid" /* on the cgroup: whose run it is, for the next sluiced */
#define PREFIX "run-"

/* What is in the place and no run's own has this. */
static const char nothing[] = "sluice: 1\nname: sluice-runs\nrules: []\n";

struct sl_run *sl_runs_find(const struct sl_daemon *d, __u64 id)
{
	for (struct sl_run *r = d->runs.list; r; r = r->next)
		if (r->id == id)
			return r;
	return NULL;
}

uid_t sl_runs_owner(struct sl_daemon *d, const struct sl_event *event)
{
	for (const struct sl_run *r = d->runs.list; r; r = r->next)
		if (r->state != SL_RUN_READY && r->slot == event->slot &&
		    event->generation >= r->generation)
			return r->uid;
	return 0;
}

unsigned sl_runs_count(const struct sl_daemon *d, uid_t uid)
{
	unsigned n = 0;

	for (const struct sl_run *r = d->runs.list; r; r = r->next)
		n += r->state != SL_RUN_READY && r->uid == uid;
	return n;
}

/* ---- removed ---- */

static void unwatch(struct sl_run *r, struct sl_loop_source *source)
{
	if (source->fd < 0)
		return;
	sl_loop_drop(r->daemon->loop, source);
	close(source->fd);
	source->fd = -1;
}

/* The cgroup, if there still is one, stays as it is. */
static void forget(struct sl_run *r)
{
	struct sl_run **link = &r->daemon->runs.list;

	while (*link && *link != r)
		link = &(*link)->next;
	if (*link)
		*link = r->next;
	unwatch(r, &r->process);
	unwatch(r, &r->events);
	if (r->dir_fd >= 0)
		close(r->dir_fd);
	sl_target_group_put(r->group);
	free(r->path);
	free(r);
}

static int remove_directory(const struct sl_daemon *d, const char *path)
{
	char *real;
	int err;

	if (asprintf(&real, "%s%s", d->cgroups.mount, path) < 0)
		return -ENOMEM;
	err = rmdir(real) ? -errno : 0;
	free(real);
	return err;
}

/* The walk of cgroups finds out, and its target goes when its last socket is closed. */
static int remove_run(struct sl_run *r)
{
	int err = remove_directory(r->daemon, r->path);

	if (err && err != -ENOENT)
		return err;
	forget(r);
	return 0;
}

/* ---- records ---- */

struct last {
	__u64 id;
	struct sl_stats stats;
	struct sl_meter meter;
};

static void find_last(void *context, const struct sl_target_view *view)
{
	struct last *last = context;

	if (view->target.kind != SL_TARGET_CGROUP || view->target.cgroup_id != last->id)
		return;
	last->stats = view->stats;
	last->meter = view->meter;
}

static json_t *record_of(const struct sl_run *r, const char *change)
{
	return json_pack("{s:s, s:s, s:{s:s, s:o}, s:o, s:o, s:i, s:i}", "event", "run", "change",
			 change, "target", "kind", "cgroup", "name",
			 json_sprintf("%s%s", r->daemon->cgroups.mount, r->path), "cgroup",
			 sl_json_number(r->id), "policy",
			 r->group ? sl_json_text(r->group->policy) : json_null(), "uid",
			 (int)r->uid, "pid", (int)r->pid);
}

/* What it did, after all that the kernel has to say of it. */
static void tell_end(struct sl_run *r)
{
	struct last last = {.id = r->id};
	const struct {
		const char *name;
		const __u64 *value;
	} numbers[] = {
		{"decided", &last.stats.decided},   {"allowed", &last.stats.allowed},
		{"denied", &last.stats.denied},	    {"audit_denied", &last.stats.audit_denied},
		{"lost", &last.stats.lost},	    {"tx_bytes", &last.meter.tx_bytes},
		{"rx_bytes", &last.meter.rx_bytes},
	};
	json_t *record;

	sl_daemon_drain(r->daemon, false);
	sl_state_targets(r->daemon->devices.state, find_last, &last);
	record = record_of(r, "ended");
	for (size_t i = 0; record && i < sizeof(numbers) / sizeof(*numbers); i++)
		json_object_set_new(record, numbers[i].name, sl_json_number(*numbers[i].value));
	sl_daemon_record_of(r->daemon, r->uid, record, false);
}

/* ---- ended ---- */

static bool is_populated(const struct sl_run *r)
{
	char text[256];
	ssize_t n = pread(r->events.fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	return n <= 0 || strstr(text, "populated 1");
}

void sl_run_end(struct sl_run *r)
{
	int fd = openat(r->dir_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);

	unwatch(r, &r->process);
	r->state = SL_RUN_ENDING;
	if (fd < 0 || write(fd, "1", 1) != 1)
		fprintf(stderr,
			"sluiced: %s: what is left of the run cannot be killed: %s; it "
			"stays enforced\n",
			r->path, strerror(errno));
	if (fd >= 0)
		close(fd);
	/* its last process may be dead already, and then nothing more is reported */
	r->daemon->runs.retry_at_ns = sl_now_ns();
}

static void on_process_end(void *context, __u32 events)
{
	(void)events;
	sl_run_end(context);
}

static void on_events(void *context, __u32 events)
{
	struct sl_run *r = context;

	(void)events;
	if (is_populated(r) || r->state == SL_RUN_READY)
		return;
	r->state = SL_RUN_ENDING;
	r->daemon->runs.retry_at_ns = sl_now_ns();
}

/* ---- made ---- */

static int watch(struct sl_run *r, struct sl_loop_source *source, int fd, __u32 events,
		 void (*ready)(void *, __u32))
{
	*source = (struct sl_loop_source){.fd = fd, .ready = ready, .context = r};
	return fd < 0 ? -errno : sl_loop_add(r->daemon->loop, source, events);
}

/* Of a cgroup that is there. NULL: it cannot be opened, or no memory. */
static struct sl_run *open_run(struct sl_daemon *d, const char *path)
{
	struct sl_run *r = calloc(1, sizeof(*r));
	struct stat st = {};
	char *real = NULL;
	bool opened;

	if (!r)
		return NULL;
	*r = (struct sl_run){.daemon = d,
			     .dir_fd = -1,
			     .process = {.fd = -1},
			     .events = {.fd = -1},
			     .path = strdup(path)};
	if (r->path && asprintf(&real, "%s%s", d->cgroups.mount, path) > 0)
		r->dir_fd = open(real, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	free(real);
	opened = r->dir_fd >= 0 && !fstat(r->dir_fd, &st) &&
		 !watch(r, &r->events, openat(r->dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC),
			EPOLLPRI, on_events);
	if (!opened) {
		forget(r);
		return NULL;
	}
	r->id = st.st_ino;
	r->next = d->runs.list;
	d->runs.list = r;
	return r;
}

/* The cgroup obeys the policy, by hand: no pattern of the configuration takes it over. */
static int enforce(struct sl_daemon *d, const char *path, __u64 id, struct sl_target_group *group,
		   struct sl_diag *diag)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, id);
	int err;

	if (!w)
		w = sl_cgroups_add(&d->cgroups, path, id, group);
	if (!w)
		return -ENOMEM;
	w->by_hand = true;
	w->state = SL_WATCHED_FAILED; /* until it has something */
	sl_cgroups_follow(&d->cgroups, path);
	err = sl_change_lock(d, diag);
	if (!err) {
		err = sl_cgroup_give_now(&d->cgroups, d->devices.state, w, diag);
		sl_state_unlock(d->devices.state);
	}
	if (err)
		sl_cgroups_drop(&d->cgroups, w);
	return err;
}

static struct sl_run *make(struct sl_daemon *d, struct sl_target_group *group, struct sl_diag *diag)
{
	struct sl_watched_cgroup *w;
	struct sl_run *r = NULL;
	char *path = NULL, *real = NULL;
	int err = -ENOMEM;

	if (asprintf(&path, "%s/" PREFIX "%d-%u", d->runs.place, getpid(), d->runs.serial++) > 0 &&
	    asprintf(&real, "%s%s", d->cgroups.mount, path) > 0)
		err = mkdir(real, 0755) ? -errno : 0;
	if (!err)
		r = open_run(d, path);
	err = r ? enforce(d, path, r->id, group, diag) : err ? err : -errno;
	w = err ? NULL : sl_cgroups_find(&d->cgroups, r->id);
	if (w) {
		r->group = sl_target_group_get(group);
		r->generation = w->generation;
		r->slot = w->slot;
	} else {
		sl_error(diag, NULL, "no cgroup for a run: %s: %s", real ? real : "?",
			 strerror(-err));
		if (r)
			remove_run(r);
		r = NULL;
	}
	free(path);
	free(real);
	return r;
}

/* ---- the place ---- */

/* Whoever owns a cgroup above could take processes out. */
static int look_at_place(const char *real, struct stat *st, struct sl_diag *diag)
{
	if (stat(real, st))
		return sl_error(diag, NULL, "%s: %s", real, strerror(errno));
	if (st->st_uid)
		return sl_error(diag, NULL, "%s is uid %u's, who could take runs out of it", real,
				st->st_uid);
	return 0;
}

/* Each directory from the top of the hierarchy down. *st: of the last. */
static int make_place(const struct sl_daemon *d, struct stat *st, struct sl_diag *diag)
{
	const char *path = d->config->run.cgroup, *at = path;
	char *real;
	int err = look_at_place(d->cgroups.mount, st, diag);

	while (!err && *at) {
		at += strspn(at, "/");
		at += strcspn(at, "/");
		if (asprintf(&real, "%s%.*s", d->cgroups.mount, (int)(at - path), path) < 0)
			return -ENOMEM;
		if (mkdir(real, 0755) && errno != EEXIST)
			err = sl_error(diag, NULL, "%s cannot be made: %s%s", real, strerror(errno),
				       errno == EACCES ? "; a new place is made when sluiced "
							 "starts: restart it"
						       : "");
		else
			err = look_at_place(real, st, diag);
		free(real);
	}
	return err;
}

void sl_runs_open(struct sl_daemon *d)
{
	struct sl_diag diag = {};
	struct stat st;

	if (d->cgroups.mount && d->config && d->config->n_runs)
		make_place(d, &st, &diag);
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
}

static void adopt(struct sl_daemon *d, const char *name)
{
	struct sl_run *r = NULL;
	char *path, uid[16] = "";

	if (asprintf(&path, "%s/%s", d->runs.place, name) < 0)
		return;
	r = open_run(d, path);
	free(path);
	if (!r)
		return;
	if (!is_populated(r)) {
		remove_run(r);
		return;
	}
	if (fgetxattr(r->dir_fd, OWNER, uid, sizeof(uid) - 1) > 0)
		r->uid = (uid_t)strtoul(uid, NULL, 10);
	r->state = SL_RUN_STARTED;
	if (sl_state_find_cgroup(d->devices.state, r->id, &r->slot)) {
		fprintf(stderr, "sluiced: %s: has no policy of its own any more: killed\n",
			r->path);
		sl_run_end(r);
	}
}

static void adopt_all(struct sl_daemon *d, int dir_fd)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;

	if (!dir) {
		close(dir_fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && !strncmp(entry->d_name, PREFIX, strlen(PREFIX)))
			adopt(d, entry->d_name);
	closedir(dir);
}

static int open_place(struct sl_daemon *d, struct sl_diag *diag)
{
	struct sl_target_group *group = sl_target_group_new();
	const struct sl_attach_options options = {};
	struct stat st;
	char *real = NULL;
	int err = group ? make_place(d, &st, diag) : -ENOMEM, fd;

	if (group)
		group->given.of_cgroup = true;
	if (!err)
		err = sl_given_load_text(&group->given, &options, nothing, strlen(nothing), NULL,
					 diag);
	if (!err)
		err = enforce(d, d->config->run.cgroup, st.st_ino, group, diag);
	sl_target_group_put(group);
	if (!err)
		d->runs.place = strdup(d->config->run.cgroup);
	if (err || !d->runs.place)
		return err ? err : -ENOMEM;
	if (asprintf(&real, "%s%s", d->cgroups.mount, d->runs.place) > 0) {
		fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			adopt_all(d, fd);
		free(real);
	}
	return 0;
}

/* ---- work ---- */

static bool is_whole(struct sl_daemon *d, const struct sl_run *r)
{
	const struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, r->id);

	return w && w->state == SL_WATCHED_ATTACHED && w->generation && !w->renew &&
	       !sl_cgroup_broken(d->devices.state, w);
}

static unsigned count_ready(const struct sl_daemon *d, const struct sl_target_group *group)
{
	unsigned n = 0;

	for (const struct sl_run *r = d->runs.list; r; r = r->next)
		n += r->state == SL_RUN_READY && r->group == group;
	return n;
}

/* A group that has too few. */
static struct sl_target_group *find_wanting(const struct sl_daemon *d)
{
	for (size_t i = 0; d->config && i < d->config->n_runs; i++)
		if (count_ready(d, d->config->runs[i]) < SL_RUNS_READY)
			return d->config->runs[i];
	return NULL;
}

struct sl_run *sl_runs_take(struct sl_daemon *d, struct sl_target_group *group,
			    struct sl_diag *diag)
{
	if (!d->cgroups.mount)
		sl_error(diag, NULL, "this host has no cgroup2 hierarchy");
	if (!d->cgroups.mount || (!d->runs.place && open_place(d, diag)))
		return NULL;
	for (struct sl_run *r = d->runs.list; r; r = r->next)
		if (r->state == SL_RUN_READY && r->group == group && is_whole(d, r))
			return r;
	return make(d, group, diag);
}

int sl_run_start(struct sl_run *r, uid_t uid, pid_t pid, int pidfd)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&r->daemon->cgroups, r->id);
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", uid), err;

	r->state = SL_RUN_STARTED;
	r->uid = uid;
	r->pid = pid;
	r->slot = w ? w->slot : r->slot;
	if (fsetxattr(r->dir_fd, OWNER, text, (size_t)n, 0))
		fprintf(stderr, "sluiced: %s: whose it is cannot be noted: %s\n", r->path,
			strerror(errno));
	err = watch(r, &r->process, pidfd, EPOLLIN, on_process_end);
	if (!err)
		sl_daemon_record_of(r->daemon, uid, record_of(r, "started"), false);
	return err;
}

/* Those that have ended; false: one cannot be removed yet. */
static bool reap(struct sl_daemon *d)
{
	bool all = true;

	for (struct sl_run *r = d->runs.list, *next; r; r = next) {
		next = r->next;
		if (r->state != SL_RUN_ENDING)
			continue;
		if (is_populated(r)) {
			all = false;
			continue;
		}
		tell_end(r);
		if (remove_run(r))
			all = false;
	}
	return all;
}

bool sl_runs_want_work(const struct sl_daemon *d)
{
	__u64 at = d->runs.retry_at_ns;

	return d->cgroups.mount && d->ready && (at ? sl_now_ns() >= at : !!find_wanting(d));
}

void sl_runs_work(struct sl_daemon *d)
{
	struct sl_target_group *group;
	struct sl_diag diag = {};
	bool well;

	if (!sl_runs_want_work(d))
		return;
	d->runs.retry_at_ns = 0;
	well = reap(d);
	group = find_wanting(d);
	if (group && !d->runs.place)
		well = !open_place(d, &diag) && well;
	else if (group)
		well = make(d, group, &diag) && well;
	if (!well)
		d->runs.retry_at_ns = sl_now_ns() + SECOND / 10;
	if (diag.n_errors) {
		sl_diag_print(&diag, stderr);
		d->runs.retry_at_ns = sl_now_ns() + 5 * SECOND;
	}
	sl_diag_free(&diag);
}

/* ---- the configuration ---- */

static struct sl_target_group *group_of(const struct sl_daemon *d, const char *policy)
{
	for (size_t i = 0; i < d->config->n_runs; i++)
		if (!strcmp(d->config->runs[i]->policy, policy))
			return d->config->runs[i];
	return NULL;
}

/* A run follows its policy's file; one whose policy is listed no more keeps what it has. */
static void regroup(struct sl_daemon *d, struct sl_run *r)
{
	struct sl_target_group *group = r->group ? group_of(d, r->group->policy) : NULL;
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, r->id);

	if (!group) {
		if (r->state == SL_RUN_READY)
			remove_run(r);
		return;
	}
	sl_target_group_put(r->group);
	r->group = sl_target_group_get(group);
	if (!w)
		return;
	sl_target_group_put(w->group);
	w->group = sl_target_group_get(group);
	w->renew = true;
}

void sl_runs_regroup(struct sl_daemon *d)
{
	for (struct sl_run *r = d->runs.list, *next; r; r = next) {
		next = r->next;
		regroup(d, r);
	}
	d->runs.retry_at_ns = 0;
}

void sl_runs_close(struct sl_daemon *d)
{
	while (d->runs.list)
		if (d->runs.list->state != SL_RUN_READY || remove_run(d->runs.list))
			forget(d->runs.list);
	free(d->runs.place);
}
