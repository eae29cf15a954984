/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The bound on a gate: when the time is over it says what was prepared, and ends. */
#ifndef SLUICE_GATE_LATE_H
#define SLUICE_GATE_LATE_H

#include <stddef.h>

/* What the end is then. All strings live as long as the bound does. */
struct sl_gate_late {
	const char *who;  /* the program, to syslog */
	const char *log;  /* what syslog is told: a warning where status is 0, else an error */
	const char *said; /* written to fd; NULL: nothing is */
	size_t said_len;
	int fd, status;
};

/* From now on, so many seconds; another bound takes the place of this one. */
void sl_gate_bound(unsigned seconds, const struct sl_gate_late *late);
/* The answer is there: what follows is not cut off. */
void sl_gate_in_time(void);

#endif
