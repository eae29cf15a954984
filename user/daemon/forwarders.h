/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The forwarders of cgroups with dns: {mode: forward} (docs/names.md): one each, with its
 * target's generation, made anew when it has ended. What the kernel enforces needs none of
 * them; while one is missing its target's names are not resolved.
 */
#ifndef SLUICE_DAEMON_FORWARDERS_H
#define SLUICE_DAEMON_FORWARDERS_H

#include "compile/compile.h"
#include "kernel/state.h"
#include "loop.h"

struct sl_forwarder {
	__u64 cgroup_id, generation;
	__u32 slot;
	char *path;			/* for people, escaped; owned */
	struct sl_cidr address;
	int udp_fd, tcp_fd, gate_fd, text_fd;	/* owned; -1: not yet */
	struct sl_loop_source life;	/* fd -1: there is no process */
	int loop;
	bool ready;
	__u64 started_ns, start_at_ns;	/* monotonic; start_at 0: at once */
	unsigned failures;
	int said;			/* the last error that was told; 0: none */
};

struct sl_forwarders {
	int loop, keeper_fd;		/* keeper_fd owned; -1: none can be made */
	struct sl_forwarder **list;	/* owned, each owned: the loop knows their places */
	size_t n;
};

/* Starts what starts them (forward/keeper.h): before there are threads or maps. 0 or -errno. */
int sl_forwarders_open(struct sl_forwarders *forwarders, int loop);
void sl_forwarders_close(struct sl_forwarders *forwarders);

/* The target has this policy now. One without `mode: forward` ends what it had. 0, or -ENOMEM
 * and it has none; that it cannot be started yet is said, and tried again. */
int sl_forwarders_give(struct sl_forwarders *forwarders, const struct sl_state *state,
		       const struct sl_forwarder *target, const struct sl_policy *resolved,
		       const struct sl_compiled *compiled);
void sl_forwarders_end(struct sl_forwarders *forwarders, size_t i);

/* Starts those that are to be started again. */
void sl_forwarders_work(struct sl_forwarders *forwarders, const struct sl_state *state);

#endif
