/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Private to the client of resolvers: lookup.c (questions, UDP) and channel.c (TCP, TLS). */
#ifndef SLUICE_FORWARD_LOOKUP_H
#define SLUICE_FORWARD_LOOKUP_H

#include <netinet/in.h>
#include <openssl/ssl.h>

#include "resolver.h"

#define SL_SERVERS 16

/* A question on its way. */
struct sl_lookup {
	bool used;
	bool edns;		/* asked with an OPT record; some old servers want none */
	__u16 id;
	__u8 name[256];		/* lower case: letters would be a channel of bits */
	size_t name_bytes;
	unsigned type;
	unsigned tries;
	size_t server;
	int udp_fd;		/* -1 */
	bool by_channel;	/* waits on the server's stream */
	__s64 due_ms, end_ms;	/* of this try, of all of them */
	sl_resolved resolved;
	void *context;
};

/* The stream to one server. */
struct sl_channel {
	int fd;			/* -1: closed */
	SSL *ssl;		/* NULL: TCP */
	bool open;		/* connected, and its certificate verified */
	__u8 *out;		/* owned: not yet sent */
	size_t n_out;
	__u8 *in;		/* owned: 2 + SL_DNS_WIRE_MAX bytes */
	size_t n_in;
	__s64 last_ms;		/* something came or was asked */
};

struct sl_server_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t size;
};

struct sl_resolver_client {
	struct sl_server_address servers[SL_SERVERS];
	size_t n_servers, best;	/* the one that answered last */
	SSL_CTX *tls;		/* NULL: port 53 */
	const char *tls_name;	/* borrowed from the policy */
	int epoll_fd;
	struct sl_lookup lookups[SL_LOOKUPS];
	struct sl_channel channels[SL_SERVERS];
	__u8 datagram[SL_DNS_WIRE_MAX];
};

/* What an event of epoll is about. */
enum { SL_AT_LOOKUP, SL_AT_CHANNEL };
int sl_resolver_watch(struct sl_resolver_client *r, int fd, __u32 what, size_t index, __u32 events,
		      bool again);

__s64 sl_resolver_now_ms(void);

/* A message that came by a stream is offered to the lookup that waits for it. */
void sl_lookup_offer(struct sl_resolver_client *r, size_t server, const __u8 *message,
		     size_t length);
/* A stream has ended: who waits on it tries again. */
void sl_lookups_retry(struct sl_resolver_client *r, size_t server);

/* Sends by the server's stream, which is opened if it is not. 0 or -errno. */
int sl_channel_send(struct sl_resolver_client *r, size_t server, const __u8 *message,
		    size_t length);
void sl_channel_ready(struct sl_resolver_client *r, size_t server, __u32 events);
void sl_channel_close(struct sl_resolver_client *r, size_t server);

#endif
