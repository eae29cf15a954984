// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Reading values of any kind: mappings by their table, lists, words, numbers. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "parser.h"
#include "text.h"

void sl_parser_no_memory(struct sl_parser *p)
{
	sl_yaml_stop(&p->yaml, -ENOMEM);
}

void sl_unenforced(struct sl_parser *p, const char *part, const struct sl_pos *pos,
		   const char *fmt, ...)
{
	struct sl_policy *policy = p->policy;
	struct sl_unenforced *use = SL_ADD(policy->unenforced, policy->n_unenforced);
	va_list args;

	if (!use) {
		sl_parser_no_memory(p);
		return;
	}
	use->part = part;
	use->pos = *pos;
	va_start(args, fmt);
	if (vasprintf(&use->what, fmt, args) < 0) {
		use->what = NULL;
		sl_parser_no_memory(p);
	}
	va_end(args);
}

static void unknown_key(struct sl_parser *p, const struct sl_key_table *table)
{
	const char *name = p->yaml.scalar;
	size_t len = p->yaml.scalar_len;
	const char *nearest = sl_key_nearest(table, name, len);
	const struct sl_key_table *other = sl_key_elsewhere(table, name, len);

	if (nearest)
		sl_error(p->diag, &p->yaml.pos, "unknown key \"%.*s\"; did you mean \"%s\"?",
			 SL_Q(name, len), nearest);
	else if (other)
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\" is no key of %s; it belongs to %s%s",
			 SL_Q(name, len), table->what, other->what,
			 other == &sl_keys_match ? ", as allow: {to: HOST, ports: 443}" : "");
	else
		sl_error(p->diag, &p->yaml.pos, "unknown key \"%.*s\" in %s", SL_Q(name, len),
			 table->what);
}

static bool fits_fragment(const struct sl_parser *p, const struct sl_map *map, int key)
{
	return !p->is_fragment || map->table != &sl_keys_top || key == SL_TOP_SLUICE ||
	       key == SL_TOP_SETS || key == SL_TOP_RULES;
}

/* The key that is the current event: its index in the table, -1 with an error. */
static int key_read(struct sl_parser *p, struct sl_map *map)
{
	struct sl_yaml *yaml = &p->yaml;
	const struct sl_key *key;
	int index;

	if (yaml->type != SL_YAML_SCALAR) {
		sl_error(p->diag, &yaml->pos, "a key is a word, not a list or mapping");
		sl_yaml_skip(yaml);
		return -1;
	}
	index = sl_key_find(map->table, yaml->scalar, yaml->scalar_len);
	if (index < 0) {
		unknown_key(p, map->table);
		return -1;
	}
	key = &map->table->keys[index];
	if (map->lines[index]) {
		sl_error(p->diag, &yaml->pos, "\"%s\" stands here twice; the first is in line %u",
			 key->name, map->lines[index]);
		return -1;
	}
	map->lines[index] = yaml->pos.line;
	if (!fits_fragment(p, map, index)) {
		sl_error(p->diag, &yaml->pos, "\"%s\" belongs to a policy; a fragment holds "
			 "sluice, sets and rules only", key->name);
		return -1;
	}
	if (sl_key_is_later(key))
		sl_unenforced(p, key->part, &yaml->pos, "%s", key->path ? key->path : key->name);
	return index;
}

void sl_map_read(struct sl_parser *p, const struct sl_key_table *table,
		 sl_value_fn *const *values, void *object, struct sl_map *map)
{
	memset(map, 0, sizeof(*map));
	map->table = table;
	for (sl_yaml_next(&p->yaml);
	     p->yaml.type != SL_YAML_MAP_END && p->yaml.type != SL_YAML_END;
	     sl_yaml_next(&p->yaml)) {
		int index = key_read(p, map);

		sl_yaml_next(&p->yaml);
		if (index >= 0 && p->yaml.type != SL_YAML_END)
			values[index](p, &table->keys[index], object);
		else
			sl_yaml_skip(&p->yaml);
		map->faulty |= index < 0;
	}
}

void sl_list_read(struct sl_parser *p, const struct sl_key *key, sl_value_fn *element,
		  void *object, bool may_be_empty)
{
	struct sl_pos pos = p->yaml.pos;
	size_t n = 0;

	if (p->yaml.type != SL_YAML_LIST) {
		sl_wrong_value(p, key);
		return;
	}
	for (sl_yaml_next(&p->yaml);
	     p->yaml.type != SL_YAML_LIST_END && p->yaml.type != SL_YAML_END;
	     sl_yaml_next(&p->yaml)) {
		element(p, key, object);
		n++;
	}
	if (!n && !may_be_empty && p->yaml.type == SL_YAML_LIST_END)
		sl_error(p->diag, &pos, "the list of \"%s\" is empty; it wants %s", key->name,
			 key->type);
}

void sl_each_read(struct sl_parser *p, const struct sl_key *key, sl_value_fn *element,
		  void *object)
{
	if (p->yaml.type == SL_YAML_LIST)
		sl_list_read(p, key, element, object, false);
	else
		element(p, key, object);
}

void sl_wrong_value(struct sl_parser *p, const struct sl_key *key)
{
	char buf[SL_QUOTE_MAX + 32];

	if (p->yaml.type == SL_YAML_END)
		return;
	sl_error(p->diag, &p->yaml.pos, "\"%s\" wants %s; found %s", key->name, key->type,
		 sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
	sl_yaml_skip(&p->yaml);
}

bool sl_is_text(struct sl_parser *p, const struct sl_key *key)
{
	if (p->yaml.type == SL_YAML_SCALAR && !sl_yaml_is_null(&p->yaml))
		return true;
	sl_wrong_value(p, key);
	return false;
}

int sl_word_read(struct sl_parser *p, const struct sl_key *key, const char *const *words)
{
	const char *nearest;

	if (!sl_is_text(p, key))
		return -1;
	for (int i = 0; words[i]; i++) {
		if (sl_text_is(p->yaml.scalar, p->yaml.scalar_len, words[i]))
			return i;
	}
	nearest = sl_nearest(p->yaml.scalar, p->yaml.scalar_len, words);
	if (nearest)
		sl_error(p->diag, &p->yaml.pos,
			 "\"%s\" wants %s; found \"%.*s\"; did you mean \"%s\"?", key->name,
			 key->type, SL_Q(p->yaml.scalar, p->yaml.scalar_len), nearest);
	else
		sl_wrong_value(p, key);
	return -1;
}

bool sl_number_read(struct sl_parser *p, const struct sl_key *key, __u64 max, __u64 *out)
{
	if (p->yaml.type == SL_YAML_SCALAR &&
	    sl_text_number(p->yaml.scalar, p->yaml.scalar_len, max, out))
		return true;
	sl_wrong_value(p, key);
	return false;
}

bool sl_copy_text(struct sl_parser *p, const struct sl_key *key, char **out)
{
	char *copy;

	if (!sl_is_text(p, key))
		return false;
	copy = strndup(p->yaml.scalar, p->yaml.scalar_len);
	if (!copy) {
		sl_parser_no_memory(p);
		return false;
	}
	free(*out);
	*out = copy;
	return true;
}

bool sl_copy_name(struct sl_parser *p, const struct sl_key *key, char **out)
{
	if (!sl_is_text(p, key))
		return false;
	if (!sl_text_name(p->yaml.scalar, p->yaml.scalar_len, true)) {
		sl_wrong_value(p, key);
		return false;
	}
	return sl_copy_text(p, key, out);
}
