// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "few_types.h"

struct bytes {
	char *at;		/* owned */
	size_t n, room;
};

/* Of what an object asks for: a set of names, by open addressing. */
struct names {
	struct name {
		const char *at;	/* borrowed; NULL: free */
		size_t n;
	} *slots;		/* owned */
	__u32 mask;
};

struct few {
	const char *types, *strings;	/* all there are; borrowed */
	__u32 types_len, strings_len;
	__u32 n;		/* ids are 1 to n */
	__u32 *at;		/* [id]: where in types; owned */
	__u32 *given;		/* [id]: its id among the few, 0: it is not; owned */
	__u32 *taken, n_taken;	/* [id among the few]: its id; owned */
	struct bytes out, out_strings;
	int err;
};

/* ---- names ---- */

static __u32 hash_of(const char *name, size_t n)
{
	__u32 hash = 2166136261u;	/* FNV-1a */

	while (n--)
		hash = (hash ^ (unsigned char)*name++) * 16777619u;
	return hash;
}

static struct name *slot_of(const struct names *names, const char *name, size_t n)
{
	__u32 i = hash_of(name, n) & names->mask;
	struct name *slot = names->slots + i;

	while (slot->at && (slot->n != n || memcmp(slot->at, name, n)))
		slot = names->slots + (++i & names->mask);
	return slot;
}

/* Without the flavour: task_struct___old is relocated by task_struct. */
static size_t essential(const char *name)
{
	const char *flavour = strstr(name, "___");

	return flavour && flavour != name ? (size_t)(flavour - name) : strlen(name);
}

static int names_of(const struct btf *of, struct names *names)
{
	__u32 n = btf__type_cnt(of), size = 16, id;
	struct name *slot;
	const char *name;

	while (size < 2 * n)
		size *= 2;
	names->slots = calloc(size, sizeof(*names->slots));
	names->mask = size - 1;
	if (!names->slots)
		return -ENOMEM;
	for (id = 1; id < n; id++) {
		name = btf__name_by_offset(of, btf__type_by_id(of, id)->name_off);
		if (!name || !*name)
			continue;
		slot = slot_of(names, name, essential(name));
		*slot = (struct name){name, essential(name)};
	}
	return 0;
}

/* ---- all types ---- */

/* What follows a type of the kind; -1: no kind that we know. */
static long tail_of(const struct btf_type *t)
{
	const long n = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	case BTF_KIND_INT:
		return sizeof(__u32);
	case BTF_KIND_VAR:
		return sizeof(struct btf_var);
	case BTF_KIND_DECL_TAG:
		return sizeof(struct btf_decl_tag);
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_ENUM:
		return n * (long)sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return n * (long)sizeof(struct btf_enum64);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * (long)sizeof(struct btf_member);
	case BTF_KIND_FUNC_PROTO:
		return n * (long)sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return n * (long)sizeof(struct btf_var_secinfo);
	}
	return -1;
}

static int read_header(struct few *f, const void *btf, size_t size)
{
	const struct btf_header *h = btf;
	size_t rest;

	if (size < sizeof(*h) || h->magic != BTF_MAGIC || h->hdr_len < sizeof(*h) ||
	    h->hdr_len > size || h->hdr_len % 4 || h->type_off % 4)
		return -EINVAL;
	rest = size - h->hdr_len;
	if (h->type_off > rest || h->type_len > rest - h->type_off || h->str_off > rest ||
	    !h->str_len || h->str_len > rest - h->str_off)
		return -EINVAL;
	f->types = (const char *)btf + h->hdr_len + h->type_off;
	f->types_len = h->type_len;
	f->strings = (const char *)btf + h->hdr_len + h->str_off;
	f->strings_len = h->str_len;
	return f->strings[h->str_len - 1] ? -EINVAL : 0;
}

static const struct btf_type *type_of(const struct few *f, __u32 id)
{
	return (const void *)(f->types + f->at[id]);
}

/* Where each begins. None is shorter than a btf_type. */
static int find_types(struct few *f)
{
	const size_t most = f->types_len / sizeof(struct btf_type) + 1;
	__u32 at = 0;
	long tail;

	f->at = malloc(most * sizeof(*f->at));
	f->given = calloc(most, sizeof(*f->given));
	f->taken = malloc(most * sizeof(*f->taken));
	if (!f->at || !f->given || !f->taken)
		return -ENOMEM;
	while (f->types_len - at >= sizeof(struct btf_type)) {
		f->at[++f->n] = at;
		tail = tail_of(type_of(f, f->n));
		at += sizeof(struct btf_type);
		if (tail < 0 || (__u32)tail > f->types_len - at ||
		    type_of(f, f->n)->name_off >= f->strings_len)
			return -EINVAL;
		at += tail;
	}
	return at == f->types_len ? 0 : -EINVAL;
}

/* ---- the few ---- */

static __u32 append(struct few *f, struct bytes *b, const void *what, size_t n)
{
	size_t at = b->n, room = b->room ? b->room : 1 << 15;
	char *more;

	while (room - at < n)
		room *= 2;
	if (room != b->room) {
		more = realloc(b->at, room);
		if (!more) {
			f->err = -ENOMEM;
			return 0;
		}
		b->at = more;
		b->room = room;
	}
	memcpy(b->at + at, what, n);
	b->n += n;
	return at;
}

static void take_name(struct few *f, __u32 *offset)
{
	if (*offset >= f->strings_len)
		f->err = -EINVAL;
	else if (*offset)
		*offset = append(f, &f->out_strings, f->strings + *offset,
				 strlen(f->strings + *offset) + 1);
}

/* Its id among the few; what no relocation looks into is void. */
static __u32 take(struct few *f, __u32 id)
{
	if (!id)
		return 0;
	if (id > f->n) {
		f->err = -EINVAL;
		return 0;
	}
	switch (BTF_INFO_KIND(type_of(f, id)->info)) {
	case BTF_KIND_FUNC:
	case BTF_KIND_FUNC_PROTO:
	case BTF_KIND_VAR:
	case BTF_KIND_DATASEC:
	case BTF_KIND_DECL_TAG:
		return 0;
	}
	if (!f->given[id]) {
		f->given[id] = ++f->n_taken;
		f->taken[f->n_taken] = id;
	}
	return f->given[id];
}

/* What it is made of is taken too, and written later. */
static void take_parts(struct few *f, struct btf_type *t)
{
	struct btf_array *array = (void *)(t + 1);
	struct btf_member *m = (void *)(t + 1);
	struct btf_enum64 *e64 = (void *)(t + 1);
	struct btf_enum *e = (void *)(t + 1);
	__u32 i, n = BTF_INFO_VLEN(t->info);

	take_name(f, &t->name_off);
	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_PTR:
		t->type = 0;
		return;
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_TYPE_TAG:
		t->type = take(f, t->type);
		return;
	case BTF_KIND_ARRAY:
		array->type = take(f, array->type);
		array->index_type = take(f, array->index_type);
		return;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		for (i = 0; i < n; i++) {
			take_name(f, &m[i].name_off);
			m[i].type = take(f, m[i].type);
		}
		return;
	case BTF_KIND_ENUM:
		for (i = 0; i < n; i++)
			take_name(f, &e[i].name_off);
		return;
	case BTF_KIND_ENUM64:
		for (i = 0; i < n; i++)
			take_name(f, &e64[i].name_off);
	}
}

static void write_type(struct few *f, __u32 id)
{
	const struct btf_type *t = type_of(f, id);
	size_t size = sizeof(*t) + (size_t)tail_of(t), at = append(f, &f->out, t, size);

	if (!f->err)
		take_parts(f, (void *)(f->out.at + at));
}

static bool is_wanted(const struct few *f, const struct names *names, __u32 id)
{
	const struct btf_type *t = type_of(f, id);
	const char *name = f->strings + t->name_off;

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_FLOAT:
		return *name && slot_of(names, name, strlen(name))->at;
	}
	return false;
}

static void take_all(struct few *f, const struct names *names)
{
	__u32 id;

	append(f, &f->out_strings, "", 1);
	for (id = 1; id <= f->n; id++)
		if (is_wanted(f, names, id))
			take(f, id);
	for (id = 1; id <= f->n_taken && !f->err; id++)
		write_type(f, f->taken[id]);
}

static int join(const struct few *f, void **out, size_t *out_size)
{
	const struct btf_header h = {.magic = BTF_MAGIC, .version = BTF_VERSION,
				     .hdr_len = sizeof(h), .type_len = (__u32)f->out.n,
				     .str_off = (__u32)f->out.n,
				     .str_len = (__u32)f->out_strings.n};
	char *all = malloc(sizeof(h) + f->out.n + f->out_strings.n);

	if (!all)
		return -ENOMEM;
	memcpy(all, &h, sizeof(h));
	if (f->out.n)
		memcpy(all + sizeof(h), f->out.at, f->out.n);
	memcpy(all + sizeof(h) + f->out.n, f->out_strings.at, f->out_strings.n);
	*out = all;
	*out_size = sizeof(h) + f->out.n + f->out_strings.n;
	return 0;
}

int sl_few_types_of(const struct btf *of, const void *btf, size_t size, void **out,
		    size_t *out_size)
{
	struct names names = {};
	struct few f = {};
	int err = read_header(&f, btf, size);

	if (!err)
		err = find_types(&f);
	if (!err)
		err = names_of(of, &names);
	if (!err) {
		take_all(&f, &names);
		err = f.err;
	}
	if (!err)
		err = join(&f, out, out_size);
	free(names.slots);
	free(f.at);
	free(f.given);
	free(f.taken);
	free(f.out.at);
	free(f.out_strings.at);
	return err;
}
