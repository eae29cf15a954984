/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which file is a guest's policy. */
#ifndef SLUICE_LIBVIRT_CHOOSE_H
#define SLUICE_LIBVIRT_CHOOSE_H

#include "policy/diag.h"

/* Where to look; shipped is where Sluice's own policies are installed. */
struct sl_policy_places {
	const char *folder, *shipped;
};

/*
 * wanted (the name that the metadata asks for, or NULL) as folder/NAME.yaml or
 * shipped/NAME.yaml; else folder/GUEST.yaml, folder/default.yaml, and last
 * shipped/vm-isolated.yaml. A file that is there but cannot be read is chosen:
 * that it fails must be seen, not passed over. *path is owned by the caller. 0,
 * -EINVAL with the error in diag, or -ENOMEM.
 */
int sl_policy_choose(const struct sl_policy_places *places, const char *guest,
		     const char *wanted, char **path, struct sl_diag *diag);

/* True if a guest of this name can have a file of its own: one component of a
 * path, no dot at its start, no control character. */
bool sl_guest_has_file(const char *guest);

#endif
