// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluiced.yaml: commands of users, and where the runtimes of containers are. */
#include <string.h>

#include "config_reader.h"
#include "policy/text.h"

/* ---- run ---- */

static void run_policies_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_run *run = object;
	struct sl_conf_texts texts = {&run->policies, &run->n_policies, sl_conf_wrong_name};

	run->pos = p->yaml.pos;
	sl_each_read(p, key, sl_conf_text_read, &texts);
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
	wrong = sl_conf_wrong_cgroup(run->cgroup);
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

void sl_conf_run_read(struct sl_parser *p, const struct sl_key *key, void *object)
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

/* ---- runtimes ---- */

void sl_conf_place_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	char **place = object;

	if (sl_copy_text(p, key, place) && (*place)[0] != '/')
		sl_error(p->diag, &p->yaml.pos, "%s '%s': the path must be absolute", key->name,
			 *place);
}

static void docker_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_conf_place_read(p, key, &((struct sl_config *)object)->runtimes[SL_CONF_R_DOCKER]);
}

static void podman_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_conf_place_read(p, key, &((struct sl_config *)object)->runtimes[SL_CONF_R_PODMAN]);
}

static void containerd_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_conf_place_read(p, key, &((struct sl_config *)object)->runtimes[SL_CONF_R_CONTAINERD]);
}

static const char *wrong_socket(const char *text)
{
	return text[0] == '/' ? NULL : "the path must be absolute";
}

static void sockets_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config *config = object;
	struct sl_conf_texts texts = {&config->sockets, &config->n_sockets, wrong_socket};
	struct sl_pos pos = p->yaml.pos;

	config->has_sockets = true;
	if (p->yaml.type == SL_YAML_LIST)
		sl_list_read(p, key, sl_conf_text_read, &texts, true);
	else
		sl_wrong_value(p, key);
	if (config->n_sockets > SL_CONFIG_SOCKETS_MAX)
		sl_error(p->diag, &pos, "sockets: %zu, and no more than %d can be asked", config->n_sockets,
			 SL_CONFIG_SOCKETS_MAX);
}

static sl_value_fn *const runtime_values[] = {
	[SL_CONF_R_DOCKER] = docker_read,
	[SL_CONF_R_PODMAN] = podman_read,
	[SL_CONF_R_CONTAINERD] = containerd_read,
	[SL_CONF_R_SOCKETS] = sockets_read,
};

void sl_conf_runtimes_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_map map;

	if (p->yaml.type == SL_YAML_MAP)
		sl_map_read(p, &sl_config_runtimes, runtime_values, object, &map);
	else
		sl_wrong_value(p, key);
}
