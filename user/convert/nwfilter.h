/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * libvirt's network filters (the XML of `virsh nwfilter-dumpxml`) as a policy for
 * a device. docs/convert.md says what becomes what, and what is refused.
 */
#ifndef SLUICE_CONVERT_NWFILTER_H
#define SLUICE_CONVERT_NWFILTER_H

#include "policy/policy.h"

#define SL_NWFILTER_BYTES_MAX (4u << 20) /* of one file */

struct sl_nwfilter_source {
	const char *text;
	size_t len;
	const char *file; /* for messages; must live as long as the diag */
};

/* What a device must be given for the policy to mean what the filter meant. */
struct sl_nwfilter_binding {
	bool mac;	  /* --mac */
	char **addresses; /* owned, each owned: values of --address; `ADDRESS` and
			   * `IPV6-ADDRESS` where the filter does not say which */
	size_t n_addresses;
};

struct sl_nwfilter {
	struct sl_policy *policy; /* owned */
	char *name;		  /* owned: of the filter */
	struct sl_nwfilter_binding binding;
};

/*
 * The first source is the filter; the others are filters that it refers to, by
 * name. libvirt's own (clean-traffic ...) are known and need not be given. 0,
 * -EINVAL with errors in diag, -ENOMEM; *out is then untouched. What a reader of
 * the policy should know is in diag as warnings.
 */
int sl_nwfilter_read(const struct sl_nwfilter_source *sources, size_t n, struct sl_nwfilter *out,
		     struct sl_diag *diag);
void sl_nwfilter_free(struct sl_nwfilter *nwfilter);

#endif
