// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One run: its cgroup watched, its process, its end. */
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
void sl_run_forget(struct sl_run *r)
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
int sl_run_remove(struct sl_run *r)
{
	int err = remove_directory(r->daemon, r->path);

	if (err && err != -ENOENT)
		return err;
	sl_run_forget(r);
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
void sl_run_tell_end(struct sl_run *r)
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

bool sl_run_is_populated(const struct sl_run *r)
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
	if (sl_run_is_populated(r) || r->state == SL_RUN_READY)
		return;
	r->state = SL_RUN_ENDING;
	r->daemon->runs.retry_at_ns = sl_now_ns();
}

/* ---- opened, started ---- */

static int watch(struct sl_run *r, struct sl_loop_source *source, int fd, __u32 events,
		 void (*ready)(void *, __u32))
{
	*source = (struct sl_loop_source){.fd = fd, .ready = ready, .context = r};
	return fd < 0 ? -errno : sl_loop_add(r->daemon->loop, source, events);
}

/* Of a cgroup that is there. NULL: it cannot be opened, or no memory. */
struct sl_run *sl_run_open(struct sl_daemon *d, const char *path)
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
		sl_run_forget(r);
		return NULL;
	}
	r->id = st.st_ino;
	r->next = d->runs.list;
	d->runs.list = r;
	return r;
}

/* For the next sluiced. */
static void note(const struct sl_run *r, const char *name, const char *value, const char *what)
{
	if (fsetxattr(r->dir_fd, name, value, strlen(value), 0))
		fprintf(stderr, "sluiced: %s: %s cannot be noted: %s\n", r->path, what,
			strerror(errno));
}

int sl_run_start(struct sl_run *r, uid_t uid, pid_t pid, int pidfd)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&r->daemon->cgroups, r->id);
	char text[16];
	int err;

	r->state = SL_RUN_STARTED;
	r->uid = uid;
	r->pid = pid;
	r->slot = w ? w->slot : r->slot;
	r->names = r->group && r->group->given.has_names;
	snprintf(text, sizeof(text), "%u", uid);
	note(r, SL_RUN_OWNER, text, "whose it is");
	if (r->group)
		note(r, SL_RUN_POLICY, r->group->policy, "its policy");
	if (r->names)
		note(r, SL_RUN_NAMES, "1", "that it has names");
	err = watch(r, &r->process, pidfd, EPOLLIN, on_process_end);
	if (!err)
		sl_daemon_record_of(r->daemon, uid, record_of(r, "started"), false);
	return err;
}
