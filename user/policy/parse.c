// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A policy or fragment as a whole: the top level. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parser.h"
#include "text.h"

static void version_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	__u64 number;

	(void)object;
	if (p->yaml.type == SL_YAML_SCALAR && sl_text_is(p->yaml.scalar, p->yaml.scalar_len, "1"))
		return;
	if (p->yaml.type == SL_YAML_SCALAR &&
	    sl_text_number(p->yaml.scalar, p->yaml.scalar_len, ~0ull, &number))
		sl_error(p->diag, &p->yaml.pos, "format version %llu; this program reads "
			 "`sluice: 1`", (unsigned long long)number);
	else
		sl_wrong_value(p, key);
}

static void name_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_copy_name(p, key, &((struct sl_policy *)object)->name);
}

static void mode_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"enforce", "audit", NULL};
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		((struct sl_policy *)object)->mode = word ? SL_MODE_AUDIT : SL_MODE_ENFORCE;
}

static void default_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"deny", "allow", NULL};
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		((struct sl_policy *)object)->default_action = word ? SL_ALLOW : SL_DENY;
}

static void on_deny_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"reject", "drop", NULL};
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		((struct sl_policy *)object)->on_deny = word ? SL_DROP : SL_REJECT;
}

static void fragments_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"deny", "first-decides", NULL};

	((struct sl_policy *)object)->fragments_first = sl_word_read(p, key, words) == 1;
}

static sl_value_fn *const top_values[] = {
	[SL_TOP_SLUICE] = version_read,
	[SL_TOP_NAME] = name_read,
	[SL_TOP_MODE] = mode_read,
	[SL_TOP_DEFAULT] = default_read,
	[SL_TOP_ON_DENY] = on_deny_read,
	[SL_TOP_DNS] = sl_dns_read,
	[SL_TOP_INBOUND] = sl_inbound_read,
	[SL_TOP_SETS] = sl_sets_read,
	[SL_TOP_RULES] = sl_rules_read,
	[SL_TOP_TESTS] = sl_tests_read,
	[SL_TOP_LOG] = sl_policy_log_read,
	[SL_TOP_FRAGMENTS] = fragments_read,
	[SL_TOP_DEVICE] = sl_device_read,
	[SL_TOP_LIMITS] = sl_limits_read,
};

static void document_read(struct sl_parser *p)
{
	const char *what = p->is_fragment ? "a fragment" : "a policy";
	char buf[SL_QUOTE_MAX + 32];
	struct sl_map map;

	sl_yaml_next(&p->yaml);
	if (p->yaml.error)
		return;
	p->policy->pos = p->yaml.pos;
	if (p->yaml.type == SL_YAML_END || sl_yaml_is_null(&p->yaml)) {
		sl_error(p->diag, &p->yaml.pos, "%s is wanted here, beginning with `sluice: 1`; "
			 "there is nothing", what);
		return;
	}
	if (p->yaml.type != SL_YAML_MAP) {
		sl_error(p->diag, &p->yaml.pos, "%s is a mapping that begins with `sluice: 1`; "
			 "found %s", what, sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
		return;
	}
	sl_map_read(p, &sl_keys_top, top_values, p->policy, &map);
	if (p->yaml.type == SL_YAML_END)
		return;
	if (!map.lines[SL_TOP_SLUICE] && !p->is_part)
		sl_error(p->diag, &p->policy->pos, "`sluice: 1` is missing: every policy and "
			 "fragment begins with it");
	/* To the end of the text: what follows the mapping must be nothing. */
	sl_yaml_next(&p->yaml);
}

/* From a stream that has been opened, which is closed. */
static int parse(struct sl_parser *p, struct sl_policy **out)
{
	size_t errors = p->diag->n_errors;
	int result = -ENOMEM;

	p->policy = calloc(1, sizeof(*p->policy));
	if (p->policy) {
		p->policy->is_fragment = p->is_fragment;
		/* Not zero: what no rule matches is denied unless the text says allow. */
		p->policy->default_action = SL_DENY;
		document_read(p);
		result = p->yaml.error ? p->yaml.error : p->diag->n_errors > errors ? -EINVAL : 0;
	}
	sl_yaml_close(&p->yaml);
	sl_names_free(&p->ids);
	sl_names_free(&p->set_names);
	if (result)
		sl_policy_free(p->policy);
	else
		*out = p->policy;
	return result;
}

int sl_policy_parse(const char *text, size_t len, const char *file, enum sl_parse_kind kind,
		    struct sl_policy **out, struct sl_diag *diag)
{
	struct sl_parser p = {.diag = diag, .is_fragment = kind == SL_PARSE_FRAGMENT};

	sl_yaml_open(&p.yaml, text, len, file ? sl_diag_intern(diag, file) : NULL, diag);
	return parse(&p, out);
}

int sl_policy_parse_events(const struct sl_yaml_event *events, size_t n, struct sl_policy **out,
			   struct sl_diag *diag)
{
	struct sl_parser p = {.diag = diag, .is_part = true};

	sl_yaml_replay(&p.yaml, events, n, diag);
	return parse(&p, out);
}
