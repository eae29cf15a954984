/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the two files of the server share: connections (conns.c), and what is said on them
 * (http.c). */
#ifndef SLUICE_METRICS_CONNS_H
#define SLUICE_METRICS_CONNS_H

#include <microhttpd.h>

#include "http.h"

#define SL_CONNECTIONS 512

enum sl_conn_state {
	SL_CONN_FRESH,	/* its headers are not complete */
	SL_CONN_BUSY,	/* is being answered */
	SL_CONN_KEPT,	/* may ask again */
	SL_CONN_DOOMED,	/* shut down, to be closed */
};

/* In a list by the time of the latest change: the first has idled longest. */
struct sl_conn {
	struct sl_conn *prev, *next;
	struct MHD_Connection *mhd;
	int fd;
	enum sl_conn_state state;
	bool waits, told;	/* for a text; told: there is one, or none will come */
	__u64 since_ms;
};

struct sl_server {
	const struct sl_http *given;
	struct MHD_Daemon *daemon;
	struct sl_users users;
	struct sl_conn list;	/* its ends */
	unsigned n;		/* without the doomed */
	struct MHD_Response *text;	/* NULL: none yet */
	__u64 text_ms, asked_ms;	/* asked: 0: not */
	bool over;
};

__u64 sl_http_now_ms(void);

/* libmicrohttpd's MHD_OPTION_NOTIFY_CONNECTION and _COMPLETED; context: the server. */
void sl_conn_notify(void *server, struct MHD_Connection *connection, void **own,
		    enum MHD_ConnectionNotificationCode code);
void sl_conn_completed(void *server, struct MHD_Connection *connection, void **own,
		       enum MHD_RequestTerminationCode code);

/* NULL: there was no memory for it. */
struct sl_conn *sl_conn_of(struct MHD_Connection *connection);
void sl_conn_change(struct sl_server *server, struct sl_conn *conn, enum sl_conn_state state);

void sl_conns_accept(struct sl_server *server);
/* Gives up those whose time is over. */
void sl_conns_expire(struct sl_server *server);

#endif
