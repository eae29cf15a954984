/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The loads of `make bench` take turns: each is measured for a slice at a word of its caller.
 */
#ifndef SLUICE_TEST_TURNS_H
#define SLUICE_TEST_TURNS_H

#include <stdio.h>
#include <string.h>
#include <time.h>

static inline double now(void)	/* s */
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline unsigned long cpu_ns(void)	/* of this process */
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (unsigned long)ts.tv_sec * 1000000000ul + (unsigned long)ts.tv_nsec;
}

/* One slice: sends until `end`, and at least once; how many is returned. */
typedef unsigned long (*load)(const void *what, double end);

/* Prints how many, and the ns of CPU they took. */
static inline void slice(load run, const void *what, double seconds)
{
	unsigned long cpu = cpu_ns(), done = run(what, now() + seconds);

	printf("%lu %lu\n", done, cpu_ns() - cpu);
	fflush(stdout);
}

/* Says "ready", then a slice for each line of stdin, until its end. prepare: gets the line's word
 * before the slice; may be NULL. */
static inline void turns(load run, const void *what, double seconds,
			 void (*prepare)(const char *word))
{
	char line[64];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (prepare)
			prepare(line);
		slice(run, what, seconds);
	}
}

#endif
