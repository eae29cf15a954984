/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Alerts over records that are being written: the loop. */
#ifndef SLUICE_ALERTS_LIVE_H
#define SLUICE_ALERTS_LIVE_H

#include "rules.h"
#include "source.h"

/*
 * Reads the source until it ends or SIGINT or SIGTERM comes, without privileges; the sinks
 * then have five seconds to take what waits. Says what it has to say on stderr. Frees the
 * source. 0; -errno if it could not begin, or not go on.
 */
int sl_alerts_live(const struct sl_alerts_config *config, struct sl_source *source,
		   const char *memory_path, struct sl_diag *diag);

/* The memory of the configuration, filled from the file; what cannot be read is set aside
 * under the name FILE.bad and said. NULL when out of memory. */
struct sl_alert_memory *sl_alerts_memory(const struct sl_alerts_config *config,
					 const char *path);

#endif
