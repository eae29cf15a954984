/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The values of a YAML or JSON text as a tree: its events in a row, each with its length. */
#ifndef SLUICE_KUBERNETES_NODE_H
#define SLUICE_KUBERNETES_NODE_H

#include "policy/yaml.h"

/*
 * A value is the `span` nodes from here: a scalar alone; a list with its elements and
 * its end; a mapping with key and value in turn and its end.
 */
struct sl_node {
	struct sl_yaml_event event;	/* scalar: owned by the tree, ends in NUL */
	size_t span;
};

struct sl_tree {
	struct sl_node *nodes;		/* owned */
	size_t n;
};

/*
 * Reads every document of text. What the API server notes about who set which field
 * (managedFields) is left out: it is the larger half of most objects. A key that stands
 * twice is an error. 0, -EINVAL with
 * errors in diag, -ENOMEM; *tree is to be freed in any case. file outlives the tree.
 */
int sl_tree_read(const char *text, size_t len, const char *file, struct sl_tree *tree,
		 struct sl_diag *diag);
void sl_tree_free(struct sl_tree *tree);

/* What follows a value: its next sibling, or the end of what it is in. */
static inline const struct sl_node *sl_node_next(const struct sl_node *node)
{
	return node + node->span;
}

static inline bool sl_node_is_end(const struct sl_node *node)
{
	return node->event.type == SL_YAML_MAP_END || node->event.type == SL_YAML_LIST_END;
}

/* The first node in a list or mapping; NULL if that is NULL, or empty. */
static inline const struct sl_node *sl_node_first(const struct sl_node *node)
{
	return node && node->span > 2 ? node + 1 : NULL;
}

/* Each element of a list (NULL: none), or each key of a mapping. */
#define sl_node_each(item, list)                                                          \
	for (const struct sl_node *item = sl_node_first(list);                            \
	     item && !sl_node_is_end(item); item = sl_node_next(item))
#define sl_node_each_key(key, map)                                                        \
	for (const struct sl_node *key = sl_node_first(map); key && !sl_node_is_end(key); \
	     key = sl_node_next(key + 1))

bool sl_node_is(const struct sl_node *node, const char *word);
bool sl_node_is_null(const struct sl_node *node);

/* The value of a key of a mapping; NULL if map is none, or the value null. */
const struct sl_node *sl_node_get(const struct sl_node *map, const char *key);

/*
 * The value of a key, or NULL if it is not there. If it is another kind of value that is
 * an error in diag, and NULL too. A text is one to a reader of YAML and to Kubernetes: `5`
 * and `true` are none without quotes.
 */
const struct sl_node *sl_node_map(const struct sl_node *map, const char *key,
				  struct sl_diag *diag);
const struct sl_node *sl_node_list(const struct sl_node *map, const char *key,
				   struct sl_diag *diag);
const char *sl_node_text(const struct sl_node *map, const char *key, struct sl_diag *diag);
/* false if absent or wrong. */
bool sl_node_bool(const struct sl_node *map, const char *key, struct sl_diag *diag);

/* The text of a scalar; NULL with an error that names what it should be. */
const char *sl_node_string(const struct sl_node *node, const char *what, struct sl_diag *diag);
bool sl_node_is_string(const struct sl_node *node);

/* An error about a value that is not what it should be; returns -EINVAL. */
int sl_node_wrong(const struct sl_node *node, const char *what, struct sl_diag *diag);

/* Every key must be one of the words (NULL-terminated). 0 or -EINVAL. */
int sl_node_check_keys(const struct sl_node *map, const char *const *words,
		       struct sl_diag *diag);

#endif
