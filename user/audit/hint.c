// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Told to who meets names for the first time; each is a guess. */
#include "hint.h"
#include "sluice_table.h"

enum { SAID_GATE = 1, SAID_PRIVATE = 2, SAID_DNS = 4 };

/* What names may have with `resolves_to: private` alone, of what a company's own DNS gives:
 * RFC 1918, RFC 6598, RFC 4193. */
static bool is_private(const struct sl_event *e)
{
	const __u8 *a = e->destination;

	if (e->family == 6)
		return (a[0] & 0xfe) == 0xfc;
	return e->family == 4 && (a[0] == 10 || (a[0] == 172 && (a[1] & 0xf0) == 16) ||
				  (a[0] == 192 && a[1] == 168) ||
				  (a[0] == 100 && (a[1] & 0xc0) == 64));
}

/* What is wrong there, and which kind of hint that is; NULL: nothing that we know of. */
static const char *hint_of(const struct sl_event *e, const struct sl_compiled *compiled,
			   unsigned *kind)
{
	const __u64 *words = compiled->table.words;
	bool is_dns = e->destination_port == 53, has_dns = words[SL_H_DNS] >> 32;

	if (e->reason == SL_REASON_DNS_GATE && is_dns && !(words[SL_H_FLAGS] & SL_F_FORWARD)) {
		*kind = SAID_GATE;
		return "not one of the policy's resolvers, and no other may be asked: if it is this "
		       "host's, write it, or `system`, to `dns: {resolvers: ...}`";
	}
	if (e->reason == SL_REASON_DEFAULT && is_dns && !has_dns) {
		*kind = SAID_DNS;
		return "a resolver, and the policy allows no names: `dns: {resolvers: system}` and "
		       "rules by name (docs/names.md)";
	}
	if (e->reason == SL_REASON_DEFAULT && compiled->n_patterns && is_private(e)) {
		*kind = SAID_PRIVATE;
		return "a private address: if a name that is allowed has it, the rule wants "
		       "`resolves_to: private`";
	}
	return NULL;
}

void sl_hint(const struct sl_event *e, const struct sl_audit_names *names, unsigned *said, FILE *out)
{
	unsigned kind = 0;
	const char *text = e->direction == SL_INGRESS ? NULL : hint_of(e, names->compiled, &kind);
	char endpoint[SL_ENDPOINT_TEXT];

	if (!text || *said & kind)
		return;
	*said |= kind;
	fprintf(out, "sluice: %s: %s\n", sl_event_endpoint(e, endpoint), text);
}
