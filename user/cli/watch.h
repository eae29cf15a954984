/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * `sluice watch`: its options (watch.c), its loop (watch_loop.c), its policy
 * (watch_policy.c), its devices (watch_devices.c, watch_attach.c), what it tells
 * (watch_tell.c), its sinks and metrics (watch_audit.c).
 */
#ifndef SLUICE_CLI_WATCH_H
#define SLUICE_CLI_WATCH_H

#include <stdio.h>

#include "audit/aggregate.h"
#include "audit/targets.h"
#include "cli.h"
#include "metrics/metrics.h"
#include "sinks/sink.h"
#include "target/device.h"
#include "target/links.h"

struct sl_watch_options {
	const char **patterns;		/* owned; the texts are argv's */
	size_t n_patterns;
	const char *log;
	unsigned receive_buffer;	/* bytes, of netlink; 0: the default */
	bool json, verbose;
	struct sl_attach_options attach;
	struct sl_sink_config *sinks;	/* owned */
	size_t n_sinks;
	struct sl_metrics_listen *metrics; /* owned; NULL: none are served */
	bool stdout_taken;		/* by a sink: what became of devices is among its records */
};

enum sl_watched_state {
	SL_WATCHED_WAITING,	/* to be attached */
	SL_WATCHED_ATTACHED,
	SL_WATCHED_ISOLATED,	/* denies everything: its policy could not be resolved */
	SL_WATCHED_LEFT,	/* has a policy that is not ours */
	SL_WATCHED_FAILED,	/* has nothing; to be tried again */
};

struct sl_watched {
	struct sl_device device;
	enum sl_watched_state state;
	bool is_new;		/* came after the start: nothing may pass before it is attached */
	bool renew;		/* what its policy means here may have changed */
	__u32 preceding;	/* the program that was last told to stand before ours */
	bool pending;		/* the policy that it should have could not be given to it */
	__u64 generation;	/* that we made last; 0: none */
	__u64 meaning;		/* a hash of its resolved policy */
};

/* When a rule with a duration first took effect. */
struct sl_watch_since {
	char *id;		/* owned */
	__s64 since_s;
	bool used;		/* by the policy that is loaded */
};

struct sl_watch {
	const struct sl_watch_options *options;
	struct sl_attach_options attach;	/* parsed: owned, by the watch */
	struct sl_diag policy_names;	/* its places name files that live here */
	char policy[64];		/* its name */
	struct sl_watch_since *since;	/* owned */
	size_t n_since;
	struct sl_links *links;
	struct sl_state *state;		/* locked only while something is changed */
	struct sl_watched *devices;	/* owned */
	size_t n_devices;
	__u64 renew_at_ns;		/* monotonic; 0: nothing to renew */
	__u64 changed_at_ns;		/* of the first change that is not answered yet */
	__u64 retry_at_ns;		/* 0: nothing has failed */
	__u64 check_at_ns;		/* whether all is still attached */
	unsigned retries;		/* without success */
	bool started;			/* the devices that were there are known */
	bool sweep;			/* a device is gone */
	bool warned;			/* what the policy warns of was said */
	bool veth_said;
	bool log_failed;
	/* what is told and recorded */
	struct sl_audit_targets *targets;
	struct sl_aggregate *aggregate;	/* NULL: events are not read */
	FILE *log;
	struct sl_sinks *sinks;		/* NULL: none */
	struct sl_metrics_server *server; /* NULL: none */
	struct sl_metrics *metrics;
	struct sl_metrics_targets *metrics_targets;
	__u64 sequence, told;		/* of the next record, and line */
};

__u64 sl_watch_now_ns(void);

/* ---- watch_policy.c ---- */

/* Reads the policy and replaces the one that is loaded; says on stderr what it has to say.
 * 0, or -errno and nothing changed. */
int sl_watch_load_policy(struct sl_watch *watch);
void sl_watch_free_policy(struct sl_watch *watch);

/* What a device has whose policy cannot be resolved. */
#define SL_WATCH_ISOLATION "watch-isolated"

/* ---- watch_devices.c ---- */

/* The handler of sl_links_open; context: struct sl_watch. */
void sl_watch_on_link(void *context, enum sl_link_change change, const struct sl_link *link,
		      const struct sl_link *before);

/* Addresses, routes, or a device's place among them changed: soon renew. */
void sl_watch_on_change(struct sl_watch *watch);

/* What the clock asks for, then attaches what waits, renews what is to be renewed,
 * and forgets what is gone. */
void sl_watch_work(struct sl_watch *watch);

/* Milliseconds until sl_watch_work has something to do again. */
int sl_watch_timeout(const struct sl_watch *watch);

/* Every device gets a new generation of the policy that is loaded. */
void sl_watch_renew_all(struct sl_watch *watch);

/* ---- watch_attach.c: one device, the state being locked ---- */

/* What the state says of a device: present is false if it has no target. */
struct sl_watch_found {
	bool present, attached;
	__u32 slot, preceding;
	__u64 generation;
};

/* True if the device has a policy that is not ours: it is left alone, and that is told. */
bool sl_watch_leaves(struct sl_watch *watch, struct sl_watched *watched,
		     const struct sl_watch_found *found);
/* A device without a policy of ours: afterwards it has one, is left alone, or failed. */
void sl_watch_attach(struct sl_watch *watch, struct sl_watched *watched,
		     const struct sl_watch_found *found);
/* One of ours: gets a new generation if its policy means something else now. */
void sl_watch_renew(struct sl_watch *watch, struct sl_watched *watched);
/* Does its number still lead to the device of that name? */
bool sl_watch_is_there(const struct sl_watched *watched);
/* Tries again later, each time later. */
void sl_watch_retry_later(struct sl_watch *watch);

/* ---- watch_tell.c ---- */

/* One line on stdout, text or JSON: what became of a device. why may be NULL. */
void sl_watch_tell(struct sl_watch *watch, const char *change, const struct sl_watched *watched,
		   const char *policy, const char *why);
/* Diagnostics on stderr, each with the device's name; returns the first error's text,
 * valid as long as diag, or NULL. */
const char *sl_watch_complain(const struct sl_diag *diag, const char *device);

int sl_watch_open_log(struct sl_watch *watch);
/* The state, locked, when the one that was open is not the pinned one any more. */
int sl_watch_reopen(struct sl_watch *watch);
void sl_watch_drain(struct sl_watch *watch, bool last);
void sl_watch_close_log(struct sl_watch *watch);

/* ---- watch_audit.c ---- */

/* --sink and --metrics: 0, or the exit status, with the reason in diag. */
int sl_watch_add_sink(struct sl_watch_options *options, const char *spec, struct sl_diag *diag);
int sl_watch_set_metrics(struct sl_watch_options *options, const char *spec, struct sl_diag *diag);
void sl_watch_free_audit_options(struct sl_watch_options *options);

/* 0, or -errno with the reason in diag. */
int sl_watch_open_audit(struct sl_watch *watch, struct sl_diag *diag);
int sl_watch_metrics_fd(const struct sl_watch *watch);	/* -1: none; may change */
void sl_watch_answer_metrics(struct sl_watch *watch);
void sl_watch_close_audit(struct sl_watch *watch);

/* ---- watch_loop.c ---- */

/* The whole of it, to the exit status. */
int sl_watch_run(const struct sl_watch_options *options);

#endif
