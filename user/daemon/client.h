/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The other end of sluiced's control socket: what the commands use. */
#ifndef SLUICE_DAEMON_CLIENT_H
#define SLUICE_DAEMON_CLIENT_H

#include <jansson.h>

#include "policy/diag.h"

struct sl_control;

/*
 * Connects to the sluiced of this machine: $SLUICE_SOCKET, or the default path; the default
 * is not tried where $SLUICE_STATE names other pins. 0; -ENOENT: none runs, without a
 * word; else -errno with the reason in diag (another version, no permission, no answer).
 */
int sl_control_open(struct sl_control **out, struct sl_diag *diag);
/* What sl_control_open connects to; NULL: nothing. */
const char *sl_control_path(void);
void sl_control_close(struct sl_control *control);

/* What sluiced said of itself: version, pid, netns (its network namespace)... Borrowed. */
const json_t *sl_control_hello(const struct sl_control *control);
/* Does it serve the caller's network namespace? */
bool sl_control_is_here(const struct sl_control *control);

/*
 * Asks for an operation; request (a reference that is taken) holds its fields. The answer,
 * owned by the caller, or NULL with the reasons in diag: sluiced's own, with their places.
 */
json_t *sl_control_ask(struct sl_control *control, const char *op, json_t *request,
		       struct sl_diag *diag);

/* For streams: a descriptor to poll, and the next record that is there as a whole: *out
 * owned by the caller. 1; 0: none yet; -EPIPE: sluiced ended; -errno. */
int sl_control_fd(const struct sl_control *control);
int sl_control_next(struct sl_control *control, json_t **out);

#endif
