/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who the command runs as, and the loss of every privilege on the way there.
 *
 * 0 or -errno; outputs untouched on failure. Where a diag is taken (never NULL)
 * each failure has added one error.
 */
#ifndef SLUICE_IDENTITY_H
#define SLUICE_IDENTITY_H

#include <linux/capability.h>
#include <stdbool.h>
#include <sys/types.h>

#include "policy/diag.h"

enum sl_identity_source {
	SL_IDENTITY_CALLER, /* the real uid, gid and groups of this process */
	SL_IDENTITY_SUDO,   /* SUDO_UID, SUDO_GID */
	SL_IDENTITY_USER,   /* --user */
};

/* Free with sl_identity_free. */
struct sl_identity {
	enum sl_identity_source source;
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary, owned */
	size_t n_groups;
	/* For HOME, USER and LOGNAME; NULL for SL_IDENTITY_CALLER, whose
	 * environment stays as it is. Owned. */
	char *name, *home;
};

/*
 * user is --user's text or NULL:
 *   NAME | UID           the user's own group and supplementary groups
 *   NAME:GROUP, UID:GROUP   exactly this group (name or number), no others
 * A UID without a passwd entry needs its GROUP. Without user: SUDO_UID and
 * SUDO_GID if the caller is root by real and effective uid (anybody can set
 * those variables; only root's are sudo's) and keep_privileges is false; else
 * the caller. A SUDO_UID that is not a number is an error, never root.
 */
int sl_identity_resolve(const char *user, bool keep_privileges, struct sl_identity *out,
			struct sl_diag *diag);
void sl_identity_free(struct sl_identity *id);

/* Has this process what `sluice run` needs to attach and to drop? Otherwise
 * -EPERM and an error that names the missing capabilities. */
int sl_identity_check_caller(struct sl_diag *diag);

/*
 * The steps of the drop, in the order they are called in the child. Each may
 * run only in a process that ends if it fails.
 */
/*
 * Empties the capability bounding set but for these bits (1ULL << CAP_*).
 * None is kept. Its price: a file with an effective capability cannot be
 * executed at all (EPERM), Debian's ping (cap_net_raw=ep) among them. With
 * 1ULL << CAP_NET_RAW here ping starts and, by no_new_privs, still gets nothing.
 */
#define SL_BOUNDING_KEPT (1ULL << CAP_NET_RAW)
int sl_identity_drop_bounding(void);
/* Supplementary groups, gids, uids (real, effective, saved). */
int sl_identity_switch(const struct sl_identity *id);
/* Effective, permitted, inheritable and ambient sets empty; no_new_privs. */
int sl_identity_drop_capabilities(void);
/* Reads everything back from the kernel. -EPERM: something did not hold. */
int sl_identity_verify(const struct sl_identity *id);
/* HOME, USER, LOGNAME. */
int sl_identity_set_env(const struct sl_identity *id);

#endif
