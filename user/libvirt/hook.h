/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What libvirt's qemu hook does for one guest at one moment of its life. It never
 * calls libvirt, which waits for it. docs/libvirt.md.
 */
#ifndef SLUICE_LIBVIRT_HOOK_H
#define SLUICE_LIBVIRT_HOOK_H

#include "policy/diag.h"

struct sl_hook_call {
	const char *guest, *op;		/* as libvirt gave them */
	const char *config;		/* path; NULL: the usual one, which need not be there */
	const char *state;		/* path of the pins */
};

/*
 * Reads the domain's XML from standard input where the operation needs it. Returns
 * what the hook exits with: 0, or 1: libvirt is to give up the operation. diag holds
 * what there is to say in any case.
 */
int sl_hook_run(const struct sl_hook_call *call, struct sl_diag *diag);

/* The policy of a device whose own cannot be enforced (fail: isolate). */
#define SL_HOOK_ISOLATION "libvirt-isolated"

#endif
