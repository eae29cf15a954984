// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The configuration is read and compiled in a thread: a large policy takes seconds, and the
 * loop has events, clients and the watchdog to look after. The thread gets copies, touches
 * nothing of the daemon, and hands over a finished configuration; what is in force goes on
 * until then. One at a time: what changes meanwhile is read after it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "begins.h"
#include "daemon.h"
#include "server.h"

struct sl_loading {
	struct sl_loop_source done; /* an eventfd: the thread has ended, or will at once */
	pthread_t thread;
	const char *path;
	bool trust_clock;
	json_t *memory; /* owned, by the thread while it runs */
	bool stop;	/* atomic: nobody wants it any more */
	char *policies; /* their directory; owned; NULL: not known */
	struct sl_config *config;
	struct sl_diag diag;
	int err;
	bool quiet;	/* it was wrong before: nothing is said if it still is */
	bool ended;	/* the loop has seen it */
};

static void *load(void *context)
{
	struct sl_loading *l = context;

	l->err = sl_config_load(l->path, l->trust_clock, l->memory, &l->stop, &l->policies,
				&l->config, &l->diag);
	eventfd_write(l->done.fd, 1);
	return NULL;
}

static void free_loading(struct sl_daemon *daemon, struct sl_loading *l)
{
	sl_loop_drop(daemon->loop, &l->done);
	if (l->done.fd >= 0)
		close(l->done.fd);
	json_decref(l->memory);
	sl_diag_free(&l->diag);
	free(l->policies);
	free(l);
	daemon->loading = NULL;
}

/* Newer news make it worth nothing; but two in a row are not thrown away, or a file that
 * changes all the time would never be in force. */
static bool is_superseded(struct sl_daemon *daemon)
{
	bool superseded = daemon->reload_at_ns && !daemon->reload.superseded;

	daemon->reload.superseded = superseded;
	return superseded;
}

/* The rest is done between two turns of the loop. */
static void on_done(void *context, __u32 events)
{
	struct sl_daemon *daemon = context;

	(void)events;
	daemon->loading->ended = true;
	sl_loop_drop(daemon->loop, &daemon->loading->done);
}

static void finish(struct sl_daemon *daemon, struct sl_loading *l)
{
	pthread_join(l->thread, NULL);
	if (l->policies) {
		free(daemon->policies);
		daemon->policies = l->policies;
		l->policies = NULL;
	}
	if (is_superseded(daemon)) {
		if (!l->err)
			sl_config_free(l->config);
	} else {
		sl_daemon_take_config(daemon, l->err ? NULL : l->config, l->err, &l->diag,
				      l->quiet);
		sl_op_apply_answer(daemon, daemon->reload.started);
	}
	free_loading(daemon, l);
}

static int start(struct sl_daemon *daemon, struct sl_loading *l)
{
	int err;

	l->path = daemon->options->config;
	l->trust_clock = daemon->options->trust_clock;
	l->memory = daemon->config ? sl_begins_of(daemon->config) : sl_begins_read(daemon->options);
	l->done = (struct sl_loop_source){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
					  .ready = on_done, .context = daemon};
	if (l->done.fd < 0)
		return -errno;
	if (daemon->config && !l->memory)
		return -ENOMEM; /* durations would begin anew */
	err = sl_loop_add(daemon->loop, &l->done, EPOLLIN);
	return err ? err : -pthread_create(&l->thread, NULL, load, l);
}

static void begin(struct sl_daemon *daemon, bool quiet)
{
	struct sl_loading *l = calloc(1, sizeof(*l));

	daemon->reload_at_ns = 0;
	daemon->reload.started++;
	daemon->reload.started_s = time(NULL);
	if (l && !start(daemon, l)) {
		l->quiet = quiet;
		daemon->loading = l;
		return;
	}
	if (l)
		free_loading(daemon, l);
	sl_daemon_reload(daemon); /* without a thread it is read here */
	sl_op_apply_answer(daemon, daemon->reload.started);
}

void sl_daemon_loading_work(struct sl_daemon *daemon)
{
	if (daemon->loading && daemon->loading->ended)
		finish(daemon, daemon->loading);
	if (!daemon->loading && daemon->reload_at_ns && sl_now_ns() >= daemon->reload_at_ns)
		begin(daemon, false);
}

void sl_daemon_retry(struct sl_daemon *daemon)
{
	if (!daemon->loading && !daemon->reload_at_ns)
		begin(daemon, true);
}

void sl_daemon_loading_close(struct sl_daemon *daemon)
{
	struct sl_loading *l = daemon->loading;

	if (!l)
		return;
	__atomic_store_n(&l->stop, true, __ATOMIC_RELAXED);
	pthread_join(l->thread, NULL);
	if (!l->err)
		sl_config_free(l->config);
	free_loading(daemon, l);
}
