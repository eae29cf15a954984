/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The container engines that are asked (`sockets` of `runtimes` in sluiced.yaml), while a target is of
 * containers: what they call what runs, beside the runtimes' files (container/find.c). No
 * start waits for them.
 */
#ifndef SLUICE_DAEMON_ENGINES_H
#define SLUICE_DAEMON_ENGINES_H

#include "cgroups.h"
#include "config.h"
#include "engine/engine.h"

#define SL_ENGINES_MAX SL_CONFIG_SOCKETS_MAX

struct sl_daemon;

struct sl_engines {
	struct sl_engine *list[SL_ENGINES_MAX];
	struct sl_loop_source news[SL_ENGINES_MAX];
	size_t n;
	bool usual; /* nobody has named them: one that is not there is not missed */
};

/* The configuration that is in force is another one. */
void sl_engines_regroup(struct sl_daemon *daemon);
/* Before sl_cgroups_work. */
void sl_engines_work(struct sl_daemon *daemon);
int sl_engines_timeout(const struct sl_daemon *daemon);
/* All are asked again. */
void sl_engines_reconcile(struct sl_daemon *daemon);
void sl_engines_close(struct sl_daemon *daemon);

/* For sl_cgroups: adds what an engine knows; without files (-ENOENT) makes the container. */
int sl_engines_complete(void *context, const char *cgroup, int found, struct sl_container *container);

/* Containers that run as an engine says, that a target matches, and that no cgroup is known to be of. */
size_t sl_engines_missed(const struct sl_daemon *daemon);
/* [{socket, containers, error}]; adds what is to be warned of. A new reference. */
json_t *sl_engines_json(const struct sl_daemon *daemon, json_t *warnings);

#endif
