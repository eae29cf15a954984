// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From wishes to a policy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "records_internal.h"

#define PORTS_MAX 8 /* of a line */
#define TOLD_MAX 20 /* lines of one comment */

/* ---- is there one? ---- */

static int which_policy(const struct sl_records *r, const char *file, struct sl_diag *diag)
{
	char names[200] = "";
	const char *name;
	json_t *times;
	size_t at = 0;

	if (r->wanted)
		return sl_error(diag, &(struct sl_pos){.file = file},
				"no decision of the policy \"%s\" is in it", r->wanted);
	json_object_foreach(r->policies, name, times) {
		if (at < sizeof(names))
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s\"%s\"",
					       at ? ", " : "", name);
	}
	return sl_error(diag, &(struct sl_pos){.file = file},
			"decisions of the policies %s: whose? give --policy NAME", names);
}

int sl_records_check(const struct sl_records *r, const char *file, struct sl_diag *diag)
{
	struct sl_pos pos = {.file = file};

	if (r->no_memory)
		return -ENOMEM;
	if (!json_object_size(r->policies))
		return sl_error(
			diag, &pos,
			"no decision is in it: `sluice run --log FILE` and "
			"the sinks of `sluice watch` and sluiced write them (docs/events.md)");
	if (!r->decisions || (!r->wanted && json_object_size(r->policies) > 1))
		return which_policy(r, file, diag);
	if (r->too_many)
		return sl_error(diag, &pos,
				"more than %d destinations: no list of rules is a policy "
				"for that; deny what must not be reached, with `default: allow`",
				SL_WISHES_MAX);
	return 0;
}

/* ---- rules ---- */

/* Names first, then addresses; the ports of each together. */
static int in_order(const void *a, const void *b)
{
	const struct sl_wish *x = a, *y = b;
	int order = !x->name - !y->name;

	if (!order && x->name)
		order = strcmp(x->name, y->name);
	else if (!order && !(order = x->address.family - y->address.family))
		order = memcmp(x->address.addr, y->address.addr, sizeof(x->address.addr));
	if (!order)
		order = x->is_private - y->is_private;
	if (!order)
		order = x->protocol - y->protocol;
	return order ? order : (int)x->port - (int)y->port;
}

static bool are_one_rule(const struct sl_wish *x, const struct sl_wish *y)
{
	struct sl_wish a = *x, b = *y;

	a.port = b.port = 0;
	return !in_order(&a, &b) && x->port && y->port;
}

/* `"HOST:PORTS/PROTOCOL"`, or its parts where the protocol is a number. */
static void put_match(const struct sl_wish *w, size_t n, FILE *out)
{
	bool bracket = !w->name && w->address.family == 6 && w->port;
	const char *protocol = sl_protocol_name(w->protocol);
	char text[SL_CIDR_TEXT];

	fprintf(out, "%s\"%s%s%s", protocol ? "" : "{to: ", bracket ? "[" : "",
		w->name ? w->name : sl_cidr_format(&w->address, text), bracket ? "]" : "");
	for (size_t i = 0; i < n && w->port; i++)
		fprintf(out, "%c%u", i ? ',' : ':', w[i].port);
	if (protocol)
		fprintf(out, "/%s\"", protocol);
	else
		fprintf(out, "\", protocol: %d}", w->protocol);
}

/* Their processes, each once. */
static void put_processes(const struct sl_wish *w, size_t n, FILE *out)
{
	const char *told[SL_WISH_PROCESSES * PORTS_MAX];
	size_t n_told = 0, k;

	for (size_t i = 0; i < n * SL_WISH_PROCESSES; i++) {
		const char *process = w[i / SL_WISH_PROCESSES].processes[i % SL_WISH_PROCESSES];

		for (k = 0; process && k < n_told && strcmp(told[k], process); k++)
			;
		if (!process || k < n_told)
			continue;
		fputs(n_told ? ", " : ", by ", out);
		sl_put_text(process, out);
		told[n_told++] = process;
	}
}

static size_t put_rule(const struct sl_wish *w, size_t left, FILE *out)
{
	__u64 times = w->times;
	size_t n = 1;

	for (; n < left && n < PORTS_MAX && are_one_rule(w, &w[n]); n++)
		times += w[n].times;
	fputs(w->is_private ? "  - {allow: " : "  - allow: ", out);
	put_match(w, n, out);
	fprintf(out, "%s  # %llu time%s", w->is_private ? ", resolves_to: private}" : "",
		(unsigned long long)times, SL_S(times));
	put_processes(w, n, out);
	putc('\n', out);
	return n;
}

/* Asked for, and not connected to: whoever is denied the question never says a port. */
static void put_asked(const struct sl_records *r, FILE *out)
{
	const char *name;
	json_t *times;

	json_object_foreach(r->asked, name, times) {
		if (json_object_get(r->named, name))
			continue;
		fprintf(out, "  - allow: \"%s\"  # asked for %lld time%s, never connected to: its ports "
			"are not known\n", name, (long long)json_integer_value(times),
			SL_S(json_integer_value(times)));
	}
}

/* ---- what is around them ---- */

static void put_list(json_t *list, const char *title, FILE *out)
{
	size_t told = 0, n = json_object_size(list);
	const char *what;
	json_t *times;

	if (n)
		fprintf(out, "# %s\n", title);
	json_object_foreach(list, what, times) {
		if (told++ == TOLD_MAX)
			break;
		fputs("#   ", out);
		sl_put_text(what, out);
		fprintf(out, ", %lld time%s\n", (long long)json_integer_value(times),
			SL_S(json_integer_value(times)));
	}
	if (n > TOLD_MAX)
		fprintf(out, "#   and %zu more\n", n - TOLD_MAX);
}

static void put_resolvers(const struct sl_records *r, FILE *out)
{
	const char *resolver, *before = "[";
	json_t *times;

	if (!json_object_size(r->resolvers) && !json_object_size(r->named) &&
	    !json_object_size(r->asked))
		return;
	fputs("dns:\n  resolvers: ", out);
	json_object_foreach(r->resolvers, resolver, times) {
		fprintf(out, "%s\"%s\"", before, resolver);
		before = ", ";
	}
	fputs(json_object_size(r->resolvers) ? "]\n" : "system\n", out);
}

static void put_comments(const struct sl_records *r, FILE *out)
{
	fputs("# What the program reached for, as rules. It chose that: read each before you allow "
	      "it.\n",
	      out);
	if (r->is_unread)
		fputs("# It asked a resolver, and what it asked is in no record: with the names, "
		      "run it again\n"
		      "# under a policy that looks on (docs/convert.md, \"Records\").\n",
		      out);
	put_list(r->metadata,
		 "Not allowed: a cloud's metadata service, which gives credentials to who asks.",
		 out);
	put_list(r->refused, "Not allowed: what a rule denied.", out);
	put_list(r->left, "No rule's matter, by reason (docs/events.md).", out);
}

void sl_records_print(const struct sl_records *r, FILE *out)
{
	put_comments(r, out);
	fputs("sluice: 1\ndefault: deny\n", out);
	put_resolvers(r, out);
	fputs(r->n_wishes || json_object_size(r->asked) ? "rules:\n" : "rules: []\n", out);
	if (r->n_wishes)
		qsort(r->wishes, r->n_wishes, sizeof(*r->wishes), in_order);
	put_asked(r, out);
	for (size_t i = 0; i < r->n_wishes;)
		i += put_rule(&r->wishes[i], r->n_wishes - i, out);
}
