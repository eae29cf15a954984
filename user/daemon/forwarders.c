// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "forwarders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "audit/json.h"
#include "devices.h"
#include "forward/forward.h"
#include "forward/keeper.h"
#include "kernel/gate.h"
#include "policy/text.h"

#define SECOND 1000000000ull
#define STEADY_NS (60 * SECOND)	/* whoever lived so long had no trouble with its start */
#define WAIT_MAX 6		/* 2^5 s between two tries */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void end_process(struct sl_forwarder *f)
{
	if (f->life.fd < 0)
		return;
	sl_loop_drop(f->loop, &f->life);
	close_fd(&f->life.fd);
	f->ready = false;
}

/* At once after the first end, then later and later. */
static void start_later(struct sl_forwarder *f)
{
	if (f->started_ns && sl_now_ns() > f->started_ns + STEADY_NS)
		f->failures = 0;
	f->start_at_ns = f->failures ? sl_now_ns() + (SECOND << (f->failures - 1)) : 0;
	if (f->failures < WAIT_MAX)
		f->failures++;
}

/* ---- its process ---- */

static void on_life(void *context, __u32 events)
{
	struct sl_forwarder *f = context;
	char text[256];
	ssize_t n = recv(f->life.fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 1 && *text == 'r') {
		f->ready = true;
		f->said = 0;
		return;
	}
	if (n > 0) {
		text[n] = 0;
		fprintf(stderr, "sluiced: %s: its forwarder cannot be started: %s\n", f->path, text);
		return;
	}
	if (f->ready)
		fprintf(stderr, "sluiced: %s: its forwarder has ended; it is started again\n",
			f->path);
	end_process(f);
	start_later(f);
}

static int listen_there(struct sl_forwarder *f, const struct sl_state *state)
{
	int err;

	if (f->udp_fd >= 0)
		return 0;
	err = sl_forward_listen(&f->address, &f->udp_fd, &f->tcp_fd);
	if (!err)
		err = sl_state_mark_forwarder(state, f->udp_fd);
	if (!err)
		err = sl_state_mark_forwarder(state, f->tcp_fd);
	if (err) {
		close_fd(&f->udp_fd);
		close_fd(&f->tcp_fd);
	}
	return err;
}

static int make_process(struct sl_forwarders *all, struct sl_forwarder *f)
{
	const struct sl_keeper_task task = {.udp_fd = f->udp_fd, .tcp_fd = f->tcp_fd,
					    .gate_fd = f->gate_fd, .text_fd = f->text_fd};
	int fd = all->keeper_fd < 0 ? -EPIPE : sl_keeper_make(all->keeper_fd, &task), err;

	if (fd < 0)
		return fd;
	f->life = (struct sl_loop_source){.fd = fd, .ready = on_life, .context = f};
	err = sl_loop_add(all->loop, &f->life, EPOLLIN);
	if (err)
		close_fd(&f->life.fd);
	f->started_ns = sl_now_ns();
	return err;
}

/* Once for each reason. */
static void complain(struct sl_forwarder *f, int err, const struct sl_diag *diag)
{
	char text[SL_CIDR_TEXT];

	if (err == f->said)
		return;
	f->said = err;
	sl_diag_print(diag, stderr);
	fprintf(stderr, "sluiced: %s: no forwarder at port 53 of %s: %s%s; its names are not "
		"resolved\n", f->path, sl_cidr_format(&f->address, text), strerror(-err),
		err == -EPIPE || err == -ECONNRESET ? " (what starts them is gone: restart sluiced)" :
						      sl_forward_advice(err));
}

static void start(struct sl_forwarders *all, struct sl_forwarder *f, const struct sl_state *state)
{
	struct sl_diag diag = {};
	int err = listen_there(f, state);

	if (!err && f->gate_fd < 0) {
		f->gate_fd = sl_state_gate(state, f->slot, &diag);
		err = f->gate_fd < 0 ? f->gate_fd : 0;
	}
	if (!err)
		err = make_process(all, f);
	if (err) {
		complain(f, err, &diag);
		start_later(f);
	}
	sl_diag_free(&diag);
}

void sl_forwarders_work(struct sl_forwarders *all, const struct sl_state *state)
{
	__u64 now = sl_now_ns();

	for (size_t i = 0; i < all->n; i++)
		if (all->list[i]->life.fd < 0 && now >= all->list[i]->start_at_ns)
			start(all, all->list[i], state);
}

/* ---- the list ---- */

static void free_one(struct sl_forwarder *f)
{
	end_process(f);
	close_fd(&f->udp_fd);
	close_fd(&f->tcp_fd);
	close_fd(&f->gate_fd);
	close_fd(&f->text_fd);
	free(f->path);
	free(f);
}

void sl_forwarders_end(struct sl_forwarders *all, size_t i)
{
	free_one(all->list[i]);
	all->list[i] = all->list[--all->n];
}

static struct sl_forwarder *new_one(const struct sl_forwarder *target, int loop)
{
	struct sl_forwarder *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	*f = (struct sl_forwarder){.cgroup_id = target->cgroup_id, .slot = target->slot,
				   .generation = target->generation, .loop = loop,
				   .path = sl_escaped(target->path), .udp_fd = -1, .tcp_fd = -1,
				   .gate_fd = -1, .text_fd = -1, .life = {.fd = -1}};
	if (f->path)
		return f;
	free(f);
	return NULL;
}

static void take(int *to, int *from)
{
	*to = *from;
	*from = -1;
}

/* The next generation's goes on with the sockets: no question is lost. */
static void inherit(struct sl_forwarder *f, struct sl_forwarder *old)
{
	if (old->slot == f->slot)
		take(&f->gate_fd, &old->gate_fd);
	if (memcmp(old->address.addr, f->address.addr, sizeof(f->address.addr)))
		return;
	take(&f->udp_fd, &old->udp_fd);
	take(&f->tcp_fd, &old->tcp_fd);
}

static size_t find(const struct sl_forwarders *all, __u64 cgroup_id)
{
	size_t i = 0;

	while (i < all->n && all->list[i]->cgroup_id != cgroup_id)
		i++;
	return i;
}

int sl_forwarders_give(struct sl_forwarders *all, const struct sl_state *state,
		       const struct sl_forwarder *target, const struct sl_policy *resolved,
		       const struct sl_compiled *compiled)
{
	size_t old = find(all, target->cgroup_id);
	struct sl_forwarder *f = NULL, **place = NULL;

	if (resolved->dns.forward) {
		f = new_one(target, all->loop);
		if (f) {
			f->address = resolved->dns.listen;
			f->text_fd = sl_keeper_text(resolved, compiled);
		}
	}
	if (f && f->text_fd >= 0 && old < all->n)
		inherit(f, all->list[old]);
	if (old < all->n)
		sl_forwarders_end(all, old);
	if (!resolved->dns.forward)
		return 0;
	place = f && f->text_fd >= 0 ? SL_ADD(all->list, all->n) : NULL;
	if (!place) {
		if (f)
			free_one(f);
		fprintf(stderr, "sluiced: %s: no memory for a forwarder; its names are not "
			"resolved\n", target->path);
		return -ENOMEM;
	}
	*place = f;
	start(all, f, state);
	return 0;
}

int sl_forwarders_open(struct sl_forwarders *all, int loop)
{
	all->loop = loop;
	all->keeper_fd = sl_keeper_start();
	return all->keeper_fd < 0 ? all->keeper_fd : 0;
}

void sl_forwarders_close(struct sl_forwarders *all)
{
	while (all->n)
		sl_forwarders_end(all, 0);
	free(all->list);
	close_fd(&all->keeper_fd);
}
