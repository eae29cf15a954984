// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Maps, and the type information (BTF) that some of them ask for. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "kernel/probe.h"
#include "kernel/probe_insn.h"

/* Types of the object that make_types loads. */
struct types {
	struct btf *btf;
	int integer;
	int locked;   /* { struct bpf_spin_lock lock; int value; }: 8 bytes */
	int function; /* int sluice_part(int) */
	int program;  /* int sluice_probe(int) */
};

static int fill_types(struct types *t)
{
	struct btf *b = t->btf;
	int lock, proto;

	t->integer = btf__add_int(b, "int", 4, BTF_INT_SIGNED);
	lock = btf__add_struct(b, "bpf_spin_lock", 4);
	if (t->integer < 0 || lock < 0 || btf__add_field(b, "val", t->integer, 0, 0))
		return -ENOMEM;
	t->locked = btf__add_struct(b, "sluice_locked", 8);
	if (t->locked < 0 || btf__add_field(b, "lock", lock, 0, 0) ||
	    btf__add_field(b, "value", t->integer, 32, 0))
		return -ENOMEM;
	proto = btf__add_func_proto(b, t->integer);
	if (proto < 0 || btf__add_func_param(b, "x", t->integer))
		return -ENOMEM;
	t->program = btf__add_func(b, "sluice_probe", BTF_FUNC_GLOBAL, proto);
	t->function = btf__add_func(b, "sluice_part", BTF_FUNC_GLOBAL, proto);
	if (t->program < 0 || t->function < 0)
		return -ENOMEM;
	return btf__load_into_kernel(b);
}

/* 0 or -errno; free with btf__free(t->btf). */
static int make_types(struct types *t)
{
	struct types made = {.btf = btf__new_empty()};
	int err = made.btf ? fill_types(&made) : -ENOMEM;

	if (err) {
		btf__free(made.btf);
		return err;
	}
	*t = made;
	return 0;
}

/* A map whose key is an int and whose value has this type: fd or -errno. */
static int make_typed_map(enum bpf_map_type type, bool locked, __u32 entries, __u32 flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	struct types t;
	int fd, err = make_types(&t);

	if (err)
		return err;
	opts.btf_fd = (__u32)btf__fd(t.btf);
	opts.btf_key_type_id = (__u32)t.integer;
	opts.btf_value_type_id = (__u32)(locked ? t.locked : t.integer);
	fd = bpf_map_create(type, "sluice_probe", 4, locked ? 8 : 4, entries, &opts);
	err = fd < 0 ? -errno : 0;
	btf__free(t.btf);
	return err ? err : fd;
}

/* ---- socket storage ---- */

static int storage_in_connect(int map)
{
	const struct bpf_insn insns[] = {
		LOAD(BPF_REG_2, BPF_REG_1, offsetof(struct bpf_sock_addr, sk)),
		SKIP_IF_ZERO(BPF_REG_2, 5),
		MAP_FD(BPF_REG_1, map),
		MOV_IMM(BPF_REG_3, 0),
		MOV_IMM(BPF_REG_4, BPF_SK_STORAGE_GET_F_CREATE),
		CALL(BPF_FUNC_sk_storage_get),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	return sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, insns,
				  N_INSNS(insns));
}

static int storage_at_creation(int map)
{
	const struct bpf_insn insns[] = {
		MOV_REG(BPF_REG_2, BPF_REG_1),
		MAP_FD(BPF_REG_1, map),
		MOV_IMM(BPF_REG_3, 0),
		MOV_IMM(BPF_REG_4, BPF_SK_STORAGE_GET_F_CREATE),
		CALL(BPF_FUNC_sk_storage_get),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	return sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE, insns,
				  N_INSNS(insns));
}

static int storage_at_egress(int map)
{
	const struct bpf_insn insns[] = {
		LOAD(BPF_REG_1, BPF_REG_1, offsetof(struct __sk_buff, sk)),
		SKIP_IF_ZERO(BPF_REG_1, 8),
		CALL(BPF_FUNC_sk_fullsock),
		SKIP_IF_ZERO(BPF_REG_0, 6),
		MOV_REG(BPF_REG_2, BPF_REG_0),
		MAP_FD(BPF_REG_1, map),
		MOV_IMM(BPF_REG_3, 0),
		MOV_IMM(BPF_REG_4, 0),
		CALL(BPF_FUNC_sk_storage_get),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	return sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, insns,
				  N_INSNS(insns));
}

int sl_probe_socket_storage(void)
{
	int err, map = make_typed_map(BPF_MAP_TYPE_SK_STORAGE, false, 0,
				      BPF_F_NO_PREALLOC | BPF_F_CLONE);

	if (map < 0)
		return map;
	err = storage_in_connect(map);
	if (!err)
		err = storage_at_creation(map);
	if (!err)
		err = storage_at_egress(map);
	close(map);
	return err;
}

/* ---- spin lock ---- */

int sl_probe_spin_lock(void)
{
	int err, map = make_typed_map(BPF_MAP_TYPE_ARRAY, true, 1, 0);
	const struct bpf_insn insns[] = {
		STORE_IMM(BPF_REG_10, -8, 0),
		MAP_FD(BPF_REG_1, map),
		MOV_REG(BPF_REG_2, BPF_REG_10),
		ADD_IMM(BPF_REG_2, -8),
		CALL(BPF_FUNC_map_lookup_elem),
		SKIP_IF_ZERO(BPF_REG_0, 5),
		MOV_REG(BPF_REG_6, BPF_REG_0),
		MOV_REG(BPF_REG_1, BPF_REG_6),
		CALL(BPF_FUNC_spin_lock),
		MOV_REG(BPF_REG_1, BPF_REG_6),
		CALL(BPF_FUNC_spin_unlock),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	if (map < 0)
		return map;
	err = sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, insns,
				 N_INSNS(insns));
	close(map);
	return err;
}

/* ---- ring buffer ---- */

int sl_probe_ringbuf(void)
{
	int err, map = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "sluice_probe", 0, 0,
				      (__u32)sysconf(_SC_PAGESIZE), NULL);
	const struct bpf_insn insns[] = {
		MAP_FD(BPF_REG_1, map),
		MOV_IMM(BPF_REG_2, 8),
		MOV_IMM(BPF_REG_3, 0),
		CALL(BPF_FUNC_ringbuf_reserve),
		SKIP_IF_ZERO(BPF_REG_0, 4),
		STORE_IMM(BPF_REG_0, 0, 0),
		MOV_REG(BPF_REG_1, BPF_REG_0),
		MOV_IMM(BPF_REG_2, 0),
		CALL(BPF_FUNC_ringbuf_submit),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	if (map < 0)
		return -errno;
	err = sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, insns,
				 N_INSNS(insns));
	close(map);
	return err;
}

/* ---- one table among others ---- */

static int make_table(__u32 entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_probe", 4, 4096, entries, &opts);

	return fd < 0 ? -errno : fd;
}

static int check_mapping(int table)
{
	size_t size = 2 * 4096;
	void *words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, table, 0);

	if (words == MAP_FAILED)
		return -errno;
	munmap(words, size);
	return 0;
}

/* The outer map is made for tables of one entry and takes one of two. */
static int nest(int small, int large)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = (__u32)small);
	int outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "sluice_probe", 4, 4, 1, &opts);
	__u32 key = 0;
	int err = 0;

	if (outer < 0)
		return -errno;
	if (bpf_map_update_elem(outer, &key, &large, BPF_ANY))
		err = -errno;
	close(outer);
	return err;
}

int sl_probe_table_maps(void)
{
	int small = make_table(1), large, err;

	if (small < 0)
		return small;
	large = make_table(2);
	err = large < 0 ? large : check_mapping(large);
	if (!err)
		err = nest(small, large);
	if (large >= 0)
		close(large);
	close(small);
	return err;
}

/* ---- functions ---- */

int sl_probe_function(void)
{
	const struct bpf_insn insns[] = {
		MOV_IMM(BPF_REG_1, 1),	       CALL_LOCAL(2), MOV_IMM(BPF_REG_0, 1), EXIT,
		MOV_REG(BPF_REG_0, BPF_REG_1), EXIT,
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_CGROUP_INET_EGRESS);
	struct bpf_func_info info[2] = {{.insn_off = 0}, {.insn_off = 4}};
	struct types t;
	int fd, err = make_types(&t);

	if (err)
		return err;
	info[0].type_id = (__u32)t.program;
	info[1].type_id = (__u32)t.function;
	opts.prog_btf_fd = (__u32)btf__fd(t.btf);
	opts.func_info = info;
	opts.func_info_cnt = 2;
	opts.func_info_rec_size = sizeof(info[0]);
	fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SKB, "sluice_probe", "Dual BSD/GPL", insns,
			   N_INSNS(insns), &opts);
	err = fd < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	btf__free(t.btf);
	return err;
}
