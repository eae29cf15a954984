/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A policy that is given to targets as they come: its file is read once, and when it is
 * asked for again; what it means is resolved for each target.
 */
#ifndef SLUICE_DAEMON_GIVEN_H
#define SLUICE_DAEMON_GIVEN_H

#include "target/device.h"

/* When a rule with a duration first took effect. */
struct sl_begin {
	char *id; /* owned */
	__s64 since_s;
	bool used; /* by the policy that is loaded */
};

/* A policy of cgroups that means the same for each of them (sl_policy_stays): it is compiled once,
 * where it is loaded. */
struct sl_given_table {
	struct sl_policy *outline; /* name and mode, no rules; owned; NULL: compiled for each */
	struct sl_table table;	   /* its words owned; generation and marks are each one's own */
	__u64 flags;		   /* of it, without marks */
	__u64 meaning;		   /* a hash of it; never 0 */
};

/* Zero (and of_cgroup), then sl_given_load; free with sl_given_free. */
struct sl_given {
	bool of_cgroup;			 /* else of devices: there are no uids */
	struct sl_attach_options attach; /* parsed: owned here */
	char *path;			 /* owned: of the file; `-` is standard input */
	struct sl_diag names;		/* the policy's places name files that live here */
	char name[64];			 /* the policy's */
	bool has_names;			 /* DNS is judged; of a cgroup's policy alone */
	unsigned loads;			 /* how often one was loaded */
	struct sl_given_table common;
	struct sl_begin *begins;	 /* owned */
	size_t n_begins;
};

/*
 * Reads the policy of options->policy and replaces the one that is loaded, if any, with
 * the rest of the options. 0, or -errno with the reason in diag and nothing changed.
 */
int sl_given_load(struct sl_given *given, const struct sl_attach_options *options,
		  struct sl_diag *diag);
/* The same for a text that is no file. base: where its includes are looked for from, as
 * if it were a file there; NULL: the working directory. */
int sl_given_load_text(struct sl_given *given, const struct sl_attach_options *options,
		       const char *text, size_t len, const char *base, struct sl_diag *diag);
void sl_given_free(struct sl_given *given);

/* The common table as one target gets it, borrowed until the next call; given->common.outline is
 * not NULL. marks: SL_F_MANAGED or SL_F_BY_HAND. */
struct sl_table sl_given_table_for(struct sl_given *given, __u64 generation, __u64 marks);

/* What begins knows; a duration goes on from there. 0 or -ENOMEM. */
int sl_given_begin(struct sl_given *given, const char *id, __s64 since_s);

#endif
