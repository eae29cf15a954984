/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * libbpf reads all types of the running kernel (5 MB in reads of 4 KiB, then once more for each
 * type that is looked for: 10 ms of a CPU) for an object any of whose programs reads the kernel's
 * own structures, also if that program is not to be loaded. It takes them from a file that it
 * is told of instead: here one without types, where no program that needs one is loaded, or
 * one with the few that it can need.
 */
#ifndef SLUICE_NO_BTF_H
#define SLUICE_NO_BTF_H

#include <bpf/btf.h>
#include <stddef.h>

#define SL_NO_BTF_PATH 32

/* Fills path, for bpf_object_open_opts.btf_custom_path: a file without types. A descriptor, to
 * be closed when the object is loaded; -1: there is no such file, so do without it. */
int sl_no_btf(char path[SL_NO_BTF_PATH]);

/* Writes the kernel's types into that file, those that an object with the types `of` can be
 * relocated by; all, if they are of a kind that is not known here. libbpf reads the file when it
 * loads the object. 0 or -errno. */
int sl_few_types(int fd, const struct btf *of);

#endif
