/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Events that have more behind them: a name (SL_EVENT_NAMED), an end (SL_EVENT_CLOSE). */
#ifndef SLUICE_NAMED_H
#define SLUICE_NAMED_H

#include <stdbool.h>

#include "sluice_abi.h"

/* A copy, of a decision's event, that owns its name; without one the rest is zero. */
void sl_event_copy(struct sl_named_event *to, const struct sl_event *event);

/* Both have the same name and question type, or neither has one. */
bool sl_event_same_name(const struct sl_event *a, const struct sl_event *b);

/* The name as text, `` for the root; NULL if the event has none. Returns buf. */
#define SL_NAME_TEXT (SL_PATTERN_BYTES + 1)
const char *sl_event_name(const struct sl_event *event, char buf[SL_NAME_TEXT]);

/* The name is the one that a TLS ClientHello gave its server. */
bool sl_event_is_of_server(const struct sl_event *event);

/* The end of a flow; NULL: the event is of a decision. */
const struct sl_close_event *sl_event_close(const struct sl_event *event);

/* The question's type, 0: the event is about a connection. */
unsigned sl_event_question_type(const struct sl_event *event);

/* `A`, `AAAA`, ... or `TYPE65280`. buf of 16 bytes. */
const char *sl_question_type_text(unsigned type, char buf[16]);

#endif
