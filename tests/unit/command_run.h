/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A command, run as `sluice run` does it. PROBE is this program again, whose main prints what the
 * kernel answers; by /proc/self/exe, since the user that it becomes may not be able to read the
 * build folder. After cmocka.h.
 */
#ifndef SLUICE_TEST_COMMAND_RUN_H
#define SLUICE_TEST_COMMAND_RUN_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/confine.h"
#include "target/identity.h"
#include "target/spawn.h"
#include "target_tools.h"

static inline void print_file(const char *path)
{
	char buf[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, buf, sizeof(buf));

	if (fd >= 0)
		close(fd);
	fwrite(buf, 1, len > 0 ? (size_t)len : 0, stdout);
}

static inline int probe_status(void)
{
	print_file("/proc/self/status");
	print_file("/proc/self/cgroup");
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = {"HOME", "USER", "LOGNAME"};

		printf("%s=%s\n", names[i], getenv(names[i]) ? getenv(names[i]) : "");
	}
	return 0;
}

/* ---- one run, as run.c does it ------------------------------------------ */

struct run {
	const char *user;
	bool keep;
	char **argv;
	void (*prepare)(void); /* in the process that is `sluice run` */
	void (*meanwhile)(pid_t pid); /* there, before the command is let go */
	bool abandon; /* it is not */
};

static inline int begin_and_go(const struct run *r, const struct sl_spawn_options *o,
			       struct sl_child *child, struct sl_spawn_error *error,
			       struct sl_diag *diag)
{
	struct sl_launch launch;
	int err = sl_spawn_begin(o, &launch, error, diag);

	if (err)
		return err;
	if (r->meanwhile)
		r->meanwhile(launch.child.pid);
	if (!r->abandon)
		return sl_spawn_go(&launch, child, error);
	sl_spawn_abandon(&launch);
	*error = (struct sl_spawn_error){SL_SPAWN_EXEC, ECANCELED};
	return -ECANCELED;
}

static inline int supervise(const struct run *r)
{
	struct sl_spawn_error error;
	struct sl_identity id = {0};
	struct sl_cgroup2 fs = {0};
	struct sl_cgroup cg = {0};
	struct sl_child child;
	struct sl_diag diag = {0};
	struct sl_fds fds = {0};
	char text[256];
	int state = SL_CHILD_RUNNING, status = 125 << 8;

	if (r->prepare)
		r->prepare();
	if (sl_identity_resolve(r->user, r->keep, &id, &diag) || sl_cgroup2_find(&fs, &diag) ||
	    sl_cgroup_make(&fs, &cg, &diag) || sl_fds_scan(!r->keep, &fds, &diag)) {
		sl_diag_print(&diag, stdout);
		goto end;
	}
	if (begin_and_go(r, &(struct sl_spawn_options){.argv = r->argv, .identity = &id,
						       .cgroup = &cg, .fds = &fds,
						       .keep_privileges = r->keep},
			 &child, &error, &diag)) {
		printf("%s\n", sl_spawn_message(&error, r->argv[0], text, sizeof(text)));
		status = sl_spawn_exit_code(&error) << 8;
		goto end;
	}
	while (state == SL_CHILD_RUNNING) {
		struct pollfd p = {.fd = child.signal_fd, .events = POLLIN};

		poll(&p, 1, -1);
		state = sl_child_on_signal(&child);
	}
	status = child.status;
	sl_child_close(&child);
end:
	if (cg.path &&
	    (sl_cgroup_kill(&cg) || sl_cgroup_wait_empty(&cg, 5000) || sl_cgroup_remove(&cg)))
		status = 124 << 8;
	sl_cgroup_close(&cg);
	sl_cgroup2_free(&fs);
	sl_identity_free(&id);
	sl_fds_free(&fds);
	sl_diag_free(&diag);
	sl_exit_like(status);
}

/* Starts it with its standard output in *out. */
static inline pid_t start(const struct run *r, int *out)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(fds[1], 1);
		supervise(r);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

/* Reads until the text is seen (NULL: to the end). */
static inline void read_until(int fd, const char *text, char *buf, size_t size)
{
	size_t used = 0;
	ssize_t len;

	buf[0] = '\0';
	while (!text || !strstr(buf, text)) {
		len = read(fd, buf + used, size - 1 - used);
		if (len <= 0)
			break;
		used += (size_t)len;
		buf[used] = '\0';
	}
	if (text && !strstr(buf, text))
		fail_msg("no \"%s\" in: %s", text, buf);
}

static inline int run_all(const struct run *r, char *buf, size_t size)
{
	pid_t pid;
	int fd;

	pid = start(r, &fd);
	read_until(fd, NULL, buf, size);
	close(fd);
	return wait_for(pid, 0);
}

static inline void assert_line(const char *text, const char *line)
{
	const char *at = text;
	size_t len = strlen(line);

	for (; (at = strstr(at, line)); at++)
		if ((at == text || at[-1] == '\n') && (at[len] == '\n' || !at[len]))
			return;
	fail_msg("no line \"%s\" in:\n%s", line, text);
}

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})
#define PROBE(...) ARGV("/proc/self/exe", __VA_ARGS__)

/* ---- the command -------------------------------------------------------- */

static char out[65536];

#endif
