// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Questions to resolvers: asked, asked again, answered. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lookup.h"

#define TRIES 5
#define UDP_MS 1200		/* of a try; a stub waits 5 s */
#define STREAM_MS 4000
#define ALL_MS 9000		/* of all tries */
#define EVENTS 64
#define CHANNEL_IDLE_MS 10000

/* Whose certificates are believed: Debian's bundle (ca-certificates). */
#define CERTIFICATES "/etc/ssl/certs/ca-certificates.crt"

__s64 sl_resolver_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

int sl_resolver_watch(struct sl_resolver_client *r, int fd, __u32 what, size_t index, __u32 events,
		      bool again)
{
	struct epoll_event event = {.events = events, .data.u64 = (__u64)what << 32 | index};

	return epoll_ctl(r->epoll_fd, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) ? -errno :
										       0;
}

/* ---- one try ---- */

/* No other question on that stream has it. */
static bool id_is_free(const struct sl_resolver_client *r, const struct sl_lookup *own, __u16 id)
{
	for (size_t i = 0; i < SL_LOOKUPS; i++) {
		const struct sl_lookup *l = &r->lookups[i];

		if (l != own && l->used && l->by_channel && l->server == own->server && l->id == id)
			return false;
	}
	return true;
}

static int new_id(const struct sl_resolver_client *r, struct sl_lookup *l)
{
	__u16 id;

	do
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return -EIO;
	while (!id_is_free(r, l, id));
	l->id = id;
	return 0;
}

static size_t make_message(const struct sl_lookup *l, __u8 out[SL_DNS_SMALL_MAX])
{
	size_t n = sl_question_make(l->name, l->name_bytes, l->type, out);

	out[0] = (__u8)(l->id >> 8);
	out[1] = (__u8)l->id;
	return l->edns ? sl_question_add_opt(out, n) : n;
}

static void leave_udp(struct sl_lookup *l)
{
	if (l->udp_fd >= 0)
		close(l->udp_fd);	/* epoll forgets it */
	l->udp_fd = -1;
}

static int ask_udp(struct sl_resolver_client *r, struct sl_lookup *l)
{
	const struct sl_server_address *server = &r->servers[l->server];
	__u8 message[SL_DNS_SMALL_MAX];
	size_t n = make_message(l, message);

	l->udp_fd = socket(server->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->udp_fd < 0)
		return -errno;
	/* connected: nobody else's datagrams come, and its ICMP errors do */
	if (connect(l->udp_fd, &server->any, server->size) ||
	    sl_resolver_watch(r, l->udp_fd, SL_AT_LOOKUP, (size_t)(l - r->lookups), EPOLLIN, false) ||
	    send(l->udp_fd, message, n, MSG_NOSIGNAL) != (ssize_t)n)
		return -errno;
	l->due_ms = sl_resolver_now_ms() + UDP_MS;
	return 0;
}

static int ask_stream(struct sl_resolver_client *r, struct sl_lookup *l)
{
	__u8 message[SL_DNS_SMALL_MAX];

	l->by_channel = true;
	l->due_ms = sl_resolver_now_ms() + STREAM_MS;
	return sl_channel_send(r, l->server, message, make_message(l, message));
}

static void finish(struct sl_lookup *l, const __u8 *message, size_t length)
{
	leave_udp(l);
	l->by_channel = false;
	l->used = false;
	l->resolved(l->context, message, length);
}

/* The server that answered last, then the others in turn; when there is no more time, no
 * answer. */
static void try_next(struct sl_resolver_client *r, struct sl_lookup *l)
{
	leave_udp(l);
	l->by_channel = false;
	while (l->tries < TRIES && sl_resolver_now_ms() < l->end_ms) {
		l->server = l->tries++ ? (l->server + 1) % r->n_servers : r->best;
		if (!new_id(r, l) && !(r->tls ? ask_stream(r, l) : ask_udp(r, l)))
			return;
		leave_udp(l);
		l->by_channel = false;
	}
	finish(l, NULL, 0);
}

/* The answer did not fit into a datagram: the same server, by TCP. */
static void try_stream(struct sl_resolver_client *r, struct sl_lookup *l)
{
	leave_udp(l);
	if (new_id(r, l) || ask_stream(r, l))
		try_next(r, l);
}

/* Without what an old server does not understand. */
static void try_plain(struct sl_resolver_client *r, struct sl_lookup *l)
{
	l->edns = false;
	l->server = (l->server + r->n_servers - 1) % r->n_servers;
	try_next(r, l);
}

/* ---- answers ---- */

/* Is it the answer to this very question? Others are passed over: they may be forged. */
static bool answers(const struct sl_lookup *l, const __u8 *m, size_t length)
{
	__u8 asked[SL_DNS_SMALL_MAX];
	size_t n = sl_question_make(l->name, l->name_bytes, l->type, asked);

	if (length < n || (m[0] << 8 | m[1]) != l->id || !(m[2] & 0x80) || (m[2] & 0x78) || m[4] ||
	    m[5] != 1)
		return false;
	for (size_t i = 12; i < n; i++)
		if (i < 12 + l->name_bytes ? tolower(m[i]) != asked[i] : m[i] != asked[i])
			return false;
	return true;
}

static void take_answer(struct sl_resolver_client *r, struct sl_lookup *l, const __u8 *m,
			size_t length)
{
	unsigned rcode = m[3] & 0xf;

	if ((rcode == SL_RCODE_FORMERR || rcode == SL_RCODE_NOTIMP) && l->edns)
		try_plain(r, l);
	else if (rcode != SL_RCODE_NONE && rcode != SL_RCODE_NXDOMAIN)
		try_next(r, l);
	else if ((m[2] & 0x02) && !l->by_channel)
		try_stream(r, l);
	else {
		r->best = l->server;
		finish(l, m, length);
	}
}

void sl_lookup_offer(struct sl_resolver_client *r, size_t server, const __u8 *message,
		     size_t length)
{
	for (size_t i = 0; i < SL_LOOKUPS; i++) {
		struct sl_lookup *l = &r->lookups[i];

		if (l->used && l->by_channel && l->server == server && answers(l, message, length)) {
			take_answer(r, l, message, length);
			return;
		}
	}
}

void sl_lookups_retry(struct sl_resolver_client *r, size_t server)
{
	for (size_t i = 0; i < SL_LOOKUPS; i++) {
		struct sl_lookup *l = &r->lookups[i];

		if (l->used && l->by_channel && l->server == server)
			try_next(r, l);
	}
}

static void read_datagrams(struct sl_resolver_client *r, struct sl_lookup *l)
{
	ssize_t n;

	while (l->used && l->udp_fd >= 0) {
		n = recv(l->udp_fd, r->datagram, sizeof(r->datagram), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {	/* nobody listens there */
			try_next(r, l);
			return;
		}
		if (answers(l, r->datagram, (size_t)n)) {
			take_answer(r, l, r->datagram, (size_t)n);
			return;
		}
	}
}

/* ---- time ---- */

static void expire(struct sl_resolver_client *r)
{
	__s64 now = sl_resolver_now_ms();

	for (size_t i = 0; i < SL_LOOKUPS; i++) {
		struct sl_lookup *l = &r->lookups[i];

		if (!l->used || now < l->due_ms)
			continue;
		if (l->server == r->best)
			r->best = (r->best + 1) % r->n_servers;
		try_next(r, l);
	}
	for (size_t i = 0; i < r->n_servers; i++)
		if (r->channels[i].fd >= 0 && now - r->channels[i].last_ms > CHANNEL_IDLE_MS)
			sl_channel_close(r, i);
}

int sl_resolver_timeout_ms(const struct sl_resolver_client *r)
{
	__s64 now = sl_resolver_now_ms(), due = -1;

	for (size_t i = 0; i < SL_LOOKUPS; i++)
		if (r->lookups[i].used && (due < 0 || r->lookups[i].due_ms < due))
			due = r->lookups[i].due_ms;
	return due < 0 ? -1 : due > now ? (int)(due - now) : 0;
}

/* ---- the client ---- */

int sl_resolver_ask(struct sl_resolver_client *r, const struct sl_query *query,
		    sl_resolved resolved, void *context)
{
	struct sl_lookup *l = NULL;

	for (size_t i = 0; i < SL_LOOKUPS && !l; i++)
		l = r->lookups[i].used ? NULL : &r->lookups[i];
	if (!l)
		return -EBUSY;
	*l = (struct sl_lookup){.used = true, .edns = true, .name_bytes = query->name_bytes,
				.type = query->type, .udp_fd = -1, .resolved = resolved,
				.context = context};
	for (size_t i = 0; i < query->name_bytes; i++)
		l->name[i] = (__u8)tolower(query->name[i]); /* lengths are below 'A' */
	l->end_ms = sl_resolver_now_ms() + ALL_MS;
	try_next(r, l);
	return 0;
}

int sl_resolver_fd(const struct sl_resolver_client *r)
{
	return r->epoll_fd;
}

void sl_resolver_process(struct sl_resolver_client *r)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(r->epoll_fd, events, EVENTS, 0);

	for (int i = 0; i < n; i++) {
		size_t index = (__u32)events[i].data.u64;

		if (events[i].data.u64 >> 32 == SL_AT_LOOKUP)
			read_datagrams(r, &r->lookups[index]);
		else
			sl_channel_ready(r, index, events[i].events);
	}
	expire(r);
}

static void read_server(const struct sl_cidr *resolver, bool tls, struct sl_server_address *out)
{
	in_port_t port = htons(tls ? 853 : 53);

	if (resolver->family == 4) {
		out->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
		memcpy(&out->v4.sin_addr, resolver->addr, 4);
		out->size = sizeof(out->v4);
	} else {
		out->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
		memcpy(&out->v6.sin6_addr, resolver->addr, 16);
		out->size = sizeof(out->v6);
	}
}

/* TLS 1.2 at least, and only with who is vouched for. */
static SSL_CTX *make_tls(void)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	if (!tls)
		return NULL;
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1 &&
	    SSL_CTX_load_verify_locations(tls, CERTIFICATES, NULL) == 1)
		return tls;
	SSL_CTX_free(tls);
	return NULL;
}

struct sl_resolver_client *sl_resolver_new(const struct sl_policy *policy, const char **why)
{
	struct sl_resolver_client *r = calloc(1, sizeof(*r));

	*why = "out of memory or descriptors";
	if (!r)
		return NULL;
	for (size_t i = 0; i < SL_SERVERS; i++)
		r->channels[i].fd = -1;
	r->tls_name = policy->dns.tls;
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (; r->n_servers < policy->n_resolvers && r->n_servers < SL_SERVERS; r->n_servers++)
		read_server(&policy->resolvers[r->n_servers], r->tls_name,
			    &r->servers[r->n_servers]);
	if (r->epoll_fd >= 0 && r->n_servers) {
		*why = "no certificates in " CERTIFICATES " (package ca-certificates)";
		r->tls = r->tls_name ? make_tls() : NULL;
		if (r->tls || !r->tls_name)
			return r;
	}
	sl_resolver_end(r);
	return NULL;
}

void sl_resolver_end(struct sl_resolver_client *r)
{
	for (size_t i = 0; i < SL_SERVERS; i++)
		sl_channel_close(r, i);
	for (size_t i = 0; i < SL_LOOKUPS; i++)
		if (r->lookups[i].used)
			leave_udp(&r->lookups[i]);
	SSL_CTX_free(r->tls);
	if (r->epoll_fd >= 0)
		close(r->epoll_fd);
	free(r);
}
