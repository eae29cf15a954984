// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "selector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"

/* ---- labels ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct sl_label *)a)->key, ((const struct sl_label *)b)->key);
}

int sl_labels_read(const struct sl_node *map, struct sl_labels *labels, struct sl_diag *diag)
{
	int err = 0;

	memset(labels, 0, sizeof(*labels));
	sl_node_each_key(key, map) {
		const char *value = sl_node_string(key + 1, "a label", diag);
		struct sl_label *label;

		if (!value) {
			err = -EINVAL;
			continue;
		}
		label = SL_ADD(labels->list, labels->n);
		if (!label)
			return -ENOMEM;
		*label = (struct sl_label){key->event.scalar, value};
	}
	if (labels->n)
		qsort(labels->list, labels->n, sizeof(*labels->list), compare);
	return err;
}

const char *sl_labels_get(const struct sl_labels *labels, const char *key)
{
	struct sl_label wanted = {.key = key}, *found = NULL;

	if (labels->n)
		found = bsearch(&wanted, labels->list, labels->n, sizeof(wanted), compare);
	return found ? found->value : NULL;
}

int sl_labels_default(struct sl_labels *labels, const char *key, const char *value)
{
	struct sl_label *label;

	if (sl_labels_get(labels, key))
		return 0;
	label = SL_ADD(labels->list, labels->n);
	if (!label)
		return -ENOMEM;
	*label = (struct sl_label){key, value};
	qsort(labels->list, labels->n, sizeof(*labels->list), compare);
	return 0;
}

void sl_labels_free(struct sl_labels *labels)
{
	free(labels->list);
	memset(labels, 0, sizeof(*labels));
}

/* ---- selectors ---- */

static struct sl_requirement *add(struct sl_selector *selector, enum sl_operator op,
				  const char *key)
{
	struct sl_requirement *r = SL_ADD(selector->list, selector->n);

	if (r) {
		r->op = op;
		r->key = key;
	}
	return r;
}

static int add_value(struct sl_requirement *r, const char *value)
{
	const char **slot = SL_ADD(r->values, r->n_values);

	if (!slot)
		return -ENOMEM;
	*slot = value;
	return 0;
}

static int read_match_labels(const struct sl_node *map, struct sl_selector *selector,
			     struct sl_diag *diag)
{
	struct sl_labels labels;
	int err = sl_labels_read(map, &labels, diag);

	for (size_t i = 0; i < labels.n && !err; i++) {
		struct sl_requirement *r = add(selector, SL_OP_IN, labels.list[i].key);

		err = r ? add_value(r, labels.list[i].value) : -ENOMEM;
	}
	sl_labels_free(&labels);
	return err;
}

static int compare_values(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int read_values(const struct sl_node *list, struct sl_requirement *r,
		       struct sl_diag *diag)
{
	int err = 0;

	sl_node_each(item, list) {
		const char *value = sl_node_string(item, "a value", diag);

		err = value ? add_value(r, value) : -EINVAL;
		if (err)
			return err;
	}
	if (r->n_values)
		qsort(r->values, r->n_values, sizeof(*r->values), compare_values);
	return err;
}

static int read_expression(const struct sl_node *map, struct sl_selector *selector,
			   struct sl_diag *diag)
{
	static const char *const keys[] = {"key", "operator", "values", NULL};
	static const char *const words[] = {"In", "NotIn", "Exists", "DoesNotExist"};
	const struct sl_node *op, *values;
	struct sl_requirement *r;
	const char *key;
	unsigned i = 0;

	if (map->event.type != SL_YAML_MAP)
		return sl_node_wrong(map, "{key, operator, values} is wanted", diag);
	if (sl_node_check_keys(map, keys, diag))
		return -EINVAL;
	key = sl_node_text(map, "key", diag);
	op = sl_node_get(map, "operator");
	values = sl_node_list(map, "values", diag);
	while (i < 4 && !sl_node_is(op, words[i]))
		i++;
	if (!key || i == 4)
		return sl_node_wrong(op ? op : map, !key ? "a \"key\" is wanted" :
				     "operator: In, NotIn, Exists or DoesNotExist is wanted", diag);
	if ((i < 2) != (values && values->span > 2))
		return sl_error(diag, &map->event.pos, "operator %s %s values", words[i],
				i < 2 ? "wants" : "takes no");
	r = add(selector, (enum sl_operator)i, key);
	return r ? read_values(values, r, diag) : -ENOMEM;
}

int sl_selector_read(const struct sl_node *map, struct sl_selector *selector,
		     struct sl_diag *diag)
{
	static const char *const keys[] = {"matchLabels", "matchExpressions", NULL};
	size_t errors = diag->n_errors;
	int err;

	memset(selector, 0, sizeof(*selector));
	if (map && map->event.type != SL_YAML_MAP)
		return sl_node_wrong(map, "a selector {matchLabels, matchExpressions} is wanted",
				     diag);
	if (map && sl_node_check_keys(map, keys, diag))
		return -EINVAL;
	err = read_match_labels(sl_node_map(map, "matchLabels", diag), selector, diag);
	sl_node_each(item, sl_node_list(map, "matchExpressions", diag))
		if (!err)
			err = read_expression(item, selector, diag);
	return err ? err : diag->n_errors > errors ? -EINVAL : 0;
}

static bool among(const struct sl_requirement *r, const char *value)
{
	return bsearch(&value, r->values, r->n_values, sizeof(*r->values), compare_values);
}

static bool holds(const struct sl_requirement *r, const struct sl_labels *labels)
{
	const char *value = sl_labels_get(labels, r->key);

	switch (r->op) {
	case SL_OP_IN:
		return value && among(r, value);
	case SL_OP_NOT_IN:
		return !value || !among(r, value);
	case SL_OP_EXISTS:
		return value;
	default:
		return !value;
	}
}

bool sl_selector_matches(const struct sl_selector *selector, const struct sl_labels *labels)
{
	for (size_t i = 0; i < selector->n; i++)
		if (!holds(&selector->list[i], labels))
			return false;
	return true;
}

void sl_selector_free(struct sl_selector *selector)
{
	for (size_t i = 0; i < selector->n; i++)
		free(selector->list[i].values);
	free(selector->list);
	memset(selector, 0, sizeof(*selector));
}
