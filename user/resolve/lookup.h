/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How this machine resolves names, where that is not plain DNS (docs/names.md, "Outside
 * DNS packets"). */
#ifndef SLUICE_RESOLVE_LOOKUP_H
#define SLUICE_RESOLVE_LOOKUP_H

#include <stdbool.h>

struct sl_lookup {
	char sources[128];   /* of nsswitch.conf's hosts line, but for files and dns */
	bool no_switch;	     /* there is no such line: libc's default has others */
	bool nscd, resolved; /* their sockets are there */
	bool stub, docker;   /* resolv.conf names 127.0.0.53 or .54, 127.0.0.11 */
};

/* Reads the caller's /etc and /run. What cannot be read is as if it were not there. */
void sl_lookup_read(struct sl_lookup *out);

/* Who answers for names without a DNS packet of the asker's, as a list of words; "" if
 * nobody. Returns buf. */
const char *sl_lookup_others(const struct sl_lookup *lookup, char *buf, unsigned size);

#endif
