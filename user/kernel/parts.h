/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Programs of one object that are verified at the same time. libbpf loads the programs of an
 * object one after another; the kernel verifies as many at once as there are threads that ask.
 * So the object itself makes the maps only, and each part is the same object again, over those
 * maps, with its share of the programs.
 */
#ifndef SLUICE_PARTS_H
#define SLUICE_PARTS_H

#include <bpf/libbpf.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

#define SL_PARTS 2	/* each costs an object opened, 2 ms */

/* What is known of an object's programs. */
struct sl_parts_kind {
	bool types;	/* the packets' programs, and no others, read structures of the kernel */
	bool silent;	/* a packet may have to be dropped silently: a program for each direction */
};

/* All borrowed, until the parts are closed. */
struct sl_parts_source {
	const void *elf;
	size_t size;
	const char *name;	/* the object's: the names of internal maps begin with it */
	struct sl_parts_kind kind;
};

struct sl_parts {
	struct sl_part {
		struct bpf_object *object;	/* owned; NULL: none */
		const struct sl_parts_source *source;
		bool last;
		const struct bpf_object *maps;	/* NULL: there will be none */
		sem_t there;			/* the maps are */
		pthread_t thread;
		bool begun;			/* it has a thread */
		int err;
	} parts[SL_PARTS];
	struct sl_parts_source source;
	bool begun;
};

/* Opens the parts, each in a thread of its own, which then waits for the maps. To be closed in
 * any case. */
void sl_parts_begin(struct sl_parts *parts, const struct sl_parts_source *source);

/*
 * Loads the maps of an object that is open, and the programs of the parts that were begun. Every
 * map must have its size, every internal one its values.
 * beside (NULL: nothing) is called meanwhile, in a thread of its own, when the maps are there.
 * -errno on failure, also of beside.
 */
int sl_parts_load(struct sl_parts *parts, struct bpf_object *maps, int (*beside)(void *context),
		  void *context);

/* Calls visit for each program that is loaded, until it returns other than 0: that. */
int sl_parts_each(const struct sl_parts *parts,
		  int (*visit)(const struct bpf_program *program, void *context), void *context);

/* Of zeroes it does nothing. */
void sl_parts_close(struct sl_parts *parts);

#endif
