// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK (16u << 10)
#define ALIGN 8			/* no policy holds anything that wants more */

/* The sanitizer shall see where each piece ends. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define LARGE 1			/* all are, and take memory of their own */
#else
#define LARGE (BLOCK / 8)
#endif

struct sl_arena_block {
	struct sl_arena_block *next;
	char memory[];
};

/* Of its own where it would leave much of a block unused: the block goes on. */
static void *take_large(struct sl_arena *arena, size_t bytes)
{
	struct sl_arena_block *block = malloc(sizeof(*block) + bytes);

	if (!block)
		return NULL;
	block->next = NULL;
	if (arena->blocks) {
		block->next = arena->blocks->next;
		arena->blocks->next = block;
	} else {
		arena->blocks = block;
	}
	return block->memory;
}

static int add_block(struct sl_arena *arena)
{
	struct sl_arena_block *block = malloc(BLOCK);

	if (!block)
		return -1;
	block->next = arena->blocks;
	arena->blocks = block;
	arena->at = block->memory;
	arena->left = BLOCK - sizeof(*block);
	return 0;
}

void *sl_arena_take(struct sl_arena *arena, size_t n, size_t size)
{
	size_t bytes;
	void *taken;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > (size_t)-1 / 2)
		return NULL;
	bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	if (bytes >= LARGE)
		return take_large(arena, bytes);
	if ((bytes > arena->left || !arena->at) && add_block(arena))
		return NULL;
	taken = arena->at;
	arena->at += bytes;
	arena->left -= bytes;
	return taken;
}

void sl_arena_free(struct sl_arena *arena)
{
	struct sl_arena_block *block = arena->blocks, *next;

	for (; block; block = next) {
		next = block->next;
		free(block);
	}
	memset(arena, 0, sizeof(*arena));
}
