// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "json_tree.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"

#define PATH_MAX_SHOWN 200

struct builder {
	const struct sl_json_tree_options *options;
	struct sl_json_tree *tree;
	size_t name;		/* offset of the name in it */
	char path[PATH_MAX_SHOWN + 8]; /* of keys alone: what keep is compared with */
	char shown[PATH_MAX_SHOWN + 8]; /* with places in lists */
	unsigned depth;
	bool whole;		/* in something that is kept: all below is */
};

/* ---- the pool ---- */

static int put(struct builder *b, const char *bytes, size_t n)
{
	struct sl_json_tree *tree = b->tree;

	if (tree->len + n > tree->pool_max) {
		size_t capacity = (tree->len + n) * 3 / 2 + 256;
		char *pool = realloc(tree->pool, capacity);

		if (!pool)
			return -ENOMEM;
		tree->pool = pool;
		tree->pool_max = capacity;
	}
	memcpy(tree->pool + tree->len, bytes, n);
	tree->len += n;
	return 0;
}

/* The place of a node, by its offset. */
static int put_place(struct builder *b, size_t *offset)
{
	*offset = b->name;
	if (!b->options->paths || !*b->shown)
		return 0;
	*offset = b->tree->len;
	if (put(b, b->options->name, strlen(b->options->name)) || put(b, " ", 1))
		return -ENOMEM;
	return put(b, b->shown, strlen(b->shown) + 1);
}

static struct sl_node *add_node(struct sl_json_tree *tree)
{
	size_t max = tree->nodes_max ? tree->nodes_max * 2 : 64;
	struct sl_node *nodes;

	if (tree->n == tree->nodes_max) {
		nodes = reallocarray(tree->nodes, max, sizeof(*nodes));
		if (!nodes)
			return NULL;
		tree->nodes = nodes;
		tree->nodes_max = max;
	}
	memset(&tree->nodes[tree->n], 0, sizeof(*tree->nodes));
	return &tree->nodes[tree->n++];
}

/* Offsets until the pool has its place: see settle(). */
static int add(struct builder *b, enum sl_yaml_type type, const char *text, size_t len, bool plain)
{
	struct sl_node *node = add_node(b->tree);
	char kind[2] = {(char)('a' + (int)type), plain ? 'p' : 'q'};
	size_t at;

	if (!node || put(b, kind, sizeof(kind)))
		return -ENOMEM;
	node->event = (struct sl_yaml_event){.type = type, .plain = plain};
	node->event.pos.line = b->options->paths; /* readers take 0 for "not written" */
	node->span = 1;
	if (text) {
		node->event.scalar = (const char *)(uintptr_t)b->tree->len;
		node->event.scalar_len = len;
		if (put(b, text, len) || put(b, "", 1))
			return -ENOMEM;
	}
	if (put_place(b, &at))
		return -ENOMEM;
	node->event.pos.file = (const char *)(uintptr_t)at;
	return 0;
}

static void settle(struct sl_json_tree *tree)
{
	for (size_t i = 0; i < tree->n; i++) {
		struct sl_yaml_event *event = &tree->nodes[i].event;

		event->pos.file = tree->pool + (uintptr_t)event->pos.file;
		if (event->type == SL_YAML_SCALAR)
			event->scalar = tree->pool + (uintptr_t)event->scalar;
	}
}

int sl_json_tree_keep(struct sl_json_tree *tree, char **pool)
{
	char *copy = malloc(tree->len);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, tree->pool, tree->len);
	for (size_t i = 0; i < tree->n; i++) {
		struct sl_yaml_event *event = &tree->nodes[i].event;

		event->pos.file = copy + (event->pos.file - tree->pool);
		if (event->type == SL_YAML_SCALAR)
			event->scalar = copy + (event->scalar - tree->pool);
	}
	*pool = copy;
	return 0;
}

/* ---- paths ---- */

/* Adds to a path what fits; cut, it ends in "...". Returns the length that it had. */
static size_t extend(char *path, const char *text)
{
	size_t len = strlen(path), n = strlen(text);

	if (len + n > PATH_MAX_SHOWN) {
		n = len < PATH_MAX_SHOWN ? PATH_MAX_SHOWN - len : 0;
		snprintf(path + len, n + sizeof("..."), "%.*s...", (int)n, text);
	} else {
		strcpy(path + len, text);
	}
	return len;
}

static bool begins(const char *text, const char *with)
{
	size_t n = strlen(with);

	return !strncmp(text, with, n) && (!text[n] || text[n] == '.');
}

/* 2: it and all below it is kept; 1: something below may be; 0: nothing. */
static int wanted(const struct builder *b)
{
	int best = 0;

	for (const char *const *keep = b->options->keep; *keep; keep++) {
		if (!strcmp(*keep, b->path))
			return 2;
		if (begins(*keep, b->path))
			best = 1;
	}
	return best;
}

/* ---- values ---- */

static int read_json(struct builder *b, const json_t *value);

static int read_key(struct builder *b, const char *key, const json_t *value)
{
	size_t path = extend(b->path, *b->path ? "." : ""), shown = strlen(b->shown);
	size_t n = b->tree->n, len = b->tree->len;
	bool whole = b->whole;
	int want, err = 0;

	extend(b->path, key);
	want = whole ? 2 : wanted(b);
	if (want) {
		extend(b->shown, shown ? "." : "");
		extend(b->shown, key);
		b->whole = want == 2;
		err = add(b, SL_YAML_SCALAR, key, strlen(key), false);
		if (!err)
			err = read_json(b, value);
	}
	if (!err && want == 1 && b->tree->n == n + 3) { /* nothing in it is kept */
		b->tree->n = n;
		b->tree->len = len;
	}
	b->whole = whole;
	b->path[path] = '\0';
	b->shown[shown] = '\0';
	return err;
}

static int read_object(struct builder *b, const json_t *object)
{
	const char *key;
	json_t *value;
	int err = 0;

	json_object_foreach((json_t *)object, key, value)
		if (!err)
			err = read_key(b, key, value);
	return err;
}

static int read_array(struct builder *b, const json_t *array)
{
	size_t i, shown;
	char number[32];
	json_t *value;
	int err = 0;

	json_array_foreach(array, i, value) {
		snprintf(number, sizeof(number), "[%zu]", i);
		shown = extend(b->shown, number);
		if (!err)
			err = read_json(b, value);
		b->shown[shown] = '\0';
	}
	return err;
}

static int read_scalar(struct builder *b, const json_t *value)
{
	char text[64];

	if (json_is_string(value))
		return add(b, SL_YAML_SCALAR, json_string_value(value), json_string_length(value),
			   false);
	if (json_is_integer(value))
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(text, sizeof(text), "%.17g", json_real_value(value));
	else
		strcpy(text, json_is_null(value) ? "null" : json_is_true(value) ? "true" : "false");
	return add(b, SL_YAML_SCALAR, text, strlen(text), true);
}

static int read_json(struct builder *b, const json_t *value)
{
	bool map = json_is_object(value);
	size_t at = b->tree->n;
	int err;

	if (!map && !json_is_array(value))
		return read_scalar(b, value);
	if (++b->depth > SL_YAML_STREAM_DEPTH_MAX)
		return -EINVAL;
	err = add(b, map ? SL_YAML_MAP : SL_YAML_LIST, NULL, 0, false);
	if (!err)
		err = map ? read_object(b, value) : read_array(b, value);
	if (!err)
		err = add(b, map ? SL_YAML_MAP_END : SL_YAML_LIST_END, NULL, 0, false);
	if (!err)
		b->tree->nodes[at].span = b->tree->n - at;
	b->depth--;
	return err;
}

int sl_json_tree_make(const json_t *value, const struct sl_json_tree_options *options,
		      struct sl_json_tree *tree)
{
	struct builder b = {.options = options, .tree = tree};
	int err;

	tree->n = tree->len = 0;
	err = put(&b, options->name, strlen(options->name) + 1);
	if (!err)
		err = read_json(&b, value);
	if (!err)
		settle(tree);
	return err;
}

void sl_json_tree_free(struct sl_json_tree *tree)
{
	free(tree->nodes);
	free(tree->pool);
	memset(tree, 0, sizeof(*tree));
}
