// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * HTTP, by libmicrohttpd, in one thread that never waits for a client. Whoever connects
 * may be hostile.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conns.h"

#define CONNECTION_BYTES 16384	/* request line, headers, and what is on the way out */
#define PARENT_MS 5000		/* for a text */
#define FRESH_MS 1000		/* a text serves so long */
#define TEXT_MAX (64u << 20)
#define STATUS_NO_START 2

/* ---- the text ---- */

static void tell_waiting(struct sl_server *h)
{
	struct sl_conn *c;

	for (c = h->list.next; c != &h->list; c = c->next)
		if (c->waits) {
			c->waits = false;
			c->told = true;
			MHD_resume_connection(c->mhd);
		}
	h->asked_ms = 0;
}

static char *read_all(int fd, size_t *len)
{
	struct stat st;
	char *text = NULL;
	ssize_t n;

	if (!fstat(fd, &st) && st.st_size > 0 && st.st_size <= TEXT_MAX)
		text = malloc((size_t)st.st_size);
	for (*len = 0; text && *len < (size_t)st.st_size; *len += (size_t)n) {
		n = pread(fd, text + *len, (size_t)st.st_size - *len, (off_t)*len);
		if (n <= 0) {
			free(text);
			return NULL;
		}
	}
	return text;
}

static void take_text(struct sl_server *h, int fd)
{
	struct MHD_Response *response;
	size_t len;
	char *text = read_all(fd, &len);

	response = text ? MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE) : NULL;
	if (!response)
		return;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				"text/plain; version=0.0.4; charset=utf-8");
	if (h->text)
		MHD_destroy_response(h->text);	/* those who are reading it keep it */
	h->text = response;
	h->text_ms = sl_http_now_ms();
	tell_waiting(h);
}

static void on_parent(struct sl_server *h)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {};
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(h->given->parent, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd;

	if (!n || (n < 0 && errno != EAGAIN))
		h->over = true;
	if (n <= 0 || control.header.cmsg_type != SCM_RIGHTS ||
	    control.header.cmsg_len != CMSG_LEN(sizeof(int)))
		return;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	take_text(h, fd);
	close(fd);
}

static void tell_parent(struct sl_server *h, char what)
{
	if (send(h->given->parent, &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
		h->over = true;
}

static void ask_parent(struct sl_server *h)
{
	if (h->asked_ms)
		return;
	h->asked_ms = sl_http_now_ms();
	tell_parent(h, SL_HTTP_WANTS);
}

/* ---- answers ---- */

static enum MHD_Result say(struct MHD_Connection *connection, unsigned status, const char *text,
			   const char *header, const char *value)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				"text/plain; charset=utf-8");
	if (header)
		MHD_add_response_header(response, header, value);
	if (status == MHD_HTTP_UNAUTHORIZED)
		result = MHD_queue_basic_auth_fail_response(connection, "sluice", response);
	else
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum sl_user_verdict who(struct sl_server *h, struct MHD_Connection *connection)
{
	char *password = NULL, *name;
	enum sl_user_verdict verdict = SL_USER_WRONG;

	if (!h->users.text)
		return SL_USER_RIGHT;
	name = MHD_basic_auth_get_username_password(connection, &password);
	if (name && password)
		verdict = sl_users_check(&h->users, name, password, sl_http_now_ms());
	MHD_free(name);
	MHD_free(password);
	return verdict;
}

/* What is wrong with the request, answered before any body is read: then the connection
 * ends with it. false: nothing. */
static bool refuse(struct MHD_Connection *connection, const char *method, enum MHD_Result *result)
{
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_CONTENT_LENGTH);

	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		*result = say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n",
			      MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	else if ((length && strcmp(length, "0")) ||
		 MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
					     MHD_HTTP_HEADER_TRANSFER_ENCODING))
		*result = say(connection, MHD_HTTP_CONTENT_TOO_LARGE, "a body is not read\n", NULL,
			      NULL);
	else
		return false;
	return true;
}

static enum MHD_Result serve_text(struct sl_server *h, struct MHD_Connection *connection,
				  struct sl_conn *c)
{
	bool fresh = h->text && sl_http_now_ms() - h->text_ms < FRESH_MS;

	if (fresh || (c->told && h->text && sl_http_now_ms() - h->text_ms < PARENT_MS))
		return MHD_queue_response(connection, MHD_HTTP_OK, h->text);
	if (c->told)	/* an old one would be a lie */
		return say(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "no answer from sluice\n",
			   MHD_HTTP_HEADER_RETRY_AFTER, "5");
	ask_parent(h);
	c->waits = true;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
				  const char *url, const char *method, const char *version,
				  const char *upload, size_t *upload_size, void **own)
{
	static int seen;
	struct sl_server *h = context;
	struct sl_conn *c = sl_conn_of(connection);
	enum MHD_Result result;

	if (!c || !c->mhd)
		return MHD_NO;
	if (!*own) {
		*own = &seen;
		sl_conn_change(h, c, SL_CONN_BUSY);
		return refuse(connection, method, &result) ? result : MHD_YES;
	}
	switch (c->told ? SL_USER_RIGHT : who(h, connection)) {
	case SL_USER_WRONG:
		return say(connection, MHD_HTTP_UNAUTHORIZED, "who are you?\n", NULL, NULL);
	case SL_USER_BUSY:
		return say(connection, MHD_HTTP_TOO_MANY_REQUESTS, "too many guesses\n",
			   MHD_HTTP_HEADER_RETRY_AFTER, "1");
	case SL_USER_RIGHT:
		break;
	}
	if (strcmp(url, "/metrics"))
		return say(connection, MHD_HTTP_NOT_FOUND, "the metrics are at /metrics\n", NULL,
			   NULL);
	return serve_text(h, connection, c);
}

/* ---- the loop ---- */

/* What a stranger's bytes made it say is of no use to anybody. */
static void say_nothing(void *context, const char *format, va_list args)
{
}

static struct MHD_Daemon *start(struct sl_server *h)
{
	const struct sl_http *given = h->given;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)given->certificate},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)given->key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0,
		 (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
		{MHD_OPTION_END, 0, NULL}};
	struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
	unsigned flags = MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
			 MHD_USE_ERROR_LOG | (given->certificate ? MHD_USE_TLS : 0);

	return MHD_start_daemon(flags, 0, NULL, NULL, on_request, h,
				MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL,
				MHD_OPTION_CONNECTION_LIMIT, 2 * SL_CONNECTIONS,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
				MHD_OPTION_STRICT_FOR_CLIENT, 1,
				MHD_OPTION_NOTIFY_CONNECTION, sl_conn_notify, h,
				MHD_OPTION_NOTIFY_COMPLETED, sl_conn_completed, h,
				MHD_OPTION_ARRAY, given->certificate ? tls : plain, MHD_OPTION_END);
}

static int watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int timeout_of(struct sl_server *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	return MHD_get_timeout(h->daemon, &ms) == MHD_YES && ms < 500 ? (int)ms : 500;
}

static void loop(struct sl_server *h, int epoll)
{
	struct epoll_event events[8];
	int n, i;

	while (!h->over) {
		n = epoll_wait(epoll, events, 8, timeout_of(h));
		for (i = 0; i < n; i++) {
			if (events[i].data.fd == h->given->listener)
				sl_conns_accept(h);
			else if (events[i].data.fd == h->given->parent)
				on_parent(h);
		}
		if (h->asked_ms && sl_http_now_ms() - h->asked_ms > PARENT_MS)
			tell_waiting(h);
		sl_conns_expire(h);
		MHD_run(h->daemon);
	}
}

static int serve(const struct sl_http *given)
{
	struct sl_server h = {.given = given, .users = {.text = given->users}};
	const union MHD_DaemonInfo *info;
	int epoll, err;

	h.list.prev = h.list.next = &h.list;
	h.daemon = start(&h);
	info = h.daemon ? MHD_get_daemon_info(h.daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!info || epoll < 0 || watch(epoll, info->epoll_fd) || watch(epoll, given->listener) ||
	    watch(epoll, given->parent)) {
		fprintf(stderr, "sluice: metrics: the server does not start%s\n",
			given->certificate ? " (are certificate and key PEM, and a pair?)" : "");
		return STATUS_NO_START;
	}
	err = sl_http_few_calls();
	if (err) {
		fprintf(stderr, "sluice: metrics: no system call filter: %s\n", strerror(-err));
		return STATUS_NO_START;
	}
	tell_parent(&h, SL_HTTP_READY);
	loop(&h, epoll);
	return 0;
}

/* The server's own parent, as powerless as it: so that a new server inherits nothing of
 * the host's, whose memory has the kernel's maps in it by then. */
int sl_http_run(const struct sl_http *given)
{
	const struct timespec pause = {.tv_sec = 1};
	int err = sl_http_give_up(), status = 0;
	pid_t pid, self = getpid();

	if (err) {
		fprintf(stderr, "sluice: metrics: privileges cannot be given up: %s\n",
			strerror(-err));
		return STATUS_NO_START;
	}
	for (;;) {
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(getppid() == self ? serve(given) : 0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return STATUS_NO_START;
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		fprintf(stderr, "sluice: metrics: the server died (%s), and is started again\n",
			strsignal(WTERMSIG(status)));
		nanosleep(&pause, NULL);
	}
}
