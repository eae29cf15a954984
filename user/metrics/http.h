/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The child that speaks HTTP with strangers. */
#ifndef SLUICE_METRICS_HTTP_H
#define SLUICE_METRICS_HTTP_H

#include <linux/types.h>
#include <stdbool.h>

/* What it says to its parent, a byte each. */
#define SL_HTTP_READY 'r'
#define SL_HTTP_WANTS '?'

/* What the child begins with; read by its parent, who may read the files. */
struct sl_http {
	int listener;
	int parent;		/* SOCK_SEQPACKET: a byte asks, a memfd answers */
	const char *certificate, *key;	/* PEM, or NULL */
	const char *users;	/* the file's text, or NULL: no authentication */
};

/* Gives up privileges and serves until the parent is gone. The exit status. */
int sl_http_run(const struct sl_http *http);

/* ---- users.c ---- */

/* What is wrong with a file of users, or NULL; *line counts from 1. */
const char *sl_users_wrong(const char *text, unsigned *line);

enum sl_user_verdict { SL_USER_WRONG, SL_USER_RIGHT, SL_USER_BUSY };

struct sl_users {
	const char *text;
	char *name, *password;	/* owned: those that were right last */
	double tokens;		/* attempts that may still be made */
	__u64 at_ms;
};

/* Slow hashes are made for at most a few attempts a second: then SL_USER_BUSY. */
enum sl_user_verdict sl_users_check(struct sl_users *users, const char *name,
				    const char *password, __u64 now_ms);

/* ---- jail.c ---- */

/* As nobody, without capabilities, with few descriptors and system calls. 0 or -errno. */
int sl_http_give_up(void);
int sl_http_few_calls(void);

#endif
