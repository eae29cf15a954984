/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Private to the kernel stage. */
#ifndef SLUICE_KERNEL_INTERNAL_H
#define SLUICE_KERNEL_INTERNAL_H

struct named;
struct sl_kernel;

/* The target's programs and maps, borrowed; NULL: loaded for a policy without names. */
const struct named *sl_kernel_named(const struct sl_kernel *kernel);

#endif
