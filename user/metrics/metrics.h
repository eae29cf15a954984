/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Metrics: a snapshot of what is known (collect.c), as text for Prometheus (expose.c),
 * served by a child that holds no capability (server.c, http.c). docs/metrics.md lists
 * the families.
 *
 * Labels are targets, policies, rules, reasons, sinks: never an address or a name that
 * a workload chose.
 */
#ifndef SLUICE_METRICS_METRICS_H
#define SLUICE_METRICS_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/diag.h"
#include "sinks/sink.h"
#include "sluice_abi.h"

struct sl_yaml;
struct sl_state;

/* ---- the snapshot ---- */

/* What one rule, or no rule for one reason, has decided. */
struct sl_metrics_hit {
	const char *rule;	/* NULL: none */
	unsigned reason;	/* enum sl_reason */
	__u64 count, last_ns;	/* boot time */
};

struct sl_metrics_target {
	const char *kind, *name, *policy;	/* policy NULL: none in force */
	bool audit;		/* mode */
	bool attached;
	__u64 generation;
	struct sl_stats stats;
	struct sl_meter meter;
	bool has_meter;		/* bytes are counted (devices) */
	const struct sl_metrics_hit *hits;
	size_t n_hits;
};

/* Of the host's configuration; files that could not be loaded keep the old generation. */
struct sl_metrics_config_state {
	bool known;		/* else the families are left out */
	bool ok;		/* what is on the disk is what is in force */
	__u64 reloads, failed;	/* since the start */
	double loaded_s;	/* Unix time of the last that succeeded */
};

/* Of the pods of a node. */
struct sl_metrics_pods {
	bool known;		/* else the families are left out */
	bool stale;		/* what the objects and the runtime say may be out of date */
	__u64 judged, unknown, refused, exempt, ending;	/* pods by state */
	__u64 left;		/* targets of cgroups that nobody follows any more */
	__u64 ended, drift;	/* since the start */
};

struct sl_api_numbers;

/* The client of a cluster's API server. */
struct sl_metrics_kubernetes {
	bool known;		/* else the families are left out */
	__s64 stale_since_s;	/* Unix time; 0: all is current */
	bool complete;		/* all of it was listed once */
	const struct sl_api_numbers *kinds;
	size_t n_kinds;
	const char *const *reasons; /* words for their failures */
};

struct sl_metrics_snapshot {
	const char *version;
	const struct sl_metrics_target *targets;
	size_t n_targets;
	const struct sl_sink_stats *sinks;
	size_t n_sinks;
	struct sl_metrics_config_state config;
	struct sl_metrics_pods pods;
	struct sl_metrics_kubernetes kubernetes;
	__u64 containers_announced; /* by a gate, before they started */
	__u64 containers_unannounced; /* that run, found by their cgroups */
	__u64 containers_missed; /* that run as an engine says, and are not found */
	__u64 foreign_detaches;	/* programs that somebody took off, put back */
	__u64 records;		/* handed to the sinks */
};

/*
 * The targets, from the pinned state. It remembers what rules are called, so that a
 * scrape does not copy every table again.
 */
struct sl_metrics_targets;

/* What a target is called, where its own short name will not do (a cgroup's path): owned
 * by the caller, NULL: the short name. */
typedef char *(*sl_target_naming)(void *context, const struct sl_target *target);

/* naming may be NULL. NULL: no memory. */
struct sl_metrics_targets *sl_metrics_targets_new(sl_target_naming naming, void *context);
void sl_metrics_targets_free(struct sl_metrics_targets *targets);

/* Fills targets and n_targets of the snapshot, until the next call. 0 or -errno. */
int sl_metrics_collect(struct sl_metrics_targets *targets, struct sl_state *state,
		       struct sl_metrics_snapshot *snapshot);

/* ---- text (expose.c, families.c, series.c) ---- */

#define SL_METRICS_SERIES_MAX 10000	/* of all families together, by default */

/*
 * Remembers which series there are, so that the number of them is bounded and a folded
 * counter never runs backwards: past the maximum a new series is added to the one of its
 * family whose labels are all `other`, as long as it lives.
 */
struct sl_metrics;
struct sl_metrics *sl_metrics_new(size_t max_series);	/* 0: the default; NULL: no memory */
void sl_metrics_free(struct sl_metrics *metrics);

/* The exposition (text format 0.0.4), owned by the caller; NULL: no memory. */
char *sl_metrics_text(struct sl_metrics *metrics, const struct sl_metrics_snapshot *snapshot,
		      size_t *len);

/* kubernetes.c */
struct sl_series;
void sl_metrics_put_kubernetes(struct sl_series *s, FILE *out,
			       const struct sl_metrics_kubernetes *k);

/* ---- the server ---- */

struct sl_metrics_listen {
	char *path;		/* a unix socket; owned; or NULL and: */
	char *host;		/* a numeric address; owned */
	unsigned port;
	mode_t mode;		/* of the socket; 0660 */
	char *certificate, *key;	/* PEM files, for TLS; owned */
	char *users;		/* a file of `name:hash` lines (crypt(5)), for basic auth */
	bool insecure;		/* beyond loopback without TLS and users all the same */
};

/*
 * ADDRESS[:PORT] (default port 9477, `loopback` is 127.0.0.1) or unix:PATH, then
 * [,cert=FILE,key=FILE][,users=FILE][,mode=0660][,insecure=yes]. An address beyond
 * loopback is refused without TLS and users. 0, -EINVAL or -ENOMEM with the reason in diag.
 */
int sl_metrics_parse(const char *spec, const struct sl_pos *pos, struct sl_metrics_listen *out,
		     struct sl_diag *diag);
/* The text above, or `{listen: ADDRESS, cert: , key: , users: , mode: , insecure: }`. */
int sl_metrics_parse_yaml(struct sl_yaml *yaml, struct sl_metrics_listen *out,
			  struct sl_diag *diag);
void sl_metrics_listen_free(struct sl_metrics_listen *listen);

/*
 * Listens, and forks the child that serves: as nobody if the caller is root, without
 * capabilities, and with no descriptor but its sockets. Before there are threads, and
 * before the state is opened: maps of the kernel's that are mapped into the caller's
 * memory would be in the child's too. 0, or -errno with the reason in diag.
 */
struct sl_metrics_server;
int sl_metrics_serve(const struct sl_metrics_listen *listen, struct sl_metrics_server **out,
		     struct sl_diag *diag);

/* To poll for POLLIN: the child wants a text (at most once a second), or is gone; -1 then. */
int sl_metrics_fd(const struct sl_metrics_server *server);

/* 1: send a text with sl_metrics_answer; 0: nothing; -EPIPE: the child is gone, and so is
 * its descriptor (a server that crashes is started again by the child itself). Never
 * waits. */
int sl_metrics_wanted(struct sl_metrics_server *server);
/* text is not kept. 0 or -errno. Never waits. */
int sl_metrics_answer(struct sl_metrics_server *server, const char *text, size_t len);

/* The child's id, for whoever reaps children by himself. */
pid_t sl_metrics_pid(const struct sl_metrics_server *server);

/* Ends the child and waits for it; takes the socket's file away. NULL is fine. */
void sl_metrics_end(struct sl_metrics_server *server);

#endif
