// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* `- allow: ADDRESS[:PORT[-PORT]][/PROTO]`, in one step. */
#include "short_rule.h"

#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "text.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Behind HOST, or NULL: it is no address that nothing is to be said of. */
static const char *read_host(const char *at, const char *end, struct sl_cidr *cidr)
{
	bool bracket = *at == '[', masked;
	const char *begin = at + bracket, *host_end;
	struct sl_cidr embedded;

	if (bracket) {
		host_end = memchr(begin, ']', (size_t)(end - begin));
		if (!host_end || !memchr(begin, ':', (size_t)(host_end - begin)))
			return NULL;
	} else {
		while (at < end && (is_digit(*at) || *at == '.'))
			at++;
		if (at + 1 < end && *at == '/' && is_digit(at[1]))
			for (at++; at < end && is_digit(*at);)
				at++;
		host_end = at;
	}
	if (sl_cidr_parse(begin, (size_t)(host_end - begin), cidr, &masked) || masked ||
	    sl_cidr_embedded_ipv4(cidr, &embedded))
		return NULL;
	return host_end + bracket;
}

/* Behind a port, or NULL. */
static const char *read_port(const char *at, const char *end, __u16 *port)
{
	unsigned number = 0;

	if (at == end || *at == '0')
		return NULL;
	for (; at < end && is_digit(*at) && number <= 65535; at++)
		number = number * 10 + (unsigned)(*at - '0');
	*port = (__u16)number;
	return number && number <= 65535 ? at : NULL;
}

static const char *read_ports(const char *at, const char *end, struct sl_port_range *ports)
{
	at = read_port(at, end, &ports->low);
	ports->high = ports->low;
	if (at && at < end && *at == '-')
		at = read_port(at + 1, end, &ports->high);
	return at && ports->low <= ports->high ? at : NULL;
}

/* Host, ports and protocol of a shorthand, and how many there are of the latter two. */
static bool read_text(const char *at, size_t len, struct sl_short_rule *r)
{
	const char *end = at + len;

	at = len ? read_host(at, end, &r->host.cidr) : NULL;
	if (at && at < end && *at == ':') {
		at = read_ports(at + 1, end, &r->ports);
		r->match.n_ports = 1;
	}
	if (!at || at == end)
		return at;
	if (*at != '/' || sl_protocol_number(at + 1, (size_t)(end - at - 1), &r->protocol))
		return false;
	r->match.n_protocols = 1;
	return !r->match.n_ports || sl_protocol_has_ports(r->protocol);
}

/* The parts find each other where they now stand. */
static void connect_parts(struct sl_short_rule *r)
{
	r->match.hosts = &r->host;
	r->match.ports = r->match.n_ports ? &r->ports : NULL;
	r->match.protocols = r->match.n_protocols ? &r->protocol : NULL;
	r->rule.matches = &r->match;
}

bool sl_short_rule_read(struct sl_parser *p)
{
	struct sl_policy *policy = p->policy;
	struct sl_short_rule r, *rule;
	struct sl_plain_pair pair;
	struct sl_item *item;

	if (!sl_plain_peek_pair(&p->yaml, &pair))
		return false;
	memset(&r, 0, offsetof(struct sl_short_rule, id));
	if (sl_text_is(pair.key, pair.key_len, "deny"))
		r.rule.action = SL_DENY;
	else if (!sl_text_is(pair.key, pair.key_len, "allow"))
		return false;
	if (!read_text(pair.text, pair.text_len, &r))
		return false;
	r.host.kind = SL_HOST_CIDR;
	r.host.pos = r.match.pos = pair.text_pos;
	r.match.n_hosts = r.rule.n_matches = 1;
	r.match.icmp_code = -1;
	r.match.borrowed = r.rule.short_form = true;
	r.rule.pos = p->yaml.pos;
	rule = malloc(sizeof(*rule));
	item = rule ? SL_ADD(policy->items, policy->n_items) : NULL;
	if (!item) {
		free(rule);
		sl_parser_no_memory(p);
		return true;
	}
	memcpy(rule, &r, offsetof(struct sl_short_rule, id));
	connect_parts(rule);
	item->rule = &rule->rule;
	item->pos = r.rule.pos;
	sl_plain_take_pair(&p->yaml, &pair);
	return true;
}
