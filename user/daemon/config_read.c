// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The text of sluiced.yaml, by the same reader of YAML as policies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "policy/parser.h"
#include "policy/text.h"

/* ---- lists of texts ---- */

struct texts {
	char ***list;
	size_t *n;
	/* Why a text is none of them, or NULL. */
	const char *(*wrong)(const char *text);
};

static void text_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	const struct texts *texts = object;
	char *text = NULL, **added;
	const char *wrong;

	if (!sl_copy_text(p, key, &text))
		return;
	wrong = texts->wrong(text);
	added = wrong ? NULL : SL_ADD(*texts->list, *texts->n);
	if (wrong)
		sl_error(p->diag, &p->yaml.pos, "%s '%s': %s", key->name, text, wrong);
	else if (!added)
		sl_parser_no_memory(p);
	if (added)
		*added = text;
	else
		free(text);
}

static const char *wrong_name(const char *text)
{
	return sl_text_name(text, strlen(text), true)
		       ? NULL
		       : "a policy's name is 1 to 63 of a-z A-Z 0-9 . _ -";
}

static const char *wrong_cgroup(const char *text)
{
	if (text[0] != '/')
		return "a path begins with / and goes from the top of the hierarchy, as "
		       "/agents.slice/*";
	if (!text[strspn(text, "/*")])
		return "it would take every process of the host";
	return strstr(text, "/../") || strstr(text, "//") || strstr(text, "/./")
		       ? "a path has no parts .. and . and no empty ones"
		       : NULL;
}

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
	struct texts texts = {&t->patterns, &t->n_patterns, wrong};

	t->kind = kind;
	sl_each_read(p, key, text_read, &texts);
}

static void device_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	patterns_read(p, key, object, SL_CONFIG_DEVICE, sl_link_pattern_wrong);
}

static void cgroup_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	patterns_read(p, key, object, SL_CONFIG_CGROUP, wrong_cgroup);
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
	struct texts texts = {&t->labels, &t->n_labels, wrong_label};

	t->kind = SL_CONFIG_CONTAINER;
	sl_each_read(p, key, text_read, &texts);
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
	struct texts texts = {&t->choice, &t->n_choice, wrong_name};

	sl_each_read(p, key, text_read, &texts);
}

static void mode_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"policy", "enforce", "audit", NULL};
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		((struct sl_config_target *)object)->mode = (enum sl_config_mode)word;
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
	[SL_CONF_T_CHOICE] = choice_read,
};

static void parent_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_target *t = object;
	struct texts texts = {&t->patterns, &t->n_patterns, wrong_cgroup};

	t->kind = SL_CONFIG_PARENT;
	text_read(p, key, &texts);
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
}

static void one_target_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	one_read(p, key, object, &sl_config_target, target_values,
		 1 << SL_CONF_T_MATCH | 1 << SL_CONF_T_POLICY);
}

static void targets_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, one_target_read, object, true);
}

static void one_default_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	one_read(p, key, object, &sl_config_default, default_values,
		 1 << SL_CONF_D_CGROUP | 1 << SL_CONF_D_POLICY);
}

static void defaults_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, one_default_read, object, true);
}

/* ---- the top ---- */

static void version_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	__u64 number;

	(void)object;
	if (sl_number_read(p, key, ~0ull, &number) && number != 1)
		sl_error(p->diag, &p->yaml.pos,
			 "format version %llu; this program reads "
			 "`sluiced: 1`",
			 (unsigned long long)number);
}

static void policies_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_copy_text(p, key, &((struct sl_config *)object)->policies);
}

static void group_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_copy_text(p, key, &((struct sl_config *)object)->group);
}

/* ---- run ---- */

static void run_policies_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_run *run = object;
	struct texts texts = {&run->policies, &run->n_policies, wrong_name};

	run->pos = p->yaml.pos;
	sl_each_read(p, key, text_read, &texts);
}

static void run_limit_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_run *run = object;
	__u64 number;

	if (!sl_number_read(p, key, SL_CONFIG_RUN_LIMIT_MAX, &number))
		return;
	run->limit = (unsigned)number;
	if (!number)
		sl_error(p->diag, &p->yaml.pos, "limit 0: leave run out, and nobody may");
}

/* Nothing but runs stands there: what is in it and no run's is denied everything. */
static void run_cgroup_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_run *run = object;
	const char *wrong;

	if (!sl_copy_text(p, key, &run->cgroup))
		return;
	wrong = wrong_cgroup(run->cgroup);
	if (!wrong && (strpbrk(run->cgroup, "*?[") || strlen(run->cgroup) > 200))
		wrong = "one path, without patterns, of at most 200 bytes";
	if (wrong)
		sl_error(p->diag, &p->yaml.pos, "%s '%s': %s", key->name, run->cgroup, wrong);
}

static sl_value_fn *const run_values[] = {
	[SL_CONF_U_POLICIES] = run_policies_read,
	[SL_CONF_U_LIMIT] = run_limit_read,
	[SL_CONF_U_CGROUP] = run_cgroup_read,
};

static void run_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config *config = object;
	struct sl_pos pos = p->yaml.pos;
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	config->run.limit = SL_CONFIG_RUN_LIMIT;
	sl_map_read(p, &sl_config_run, run_values, &config->run, &map);
	if (!map.faulty && p->yaml.type != SL_YAML_END && !map.lines[SL_CONF_U_POLICIES])
		sl_error(p->diag, &pos, "\"policies\" is missing in run");
}

static void audit_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config *config = object;

	(void)key;
	if (sl_sinks_parse_yaml(&p->yaml, &config->sinks, &config->n_sinks, p->diag) == -ENOMEM)
		sl_parser_no_memory(p);
}

static void metrics_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config *config = object;
	int err = sl_metrics_parse_yaml(&p->yaml, &config->metrics, p->diag);

	(void)key;
	config->has_metrics = !err;
	if (err == -ENOMEM)
		sl_parser_no_memory(p);
}

static void place_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	char **place = object;

	if (sl_copy_text(p, key, place) && (*place)[0] != '/')
		sl_error(p->diag, &p->yaml.pos, "%s '%s': the path must be absolute", key->name,
			 *place);
}

static void docker_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	place_read(p, key, &((struct sl_config *)object)->runtimes[SL_CONF_R_DOCKER]);
}

static void podman_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	place_read(p, key, &((struct sl_config *)object)->runtimes[SL_CONF_R_PODMAN]);
}

static void containerd_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	place_read(p, key, &((struct sl_config *)object)->runtimes[SL_CONF_R_CONTAINERD]);
}

static sl_value_fn *const runtime_values[] = {
	[SL_CONF_R_DOCKER] = docker_read,
	[SL_CONF_R_PODMAN] = podman_read,
	[SL_CONF_R_CONTAINERD] = containerd_read,
};

static void runtimes_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_map map;

	if (p->yaml.type == SL_YAML_MAP)
		sl_map_read(p, &sl_config_runtimes, runtime_values, object, &map);
	else
		sl_wrong_value(p, key);
}

static void meter_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	__s64 seconds;

	if (p->yaml.type != SL_YAML_SCALAR ||
	    !sl_duration_parse(p->yaml.scalar, p->yaml.scalar_len, &seconds) || seconds > 86400)
		sl_wrong_value(p, key);
	else
		((struct sl_config *)object)->meter_s = seconds;
}

static sl_value_fn *const top_values[] = {
	[SL_CONF_SLUICED] = version_read, [SL_CONF_POLICIES] = policies_read,
	[SL_CONF_GROUP] = group_read,	  [SL_CONF_RUN] = run_read,
	[SL_CONF_TARGETS] = targets_read, [SL_CONF_DEFAULTS] = defaults_read,
	[SL_CONF_AUDIT] = audit_read,	  [SL_CONF_METRICS] = metrics_read,
	[SL_CONF_RUNTIMES] = runtimes_read, [SL_CONF_METER] = meter_read,
};

static void document_read(struct sl_parser *p, struct sl_config *config)
{
	char buf[SL_QUOTE_MAX + 32];
	struct sl_pos pos;
	struct sl_map map;

	sl_yaml_next(&p->yaml);
	if (p->yaml.error)
		return;
	pos = p->yaml.pos;
	if (p->yaml.type != SL_YAML_MAP) {
		sl_error(p->diag, &pos,
			 "the configuration is a mapping that begins with "
			 "`sluiced: 1`; found %s",
			 sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
		return;
	}
	sl_map_read(p, &sl_config_top, top_values, config, &map);
	if (p->yaml.type == SL_YAML_END)
		return;
	if (!map.lines[SL_CONF_SLUICED] && !map.faulty)
		sl_error(p->diag, &pos,
			 "`sluiced: 1` is missing: the configuration begins with it");
	sl_yaml_next(&p->yaml); /* what follows the mapping must be nothing */
}

int sl_config_parse(const char *text, size_t len, const char *file, struct sl_config **out,
		    struct sl_diag *diag)
{
	struct sl_config *config = calloc(1, sizeof(*config));
	struct sl_policy later = {}; /* collects what is not enforced yet */
	struct sl_parser p = {.diag = diag, .policy = &later};
	size_t errors = diag->n_errors;
	int err;

	if (!config)
		return -ENOMEM;
	config->meter_s = SL_CONFIG_METER_S;
	sl_yaml_open(&p.yaml, text, len, sl_diag_intern(diag, file), diag);
	document_read(&p, config);
	err = p.yaml.error;
	sl_yaml_close(&p.yaml);
	for (size_t i = 0; i < later.n_unenforced; i++) {
		sl_error(diag, &later.unenforced[i].pos,
			 "\"%s\": not enforced yet; it comes with "
			 "the part \"%s\"",
			 later.unenforced[i].what, later.unenforced[i].part);
		free(later.unenforced[i].what);
	}
	free(later.unenforced);
	if (!err && diag->n_errors > errors)
		err = -EINVAL;
	if (err)
		sl_config_free(config);
	else
		*out = config;
	return err;
}
