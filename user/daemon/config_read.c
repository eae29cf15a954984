// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The text of sluiced.yaml, by the same reader of YAML as policies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_reader.h"
#include "policy/text.h"

/* ---- texts ---- */

void sl_conf_text_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	const struct sl_conf_texts *texts = object;
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

const char *sl_conf_wrong_name(const char *text)
{
	return sl_text_name(text, strlen(text), true)
		       ? NULL
		       : "a policy's name is 1 to 63 of a-z A-Z 0-9 . _ -";
}

const char *sl_conf_wrong_cgroup(const char *text)
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

static void meter_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	__s64 seconds;

	if (p->yaml.type != SL_YAML_SCALAR ||
	    !sl_duration_parse(p->yaml.scalar, p->yaml.scalar_len, &seconds) || seconds > 86400)
		sl_wrong_value(p, key);
	else
		((struct sl_config *)object)->meter_s = seconds;
}

static void expedite_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"true", "false", NULL};

	((struct sl_config *)object)->no_expedite = sl_word_read(p, key, words) == 1;
}

static sl_value_fn *const top_values[] = {
	[SL_CONF_SLUICED] = version_read, [SL_CONF_POLICIES] = policies_read,
	[SL_CONF_GROUP] = group_read,	  [SL_CONF_RUN] = sl_conf_run_read,
	[SL_CONF_TARGETS] = sl_conf_targets_read, [SL_CONF_DEFAULTS] = sl_conf_defaults_read,
	[SL_CONF_AUDIT] = audit_read,	  [SL_CONF_METRICS] = metrics_read,
	[SL_CONF_RUNTIMES] = sl_conf_runtimes_read, [SL_CONF_METER] = meter_read,
	[SL_CONF_EXPEDITE] = expedite_read,
	[SL_CONF_KUBERNETES] = sl_conf_kubernetes_read,
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
