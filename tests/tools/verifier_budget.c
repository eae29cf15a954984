// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * verifier_budget OBJECT...: loads BPF objects and prints a line for each program:
 *
 *	OBJECT PROGRAM INSTRUCTIONS VERIFIED MILLISECONDS
 *
 * its length, the number of instructions that the verifier walked (bpf_prog_info,
 * verified_insns, 5.16), and how long the object took to load. `OBJECT - ERROR` for one that
 * this kernel does not take. Those of one table (include/sluice_lacks.h) once more as
 * OBJECT:lean: for a policy that lacks all of it. tests/verifier_budget.py compares with the budget.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* Storage of sockets and cgroups has no size. */
static bool has_size(const struct bpf_map *map)
{
	return bpf_map__type(map) != BPF_MAP_TYPE_SK_STORAGE &&
	       bpf_map__type(map) != BPF_MAP_TYPE_CGROUP_STORAGE;
}

/* The loader sizes some maps; here any size does. */
static int size_maps(struct bpf_object *object)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, object)
		if (!err && !bpf_map__max_entries(map) && has_size(map))
			err = bpf_map__set_max_entries(map, 4096);
	return err;
}

static int print_program(const char *name, const struct bpf_program *program, long long ms)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	int err = bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size);

	if (err)
		return err;
	printf("%s %s %u %u %lld\n", name, bpf_program__name(program),
	       info.xlated_prog_len / 8, info.verified_insns, ms);
	return 0;
}

/* Where sl_lacks is among the constants; NULL: nowhere. */
static __u32 *lacks_of(struct bpf_object *object)
{
	const struct btf *btf = bpf_object__btf(object);
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
	int section = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -1;
	int id = btf ? btf__find_by_name_kind(btf, "sl_lacks", BTF_KIND_VAR) : -1;
	const struct btf_var_secinfo *v;
	size_t size;
	const char *values;

	if (!map || section < 0 || id < 0)
		return NULL;
	values = bpf_map__initial_value(map, &size);
	v = btf_var_secinfos(btf__type_by_id(btf, section));
	for (int i = 0; i < btf_vlen(btf__type_by_id(btf, section)); i++)
		if (v[i].type == (__u32)id && v[i].offset + sizeof(__u32) <= size)
			return (__u32 *)((char *)values + v[i].offset);
	return NULL;
}

static int measure(const char *path, bool lean)
{
	const char *slash = strrchr(path, '/');
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	long long begin = now_ms(), ms;
	__u32 *lacks;
	char name[256];
	int err;

	snprintf(name, sizeof(name), "%s%s", slash ? slash + 1 : path, lean ? ":lean" : "");

	if (!object) {
		perror(path);
		return 1;
	}
	lacks = lacks_of(object);
	if (lean && !lacks) {
		bpf_object__close(object);
		return 0;
	}
	if (lean)
		*lacks = ~0u;
	err = size_maps(object);
	if (!err)
		err = bpf_object__load(object);
	ms = now_ms() - begin;
	if (err)
		printf("%s - %s\n", name, strerror(-err));
	bpf_object__for_each_program(program, object)
		if (!err && print_program(name, program, ms))
			perror(path);
	bpf_object__close(object);
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	libbpf_set_print(NULL);
	for (int i = 1; i < argc; i++)
		failed |= measure(argv[i], false) | measure(argv[i], true);
	return failed;
}
