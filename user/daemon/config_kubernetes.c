// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* `kubernetes:` of sluiced.yaml. */
#include <arpa/inet.h>
#include <string.h>

#include "config_reader.h"
#include "policy/domain.h"
#include "policy/text.h"

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

/* ---- api ---- */

static void server_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_api *api = object;

	if (sl_copy_text(p, key, &api->server) && strncmp(api->server, "https://", 8))
		sl_error(p->diag, &p->yaml.pos, "server '%s': https://HOST[:PORT] is wanted: without "
			 "TLS everybody between would have the token", api->server);
}

static void ca_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_conf_place_read(p, key, &((struct sl_config_api *)object)->ca);
}

static void token_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_conf_place_read(p, key, &((struct sl_config_api *)object)->token);
}

static void name_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_copy_text(p, key, &((struct sl_config_api *)object)->name);
}

static void status_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"true", "false", NULL};

	((struct sl_config_api *)object)->no_status = sl_word_read(p, key, words) == 1;
}

static sl_value_fn *const api_values[] = {
	[SL_CONF_A_SERVER] = server_read, [SL_CONF_A_CA] = ca_read,
	[SL_CONF_A_TOKEN] = token_read,	  [SL_CONF_A_NAME] = name_read,
	[SL_CONF_A_STATUS] = status_read,
};

/* `in-cluster`, or where it is. */
static void api_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_config_api *api = &of(object)->api;
	struct sl_pos pos = p->yaml.pos;
	struct sl_map map;

	api->present = true;
	if (p->yaml.type == SL_YAML_SCALAR &&
	    sl_text_is(p->yaml.scalar, p->yaml.scalar_len, "in-cluster"))
		return;
	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	sl_map_read(p, &sl_config_api, api_values, api, &map);
	if (!map.faulty && map.lines[SL_CONF_A_SERVER] &&
	    (!map.lines[SL_CONF_A_CA] || !map.lines[SL_CONF_A_TOKEN]))
		sl_error(p->diag, &pos, "with \"server\" go \"ca\" and \"token\": without them nobody "
			 "knows whom to trust, and the server not who asks");
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

static void annotations_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_conf_texts texts = {&of(object)->annotations, &of(object)->n_annotations,
				      wrong_namespace};

	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static bool is_address(const char *text)
{
	unsigned char ignored[16];

	return inet_pton(AF_INET, text, ignored) == 1 || inet_pton(AF_INET6, text, ignored) == 1;
}

static const char *wrong_address(const char *text)
{
	return is_address(text) ? NULL : "an address is wanted, as `kubectl get node -o wide` shows it";
}

static void node_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_conf_texts texts = {&of(object)->node, &of(object)->n_node, wrong_address};

	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static const char *wrong_resolver(const char *text)
{
	return is_address(text) ? NULL : "an address is wanted, as `kubectl -n kube-system get service "
					 "kube-dns` shows it";
}

static void resolvers_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_conf_texts texts = {&of(object)->resolvers, &of(object)->n_resolvers, wrong_resolver};

	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static const char *wrong_domain(const char *text)
{
	return sl_domain_fault(text, strlen(text));
}

static void domains_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_conf_texts texts = {&of(object)->domains, &of(object)->n_domains, wrong_domain};

	sl_each_read(p, key, sl_conf_text_read, &texts);
}

static void veth_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"true", "false", NULL};

	of(object)->no_veth = sl_word_read(p, key, words) == 1;
}

static sl_value_fn *const values[] = {
	[SL_CONF_K_CRI] = cri_read,	    [SL_CONF_K_DIRECTORY] = directory_read,
	[SL_CONF_K_API] = api_read,	    [SL_CONF_K_CGROUP] = cgroup_read,
	[SL_CONF_K_DEFAULT] = default_read, [SL_CONF_K_EXEMPT] = exempt_read,
	[SL_CONF_K_NODE] = node_read,	    [SL_CONF_K_ANNOTATIONS] = annotations_read,
	[SL_CONF_K_VETH] = veth_read,	    [SL_CONF_K_RESOLVERS] = resolvers_read,
	[SL_CONF_K_DOMAINS] = domains_read,
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
	if (map.faulty || p->yaml.type == SL_YAML_END)
		return;
	if (!map.lines[SL_CONF_K_DIRECTORY] == !map.lines[SL_CONF_K_API])
		sl_error(p->diag, &pos, "kubernetes wants either \"api\" or \"directory\": the API "
			 "server, or where the policies are, as a mounted ConfigMap");
	if (map.lines[SL_CONF_K_API] && map.lines[SL_CONF_K_NODE])
		sl_error(p->diag, &pos, "\"node\" goes with \"directory\": the API server says each "
			 "pod's hostIP");
}
