// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Container engines: whose sockets are here, and can sluiced talk to them? Where sluiced asks them,
 * it says so itself; else what it would ask is asked from here.
 *
 * By hand, and not by sluiced's client (engine/client.c): that has words for what went wrong, but no
 * errno, by which the doctor tells an engine that does not answer from one that this user may not
 * ask; it follows the engine's events, where one answer is wanted; and it is written for libcurl,
 * which sluice would have to load with the 27 libraries that it needs (late/late.h), or do without
 * where sluice alone is installed.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/client.h"
#include "daemon/devices.h"
#include "doctor.h"
#include "engine/engine.h"
#include "http/body.h"

#define WAIT_MS 3000ull
/* The older version: the end of the connection is the end of the answer, and it comes in one piece.
 */
#define ASK "GET /containers/json HTTP/1.0\r\nHost: engine\r\n\r\n"

static const char *const usual[] = {SL_ENGINE_DOCKER, SL_ENGINE_PODMAN};

/* ---- one engine, asked from here ---- */

static int dial(const char *path)
{
	struct timeval wait = {.tv_sec = WAIT_MS / 1000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	/* of connect too: its backlog may be full */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)) &&
	    send(fd, ASK, strlen(ASK), MSG_NOSIGNAL) == (ssize_t)strlen(ASK))
		return fd;
	err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return err;
}

static int receive(int fd, struct sl_body *body)
{
	__u64 end = sl_now_ns() + WAIT_MS * 1000000, now;
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	char bytes[16384];
	ssize_t n = 1;

	while (n > 0 && (now = sl_now_ns()) < end) {
		if (poll(&poller, 1, (int)((end - now) / 1000000) + 1) <= 0)
			continue;
		n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n > 0 && sl_body_write(bytes, 1, (size_t)n, body) != (size_t)n)
			return -EFBIG;
	}
	return n > 0 ? -ETIMEDOUT : n ? -errno : 0;
}

/* Its containers; -EBADMSG: it speaks another language. */
static int count(const struct sl_body *body, size_t *n)
{
	const char *head = body->bytes, *rest;
	struct sl_engine_list list;
	const char *why = NULL;
	int err;

	rest = body->n ? memmem(head, body->n, "\r\n\r\n", 4) : NULL;
	if (!rest || strncmp(head, "HTTP/1.", 7) || strncmp(head + 8, " 200", 4))
		return -EBADMSG;
	rest += 4;
	err = sl_engine_read(rest, body->n - (size_t)(rest - head), &list, &why);
	if (!err)
		*n = list.n;
	if (!err)
		sl_engine_list_free(&list);
	return err;
}

static int ask(const char *path, size_t *n)
{
	struct sl_body body = {.max = SL_ENGINE_REPLY_MAX};
	int fd = dial(path), err;

	if (fd < 0)
		return fd;
	err = receive(fd, &body);
	if (!err)
		err = count(&body, n);
	sl_body_free(&body);
	close(fd);
	return err;
}

/* ---- all of them ---- */

static void add(struct sl_finding *out, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct sl_finding *out, const char *format, ...)
{
	size_t n = strlen(out->detail);
	va_list args;

	if (n && n + 2 < sizeof(out->detail))
		n += (size_t)snprintf(out->detail + n, sizeof(out->detail) - n, "; ");
	va_start(args, format);
	vsnprintf(out->detail + n, sizeof(out->detail) - n, format, args);
	va_end(args);
}

static const char *said(int err)
{
	return err == -EBADMSG ? "it is no engine with Docker's API" : strerror(-err);
}

/* The first error of all. */
static int try_usual(struct sl_finding *out)
{
	int err = 0, one;
	size_t n;

	for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++) {
		if (access(usual[i], F_OK))
			continue;
		n = 0;
		one = ask(usual[i], &n);
		if (one)
			add(out, "%s: %s", usual[i], said(one));
		else
			add(out, "%s answers, %zu running", usual[i], n);
		err = err ? err : one;
	}
	if (!out->detail[0])
		add(out, "no engine's socket is here (" SL_ENGINE_DOCKER ", " SL_ENGINE_PODMAN ")");
	return err;
}

/* What sluiced follows: a new reference; NULL: it does not run, or not for us, or asks none. */
static json_t *of_sluiced(void)
{
	struct sl_control *control = NULL;
	struct sl_diag diag = {};
	json_t *status = NULL, *engines;

	if (!sl_control_open(&control, &diag))
		status = sl_control_ask(control, "status", NULL, &diag);
	engines = json_incref(json_object_get(json_object_get(status, "daemon"), "engines"));
	json_decref(status);
	if (control)
		sl_control_close(control);
	sl_diag_free(&diag);
	if (json_array_size(engines))
		return engines;
	json_decref(engines);
	return NULL;
}

static void tell_sluiced(const json_t *engines, struct sl_finding *out)
{
	const char *socket, *error;
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)engines, i, one)
	{
		socket = json_string_value(json_object_get(one, "socket"));
		error = json_string_value(json_object_get(one, "error"));
		if (error)
			out->health = SL_DEGRADED;
		if (error) /* it begins with the socket */
			add(out, "sluiced: %s", error);
		else
			add(out, "sluiced asks %s, %lld running", socket ? socket : "?",
			    (long long)json_integer_value(json_object_get(one, "containers")));
	}
}

int sl_try_engines(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	json_t *engines = of_sluiced();
	int err = 0;

	if (engines)
		tell_sluiced(engines, out);
	else
		err = try_usual(out);
	json_decref(engines);
	return err;
}
