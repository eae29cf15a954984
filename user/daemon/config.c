// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The configuration's file, and the policies that it names. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "begins.h"
#include "config.h"
#include "pod_cgroup.h"
#include "policy/text.h"

#define CONFIG_BYTES_MAX (1u << 20)

char *sl_config_policy_path(const struct sl_config *config, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s.yaml", config->policies, name) < 0 ? NULL : path;
}

/* Paths are relative to the file that they stand in. */
static char *beside(const char *file, const char *path)
{
	const char *slash = strrchr(file, '/');
	char *out;

	if (path[0] == '/' || !slash)
		return strdup(path);
	return asprintf(&out, "%.*s/%s", (int)(slash - file), file, path) < 0 ? NULL : out;
}

static int complete(struct sl_config *config, const char *path)
{
	char *policies = beside(path, config->policies ? config->policies : "policies.d");

	free(config->policies);
	config->policies = policies;
	config->path = strdup(path);
	if (!config->group)
		config->group = strdup(SL_CONFIG_GROUP);
	if (!config->run.cgroup)
		config->run.cgroup = strdup(SL_CONFIG_RUNS);
	return config->policies && config->path && config->group && config->run.cgroup ? 0 :
											 -ENOMEM;
}

/* ---- groups of devices ---- */

static int load_policy(const struct sl_config *config, const struct sl_config_target *t,
		       const char *policy, struct sl_given *given, struct sl_diag *diag)
{
	char *path = sl_config_policy_path(config, policy);
	struct sl_attach_options options = {
		.policy = path,
		.audit = t->mode == SL_CONFIG_AUDIT,
		.enforce = t->mode == SL_CONFIG_ENFORCE,
		.managed = true,
		.binding = t->binding,
		.trust_clock = config->trust_clock,
		.hosts = t->hosts,
	};
	int err = path ? 0 : -ENOMEM;

	if (config->stop && __atomic_load_n(config->stop, __ATOMIC_RELAXED)) {
		free(path);
		return -ECANCELED;
	}
	/* at its place, and once: that the file is not there is all that there is to say */
	if (!err && access(path, F_OK)) {
		err = sl_error(diag, &t->policy_pos, "policy \"%s\" cannot be loaded: %s: %s; write "
			       "it, or name one that is there", policy, path, strerror(errno));
		free(path);
		return err;
	}
	if (!err)
		err = sl_given_load(given, &options, diag);
	if (err)
		sl_error(diag, &t->policy_pos, "policy \"%s\" cannot be loaded: see %s", policy,
			 path ? path : "its file");
	free(path);
	return err;
}

static enum sl_group_of kind_of(const struct sl_config_target *t)
{
	if (t->kind == SL_CONFIG_UNIT)
		return SL_GROUP_OF_UNITS;
	return t->kind == SL_CONFIG_CONTAINER ? SL_GROUP_OF_CONTAINERS : SL_GROUP_OF_NAMES;
}

static int fill_group(struct sl_config *config, const struct sl_config_target *t,
		      const char *policy, struct sl_target_group *group, struct sl_diag *diag)
{
	bool device = t->kind == SL_CONFIG_DEVICE;
	int err = 0;

	group->line = t->line;
	group->of = kind_of(t);
	group->has_veths = t->veth;
	group->chosen = policy != t->policy;
	group->given.of_cgroup = !device;
	group->policy = strdup(policy);
	if (!group->policy)
		return -ENOMEM;
	for (size_t i = 0; !err && i < t->n_patterns; i++)
		err = sl_target_group_add_pattern(group, t->patterns[i]);
	for (size_t i = 0; !err && i < t->n_labels; i++)
		err = sl_target_group_add_label(group, t->labels[i]);
	if (!err)
		err = sl_begins_recall(config->memory, group);
	return err ? err : load_policy(config, t, policy, &group->given, diag);
}

/* A new group at the end of the cgroups'; NULL: no memory. */
static struct sl_target_group *add_cgroups(struct sl_config *config)
{
	struct sl_target_group *group = sl_target_group_new(), **added = NULL;

	if (group)
		added = SL_ADD(config->cgroups, config->n_cgroups);
	if (!added) {
		sl_target_group_put(group);
		return NULL;
	}
	return *added = group;
}

static int add_group(struct sl_config *config, const struct sl_config_target *t, const char *policy,
		     struct sl_diag *diag)
{
	struct sl_target_group *group = sl_target_group_new(), **added = NULL;

	if (group && t->kind == SL_CONFIG_DEVICE)
		added = SL_ADD(config->groups, config->n_groups);
	else if (group)
		added = SL_ADD(config->cgroups, config->n_cgroups);
	if (!added) {
		sl_target_group_put(group);
		return -ENOMEM;
	}
	*added = group;
	return fill_group(config, t, policy, group, diag);
}

/* What may be chosen stands before what holds without a choice: the first that fits is it. */
static int add_groups(struct sl_config *config, const struct sl_config_target *t,
		      struct sl_diag *diag)
{
	int err, result = 0;

	for (size_t i = 0; i < t->n_choice; i++) {
		err = add_group(config, t, t->choice[i], diag);
		if (err && !result)
			result = err;
	}
	err = add_group(config, t, t->policy, diag);
	return result ? result : err;
}

/* Each of the cgroups that are kept ready would have a forwarder of its own at that address. */
static int check_run(const struct sl_config *config, const struct sl_target_group *group,
		     struct sl_diag *diag)
{
	if (!group->given.attach.parsed->dns.forward)
		return 0;
	return sl_error(diag, &config->run.pos,
			"run: policy \"%s\" has `dns: {mode: forward}`, and the resolv.conf of a "
			"command that sluiced starts names no forwarder of the run's; take the mode "
			"out (the kernel then reads DNS as it passes), or use `sudo sluice run -p %s`",
			group->policy, group->given.path);
}

static int load_run(struct sl_config *config, char *name, struct sl_diag *diag)
{
	char pattern[80], *patterns[] = {pattern};
	struct sl_config_target t = {.kind = SL_CONFIG_PARENT, .patterns = patterns,
				     .n_patterns = 1, .policy = name, .line = config->run.pos.line,
				     .policy_pos = config->run.pos, .hosts = "/etc/hosts"};
	struct sl_target_group *group = sl_target_group_new();
	struct sl_target_group **added = group ? SL_ADD(config->runs, config->n_runs) : NULL;
	int err;

	if (!added) {
		sl_target_group_put(group);
		return -ENOMEM;
	}
	*added = group;
	snprintf(pattern, sizeof(pattern), "run of %s", name); /* no cgroup's path */
	err = fill_group(config, &t, name, group, diag);
	return err ? err : check_run(config, group, diag);
}

static int load_unknown(const struct sl_config *config, struct sl_given *given,
			struct sl_diag *diag)
{
	static const char nothing[] = "sluice: 1\nname: " SL_PODS_UNKNOWN "\ndefault: deny\n";
	struct sl_attach_options options = {.managed = true, .trust_clock = config->trust_clock};

	return sl_given_load_text(given, &options, nothing, sizeof(nothing) - 1, SL_PODS_UNKNOWN,
				  diag);
}

/* What holds for pods until they are known, for the cgroups that they stand below. */
static int load_kubernetes(struct sl_config *config, struct sl_diag *diag)
{
	struct sl_config_kubernetes *k = &config->kubernetes;
	struct sl_config_target t = {.kind = SL_CONFIG_PARENT, .patterns = k->cgroups,
				     .n_patterns = k->n_cgroups, .policy = k->policy,
				     .line = k->pos.line, .policy_pos = k->pos};
	struct sl_target_group *group;
	int err = 0;

	if (!k->n_cgroups) {
		t.patterns = (char **)(uintptr_t)sl_pods_places;
		t.n_patterns = SL_PODS_PLACES;
	}
	if (k->policy)
		return add_group(config, &t, t.policy, diag);
	group = add_cgroups(config);
	if (!group)
		return -ENOMEM;
	group->line = t.line;
	group->given.of_cgroup = true;
	group->policy = strdup(SL_PODS_UNKNOWN);
	for (size_t i = 0; !err && i < t.n_patterns; i++)
		err = sl_target_group_add_pattern(group, t.patterns[i]);
	return err || !group->policy ? -ENOMEM : load_unknown(config, &group->given, diag);
}

/* Every policy is tried, so that one run finds every error. */
static int load_policies(struct sl_config *config, struct sl_diag *diag)
{
	int err, result = 0;

	for (size_t i = 0; i < config->n_targets; i++) {
		err = add_groups(config, &config->targets[i], diag);
		if (err && !result)
			result = err;
	}
	if (config->kubernetes.present) {
		err = load_kubernetes(config, diag);
		if (err && !result)
			result = err;
	}
	for (size_t i = 0; i < config->run.n_policies; i++) {
		err = load_run(config, config->run.policies[i], diag);
		if (err && !result)
			result = err;
	}
	return result;
}

int sl_config_load(const char *path, bool trust_clock, const json_t *memory, const bool *stop,
		   char **policies, struct sl_config **out, struct sl_diag *diag)
{
	struct sl_config *config;
	size_t len;
	char *text, *where;
	int err = sl_file_read(path, CONFIG_BYTES_MAX, NULL, &text, &len, diag);

	if (err)
		return err;
	err = sl_config_parse(text, len, path, &config, diag);
	free(text);
	if (err)
		return err;
	config->trust_clock = trust_clock;
	config->memory = memory;
	config->stop = stop;
	err = complete(config, path);
	where = !err && policies ? strdup(config->policies) : NULL;
	if (where) {
		free(*policies);
		*policies = where;
	}
	if (!err)
		err = load_policies(config, diag);
	config->memory = NULL;
	config->stop = NULL;
	if (err)
		sl_config_free(config);
	else
		*out = config;
	return err;
}

static void free_texts(char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

void sl_config_free(struct sl_config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->n_targets; i++) {
		free_texts(config->targets[i].patterns, config->targets[i].n_patterns);
		free_texts(config->targets[i].labels, config->targets[i].n_labels);
		free_texts(config->targets[i].choice, config->targets[i].n_choice);
		free(config->targets[i].policy);
	}
	for (size_t i = 0; i < config->n_groups; i++)
		sl_target_group_put(config->groups[i]);
	for (size_t i = 0; i < config->n_sinks; i++)
		sl_sink_config_free(&config->sinks[i]);
	if (config->has_metrics)
		sl_metrics_listen_free(&config->metrics);
	free(config->sinks);
	free(config->groups);
	for (size_t i = 0; i < config->n_cgroups; i++)
		sl_target_group_put(config->cgroups[i]);
	free(config->cgroups);
	free(config->targets);
	for (size_t i = 0; i < config->n_runs; i++)
		sl_target_group_put(config->runs[i]);
	free(config->runs);
	free_texts(config->run.policies, config->run.n_policies);
	free(config->run.cgroup);
	for (size_t i = 0; i < SL_CONF_R_N; i++)
		free(config->runtimes[i]);
	free_texts(config->sockets, config->n_sockets);
	free_texts(config->kubernetes.cgroups, config->kubernetes.n_cgroups);
	free_texts(config->kubernetes.exempt, config->kubernetes.n_exempt);
	free_texts(config->kubernetes.annotations, config->kubernetes.n_annotations);
	free_texts(config->kubernetes.node, config->kubernetes.n_node);
	free_texts(config->kubernetes.resolvers, config->kubernetes.n_resolvers);
	free_texts(config->kubernetes.domains, config->kubernetes.n_domains);
	free(config->kubernetes.cri);
	free(config->kubernetes.directory);
	free(config->kubernetes.api.server);
	free(config->kubernetes.api.ca);
	free(config->kubernetes.api.token);
	free(config->kubernetes.api.name);
	free(config->kubernetes.policy);
	free(config->path);
	free(config->policies);
	free(config->group);
	free(config);
}
