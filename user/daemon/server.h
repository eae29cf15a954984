/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The control socket: versioned JSON, one object a line, docs/control.md. No client can
 * make another wait: requests, answers and the number of clients are bounded, each client
 * is read and written only as far as it goes, and a reader of a stream that is too slow
 * loses records, which it is told.
 *
 *   server.c   the socket: who connects
 *   client_io.c  what goes in and out
 *   publish.c  streams of records (`monitor`)
 *   request.c  one request: who may ask, and its answer
 *   op_*.c     what can be asked
 */
#ifndef SLUICE_DAEMON_SERVER_H
#define SLUICE_DAEMON_SERVER_H

#include <jansson.h>
#include <sys/types.h>

#include "audit/record.h"
#include "filter.h"
#include "loop.h"

#define SL_CONTROL_VERSION 1
#define SL_REQUEST_MAX (1u << 20)	/* bytes of one request: of root ... */
#define SL_REQUEST_MAX_USER (16u << 10) /* ... and of anybody else */
#define SL_CALLER_OUT (256u << 10)	/* more waits to be written: no request is read */
#define SL_CALLERS_MAX 256
#define SL_CALLERS_MAX_USER 64 /* of all but root ... */
#define SL_CALLERS_MAX_UID 16  /* ... and of one user */

struct sl_daemon;

struct sl_caller_stream {
	bool on;
	struct sl_filter filter;
	__u64 lost; /* records that it could not take since it was last told */
};

struct sl_caller {
	struct sl_daemon *daemon;
	struct sl_loop_source source;
	uid_t uid;
	gid_t gid;
	pid_t pid;
	char *in; /* owned; what came and is no whole line yet */
	size_t n_in, cap_in;
	char *out; /* owned; what is to be written */
	size_t n_out, cap_out, written;
	struct sl_caller_stream stream;
	__u64 since_ns;	 /* monotonic: of the first byte that waits for its line */
	__u64 active_ns; /* of the last request */
	__u64 applies;	 /* waits for that load (reload.started), and asks nothing more; 0: none */
	bool more;	 /* a whole request may be there */
	bool closing;	 /* once out is written */
	bool gone;
	struct sl_caller *next;
};

/* Makes sure that there is no other daemon (-EALREADY), then, when all is in place,
 * listens. The socket's group is the one of the configuration that is in force then. */
int sl_control_server_open(struct sl_daemon *daemon, struct sl_diag *diag);
int sl_control_server_listen(struct sl_daemon *daemon, struct sl_diag *diag);
void sl_control_server_close(struct sl_daemon *daemon);
/* One request of each client, then the next turn: none waits for another's hundred. And
 * what the clock asks for: clients that stand still go. True: there is more to do. */
bool sl_control_server_work(struct sl_daemon *daemon);
/* Whose members may connect; (gid_t)-1: nobody but root. */
gid_t sl_control_server_group(const struct sl_control_server *server);
size_t sl_control_server_clients(const struct sl_control_server *server);

/* ---- for publish.c, request.c and the operations ---- */

/* Clients that are gone are forgotten. */
void sl_control_server_reap(struct sl_control_server *server);
void sl_caller_ready(void *client, __u32 events);
bool sl_caller_turn(struct sl_caller *client);
struct sl_caller *sl_control_server_first(struct sl_control_server *server);
/* One line. Takes the reference. false: no memory, the client is closed. */
bool sl_caller_send(struct sl_caller *client, json_t *object);
/* The same of a text with its newline, for many clients. */
bool sl_caller_put(struct sl_caller *client, const char *text, size_t len);
/* Bytes that wait to be written. */
size_t sl_caller_waiting(const struct sl_caller *client);
bool sl_caller_is_root(const struct sl_caller *client);

/* ---- publish.c ---- */

size_t sl_control_server_readers(struct sl_control_server *server);
/* A record for every stream that wants it, of root and of the owner (0: root's alone). The
 * reference stays the caller's. */
void sl_control_server_publish(struct sl_control_server *server, uid_t owner, json_t *record);
void sl_control_server_publish_event(struct sl_control_server *server, uid_t owner,
				     const struct sl_audit_names *names,
				     const struct sl_event *event, __u64 count, __u64 sequence);
/* Tells the stream what it lost, now that there is room. */
void sl_caller_stream_tell_lost(struct sl_caller *client);

/* ---- request.c ---- */

/* Answers one line; a request that is none gets an error. */
void sl_caller_request(struct sl_caller *client, const char *line, size_t len);

/* An answer that says why not. */
void sl_answer_error(struct sl_caller *client, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with what diag says; err if it says nothing. */
void sl_answer_diag(struct sl_caller *client, const char *code, const struct sl_diag *diag,
		    int err);
/* `{"sluice": 1, "ok": true, ...}` with fields of body (a reference that is taken). */
void sl_answer(struct sl_caller *client, json_t *body);

/* ---- the operations: op_view.c, op_change.c, publish.c ---- */

typedef void sl_op(struct sl_caller *client, const json_t *request);
sl_op sl_op_hello, sl_op_status, sl_op_rules, sl_op_attach, sl_op_detach, sl_op_apply,
	sl_op_monitor, sl_op_container, sl_op_cni, sl_op_run;
/* Load number `started` has come to its end, as daemon->reload says. Who waits for it is told. */
void sl_op_apply_answer(struct sl_daemon *daemon, __u64 started);

#endif
