// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Room for a large policy, or set file. Its parts are hundreds of thousands of small allocations, and
 * to touch each of their pages for the first time was a third of the work: in huge pages, where the kernel
 * has them for the asking (/sys/kernel/mm/transparent_hugepage/enabled), it is next to nothing.
 */
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"

#define LARGE (1u << 20)	   /* bytes of text */
#define TIMES 32		   /* memory for a byte of it, as 100,000 rules need */
#define ROOM_MAX (128ul << 20) /* more of them at once cost what they spare, where memory is in pieces */
#define HUGE_PAGE (2ul << 20)
#define TRIGGER (512u << 10)	   /* of the C library's own threshold for mmap one half */
#define MMAP_THRESHOLD (32 << 20)  /* the largest that the C library takes */
#define TOP_PAD (128 << 10)	   /* its default */

void sl_heap_expect(size_t text_bytes)
{
	size_t room = text_bytes < ROOM_MAX / TIMES ? text_bytes * TIMES : ROOM_MAX;
	uintptr_t at;
	void *first;

	if (text_bytes < LARGE)
		return;
	/* what grows stays on the heap; the heap grows once, by address space alone */
	mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_TOP_PAD, (int)(room < ROOM_MAX ? room : ROOM_MAX - 1));
	first = malloc(TRIGGER);
	mallopt(M_TOP_PAD, TOP_PAD);
	at = ((uintptr_t)first + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	if (first)
		madvise((void *)at, room & ~(HUGE_PAGE - 1), MADV_HUGEPAGE); /* or it is as it was */
	free(first);
}
