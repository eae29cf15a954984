// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A match in YAML: shorthands, mappings, and the mappings of inbound rules. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parser.h"
#include "text.h"

#define UID_MAX 4294967294u	/* 2^32 - 1 is "no user" to the kernel */

static void host_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_match *match = object;
	struct sl_host *host;
	int err;

	if (!sl_is_text(p, key))
		return;
	host = SL_ADD(match->hosts, match->n_hosts);
	err = host ? sl_host_parse(p->yaml.scalar, p->yaml.scalar_len, &p->yaml.pos, host, p->diag)
		   : -ENOMEM;
	if (err == -ENOMEM)
		sl_parser_no_memory(p);
}

static void to_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_each_read(p, key, host_read, object);
}

static void port_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_match *match = object;
	struct sl_port_range *range;

	if (!sl_is_text(p, key))
		return;
	range = SL_ADD(match->ports, match->n_ports);
	if (!range)
		sl_parser_no_memory(p);
	else if (sl_port_range_parse(p->yaml.scalar, p->yaml.scalar_len, &p->yaml.pos, range,
				     p->diag))
		match->n_ports--;
}

static void ports_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_each_read(p, key, port_read, object);
}

static void protocol_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"tcp", "udp", "icmp", "icmpv6", "sctp", "any", NULL};
	struct sl_match *match = object;
	int protocol = 0, *added;
	__u64 number;

	if (p->yaml.type == SL_YAML_SCALAR &&
	    sl_text_number(p->yaml.scalar, p->yaml.scalar_len, 255, &number))
		protocol = (int)number;
	else if (sl_word_read(p, key, words) < 0)
		return;
	else
		sl_protocol_number(p->yaml.scalar, p->yaml.scalar_len, &protocol);
	added = SL_ADD(match->protocols, match->n_protocols);
	if (added)
		*added = protocol;
	else
		sl_parser_no_memory(p);
}

static void protocols_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_each_read(p, key, protocol_read, object);
}

static void icmp_type_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_icmp *icmp = object;
	__u64 number;

	if (sl_number_read(p, key, 255, &number))
		icmp->type = (__u8)number;
}

static void icmp_code_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_icmp *icmp = object;
	__u64 number;

	if (sl_number_read(p, key, 255, &number))
		icmp->code = (int)number;
}

void sl_icmp_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_ICMP_TYPE] = icmp_type_read,
		[SL_ICMP_CODE] = icmp_code_read,
	};
	struct sl_icmp *icmp = object;
	struct sl_pos pos = p->yaml.pos;
	struct sl_map map;

	*icmp = (struct sl_icmp){.written = true, .code = -1};
	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	sl_map_read(p, &sl_keys_icmp, values, icmp, &map);
	if (!map.lines[SL_ICMP_TYPE] && !map.faulty && p->yaml.type != SL_YAML_END)
		sl_error(p->diag, &pos, "\"icmp\" wants a \"type\", as {type: 8}");
}

static void match_icmp_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_match *match = object;
	struct sl_icmp icmp;

	sl_icmp_read(p, key, &icmp);
	match->has_icmp = true;
	match->icmp_type = icmp.type;
	match->icmp_code = icmp.code;
}

static void container_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_uid *uid = object;
	__u64 number;

	if (!sl_number_read(p, key, UID_MAX, &number))
		return;
	uid->kind = SL_UID_CONTAINER;
	uid->number = (__u32)number;
}

static void container_uid_read(struct sl_parser *p, struct sl_uid *uid)
{
	static sl_value_fn *const values[] = {[SL_UID_KEY_CONTAINER] = container_read};
	struct sl_map map;

	sl_map_read(p, &sl_keys_uid, values, uid, &map);
	if (!map.lines[SL_UID_KEY_CONTAINER] && !map.faulty && p->yaml.type != SL_YAML_END)
		sl_error(p->diag, &uid->pos, "a \"uid\" mapping wants \"container\", as "
			 "{container: 1000}");
}

static bool is_user_name(const char *text, size_t len)
{
	bool digits_only = true;

	if (!len || len > 255 || text[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] == 0x7f || text[i] == ':' || text[i] == '/')
			return false;
		digits_only &= text[i] >= '0' && text[i] <= '9';
	}
	return !digits_only;
}

static void uid_text_read(struct sl_parser *p, const struct sl_key *key, struct sl_uid *uid)
{
	const char *text = p->yaml.scalar;
	size_t len = p->yaml.scalar_len;
	__u64 number;

	if (sl_text_number(text, len, UID_MAX, &number)) {
		uid->number = (__u32)number;
		return;
	}
	if (!is_user_name(text, len)) {
		sl_error(p->diag, &uid->pos, "\"uid\": \"%.*s\" is neither a number from 0 to %u "
			 "nor the name of a user", SL_Q(text, len), UID_MAX);
		return;
	}
	uid->kind = SL_UID_NAME;
	sl_copy_text(p, key, &uid->name);
}

static void uid_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_match *match = object;
	struct sl_uid *uid;

	if (p->yaml.type != SL_YAML_MAP && !sl_is_text(p, key))
		return;
	uid = SL_ADD(match->uids, match->n_uids);
	if (!uid) {
		sl_parser_no_memory(p);
		return;
	}
	uid->pos = p->yaml.pos;
	if (p->yaml.type == SL_YAML_MAP)
		container_uid_read(p, uid);
	else
		uid_text_read(p, key, uid);
}

static void uids_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_each_read(p, key, uid_read, object);
}

/* What can be said of a whole mapping, if its parts were right. */
static void mapping_check(struct sl_parser *p, struct sl_match *match, size_t errors,
			  const struct sl_map *map, int hosts)
{
	if (p->yaml.type == SL_YAML_END)
		return;
	if (!map->lines[hosts] && !map->faulty)
		sl_error(p->diag, &match->pos, "\"%s\" is missing: which hosts? (any is every "
			 "address)", map->table->keys[hosts].name);
	else if (p->diag->n_errors == errors)
		sl_match_check(match, &match->pos, p->diag);
}

static void mapping_read(struct sl_parser *p, struct sl_match *match)
{
	static sl_value_fn *const values[] = {
		[SL_MATCH_TO] = to_read,
		[SL_MATCH_PORTS] = ports_read,
		[SL_MATCH_PROTOCOL] = protocols_read,
		[SL_MATCH_ICMP] = match_icmp_read,
		[SL_MATCH_UID] = uids_read,
	};
	size_t errors = p->diag->n_errors;
	struct sl_map map;

	sl_map_read(p, &sl_keys_match, values, match, &map);
	mapping_check(p, match, errors, &map, SL_MATCH_TO);
}

static struct sl_match *add_match(struct sl_parser *p, struct sl_match **matches, size_t *n)
{
	struct sl_match *match = SL_ADD(*matches, *n);

	if (!match) {
		sl_parser_no_memory(p);
		return NULL;
	}
	match->pos = p->yaml.pos;
	match->icmp_code = -1;
	return match;
}

static void shorthand_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_rule *rule = object;
	struct sl_match *match;

	if (!sl_is_text(p, key))
		return;
	match = add_match(p, &rule->matches, &rule->n_matches);
	if (!match)
		return;
	if (sl_shorthand_parse(p->yaml.scalar, p->yaml.scalar_len, &p->yaml.pos, match,
			       p->diag) == -ENOMEM)
		sl_parser_no_memory(p);
}

static void list_element_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	if (p->yaml.type != SL_YAML_MAP) {
		shorthand_read(p, key, object);
		return;
	}
	sl_error(p->diag, &p->yaml.pos, "a mapping inside the list of \"%s\": a list holds texts "
		 "as HOST:PORTS/PROTO; write the mapping as a rule of its own", key->name);
	sl_yaml_skip(&p->yaml);
}

void sl_matches_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_rule *rule = object;
	struct sl_match *match;

	if (p->yaml.type == SL_YAML_LIST) {
		sl_list_read(p, key, list_element_read, rule, false);
	} else if (p->yaml.type == SL_YAML_MAP) {
		match = add_match(p, &rule->matches, &rule->n_matches);
		if (match)
			mapping_read(p, match);
	} else {
		shorthand_read(p, key, rule);
	}
}

static void inbound_rule_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_INBOUND_FROM] = to_read,
		[SL_INBOUND_PORTS] = ports_read,
		[SL_INBOUND_PROTOCOL] = protocols_read,
		[SL_INBOUND_ICMP] = match_icmp_read,
	};
	struct sl_policy *policy = object;
	size_t errors = p->diag->n_errors;
	const struct sl_host *name;
	struct sl_match *match;
	struct sl_map map;

	(void)key;
	if (p->yaml.type != SL_YAML_MAP) {
		char buf[SL_QUOTE_MAX + 32];

		sl_error(p->diag, &p->yaml.pos, "an inbound rule is a mapping, as {from: "
			 "10.0.0.0/8, ports: 22}; found %s",
			 sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
		sl_yaml_skip(&p->yaml);
		return;
	}
	match = add_match(p, &policy->inbound_matches, &policy->n_inbound);
	if (!match)
		return;
	sl_map_read(p, &sl_keys_inbound, values, match, &map);
	mapping_check(p, match, errors, &map, SL_INBOUND_FROM);
	name = sl_match_name(match);
	if (name)
		sl_error(p->diag, &name->pos, "\"%s\" is a name: DNS says where a name can be "
			 "reached, not who calls; \"from\" takes addresses",
			 name->text ? name->text : "*");
}

void sl_inbound_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"replies", "allow", NULL};
	struct sl_policy *policy = object;
	int word;

	if (p->yaml.type == SL_YAML_LIST) {
		policy->inbound = SL_INBOUND_LIST;
		sl_list_read(p, key, inbound_rule_read, policy, false);
		return;
	}
	word = sl_word_read(p, key, words);
	if (word >= 0)
		policy->inbound = word ? SL_INBOUND_ALLOW : SL_INBOUND_REPLIES;
}
