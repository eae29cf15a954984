// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client.h"
#include "daemon.h"
#include "kernel/outer.h"
#include "server.h"

#define ANSWER_MS 30000 /* a policy with a million rules takes seconds */
#define HELLO_MS 15000	/* a loaded host: grace periods of the kernel */

struct sl_control {
	int fd;
	char *in;
	size_t n, cap, taken;
	json_t *hello;
};

const char *sl_control_path(void)
{
	const char *path = secure_getenv("SLUICE_SOCKET"), *state = secure_getenv("SLUICE_STATE");

	if (path && *path)
		return path;
	return state && *state ? NULL : SL_DAEMON_SOCKET;
}

int sl_control_fd(const struct sl_control *control)
{
	return control->fd;
}

/* ---- lines ---- */

/* 1: something came; 0: nothing; -EPIPE, -errno. */
static int receive(struct sl_control *c)
{
	char *grown;
	ssize_t n;

	if (c->taken) {
		memmove(c->in, c->in + c->taken, c->n - c->taken);
		c->n -= c->taken;
		c->taken = 0;
	}
	if (c->n == c->cap) {
		grown = realloc(c->in, c->cap ? 2 * c->cap : 65536);
		if (!grown)
			return -ENOMEM;
		c->in = grown;
		c->cap = c->cap ? 2 * c->cap : 65536;
	}
	n = recv(c->fd, c->in + c->n, c->cap - c->n, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->n += (size_t)n;
	return n ? 1 : -EPIPE;
}

/* The next whole line in what has come. */
static char *line_of(struct sl_control *c, size_t *len)
{
	char *at = c->in + c->taken,
	     *end = c->n > c->taken ? memchr(at, '\n', c->n - c->taken) : NULL;

	if (!end)
		return NULL;
	*len = (size_t)(end - at);
	c->taken += *len + 1;
	return at;
}

int sl_control_next(struct sl_control *c, json_t **out)
{
	size_t len;
	char *line = line_of(c, &len);
	int came = 1;

	while (!line && came > 0) {
		came = receive(c);
		if (came > 0)
			line = line_of(c, &len);
	}
	if (!line)
		return came;
	*out = json_loadb(line, len, 0, NULL);
	return *out ? 1 : -EPROTO;
}

static int wait_for(struct sl_control *c, int timeout_ms, json_t **out)
{
	struct pollfd poll_fd = {.fd = c->fd, .events = POLLIN};
	__u64 end = sl_now_ns() + (__u64)timeout_ms * 1000000, now;
	int got;

	while (!(got = sl_control_next(c, out))) {
		now = sl_now_ns();
		if (now >= end)
			return -ETIMEDOUT;
		poll(&poll_fd, 1, (int)((end - now) / 1000000 + 1));
	}
	return got < 0 ? got : 0;
}

static int send_all(struct sl_control *c, const char *text, size_t len)
{
	struct timeval timeout = {.tv_sec = ANSWER_MS / 1000};
	ssize_t n;

	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	while (len) {
		n = send(c->fd, text, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* ---- asking ---- */

static int exchange(struct sl_control *c, const char *op, json_t *request, int timeout_ms,
		    json_t **answer)
{
	json_t *object = request ? request : json_object();
	char *text = NULL;
	size_t len;
	int err = -ENOMEM;

	json_object_set_new(object, "sluice", json_integer(SL_CONTROL_VERSION));
	json_object_set_new(object, "op", json_string(op));
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (text) {
		len = strlen(text);
		text[len] = '\n'; /* over the NUL */
		err = send_all(c, text, len + 1);
		if (err == -EPIPE || err == -ECONNRESET)
			err = 0; /* it may have said why */
	}
	free(text);
	return err ? err : wait_for(c, timeout_ms, answer);
}

static void add_errors(const json_t *answer, struct sl_diag *diag)
{
	const json_t *errors = json_object_get(answer, "errors"), *e;
	const char *file, *text;
	struct sl_pos pos;
	size_t i;

	json_array_foreach(errors, i, e)
	{
		file = json_string_value(json_object_get(e, "file"));
		text = json_string_value(json_object_get(e, "message"));
		pos = (struct sl_pos){file ? sl_diag_intern(diag, file) : NULL,
				      (unsigned)json_integer_value(json_object_get(e, "line")),
				      (unsigned)json_integer_value(json_object_get(e, "column"))};
		sl_error(diag, &pos, "%s", text ? text : "?");
	}
	text = json_string_value(json_object_get(answer, "error"));
	if (!json_array_size(errors))
		sl_error(diag, NULL, "sluiced: %s", text ? text : "an answer without sense");
}

json_t *sl_control_ask(struct sl_control *c, const char *op, json_t *request, struct sl_diag *diag)
{
	json_t *answer = NULL;
	int err = exchange(c, op, request, ANSWER_MS, &answer);

	if (err) {
		sl_error(diag, NULL, "sluiced does not answer: %s", strerror(-err));
		return NULL;
	}
	if (json_is_true(json_object_get(answer, "ok")))
		return answer;
	add_errors(answer, diag);
	json_decref(answer);
	return NULL;
}

/* ---- life ---- */

static int dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	close(fd);
	return errno == ECONNREFUSED ? -ENOENT : -errno; /* it was killed */
}

static int greet(struct sl_control *c, struct sl_diag *diag)
{
	json_t *hello = NULL;
	int err = exchange(c, "hello", NULL, HELLO_MS, &hello);

	c->hello = hello;
	if (err) {
		sl_error(diag, NULL,
			 "sluiced does not answer: %s (if it stands still: `systemctl "
			 "restart sluiced`; what is attached stays enforced)",
			 strerror(-err));
		return err;
	}
	if (json_is_true(json_object_get(hello, "ok")))
		return 0;
	add_errors(hello, diag);
	return -EPROTO;
}

int sl_control_open(struct sl_control **out, struct sl_diag *diag)
{
	const char *path = sl_control_path();
	int fd = path ? dial(path) : -ENOENT, err;
	struct sl_control *c;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return -ENOENT;
	if (fd < 0) {
		sl_error(diag, NULL, "sluiced's socket %s: %s%s", path, strerror(-fd),
			 fd == -EACCES ? ": root may ask (sudo), and members of the group that "
					 "sluiced.yaml names (`ls -l` shows it) for runs of their own" :
					 "");
		return fd;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->fd = fd;
	err = greet(c, diag);
	if (err)
		sl_control_close(c);
	else
		*out = c;
	return err;
}

void sl_control_close(struct sl_control *c)
{
	if (!c)
		return;
	close(c->fd);
	json_decref(c->hello);
	free(c->in);
	free(c);
}

const json_t *sl_control_hello(const struct sl_control *c)
{
	return c->hello;
}

bool sl_control_is_here(const struct sl_control *c)
{
	return (__u64)json_integer_value(json_object_get(c->hello, "netns")) == sl_netns_cookie();
}
