/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a process without privileges to the command that it becomes: `sluice run` through
 * sluiced, itself or by way of sluice-mounts (user/programs/mounts.c).
 */
#ifndef SLUICE_PRIVATE_H
#define SLUICE_PRIVATE_H

#include <limits.h>

/* What the file of sluice-mounts has: to mount, and to find the mounts of others. */
#define SL_MOUNTS_CAPABILITIES "cap_sys_admin,cap_dac_read_search=ep"
/* Before the name of each variable of its environment: the loader takes some away from a
 * program with capabilities (LD_LIBRARY_PATH, TMPDIR), which are the command's to have. */
#define SL_MOUNTS_SIGN '~'

/* Where sluice-mounts is: beside this program, or in ../libexec. 0, or -ENOENT. */
int sl_private_find_mounts(char path[PATH_MAX]);

/* What to do about a command whose exec failed with error; "" or a text to put behind it. */
const char *sl_exec_hint(int error, const char *command);

/* All that takes no privilege (no_new_privs, Landlock's scope, the system call filter), and
 * exec. Returns an exit status, having said why, if it cannot. */
int sl_private_become(char *const *argv);

/* The same by way of sluice-mounts. */
int sl_private_become_with_mounts(char *const *argv);

#endif
