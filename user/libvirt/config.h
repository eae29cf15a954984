/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* /etc/sluice/libvirt.yaml: how the hook behaves. docs/libvirt.md is the manual. */
#ifndef SLUICE_LIBVIRT_CONFIG_H
#define SLUICE_LIBVIRT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/diag.h"

#define SL_LIBVIRT_CONFIG "/etc/sluice/libvirt.yaml"
#define SL_LIBVIRT_POLICIES "/etc/sluice/libvirt"

/* What becomes of a guest whose policy cannot be enforced. */
enum sl_fail_mode {
	SL_FAIL_ISOLATE,	/* it starts, without network; where that cannot be
				 * enforced either it does not start */
	SL_FAIL_REFUSE,		/* it does not start */
	SL_FAIL_OPEN,		/* it starts, unfiltered */
};

struct sl_libvirt_config {
	enum sl_fail_mode fail;
	bool any_address;	/* a NIC without addresses may use any; else what DHCP gives */
	bool no_metadata;	/* what the domain's metadata asks for does not count */
	bool uncovered_ok;	/* NICs that tc does not see: only a warning */
	char *policies;		/* owned: the folder of the guests' policies */
};

/*
 * Reads a configuration's text; what is not written has its default (docs).
 * 0, or -EINVAL with the errors in diag, or -ENOMEM; *out is then untouched.
 */
int sl_libvirt_config_parse(const char *text, size_t len, const char *file,
			    struct sl_libvirt_config *out, struct sl_diag *diag);

/*
 * The same of a file. One that is not there is no error unless required. Free
 * with sl_libvirt_config_free.
 */
int sl_libvirt_config_read(const char *path, bool required, struct sl_libvirt_config *out,
			   struct sl_diag *diag);
void sl_libvirt_config_free(struct sl_libvirt_config *config);

#endif
