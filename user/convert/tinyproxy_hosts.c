// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What a pattern matches, of the hosts that there are: names as DNS has them (lower case,
 * no last dot, the last label no number, decimal or 0x), IPv4 addresses as four decimal
 * numbers, IPv6 addresses (tinyproxy takes the brackets off before it looks).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/address.h"
#include "policy/domain.h"
#include "policy/text.h"
#include "tinyproxy_internal.h"

#define OFFER_BYTES 640

struct finder {
	const char *quoted;
	enum sl_tinyproxy_type type;
	const struct sl_pos *pos;
	struct tp_hosts *out;
	struct sl_diag *diag;
};

/* ---- what would be exact ---- */

/* The name that a pattern seems to be about: its letters, `.` for any byte. */
static bool guess_name(const struct tp_branch *b, char *name, size_t size)
{
	size_t n = 0;
	char c;

	for (size_t i = 0; i < b->n; i++) {
		c = tp_only_byte(&b->items[i]);
		if (!c && b->items[i].min == 1 && b->items[i].max == 1)
			c = '.';
		if ((!c && n) || n + 1 >= size)
			return false;
		if (c && (n || c != '.'))
			name[n++] = c;
	}
	name[n] = 0;
	return n && strchr(name, '.') && !sl_domain_fault(name, n) &&
	       !sl_domain_ends_in_number(name, n);
}

static void put_escaped(const char *name, FILE *out)
{
	for (; *name; name++)
		fprintf(out, *name == '.' ? "\\%c" : "%c", *name);
}

/* The sentence's end with the patterns to write instead; buf of OFFER_BYTES. */
static const char *offer(const struct finder *f, const struct tp_branch *b, char *buf)
{
	const char *below = f->type == SL_TINYPROXY_EXTENDED ? "(^|\\.)" : "\\(^\\|\\.\\)";
	char name[SL_DOMAIN_MAX + 1];
	FILE *out;

	if (!guess_name(b, name, sizeof(name)))
		return "";
	out = fmemopen(buf, OFFER_BYTES, "w");
	if (!out)
		return "";
	fputs("; exact is ", out);
	if (f->type == SL_TINYPROXY_GLOB) {
		fprintf(out, "%s for the name, *.%s for what is below it", name, name);
	} else {
		fputc('^', out);
		put_escaped(name, out);
		fprintf(out, "$ for the name, %s", below);
		put_escaped(name, out);
		fputs("$ for it and what is below it", out);
	}
	fclose(out);
	return buf;
}

static int refuse(const struct finder *f, const struct tp_branch *b, const char *why)
{
	char buf[OFFER_BYTES];

	return sl_error(f->diag, f->pos, "\"%.*s\" %s%s", SL_Q(f->quoted, strlen(f->quoted)), why,
			offer(f, b, buf));
}

/* Why is it none of those that are read? */
static int explain(const struct finder *f, const struct tp_branch *whole)
{
	struct tp_branch b = tp_loosen(whole);
	char *text = tp_text_of(&b, 0);
	bool is_text = text;

	free(text);
	for (size_t i = 0; i < b.n; i++)
		if (b.items[i].min == 1 && b.items[i].max == 1 &&
		    tp_has_every(&b.items[i].set, TP_NAME_BYTES))
			return refuse(f, &b,
				      "has a . that stands for any character; the dot of a "
				      "name is \\.");
	if (!is_text)
		return refuse(f, &b,
			      "matches more or less than a name, what is below a name, or "
			      "addresses: a policy cannot say that");
	if (!b.begins && !b.ends)
		return refuse(f, &b,
			      "matches anywhere in a host, so many more names than one: a "
			      "policy cannot say that");
	if (!b.begins)
		return refuse(f, &b,
			      "matches every host that ends so, also behind other letters: "
			      "a policy cannot say that");
	return refuse(f, &b,
		      "matches every host that begins so, whoever's it is: a policy cannot "
		      "say that");
}

/* ---- hosts ---- */

static struct sl_host *add_host(struct tp_hosts *hosts, enum sl_host_kind kind)
{
	struct sl_host *host = SL_ADD(hosts->hosts, hosts->n);

	if (host)
		host->kind = kind;
	return host;
}

/* Takes over the text. */
static int add_name(struct finder *f, enum sl_host_kind kind, char *text)
{
	struct tp_hosts *hosts = f->out;
	struct sl_host *host = add_host(hosts, kind), last;

	if (!host) {
		free(text);
		return -ENOMEM;
	}
	host->text = text;
	/* Names stand before addresses. */
	last = *host;
	memmove(hosts->hosts + hosts->n_names + 1, hosts->hosts + hosts->n_names,
		(hosts->n - 1 - hosts->n_names) * sizeof(*host));
	hosts->hosts[hosts->n_names++] = last;
	return 0;
}

static int add_address(struct finder *f, const char *text)
{
	struct sl_host *host = add_host(f->out, SL_HOST_CIDR);

	return host ? sl_cidr_read(text, strlen(text), f->pos, &host->cidr, f->diag) : -ENOMEM;
}

/* A prefix that holds others of these does not cover them (docs/policy.md, "Addresses
 * that embed others"). */
static int add_every_ipv6(struct finder *f)
{
	return add_address(f, "::/0") ?: add_address(f, "::ffff:0:0:0/96") ?:
	       add_address(f, "64:ff9b:1::/48") ?: add_address(f, "2001::/32") ?:
	       add_address(f, "2002::/16");
}

static int add_everything(struct finder *f)
{
	return add_name(f, SL_HOST_EVERY_NAME, NULL) ?: add_address(f, "0.0.0.0/0") ?:
	       add_every_ipv6(f);
}

bool tp_hosts_every(const struct sl_host *hosts, size_t n, int family)
{
	for (size_t i = 0; i < n; i++)
		if (hosts[i].kind == SL_HOST_CIDR && hosts[i].cidr.family == family &&
		    !hosts[i].cidr.len)
			return true;
	return false;
}

/* ---- what a branch is ---- */

/* Every one of these gives 1 if the branch is what it looks for (and was added), 0 if
 * not, or an error. */

static int find_everything(struct finder *f, const struct tp_branch *b)
{
	if (b->n > 1 || (b->begins && b->ends && !b->n))
		return 0;
	if (b->n && (!tp_has_every(&b->items[0].set, TP_NAME_BYTES ":") || b->items[0].min > 1 ||
		     (b->begins && b->ends && b->items[0].max != TP_MORE)))
		return 0;
	return add_everything(f) ?: 1;
}

/* Is it a name as those that are compared? */
static bool is_name(const char *text)
{
	const char *last = strrchr(text, '.');

	last = last ? last + 1 : text;
	if (last[0] == '0' && last[1] == 'x' &&
	    strspn(last + 2, "0123456789abcdef") == strlen(last + 2))
		return false;
	return *text && !sl_domain_fault(text, strlen(text)) &&
	       !sl_domain_ends_in_number(text, strlen(text)) && strcmp(text, "any");
}

/* ^name$, ^address$ */
static int find_one(struct finder *f, const struct tp_branch *b)
{
	char *text = b->begins && b->ends ? tp_text_of(b, 0) : NULL;
	struct in6_addr address;
	int err;

	if (!text)
		return 0;
	if (is_name(text))
		return add_name(f, SL_HOST_NAME, text) ?: 1;
	err = inet_pton(AF_INET6, text, &address) == 1 ? add_address(f, text) ?: 1 : 0;
	free(text);
	return err;
}

/* \.name$ behind at least one more character */
static int find_below(struct finder *f, const struct tp_branch *b)
{
	size_t at = 0;
	char *text, *name;

	if (!b->ends)
		return 0;
	if (b->n && !tp_only_byte(&b->items[0])) {
		if (b->begins ? !tp_is_anything(&b->items[0], 1)
			      : b->items[0].min > 1 ||
					!tp_has_every(&b->items[0].set,
						   "abcdefghijklmnopqrstuvwxyz0123456789-_"))
			return 0;
		at = 1;
	} else if (b->begins) {
		return 0;
	}
	text = tp_text_of(b, at);
	if (!text || text[0] != '.' || !is_name(text + 1)) {
		free(text);
		return 0;
	}
	name = strdup(text + 1);
	free(text);
	return name ? add_name(f, SL_HOST_SUFFIX, name) ?: 1 : -ENOMEM;
}

/* One character that no name and no IPv4 address has, anywhere: `:` is in every IPv6
 * address, others in no host. */
static int find_colon(struct finder *f, const struct tp_branch *b)
{
	if (b->begins || b->ends || b->n != 1 || b->items[0].min != 1 ||
	    !tp_has_none(&b->items[0].set, TP_NAME_BYTES) || !tp_has(&b->items[0].set, ':'))
		return 0;
	return add_every_ipv6(f) ?: 1;
}

static int find_ipv4(struct finder *f, const struct tp_branch *b)
{
	int err = tp_ipv4_find(b, f->out);

	if (err == -ENOENT) {
		f->out->spellings = true;
		return 1;
	}
	if (err == -ERANGE)
		return refuse(f, b, "is more prefixes than a line may be");
	return err == -EINVAL ? 0 : err ?: 1;
}

/* ^0x[0-9a-f]+$: an address to getaddrinfo, and never a name. */
static int find_hex(struct finder *f, const struct tp_branch *b)
{
	if (!b->begins || !b->ends || b->n < 3 || tp_only_byte(&b->items[0]) != '0' ||
	    tp_only_byte(&b->items[1]) != 'x')
		return 0;
	for (size_t i = 2; i < b->n; i++)
		for (int c = 0; c < 256; c++)
			if (tp_has(&b->items[i].set, (unsigned char)c) &&
			    (!c || !strchr("0123456789abcdefABCDEF", c)))
				return 0;
	f->out->spellings = true;
	return 1;
}

/* Some byte of it is in no host, or a text in none. */
static bool is_nothing(const struct tp_branch *b)
{
	static const char others[] = TP_NAME_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZ:%";
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (b->items[i].min && tp_has_none(&b->items[i].set, others))
			return true;
		n += b->items[i].min;
	}
	if (b->ends && b->n && tp_only_byte(&b->items[b->n - 1]) == '.')
		return true;
	if (b->begins && b->n && tp_only_byte(&b->items[0]) == '.')
		return true;
	return (b->begins && b->ends && !b->n) || n > SL_DOMAIN_MAX;
}

static int find_branch(struct finder *f, const struct tp_branch *whole)
{
	static int (*const kinds[])(struct finder *, const struct tp_branch *) = {
		find_everything, find_one, find_below, find_colon, find_ipv4, find_hex,
	};
	struct tp_branch b = tp_loosen(whole);
	int found = 0;

	if (is_nothing(&b))
		return 0;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds) && !found; i++)
		found = kinds[i](f, &b);
	if (found)
		return found < 0 ? found : 0;
	return explain(f, whole);
}

int tp_hosts_find(const struct tp_pattern *pattern, const char *quoted, enum sl_tinyproxy_type type,
		  const struct sl_pos *pos, struct tp_hosts *out, struct sl_diag *diag)
{
	struct tp_hosts hosts = {};
	struct finder f = {quoted, type, pos, &hosts, diag};
	int err = 0;

	for (size_t i = 0; i < pattern->n && !err; i++)
		err = find_branch(&f, &pattern->branches[i]);
	if (!err && !hosts.n && !hosts.spellings)
		err = sl_error(diag, pos,
			       "\"%.*s\" matches no host that there is (tinyproxy takes "
			       "the brackets off IPv6 addresses; in a bracket [...] a backslash is "
			       "itself, so a ] is one only at its beginning): correct it, or take "
			       "it out",
			       SL_Q(quoted, strlen(quoted)));
	if (err)
		tp_hosts_free(&hosts);
	else
		*out = hosts;
	return err;
}

void tp_hosts_free(struct tp_hosts *hosts)
{
	for (size_t i = 0; i < hosts->n; i++)
		free(hosts->hosts[i].text);
	free(hosts->hosts);
	memset(hosts, 0, sizeof(*hosts));
}
