// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The forwarder's sockets, and its process: started, without privileges, ended. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filter.h"
#include "forward.h"
#include "kernel/gate.h"
#include "late/late.h"
#include "server.h"
#include "target/confine.h"
#include "target/identity.h"

#define DNS_PORT 53
#define TRIES 16
#define READY "r"		/* the child serves */
#define NOBODY 65534		/* the kernel's overflow uid, Debian's nobody */

/* ---- where it listens ---- */

/* A socket there; -errno. SO_REUSEADDR: a server of the machine's may have port 53 of every
 * address, and has set it too then. */
static int listen_at(const struct sockaddr_in *at, int type)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (const struct sockaddr *)at, sizeof(*at)) ||
	    (type == SOCK_STREAM && listen(fd, SL_STREAMS))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* 127.64.0.0/10, at random: several runs have one each, and nobody else is there. */
static int random_address(struct sockaddr_in *at)
{
	__u32 bits;

	if (getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
		return -EIO;
	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};
	at->sin_addr.s_addr = htonl(0x7f400000 | (bits & 0x3ffffe) | 1);
	return 0;
}

/* TCP first: of UDP the second socket, too, may be bound there, and would get what is sent. */
static int listen_both(const struct sockaddr_in *at, int *udp_fd, int *tcp_fd)
{
	int tcp = listen_at(at, SOCK_STREAM), udp = tcp < 0 ? tcp : listen_at(at, SOCK_DGRAM);

	if (udp < 0) {
		if (tcp >= 0)
			close(tcp);
		return udp;
	}
	*udp_fd = udp;
	*tcp_fd = tcp;
	return 0;
}

int sl_forward_listen(const struct sl_cidr *at, int *udp_fd, int *tcp_fd)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};

	memcpy(&in.sin_addr, at->addr, sizeof(in.sin_addr));
	return listen_both(&in, udp_fd, tcp_fd);
}

static int try_one(struct sl_forward *f)
{
	struct sockaddr_in at;
	int err = random_address(&at);

	if (!err)
		err = listen_both(&at, &f->udp_fd, &f->tcp_fd);
	if (err)
		return err;
	f->address = (struct sl_cidr){.family = 4, .len = 32};
	memcpy(f->address.addr, &at.sin_addr, 4);
	return 0;
}

static int listen_where(struct sl_forward *f, const struct sl_cidr *at)
{
	int err = -EADDRINUSE;

	for (int i = 0; !at && i < TRIES && err == -EADDRINUSE; i++)
		err = try_one(f);
	if (!at)
		return err;
	f->address = *at;
	return sl_forward_listen(at, &f->udp_fd, &f->tcp_fd);
}

const char *sl_forward_advice(int err)
{
	if (err == -EADDRINUSE)
		return "; a DNS server has the port there or at every address: let it listen at its own "
		       "ones only (dnsmasq: bind-interfaces)";
	return err == -EADDRNOTAVAIL ? "; is the loopback device up?" : "";
}

int sl_forward_open(struct sl_forward *forward, const struct sl_cidr *at, struct sl_diag *diag)
{
	struct sl_forward f = SL_FORWARD_NONE;
	char text[SL_CIDR_TEXT];
	int err;

	if (access("/etc/resolv.conf", F_OK))
		return sl_error(diag, NULL, "mode: forward: the command is told of the forwarder by "
				"a resolv.conf of its own, over /etc/resolv.conf, which is not "
				"there: make an empty one");
	err = listen_where(&f, at);
	if (!err) {
		*forward = f;
		return 0;
	}
	sl_error(diag, NULL, "mode: forward: cannot listen at port 53 of %s: %s%s",
		 at ? sl_cidr_format(at, text) : "an address of 127.64.0.0/10", strerror(-err),
		 sl_forward_advice(err));
	return err;
}

/* ---- what it is given ---- */

/* Two descriptors and a byte. */
static int send_fds(int pair_fd, const int fds[2])
{
	char byte = 0, control[CMSG_SPACE(2 * sizeof(int))] = {};
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(rights), fds, 2 * sizeof(int));
	return sendmsg(pair_fd, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

/* Waits for them. -ECONNRESET: nobody will send any. */
static int receive_fds(int pair_fd, int fds[2])
{
	char byte, control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *rights;
	ssize_t n;

	do
		n = recvmsg(pair_fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	rights = n == 1 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!rights || rights->cmsg_len != CMSG_LEN(2 * sizeof(int)))
		return n < 0 ? -errno : -ECONNRESET;
	memcpy(fds, CMSG_DATA(rights), 2 * sizeof(int));
	return 0;
}

/* ---- the process ---- */

static void fail(int pair_fd, const char *what, int err) __attribute__((noreturn));

static void fail(int pair_fd, const char *what, int err)
{
	dprintf(pair_fd, "%s: %s", what, strerror(-err));
	_exit(1);
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Nothing stays open but what it needs: no cgroup, none of the caller's files. */
static int close_others(const struct sl_server_options *o)
{
	int keep[] = {STDERR_FILENO, o->udp_fd, o->tcp_fd, o->life_fd, o->gate_fd};
	size_t n = sizeof(keep) / sizeof(*keep) - (o->gate_fd < 0); /* not given yet */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			return -errno;
	qsort(keep, n, sizeof(*keep), compare_fds);
	for (size_t i = 0; i < n; i++) {
		unsigned first = (unsigned)keep[i] + 1;
		unsigned last = i + 1 < n ? (unsigned)keep[i + 1] - 1 : ~0u;

		if (first <= last && syscall(SYS_close_range, first, last, 0))
			return -errno;
	}
	return 0;
}

/* It may ask the kernel, its resolvers and its clients, and nothing else. */
static int drop_privileges(void)
{
	const struct rlimit none = {0, 0};
	int err = sl_identity_drop_bounding();

	if (!err && (setrlimit(RLIMIT_CORE, &none) || setrlimit(RLIMIT_FSIZE, &none) ||
		     setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
		     setresuid(NOBODY, NOBODY, NOBODY)))
		err = -errno;
	if (!err)
		err = sl_identity_drop_capabilities();
	if (!err)
		err = sl_confine_scope();
	if (!err && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		err = -errno;
	return err ? err : sl_forward_filter();
}

/* The terminal's signals are the command's. */
void sl_forward_leave_terminal(const char *name)
{
	sigset_t none;

	setsid();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, name, 0, 0, 0);
}

void sl_forward_serve(struct sl_server_options *o)
{
	int fds[2] = {o->gate_fd, o->events_fd}, err;
	const char *why;

	sl_forward_leave_terminal("sluice-dns");
	err = close_others(o);
	if (err)
		fail(o->life_fd, "closing descriptors", err);
	o->resolver = sl_resolver_new(o->policy, &why);
	if (!o->resolver)
		fail(o->life_fd, why, -EINVAL);
	err = drop_privileges();
	if (err)
		fail(o->life_fd, "dropping privileges", err);
	err = o->gate_fd < 0 ? receive_fds(o->life_fd, fds) : 0;
	if (err)
		_exit(1); /* it is given up */
	o->gate_fd = fds[0];
	o->events_fd = fds[1];
	if (send(o->life_fd, READY, 1, MSG_NOSIGNAL) != 1)
		_exit(1);
	_exit(sl_server_run(o) ? 1 : 0);
}

int sl_forward_start(struct sl_forward *f, const struct sl_policy *policy,
		     const struct sl_compiled *compiled, struct sl_diag *diag)
{
	struct sl_server_options o = {.udp_fd = f->udp_fd, .tcp_fd = f->tcp_fd, .gate_fd = -1,
				      .events_fd = -1, .policy = policy, .compiled = compiled};
	int pair[2], err = sl_late_need(SL_LATE_DNS, diag);

	if (!err)
		err = sl_late_need(SL_LATE_TLS, diag);
	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		err = -errno;
		return sl_error(diag, NULL, "the forwarder cannot be started: %s", strerror(-err));
	}
	o.life_fd = pair[1];
	f->pid = fork();
	if (!f->pid)
		sl_forward_serve(&o);
	if (f->pid > 0)
		f->pid_fd = (int)syscall(SYS_pidfd_open, f->pid, 0);
	if (f->pid_fd < 0)
		err = -errno;
	close(pair[1]);
	f->life_fd = pair[0];
	if (!err)
		return 0;
	f->pid = f->pid < 0 ? 0 : f->pid;
	return sl_error(diag, NULL, "the forwarder cannot be started: %s", strerror(-err));
}

/* Waits until the child serves. 0, or -EINVAL with its words in diag. */
static int wait_ready(int pair_fd, struct sl_diag *diag)
{
	char text[256];
	ssize_t n;

	do
		n = read(pair_fd, text, sizeof(text) - 1);
	while (n < 0 && errno == EINTR);
	text[n < 0 ? 0 : n] = 0;
	if (n == 1 && !strcmp(text, READY))
		return 0;
	return sl_error(diag, NULL, "the forwarder cannot be started: %s",
			n < 0 ? strerror(errno) : n ? text : "its process has ended");
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int connect_to(struct sl_forward *f, const struct sl_kernel *kernel, int fds[2])
{
	int err = fds[1] < 0 ? -errno : 0;

	if (!err)
		err = sl_kernel_mark_forwarder(kernel, f->udp_fd);
	if (!err)
		err = sl_kernel_mark_forwarder(kernel, f->tcp_fd);
	return err ? err : send_fds(f->life_fd, fds);
}

int sl_forward_connect(struct sl_forward *f, const struct sl_kernel *kernel, int cgroup_fd,
		       struct sl_diag *diag)
{
	int fds[2] = {sl_kernel_gate(kernel, diag), -1}, err;

	if (fds[0] < 0)
		return fds[0];
	fds[1] = openat(cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	err = connect_to(f, kernel, fds);
	if (err && err != -EPIPE)	/* it has ended, and has said why */
		sl_error(diag, NULL, "the forwarder cannot be connected: %s", strerror(-err));
	else
		err = wait_ready(f->life_fd, diag);
	close_fd(&fds[0]);
	close_fd(&fds[1]);
	close_fd(&f->udp_fd);
	close_fd(&f->tcp_fd);
	return err;
}

void sl_forward_close(struct sl_forward *f, bool leave)
{
	close_fd(&f->udp_fd);
	close_fd(&f->tcp_fd);
	close_fd(&f->life_fd);
	if (f->pid && !leave) {
		kill(f->pid, SIGKILL);
		while (waitpid(f->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close_fd(&f->pid_fd);
	f->pid = 0;
}
