// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* `kubernetes:` of sluiced.yaml. */
#include <arpa/inet.h>
#include <string.h>

#include "config_reader.h"

static struct sl_config_kubernetes *of(void *object)
{
	return &((struct sl_config *)object)->kubernetes;
}

static void cri_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_conf_place_read(p, key, &of(object)->cri);
}

static void directory_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_conf_place_read(p, key, &of(object)->directory);
}

/* That it is not enforced yet is recorded with its line. */
static void api_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	(void)key;
	(void)object;
	sl_yaml_skip(&p->yaml);
}

/* Its cgroups are named one by one: a pod below a pattern of them could be of somebody's making. */
static const char *wrong_root(const char *text)
{
	const char *wrong = sl_conf_wrong_cgroup(text);

	if (wrong)
		return wrong;
	return strpbrk(text, "*?[") ? "one path, as /kubepods.slice, without patterns"
	       : text[strlen(text) - 1] == '/' ? "a path has no / at its end" : NULL;
}

static void cgroup_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_conf_texts texts = {&of(object)->cgroups, &of(object)->n_cgroups, wrong_root};

	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static void default_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_copy_name(p, key, &of(object)->policy);
}

static const char *wrong_namespace(const char *text)
{
	return text[0] ? NULL : "an empty name is no namespace's";
}

static void exempt_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_conf_texts texts = {&of(object)->exempt, &of(object)->n_exempt, wrong_namespace};

	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static const char *wrong_address(const char *text)
{
	unsigned char ignored[16];

	return inet_pton(AF_INET, text, ignored) == 1 || inet_pton(AF_INET6, text, ignored) == 1
		       ? NULL
		       : "an address is wanted, as `kubectl get node -o wide` shows it";
}

static void node_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_conf_texts texts = {&of(object)->node, &of(object)->n_node, wrong_address};

	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static sl_value_fn *const values[] = {
	[SL_CONF_K_CRI] = cri_read,	    [SL_CONF_K_DIRECTORY] = directory_read,
	[SL_CONF_K_API] = api_read,	    [SL_CONF_K_CGROUP] = cgroup_read,
	[SL_CONF_K_DEFAULT] = default_read, [SL_CONF_K_EXEMPT] = exempt_read,
	[SL_CONF_K_NODE] = node_read,
};

void sl_conf_kubernetes_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_pos pos = p->yaml.pos;
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	of(object)->present = true;
	of(object)->pos = pos;
	sl_map_read(p, &sl_config_kubernetes, values, object, &map);
	if (!map.faulty && p->yaml.type != SL_YAML_END && !map.lines[SL_CONF_K_DIRECTORY] &&
	    !map.lines[SL_CONF_K_API])
		sl_error(p->diag, &pos, "\"directory\" is missing in kubernetes: where the policies "
			 "are, as a mounted ConfigMap");
}
