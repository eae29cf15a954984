/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the gates share: one question to sluiced. The bound on it is late.h's. */
#ifndef SLUICE_GATE_ASK_H
#define SLUICE_GATE_ASK_H

#include <jansson.h>
#include <stdbool.h>

#define SL_GATE_SOCKET "/run/sluice/sluiced.sock"
#define SL_GATE_BYTES_MAX (1u << 20) /* of standard input, and of an answer */
#define SL_GATE_SECONDS 10
#define SL_GATE_SECONDS_MAX 300

struct sl_gate {
	const char *socket;   /* path */
	unsigned patience_ms; /* how long one that is not there is asked again: it may be restarting */
	char why[512];	      /* of what went wrong */
};

/* -1, with the reason. */
int sl_gate_wrong(struct sl_gate *gate, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* To the end of the stream, or of the first line; owned, NULL: too much, or an error. */
char *sl_gate_read(int fd, bool line);
/* A new reference; NULL with the reason: nobody is there, or there was no answer. */
json_t *sl_gate_ask(struct sl_gate *gate, const json_t *request);

#endif
