/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One NIC of a guest; nothing outside of this folder includes it. */
#ifndef SLUICE_LIBVIRT_HOOK_NIC_H
#define SLUICE_LIBVIRT_HOOK_NIC_H

#include "config.h"
#include "domain.h"
#include "kernel/state.h"

struct sl_guest {
	const char *name;		/* as libvirt gave it */
	const char *state_path;
	struct sl_diag *diag;
	struct sl_libvirt_config config;
	bool config_is_broken;
	struct sl_libvirt_domain domain;
	struct sl_state *state;		/* NULL: not opened yet */
};

/* Before the guest runs. False: it must not start. */
bool sl_hook_start_nic(struct sl_guest *guest, const struct sl_nic *nic);

/* While it runs: what is attached stays as it is, what is not is attached. */
void sl_hook_reconnect_nic(struct sl_guest *guest, const struct sl_nic *nic);

#endif
