// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Patterns as the kernel's trie has them: written, sorted, found. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void sl_pattern_key(const char *name, bool suffix, struct sl_pattern_key *key)
{
	size_t len = strlen(name), i;

	memset(key, 0, sizeof(*key));
	if (len > SL_NAME_CHARACTERS)
		len = SL_NAME_CHARACTERS;
	for (i = 0; i < len; i++)
		key->data[i] = name[len - 1 - i];
	if (suffix && len)
		key->data[len++] = '.';
	else if (!suffix)
		len++; /* the NUL */
	key->prefixlen = 8 * len;
}

char *sl_pattern_text(const struct sl_pattern *pattern, char buf[SL_PATTERN_BYTES + 2])
{
	size_t len = pattern->key.prefixlen / 8, at = 0, i;

	if (!len)
		return strcpy(buf, "*");
	if (pattern->key.data[len - 1] == '.') {
		buf[at++] = '*';
		buf[at++] = '.';
	}
	for (i = len - 1; i-- > 0;)
		buf[at++] = pattern->key.data[i];
	buf[at] = 0;
	return buf;
}

static int compare_keys(const struct sl_pattern_key *a, const struct sl_pattern_key *b)
{
	if (a->prefixlen != b->prefixlen)
		return a->prefixlen < b->prefixlen ? -1 : 1;
	return memcmp(a->data, b->data, a->prefixlen / 8);
}

static int compare_patterns(const void *a, const void *b)
{
	const struct sl_pattern *x = a, *y = b;

	return compare_keys(&x->key, &y->key);
}

static int compare_key(const void *key, const void *pattern)
{
	return compare_keys(key, &((const struct sl_pattern *)pattern)->key);
}

static const struct sl_pattern *find(const struct sl_compiled *compiled, const char *name,
				     bool suffix)
{
	struct sl_pattern_key key;

	if (!compiled->n_patterns)
		return NULL;
	sl_pattern_key(name, suffix, &key);
	return bsearch(&key, compiled->patterns, compiled->n_patterns, sizeof(*compiled->patterns),
		       compare_key);
}

/* From the most specific one on; the kernel's trie finds the longest at once. */
const struct sl_pattern *sl_names_find(const struct sl_compiled *compiled, const char *name)
{
	const struct sl_pattern *found = find(compiled, name, false);
	const char *dot = name;

	while (!found && (dot = strchr(dot, '.')))
		found = find(compiled, ++dot, true);
	return found ? found : find(compiled, "", true);
}

int emit_patterns(const struct compiler *c, const __u32 *number, struct sl_compiled *out)
{
	struct sl_pattern *v;
	size_t i;

	if (!c->names.n)
		return 0;
	v = calloc(c->names.n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (i = 0; i < c->names.n; i++) {
		sl_pattern_key(c->names.v[i].text, c->names.v[i].suffix, &v[i].key);
		v[i].class = number[c->names.v[i].class];
	}
	qsort(v, c->names.n, sizeof(*v), compare_patterns);
	out->patterns = v;
	out->n_patterns = c->names.n;
	out->n_ask_only = c->names.n_ask_only;
	return 0;
}
