// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "keeper.h"

#include <cap-ng.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pass.h"
#include "policy/print.h"
#include "policy/text.h"
#include "server.h"

enum { UDP, TCP, GATE, LIFE, TEXT, N_FDS };

/* ---- the text: a policy of nothing but `dns`, then each rule's id; behind each a NUL ---- */

int sl_keeper_text(const struct sl_policy *resolved, const struct sl_compiled *compiled)
{
	struct sl_policy dns = {.has_dns = true, .default_action = SL_DENY, .dns = resolved->dns,
				.resolvers = resolved->resolvers,
				.n_resolvers = resolved->n_resolvers};
	int fd = memfd_create("sluice-dns", MFD_CLOEXEC), copy = fd < 0 ? fd : dup(fd);
	FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
	int err = out ? 0 : -errno;

	if (out) {
		sl_policy_print(&dns, out);
		putc(0, out);
		for (size_t i = 0; i < compiled->n_rules; i++)
			fprintf(out, "%s%c", compiled->rules[i].id ? compiled->rules[i].id : "", 0);
		if (ferror(out) | fclose(out))
			err = -EIO;
	} else if (copy >= 0) {
		close(copy);
	}
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return err;
}

/* Owned by a process that does nothing else: never freed. */
static int read_text(int fd, struct sl_server_options *o)
{
	static struct sl_compiled compiled;
	struct sl_diag diag = {};
	struct sl_rule_info *rule;
	struct sl_policy *policy;
	struct stat st;
	char *text, *end;

	if (fstat(fd, &st) || st.st_size < 1)
		return -EIO;
	text = malloc((size_t)st.st_size);
	if (!text || pread(fd, text, (size_t)st.st_size, 0) != st.st_size ||
	    text[st.st_size - 1])
		return -EIO;
	end = text + st.st_size;
	if (sl_policy_parse(text, strlen(text), "sluiced", SL_PARSE_POLICY, &policy, &diag))
		return -EINVAL;
	for (char *id = text + strlen(text) + 1; id < end; id += strlen(id) + 1) {
		rule = SL_ADD(compiled.rules, compiled.n_rules);
		if (!rule)
			return -ENOMEM;
		rule->id = id;
	}
	o->policy = policy;
	o->compiled = &compiled;
	return 0;
}

/* ---- the keeper ---- */

static void become_forwarder(const int fds[N_FDS]) __attribute__((noreturn));

static void become_forwarder(const int fds[N_FDS])
{
	struct sl_server_options o = {.udp_fd = fds[UDP], .tcp_fd = fds[TCP],
				      .gate_fd = fds[GATE], .life_fd = fds[LIFE],
				      .events_fd = -1};
	int err;

	signal(SIGCHLD, SIG_DFL);
	err = read_text(fds[TEXT], &o);
	if (!err)
		sl_forward_serve(&o);
	dprintf(fds[LIFE], "reading its policy: %s", strerror(-err));
	_exit(1);
}

static int give_up_most(int kept_fd)
{
	if (kept_fd > 3)
		close_range(3, (unsigned)kept_fd - 1, 0);
	close_range((unsigned)kept_fd + 1, ~0u, 0);
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
			  CAP_SETUID, CAP_SETGID, CAP_SETPCAP, -1))
		return -EINVAL;
	return capng_apply(CAPNG_SELECT_BOTH) ? -EPERM : 0;
}

static void keep(int from) __attribute__((noreturn));

static void keep(int from)
{
	int fds[N_FDS];
	char byte;

	sl_forward_leave_terminal("sluice-keeper");
	signal(SIGTERM, SIG_DFL);
	signal(SIGCHLD, SIG_IGN);	/* none is waited for */
	if (give_up_most(from))
		_exit(1);
	while (!sl_pass_receive(from, &byte, fds, N_FDS)) {
		if (!fork())
			become_forwarder(fds);
		for (int i = 0; i < N_FDS; i++)
			close(fds[i]);
	}
	_exit(0);
}

int sl_keeper_start(void)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid)
		keep(pair[1]);
	close(pair[1]);
	if (pid > 0)
		return pair[0];
	close(pair[0]);
	return -errno;
}

int sl_keeper_make(int keeper_fd, const struct sl_keeper_task *task)
{
	int fds[N_FDS] = {[UDP] = task->udp_fd, [TCP] = task->tcp_fd, [GATE] = task->gate_fd,
			  [TEXT] = task->text_fd};
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	fds[LIFE] = pair[1];
	err = sl_pass(keeper_fd, 0, fds, N_FDS);
	close(pair[1]);
	if (!err)
		return pair[0];
	close(pair[0]);
	return err;
}
