/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Labels, and the selectors that choose objects by them. */
#ifndef SLUICE_KUBERNETES_SELECTOR_H
#define SLUICE_KUBERNETES_SELECTOR_H

#include "node.h"

struct sl_label {
	const char *key, *value;	/* borrowed of the tree */
};

/* In order of the keys, each there once. */
struct sl_labels {
	struct sl_label *list;		/* owned */
	size_t n;
};

enum sl_operator { SL_OP_IN, SL_OP_NOT_IN, SL_OP_EXISTS, SL_OP_DOES_NOT_EXIST };

struct sl_requirement {
	enum sl_operator op;
	const char *key;		/* borrowed of the tree */
	const char **values;		/* owned, in order; the texts are borrowed */
	size_t n_values;
};

/* All must hold; without any it selects everything. */
struct sl_selector {
	struct sl_requirement *list;	/* owned */
	size_t n;
};

/* map NULL: no labels. 0, -EINVAL with errors in diag, -ENOMEM; to be freed in any case. */
int sl_labels_read(const struct sl_node *map, struct sl_labels *labels, struct sl_diag *diag);
/* Adds one unless the key is there. 0 or -ENOMEM. */
int sl_labels_default(struct sl_labels *labels, const char *key, const char *value);
const char *sl_labels_get(const struct sl_labels *labels, const char *key);
void sl_labels_free(struct sl_labels *labels);

/* A LabelSelector of meta/v1: matchLabels and matchExpressions. As sl_labels_read. */
int sl_selector_read(const struct sl_node *map, struct sl_selector *selector,
		     struct sl_diag *diag);
bool sl_selector_matches(const struct sl_selector *selector, const struct sl_labels *labels);
void sl_selector_free(struct sl_selector *selector);

#endif
