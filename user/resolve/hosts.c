// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * hosts(5): names that are not asked of DNS. The addresses that the target's file gives
 * to a name belong to the rules that allow the name, as if DNS had given them, for as long
 * as the policy is in force.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "policy/builtin.h"
#include "policy/domain.h"

#define HOSTS_BYTES_MAX (16u << 20)
#define HOSTS_LESSONS_MAX 4096
#define BLANKS " \t\r"

struct lesson {
	const char *name;
	struct sl_cidr address;
};

/* ---- which rules ---- */

static bool covers(const struct sl_host *host, const char *name)
{
	size_t len = strlen(name), suffix;

	switch (host->kind) {
	case SL_HOST_EVERY_NAME:
		return true;
	case SL_HOST_NAME:
		return !strcmp(host->text, name);
	case SL_HOST_SUFFIX:
		suffix = strlen(host->text);
		return len > suffix + 1 && name[len - suffix - 1] == '.' &&
		       !strcmp(name + len - suffix, host->text);
	default:
		return false;
	}
}

static bool match_covers(const struct sl_match *match, const char *name)
{
	for (size_t i = 0; i < match->n_hosts; i++)
		if (covers(&match->hosts[i], name))
			return true;
	return false;
}

static bool rule_covers(const struct sl_rule *rule, const char *name)
{
	for (size_t i = 0; i < rule->n_matches; i++)
		if (match_covers(&rule->matches[i], name))
			return true;
	return false;
}

/* How many rules there are before the name may no longer be asked. A rule that expires
 * leaves the question to the next one, which may deny it. */
static size_t reach(const struct sl_policy *out, const char *name, bool *private)
{
	bool always = false;
	size_t i;

	*private = false;
	for (i = 0; i < out->n_items; i++) {
		const struct sl_rule *rule = out->items[i].rule;

		if (!rule_covers(rule, name))
			continue;
		if (rule->action == SL_DENY && !always)
			break;
		*private |= rule->action == SL_ALLOW && rule->resolves_private;
		always |= rule->action == SL_ALLOW && rule->expiry == SL_EXPIRES_NEVER;
	}
	return i;
}

static int add_address(struct sl_match *match, const struct sl_cidr *address)
{
	struct sl_host *grown;

	for (size_t i = 0; i < match->n_hosts; i++)
		if (match->hosts[i].kind == SL_HOST_CIDR &&
		    !memcmp(&match->hosts[i].cidr, address, sizeof(*address)))
			return 0;
	grown = reallocarray(match->hosts, match->n_hosts + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[match->n_hosts] =
		(struct sl_host){.kind = SL_HOST_CIDR, .cidr = *address, .pos = match->pos};
	match->hosts = grown;
	match->n_hosts++;
	return 0;
}

static int teach(struct sl_policy *out, const struct lesson *lesson)
{
	bool private;
	size_t n = reach(out, lesson->name, &private);
	int err = 0;

	if (!sl_address_may_belong(&lesson->address, private))
		return 0;
	for (size_t i = 0; i < n && !err; i++) {
		struct sl_rule *rule = out->items[i].rule;

		for (size_t k = 0; k < rule->n_matches && !err && rule->action == SL_ALLOW; k++) {
			struct sl_match *match = &rule->matches[k];

			if (match_covers(match, lesson->name))
				err = add_address(match, &lesson->address);
		}
	}
	return err;
}

/* ---- the file ---- */

/* Lower-case, without the last dot; false: no name that a rule could cover. */
static bool read_name(char *word)
{
	size_t len = strlen(word);

	if (len && word[len - 1] == '.')
		word[--len] = '\0';
	for (char *c = word; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return !sl_domain_fault(word, len) && !sl_domain_ends_in_number(word, len);
}

static bool read_address(const char *word, struct sl_cidr *address)
{
	int family = strchr(word, ':') ? AF_INET6 : AF_INET;
	unsigned char bytes[16];

	if (inet_pton(family, word, bytes) != 1)
		return false;
	sl_cidr_from_bytes(family, bytes, address);
	return true;
}

static int teach_line(struct sl_resolver *r, char *line, const char *path, unsigned *left)
{
	struct lesson lesson;
	char *word, *save;
	int err = 0;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, BLANKS, &save);
	if (!word || !read_address(word, &lesson.address))
		return 0;
	while (!err && (word = strtok_r(NULL, BLANKS, &save))) {
		/* What is never learned costs nothing: blocklists are made of 0.0.0.0. */
		if (!read_name(word) || !sl_address_may_belong(&lesson.address, true))
			continue;
		if (!*left) {
			sl_warn(r->diag, NULL, "%s: more than %u names: the rest is not learned",
				path, HOSTS_LESSONS_MAX);
			return 1;
		}
		--*left;
		lesson.name = word;
		err = teach(r->out, &lesson);
	}
	return err;
}

int sl_hosts_learn(struct sl_resolver *r)
{
	const char *path = r->options->hosts;
	unsigned left = HOSTS_LESSONS_MAX;
	char *text, *line, *save;
	int err = 0;

	if (!path || !r->out->has_dns)
		return 0;
	err = sl_text_file_read(path, HOSTS_BYTES_MAX, &text);
	if (err == -ENOENT)
		return 0;
	if (err == -ENOMEM)
		return err;
	if (err) {
		sl_warn(r->diag, NULL, "%s cannot be read, so its names are not learned: %s", path,
			strerror(-err));
		return 0;
	}
	for (line = strtok_r(text, "\n", &save); line && !err; line = strtok_r(NULL, "\n", &save))
		err = teach_line(r, line, path, &left);
	free(text);
	return err < 0 ? err : 0;
}
