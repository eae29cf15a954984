// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluiced.yaml: targets, what they match, and defaults. */
#include <string.h>

#include "config_reader.h"
#include "policy/text.h"

/* ---- what is no pattern ---- */

static const char *wrong_unit(const char *text)
{
	const char *dot = strrchr(text, '.');

	if (strchr(text, '/'))
		return "a unit has no /; for a path use cgroup:";
	return dot && (!strcmp(dot, ".service") || !strcmp(dot, ".slice") || !strcmp(dot, ".scope"))
		       ? NULL
		       : "a unit that has processes ends in .service, .slice or .scope";
}

static const char *wrong_container(const char *text)
{
	return text[0] ? NULL : "an empty name is no container's";
}

static const char *wrong_label(const char *text)
{
	return text[0] && text[0] != '=' ? NULL : "a label is KEY or KEY=PATTERN";
}

/* ---- a target ---- */

static void patterns_read(struct sl_parser *p, const struct sl_key *key, struct sl_config_target *t,
			  enum sl_config_kind kind, const char *(*wrong)(const char *))
{
	struct sl_conf_texts texts = {&t->patterns, &t->n_patterns, wrong};

	t->kind = kind;
	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static void device_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	patterns_read(p, key, object, SL_CONFIG_DEVICE, sl_link_pattern_wrong);
}

static void cgroup_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	patterns_read(p, key, object, SL_CONFIG_CGROUP, sl_conf_wrong_cgroup);
}

static void unit_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	patterns_read(p, key, object, SL_CONFIG_UNIT, wrong_unit);
}

static void container_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	patterns_read(p, key, object, SL_CONFIG_CONTAINER, wrong_container);
}

static void label_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_target *t = object;
	struct sl_conf_texts texts = {&t->labels, &t->n_labels, wrong_label};

	t->kind = SL_CONFIG_CONTAINER;
	sl_each_read(p, key, sl_conf_text_read, &texts);
}

/* That it is not enforced yet is recorded with its line. */
static void later_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	(void)key;
	(void)object;
	sl_yaml_skip(&p->yaml);
}

static sl_value_fn *const match_values[] = {
	[SL_CONF_M_DEVICE] = device_read, [SL_CONF_M_CGROUP] = cgroup_read,
	[SL_CONF_M_UNIT] = unit_read,	  [SL_CONF_M_CONTAINER] = container_read,
	[SL_CONF_M_LABEL] = label_read,	  [SL_CONF_M_POD] = later_read,
};

static void match_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_pos pos = p->yaml.pos;
	unsigned n = 0;
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	sl_map_read(p, &sl_config_match, match_values, object, &map);
	for (int i = 0; i < SL_CONF_M_N; i++)
		n += map.lines[i] > 0;
	/* of a container both, or either */
	if (map.lines[SL_CONF_M_CONTAINER] && map.lines[SL_CONF_M_LABEL])
		n--;
	if (n != 1 && !map.faulty && p->yaml.type != SL_YAML_END)
		sl_error(p->diag, &pos,
			 "a match has one of device, cgroup, unit, and container with label; %s",
			 n ? "write a target for each" : "there is none");
}

static void policy_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_target *t = object;

	t->policy_pos = p->yaml.pos;
	sl_copy_name(p, key, &t->policy);
}

static void choice_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_target *t = object;
	struct sl_conf_texts texts = {&t->choice, &t->n_choice, sl_conf_wrong_name};

	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static void mode_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"policy", "enforce", "audit", NULL};
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		((struct sl_config_target *)object)->mode = (enum sl_config_mode)word;
}

static void veth_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"true", "false", NULL};

	((struct sl_config_target *)object)->veth = sl_word_read(p, key, words) == 0;
}

/* ---- bind: as the options of attach take it ---- */

typedef int binding_fn(struct sl_binding_spec *spec, const char *text, struct sl_diag *diag);

static void bound_read(struct sl_parser *p, const struct sl_key *key, void *object,
		       binding_fn *bind)
{
	struct sl_diag said = {};
	char *text = NULL;

	if (!sl_copy_text(p, key, &text))
		return;
	if (bind(&((struct sl_config_target *)object)->binding, text, &said))
		sl_error(p->diag, &p->yaml.pos, "%s: %s", key->name,
			 said.n ? said.entries[0].message : "out of memory");
	sl_diag_free(&said);
	free(text);
}

static void mac_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	bound_read(p, key, object, sl_binding_mac);
}

static void one_address_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	bound_read(p, key, object, sl_binding_address);
}

static void address_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_each_read(p, key, one_address_read, object);
}

static void one_vlan_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	bound_read(p, key, object, sl_binding_vlan);
}

static void vlan_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_each_read(p, key, one_vlan_read, object);
}

static sl_value_fn *const bind_values[] = {
	[SL_CONF_B_MAC] = mac_read,
	[SL_CONF_B_ADDRESS] = address_read,
	[SL_CONF_B_VLAN] = vlan_read,
};

static void bind_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_map map;

	if (p->yaml.type == SL_YAML_MAP)
		sl_map_read(p, &sl_config_bind, bind_values, object, &map);
	else
		sl_wrong_value(p, key);
}

/* ---- targets and defaults ---- */

static sl_value_fn *const target_values[] = {
	[SL_CONF_T_MATCH] = match_read,	  [SL_CONF_T_POLICY] = policy_read,
	[SL_CONF_T_MODE] = mode_read,	  [SL_CONF_T_BIND] = bind_read,
	[SL_CONF_T_CHOICE] = choice_read, [SL_CONF_T_VETH] = veth_read,
};

static void parent_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_target *t = object;
	struct sl_conf_texts texts = {&t->patterns, &t->n_patterns, sl_conf_wrong_cgroup};

	t->kind = SL_CONFIG_PARENT;
	sl_conf_text_read(p, key, &texts);
}

static sl_value_fn *const default_values[] = {
	[SL_CONF_D_CGROUP] = parent_read,
	[SL_CONF_D_POLICY] = policy_read,
	[SL_CONF_D_MODE] = mode_read,
};

/* Reads a mapping into a new target; which of its keys (bits) must be there. */
static void one_read(struct sl_parser *p, const struct sl_key *key, struct sl_config *config,
		     const struct sl_key_table *table, sl_value_fn *const *values, unsigned must)
{
	struct sl_pos pos = p->yaml.pos;
	struct sl_config_target *t;
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	t = SL_ADD(config->targets, config->n_targets);
	if (!t) {
		sl_parser_no_memory(p);
		return;
	}
	t->line = pos.line;
	sl_map_read(p, table, values, t, &map);
	for (unsigned i = 0; i < table->n && !map.faulty && p->yaml.type != SL_YAML_END; i++)
		if ((must >> i & 1) && !map.lines[i])
			sl_error(p->diag, &pos, "\"%s\" is missing in %s", table->keys[i].name,
				 table->what);
	if (table == &sl_config_target && map.lines[SL_CONF_T_BIND] && t->kind != SL_CONFIG_DEVICE)
		sl_error(p->diag, &pos, "bind is for devices: a cgroup has no frames");
	if (t->n_choice && t->kind != SL_CONFIG_CONTAINER)
		sl_error(p->diag, &pos, "choice is for containers: nothing else has annotations");
	if (t->veth && t->kind != SL_CONFIG_CONTAINER)
		sl_error(p->diag, &pos, "veth is for containers: match a veth as device otherwise");
}

static void one_target_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	one_read(p, key, object, &sl_config_target, target_values,
		 1 << SL_CONF_T_MATCH | 1 << SL_CONF_T_POLICY);
}

void sl_conf_targets_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, one_target_read, object, true);
}

static void one_default_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	one_read(p, key, object, &sl_config_default, default_values,
		 1 << SL_CONF_D_CGROUP | 1 << SL_CONF_D_POLICY);
}

void sl_conf_defaults_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, one_default_read, object, true);
}
