// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Bursts as one record. */
#include <stdlib.h>
#include <string.h>

#include "aggregate.h"
#include "named.h"

#define WINDOWS 1024
#define CHAINS 1024	/* a power of two */

struct window {
	struct sl_named_event last;
	__u64 opened_ns, count;	/* count: not yet handed on */
	int next;		/* in its chain, -1 at the end */
	__u32 hash;
};

/* Windows are opened and ended in the order of time: a ring. */
struct sl_aggregate {
	sl_aggregate_out out;
	void *context;
	int first, n;
	int chains[CHAINS];
	struct window windows[WINDOWS];
};

/* What makes two events the same one, as bytes. */
struct identity {
	__u64 generation;
	__u8 source[16], destination[16];
	char comm[16];
	__u32 slot, rule, pid, flags;
	__u16 ethertype, vlan, port;
	__u8 mac[6];
	__u8 family, protocol, verdict, reason, direction, hook;
	__u8 reserved[6]; /* no padding: it is compared as bytes */
};
_Static_assert(sizeof(struct identity) == 8 + 3 * 16 + 4 * 4 + 3 * 2 + 6 + 6 + 6, "no padding");

static struct identity identity_of(const struct sl_event *e)
{
	struct identity i;

	memset(&i, 0, sizeof(i));
	i.generation = e->generation;
	memcpy(i.destination, e->destination, sizeof(i.destination));
	if (e->direction == SL_INGRESS)
		memcpy(i.source, e->source, sizeof(i.source));
	i.rule = e->rule;
	i.pid = e->pid;
	i.flags = e->flags & SL_EVENT_PROCESS;
	i.port = e->destination_port;
	i.family = e->family;
	i.protocol = e->protocol;
	i.verdict = e->verdict;
	i.reason = e->reason;
	i.direction = e->direction;
	i.hook = e->hook;
	i.slot = e->slot;
	i.ethertype = e->ethertype;
	i.vlan = e->vlan;
	memcpy(i.mac, e->mac_source, sizeof(i.mac));
	memcpy(i.comm, e->comm, sizeof(i.comm));
	return i;
}

static bool same(const struct sl_event *a, const struct sl_event *b)
{
	struct identity x = identity_of(a), y = identity_of(b);

	return !memcmp(&x, &y, sizeof(x)) && sl_event_same_name(a, b);
}

static __u32 hash_of(const struct sl_event *e)
{
	struct identity i = identity_of(e);
	const unsigned char *p = (const unsigned char *)&i;
	__u32 h = 2166136261u;
	size_t k;

	for (k = 0; k < sizeof(i); k++)
		h = (h ^ p[k]) * 16777619u;
	return h;
}

struct sl_aggregate *sl_aggregate_new(sl_aggregate_out out, void *context)
{
	struct sl_aggregate *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->out = out;
	a->context = context;
	memset(a->chains, 0xff, sizeof(a->chains));
	return a;
}

static void end_first(struct sl_aggregate *a)
{
	struct window *w = &a->windows[a->first];
	int *link = &a->chains[w->hash & (CHAINS - 1)];

	while (*link != a->first)
		link = &a->windows[*link].next;
	*link = w->next;
	if (w->count)
		a->out(a->context, &w->last.event, w->count);
	a->first = (a->first + 1) % WINDOWS;
	a->n--;
}

void sl_aggregate_add(struct sl_aggregate *a, const struct sl_event *e)
{
	__u32 hash = hash_of(e);
	struct window *w;
	int i;

	sl_aggregate_flush(a, e->time_ns);
	if (e->flags & SL_EVENT_CLOSE) {	/* no two are the same */
		a->out(a->context, e, 1);
		return;
	}
	for (i = a->chains[hash & (CHAINS - 1)]; i >= 0; i = a->windows[i].next) {
		w = &a->windows[i];
		if (w->hash == hash && same(&w->last.event, e)) {
			sl_event_copy(&w->last, e);
			w->count++;
			return;
		}
	}
	if (a->n == WINDOWS)
		end_first(a);
	i = (a->first + a->n++) % WINDOWS;
	a->windows[i] = (struct window){.opened_ns = e->time_ns, .hash = hash,
					.next = a->chains[hash & (CHAINS - 1)]};
	sl_event_copy(&a->windows[i].last, e);
	a->chains[hash & (CHAINS - 1)] = i;
	a->out(a->context, e, 1);
}

void sl_aggregate_flush(struct sl_aggregate *a, __u64 now_ns)
{
	while (a->n && (now_ns == ~0ull || now_ns > a->windows[a->first].opened_ns +
						    SL_AGGREGATE_WINDOW_NS))
		end_first(a);
}

bool sl_aggregate_pending(const struct sl_aggregate *a)
{
	return a->n > 0;
}

void sl_aggregate_free(struct sl_aggregate *a)
{
	free(a);
}
