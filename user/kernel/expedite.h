/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel's grace periods, made short while we wait for one.
 *
 * Moving a process into a cgroup, linking a tcx program and changing a map of maps end with
 * synchronize_rcu(): 4 to 20 ms. Where /sys/kernel/rcu_expedited is not 0 the kernel asks each busy
 * CPU instead of waiting for it (Documentation/RCU/Design/Expedited-Grace-Periods): less than 1 ms.
 * The kernel's networking does so by itself (synchronize_net); for what waits here nobody can ask
 * but by this number, which is the whole machine's. So it is changed for the moment of the wait,
 * and only from 0 to SL_EXPEDITE_OURS: whoever finds that knows that it is a Sluice's, and that 0
 * stood there; any other number is the administrator's, and is left alone. Two processes at once
 * need no lock: each that has written ours writes 0 afterwards, so the last one does, and what the
 * earlier one takes away makes the other slower, nothing else.
 *
 * A process of its own, the guard, puts 0 back when this one ends in between, however it ends, or
 * stands still for SL_EXPEDITE_LIMIT_MS. If both are killed at once the next sl_expedite_open()
 * or sl_expedite_begin() of any Sluice does.
 *
 * All of this is for one thread of a process.
 */
#ifndef SLUICE_EXPEDITE_H
#define SLUICE_EXPEDITE_H

#include <stdbool.h>

#define SL_EXPEDITE_KNOB "/sys/kernel/rcu_expedited"
#define SL_EXPEDITE_NORMAL "/sys/kernel/rcu_normal" /* not 0: nothing is expedited */
#define SL_EXPEDITE_OURS 0x51ce
#define SL_EXPEDITE_LIMIT_MS 2000

/* Opens the number for writing, takes back what a Sluice that was killed has left there, and
 * forks the guard: before there are threads. 0, or -errno (-EROFS: a container, a sandbox);
 * then begin and end do nothing, and all that waits takes longer. */
int sl_expedite_open(void);
/* The guard ends. */
void sl_expedite_close(void);

/* false: begin does nothing, until true. */
void sl_expedite_allow(bool allowed);

/* They nest. Whoever waits in between does not wait long. */
void sl_expedite_begin(void);
void sl_expedite_end(void);

/* The number in a file as these are; -errno: it cannot be read. */
int sl_expedite_read(const char *path, int *value);

#endif
