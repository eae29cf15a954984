// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The parent's side: the listener, the child, and texts for it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http.h"
#include "late/late.h"
#include "metrics.h"
#include "resolve/resolve.h"
#include "sinks/unix_listen.h"

#define FILE_MAX (256u << 10)	/* of a certificate, a key, the users */
#define READY_MS 10000		/* for the first one to be ready */

struct sl_metrics_server {
	int listener, child;	/* child: our end of the pair; -1 */
	pid_t pid;		/* 0: none */
	char *path;		/* of a unix socket; owned */
	struct sl_unix_file file;
	char *certificate, *key, *users;	/* texts; owned */
};

/* ---- files ---- */

static int read_secret(const char *path, char **out, struct sl_diag *diag)
{
	struct stat st;
	size_t len;

	if (!stat(path, &st) && st.st_mode & S_IROTH)
		return sl_error(diag, NULL, "%s: others may read it (chmod o-rwx)", path);
	return sl_file_read(path, FILE_MAX, NULL, out, &len, diag);
}

static int read_files(struct sl_metrics_server *s, const struct sl_metrics_listen *l,
		      struct sl_diag *diag)
{
	const char *wrong;
	unsigned line;
	size_t len;
	int err = 0;

	if (l->certificate)
		err = sl_file_read(l->certificate, FILE_MAX, NULL, &s->certificate, &len, diag);
	if (!err && l->key)
		err = read_secret(l->key, &s->key, diag);
	if (!err && l->users)
		err = read_secret(l->users, &s->users, diag);
	wrong = !err && s->users ? sl_users_wrong(s->users, &line) : NULL;
	if (wrong)
		err = sl_error(diag, &(struct sl_pos){.file = l->users, .line = line}, "%s", wrong);
	return err;
}

/* ---- the listener ---- */

static int listen_inet(const struct sl_metrics_listen *l)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)l->port)};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
	bool is4 = inet_pton(AF_INET, l->host, &in.sin_addr) == 1;
	int one = 1, fd, err = 0;

	if (!is4)
		inet_pton(AF_INET6, l->host, &in6.sin6_addr);
	fd = socket(is4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (!is4 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(fd, is4 ? (void *)&in : (void *)&in6, is4 ? sizeof(in) : sizeof(in6)) ||
	    listen(fd, 4096))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int open_listener(struct sl_metrics_server *s, const struct sl_metrics_listen *l,
			 struct sl_diag *diag)
{
	if (l->path) {
		s->path = strdup(l->path);
		s->listener = s->path ? sl_unix_listen(l->path, l->mode, (gid_t)-1, &s->file) :
					-ENOMEM;
	} else {
		s->listener = listen_inet(l);
	}
	if (s->listener >= 0)
		return 0;
	if (l->path)
		sl_error(diag, NULL, "metrics: unix:%s: %s", l->path, strerror(-s->listener));
	else
		sl_error(diag, NULL, "metrics: %s port %u: %s", l->host, l->port,
			 strerror(-s->listener));
	return s->listener;
}

/* ---- the child ---- */

/* Nothing of the parent's but these two; standard error stays, for complaints. */
static void close_others(int a, int b)
{
	int low = a < b ? a : b, high = a < b ? b : a, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
	}
	close_range(3, (unsigned)low - 1, 0);
	if (high > low + 1)
		close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	close_range((unsigned)high + 1, ~0u, 0);
}

static void run_child(const struct sl_metrics_server *s, int end)
{
	struct sl_http http = {.parent = end, .listener = s->listener,
			       .certificate = s->certificate, .key = s->key, .users = s->users};
	sigset_t none;

	close_others(end, s->listener);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	/* whoever stops the host by its group stops us by the pair's end */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	_exit(sl_http_run(&http));
}

static int start_child(struct sl_metrics_server *s)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	s->pid = fork();
	if (!s->pid)
		run_child(s, pair[1]);
	close(pair[1]);
	if (s->pid < 0) {
		close(pair[0]);
		s->pid = 0;
		return -errno;
	}
	s->child = pair[0];
	return 0;
}

static void reap(struct sl_metrics_server *s)
{
	if (s->child >= 0)
		close(s->child);
	s->child = -1;
	if (s->pid) {
		kill(s->pid, SIGKILL);	/* it has nothing to finish */
		waitpid(s->pid, NULL, 0);
	}
	s->pid = 0;
}

/* It has said on standard error why, if it ends. */
static int wait_ready(const struct sl_metrics_server *s)
{
	struct pollfd p = {.fd = s->child, .events = POLLIN};
	char byte;
	int n;

	do
		n = poll(&p, 1, READY_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ETIMEDOUT;
	return recv(s->child, &byte, 1, MSG_DONTWAIT) == 1 ? 0 : -ECHILD;
}

int sl_metrics_serve(const struct sl_metrics_listen *listen, struct sl_metrics_server **out,
		     struct sl_diag *diag)
{
	struct sl_metrics_server *s;
	int err = sl_late_need(SL_LATE_HTTP, diag);

	if (!err)
		err = sl_late_need(SL_LATE_CRYPT, diag);
	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->listener = s->child = -1;
	err = read_files(s, listen, diag);
	if (!err)
		err = open_listener(s, listen, diag);
	if (!err) {
		err = start_child(s);
		if (!err)
			err = wait_ready(s);
		if (err)
			sl_error(diag, NULL, "metrics: the server does not start: %s",
				 strerror(-err));
	}
	if (err)
		sl_metrics_end(s);
	else
		*out = s;
	return err;
}

int sl_metrics_fd(const struct sl_metrics_server *s)
{
	return s->child;
}

pid_t sl_metrics_pid(const struct sl_metrics_server *s)
{
	return s->pid;
}

int sl_metrics_wanted(struct sl_metrics_server *s)
{
	char bytes[16];
	ssize_t n, wanted = 0;

	if (s->child < 0)
		return -EPIPE;
	while ((n = recv(s->child, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		wanted |= bytes[0] == SL_HTTP_WANTS;
	if (n < 0 && errno == EAGAIN)
		return (int)wanted;
	reap(s);
	return -EPIPE;
}

/* A sealed memfd: of any size, and not ours to change under the child. */
static int text_fd(const char *text, size_t len)
{
	int fd = memfd_create("sluice-metrics", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ssize_t n;

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < len; at += (size_t)n) {
		n = write(fd, text + at, len - at);
		if (n <= 0) {
			close(fd);
			return -ENOMEM;
		}
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	return fd;
}

int sl_metrics_answer(struct sl_metrics_server *s, const char *text, size_t len)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {};
	char byte = 't';
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	int fd = s->child < 0 ? -EPIPE : text_fd(text, len), err = 0;

	if (fd < 0)
		return fd;
	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
					  .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(s->child, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		err = -errno;
	close(fd);
	return err;
}

void sl_metrics_end(struct sl_metrics_server *s)
{
	if (!s)
		return;
	reap(s);
	if (s->listener >= 0) {
		close(s->listener);
		if (s->path)
			sl_unix_unlink(s->path, &s->file);
	}
	free(s->path);
	free(s->certificate);
	if (s->key)
		explicit_bzero(s->key, strlen(s->key));
	free(s->key);
	free(s->users);
	free(s);
}
