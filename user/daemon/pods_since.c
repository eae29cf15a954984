// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* For how long a pod ran before anything judged it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"
#include "target/veth.h"

/* ---- since when it is judged ---- */

/* By a cgroup's own target, or that of one above. */
struct judged {
	const char *path;
	const struct sl_cgroups *cgroups;
	__u64 since_ns; /* boot time; 0: nothing judges it */
};

static bool is_above(const char *above, const char *path)
{
	size_t n = strlen(above);

	return !strncmp(path, above, n) && (path[n] == '/' || !path[n]);
}

static void look_since(void *context, const struct sl_target_view *view)
{
	struct judged *j = context;
	const struct sl_watched_cgroup *w;

	if (view->target.kind != SL_TARGET_CGROUP || !view->attached)
		return;
	w = sl_cgroups_find((struct sl_cgroups *)j->cgroups, view->target.cgroup_id);
	if (w && is_above(w->path, j->path) &&
	    (!j->since_ns || view->target.since_ns < j->since_ns))
		j->since_ns = view->target.since_ns;
}

/* ---- since when it runs ---- */

/*
 * Its first process is its sandbox's, which lasts as long as the pod does. What the API says
 * (status.startTime) is older after a start of the node, and in whole seconds, as the
 * runtime's is. 0: none is seen.
 */
static __u64 first_process_ns(const struct sl_daemon *d, const struct sl_pod *pod)
{
	__u64 started_ns = 0;
	struct stat st;
	char *path;
	int fd;

	if (!d->cgroups.mount || asprintf(&path, "%s%s", d->cgroups.mount, pod->path) < 0)
		return 0;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return 0;
	if (!fstat(fd, &st) && st.st_ino == pod->id)
		sl_oldest_process(fd, sl_pod_is_monitor, &started_ns);
	close(fd);
	return started_ns;
}

static __u64 boot_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (__u64)ts.tv_sec * 1000000000ull + (__u64)ts.tv_nsec;
}

__s64 sl_pods_open_s(struct sl_daemon *d, struct sl_pod *pod)
{
	struct judged j = {.path = pod->path, .cgroups = &d->cgroups};
	__u64 since_ns;

	if (!pod->runs_since_ns)
		pod->runs_since_ns = first_process_ns(d, pod);
	if (!pod->runs_since_ns)
		return 0;
	sl_state_targets(d->devices.state, look_since, &j);
	since_ns = j.since_ns ? j.since_ns : boot_now_ns();
	return since_ns > pod->runs_since_ns
		       ? (__s64)((since_ns - pod->runs_since_ns + 999999999) / 1000000000)
		       : 0;
}
