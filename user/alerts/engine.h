/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From records to alerts: docs/alerts.md, "How an alert comes and goes", is what this does,
 * word for word. Pure: the only time is that of the records and ticks, nothing is read or
 * written. The same records give the same alerts.
 */
#ifndef SLUICE_ALERTS_ENGINE_H
#define SLUICE_ALERTS_ENGINE_H

#include "memory.h"
#include "rules.h"

#define SL_ALERT_SAMPLES 3
#define SL_FINGERPRINT_TEXT 17

enum sl_alert_state { SL_ALERT_FIRING, SL_ALERT_RESOLVED };

/* An alert as it is told. Everything is borrowed and valid during the call. */
struct sl_alert {
	const struct sl_alert_rule *rule;
	enum sl_alert_state state;
	bool evicted;			/* it ended for want of room, not by itself */
	bool resent;			/* nothing new: sl_alert_engine_open */
	char fingerprint[SL_FINGERPRINT_TEXT];
	__s64 time_ns, start_ns;	/* when it is told; when it began */
	__s64 end_ns;			/* RESOLVED: when it ended; else when it will, at rest */
	__u64 count, value;
	__u64 told;			/* how many times, this one included */
	const char *group[SL_ALERT_GROUP_FIELDS]; /* NULL: the records have none */
	const char *samples[SL_ALERT_SAMPLES];	  /* JSON, the oldest first */
	size_t n_samples;
};

typedef void (*sl_alert_fn)(void *context, const struct sl_alert *alert);

struct sl_alert_stats {
	__u64 records, late, evicted, unlearned, fired, no_memory;
	size_t groups, open;
};

struct sl_alert_engine;

/* The configuration and the memory are borrowed. NULL when out of memory. */
struct sl_alert_engine *sl_alert_engine_new(const struct sl_alerts_config *config,
					    struct sl_alert_memory *memory, sl_alert_fn tell,
					    void *context);
void sl_alert_engine_free(struct sl_alert_engine *engine);

/* The record stays the caller's; a sample may be made of it. */
void sl_alert_engine_record(struct sl_alert_engine *engine, struct sl_alert_record *record);
/* It is now (at least) this time. */
void sl_alert_engine_tick(struct sl_alert_engine *engine, __s64 now_ns);
/* Tells the open alerts again, those of a sink that forgets. */
void sl_alert_engine_open(struct sl_alert_engine *engine, sl_alert_fn tell, void *context);
void sl_alert_engine_stats(const struct sl_alert_engine *engine, struct sl_alert_stats *out);

#endif
