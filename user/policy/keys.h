/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every key of the language, once: the tables of docs/policy.md in C (a unit
 * test compares them). The parser is driven by them, so a key that is not here
 * is an error, and one whose part is not built is recorded as unenforced.
 */
#ifndef SLUICE_POLICY_KEYS_H
#define SLUICE_POLICY_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#define SL_KEYS_MAX 20

/* The part of the rules of alerts (user/alerts), which are read as policies are. */
#define SL_PART_ALERTS "alerts"

struct sl_key {
	const char *name;
	const char *type;	/* as an error says it: "... wants TYPE" */
	const char *def;	/* the default, as the docs say it */
	const char *part;	/* that brings it */
	const char *later;	/* the value that alone is not built yet, or NULL */
	const char *path;	/* how an unenforced use is called, NULL: name */
};

struct sl_key_table {
	const char *what;	/* "a rule" */
	const char *heading;	/* of the docs' table, NULL: the docs have none */
	const struct sl_key *keys;
	unsigned n;
};

enum { SL_TOP_SLUICE, SL_TOP_NAME, SL_TOP_MODE, SL_TOP_DEFAULT, SL_TOP_ON_DENY, SL_TOP_DNS,
       SL_TOP_INBOUND, SL_TOP_SETS, SL_TOP_RULES, SL_TOP_TESTS, SL_TOP_LOG, SL_TOP_FRAGMENTS,
       SL_TOP_DEVICE, SL_TOP_LIMITS, SL_TOP_N };
enum { SL_DNS_RESOLVERS, SL_DNS_QUERIES, SL_DNS_TYPES, SL_DNS_TTL, SL_DNS_SEARCH, SL_DNS_MODE,
       SL_DNS_TLS, SL_DNS_STRIP, SL_DNS_LISTEN, SL_DNS_DOT, SL_DNS_N };
enum { SL_TTL_MIN, SL_TTL_MAX, SL_TTL_N };
enum { SL_RULE_ALLOW, SL_RULE_DENY, SL_RULE_INCLUDE, SL_RULE_ID, SL_RULE_REASON,
       SL_RULE_EXPIRES, SL_RULE_EMPTY, SL_RULE_USES, SL_RULE_LOG, SL_RULE_LIMITS, SL_RULE_SNI,
       SL_RULE_RESOLVES_TO, SL_RULE_N };
enum { SL_MATCH_TO, SL_MATCH_PORTS, SL_MATCH_PROTOCOL, SL_MATCH_ICMP, SL_MATCH_UID, SL_MATCH_N };
enum { SL_INBOUND_FROM, SL_INBOUND_PORTS, SL_INBOUND_PROTOCOL, SL_INBOUND_ICMP, SL_INBOUND_N };
enum { SL_UID_KEY_CONTAINER, SL_UID_KEY_N };
enum { SL_ICMP_TYPE, SL_ICMP_CODE, SL_ICMP_N };
enum { SL_SET_FILE, SL_SET_N };
enum { SL_TEST_ALLOW, SL_TEST_DENY, SL_TEST_N };
enum { SL_FLOW_TO, SL_FLOW_PORT, SL_FLOW_PROTOCOL, SL_FLOW_ICMP, SL_FLOW_UID, SL_FLOW_N };
enum { SL_DEVICE_ARP, SL_DEVICE_ND, SL_DEVICE_DHCP, SL_DEVICE_N };
enum { SL_LIMIT_KEY_BANDWIDTH, SL_LIMIT_KEY_CONNECTIONS, SL_LIMIT_KEY_DNS, SL_LIMIT_KEY_N };
enum { SL_BANDWIDTH_OUT, SL_BANDWIDTH_IN, SL_BANDWIDTH_PEAK, SL_BANDWIDTH_BURST,
       SL_BANDWIDTH_N };
enum { SL_RATE_AVERAGE, SL_RATE_PEAK, SL_RATE_BURST, SL_RATE_N };

extern const struct sl_key_table sl_keys_top, sl_keys_dns, sl_keys_ttl, sl_keys_rule,
	sl_keys_match, sl_keys_inbound, sl_keys_uid, sl_keys_icmp, sl_keys_set, sl_keys_test, sl_keys_flow,
	sl_keys_device, sl_keys_limits, sl_keys_bandwidth, sl_keys_rate;

/* All of them; ends in NULL. */
extern const struct sl_key_table *const sl_key_tables[];

/* Index of the key in the table, or -1. */
int sl_key_find(const struct sl_key_table *table, const char *name, size_t len);

/* True if every use of the key is to be refused for now. */
bool sl_key_is_later(const struct sl_key *key);

/* The table's key that name is probably a slip of, or NULL. */
const char *sl_key_nearest(const struct sl_key_table *table, const char *name, size_t len);

/* Another table that has a key of this name, or NULL. */
const struct sl_key_table *sl_key_elsewhere(const struct sl_key_table *table, const char *name,
					    size_t len);

#endif
