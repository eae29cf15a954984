/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A kernel's types, as few as an object can ask for (no_btf.h: why).
 *
 * What an object may be relocated by has a name among its own types. So every type of the kernel
 * that has one of those names is in the file, and what it is made of; every name is taken,
 * that of no relocation too, so there is no list that could lack one. Pointers are to void: no
 * relocation goes through one. A type's own number (bpf_core_type_id_kernel) would be another,
 * and what is attached to is not looked for here (libbpf reads the kernel's for that).
 */
#ifndef SLUICE_FEW_TYPES_H
#define SLUICE_FEW_TYPES_H

#include <bpf/btf.h>
#include <stddef.h>

/* Of all the types in btf (a kernel's, as in /sys/kernel/btf/vmlinux) the few for an object with
 * the types `of`: *out (owned) and *out_size, in the same form. -ENOMEM; -EINVAL: btf is
 * none, or of a kind that is not known here. Untouched on failure. */
int sl_few_types_of(const struct btf *of, const void *btf, size_t size, void **out,
		    size_t *out_size);

#endif
