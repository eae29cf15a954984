/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * libbpf reads all types of the running kernel (megabytes, 10 ms of a CPU) for an object any of
 * whose programs reads the kernel's own structures, also if that program is not to be loaded.
 * It takes them from a file that it is told of instead: here one without types. A program that
 * needs one cannot be loaded so.
 */
#ifndef SLUICE_NO_BTF_H
#define SLUICE_NO_BTF_H

#define SL_NO_BTF_PATH 32

/* Fills path, for bpf_object_open_opts.btf_custom_path. A descriptor, to be closed when the
 * object is loaded; -1: there is no such file, so do without it. */
int sl_no_btf(char path[SL_NO_BTF_PATH]);

#endif
