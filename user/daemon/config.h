/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sluiced's configuration: which target gets which policy (docs/sluiced.md). It is read as
 * a whole, with every policy that it names: one that is wrong anywhere changes nothing.
 *
 *   config_keys.c  the keys, as docs/sluiced.md lists them
 *   config_read.c  the text: its top; config_targets.c, config_run.c: what stands below; config_kubernetes.c:
 *                  `kubernetes:`
 *   config.c       the file, and its policies
 */
#ifndef SLUICE_DAEMON_CONFIG_H
#define SLUICE_DAEMON_CONFIG_H

#include <jansson.h>

#include "devices.h"
#include "metrics/metrics.h"
#include "policy/keys.h"

#define SL_CONFIG_PATH "/etc/sluice/sluiced.yaml"
#define SL_CONFIG_GROUP "sluice"
#define SL_CONFIG_RUNS "/sluice-runs"
#define SL_CONFIG_RUN_LIMIT 16
#define SL_CONFIG_SOCKETS_MAX 8
#define SL_CONFIG_RUN_LIMIT_MAX 256
#define SL_CONFIG_METER_S 60

enum sl_config_kind {
	SL_CONFIG_DEVICE,    /* patterns of names */
	SL_CONFIG_CGROUP,    /* paths in the hierarchy, as globs: /system.slice/a*.service */
	SL_CONFIG_UNIT,	     /* of systemd, as globs: agent@*.service */
	SL_CONFIG_PARENT,    /* of `defaults`: one path */
	SL_CONFIG_CONTAINER, /* of names, labels, or both */
};

enum sl_config_mode { SL_CONFIG_AS_POLICY, SL_CONFIG_ENFORCE, SL_CONFIG_AUDIT };

struct sl_config_target {
	enum sl_config_kind kind;
	char **patterns; /* owned, each owned */
	size_t n_patterns;
	char **labels; /* KEY=PATTERN, all of them to hold; owned, each owned */
	size_t n_labels;
	char *policy;  /* its name; owned */
	char **choice; /* policies that a container may choose instead; owned, each owned */
	size_t n_choice;
	enum sl_config_mode mode;
	bool veth; /* of containers: the host's ends of theirs are judged too */
	struct sl_binding_spec binding;
	const char *hosts; /* its hosts file; borrowed; NULL: not known */
	unsigned line;
	struct sl_pos policy_pos; /* for errors while it is read */
};

/* What the group may run under. */
struct sl_config_run {
	char **policies; /* owned, each owned */
	size_t n_policies;
	unsigned limit; /* of one user at once */
	char *cgroup;	/* that holds the runs' own; owned */
	struct sl_pos pos;
};

/* Where the API server is (docs/kubernetes.md). */
struct sl_config_api {
	bool present;
	char *server, *ca, *token; /* owned; NULL: of the cluster that sluiced runs in */
	char *name;		   /* of this node; owned; NULL: NODE_NAME, else the host's */
	bool no_status;		   /* EgressPolicies are not told */
};

/* Pods of a node (docs/kubernetes.md). */
struct sl_config_kubernetes {
	bool present;
	struct sl_config_api api;
	char *cri;	 /* path of the runtime's socket; owned; NULL: the usual one */
	char *directory; /* of objects; owned */
	char *policy;	 /* of what is not known yet; owned; NULL: nothing passes */
	char **cgroups;	 /* paths that pods stand below; owned, each owned; none: the usual ones */
	size_t n_cgroups;
	char **exempt; /* patterns of namespaces; owned, each owned */
	size_t n_exempt;
	char **annotations; /* the same, whose pods may say their policy; owned, each owned */
	size_t n_annotations;
	bool no_veth; /* only the sockets of pods' cgroups are judged */
	char **node; /* addresses of this node; owned, each owned */
	size_t n_node;
	char **resolvers; /* addresses of the cluster's; owned, each owned */
	size_t n_resolvers;
	char **domains; /* the cluster's, then those of its nodes; owned, each owned */
	size_t n_domains;
	struct sl_pos pos;
};

enum { SL_CONF_R_DOCKER, SL_CONF_R_PODMAN, SL_CONF_R_CONTAINERD, SL_CONF_R_N, SL_CONF_R_SOCKETS = SL_CONF_R_N };

struct sl_config {
	char *path;	  /* of the file; owned */
	bool trust_clock; /* dates hold although the clock may be wrong */
	char *policies;	  /* directory; owned */
	char *group;	  /* who may use the socket: a name or a number; owned */
	struct sl_config_run run;
	struct sl_target_group **runs; /* of run.policies, in order; owned, a reference each */
	size_t n_runs;
	struct sl_sink_config *sinks; /* owned, each owned */
	size_t n_sinks;
	struct sl_config_kubernetes kubernetes;
	char *runtimes[SL_CONF_R_N]; /* their directories; owned, NULL: the usual one */
	bool has_sockets;
	char **sockets; /* of engines; owned, each owned */
	size_t n_sockets;
	const json_t *memory; /* while it is loaded; borrowed */
	bool no_expedite;     /* grace periods take what they take */
	const bool *stop;     /* as memory */
	__s64 meter_s; /* between two `meter` records */
	bool has_metrics;
	struct sl_metrics_listen metrics;
	struct sl_config_target *targets; /* owned; defaults too */
	size_t n_targets;
	struct sl_target_group **groups; /* of the devices, in order; owned, a reference each */
	size_t n_groups;
	struct sl_target_group **cgroups; /* the same of the cgroups */
	size_t n_cgroups;
};

/*
 * Reads the file and the policies that it names. Durations go on from where memory says that
 * they began (begins.h), for a target with the same patterns; NULL: they begin now. What is given is
 * borrowed, and nothing else of the process is looked at: it may be loaded in a thread.
 * *stop (may be NULL) turns true, in another thread: -ECANCELED, before the next policy.
 * 0, or -errno with the reasons in diag, each with file, line and column; *out untouched.
 * policies (may be NULL): where the policies are, owned by the caller; replaced as soon as the file
 * itself could be read.
 */
int sl_config_load(const char *path, bool trust_clock, const json_t *memory, const bool *stop,
		   char **policies, struct sl_config **out, struct sl_diag *diag);
/* The text alone: no policy is read. */
int sl_config_parse(const char *text, size_t len, const char *file, struct sl_config **out,
		    struct sl_diag *diag);
void sl_config_free(struct sl_config *config);

/* The file of a policy of this configuration; owned, NULL without memory. */
char *sl_config_policy_path(const struct sl_config *config, const char *name);

/* Tables of keys; ends in NULL. */
extern const struct sl_key_table *const sl_config_tables[];

/* ---- private to the reader ---- */

enum {
	SL_CONF_SLUICED,
	SL_CONF_POLICIES,
	SL_CONF_GROUP,
	SL_CONF_RUN,
	SL_CONF_TARGETS,
	SL_CONF_DEFAULTS,
	SL_CONF_AUDIT,
	SL_CONF_METRICS,
	SL_CONF_RUNTIMES,
	SL_CONF_METER,
	SL_CONF_EXPEDITE,
	SL_CONF_KUBERNETES,
	SL_CONF_N
};
enum {
	SL_CONF_T_MATCH,
	SL_CONF_T_POLICY,
	SL_CONF_T_MODE,
	SL_CONF_T_BIND,
	SL_CONF_T_CHOICE,
	SL_CONF_T_VETH,
	SL_CONF_T_N
};
enum {
	SL_CONF_M_DEVICE,
	SL_CONF_M_CGROUP,
	SL_CONF_M_UNIT,
	SL_CONF_M_CONTAINER,
	SL_CONF_M_LABEL,
	SL_CONF_M_POD,
	SL_CONF_M_N
};
enum { SL_CONF_B_MAC, SL_CONF_B_ADDRESS, SL_CONF_B_VLAN, SL_CONF_B_N };
enum {
	SL_CONF_K_CRI,
	SL_CONF_K_DIRECTORY,
	SL_CONF_K_API,
	SL_CONF_K_CGROUP,
	SL_CONF_K_DEFAULT,
	SL_CONF_K_EXEMPT,
	SL_CONF_K_NODE,
	SL_CONF_K_ANNOTATIONS,
	SL_CONF_K_VETH,
	SL_CONF_K_RESOLVERS,
	SL_CONF_K_DOMAINS,
	SL_CONF_K_N
};
enum {
	SL_CONF_A_SERVER,
	SL_CONF_A_CA,
	SL_CONF_A_TOKEN,
	SL_CONF_A_NAME,
	SL_CONF_A_STATUS,
	SL_CONF_A_N
};
enum { SL_CONF_U_POLICIES, SL_CONF_U_LIMIT, SL_CONF_U_CGROUP, SL_CONF_U_N };
enum { SL_CONF_D_CGROUP, SL_CONF_D_POLICY, SL_CONF_D_MODE, SL_CONF_D_N };

extern const struct sl_key_table sl_config_top, sl_config_target, sl_config_match, sl_config_bind,
	sl_config_default, sl_config_run, sl_config_runtimes, sl_config_kubernetes, sl_config_api;


#endif
