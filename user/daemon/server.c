// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The control socket, and who connects. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon.h"
#include "server.h"

#define SECOND 1000000000ull
#define LINE_NS (10 * SECOND)  /* from a request's first byte to its last */
#define IDLE_NS (300 * SECOND) /* between requests */
#define PAUSE_NS (SECOND / 10)
#define LOCK_TRIES 50
#define LOCK_PAUSE_US 20000
#define DESCRIPTORS 16 /* that no client gets */

struct sl_control_server {
	struct sl_loop_source listener;
	int spare; /* given up for a moment where there is no descriptor left */
	int lock;  /* of the socket's path; owned */
	gid_t gid; /* whose members may connect; -1: nobody's */
	struct sl_caller *clients;
	size_t n;
};

struct sl_caller *sl_control_server_first(struct sl_control_server *server)
{
	return server ? server->clients : NULL;
}

size_t sl_control_server_clients(const struct sl_control_server *server)
{
	return server ? server->n : 0;
}

static void end_client(struct sl_control_server *server, struct sl_caller *c)
{
	struct sl_caller **link = &server->clients;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	server->n--;
	sl_loop_drop(c->daemon->loop, &c->source);
	close(c->source.fd);
	sl_filter_free(&c->stream.filter);
	free(c->in);
	free(c->out);
	free(c);
}

void sl_control_server_reap(struct sl_control_server *server)
{
	struct sl_caller *c = server->clients, *next;

	for (; c; c = next) {
		next = c->next;
		if (c->gone)
			end_client(server, c);
	}
}

/* ---- who connects ---- */

static bool may_stay(const struct sl_control_server *server, uid_t uid)
{
	size_t users = 0, same = 0;

	for (const struct sl_caller *c = server->clients; c; c = c->next) {
		users += c->uid != 0;
		same += c->uid == uid;
	}
	return server->n < SL_CALLERS_MAX &&
	       (!uid || (users < SL_CALLERS_MAX_USER && same < SL_CALLERS_MAX_UID));
}

/* The lowest free number tells how many are in use. The work itself needs some: without
 * them nothing could be attached, or looked at. */
static bool leaves_too_few(int fd)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_NOFILE, &limit) && (rlim_t)fd + DESCRIPTORS >= limit.rlim_cur;
}

static void refuse(int fd)
{
	static const char text[] = "{\"sluice\":1,\"ok\":false,\"code\":\"busy\",\"error\":"
				   "\"too many clients are connected\"}\n";

	send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void admit(struct sl_daemon *daemon, int fd)
{
	struct sl_control_server *server = daemon->server;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct sl_caller *c;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) || !may_stay(server, peer.uid) ||
	    leaves_too_few(fd)) {
		refuse(fd);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	*c = (struct sl_caller){.daemon = daemon,
				.uid = peer.uid,
				.gid = peer.gid,
				.pid = peer.pid,
				.active_ns = sl_now_ns(),
				.source = {.fd = fd, .ready = sl_caller_ready, .context = c},
				.next = server->clients};
	if (sl_loop_add(daemon->loop, &c->source, EPOLLIN | EPOLLRDHUP)) {
		close(fd);
		free(c);
		return;
	}
	server->clients = c;
	server->n++;
}

/* Without a descriptor left, the queue of the listener would keep us busy for ever: the
 * spare one is used to send the next client away, and we look again a little later. */
static void shed(struct sl_daemon *daemon)
{
	struct sl_control_server *server = daemon->server;
	int fd;

	if (server->spare >= 0)
		close(server->spare);
	fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		refuse(fd);
	server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	daemon->accept_at_ns = sl_now_ns() + PAUSE_NS;
	sl_loop_change(daemon->loop, &server->listener, 0);
}

static void on_connection(void *context, __u32 events)
{
	struct sl_daemon *daemon = context;
	int fd = accept4(daemon->server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0)
		admit(daemon, fd);
	else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
		shed(daemon);
}

static bool stands_still(const struct sl_caller *c, __u64 now)
{
	return (c->since_ns && now > c->since_ns + LINE_NS) ||
	       (!c->stream.on && !c->applies && now > c->active_ns + IDLE_NS);
}

bool sl_control_server_work(struct sl_daemon *daemon)
{
	struct sl_control_server *server = daemon->server;
	bool more = false;

	for (struct sl_caller *c = server->clients; c; c = c->next) {
		more |= sl_caller_turn(c);
		c->gone |= stands_still(c, sl_now_ns());
	}
	sl_control_server_reap(server);
	if (daemon->accept_at_ns && sl_now_ns() >= daemon->accept_at_ns) {
		daemon->accept_at_ns = 0;
		sl_loop_change(daemon->loop, &server->listener, EPOLLIN);
	}
	return more;
}

/* ---- life ---- */

static int say_errno(struct sl_diag *diag, const char *path, const char *what)
{
	int err = -errno;

	sl_error(diag, NULL, "%s: %s: %s", path, what, strerror(-err));
	return err;
}

/* Two daemons would mend each other's work. The lock goes with the process, whatever
 * ends it; the socket's file does not. */
static int lock_path(struct sl_control_server *server, const char *path, struct sl_diag *diag)
{
	char lock[128];

	snprintf(lock, sizeof(lock), "%s.lock", path);
	server->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (server->lock < 0)
		return say_errno(diag, lock, "cannot be opened");
	/* a child that one before us had just made, and that outlived it, has it for a moment */
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(server->lock, LOCK_EX | LOCK_NB))
			return 0;
		if (errno == EWOULDBLOCK)
			usleep(LOCK_PAUSE_US);
	}
	return errno == EWOULDBLOCK
		       ? (sl_error(diag, NULL, "%s: another sluiced runs", path), -EALREADY)
		       : say_errno(diag, lock, "cannot be locked");
}

static int make_directory(const char *path)
{
	char dir[128];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	return mkdir(dir, 0755) && errno != EEXIST ? -errno : 0;
}

/* Nobody can connect before the mode and the group are right: the mask makes it 0600. */
static int listen_at(struct sl_control_server *server, const char *path, struct sl_diag *diag)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		return sl_error(diag, NULL, "%s: longer than a socket's path may be", path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return say_errno(diag, path, "no socket");
	server->listener.fd = fd;
	unlink(path);
	mask = umask(0177);
	err = bind(fd, (struct sockaddr *)&address, sizeof(address))
		      ? say_errno(diag, path, "cannot be bound")
		      : 0;
	umask(mask);
	if (!err && listen(fd, 128))
		err = say_errno(diag, path, "cannot listen");
	return err;
}

int sl_control_server_open(struct sl_daemon *daemon, struct sl_diag *diag)
{
	struct sl_control_server *server = calloc(1, sizeof(*server));
	const char *path = daemon->options->socket;
	int err;

	if (!server)
		return -ENOMEM;
	server->listener =
		(struct sl_loop_source){.fd = -1, .ready = on_connection, .context = daemon};
	server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	server->lock = -1;
	server->gid = (gid_t)-1;
	daemon->server = server;
	err = make_directory(path);
	if (err)
		return sl_error(diag, NULL, "%s: no directory for it: %s", path, strerror(-err));
	return lock_path(server, path, diag);
}

/* A name, or a number that may have none. */
static bool find_group(const char *name, gid_t *gid)
{
	struct group *group;
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	if (name[0] >= '0' && name[0] <= '9' && !*end && number < (gid_t)-1) {
		*gid = (gid_t)number;
		return true;
	}
	group = getgrnam(name);
	if (group)
		*gid = group->gr_gid;
	return group;
}

/* Without the group nobody but root may connect. */
static void give_to_group(struct sl_control_server *server, const char *path, const char *name)
{
	bool found = find_group(name, &server->gid);

	if (found && !chown(path, (uid_t)-1, server->gid) && !chmod(path, 0660))
		return;
	fprintf(stderr, "sluiced: group %s: %s; only root may use %s%s%s%s\n", name,
		found ? strerror(errno) : "there is none", path,
		found ? "" : " (`groupadd --system ", found ? "" : name,
		found ? "" : "`, and start sluiced again, if others shall run commands)");
	server->gid = (gid_t)-1;
}

gid_t sl_control_server_group(const struct sl_control_server *server)
{
	return server->gid;
}

int sl_control_server_listen(struct sl_daemon *daemon, struct sl_diag *diag)
{
	struct sl_control_server *server = daemon->server;
	const char *path = daemon->options->socket;
	int err = listen_at(server, path, diag);

	if (err)
		return err;
	give_to_group(server, path, daemon->config ? daemon->config->group : SL_CONFIG_GROUP);
	return sl_loop_add(daemon->loop, &server->listener, EPOLLIN);
}

void sl_control_server_close(struct sl_daemon *daemon)
{
	struct sl_control_server *server = daemon->server;

	if (!server)
		return;
	while (server->clients)
		end_client(server, server->clients);
	if (server->listener.fd >= 0) {
		sl_loop_drop(daemon->loop, &server->listener);
		close(server->listener.fd);
		unlink(daemon->options->socket);
	}
	if (server->spare >= 0)
		close(server->spare);
	if (server->lock >= 0)
		close(server->lock);
	free(server);
	daemon->server = NULL;
}
