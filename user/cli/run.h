/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* `sluice run`: what was asked (run.c), one run (session.c), its report (report.c); the same
 * through sluiced (run_daemon.c). */
#ifndef SLUICE_RUN_H
#define SLUICE_RUN_H

#include <stdio.h>

#include "audit/aggregate.h"
#include "audit/record.h"
#include "audit/summary.h"
#include "cli.h"
#include "forward/forward.h"
#include "kernel/kernel.h"
#include "target/abort.h"
#include "target/cgroup.h"
#include "target/confine.h"
#include "target/identity.h"
#include "target/spawn.h"

/* Exit status when sluice itself fails; 126 and 127 are the shell's. */
#define SL_EXIT_RUN 125

struct sl_run_options {
	const char *policy;	/* path; NULL: nothing but loopback */
	const char *log;
	const char *user;
	bool audit, verbose, quiet, wait, leave, keep_privileges, trust_clock;
	char **command;
};

/* Where records go, and what the report is made of. */
struct sl_report {
	const struct sl_run_options *options;
	struct sl_audit_names names;
	struct sl_aggregate *aggregate;
	struct sl_summary *summary;
	FILE *log;
	struct sl_abort abort;	/* connections that were denied their data */
	__u64 cgroup_id;	/* the command's */
	__u64 sequence;		/* of the next record */
	__u64 received;		/* events from the kernel */
	bool log_failed, default_allows;
};

int sl_report_open(struct sl_report *report, const struct sl_run_options *options,
		   const struct sl_policy *policy, const struct sl_compiled *compiled,
		   const struct sl_cgroup *target);
/* Drains the kernel's events into the report. */
void sl_report_drain(struct sl_report *report, struct sl_kernel *kernel);
/* The last drain, and on stderr what was blocked. */
void sl_report_end(struct sl_report *report, struct sl_kernel *kernel);
void sl_report_close(struct sl_report *report);

/* One run, from policy to exit status; does not return if the command ended. */
int sl_session(const struct sl_run_options *options);

/* Is it for sluiced: a policy by its name, asked for by one who is not root? */
bool sl_run_is_by_daemon(const struct sl_run_options *options);
/* Becomes the command; returns an exit status if it cannot. */
int sl_run_by_daemon(const struct sl_run_options *options);

#endif
