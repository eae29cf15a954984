/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Private to probe*.c: instructions by hand (linux/bpf.h has only the opcodes),
 * and how they are loaded. */
#ifndef SLUICE_PROBE_INSN_H
#define SLUICE_PROBE_INSN_H

#include <stddef.h>
#include <linux/bpf.h>

#define N_INSNS(array) (sizeof(array) / sizeof((array)[0]))

#define MOV_IMM(dst, value)                                                                        \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = dst, .imm = value                  \
	}
#define MOV_REG(dst, src)                                                                          \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = dst, .src_reg = src                \
	}
#define ADD_IMM(dst, value)                                                                        \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = dst, .imm = value                  \
	}
#define LOAD(dst, src, offset)                                                                     \
	{                                                                                          \
		.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = dst, .src_reg = src, .off = offset  \
	}
#define STORE_IMM(dst, offset, value)                                                              \
	{                                                                                          \
		.code = BPF_ST | BPF_MEM | BPF_DW, .dst_reg = dst, .off = offset, .imm = value     \
	}
#define ATOMIC(dst, offset, src, operation)                                                        \
	{                                                                                          \
		.code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = dst, .src_reg = src,             \
		.off = offset, .imm = operation                                                    \
	}
#define SKIP_IF_ZERO(reg, n)                                                                       \
	{                                                                                          \
		.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = reg, .off = n                        \
	}
#define CALL(helper)                                                                               \
	{                                                                                          \
		.code = BPF_JMP | BPF_CALL, .imm = helper                                          \
	}
/* relative to the next instruction */
#define CALL_LOCAL(n)                                                                              \
	{                                                                                          \
		.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = n                   \
	}
#define KFUNC(id)                                                                                  \
	{                                                                                          \
		.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL, .imm = id            \
	}
#define EXIT                                                                                       \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}
/* two instructions wide */
#define MAP_FD(dst, fd)                                                                            \
	{.code = BPF_LD | BPF_DW | BPF_IMM,                                                        \
	 .dst_reg = dst,                                                                           \
	 .src_reg = BPF_PSEUDO_MAP_FD,                                                             \
	 .imm = fd},                                                                               \
	{                                                                                          \
	}

/* A descriptor, or -errno. */
int sl_probe_load(enum bpf_prog_type type, enum bpf_attach_type attach,
		  const struct bpf_insn *insns, size_t n);
/* 0 or -errno. */
int sl_probe_load_once(enum bpf_prog_type type, enum bpf_attach_type attach,
		       const struct bpf_insn *insns, size_t n);

#endif
