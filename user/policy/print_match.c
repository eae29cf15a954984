// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Texts and matches in canonical form. */
#include "print.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "text.h"

void sl_print_quoted(const char *text, FILE *out)
{
	size_t left = strlen(text);

	putc('"', out);
	while (left) {
		__u32 cp;
		int n = sl_utf8_decode(text, left, &cp);

		if (n < 0) {
			/* Not from a parsed text; show it rather than lose it. */
			cp = 0xfffd;
			n = 1;
		}
		if (cp == '"' || cp == '\\')
			fprintf(out, "\\%c", (char)cp);
		else if (cp == '\n')
			fputs("\\n", out);
		else if (cp == '\t')
			fputs("\\t", out);
		else if (sl_utf8_hidden(cp))
			fprintf(out, "\\u%04x", cp);
		else if (cp == 0xfffd)
			fputs("\xef\xbf\xbd", out);
		else
			fwrite(text, 1, (size_t)n, out);
		text += n;
		left -= (size_t)n;
	}
	putc('"', out);
}

/* Plain text that no reader of YAML 1.1 or 1.2 takes for something else. */
static bool is_plain(const char *text)
{
	static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "y", "n",
					    "null", NULL};
	size_t len = strlen(text);

	if (!sl_text_name(text, len, true))
		return false;
	if (!((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z')))
		return false;
	for (int i = 0; words[i]; i++) {
		if (!strcasecmp(words[i], text))
			return false;
	}
	return true;
}

void sl_print_text(const char *text, FILE *out)
{
	if (is_plain(text))
		fputs(text, out);
	else
		sl_print_quoted(text, out);
}

void sl_print_cidr(const struct sl_cidr *cidr, FILE *out)
{
	char buf[SL_CIDR_TEXT];

	/* `::` would end a plain text in a list. */
	fprintf(out, cidr->family == 6 ? "\"%s\"" : "%s", sl_cidr_format(cidr, buf));
}

/* ---- shorthand ---- */

/* Can the match less its number of hosts be a shorthand? */
static bool is_short(const struct sl_match *match)
{
	return !match->n_uids && !match->has_icmp && match->n_hosts &&
	       (!match->n_protocols ||
		(match->n_protocols == 1 && sl_protocol_name(match->protocols[0])));
}

static void host_text(const struct sl_host *host, bool bracket, FILE *out)
{
	char buf[SL_CIDR_TEXT];

	switch (host->kind) {
	case SL_HOST_ANY:
		fputs("any", out);
		break;
	case SL_HOST_CIDR:
		bracket = bracket && host->cidr.family == 6;
		fprintf(out, bracket ? "[%s]" : "%s", sl_cidr_format(&host->cidr, buf));
		break;
	case SL_HOST_SET:
		fprintf(out, "@%s", host->text);
		break;
	case SL_HOST_NAME:
		fputs(host->text, out);
		break;
	case SL_HOST_SUFFIX:
		fprintf(out, "*.%s", host->text);
		break;
	case SL_HOST_EVERY_NAME:
		putc('*', out);
		break;
	}
}

static void print_range(const struct sl_port_range *range, FILE *out)
{
	fprintf(out, range->low == range->high ? "%u" : "%u-%u", range->low, range->high);
}

/* The shorthand of the match with one of its hosts, without quotes. */
static void short_text(const struct sl_match *match, const struct sl_host *host, FILE *out)
{
	host_text(host, match->n_ports || match->n_protocols, out);
	for (size_t i = 0; i < match->n_ports; i++) {
		putc(i ? ',' : ':', out);
		print_range(&match->ports[i], out);
	}
	if (match->n_protocols)
		fprintf(out, "/%s", sl_protocol_name(match->protocols[0]));
}

/* A host holds no character that quotes would have to escape, so it can be
 * quoted as it is. */
static void print_short(const struct sl_match *match, const struct sl_host *host, FILE *out)
{
	putc('"', out);
	short_text(match, host, out);
	putc('"', out);
}

/* ---- mapping ---- */

static void print_host(const struct sl_host *host, FILE *out)
{
	bool plain = host->kind == SL_HOST_ANY ||
		     (host->kind == SL_HOST_CIDR && host->cidr.family == 4);

	if (!plain)
		putc('"', out);
	host_text(host, false, out);
	if (!plain)
		putc('"', out);
}

static void print_protocol(int protocol, FILE *out)
{
	if (sl_protocol_name(protocol))
		fputs(sl_protocol_name(protocol), out);
	else
		fprintf(out, "%d", protocol);
}

static void print_uid(const struct sl_uid *uid, FILE *out)
{
	if (uid->kind == SL_UID_NAME)
		sl_print_text(uid->name, out);
	else
		fprintf(out, uid->kind == SL_UID_NUMBER ? "%u" : "{container: %u}", uid->number);
}

/* `, KEY: VALUE`, or `[VALUE, VALUE]` for several. */
#define PRINT_LIST(key, n, print_one, out)                              \
	do {                                                            \
		fprintf((out), "%s: %s", (key), (n) > 1 ? "[" : "");    \
		for (size_t i = 0; i < (n); i++) {                      \
			if (i)                                          \
				fputs(", ", (out));                     \
			print_one;                                      \
		}                                                       \
		if ((n) > 1)                                            \
			putc(']', (out));                               \
	} while (0)

void sl_print_match_map(const struct sl_match *match, const char *hosts_key, FILE *out)
{
	putc('{', out);
	PRINT_LIST(hosts_key, match->n_hosts, print_host(&match->hosts[i], out), out);
	if (match->n_ports)
		PRINT_LIST(", ports", match->n_ports, print_range(&match->ports[i], out), out);
	if (match->n_protocols)
		PRINT_LIST(", protocol", match->n_protocols,
			   print_protocol(match->protocols[i], out), out);
	if (match->has_icmp) {
		fprintf(out, ", icmp: {type: %u", match->icmp_type);
		if (match->icmp_code >= 0)
			fprintf(out, ", code: %d", match->icmp_code);
		putc('}', out);
	}
	if (match->n_uids)
		PRINT_LIST(", uid", match->n_uids, print_uid(&match->uids[i], out), out);
	putc('}', out);
}

/* Several matches came from a list of shorthands. A resolution may have put
 * several hosts in the place of one: then each gets a shorthand of its own. */
static void print_list(const struct sl_match *matches, size_t n, FILE *out)
{
	const char *separator = "[";

	for (size_t i = 0; i < n; i++) {
		for (size_t h = 0; h < matches[i].n_hosts; h++) {
			fputs(separator, out);
			separator = ", ";
			if (is_short(&matches[i])) {
				print_short(&matches[i], &matches[i].hosts[h], out);
			} else {
				sl_print_match_map(&matches[i], "to", out);
				break;
			}
		}
	}
	fputs(*separator == '[' ? "[]" : "]", out);
}

void sl_print_matches(const struct sl_match *matches, size_t n, FILE *out)
{
	if (n != 1)
		print_list(matches, n, out);
	else if (is_short(matches) && matches->n_hosts == 1)
		print_short(matches, matches->hosts, out);
	else
		sl_print_match_map(matches, "to", out);
}

/* ---- as strings ---- */

static char *finish(FILE *out, char **text)
{
	if (fclose(out)) {
		free(*text);
		return NULL;
	}
	return *text;
}

char *sl_match_canonical(const struct sl_match *match)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	if (is_short(match) && match->n_hosts == 1)
		short_text(match, match->hosts, out);
	else
		sl_print_match_map(match, "to", out);
	return finish(out, &text);
}

static void print_rule(const struct sl_rule *rule, FILE *out)
{
	fputs(rule->action == SL_ALLOW ? "allow: " : "deny: ", out);
	sl_print_matches(rule->matches, rule->n_matches, out);
}

char *sl_rule_canonical(const struct sl_rule *rule)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	print_rule(rule, out);
	return finish(out, &text);
}

static ssize_t hash_written(void *hash, const char *text, size_t n)
{
	*(__u64 *)hash = sl_hash_more(*(__u64 *)hash, text, n);
	return (ssize_t)n;
}

/* Of each rule: its text is hashed as it is printed, and kept nowhere. */
static __u64 canonical_hash(const struct sl_rule *rule)
{
	__u64 hash = SL_HASH_EMPTY;
	char buffer[256];
	FILE *out = fopencookie(&hash, "w", (cookie_io_functions_t){.write = hash_written});

	if (!out)
		return 0;
	setvbuf(out, buffer, _IOFBF, sizeof(buffer));
	print_rule(rule, out);
	return fclose(out) ? 0 : hash;
}

/* ---- the same of most rules, without a stream: a policy may have a hundred thousand ---- */

#define PLAIN_PORTS_MAX 8
#define PLAIN_TEXT (sizeof("allow: \"[]\"/icmpv6") + SL_CIDR_TEXT + PLAIN_PORTS_MAX * 12)

/* A shorthand of one address. */
static bool is_plain_rule(const struct sl_rule *rule)
{
	const struct sl_match *match = rule->matches;

	return rule->n_matches == 1 && is_short(match) && match->n_hosts == 1 &&
	       (match->hosts->kind == SL_HOST_CIDR || match->hosts->kind == SL_HOST_ANY) &&
	       match->n_ports <= PLAIN_PORTS_MAX;
}

static char *put(char *at, const char *text)
{
	return stpcpy(at, text);
}

static char *put_plain_host(char *at, const struct sl_host *host, bool bracket)
{
	if (host->kind == SL_HOST_ANY)
		return put(at, "any");
	if (host->cidr.family == 4 || !bracket)
		return sl_cidr_put(at, &host->cidr);
	*at++ = '[';
	return put(sl_cidr_put(at, &host->cidr), "]");
}

/* As print_rule. */
static size_t plain_rule(const struct sl_rule *rule, char text[PLAIN_TEXT])
{
	const struct sl_match *match = rule->matches;
	char *at = put(text, rule->action == SL_ALLOW ? "allow: \"" : "deny: \"");

	at = put_plain_host(at, match->hosts, match->n_ports || match->n_protocols);
	for (size_t i = 0; i < match->n_ports; i++) {
		*at++ = i ? ',' : ':';
		at = sl_put_number(at, match->ports[i].low);
		if (match->ports[i].low == match->ports[i].high)
			continue;
		*at++ = '-';
		at = sl_put_number(at, match->ports[i].high);
	}
	if (match->n_protocols)
		at = put(put(at, "/"), sl_protocol_name(match->protocols[0]));
	return (size_t)(put(at, "\"") - text);
}

static __u64 rule_hash(const struct sl_rule *rule)
{
	char text[PLAIN_TEXT];

	return is_plain_rule(rule) ? sl_hash_more(SL_HASH_EMPTY, text, plain_rule(rule, text)) :
				     canonical_hash(rule);
}

static char *put_hex6(char *at, unsigned int number)
{
	for (int shift = 20; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[number >> shift & 15];
	*at = 0;
	return at;
}

void sl_rule_default_id(const struct sl_rule *rule, char *buf, size_t size)
{
	const char *action = rule->action == SL_ALLOW ? "allow-" : "deny-";
	__u64 hash = rule_hash(rule);
	char id[sizeof("allow-123456")];

	put_hex6(put(id, action), (hash ^ hash >> 24 ^ hash >> 48) & 0xffffff);
	if (size > strlen(id))
		put(buf, id);
}
