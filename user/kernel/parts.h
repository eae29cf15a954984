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
#include <stdbool.h>
#include <stddef.h>

#define SL_PARTS 2	/* each costs an object opened, 2 ms */

/* What is known of an object's programs. */
struct sl_parts_kind {
	bool types;	/* the packets' programs, and no others, read structures of the kernel */
	bool silent;	/* a packet may have to be dropped silently: a program for each direction */
};

struct sl_parts {
	struct bpf_object *objects[SL_PARTS];	/* owned; NULL: none */
};

/*
 * Loads the maps of an object that is open, and its programs in parts. elf is what the object
 * was opened from (borrowed). Every map must have its size, every internal one its values.
 * kind: which programs are loaded, and which of them by whom.
 * beside (NULL: nothing) is called meanwhile, in a thread of its own, when the maps are there.
 * -errno on failure, also of beside; sl_parts_close() frees in either case.
 */
int sl_parts_load(struct sl_parts *parts, struct bpf_object *maps, const void *elf, size_t size,
		  const struct sl_parts_kind *kind, int (*beside)(void *context), void *context);

/* Calls visit for each program that is loaded, until it returns other than 0: that. */
int sl_parts_each(const struct sl_parts *parts,
		  int (*visit)(const struct bpf_program *program, void *context), void *context);

void sl_parts_close(struct sl_parts *parts);

#endif
