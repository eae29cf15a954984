/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A byte with descriptors over a unix socket (SCM_RIGHTS, unix(7)): how sluiced asks its keeper
 * and its lookout. */
#ifndef SLUICE_FORWARD_PASS_H
#define SLUICE_FORWARD_PASS_H

#include <stddef.h>

#define SL_PASS_MAX 8

/* Never waits. fds stay the caller's; n <= SL_PASS_MAX. 0 or -errno. */
int sl_pass(int to, char byte, const int *fds, size_t n);

/* Waits. The n descriptors are the caller's, close-on-exec. -ECONNRESET: nobody is left who
 * would send, or it was something else. */
int sl_pass_receive(int from, char *byte, int *fds, size_t n);

#endif
