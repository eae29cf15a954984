// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/names.h"
#include "policy/text.h"

/* ---- reading ---- */

/* The node of the current event, at the end of the tree. */
static int keep(struct sl_yaml *yaml, struct sl_tree *tree)
{
	struct sl_node *node = SL_ADD(tree->nodes, tree->n);

	if (!node)
		return -ENOMEM;
	node->event = (struct sl_yaml_event){.type = yaml->type, .pos = yaml->pos,
					     .plain = yaml->plain};
	node->span = 1;
	if (yaml->type != SL_YAML_SCALAR)
		return 0;
	node->event.scalar = strndup(yaml->scalar, yaml->scalar_len);
	node->event.scalar_len = yaml->scalar_len;
	return node->event.scalar ? 0 : -ENOMEM;
}

static int read_value(struct sl_yaml *yaml, struct sl_tree *tree);

/* A key that is the current event, and its value. keys: those before it. */
static int read_pair(struct sl_yaml *yaml, struct sl_tree *tree, struct sl_names *keys)
{
	unsigned earlier;
	int err;

	if (yaml->type != SL_YAML_SCALAR)
		return sl_error(yaml->diag, &yaml->pos, "a key that is no text");
	if (sl_text_is(yaml->scalar, yaml->scalar_len, "managedFields")) {
		sl_yaml_next(yaml);
		sl_yaml_skip(yaml);
		return yaml->error;
	}
	err = keep(yaml, tree);
	if (err)
		return err;
	err = sl_names_add(keys, tree->nodes[tree->n - 1].event.scalar, yaml->pos.line, &earlier);
	if (err > 0)	/* one reader takes the first, another the last */
		return sl_error(yaml->diag, &yaml->pos, "the key \"%.*s\" stands in line %u already",
				SL_Q(yaml->scalar, yaml->scalar_len), earlier);
	if (err)
		return err;
	sl_yaml_next(yaml);
	return read_value(yaml, tree);
}

/* From the first event of a value to its last. Its depth is bounded by the stream. */
static int read_value(struct sl_yaml *yaml, struct sl_tree *tree)
{
	enum sl_yaml_type type = yaml->type;
	struct sl_names keys = {};
	size_t at = tree->n;
	int err = yaml->error ? yaml->error : keep(yaml, tree);

	if (err || (type != SL_YAML_MAP && type != SL_YAML_LIST))
		return err;
	for (sl_yaml_next(yaml); !err && yaml->type != SL_YAML_END; sl_yaml_next(yaml)) {
		if (yaml->type == SL_YAML_MAP_END || yaml->type == SL_YAML_LIST_END)
			break;
		err = type == SL_YAML_MAP ? read_pair(yaml, tree, &keys) : read_value(yaml, tree);
	}
	sl_names_free(&keys);
	if (!err)
		err = yaml->error ? yaml->error : keep(yaml, tree);
	if (!err)
		tree->nodes[at].span = tree->n - at;
	return err;
}

int sl_tree_read(const char *text, size_t len, const char *file, struct sl_tree *tree,
		 struct sl_diag *diag)
{
	struct sl_yaml yaml;
	int err;

	memset(tree, 0, sizeof(*tree));
	sl_yaml_open_stream(&yaml, text, len, file, diag);
	err = yaml.error;
	while (!err) {
		sl_yaml_next(&yaml);
		err = yaml.error;
		if (err || yaml.type == SL_YAML_END)
			break;
		err = read_value(&yaml, tree);
	}
	sl_yaml_close(&yaml);
	return err;
}

void sl_tree_free(struct sl_tree *tree)
{
	for (size_t i = 0; i < tree->n; i++)
		free((char *)tree->nodes[i].event.scalar);
	free(tree->nodes);
	memset(tree, 0, sizeof(*tree));
}

/* ---- asking ---- */

bool sl_node_is(const struct sl_node *node, const char *word)
{
	return node && node->event.type == SL_YAML_SCALAR && !strcmp(node->event.scalar, word);
}

static bool is_one_of(const char *text, const char *const *words)
{
	while (*words && strcmp(text, *words))
		words++;
	return *words != NULL;
}

bool sl_node_is_null(const struct sl_node *node)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};

	return node->event.type == SL_YAML_SCALAR && node->event.plain &&
	       is_one_of(node->event.scalar, nulls);
}

const struct sl_node *sl_node_get(const struct sl_node *map, const char *key)
{
	if (!map || map->event.type != SL_YAML_MAP)
		return NULL;
	sl_node_each_key(k, map)
		if (sl_node_is(k, key))
			return sl_node_is_null(k + 1) ? NULL : k + 1;
	return NULL;
}

/* Kubernetes reads YAML 1.1: there yes and off are booleans too. */
bool sl_node_is_string(const struct sl_node *node)
{
	static const char *const words[] = {
		"true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No",
		"NO", "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N", ".inf", ".nan", NULL,
	};
	const char *text = node->event.scalar;
	char *end;

	if (node->event.type != SL_YAML_SCALAR || sl_node_is_null(node))
		return false;
	if (!node->event.plain)
		return true;
	if (is_one_of(text, words))
		return false;
	if (!strchr("0123456789+-.", *text))
		return true;
	strtod(text, &end);
	return *end != '\0';
}

int sl_node_wrong(const struct sl_node *node, const char *what, struct sl_diag *diag)
{
	const struct sl_yaml_event *e = &node->event;
	struct sl_yaml shown = {.type = e->type, .scalar = e->scalar, .scalar_len = e->scalar_len,
				.plain = e->plain};
	char buf[SL_QUOTE_MAX + 32];

	return sl_error(diag, &e->pos, "%s: found %s", what,
			sl_yaml_describe(&shown, buf, sizeof(buf)));
}

static const struct sl_node *get_kind(const struct sl_node *map, const char *key,
				      enum sl_yaml_type type, const char *kind,
				      struct sl_diag *diag)
{
	const struct sl_node *value = sl_node_get(map, key);
	char what[80];

	if (!value || value->event.type == type)
		return value;
	snprintf(what, sizeof(what), "%s: %s is wanted", key, kind);
	sl_node_wrong(value, what, diag);
	return NULL;
}

const struct sl_node *sl_node_map(const struct sl_node *map, const char *key,
				  struct sl_diag *diag)
{
	return get_kind(map, key, SL_YAML_MAP, "a mapping", diag);
}

const struct sl_node *sl_node_list(const struct sl_node *map, const char *key,
				   struct sl_diag *diag)
{
	return get_kind(map, key, SL_YAML_LIST, "a list", diag);
}

const char *sl_node_string(const struct sl_node *node, const char *what, struct sl_diag *diag)
{
	char want[120];

	if (sl_node_is_string(node))
		return node->event.scalar;
	snprintf(want, sizeof(want), "%s: a text is wanted%s", what,
		 node->event.type == SL_YAML_SCALAR ? ", in quotes" : "");
	sl_node_wrong(node, want, diag);
	return NULL;
}

const char *sl_node_text(const struct sl_node *map, const char *key, struct sl_diag *diag)
{
	const struct sl_node *value = sl_node_get(map, key);

	return value ? sl_node_string(value, key, diag) : NULL;
}

bool sl_node_bool(const struct sl_node *map, const char *key, struct sl_diag *diag)
{
	const struct sl_node *value = sl_node_get(map, key);
	char what[80];

	if (!value || (value->event.plain && sl_node_is(value, "false")))
		return false;
	if (value->event.plain && sl_node_is(value, "true"))
		return true;
	snprintf(what, sizeof(what), "%s: true or false is wanted", key);
	sl_node_wrong(value, what, diag);
	return false;
}

int sl_node_check_keys(const struct sl_node *map, const char *const *words,
		       struct sl_diag *diag)
{
	size_t errors = diag->n_errors;
	const char *near;

	sl_node_each_key(key, map) {
		const struct sl_yaml_event *e = &key->event;

		if (is_one_of(e->scalar, words))
			continue;
		near = sl_nearest(e->scalar, e->scalar_len, words);
		sl_error(diag, &e->pos, "unknown key \"%.*s\"%s%s%s",
			 SL_Q(e->scalar, e->scalar_len), near ? ": is \"" : "", near ? near : "",
			 near ? "\" meant?" : "");
	}
	return diag->n_errors > errors ? -EINVAL : 0;
}
