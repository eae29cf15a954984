// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* dns: who is asked, and what may be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "domain.h"
#include "parser.h"
#include "text.h"

static void resolver_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_policy *policy = object;
	struct sl_cidr *resolver;

	if (!sl_is_text(p, key))
		return;
	resolver = SL_ADD(policy->resolvers, policy->n_resolvers);
	if (!resolver)
		sl_parser_no_memory(p);
	else if (sl_address_read(p->yaml.scalar, p->yaml.scalar_len, &p->yaml.pos, resolver,
				 p->diag))
		policy->n_resolvers--;
}

static void resolvers_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_policy *policy = object;

	if (p->yaml.type == SL_YAML_SCALAR &&
	    sl_text_is(p->yaml.scalar, p->yaml.scalar_len, "system"))
		policy->dns_system = true;
	else
		sl_list_read(p, key, resolver_read, policy, false);
}

static void queries_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"listed", "any", NULL};
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;
	int word;

	dns->pos = p->yaml.pos;
	word = sl_word_read(p, key, words);
	if (word >= 0)
		dns->queries = word ? SL_QUERIES_ANY : SL_QUERIES_LISTED;
}

static bool has_type(const struct sl_dns *dns, __u16 type)
{
	for (size_t i = 0; i < dns->n_types; i++) {
		if (dns->types[i] == type)
			return true;
	}
	return false;
}

static void type_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_dns *dns = object;
	const char *text = p->yaml.scalar;
	size_t len = p->yaml.scalar_len;
	__u16 type;

	if (!sl_is_text(p, key))
		return;
	if (!sl_dns_type_parse(text, len, &type))
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\" is no question type: %sor TYPE and a "
			 "number, as TYPE99", SL_Q(text, len), sl_dns_type_words());
	else if (has_type(dns, type))
		sl_error(p->diag, &p->yaml.pos, "the type \"%.*s\" stands here twice",
			 SL_Q(text, len));
	else if (dns->n_types == SL_DNS_TYPES_MAX)
		sl_error(p->diag, &p->yaml.pos, "more than %d question types; leave \"%.*s\" out",
			 SL_DNS_TYPES_MAX, SL_Q(text, len));
	else
		dns->types[dns->n_types++] = type;
}

static void types_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;

	dns->pos = p->yaml.pos;
	sl_list_read(p, key, type_read, dns, false);
}

static void seconds_read(struct sl_parser *p, const struct sl_key *key, __u32 *out)
{
	__s64 seconds;

	if (!sl_is_text(p, key))
		return;
	if (sl_duration_parse(p->yaml.scalar, p->yaml.scalar_len, &seconds) &&
	    seconds <= SL_DNS_TTL_BOUND_S)
		*out = (__u32)seconds;
	else
		sl_wrong_value(p, key);
}

static void ttl_min_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	seconds_read(p, key, &((struct sl_dns *)object)->ttl_min_s);
}

static void ttl_max_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	seconds_read(p, key, &((struct sl_dns *)object)->ttl_max_s);
}

static void ttl_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_TTL_MIN] = ttl_min_read,
		[SL_TTL_MAX] = ttl_max_read,
	};
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;
	struct sl_map map;

	dns->pos = p->yaml.pos;
	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	sl_map_read(p, &sl_keys_ttl, values, dns, &map);
	if ((dns->ttl_min_s ? dns->ttl_min_s : SL_DNS_TTL_MIN_S) >
	    (dns->ttl_max_s ? dns->ttl_max_s : SL_DNS_TTL_MAX_S))
		sl_error(p->diag, &dns->pos, "the \"min\" of \"ttl\" (60s if not written) is more "
			 "than its \"max\" (1d)");
	/* What is said of a default is what is said of none. */
	if (dns->ttl_min_s == SL_DNS_TTL_MIN_S)
		dns->ttl_min_s = 0;
	if (dns->ttl_max_s == SL_DNS_TTL_MAX_S)
		dns->ttl_max_s = 0;
}

static void domain_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	const char *text = p->yaml.scalar;
	size_t len = p->yaml.scalar_len;
	struct sl_dns *dns = object;
	char **domain;
	int err;

	if (!sl_is_text(p, key))
		return;
	if (memchr(text, '*', len)) {
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\": a search domain is a name, not a "
			 "pattern", SL_Q(text, len));
		return;
	}
	domain = SL_ADD(dns->search, dns->n_search);
	err = domain ? sl_domain_read(text, len, text, len, &p->yaml.pos, domain, p->diag)
		     : -ENOMEM;
	if (err == -ENOMEM)
		sl_parser_no_memory(p);
}

/* An empty list is one: nothing is searched. */
static void search_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;

	dns->pos = p->yaml.pos;
	dns->has_search = true;
	sl_list_read(p, key, domain_read, dns, true);
	if (dns->n_search > SL_SEARCH_MAX)
		sl_error(p->diag, &dns->pos, "more than %d search domains", SL_SEARCH_MAX);
}

static void mode_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"kernel", "forward", NULL};
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;

	dns->pos = p->yaml.pos;
	dns->forward = sl_word_read(p, key, words) == 1;
}

static void dot_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"deny", "rules", NULL};
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;

	dns->pos = p->yaml.pos;
	dns->dot_by_rules = sl_word_read(p, key, words) == 1;
}

static void forward_at(const struct sl_parser *p, struct sl_dns *dns)
{
	if (!dns->forward_pos.line)
		dns->forward_pos = p->yaml.pos;
}

static void tls_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;
	const char *text = p->yaml.scalar;
	size_t len = p->yaml.scalar_len;

	forward_at(p, dns);
	if (!sl_is_text(p, key))
		return;
	if (memchr(text, '*', len))
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\": the name in a certificate is a name, "
			 "not a pattern", SL_Q(text, len));
	else if (sl_domain_read(text, len, text, len, &p->yaml.pos, &dns->tls, p->diag) == -ENOMEM)
		sl_parser_no_memory(p);
}

static void stripped_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"ech", "hints", NULL};
	struct sl_dns *dns = object;
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		dns->strip |= 1u << word;
}

static void strip_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;

	forward_at(p, dns);
	sl_list_read(p, key, stripped_read, dns, false);
}

/* Loopback: nobody else reaches it, and nothing of the network's is taken. */
static void listen_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_dns *dns = &((struct sl_policy *)object)->dns;
	struct sl_cidr at;

	forward_at(p, dns);
	if (!sl_is_text(p, key) || sl_address_read(p->yaml.scalar, p->yaml.scalar_len,
						   &p->yaml.pos, &at, p->diag))
		return;
	if (at.family != 4 || at.addr[0] != 127) {
		sl_wrong_value(p, key);
		return;
	}
	dns->listen = at;
	dns->has_listen = true;
}

/* What only the forwarder does is said with it. */
static void check_forward(struct sl_parser *p, const struct sl_dns *dns)
{
	if (!dns->forward && dns->forward_pos.line)
		sl_error(p->diag, &dns->forward_pos, "\"tls\", \"strip\" and \"listen\" are the "
			 "forwarder's: write \"mode: forward\" beside them, or leave them out");
}

void sl_dns_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_DNS_RESOLVERS] = resolvers_read,
		[SL_DNS_QUERIES] = queries_read,
		[SL_DNS_TYPES] = types_read,
		[SL_DNS_TTL] = ttl_read,
		[SL_DNS_SEARCH] = search_read,
		[SL_DNS_MODE] = mode_read,
		[SL_DNS_TLS] = tls_read,
		[SL_DNS_STRIP] = strip_read,
		[SL_DNS_LISTEN] = listen_read,
		[SL_DNS_DOT] = dot_read,
	};
	struct sl_policy *policy = object;
	struct sl_map map;

	policy->has_dns = true;
	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	sl_map_read(p, &sl_keys_dns, values, policy, &map);
	check_forward(p, &policy->dns);
}
