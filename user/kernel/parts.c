// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "no_btf.h"
#include "parts.h"

struct part {
	struct bpf_object **object;	/* where it goes */
	const struct bpf_object *maps;
	const void *elf;
	size_t size;
	struct sl_parts_kind kind;
	bool last;
	pthread_t thread;
	bool begun;
	int err;
};

/* The constants too: the verifier sees the values in the map that they are read from. */
static int share_maps(struct bpf_object *object, const struct bpf_object *maps)
{
	struct bpf_map *map, *made;
	int err = 0;

	bpf_object__for_each_map(map, object) {
		made = bpf_object__find_map_by_name(maps, bpf_map__name(map));
		err = made ? bpf_map__reuse_fd(map, bpf_map__fd(made)) : -ENOENT;
		if (err)
			break;
	}
	return err;
}

static bool is_one_of(const struct bpf_program *program, const char *const *names, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!strcmp(bpf_program__name(program), names[i]))
			return true;
	return false;
}

/* The last part's programs: about half of what the verifier walks, and all that read the kernel's
 * own structures. */
static bool is_of_last(const struct bpf_program *program, const struct sl_parts_kind *kind)
{
	const char *const one[] = {"sluice_packet"};
	const char *const two[] = {"sluice_egress", "sluice_connect6", "sluice_connect4"};

	return kind->silent ? is_one_of(program, two, kind->types ? 2 : 3) :
			      is_one_of(program, one, 1);
}

static bool is_needed(const struct bpf_program *program, const struct sl_parts_kind *kind)
{
	const char *const one[] = {"sluice_packet"}, *const two[] = {"sluice_egress",
								     "sluice_ingress"};

	return kind->silent ? !is_one_of(program, one, 1) : !is_one_of(program, two, 2);
}

static void choose_programs(struct bpf_object *object, const struct part *p)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, is_needed(program, &p->kind) &&
						   is_of_last(program, &p->kind) == p->last);
}

static int load_programs(struct part *p)
{
	/* the names of internal maps begin with the object's */
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = bpf_object__name(p->maps));
	char path[SL_NO_BTF_PATH];
	int types = !p->last ? sl_no_btf(path) :
		    p->kind.types ? sl_few_types(bpf_object__btf(p->maps), path) : -1, err;
	struct bpf_object *object;

	if (types >= 0)
		options.btf_custom_path = path;
	object = bpf_object__open_mem(p->elf, p->size, &options);
	err = object ? 0 : -errno;
	*p->object = object;
	if (!err) {
		choose_programs(object, p);
		err = share_maps(object, p->maps);
	}
	if (!err)
		err = bpf_object__load(object);
	if (types >= 0)
		close(types);
	return err;
}

static void *load_part(void *context)
{
	struct part *p = context;

	p->err = load_programs(p);
	return NULL;
}

static int load_maps(struct bpf_object *maps)
{
	struct bpf_program *program;
	int err = 0;

	bpf_object__for_each_program(program, maps)
		if (!err)
			err = bpf_program__set_autoload(program, false);
	return err ? err : bpf_object__load(maps);
}

struct beside {
	int (*call)(void *context);
	void *context;
	pthread_t thread;
	bool begun;
	int err;
};

static void *call_beside(void *context)
{
	struct beside *b = context;

	b->err = b->call(b->context);
	return NULL;
}

static void begin_beside(struct beside *b)
{
	if (!b->call)
		return;
	b->begun = !pthread_create(&b->thread, NULL, call_beside, b);
	if (!b->begun)
		call_beside(b);
}

static int load_all(struct sl_parts *parts, struct bpf_object *maps, const void *elf, size_t size,
		    const struct sl_parts_kind *kind)
{
	struct part p[SL_PARTS];
	unsigned int i;
	int err = 0;

	for (i = 0; i < SL_PARTS; i++) {
		p[i] = (struct part){.object = &parts->objects[i], .maps = maps, .elf = elf,
				     .size = size, .last = i + 1 == SL_PARTS,
				     .kind = *kind};
		/* the last one is this thread's */
		p[i].begun = i + 1 < SL_PARTS &&
			     !pthread_create(&p[i].thread, NULL, load_part, &p[i]);
		if (!p[i].begun)
			load_part(&p[i]);
	}
	for (i = 0; i < SL_PARTS; i++) {
		if (p[i].begun)
			pthread_join(p[i].thread, NULL);
		if (!err)
			err = p[i].err;
	}
	return err;
}

int sl_parts_load(struct sl_parts *parts, struct bpf_object *maps, const void *elf, size_t size,
		  const struct sl_parts_kind *kind, int (*beside)(void *context), void *context)
{
	struct beside b = {.call = beside, .context = context};
	int err = load_maps(maps);

	if (err)
		return err;
	begin_beside(&b);
	err = load_all(parts, maps, elf, size, kind);
	if (b.begun)
		pthread_join(b.thread, NULL);
	return err ? err : b.err;
}

int sl_parts_each(const struct sl_parts *parts,
		  int (*visit)(const struct bpf_program *program, void *context), void *context)
{
	struct bpf_program *program;
	unsigned int i;
	int err = 0;

	for (i = 0; i < SL_PARTS; i++)
		bpf_object__for_each_program(program, parts->objects[i])
			if (!err && bpf_program__autoload(program))
				err = visit(program, context);
	return err;
}

void sl_parts_close(struct sl_parts *parts)
{
	unsigned int i;

	for (i = 0; i < SL_PARTS; i++)
		bpf_object__close(parts->objects[i]);
}
