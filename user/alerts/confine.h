/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What `sluice alerts` gives up before it reads the first record: every capability, new ones
 * by exec, and the system calls that it never makes. It reads what hostile workloads chose;
 * whoever takes it over gets a process that may open files as its user and make connections.
 */
#ifndef SLUICE_ALERTS_CONFINE_H
#define SLUICE_ALERTS_CONFINE_H

#include <stdbool.h>

/* may_exec: there is an exec sink. Fails closed: 0, or -errno and the process must end. */
int sl_alerts_confine(bool may_exec);

#endif
