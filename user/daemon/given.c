// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "given.h"
#include "policy/text.h"
#include "target/cgroup_policy.h"

/* One address for each set that depends on the network: enough to find what is wrong
 * with a policy before there is a device. */
static struct sl_cidr somewhere = {.family = 4, .len = 32, .addr = {192, 0, 2, 1}};
static const struct sl_environment anywhere = {
	.gateway = &somewhere,
	.n_gateway = 1,
	.subnet = &somewhere,
	.n_subnet = 1,
	.host = &somewhere,
	.n_host = 1,
	.resolvers = &somewhere,
	.n_resolvers = 1,
};

/* ---- durations of `expires` count from the rule's first effect, not from the
 * latest generation's ---- */

static struct sl_begin *find_begin(struct sl_given *given, const char *id)
{
	for (size_t i = 0; i < given->n_begins; i++)
		if (!strcmp(given->begins[i].id, id))
			return &given->begins[i];
	return NULL;
}

int sl_given_begin(struct sl_given *given, const char *id, __s64 since_s)
{
	struct sl_begin *begin = find_begin(given, id);

	if (!begin) {
		begin = SL_ADD(given->begins, given->n_begins);
		if (!begin)
			return -ENOMEM;
		begin->id = strdup(id);
		if (!begin->id) {
			given->n_begins--;
			return -ENOMEM;
		}
		begin->since_s = since_s;
	}
	begin->used = true;
	return 0;
}

/* Without memory it counts from now: a later generation then starts it anew. */
static __s64 since(void *context, const char *id, __s64 now_s)
{
	struct sl_given *given = context;

	return sl_given_begin(given, id, now_s) ? now_s : find_begin(given, id)->since_s;
}

/* A rule that was taken out and comes back later is a new one. */
static void forget_unused(struct sl_given *given)
{
	for (size_t i = 0; i < given->n_begins;) {
		if (given->begins[i].used) {
			i++;
			continue;
		}
		free(given->begins[i].id);
		given->begins[i] = given->begins[--given->n_begins];
	}
}

/* ---- loading ---- */

static void free_common(struct sl_given_table *common)
{
	sl_policy_free(common->outline);
	free(common->table.words);
	*common = (struct sl_given_table){};
}

/* Tables that are alike but for their generation decide alike, and say the same of themselves. */
static __u64 hash_words(const struct sl_table *table)
{
	__u64 hash = table->n_words;

	for (size_t i = 0; i < table->n_words; i++) {
		hash = (hash ^ table->words[i]) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 32;
	}
	return hash ? hash : 1;
}

/* Takes the words of compiled. Without memory each target compiles it. */
static void keep_common(struct sl_given_table *common, const struct sl_policy *resolved,
			struct sl_compiled *compiled)
{
	struct sl_policy *outline = calloc(1, sizeof(*outline));

	if (outline)
		outline->name = strdup(resolved->name);
	if (!outline || !outline->name) {
		sl_policy_free(outline);
		return;
	}
	outline->mode = resolved->mode;
	common->outline = outline;
	common->table = (struct sl_table){.words = compiled->table.words,
					  .n_words = compiled->table.n_words};
	compiled->table.words = NULL;
	common->table.words[SL_H_GENERATION] = 0;
	common->flags = common->table.words[SL_H_FLAGS];
	common->meaning = hash_words(&common->table);
}

struct sl_table sl_given_table_for(struct sl_given *given, __u64 generation, __u64 marks)
{
	given->common.table.words[SL_H_GENERATION] = generation;
	given->common.table.words[SL_H_FLAGS] = given->common.flags | marks;
	return given->common.table;
}

static int check_cgroup(struct sl_given *given, struct sl_policy *resolved,
			const struct sl_attach_options *options, struct sl_given_table *common,
			struct sl_diag *diag)
{
	const struct sl_compile_options compile = {.generation = 1,
						   .boot_epoch_ns = sl_boot_epoch_ns()};
	struct sl_compiled compiled;
	int err;

	if (options->enforce)
		resolved->mode = SL_MODE_ENFORCE;
	err = sl_compile(resolved, &compile, &compiled, diag);
	if (err)
		return err;
	given->has_names = compiled.table.words[SL_H_FLAGS] & SL_F_NAMES;
	if (sl_policy_stays(options->parsed) && !compiled.n_patterns)
		keep_common(common, resolved, &compiled);
	sl_compiled_free(&compiled);
	return 0;
}

/* The names of files stay the policy's, which may be gone before diag is printed. */
static void hand_on(struct sl_diag *from, struct sl_diag *diag)
{
	for (size_t i = 0; i < from->n; i++) {
		struct sl_pos pos = from->entries[i].pos;

		pos.file = pos.file ? sl_diag_intern(diag, pos.file) : NULL;
		if (from->entries[i].severity == SL_ERROR)
			sl_error(diag, &pos, "%s", from->entries[i].message);
		else
			sl_warn(diag, &pos, "%s", from->entries[i].message);
	}
	sl_diag_clear(from);
}

static int try(struct sl_given *given, const struct sl_attach_options *options,
	       struct sl_given_table *common, struct sl_diag *diag)
{
	struct sl_policy *resolved;
	int err = given->of_cgroup ? sl_cgroup_resolve(NULL, options, &anywhere, &resolved, diag)
				   : sl_device_resolve(options, &anywhere, &resolved, diag);

	if (err)
		return err;
	err = given->of_cgroup ? check_cgroup(given, resolved, options, common, diag)
			       : sl_device_check(resolved, options, diag);
	if (!err)
		snprintf(given->name, sizeof(given->name), "%s", resolved->name ? resolved->name : "");
	sl_policy_free(resolved);
	return err;
}

static int check(struct sl_given *given, const struct sl_attach_options *options,
		 struct sl_given_table *common, struct sl_diag *diag)
{
	struct sl_diag said = {};
	int err = try(given, options, common, &said);

	hand_on(&said, diag);
	sl_diag_free(&said);
	return err;
}

/* Takes parsed over. */
static int replace(struct sl_given *given, struct sl_attach_options *options,
		   struct sl_policy *parsed, const char *path, struct sl_diag *diag)
{
	char *copy = path ? strdup(path) : NULL;
	struct sl_given_table common = {};
	int err = path && !copy ? -ENOMEM : 0;

	options->policy = copy;
	options->parsed = parsed;
	options->since = since;
	options->since_context = given;
	options->forwarder = given->of_cgroup; /* sluiced's */
	for (size_t i = 0; i < given->n_begins; i++)
		given->begins[i].used = false;
	if (!err)
		err = check(given, options, &common, diag);
	if (err) {
		free(copy);
		sl_policy_free(parsed);
		return err;
	}
	forget_unused(given);
	sl_policy_free(given->attach.parsed);
	free(given->path);
	given->path = copy;
	given->attach = *options;
	given->loads++;
	free_common(&given->common);
	given->common = common;
	return 0;
}

int sl_given_load_text(struct sl_given *given, const struct sl_attach_options *options,
		       const char *text, size_t len, const char *base, struct sl_diag *diag)
{
	struct sl_attach_options copy = *options;
	struct sl_policy *parsed;
	int err = sl_policy_parse(text, len, base ? base : "<stdin>", SL_PARSE_POLICY, &parsed,
				  &given->names);

	hand_on(&given->names, diag);
	return err ? err : replace(given, &copy, parsed, base, diag);
}

int sl_given_load(struct sl_given *given, const struct sl_attach_options *options,
		  struct sl_diag *diag)
{
	bool is_stdin = !strcmp(options->policy, "-");
	size_t len;
	char *text;
	int err = sl_file_read(options->policy, SL_POLICY_BYTES_MAX, NULL, &text, &len, diag);

	if (err)
		return err;
	err = sl_given_load_text(given, options, text, len, is_stdin ? NULL : options->policy,
				 diag);
	free(text);
	return err;
}

void sl_given_free(struct sl_given *given)
{
	sl_policy_free(given->attach.parsed);
	for (size_t i = 0; i < given->n_begins; i++)
		free(given->begins[i].id);
	free(given->begins);
	free(given->path);
	free_common(&given->common);
	sl_diag_free(&given->names);
	memset(given, 0, sizeof(*given));
}
