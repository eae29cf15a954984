// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "no_btf.h"
#include "parts.h"

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

static void choose_programs(struct bpf_object *object, const struct sl_part *p)
{
	const struct sl_parts_kind *kind = &p->source->kind;
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, is_needed(program, kind) &&
						   is_of_last(program, kind) == p->last);
}

/* Without the kernel's types, or with the few that it can need; they are read at its load. */
static int open_part(struct sl_part *p, const char *types_path, int types)
{
	const struct sl_parts_source *s = p->source;
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = s->name);
	int err;

	if (types >= 0)
		options.btf_custom_path = types_path;
	p->object = bpf_object__open_mem(s->elf, s->size, &options);
	if (!p->object)
		return -errno;
	choose_programs(p->object, p);
	err = types >= 0 && p->last && s->kind.types ?
		      sl_few_types(types, bpf_object__btf(p->object)) : 0;
	return err;
}

static int load_part(struct sl_part *p)
{
	int err;

	while (sem_wait(&p->there) && errno == EINTR)
		;
	if (!p->maps)
		return -ECANCELED;
	err = share_maps(p->object, p->maps);
	return err ? err : bpf_object__load(p->object);
}

static void *run_part(void *context)
{
	char path[SL_NO_BTF_PATH];
	struct sl_part *p = context;
	int types = sl_no_btf(path);

	p->err = open_part(p, path, types);
	if (!p->err)
		p->err = load_part(p);
	if (types >= 0)
		close(types);
	return NULL;
}

void sl_parts_begin(struct sl_parts *parts, const struct sl_parts_source *source)
{
	unsigned int i;

	parts->source = *source;
	parts->begun = true;
	for (i = 0; i < SL_PARTS; i++) {
		struct sl_part *p = parts->parts + i;

		*p = (struct sl_part){.source = &parts->source, .last = i + 1 == SL_PARTS};
		sem_init(&p->there, 0, 0);
		p->begun = !pthread_create(&p->thread, NULL, run_part, p);
	}
}

/* NULL: there are no maps, and nothing is loaded. What has no thread is this one's. */
static int end_all(struct sl_parts *parts, const struct bpf_object *maps)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < SL_PARTS; i++) {
		parts->parts[i].maps = maps;
		sem_post(&parts->parts[i].there);
	}
	for (i = 0; i < SL_PARTS; i++) {
		struct sl_part *p = parts->parts + i;

		if (p->begun)
			pthread_join(p->thread, NULL);
		else if (maps)
			run_part(p);
		p->begun = false;
		sem_destroy(&p->there);
		if (!err)
			err = p->err;
	}
	parts->begun = false;
	return err;
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

int sl_parts_load(struct sl_parts *parts, struct bpf_object *maps, int (*beside)(void *context),
		  void *context)
{
	struct beside b = {.call = beside, .context = context};
	int err = load_maps(maps);

	if (err)
		return err;
	begin_beside(&b);
	err = end_all(parts, maps);
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
		bpf_object__for_each_program(program, parts->parts[i].object)
			if (!err && bpf_program__autoload(program))
				err = visit(program, context);
	return err;
}

void sl_parts_close(struct sl_parts *parts)
{
	unsigned int i;

	if (parts->begun)
		end_all(parts, NULL);
	for (i = 0; i < SL_PARTS; i++)
		bpf_object__close(parts->parts[i].object);
}
