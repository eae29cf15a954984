// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The client of the API server, as metrics. */
#include <string.h>

#include "apiserver/api.h"
#include "metrics.h"
#include "series.h"

static const char *const by_kind[] = {"kind", NULL};
static const char *const by_reason[] = {"kind", "reason", NULL};

static void put_one(struct sl_series *s, FILE *out, const char *name, const char *help, __u64 value)
{
	static const char *const none[] = {NULL};

	sl_series_family(s, out, name, SL_GAUGE, help, none);
	sl_series_add(s, none, value);
	sl_series_print(s, out);
}

static void put_kinds(struct sl_series *s, FILE *out, const struct sl_metrics_kubernetes *k,
		      const char *name, enum sl_series_type type, const char *help, size_t offset)
{
	sl_series_family(s, out, name, type, help, by_kind);
	for (size_t i = 0; i < k->n_kinds; i++) {
		__u64 value;

		if (!k->kinds[i].followed)
			continue;
		memcpy(&value, (const char *)&k->kinds[i] + offset, sizeof(value));
		sl_series_add(s, (const char *const[]){k->kinds[i].kind, NULL}, value);
	}
	sl_series_print(s, out);
}

static void put_failures(struct sl_series *s, FILE *out, const struct sl_metrics_kubernetes *k)
{
	sl_series_family(s, out, "sluice_kubernetes_failures_total", SL_COUNTER,
			 "Requests to the API server that failed, by kind and reason.", by_reason);
	for (size_t i = 0; i < k->n_kinds; i++)
		for (unsigned r = 1; r < SL_API_TROUBLES; r++)
			if (k->kinds[i].failures[r])
				sl_series_add(s, (const char *const[]){k->kinds[i].kind,
								       k->reasons[r], NULL},
					      k->kinds[i].failures[r]);
	sl_series_print(s, out);
}

void sl_metrics_put_kubernetes(struct sl_series *s, FILE *out,
			       const struct sl_metrics_kubernetes *k)
{
#define KINDS(name, type, help, field) \
	put_kinds(s, out, k, name, type, help, offsetof(struct sl_api_numbers, field))
	if (!k->known)
		return;
	put_one(s, out, "sluice_kubernetes_up",
		"1: every kind of object was listed and is being watched.",
		k->complete && !k->stale_since_s);
	put_one(s, out, "sluice_kubernetes_stale_since_timestamp_seconds",
		"Since when some of the objects may be out of date; 0: they are current.",
		(__u64)k->stale_since_s);
	KINDS("sluice_kubernetes_objects", SL_GAUGE, "Objects that are known.", objects);
	KINDS("sluice_kubernetes_unreadable", SL_GAUGE, "Objects that could not be read.", unreadable);
	KINDS("sluice_kubernetes_events_total", SL_COUNTER, "Changes that watches told of.", events);
	KINDS("sluice_kubernetes_lists_total", SL_COUNTER, "Times that a kind was listed whole.",
	      lists);
	put_failures(s, out, k);
	for (size_t i = 0; i < k->n_kinds; i++)
		if (!strcmp(k->kinds[i].kind, "status")) {
			sl_series_family(s, out, "sluice_kubernetes_status_writes_total", SL_COUNTER,
					 "Times that the status of an EgressPolicy was written.",
					 (const char *const[]){NULL});
			sl_series_add(s, (const char *const[]){NULL}, k->kinds[i].events);
			sl_series_print(s, out);
		}
#undef KINDS
}
