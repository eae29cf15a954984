/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who is asked: a client of the policy's resolvers. Each question by UDP has a socket, so a
 * port, and a transaction id of its own; one whose answer is cut goes by TCP, and with `tls`
 * all go by TLS alone. It keeps no answer. One thread, nothing blocks.
 */
#ifndef SLUICE_FORWARD_RESOLVER_H
#define SLUICE_FORWARD_RESOLVER_H

#include "message.h"
#include "policy/policy.h"

#define SL_LOOKUPS 256		/* at once */

struct sl_resolver_client;

/* Reads no resolv.conf: all is in the policy. NULL: *why says why, a static text. */
struct sl_resolver_client *sl_resolver_new(const struct sl_policy *policy, const char **why);
void sl_resolver_end(struct sl_resolver_client *resolver);

/* message NULL: no resolver answered, or none but that it cannot. Borrowed for the call. */
typedef void (*sl_resolved)(void *context, const __u8 *message, size_t length);

/* Asks for the query's name and type; calls back once: from here, if nobody can be asked, or
 * from sl_resolver_process. -EBUSY: too many are asked already, and it does not. */
int sl_resolver_ask(struct sl_resolver_client *resolver, const struct sl_query *query,
		    sl_resolved resolved, void *context);

/* Poll it for POLLIN, at most so long (-1: for ever), then process. */
int sl_resolver_fd(const struct sl_resolver_client *resolver);
int sl_resolver_timeout_ms(const struct sl_resolver_client *resolver);
void sl_resolver_process(struct sl_resolver_client *resolver);

#endif
