// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <cap-ng.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "devices.h"
#include "forward/pass.h"
#include "forward/server.h"
#include "lookout.h"
#include "lookout_filter.h"
#include "pod_cgroup.h"

#define LOOK_S 1		/* then the process that looks is ended */
#define ANSWER_NS 3000000000ull	/* until it is taken for gone */
#define SIGHT_MAX (16u << 20)

enum operation { ENVIRONMENT, UIDS };
enum { CGROUP, ANSWER, N_FDS };

/* ---- the one that looks ---- */

static int look(enum operation operation, int cgroup_fd, struct sl_sight *sight)
{
	struct sl_environment env = {};
	struct sl_uid_map map = {};
	__u64 netns;
	int err;

	if (operation == UIDS) {
		sl_uid_map_look(cgroup_fd, sl_pod_is_monitor, &map);
		return sl_sight_of_uids(&map, sight);
	}
	err = sl_cgroup_look(cgroup_fd, sl_pod_is_monitor, &env, &netns);
	return err ? err : sl_sight_of_environment(&env, netns, sight);
}

static bool write_all(int fd, const void *data, size_t len)
{
	const char *at = data;
	ssize_t n;

	for (; len; at += n, len -= (size_t)n) {
		n = write(fd, at, len);
		if (n <= 0)
			return false;
	}
	return true;
}

/* Whatever it is in when its time is up, the kernel ends it. */
static void answer(enum operation operation, const int fds[N_FDS]) __attribute__((noreturn));

static void answer(enum operation operation, const int fds[N_FDS])
{
	const struct itimerval limit = {.it_value = {.tv_sec = LOOK_S}};
	struct sl_sight sight = {};
	int err = setitimer(ITIMER_REAL, &limit, NULL) ? -errno : look(operation, fds[CGROUP], &sight);

	_exit(!write_all(fds[ANSWER], &err, sizeof(err)) ||
	      (!err && !write_all(fds[ANSWER], sight.bytes, sight.len)));
}

/* ---- the lookout ---- */

/* Without one of them it sees less: what it may not is said of the policy that needs it. */
static int keep_capabilities(void)
{
	static const unsigned kept[] = {CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH};
	bool has[sizeof(kept) / sizeof(*kept)];

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		has[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (has[i] && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED |
					   CAPNG_BOUNDING_SET, kept[i]))
			return -EINVAL;
	return capng_apply(CAPNG_SELECT_BOTH) ? -EPERM : 0;
}

static int give_up_most(int kept_fd)
{
	int err;

	if (kept_fd > 3)
		close_range(3, (unsigned)kept_fd - 1, 0);
	close_range((unsigned)kept_fd + 1, ~0u, 0);
	err = keep_capabilities();
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	return err ? err : sl_lookout_filter();
}

static void serve(int from) __attribute__((noreturn));

static void serve(int from)
{
	int fds[N_FDS];
	char operation;

	sl_forward_leave_terminal("sluice-lookout");
	signal(SIGTERM, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	signal(SIGCHLD, SIG_IGN);	/* none is waited for */
	if (give_up_most(from))
		_exit(1);
	while (!sl_pass_receive(from, &operation, fds, N_FDS)) {
		if (!fork())
			answer(operation == UIDS ? UIDS : ENVIRONMENT, fds);
		for (int i = 0; i < N_FDS; i++)
			close(fds[i]);
	}
	_exit(0);
}

/* ---- sluiced's end ---- */

/* To the end of what the other side writes. */
static int read_sight(int fd, struct sl_sight *sight)
{
	__u64 until = sl_now_ns() + ANSWER_NS, now;
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char part[4096], *grown;
	ssize_t n;

	for (;;) {
		now = sl_now_ns();
		if (now >= until || poll(&wait, 1, (int)((until - now) / 1000000) + 1) == 0)
			return -ETIMEDOUT;
		n = recv(fd, part, sizeof(part), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		grown = sight->len + (size_t)n > SIGHT_MAX
				? NULL
				: realloc(sight->bytes, sight->len + (size_t)n);
		if (!grown)
			return -ENOMEM;
		sight->bytes = grown;
		memcpy(grown + sight->len, part, (size_t)n);
		sight->len += (size_t)n;
	}
}

/* What was seen is behind the error that the other end had. */
static int take_error(struct sl_sight *sight)
{
	int err;

	if (sight->len < sizeof(err))	/* its time was up */
		return -ETIMEDOUT;
	memcpy(&err, sight->bytes, sizeof(err));
	sight->len -= sizeof(err);
	memmove(sight->bytes, sight->bytes + sizeof(err), sight->len);
	return err;
}

static int see(const struct sl_lookout *ops, enum operation operation, int cgroup_fd,
	       struct sl_sight *sight)
{
	const struct sl_daemon_lookout *lookout = (const void *)ops;
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	err = sl_pass(lookout->fd, (char)operation, (int[N_FDS]){[CGROUP] = cgroup_fd,
		      [ANSWER] = pair[1]}, N_FDS);
	close(pair[1]);
	if (!err)
		err = read_sight(pair[0], sight);
	close(pair[0]);
	return err ? err : take_error(sight);
}

static int environment(const struct sl_lookout *ops, int cgroup_fd, struct sl_environment *env,
		       __u64 *netns)
{
	struct sl_sight sight = {};
	int err = see(ops, ENVIRONMENT, cgroup_fd, &sight);

	if (!err)
		err = sl_sight_environment(&sight, env, netns);
	free(sight.bytes);
	return err;
}

static void uids(const struct sl_lookout *ops, int cgroup_fd, struct sl_uid_map *map)
{
	struct sl_sight sight = {};

	if (see(ops, UIDS, cgroup_fd, &sight) || sl_sight_uids(&sight, map))
		map->state = SL_UID_MAP_UNREADABLE;
	free(sight.bytes);
}

int sl_daemon_lookout_open(struct sl_daemon_lookout *lookout)
{
	int pair[2];
	pid_t pid;

	lookout->ops = (struct sl_lookout){environment, uids};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid)
		serve(pair[1]);
	close(pair[1]);
	if (pid > 0) {
		lookout->fd = pair[0];
		return 0;
	}
	close(pair[0]);
	return -errno;
}

void sl_daemon_lookout_close(struct sl_daemon_lookout *lookout)
{
	if (lookout->fd >= 0)
		close(lookout->fd);
	lookout->fd = -1;
}
