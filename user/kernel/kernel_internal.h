/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Private to the kernel stage: one command's programs (kernel_load.c, kernel.c). */
#ifndef SLUICE_KERNEL_INTERNAL_H
#define SLUICE_KERNEL_INTERNAL_H

#include <bpf/libbpf.h>

#include "kernel.h"
#include "parts.h"

#define SL_KERNEL_SLOT 0
#define SL_KERNEL_TABLES 2	/* places in sl_tables: the one in force, the next */

struct named;
struct sluice;
struct stamp;

struct sl_kernel {
	struct sluice *plain;	/* one of these two: without names, with them */
	struct named *named;
	struct bpf_object *object; /* its object, borrowed: the maps */
	struct sl_parts parts;	/* the programs */
	struct stamp *stamp;	/* NULL: no uid rules */
	int tables_fd, flows_fd, names_fd, known_fd, learned_fd; /* outer maps; owned, -1 */
	__u64 *word;		/* sl_words[SLOT], mapped */
	__u32 lacks;		/* SL_LACKS_: what the programs are without */
	bool only;		/* its table stays */
	int walker;		/* owned; -errno: not loaded (yet) */
	__u64 looked_ns;	/* monotonic time of the last look for flows that are over */
	struct ring_buffer *ring;
	sl_event_handler handler;
	void *context;
};

struct bpf_map *sl_kernel_map(const struct sl_kernel *kernel, const char *name);

/* The target's programs and maps, borrowed; NULL: loaded for a policy without names. */
const struct named *sl_kernel_named(const struct sl_kernel *kernel);

#endif
