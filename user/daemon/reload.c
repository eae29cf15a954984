// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The configuration that is in force, and why another is not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit/json.h"
#include "begins.h"
#include "daemon.h"
#include "kernel/expedite.h"

static void note_failure(struct sl_daemon *daemon, struct sl_diag *diag, int err)
{
	struct sl_reload_state *r = &daemon->reload;

	if (!diag->n_errors)
		sl_error(diag, NULL, "%s: %s", daemon->options->config, strerror(-err));
	sl_diag_print(diag, stderr);
	r->failed++;
	r->failed_s = time(NULL);
	json_decref(r->errors);
	r->errors = sl_json_diag(diag, SL_ERROR);
	r->ok = false;
	if (daemon->config)
		fprintf(stderr, "sluiced: %s is not loaded; what was loaded before goes on\n",
			daemon->options->config);
	sl_daemon_record(
		daemon,
		json_pack("{s:s, s:b, s:O}", "event", "reload", "ok", 0, "errors", r->errors),
		true);
}

static struct sl_target_group **copy_groups(struct sl_target_group *const *from, size_t n)
{
	struct sl_target_group **groups = calloc(n + 1, sizeof(*groups));

	for (size_t i = 0; groups && i < n; i++)
		groups[i] = sl_target_group_get(from[i]);
	return groups;
}

static const char *place(const struct sl_config *config, int runtime, const char *usual)
{
	return config->runtimes[runtime] ? config->runtimes[runtime] : usual;
}

/* The groups are the targets' from here on; the configuration keeps a reference each, to
 * hand durations on. */
static int hand_over(struct sl_daemon *daemon, struct sl_config *config)
{
	struct sl_target_group **devices = copy_groups(config->groups, config->n_groups);
	struct sl_target_group **cgroups = copy_groups(config->cgroups, config->n_cgroups);

	if (!devices || !cgroups) {
		free(devices); /* the references leak with the memory that is short */
		free(cgroups);
		return -ENOMEM;
	}
	sl_cgroups_places(&daemon->cgroups,
			  &(struct sl_container_places){
				  place(config, SL_CONF_R_DOCKER, SL_CONTAINER_DOCKER),
				  place(config, SL_CONF_R_PODMAN, SL_CONTAINER_PODMAN),
				  place(config, SL_CONF_R_CONTAINERD, SL_CONTAINER_CONTAINERD)});
	sl_devices_regroup(&daemon->devices, devices, config->n_groups);
	sl_cgroups_regroup(&daemon->cgroups, cgroups, config->n_cgroups);
	return 0;
}

static void note_success(struct sl_daemon *daemon, struct sl_diag *diag)
{
	struct sl_reload_state *r = &daemon->reload;

	sl_diag_print(diag, stderr); /* warnings */
	r->reloads++;
	r->loaded_s = time(NULL);
	json_decref(r->errors);
	r->errors = NULL;
	r->ok = true;
	sl_daemon_record(daemon,
			 json_pack("{s:s, s:b, s:i}", "event", "reload", "ok", 1, "targets",
				   (int)daemon->config->n_targets),
			 false);
}

static void take(struct sl_daemon *daemon, struct sl_config *config, struct sl_diag *diag)
{
	sl_config_free(daemon->config);
	daemon->config = config;
	sl_begins_keep(daemon->options, config);
	sl_expedite_allow(!config->no_expedite);
	sl_runs_regroup(daemon);
	sl_pods_regroup(daemon);
	sl_engines_regroup(daemon);
	sl_daemon_set_sinks(daemon);
	note_success(daemon, diag);
}

void sl_daemon_take_config(struct sl_daemon *daemon, struct sl_config *config, int err,
			   struct sl_diag *diag, bool quiet)
{
	if (config)
		err = hand_over(daemon, config);
	if (!err && config) {
		take(daemon, config, diag);
	} else {
		sl_config_free(config);
		if (!quiet)
			note_failure(daemon, diag, err);
	}
	sl_files_follow(daemon);
}

int sl_daemon_reload(struct sl_daemon *daemon)
{
	struct sl_config *config = NULL;
	struct sl_diag diag = {};
	json_t *memory = daemon->config ? sl_begins_of(daemon->config) :
					  sl_begins_read(daemon->options);
	int err = daemon->config && !memory ? -ENOMEM : 0; /* durations would begin anew */

	daemon->reload_at_ns = 0;
	if (!err)
		err = sl_config_load(daemon->options->config, daemon->options->trust_clock, memory,
				     NULL, &daemon->policies, &config, &diag);
	sl_daemon_take_config(daemon, config, err, &diag, false);
	json_decref(memory);
	sl_diag_free(&diag);
	return daemon->reload.ok ? 0 : -EINVAL;
}
