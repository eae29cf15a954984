// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "multi.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64

__u64 sl_multi_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000 + (__u64)now.tv_nsec / 1000000;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *unused)
{
	struct sl_multi *multi = context;
	struct epoll_event event = {.data.fd = fd};

	(void)easy;
	(void)unused;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(multi->epoll, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (epoll_ctl(multi->epoll, EPOLL_CTL_MOD, fd, &event) && errno == ENOENT)
		epoll_ctl(multi->epoll, EPOLL_CTL_ADD, fd, &event);
	return 0;
}

static int on_timer(CURLM *curl, long ms, void *context)
{
	struct sl_multi *multi = context;

	(void)curl;
	multi->due = ms < 0 ? 0 : sl_multi_now() + (__u64)ms;
	return 0;
}

int sl_multi_open(struct sl_multi *multi)
{
	multi->due = 0;
	multi->curl = NULL;
	multi->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (multi->epoll < 0)
		return -errno;
	multi->curl = curl_global_init(CURL_GLOBAL_DEFAULT) ? NULL : curl_multi_init();
	if (!multi->curl)
		return -ENOMEM;
	curl_multi_setopt(multi->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi->curl, CURLMOPT_SOCKETDATA, multi);
	curl_multi_setopt(multi->curl, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi->curl, CURLMOPT_TIMERDATA, multi);
	return 0;
}

void sl_multi_close(struct sl_multi *multi)
{
	if (multi->curl)
		curl_multi_cleanup(multi->curl);
	if (multi->epoll >= 0)
		close(multi->epoll);
	multi->curl = NULL;
	multi->epoll = -1;
}

int sl_multi_timeout(const struct sl_multi *multi)
{
	__u64 now = sl_multi_now();

	if (!multi->due)
		return -1;
	return multi->due > now ? (int)(multi->due - now) : 0;
}

static void finish_all(struct sl_multi *multi, void (*done)(void *context, CURL *easy, CURLcode code),
		       void *context)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(multi->curl, &left))) {
		CURL *easy = message->easy_handle;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_multi_remove_handle(multi->curl, easy);
		done(context, easy, code);
	}
}

void sl_multi_work(struct sl_multi *multi, void (*done)(void *context, CURL *easy, CURLcode code),
		  void *context)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(multi->epoll, events, BATCH, 0), running;

	for (int i = 0; i < n; i++) {
		int mask = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
			   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

		curl_multi_socket_action(multi->curl, events[i].data.fd, mask, &running);
	}
	if (multi->due && multi->due <= sl_multi_now()) {
		multi->due = 0;
		curl_multi_socket_action(multi->curl, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	finish_all(multi, done, context);
}
