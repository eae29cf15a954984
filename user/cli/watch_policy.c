// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The policy of `sluice watch`: read once and at SIGHUP, resolved for each device. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "watch.h"

/* One address for each set that depends on the network: enough to find what is wrong
 * with a policy before there is a device. */
static struct sl_cidr somewhere = {.family = 4, .len = 32, .addr = {192, 0, 2, 1}};
static const struct sl_environment anywhere = {
	.gateway = &somewhere, .n_gateway = 1, .subnet = &somewhere, .n_subnet = 1,
	.host = &somewhere, .n_host = 1, .resolvers = &somewhere, .n_resolvers = 1,
};

/* ---- durations of `expires` count from the rule's first effect, not from the
 * latest generation's ---- */

static struct sl_watch_since *find_since(struct sl_watch *watch, const char *id)
{
	for (size_t i = 0; i < watch->n_since; i++)
		if (!strcmp(watch->since[i].id, id))
			return &watch->since[i];
	return NULL;
}

/* Without memory it counts from now: a later generation then starts it anew. */
static __s64 since(void *context, const char *id, __s64 now_s)
{
	struct sl_watch *watch = context;
	struct sl_watch_since *known = find_since(watch, id);

	if (!known) {
		known = SL_ADD(watch->since, watch->n_since);
		if (!known)
			return now_s;
		known->id = strdup(id);
		if (!known->id) {
			watch->n_since--;
			return now_s;
		}
		known->since_s = now_s;
	}
	known->used = true;
	return known->since_s;
}

/* A rule that was taken out and comes back later is a new one. */
static void forget_unused(struct sl_watch *watch)
{
	for (size_t i = 0; i < watch->n_since;) {
		if (watch->since[i].used) {
			i++;
			continue;
		}
		free(watch->since[i].id);
		watch->since[i] = watch->since[--watch->n_since];
	}
}

/* ---- loading ---- */

static int parse_file(const char *path, struct sl_policy **out, struct sl_diag *diag)
{
	bool is_stdin = !strcmp(path, "-");
	size_t len;
	char *text;
	int err = sl_file_read(path, SL_POLICY_BYTES_MAX, NULL, &text, &len, diag);

	if (err)
		return err;
	err = sl_policy_parse(text, len, is_stdin ? "<stdin>" : path, SL_PARSE_POLICY, out, diag);
	free(text);
	return err;
}

static int check(const struct sl_attach_options *options, char name[64],
		 struct sl_diag *diag)
{
	struct sl_policy *resolved;
	int err = sl_device_resolve(options, &anywhere, &resolved, diag);

	if (err)
		return err;
	err = sl_device_check(resolved, options, diag);
	if (!err)
		snprintf(name, 64, "%s", resolved->name ? resolved->name : "");
	sl_policy_free(resolved);
	return err;
}

static int load(struct sl_watch *watch, struct sl_diag *diag)
{
	struct sl_attach_options options = watch->options->attach;
	struct sl_policy *parsed;
	int err = parse_file(options.policy, &parsed, diag);

	if (err)
		return err;
	if (!strcmp(options.policy, "-"))
		options.policy = NULL;
	options.parsed = parsed;
	options.since = since;
	options.since_context = watch;
	for (size_t i = 0; i < watch->n_since; i++)
		watch->since[i].used = false;
	err = check(&options, watch->policy, diag);
	if (err) {
		sl_policy_free(parsed);
		return err;
	}
	forget_unused(watch);
	sl_policy_free((struct sl_policy *)watch->attach.parsed);
	watch->attach = options;
	watch->warned = false;
	return 0;
}

int sl_watch_load_policy(struct sl_watch *watch)
{
	struct sl_diag *diag = &watch->policy_names;
	int err = load(watch, diag);

	if (err && !diag->n_errors)
		sl_error(diag, NULL, "%s: %s", watch->options->attach.policy, strerror(-err));
	sl_diag_print(diag, stderr);
	sl_diag_clear(diag);
	return err;
}

void sl_watch_free_policy(struct sl_watch *watch)
{
	sl_policy_free((struct sl_policy *)watch->attach.parsed);
	sl_diag_free(&watch->policy_names);
	for (size_t i = 0; i < watch->n_since; i++)
		free(watch->since[i].id);
	free(watch->since);
}
