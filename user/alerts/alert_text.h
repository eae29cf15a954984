/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* An alert as JSON and as a line: docs/alerts.md lists the fields. */
#ifndef SLUICE_ALERTS_TEXT_H
#define SLUICE_ALERTS_TEXT_H

#include <jansson.h>
#include <stdio.h>

#include "engine.h"

#define SL_SUMMARY_TEXT 256

/* One sentence. Returns buf. */
const char *sl_alert_summary(const struct sl_alert *alert, char buf[SL_SUMMARY_TEXT]);

/* A new reference, or NULL when out of memory. */
json_t *sl_alert_json(const struct sl_alert *alert);

/* One line of printable ASCII, owned; NULL when out of memory. */
char *sl_json_ascii(const json_t *json);

/* ASCII on one line, whatever bytes the record had: owned, NULL when out of memory. */
char *sl_alert_line(const struct sl_alert *alert);

/* For people; what would steer a terminal shows as \xNN. */
void sl_alert_print(const struct sl_alert *alert, FILE *out);

#endif
