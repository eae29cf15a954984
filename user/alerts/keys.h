/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every key of a file of rules, once: the tables of docs/alerts.md in C. */
#ifndef SLUICE_ALERTS_KEYS_H
#define SLUICE_ALERTS_KEYS_H

#include "policy/keys.h"

enum { SL_AKEY_ALERTS, SL_AKEY_LIMITS, SL_AKEY_MEMORY, SL_AKEY_SINKS, SL_AKEY_RULES, SL_AKEY_N };
enum { SL_AKEY_GROUPS, SL_AKEY_LIMITS_N };
enum { SL_AKEY_MEMORY_FILE, SL_AKEY_MEMORY_ENTRIES, SL_AKEY_MEMORY_FORGET, SL_AKEY_MEMORY_N };
enum { SL_AKEY_NAME, SL_AKEY_TYPE, SL_AKEY_SEVERITY, SL_AKEY_MATCH, SL_AKEY_NOT, SL_AKEY_GROUP,
       SL_AKEY_WINDOW, SL_AKEY_COUNT, SL_AKEY_OVER, SL_AKEY_DIRECTION, SL_AKEY_OF,
       SL_AKEY_PERIOD, SL_AKEY_JITTER, SL_AKEY_MERGE, SL_AKEY_LEARN, SL_AKEY_FOR,
       SL_AKEY_REPEAT, SL_AKEY_SUMMARY, SL_AKEY_RULE_N };
enum { SL_AKEY_PERIOD_MIN, SL_AKEY_PERIOD_MAX, SL_AKEY_PERIOD_N };
enum { SL_AKEY_ALERTMANAGER, SL_AKEY_WEBHOOK, SL_AKEY_EXEC, SL_AKEY_LOG, SL_AKEY_SINK_N };
enum { SL_AKEY_SINK_URL, SL_AKEY_SINK_SEVERITY, SL_AKEY_SINK_TIMEOUT, SL_AKEY_SINK_QUEUE,
       SL_AKEY_SINK_CA, SL_AKEY_SINK_TOKEN, SL_AKEY_HTTP_N };
enum { SL_AKEY_AM_LABELS = SL_AKEY_HTTP_N, SL_AKEY_AM_GENERATOR, SL_AKEY_AM_RESEND, SL_AKEY_AM_N };
enum { SL_AKEY_WEBHOOK_SECRET = SL_AKEY_HTTP_N, SL_AKEY_WEBHOOK_N };
enum { SL_AKEY_EXEC_COMMAND, SL_AKEY_EXEC_SEVERITY, SL_AKEY_EXEC_TIMEOUT, SL_AKEY_EXEC_QUEUE,
       SL_AKEY_EXEC_PARALLEL, SL_AKEY_EXEC_N };
enum { SL_AKEY_LOG_FILE, SL_AKEY_LOG_SEVERITY, SL_AKEY_LOG_N };

extern const struct sl_key_table sl_akeys_top, sl_akeys_limits, sl_akeys_memory, sl_akeys_rule,
	sl_akeys_period, sl_akeys_sink, sl_akeys_alertmanager, sl_akeys_webhook, sl_akeys_exec,
	sl_akeys_log;

/* All of them; ends in NULL. */
extern const struct sl_key_table *const sl_akey_tables[];

#endif
