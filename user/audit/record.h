/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * An event of the kernel as a record for people and programs. docs/events.md
 * lists the fields; they are stable.
 */
#ifndef SLUICE_RECORD_H
#define SLUICE_RECORD_H

#include <jansson.h>

#include "compile/compile.h"
#include "sluice_abi.h"

/* What the kernel's numbers mean for one target. Borrowed. Unknown texts are NULL. */
struct sl_audit_names {
	const char *policy;
	const char *target_kind;	/* "cgroup", "device" */
	const char *target;
	__u64 cgroup_id;		/* the target's; 0: a device, or gone */
	unsigned ifindex;		/* of a device of the reader's namespace; else 0 */
	json_t *whose;			/* borrowed: more of the target, by its keys; NULL: none */
	const struct sl_compiled *compiled; /* rule numbers -> ids and lines, or NULL, then: */
	const char *const *rule_ids;
	size_t n_rules;
	__s64 boot_epoch_ns;		/* Unix time - boot time */
};

#define SL_ENDPOINT_TEXT 320

const char *sl_reason_word(unsigned reason);
const char *sl_hook_word(unsigned hook);
const char *sl_verdict_word(unsigned verdict);

/* What a line for people begins with: the verdict, or `close`. */
const char *sl_event_word(const struct sl_event *event);

/* The rule's id, or NULL if no rule decided. */
const char *sl_event_rule(const struct sl_audit_names *names, const struct sl_event *event);

/* `192.0.2.1:443/tcp`, `[2001:db8::1]:53/udp`, `192.0.2.1/icmp type 8`,
 * `192.0.2.1/protocol 60`. For an inbound event the source. Of a frame whose packet was not
 * read the link: `frame MAC > MAC vlan 5 arp`; `?` if not even that is known. */
const char *sl_event_endpoint(const struct sl_event *event, char buf[SL_ENDPOINT_TEXT]);

/* `curl[123]`, `-` if unknown; bytes that are not printable ASCII as `?`. */
#define SL_PROCESS_TEXT 32
const char *sl_event_process(const struct sl_event *event, char buf[SL_PROCESS_TEXT]);

/* RFC 3339 with nanoseconds, UTC. buf of 40 bytes. */
const char *sl_event_time(const struct sl_audit_names *names, __u64 time_ns, char buf[40]);

/*
 * The JSON record. count: decisions that it stands for; sequence: of the record
 * in its stream. A new reference, or NULL when out of memory.
 */
json_t *sl_event_json(const struct sl_audit_names *names, const struct sl_event *event,
		      __u64 count, __u64 sequence);

#endif
