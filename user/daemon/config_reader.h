/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the readers of sluiced.yaml share: each a sl_value_fn of policy/parser.h. */
#ifndef SLUICE_DAEMON_CONFIG_READER_H
#define SLUICE_DAEMON_CONFIG_READER_H

#include "config.h"
#include "policy/parser.h"

/* A list of texts: each owned, and the array. */
struct sl_conf_texts {
	char ***list;
	size_t *n;
	/* Why a text is none of them, or NULL. */
	const char *(*wrong)(const char *text);
};

/* Adds the text to the list; object: struct sl_conf_texts. */
void sl_conf_text_read(struct sl_parser *p, const struct sl_key *key, void *object);
/* Why a text is no name of a policy, no path or pattern of a cgroup; NULL: it is. */
const char *sl_conf_wrong_name(const char *text);
const char *sl_conf_wrong_cgroup(const char *text);

/* ---- config_targets.c; object: struct sl_config ---- */

void sl_conf_targets_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_conf_defaults_read(struct sl_parser *p, const struct sl_key *key, void *object);

/* ---- config_run.c ---- */

void sl_conf_run_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_conf_runtimes_read(struct sl_parser *p, const struct sl_key *key, void *object);
/* A path of a file; object: char **, owned. */
void sl_conf_place_read(struct sl_parser *p, const struct sl_key *key, void *object);

/* ---- config_kubernetes.c ---- */

void sl_conf_kubernetes_read(struct sl_parser *p, const struct sl_key *key, void *object);

#endif
