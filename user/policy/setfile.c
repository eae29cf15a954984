// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A set file: one address or CIDR a line. Feeds hold a million of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "policy.h"

struct cidr_list {
	struct sl_cidr *cidrs;
	size_t n, capacity;
};

static struct sl_cidr *next_slot(struct cidr_list *list)
{
	size_t capacity = list->capacity * 2 + 64;
	struct sl_cidr *cidrs;

	if (list->n < list->capacity)
		return &list->cidrs[list->n];
	cidrs = reallocarray(list->cidrs, capacity, sizeof(*cidrs));
	if (!cidrs)
		return NULL;
	list->cidrs = cidrs;
	list->capacity = capacity;
	return &cidrs[list->n];
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* One line, without its newline. */
static int parse_line(const char *line, size_t len, struct sl_pos *pos, struct cidr_list *list,
		      struct sl_diag *diag)
{
	struct sl_cidr *cidr, ipv4;
	size_t start = 0, end = 0;
	bool masked;

	while (end < len && line[end] != '#' && line[end] != ';')
		end++;
	while (end && is_blank(line[end - 1]))
		end--;
	while (start < end && is_blank(line[start]))
		start++;
	if (start == end)
		return 0;
	cidr = next_slot(list);
	if (!cidr)
		return -ENOMEM;
	pos->column = (unsigned)start + 1;
	/* sl_member_read has the words for what is unusual; most lines are not. */
	if ((sl_cidr_parse(line + start, end - start, cidr, &masked) || masked ||
	     sl_cidr_embedded_ipv4(cidr, &ipv4)) &&
	    sl_member_read(line + start, end - start, pos, cidr, diag))
		return -EINVAL;
	list->n++;
	return 0;
}

static int append(struct sl_set *set, struct cidr_list *list)
{
	struct sl_cidr *cidrs;

	/* most sets are one file: its list, and what it has left over is given back */
	cidrs = set->cidrs ? reallocarray(set->cidrs, set->n_cidrs + list->n, sizeof(*cidrs))
			     : reallocarray(list->cidrs, list->n, sizeof(*cidrs));
	if (!cidrs)
		return -ENOMEM;
	if (set->cidrs)
		memcpy(cidrs + set->n_cidrs, list->cidrs, list->n * sizeof(*cidrs));
	else
		list->cidrs = NULL;
	set->cidrs = cidrs;
	set->n_cidrs += list->n;
	return 0;
}

int sl_set_parse(const char *text, size_t len, const char *file, struct sl_set *set,
		 struct sl_diag *diag)
{
	struct cidr_list list = {0};
	struct sl_pos pos = {file ? sl_diag_intern(diag, file) : NULL, 1, 1};
	const char *end = text + len;
	int result = 0;

	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		text += 3;
	for (; text < end && result != -ENOMEM; pos.line++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t n = newline ? (size_t)(newline - text) : (size_t)(end - text);
		int err = parse_line(text, n, &pos, &list, diag);

		if (err)
			result = err;
		text += n + !!newline;
	}
	if (!result && list.n)
		result = append(set, &list);
	free(list.cidrs);
	return result;
}
