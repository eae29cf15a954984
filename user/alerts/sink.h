/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where alerts go while records come: each sink has a bounded queue, so that one that is
 * slow or dead holds up neither the records nor the other sinks. What a full queue drops is
 * counted and said.
 */
#ifndef SLUICE_ALERTS_SINK_H
#define SLUICE_ALERTS_SINK_H

#include "engine.h"

struct sl_sinks;

/* Reads the files that sinks name and readies them. The configuration is borrowed. 0, or
 * -errno with an error in diag. Free with sl_sinks_free. */
int sl_sinks_open(const struct sl_alerts_config *config, struct sl_sinks **out,
		  struct sl_diag *diag);
void sl_sinks_free(struct sl_sinks *sinks);

/* An sl_alert_fn: puts the alert into the queue of each sink that takes it. */
void sl_sinks_tell(void *sinks, const struct sl_alert *alert);

/* Goes on with what is under way and starts what is due. */
void sl_sinks_run(struct sl_sinks *sinks, __s64 now_ms);

/* Waits for the sinks' own descriptors, for fds (-1s are passed over) and at most
 * timeout_ms. */
#define SL_SINKS_FDS 4
void sl_sinks_wait(struct sl_sinks *sinks, const int *fds, size_t n, int timeout_ms);

/* How many are waiting or under way. */
size_t sl_sinks_pending(const struct sl_sinks *sinks);

/* The shortest time in which some sink forgets an alert that it is not told again; 0: none
 * does. */
__s64 sl_sinks_resend_s(const struct sl_sinks *sinks);

/* One line a sink: what it took, what it did not. */
void sl_sinks_print(const struct sl_sinks *sinks, FILE *out);

#endif
