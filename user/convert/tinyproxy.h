/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A filter of tinyproxy (tinyproxy.conf(5), "Filter"), as one of our policies. */
#ifndef SLUICE_CONVERT_TINYPROXY_H
#define SLUICE_CONVERT_TINYPROXY_H

#include "policy/policy.h"

#define SL_TINYPROXY_BYTES_MAX (4u << 20) /* a filter, or tinyproxy.conf */

enum sl_tinyproxy_type { SL_TINYPROXY_BASIC, SL_TINYPROXY_EXTENDED, SL_TINYPROXY_GLOB };

/* What tinyproxy.conf says about its filter. Zero-initialise: tinyproxy's defaults. */
struct sl_tinyproxy_options {
	enum sl_tinyproxy_type type; /* FilterType, FilterExtended */
	bool default_deny;	     /* FilterDefaultDeny */
	char *filter;		     /* owned: the path of `Filter`, or NULL */
};

/*
 * Reads tinyproxy.conf, or one directive of it (pos->line 0), into *options; directives
 * that are not about the filter are passed over. What no policy can say (FilterURLs,
 * FilterCaseSensitive) is an error. 0, -EINVAL with errors in diag, or -ENOMEM.
 */
int sl_tinyproxy_conf(const char *text, size_t len, const struct sl_pos *pos,
		      struct sl_tinyproxy_options *options, struct sl_diag *diag);
void sl_tinyproxy_options_free(struct sl_tinyproxy_options *options);

/*
 * Reads a filter: one pattern a line. pos->file names it in diag. 0 and *out (for
 * sl_policy_free), -EINVAL with an error for each line that a policy cannot say
 * exactly, or -ENOMEM; *out is then untouched.
 */
int sl_tinyproxy_read(const char *text, size_t len, const struct sl_pos *pos,
		      const struct sl_tinyproxy_options *options, struct sl_policy **out,
		      struct sl_diag *diag);

#endif
