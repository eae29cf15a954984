/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Private to doctor*.c: one feature, how it is tried, what came out. */
#ifndef SLUICE_DOCTOR_H
#define SLUICE_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "target/cgroup.h"
#include "target/identity.h"

enum sl_health {
	SL_OK,
	SL_DEGRADED, /* works, with what `without` says */
	SL_MISSING,
	SL_UNKNOWN, /* refused for lack of a privilege: the kernel may have it */
};

struct sl_finding {
	enum sl_health health;
	int error; /* errno value, positive; 0 = none */
	char detail[200];
};

/* What the tries share, in the order of the table. */
struct sl_doctor {
	bool privileged; /* every capability of the table is there */
	struct sl_cgroup2 cgroup2;
	bool has_cgroup2;
	struct sl_cgroup scratch;
	int cgroup_fd;		     /* the scratch cgroup's, -1 without one */
	struct sl_identity identity; /* whom `run` would run the command as */
	bool has_identity;
};

struct sl_feature {
	const char *name;
	bool required; /* `sluice run` cannot work without it */
	const char *needed_for, *without, *hint;
	/* 0: there (finding->health may say degraded); -errno: missing. */
	int (*try)(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
	int type, value; /* the try's own: program type, attach type, capability */
};

extern const struct sl_feature sl_features[];
extern const size_t sl_n_features;

/* doctor_host.c */
int sl_try_capability(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_kernel(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_btf(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_jit(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_cgroup2(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_scratch(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_cgroup_kill(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_bpffs(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_lsm(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_lsm_cgroup(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_mounts(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_seccomp(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_scope(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_ping(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_yama(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_clock(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_lookups(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_resolver(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_userns(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);

/* doctor_engines.c */
int sl_try_engines(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);

/* doctor_runs.c */
int sl_try_moves(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);
int sl_try_run_names(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out);

#endif
