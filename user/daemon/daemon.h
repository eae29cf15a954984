/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sluiced: one process, one epoll; threads for the sinks, and to read a policy in. What it keeps in place lives in
 * the kernel: while it is dead nothing changes. docs/sluiced.md.
 *
 *   daemon.c   from its start to its end
 *   reload.c   the configuration that is in force, and why another is not
 *   loading.c  the next one, read and compiled beside the loop
 *   files.c    which files are watched
 *   sinks.c    audit sinks and metrics
 *   events.c   what the kernel reports, and what becomes of targets: to readers and sinks
 *   server.c   the control socket and its clients; request.c, op_*.c: what they may ask
 *   hand.c    what was attached by hand, over a restart
 *   pods.c    the pods of a node, as cgroups come and the cluster's objects say
 *   engines.c what container engines call what runs
 *   veths.c   the host's ends of their veths
 *   runs.c    commands that users start (`sluice run`); run_peer.c: who asks
 *   harden.c   what it gives up once it has started
 */
#ifndef SLUICE_DAEMON_DAEMON_H
#define SLUICE_DAEMON_DAEMON_H

#include <jansson.h>

#include "audit/aggregate.h"
#include "audit/targets.h"
#include "cgroups.h"
#include "config.h"
#include "engines.h"
#include "ledger.h"
#include "lookout.h"
#include "loop.h"
#include "pods.h"
#include "resolv_conf.h"
#include "runs.h"
#include "target/abort.h"
#include "veths.h"
#include "view.h"

#define SL_DAEMON_SOCKET "/run/sluice/sluiced.sock"
#define SL_DAEMON_ISOLATION "sluiced-isolated"

struct sl_control_server;
struct sl_files;
struct sl_loading;

struct sl_daemon_options {
	const char *config; /* path */
	const char *socket; /* path */
	const char *state;  /* of the pins */
	bool trust_clock;
	bool unconfined; /* keeps its capabilities: for debugging */
};

/* What became of the last attempts to load the configuration. */
struct sl_reload_state {
	bool ok;		  /* what is on the disk is what is in force */
	__u64 reloads, failed;	  /* since the start */
	__s64 loaded_s, failed_s; /* Unix time of the last; 0: none */
	__u64 started;		  /* how many were begun in a thread */
	__s64 started_s;	  /* Unix time of the last of these */
	bool superseded;	  /* the last of these was thrown away for newer news */
	json_t *errors;		  /* of the last that failed: [{file, line, column, message}] */
};

struct sl_daemon {
	const struct sl_daemon_options *options;
	struct sl_config *config; /* in force */
	char *policies; /* the directory that the file on the disk names; owned; NULL: not known */
	struct sl_reload_state reload;
	struct sl_devices devices;
	struct sl_cgroups cgroups;
	struct sl_forwarders forwarders;
	struct sl_daemon_lookout lookout;
	struct sl_runs runs;
	struct sl_pods pods;
	struct sl_engines engines;
	struct sl_held_veth *held; /* owned */
	size_t n_held;
	__u64 held_look_at_ns; /* monotonic: whose they are; 0: nothing to look for, or at once */
	struct sl_audit_targets *targets;
	struct sl_aggregate *aggregate;
	struct sl_ledger *ledger;
	char *losses; /* the ledger's file; owned */
	struct sl_abort abort; /* connections of cgroups that were denied their data */
	struct sl_control_server *server;
	struct sl_files *files;
	struct sl_loading *loading; /* NULL: nothing is being read */
	struct sl_sinks *sinks;			  /* the hub: it numbers every record */
	bool sinks_open;			  /* threads may be made */
	struct sl_metrics_server *metrics_server; /* NULL: none */
	struct sl_metrics *metrics;
	struct sl_metrics_targets *metrics_targets;
	int loop;
	struct sl_loop_source signals, links, addresses, resolvers, ring, metrics_wanted;
	struct sl_resolv_conf resolv_conf;
	__u64 reload_at_ns;    /* monotonic; 0: nothing changed */
	__u64 reconcile_at_ns; /* all policies are resolved again, whatever is reported */
	__u64 accept_at_ns;    /* the server takes connections again; 0: it does */
	unsigned long overruns;
	__u64 received;	       /* events drained */
	__u64 foreign_changes; /* that somebody else made to what is in place; mended */
	__u32 from_abi;	       /* of a version whose pins were taken over at the start; 0: none */
	__u64 unread;	       /* events of it that nobody can read */
	__s64 started_s;
	bool ready, ending;
};

/* The whole of it, to the exit status. */
int sl_daemon_run(const struct sl_daemon_options *options);
/* `sluiced --check`: reads everything, changes nothing; to the exit status. */
int sl_daemon_check(const struct sl_daemon_options *options);

/* ---- reload.c ---- */

/* Loads what is on the disk; the one before it stays in force if anything is wrong. Nothing
 * else is done meanwhile. */
int sl_daemon_reload(struct sl_daemon *daemon);
/* The same of what was loaded: it is in force from here on, taken over; or NULL, and err and diag
 * say why not. quiet: not even that is said. */
void sl_daemon_take_config(struct sl_daemon *daemon, struct sl_config *config, int err,
			   struct sl_diag *diag, bool quiet);

/* ---- loading.c ---- */

/* Takes what has been loaded; begins to load what is on the disk when reload_at_ns says so. Neither
 * waits for it: what comes of it is taken in a later turn. */
void sl_daemon_loading_work(struct sl_daemon *daemon);
/* Begins to load, as nothing is being loaded, what was wrong: nothing is said if it still is. */
void sl_daemon_retry(struct sl_daemon *daemon);
/* Ends it, which can take as long as one policy takes. */
void sl_daemon_loading_close(struct sl_daemon *daemon);

/* ---- files.c ---- */

int sl_files_open(struct sl_daemon *daemon);
/* The files that the configuration names now are the ones that are watched. */
void sl_files_follow(struct sl_daemon *daemon);
void sl_files_close(struct sl_daemon *daemon);

/* ---- sinks.c ---- */

/* Forks the child that serves metrics, if the configuration says so. Before there are
 * threads, and before anything is given up. */
int sl_daemon_serve_metrics(struct sl_daemon *daemon, struct sl_diag *diag);
/* The sinks are those of the configuration that is in force. */
void sl_daemon_set_sinks(struct sl_daemon *daemon);
/* Adds [{sink, kind, written, lost, ...}] and what is to be warned of. */
json_t *sl_daemon_sinks_json(struct sl_daemon *daemon, json_t *warnings);
void sl_daemon_close_sinks(struct sl_daemon *daemon);

/* ---- events.c ---- */

int sl_daemon_open_events(struct sl_daemon *daemon, struct sl_diag *diag);
/* Tries again to become the reader, if another process is it. */
void sl_daemon_claim_events(struct sl_daemon *daemon);
void sl_daemon_drain(struct sl_daemon *daemon, bool last);
void sl_daemon_close_events(struct sl_daemon *daemon);
/* A record that is no decision of the kernel's. Takes the reference. */
void sl_daemon_record(struct sl_daemon *daemon, json_t *record, bool grave);
/* The same that its owner may see too. */
void sl_daemon_record_of(struct sl_daemon *daemon, uid_t owner, json_t *record, bool grave);
/* `pod` or `container` of the target with that cgroup, or device of our namespace (the other is 0), as
 * events and status tell it (docs/events.md). A new reference; NULL: nobody's, or no memory. */
json_t *sl_daemon_whose(struct sl_daemon *daemon, __u64 cgroup_id, unsigned ifindex);
/* Now, RFC 3339, UTC, nanoseconds. Returns buf. */
const char *sl_daemon_time(char buf[40]);
extern const struct sl_devices_ops sl_daemon_device_ops;
extern const struct sl_cgroups_ops sl_daemon_cgroup_ops;

/* What is no event of the kernel's: bytes of targets, rules whose time is over. */
void sl_daemon_look(struct sl_daemon *daemon, bool last);

/* ---- harden.c ---- */

/* Gives up all capabilities but those that work on BPF and the network, for ever, and
 * all system calls but those that are used. 0, or -errno with the reason in diag. */
int sl_daemon_harden(struct sl_diag *diag);

#endif
