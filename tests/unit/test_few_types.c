// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What is taken of a kernel's types is what the kernel has: every type that an object may be
 * relocated by, at the offsets that all of the kernel's have. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "kernel/few_types.h"

#define KERNEL "/sys/kernel/btf/vmlinux"

static struct btf *few_of(const struct btf *of, const struct btf *all)
{
	struct btf *few;
	void *out = NULL;
	const void *raw;
	size_t n = 0;
	__u32 size;

	raw = btf__raw_data(all, &size);
	assert_int_equal(sl_few_types_of(of, raw, size, &out, &n), 0);
	few = btf__new(out, (__u32)n);
	free(out);
	assert_int_equal(libbpf_get_error(few), 0);
	return few;
}

static void same(const struct btf *a, __u32 x, const struct btf *b, __u32 y);

static void same_members(const struct btf *a, const struct btf_type *t, const struct btf *b,
			 const struct btf_type *u)
{
	const struct btf_member *m = btf_members(t), *n = btf_members(u);
	int i;

	for (i = 0; i < btf_vlen(t); i++) {
		assert_string_equal(btf__name_by_offset(a, m[i].name_off),
				    btf__name_by_offset(b, n[i].name_off));
		assert_int_equal(m[i].offset, n[i].offset);
		same(a, m[i].type, b, n[i].type);
	}
}

static void same_values(const struct btf *a, const struct btf_type *t, const struct btf *b,
			const struct btf_type *u)
{
	const struct btf_enum *e = btf_enum(t), *f = btf_enum(u);
	int i;

	for (i = 0; i < btf_vlen(t); i++) {
		assert_string_equal(btf__name_by_offset(a, e[i].name_off),
				    btf__name_by_offset(b, f[i].name_off));
		assert_int_equal(e[i].val, f[i].val);
	}
}

/* As far as a relocation looks: to pointers, not through them. */
static void same(const struct btf *a, __u32 x, const struct btf *b, __u32 y)
{
	const struct btf_type *t = btf__type_by_id(a, x), *u = btf__type_by_id(b, y);

	assert_int_equal(t->info, u->info);
	if (x)
		assert_string_equal(btf__name_by_offset(a, t->name_off),
				    btf__name_by_offset(b, u->name_off));
	if (btf_is_composite(t)) {
		assert_int_equal(t->size, u->size);
		same_members(a, t, b, u);
	} else if (btf_is_array(t)) {
		assert_int_equal(btf_array(t)->nelems, btf_array(u)->nelems);
		same(a, btf_array(t)->type, b, btf_array(u)->type);
	} else if (btf_is_enum(t)) {
		same_values(a, t, b, u);
	} else if (btf_is_mod(t) || btf_is_typedef(t)) {
		same(a, t->type, b, u->type);
	} else if (btf_is_int(t)) {
		assert_int_equal(t->size, u->size);
		assert_int_equal(*(__u32 *)(t + 1), *(__u32 *)(u + 1));
	}
}

/* All of the name and kind: libbpf wants to know of the second one, too. */
static int compare_all(const struct btf *few, const struct btf *all, const char *name, __u32 kind)
{
	__u32 x = 0, y = 0;
	int found = 0;

	for (;;) {
		x++;
		while (x < btf__type_cnt(all) &&
		       (btf_kind(btf__type_by_id(all, x)) != kind ||
			strcmp(btf__name_by_offset(all, btf__type_by_id(all, x)->name_off), name)))
			x++;
		y++;
		while (y < btf__type_cnt(few) &&
		       (btf_kind(btf__type_by_id(few, y)) != kind ||
			strcmp(btf__name_by_offset(few, btf__type_by_id(few, y)->name_off), name)))
			y++;
		if (x == btf__type_cnt(all))
			break;
		assert_true(y < btf__type_cnt(few));
		same(all, x, few, y);
		found++;
	}
	return found;
}

static int add_named(struct btf *of, const char *const *structs)
{
	for (; *structs; structs++)
		if (btf__add_struct(of, *structs, 0) < 0)
			return -1;
	return btf__add_enum(of, "pageflags", 4);
}

static void the_running_kernels(void **state)
{
	static const char *const structs[] = {
		"sk_buff", "skb_shared_info", "page", "task_struct", "cred", "net_device",
		"cgroup", "sock___of_another_flavour", NULL};
	struct btf *all = btf__parse(KERNEL, NULL), *of = btf__new_empty(), *few;

	if (libbpf_get_error(all)) {
		btf__free(of);
		skip();
	}
	assert_true(add_named(of, structs) > 0);
	few = few_of(of, all);
	assert_true(compare_all(few, all, "sk_buff", BTF_KIND_STRUCT) > 0);
	assert_true(compare_all(few, all, "page", BTF_KIND_STRUCT) > 0);
	assert_true(compare_all(few, all, "skb_shared_info", BTF_KIND_STRUCT) > 0);
	assert_true(compare_all(few, all, "task_struct", BTF_KIND_STRUCT) > 0);
	assert_true(compare_all(few, all, "cred", BTF_KIND_STRUCT) > 0);
	assert_true(compare_all(few, all, "net_device", BTF_KIND_STRUCT) > 0);
	assert_true(compare_all(few, all, "sock", BTF_KIND_STRUCT) > 0);
	assert_true(compare_all(few, all, "pageflags", BTF_KIND_ENUM) > 0);
	assert_true(btf__type_cnt(few) < btf__type_cnt(all) / 10);
	assert_true(btf__find_by_name_kind(few, "ext4_inode_info", BTF_KIND_STRUCT) < 0);
	btf__free(few);
	btf__free(of);
	btf__free(all);
}

/* Two of one name, a function type, a pointer to itself, an array, a bit field, a string of
 * a name that another ends with. */
static struct btf *small_kernel(void)
{
	struct btf *all = btf__new_empty();
	int number = btf__add_int(all, "int", 4, BTF_INT_SIGNED);
	int proto = btf__add_func_proto(all, number);
	int array = btf__add_array(all, number, number, 7);
	int call = btf__add_typedef(all, "call_t", proto);
	int node = btf__add_struct(all, "node", 64), ptr;

	btf__add_field(all, "count", number, 0, 0);
	btf__add_field(all, "bits", number, 32 + 3, 5);
	btf__add_field(all, "many", array, 64, 0);
	ptr = btf__add_ptr(all, node);
	btf__add_struct(all, "list", 16);
	btf__add_field(all, "head", ptr, 0, 0);
	btf__add_field(all, "call", btf__add_ptr(all, call), 64, 0);
	btf__add_struct(all, "node", 8);
	btf__add_field(all, "other", number, 0, 0);
	btf__add_struct(all, "knot_of_node", 4);
	btf__add_struct(all, "outer", 64);
	btf__add_field(all, "inner", node, 0, 0);
	return all;
}

static void what_is_pointed_to_is_not_taken(void **state)
{
	struct btf *all = small_kernel(), *of = btf__new_empty(), *few;

	btf__add_struct(of, "list", 0);
	btf__add_typedef(of, "call_t", 0);
	few = few_of(of, all);
	assert_int_equal(compare_all(few, all, "list", BTF_KIND_STRUCT), 1);
	assert_true(btf__find_by_name_kind(few, "node", BTF_KIND_STRUCT) < 0);
	assert_true(btf__find_by_name_kind(few, "call_t", BTF_KIND_TYPEDEF) > 0);
	btf__free(few);
	btf__free(of);
	btf__free(all);
}

static void what_it_holds_is_taken_and_every_one_of_its_name(void **state)
{
	struct btf *all = small_kernel(), *of = btf__new_empty(), *few;

	btf__add_struct(of, "outer", 0);
	few = few_of(of, all);
	assert_int_equal(compare_all(few, all, "outer", BTF_KIND_STRUCT), 1);
	assert_true(btf__find_by_name_kind(few, "list", BTF_KIND_STRUCT) < 0);
	btf__free(few);
	btf__add_struct(of, "node", 0);
	few = few_of(of, all);
	assert_int_equal(compare_all(few, all, "node", BTF_KIND_STRUCT), 2);
	assert_true(btf__find_by_name_kind(few, "knot_of_node", BTF_KIND_STRUCT) < 0);
	btf__free(few);
	btf__free(of);
	btf__free(all);
}

static int result_of(const void *raw, size_t size)
{
	struct btf *of = btf__new_empty();
	void *out = NULL;
	size_t n;
	int err;

	btf__add_struct(of, "outer", 0);
	err = sl_few_types_of(of, raw, size, &out, &n);
	if (err)
		assert_null(out);
	free(out);
	btf__free(of);
	return err;
}

/* Whatever a word of it says, nothing outside of it is read (ASan), and it ends. */
static void what_is_broken_is_refused(void **state)
{
	static const __u32 words[] = {0, 1, 0xffff, 0x13000000, 0x1f000000, 0x0400ffff, 0xffffffff};
	struct btf *all = small_kernel();
	const void *raw;
	__u32 size, at;
	char *copy;
	size_t i;

	raw = btf__raw_data(all, &size);
	assert_int_equal(result_of(raw, size), 0);
	for (at = 0; at < size; at++) {
		copy = malloc(at ? at : 1);
		memcpy(copy, raw, at);
		assert_int_equal(result_of(copy, at), -EINVAL);
		free(copy);
	}
	for (at = 0; at + 4 <= size; at += 4)
		for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
			copy = malloc(size);
			memcpy(copy, raw, size);
			memcpy(copy + at, &words[i], 4);
			result_of(copy, size);
			free(copy);
		}
	btf__free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_running_kernels),
		cmocka_unit_test(what_is_pointed_to_is_not_taken),
		cmocka_unit_test(what_it_holds_is_taken_and_every_one_of_its_name),
		cmocka_unit_test(what_is_broken_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
