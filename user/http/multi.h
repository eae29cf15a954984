/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Requests by libcurl's multi interface, for a daemon that may not wait: libcurl's sockets are in
 * one epoll, whose descriptor the daemon polls, and its timer is a time of ours.
 */
#ifndef SLUICE_HTTP_MULTI_H
#define SLUICE_HTTP_MULTI_H

#include <curl/curl.h>
#include <linux/types.h>

struct sl_multi {
	CURLM *curl;
	int epoll;  /* to be polled for reading */
	__u64 due;  /* of libcurl's own timer, ms as sl_multi_now has them; 0: none */
};

/* Milliseconds of a clock that only goes on. */
__u64 sl_multi_now(void);

/* 0 or -errno; to be closed in any case. Its address stays. */
int sl_multi_open(struct sl_multi *multi);
/* After all its requests were taken off. */
void sl_multi_close(struct sl_multi *multi);

/* Milliseconds until sl_multi_work has something to do without news; -1: never. */
int sl_multi_timeout(const struct sl_multi *multi);
/* Goes on as far as it goes without waiting. done is called for each request that is over, which has
 * been taken off, and may start the next. */
void sl_multi_work(struct sl_multi *multi, void (*done)(void *context, CURL *easy, CURLcode code),
		  void *context);

#endif
