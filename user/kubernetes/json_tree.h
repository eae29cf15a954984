/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A JSON value as a tree, without what nobody reads. */
#ifndef SLUICE_KUBERNETES_JSON_TREE_H
#define SLUICE_KUBERNETES_JSON_TREE_H

#include <jansson.h>

#include "node.h"

struct sl_json_tree {
	struct sl_node *nodes;	/* owned */
	size_t n, nodes_max;
	/* Owned: every node's kind and text in order, so two trees say the same if their pools
	 * are the same bytes. The nodes' texts stand in it. */
	char *pool;
	size_t len, pool_max;
};

struct sl_json_tree_options {
	/* Paths as "metadata.labels" (lists have no part of their own); with each goes what is
	 * below it. Ends in NULL. */
	const char *const *keep;
	/* Stands in each node's position for a file: "Pod shop/cart"; with paths as
	 * "EgressPolicy shop/pay spec.rules[2].allow", and then with line 1 and column 0, since
	 * readers of policies take line 0 for what is not there. */
	const char *name;
	bool paths;
};

/*
 * 0; -EINVAL: nested deeper than 64; -ENOMEM. *tree, zeroed before its first use, keeps its
 * memory for the next one: of ten thousand objects that are read in turn each would else leave
 * a hole in the heap that nothing fits.
 */
int sl_json_tree_make(const json_t *value, const struct sl_json_tree_options *options,
		      struct sl_json_tree *tree);

/* A copy of the pool, of its size, owned by the caller; the nodes' texts stand in it from here
 * on. 0 or -ENOMEM. */
int sl_json_tree_keep(struct sl_json_tree *tree, char **pool);

void sl_json_tree_free(struct sl_json_tree *tree);

#endif
