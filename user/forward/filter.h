/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which system calls the forwarder's process may make from here on: those that it serves
 * with. Everything else is EPERM: no file is opened, no program started, no process touched;
 * sockets are of IPv4 and IPv6, and of bpf(2) the test-run alone is left.
 */
#ifndef SLUICE_FORWARD_FILTER_H
#define SLUICE_FORWARD_FILTER_H

/* Sets no_new_privs. 0 or -errno; a failure must end the process. */
int sl_forward_filter(void);

#endif
