// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* device, sets, and the settings that only later parts enforce. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "parser.h"
#include "sluice_sets.h"
#include "text.h"

enum sl_log sl_log_read(struct sl_parser *p, const struct sl_key *key)
{
	static const char *const words[] = {"all", "denied", "none", NULL};

	return (enum sl_log)(sl_word_read(p, key, words) + 1);
}

void sl_policy_log_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	((struct sl_policy *)object)->log = sl_log_read(p, key);
}

/* ---- device ---- */

static void arp_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"allow", "deny", NULL};

	((struct sl_policy *)object)->device.arp_deny = sl_word_read(p, key, words) == 1;
}

static void nd_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"allow", "deny", NULL};

	((struct sl_policy *)object)->device.nd_deny = sl_word_read(p, key, words) == 1;
}

static void dhcp_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"client", "deny", NULL};

	((struct sl_policy *)object)->device.dhcp_deny = sl_word_read(p, key, words) == 1;
}

void sl_device_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_DEVICE_ARP] = arp_read,
		[SL_DEVICE_ND] = nd_read,
		[SL_DEVICE_DHCP] = dhcp_read,
	};
	struct sl_map map;

	if (p->yaml.type == SL_YAML_MAP)
		sl_map_read(p, &sl_keys_device, values, object, &map);
	else
		sl_wrong_value(p, key);
}

/* ---- sets ---- */

static void cidr_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_set *set = object;
	struct sl_cidr *cidr;

	(void)key;
	if (p->yaml.type != SL_YAML_SCALAR || sl_yaml_is_null(&p->yaml)) {
		char buf[SL_QUOTE_MAX + 32];

		sl_error(p->diag, &p->yaml.pos, "the set \"%s\" holds addresses and CIDRs; found "
			 "%s", set->name, sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
		sl_yaml_skip(&p->yaml);
		return;
	}
	cidr = SL_ADD(set->cidrs, set->n_cidrs);
	if (!cidr)
		sl_parser_no_memory(p);
	else if (sl_member_read(p->yaml.scalar, p->yaml.scalar_len, &p->yaml.pos, cidr, p->diag))
		set->n_cidrs--;
}

static void file_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_set *set = object;

	if (!sl_is_text(p, key))
		return;
	if (!p->yaml.scalar_len)
		sl_wrong_value(p, key);
	else
		sl_copy_text(p, key, &set->path);
}

static void set_value_read(struct sl_parser *p, const struct sl_key *key, struct sl_set *set)
{
	static sl_value_fn *const values[] = {[SL_SET_FILE] = file_read};
	struct sl_pos pos = p->yaml.pos;
	char buf[SL_QUOTE_MAX + 32];
	struct sl_map map;

	if (p->yaml.type == SL_YAML_LIST) {
		sl_list_read(p, key, cidr_read, set, true);
	} else if (p->yaml.type == SL_YAML_MAP) {
		sl_map_read(p, &sl_keys_set, values, set, &map);
		if (!map.lines[SL_SET_FILE] && !map.faulty && p->yaml.type != SL_YAML_END)
			sl_error(p->diag, &pos, "the set \"%s\" wants a list, or {file: PATH}",
				 set->name);
	} else if (p->yaml.type != SL_YAML_END) {
		sl_error(p->diag, &pos, "the set \"%s\" wants a list, as [192.0.2.0/24], or "
			 "{file: PATH}; found %s", set->name,
			 sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
	}
}

static bool is_built_in(const char *name)
{
#define NAME(set, contents) #set,
	static const char *const names[] = {SL_STATIC_SETS(NAME) SL_RESOLVED_SETS(NAME)};
#undef NAME

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i], name))
			return true;
	}
	return false;
}

/* The key of a set: a new set by that name, NULL if there can be none. */
static struct sl_set *set_begin(struct sl_parser *p, struct sl_policy *policy)
{
	struct sl_pos pos = p->yaml.pos;
	struct sl_set *set, **slot;
	unsigned earlier;
	int found;

	if (p->yaml.type != SL_YAML_SCALAR ||
	    !sl_text_name(p->yaml.scalar, p->yaml.scalar_len, false)) {
		char buf[SL_QUOTE_MAX + 32];

		sl_error(p->diag, &pos, "a set's name is 1 to 63 of a-z 0-9 . _ - (without @); "
			 "found %s", sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
		return NULL;
	}
	slot = SL_ADD(policy->sets, policy->n_sets);
	set = slot ? calloc(1, sizeof(*set)) : NULL;
	if (set)
		set->name = strndup(p->yaml.scalar, p->yaml.scalar_len);
	if (!set || !set->name)
		goto no_memory;
	*slot = set;
	set->pos = pos;
	if (is_built_in(set->name))
		sl_error(p->diag, &pos, "\"%s\" is the name of a built-in set; take another",
			 set->name);
	found = sl_names_add(&p->set_names, set->name, pos.line, &earlier);
	if (found > 0)
		sl_error(p->diag, &pos, "the set \"%s\" stands here twice; the first is in line "
			 "%u", set->name, earlier);
	else if (found < 0)
		sl_parser_no_memory(p);
	return set;

no_memory:
	free(set);
	sl_parser_no_memory(p);
	return NULL;
}

void sl_sets_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_set *set;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	for (sl_yaml_next(&p->yaml);
	     p->yaml.type != SL_YAML_MAP_END && p->yaml.type != SL_YAML_END;
	     sl_yaml_next(&p->yaml)) {
		set = set_begin(p, object);
		sl_yaml_skip(&p->yaml);
		sl_yaml_next(&p->yaml);
		if (set)
			set_value_read(p, key, set);
		else
			sl_yaml_skip(&p->yaml);
	}
}
