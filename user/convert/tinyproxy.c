// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A filter file (tinyproxy 1.11, filter.c): a line is a pattern, which ends at the first
 * blank or at a # without a backslash. With FilterDefaultDeny the hosts that one of them
 * matches are let through, else all but those.
 */
#include "tinyproxy.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "tinyproxy_internal.h"

struct line {
	unsigned number;
	char *pattern; /* owned */
	struct tp_hosts hosts;
};

struct reader {
	const struct sl_tinyproxy_options *options;
	const char *file;
	struct line *lines; /* owned */
	size_t n;
	struct sl_diag *diag;
};

/* ---- lines ---- */

/* The pattern of a line; *len 0: there is none. */
static const char *find_pattern(const char *line, size_t *len)
{
	size_t at = 0, end;

	while (at < *len && isspace((unsigned char)line[at]))
		at++;
	for (end = at; end < *len && !isspace((unsigned char)line[end]); end++)
		if (line[end] == '#' && (!end || line[end - 1] != '\\'))
			break;
	*len = end - at;
	return line + at;
}

static int read_pattern(struct reader *r, struct line *line, size_t len)
{
	struct sl_pos pos = {r->file, line->number, 0};
	struct tp_pattern pattern;
	int err = tp_pattern_read(line->pattern, len, r->options->type, &pos, &pattern, r->diag);

	if (err)
		return err;
	err = tp_hosts_find(&pattern, line->pattern, r->options->type, &pos, &line->hosts, r->diag);
	tp_pattern_free(&pattern);
	return err;
}

static int read_line(struct reader *r, const char *text, size_t len, unsigned number)
{
	struct sl_pos pos = {r->file, number, 0};
	const char *pattern;
	struct line *line;

	if (len > TP_LINE_MAX)
		return sl_error(r->diag, &pos,
				"a line of more than %d bytes, which tinyproxy reads "
				"as several: cut it",
				TP_LINE_MAX);
	if (memchr(text, 0, len))
		return sl_error(r->diag, &pos, "a byte of value 0: this is no text");
	pattern = find_pattern(text, &len);
	if (!len)
		return 0;
	line = SL_ADD(r->lines, r->n);
	if (!line)
		return -ENOMEM;
	line->number = number;
	line->pattern = strndup(pattern, len);
	return line->pattern ? read_pattern(r, line, len) : -ENOMEM;
}

static int read_lines(struct reader *r, const char *text, size_t len)
{
	const char *end = text + len, *next;
	int err, worst = 0;

	for (unsigned number = 1; text < end && worst != -ENOMEM; text = next, number++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		next = newline ? newline + 1 : end;
		err = read_line(r, text, (size_t)((newline ? newline : end) - text), number);
		if (err)
			worst = err;
	}
	return worst;
}

/* ---- rules ---- */

/* A rule with its id, without hosts; NULL: no memory. */
static struct sl_rule *add_rule(struct sl_policy *policy, enum sl_action action, const char *id)
{
	struct sl_rule *rule = sl_policy_add_rule(policy, action);

	if (!rule)
		return NULL;
	rule->id = strdup(id);
	rule->id_written = true;
	return rule->id ? rule : NULL;
}

/* The hosts from..to of a line as a rule; takes them over. No hosts: no rule. */
static int add_hosts(struct sl_policy *policy, enum sl_action action, const char *id,
		     struct line *line, size_t from, size_t to)
{
	struct sl_rule *rule = from < to ? add_rule(policy, action, id) : NULL;

	if (from >= to)
		return 0;
	if (!rule)
		return -ENOMEM;
	for (size_t i = from; i < to; i++) {
		struct sl_match *match = rule->matches;
		struct sl_host *slot = SL_ADD(match->hosts, match->n_hosts);

		if (!slot)
			return -ENOMEM;
		*slot = line->hosts.hosts[i];
		line->hosts.hosts[i].text = NULL;
	}
	return 0;
}

static const char *id_of(const struct line *line, const char *what, char buf[32])
{
	snprintf(buf, 32, "line-%u%s", line->number, what);
	return buf;
}

static bool every(const struct reader *r, int family)
{
	for (size_t i = 0; i < r->n; i++)
		if (tp_hosts_every(r->lines[i].hosts.hosts, r->lines[i].hosts.n, family))
			return true;
	return false;
}

/* Other spellings of addresses go the way that all of IPv4 goes. */
static int check_spellings(const struct reader *r)
{
	int err = 0;

	for (size_t i = 0; i < r->n && !every(r, 4); i++) {
		struct sl_pos pos = {r->file, r->lines[i].number, 0};

		if (r->lines[i].hosts.spellings)
			err = sl_error(r->diag, &pos,
				       "\"%s\" matches other spellings of IPv4 "
				       "addresses, which a policy cannot tell from the usual one: "
				       "add ^[0-9.]+$ for all of them, or take it out",
				       r->lines[i].pattern);
	}
	return err;
}

static int make_allowlist(struct reader *r, struct sl_policy *policy)
{
	char id[32];
	int err = 0;

	policy->default_action = SL_DENY;
	for (size_t i = 0; i < r->n && !err; i++)
		err = add_hosts(policy, SL_ALLOW, id_of(&r->lines[i], "", id), &r->lines[i], 0,
				r->lines[i].hosts.n);
	return err;
}

/* Denied addresses are hosts that were asked for as such: what DNS gave for a name that
 * may be asked is let through before they are denied. */
static int make_blocklist(struct reader *r, struct sl_policy *policy)
{
	bool closed = every(r, 4) && every(r, 6), addresses = false, all = false;
	struct sl_rule *rule;
	char id[32];
	int err = 0;

	policy->default_action = closed ? SL_DENY : SL_ALLOW;
	for (size_t i = 0; i < r->n && !err; i++) {
		struct tp_hosts *h = &r->lines[i].hosts;

		addresses |= h->n > h->n_names;
		all |= h->n_names && h->hosts[0].kind == SL_HOST_EVERY_NAME;
		err = add_hosts(policy, SL_DENY, id_of(&r->lines[i], "", id), &r->lines[i], 0,
				h->n_names);
	}
	if (err || !addresses || all)
		goto addresses;
	rule = add_rule(policy, SL_ALLOW, "names");
	if (!rule || !SL_ADD(rule->matches->hosts, rule->matches->n_hosts))
		return -ENOMEM;
	rule->matches->hosts[0].kind = SL_HOST_EVERY_NAME;
addresses:
	for (size_t i = 0; i < r->n && !err && !closed; i++) {
		struct tp_hosts *h = &r->lines[i].hosts;

		err = add_hosts(policy, SL_DENY,
				id_of(&r->lines[i], h->n_names ? "-addresses" : "", id),
				&r->lines[i], h->n_names, h->n);
	}
	return err;
}

int sl_tinyproxy_read(const char *text, size_t len, const struct sl_pos *pos,
		      const struct sl_tinyproxy_options *options, struct sl_policy **out,
		      struct sl_diag *diag)
{
	struct sl_policy *policy = calloc(1, sizeof(*policy));
	struct reader r = {.options = options, .file = pos->file, .diag = diag};
	int err = policy ? read_lines(&r, text, len) : -ENOMEM;

	if (!err)
		err = check_spellings(&r);
	if (!err)
		err = options->default_deny ? make_allowlist(&r, policy)
					    : make_blocklist(&r, policy);
	for (size_t i = 0; i < r.n; i++) {
		tp_hosts_free(&r.lines[i].hosts);
		free(r.lines[i].pattern);
	}
	free(r.lines);
	if (err)
		sl_policy_free(policy);
	else
		*out = policy;
	return err;
}
