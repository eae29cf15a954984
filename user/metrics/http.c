// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * HTTP, by libmicrohttpd, in one thread that never waits for a client. Whoever connects
 * may be hostile: the number of connections is bounded, the one that has idled longest
 * makes room for a new one, and every state has an end that no byte a second extends.
 */
#include <errno.h>
#include <microhttpd.h>
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

#include "http.h"

#define CONNECTIONS 512
#define CONNECTION_BYTES 16384	/* request line, headers, and what is on the way out */
#define HEADER_MS 10000		/* from connect to the end of the headers */
#define ANSWER_MS 10000		/* from there to the last byte of the answer */
#define KEPT_MS 120000		/* for the next request: longer than a scrape interval */
#define PATIENCE_MS 1000	/* an answer under way that is younger is not given up */
#define PARENT_MS 5000		/* for a text */
#define FRESH_MS 1000		/* a text serves so long */
#define SEND_BUFFER 131072	/* what the kernel holds for one that does not read */
#define TEXT_MAX (64u << 20)
#define STATUS_NO_START 2

enum state { FRESH, BUSY, KEPT, DOOMED };

/* In a list by the time of the latest change: the first has idled longest. */
struct conn {
	struct conn *prev, *next;
	struct MHD_Connection *mhd;
	int fd;
	enum state state;
	bool waits, told;	/* for a text; told: there is one, or none will come */
	__u64 since_ms;
};

struct http {
	const struct sl_http *given;
	struct MHD_Daemon *daemon;
	struct sl_users users;
	struct conn list;	/* its ends */
	unsigned n;		/* without the doomed */
	struct MHD_Response *text;	/* NULL: none yet */
	__u64 text_ms, asked_ms;	/* asked: 0: not */
	bool over;
};

static __u64 now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000 + (__u64)ts.tv_nsec / 1000000;
}

/* ---- connections ---- */

static void unlink_conn(struct conn *c)
{
	c->prev->next = c->next;
	c->next->prev = c->prev;
}

static void change(struct http *h, struct conn *c, enum state state)
{
	if (c->state == DOOMED)
		return;
	h->n -= state == DOOMED;
	c->state = state;
	c->since_ms = now_ms();
	unlink_conn(c);
	c->prev = h->list.prev;
	c->next = &h->list;
	c->prev->next = c->next->prev = c;
}

/* libmicrohttpd sees the end of the stream, and closes it. */
static void doom(struct http *h, struct conn *c)
{
	change(h, c, DOOMED);
	shutdown(c->fd, SHUT_RDWR);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **own,
			  enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;
	struct http *h = context;
	struct conn *c;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		c = *own;
		if (c) {
			h->n -= c->state != DOOMED;
			unlink_conn(c);
			free(c);
		}
		return;
	}
	c = *own = calloc(1, sizeof(*c));
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!c || !info)
		return;		/* the handler refuses it */
	c->mhd = connection;
	c->fd = info->connect_fd;
	c->prev = c->next = c;
	h->n++;
	change(h, c, FRESH);
}

static struct conn *conn_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **own,
			 enum MHD_RequestTerminationCode code)
{
	struct conn *c = conn_of(connection);

	if (!c)
		return;
	c->waits = c->told = false;
	change(context, c, KEPT);
}

/* The one that has idled longest, or, if all are being answered, the slowest. */
static bool make_room(struct http *h)
{
	struct conn *c, *slowest = NULL;

	for (c = h->list.next; c != &h->list; c = c->next) {
		if (c->state == FRESH || c->state == KEPT) {
			doom(h, c);
			return true;
		}
		if (c->state == BUSY && !slowest)
			slowest = c;
	}
	if (!slowest || slowest->waits || now_ms() - slowest->since_ms < PATIENCE_MS)
		return false;
	doom(h, slowest);
	return true;
}

static void expire(struct http *h)
{
	static const __u64 limits[] = {[FRESH] = HEADER_MS, [BUSY] = ANSWER_MS, [KEPT] = KEPT_MS,
				       [DOOMED] = ~0ull};
	struct conn *c, *next;
	__u64 now = now_ms();

	for (c = h->list.next; c != &h->list; c = next) {
		next = c->next;
		if (!c->waits && now - c->since_ms > limits[c->state])
			doom(h, c);
	}
}

static void accept_some(struct http *h)
{
	struct sockaddr_storage from;
	socklen_t len;
	int fd, i, buffer = SEND_BUFFER;

	/* a few at a time: between them the others are served, and the doomed closed */
	for (i = 0; i < 32; i++) {
		len = sizeof(from);
		fd = accept4(h->given->listener, (void *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				make_room(h);
			return;
		}
		if (h->n >= CONNECTIONS && !make_room(h)) {
			close(fd);
			continue;
		}
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
		MHD_add_connection(h->daemon, fd, (void *)&from, len);	/* closes it if it fails */
	}
}

/* ---- the text ---- */

static void tell_waiting(struct http *h)
{
	struct conn *c;

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

static void take_text(struct http *h, int fd)
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
	h->text_ms = now_ms();
	tell_waiting(h);
}

static void on_parent(struct http *h)
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

static void tell_parent(struct http *h, char what)
{
	if (send(h->given->parent, &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
		h->over = true;
}

static void ask_parent(struct http *h)
{
	if (h->asked_ms)
		return;
	h->asked_ms = now_ms();
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
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
	if (header)
		MHD_add_response_header(response, header, value);
	if (status == MHD_HTTP_UNAUTHORIZED)
		result = MHD_queue_basic_auth_fail_response(connection, "sluice", response);
	else
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum sl_user_verdict who(struct http *h, struct MHD_Connection *connection)
{
	char *password = NULL, *name;
	enum sl_user_verdict verdict = SL_USER_WRONG;

	if (!h->users.text)
		return SL_USER_RIGHT;
	name = MHD_basic_auth_get_username_password(connection, &password);
	if (name && password)
		verdict = sl_users_check(&h->users, name, password, now_ms());
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

static enum MHD_Result serve_text(struct http *h, struct MHD_Connection *connection,
				  struct conn *c)
{
	bool fresh = h->text && now_ms() - h->text_ms < FRESH_MS;

	if (fresh || (c->told && h->text && now_ms() - h->text_ms < PARENT_MS))
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
	struct http *h = context;
	struct conn *c = conn_of(connection);
	enum MHD_Result result;

	if (!c || !c->mhd)
		return MHD_NO;
	if (!*own) {
		*own = &seen;
		change(h, c, BUSY);
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

static struct MHD_Daemon *start(struct http *h)
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
				MHD_OPTION_CONNECTION_LIMIT, 2 * CONNECTIONS,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
				MHD_OPTION_STRICT_FOR_CLIENT, 1,
				MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
				MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
				MHD_OPTION_ARRAY, given->certificate ? tls : plain, MHD_OPTION_END);
}

static int watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int timeout_of(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	return MHD_get_timeout(h->daemon, &ms) == MHD_YES && ms < 500 ? (int)ms : 500;
}

static void loop(struct http *h, int epoll)
{
	struct epoll_event events[8];
	int n, i;

	while (!h->over) {
		n = epoll_wait(epoll, events, 8, timeout_of(h));
		for (i = 0; i < n; i++) {
			if (events[i].data.fd == h->given->listener)
				accept_some(h);
			else if (events[i].data.fd == h->given->parent)
				on_parent(h);
		}
		if (h->asked_ms && now_ms() - h->asked_ms > PARENT_MS)
			tell_waiting(h);
		expire(h);
		MHD_run(h->daemon);
	}
}

static int serve(const struct sl_http *given)
{
	struct http h = {.given = given, .users = {.text = given->users}};
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
