/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What libbpf has to say, for the one error line that we print. Private to the kernel
 * stage. */
#ifndef SLUICE_COMPLAINT_H
#define SLUICE_COMPLAINT_H

#include <bpf/libbpf.h>

#include "policy/diag.h"

/* From here on libbpf's first warning is kept, and nothing printed; what was there
 * before is returned, for sl_complaints_end. */
libbpf_print_fn_t sl_complaints_begin(void);
void sl_complaints_end(libbpf_print_fn_t before);

/* An error in diag: what failed, why (err, negative), what libbpf said, what to do. */
void sl_say_why(struct sl_diag *diag, const char *what, int err);

#endif
