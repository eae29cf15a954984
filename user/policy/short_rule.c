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

/* What a shorthand says. */
struct short_text {
	struct sl_cidr cidr;
	struct sl_port_range ports;
	int protocol;
	bool has_ports, has_protocol;
};

static bool read_text(const char *at, size_t len, struct short_text *t)
{
	const char *end = at + len;

	*t = (struct short_text){};
	at = len ? read_host(at, end, &t->cidr) : NULL;
	if (at && at < end && *at == ':') {
		at = read_ports(at + 1, end, &t->ports);
		t->has_ports = true;
	}
	if (!at || at == end)
		return at;
	if (*at != '/' || sl_protocol_number(at + 1, (size_t)(end - at - 1), &t->protocol))
		return false;
	t->has_protocol = true;
	return !t->has_ports || sl_protocol_has_ports(t->protocol);
}

static void fill(struct sl_short_rule *r, enum sl_action action, const struct short_text *t,
		 const struct sl_pos *rule_pos, const struct sl_pos *text_pos)
{
	r->rule = (struct sl_rule){.action = action, .short_form = true, .matches = &r->match,
				   .n_matches = 1, .pos = *rule_pos};
	r->match = (struct sl_match){.hosts = &r->host, .n_hosts = 1,
				     .ports = t->has_ports ? &r->ports : NULL,
				     .n_ports = t->has_ports,
				     .protocols = t->has_protocol ? &r->protocol : NULL,
				     .n_protocols = t->has_protocol, .borrowed = true,
				     .icmp_code = -1, .pos = *text_pos};
	r->host = (struct sl_host){.kind = SL_HOST_CIDR, .cidr = t->cidr, .pos = *text_pos};
	r->ports = t->ports;
	r->protocol = t->protocol;
}

/* At the end of the policy, which owns it; NULL: no memory. */
static struct sl_short_rule *add(struct sl_policy *policy, const struct sl_pos *pos)
{
	struct sl_short_rule *rule = malloc(sizeof(*rule));
	struct sl_item *item = rule ? SL_ADD(policy->items, policy->n_items) : NULL;

	if (!item) {
		free(rule);
		return NULL;
	}
	item->rule = &rule->rule;
	item->pos = *pos;
	return rule;
}

bool sl_short_rule_read(struct sl_parser *p)
{
	struct sl_short_rule *rule;
	struct sl_plain_pair pair;
	struct short_text text;
	bool deny;

	if (!sl_plain_peek_pair(&p->yaml, &pair))
		return false;
	deny = sl_text_is(pair.key, pair.key_len, "deny");
	if (!deny && !sl_text_is(pair.key, pair.key_len, "allow"))
		return false;
	if (!read_text(pair.text, pair.text_len, &text))
		return false;
	rule = add(p->policy, &p->yaml.pos);
	if (!rule) {
		sl_parser_no_memory(p);
		return true;
	}
	fill(rule, deny ? SL_DENY : SL_ALLOW, &text, &p->yaml.pos, &pair.text_pos);
	sl_plain_take_pair(&p->yaml, &pair);
	return true;
}
