/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
 */
#ifndef SLUICE_MOUNTINFO_H
#define SLUICE_MOUNTINFO_H

#include <stdbool.h>

/* The strings point into the parsed line and live as long as it. */
struct sl_mount {
	int id;
	const char *root;  /* the directory of the file system that is mounted */
	const char *point; /* where, as this process sees it */
	const char *type;  /* "cgroup2", "cgroup", "bpf", ... */
	bool readonly;	   /* the mount or its file system */
};

/* Parses in place: cuts the line into words and resolves the octal escapes.
 * 0, or -EINVAL with *out untouched; the line is spoiled either way. */
int sl_mountinfo_line(char *line, struct sl_mount *out);

#endif
