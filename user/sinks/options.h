/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Keys and values of one thing, written as an option (`file:/a,keep=5`) or as a YAML
 * mapping (`{file: /a, keep: 5}`): both end in the same calls.
 */
#ifndef SLUICE_SINKS_OPTIONS_H
#define SLUICE_SINKS_OPTIONS_H

#include <linux/types.h>
#include <sys/types.h>

#include "policy/diag.h"

struct sl_yaml;

/* One key: 0, or -EINVAL (reported), -ENOMEM. */
typedef int (*sl_option_set)(void *context, const char *key, const char *value,
			     const struct sl_pos *pos, struct sl_diag *diag);

/* `KEY=VALUE,KEY=VALUE`; "" has none. */
int sl_options_text(const char *text, const struct sl_pos *pos, sl_option_set set, void *context,
		    struct sl_diag *diag);
/* The mapping that is the current event; afterwards its last one is. A value that is
 * left out is "". */
int sl_options_yaml(struct sl_yaml *yaml, sl_option_set set, void *context, struct sl_diag *diag);
/* A copy of the scalar that is the current event; NULL: none, or no memory. */
char *sl_options_scalar(const struct sl_yaml *yaml);

/* Values; false with the error reported. */
struct sl_option {
	const char *key, *value;
	const struct sl_pos *pos;
	struct sl_diag *diag;
};
bool sl_option_number(const struct sl_option *o, unsigned min, unsigned max, unsigned *out);
bool sl_option_bytes(const struct sl_option *o, __u64 min, __u64 *out);	/* 10M, 512K, 1GiB */
bool sl_option_seconds(const struct sl_option *o, unsigned min, unsigned *out); /* 1d, 30m */
bool sl_option_mode(const struct sl_option *o, mode_t *out);		/* 0640 */
bool sl_option_path(const struct sl_option *o, char **out); /* absolute; *out is freed */
/* ADDRESS:PORT, [ADDRESS]:PORT; numeric. port 0 in: it must be written. */
bool sl_option_address(const struct sl_option *o, unsigned port, char **host, unsigned *out);

#endif
