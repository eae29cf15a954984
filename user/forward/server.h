/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The forwarder's process: private to the stage. */
#ifndef SLUICE_FORWARD_SERVER_H
#define SLUICE_FORWARD_SERVER_H

#include <netinet/in.h>
#include <time.h>

#include "compile/compile.h"
#include "message.h"
#include "resolver.h"

#define SL_REQUESTS SL_LOOKUPS	/* that wait for a resolver; one more gets SERVFAIL */
#define SL_STREAMS 32		/* TCP connections; one more ends the idlest */
#define SL_STREAM_IDLE_S 10
#define SL_STREAM_OUT (4 * SL_DNS_WIRE_MAX) /* not yet sent; with more, no question is read */
#define SL_QUESTION_MAX 4096	/* bytes of a message that is taken in */

/* Everything but the resolver is borrowed. */
struct sl_server_options {
	int udp_fd, tcp_fd;
	int gate_fd;		/* -1: sl_forward_serve is sent it and events_fd */
	int life_fd;		/* hung up when `sluice` is gone */
	int events_fd;		/* cgroup.events of the command's cgroup; -1: it ends with `life_fd` */
	const struct sl_policy *policy;
	const struct sl_compiled *compiled;
	struct sl_resolver_client *resolver;
};

/* Who asked, and how. */
struct sl_client {
	struct sockaddr_in address;
	int stream;		/* place in streams; -1: UDP */
	__u32 serial;		/* of the connection: a place is used again */
};

struct sl_request {
	struct sl_server *server;
	struct sl_client client;
	struct sl_query query;
	bool used;
};

/* A connection: messages behind their length. */
struct sl_stream {
	int fd;			/* -1: free */
	struct sockaddr_in peer;
	__u32 serial;
	time_t last_s;		/* something moved */
	__u8 in[2 + SL_QUESTION_MAX];
	size_t n_in;
	__u8 *out;		/* owned */
	size_t n_out;
};

struct sl_server {
	struct sl_server_options options;
	struct sockaddr_in address;	/* of ours */
	struct sl_request requests[SL_REQUESTS];
	struct sl_stream streams[SL_STREAMS];
	__u32 serial;
	bool parent_gone;
};

/* forward.c: the process, from all of its creator's privileges to its end. */
void sl_forward_serve(struct sl_server_options *options) __attribute__((noreturn));
void sl_forward_leave_terminal(const char *name);

/* Serves until it is to end: 0, or -errno. */
int sl_server_run(const struct sl_server_options *options);

/* request.c: one message of a client: it is answered, now or later, or passed over. False:
 * it came from nobody that we know; let go of its connection. */
bool sl_request_take(struct sl_server *server, const struct sl_client *client,
		     const __u8 *message, size_t length);

/* server.c: a message for a client; that cannot be had any more, it is dropped. */
void sl_client_send(struct sl_server *server, const struct sl_client *client,
		    const __u8 *message, size_t length);

/* streams.c */
void sl_streams_init(struct sl_server *server);
void sl_stream_accept(struct sl_server *server);
/* What poll has said of it. */
void sl_stream_ready(struct sl_server *server, size_t i, short events);
short sl_stream_wants(const struct sl_stream *stream);
void sl_stream_send(struct sl_stream *stream, const __u8 *message, size_t length);
void sl_streams_expire(struct sl_server *server);
void sl_streams_end(struct sl_server *server);

time_t sl_server_now_s(void);

#endif
