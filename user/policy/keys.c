// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "keys.h"

#include <string.h>

#include "text.h"

/* Parts that are built ... */
#define ENGINE "engine"
#define MACHINES "virtual machines"
#define NAMES "names"
/* ... and that are not. */
#define FLOW_LIMITS "flow limits"

#define LIMITS_TYPE "a mapping of bandwidth, connections and dns"

static const struct sl_key top[] = {
	[SL_TOP_SLUICE] = {"sluice", "the number 1", "required", ENGINE, NULL, NULL},
	[SL_TOP_NAME] = {"name", "text, 1 to 63 of a-z A-Z 0-9 . _ -",
			 "the file's name without its ending", ENGINE, NULL, NULL},
	[SL_TOP_MODE] = {"mode", "enforce or audit", "enforce", ENGINE, NULL, NULL},
	[SL_TOP_DEFAULT] = {"default", "deny or allow", "deny", ENGINE, NULL, NULL},
	[SL_TOP_ON_DENY] = {"on_deny", "reject or drop", "reject", ENGINE, NULL, NULL},
	[SL_TOP_DNS] = {"dns", "a mapping, as {resolvers: [192.0.2.53]}", "none", ENGINE, NULL,
			NULL},
	[SL_TOP_INBOUND] = {"inbound", "replies, allow or a list of inbound rules", "replies",
			    ENGINE, NULL, NULL},
	[SL_TOP_SETS] = {"sets", "a mapping of names to sets", "none", ENGINE, NULL, NULL},
	[SL_TOP_RULES] = {"rules", "a list of rules and includes", "none", ENGINE, NULL, NULL},
	[SL_TOP_TESTS] = {"tests", "a list of tests", "none", ENGINE, NULL, NULL},
	[SL_TOP_LOG] = {"log", "all, denied or none", "denied", ENGINE, NULL, NULL},
	[SL_TOP_FRAGMENTS] = {"fragments", "deny or first-decides", "deny", MACHINES, NULL,
			      NULL},
	[SL_TOP_DEVICE] = {"device", "a mapping of arp, nd and dhcp", "none", MACHINES, NULL,
			   NULL},
	[SL_TOP_LIMITS] = {"limits", LIMITS_TYPE, "none", MACHINES, NULL, NULL},
};

static const struct sl_key dns[] = {
	[SL_DNS_RESOLVERS] = {"resolvers", "a list of addresses, or system", "none", ENGINE, NULL,
			      NULL},
	[SL_DNS_QUERIES] = {"queries", "listed or any", "see names.md", NAMES, NULL, NULL},
	[SL_DNS_TYPES] = {"types", "a list of question types, as [A, AAAA]", "see names.md",
			  NAMES, NULL, NULL},
	[SL_DNS_TTL] = {"ttl", "a mapping, as {min: 60s, max: 1d}", "see below", NAMES, NULL,
			NULL},
	[SL_DNS_SEARCH] = {"search", "a list of domains, as [corp.example]",
			   "those of resolv.conf", NAMES, NULL, NULL},
	[SL_DNS_MODE] = {"mode", "kernel or forward", "kernel", NAMES, NULL, NULL},
	[SL_DNS_TLS] = {"tls", "the name in the resolvers' certificates, as dns.example", "none",
			NAMES, NULL, NULL},
	[SL_DNS_STRIP] = {"strip", "a list of ech and hints", "none", NAMES, NULL, NULL},
	[SL_DNS_LISTEN] = {"listen", "an address of 127.0.0.0/8, as 127.64.0.53", "see names.md",
			   NAMES, NULL, NULL},
	[SL_DNS_DOT] = {"dot", "deny or rules", "deny", NAMES, NULL, NULL},
};

#define TTL_TYPE "a duration from 1s to 7d, as 60s, 30m, 12h or 1d"

static const struct sl_key ttl[] = {
	[SL_TTL_MIN] = {"min", TTL_TYPE, "60s", NAMES, NULL, NULL},
	[SL_TTL_MAX] = {"max", TTL_TYPE, "1d", NAMES, NULL, NULL},
};

#define MATCH_TYPE "a text as HOST:PORTS/PROTO, a list of them, or a mapping with \"to\""

static const struct sl_key rule[] = {
	[SL_RULE_ALLOW] = {"allow", MATCH_TYPE, "required", ENGINE, NULL, NULL},
	[SL_RULE_DENY] = {"deny", MATCH_TYPE, "required", ENGINE, NULL, NULL},
	[SL_RULE_INCLUDE] = {"include", "the path of a fragment", "", ENGINE, NULL, NULL},
	[SL_RULE_ID] = {"id", "text, 1 to 63 of a-z A-Z 0-9 . _ -",
			"action and a hash of the match, `allow-7f3a19`", ENGINE, NULL, NULL},
	[SL_RULE_REASON] = {"reason", "text", "none", ENGINE, NULL, NULL},
	[SL_RULE_EXPIRES] = {"expires", "a date as 2026-12-31, a time as 2026-12-31T12:00:00Z, or "
			     "a duration as 90s, 30m, 12h or 7d", "never", ENGINE, NULL, NULL},
	[SL_RULE_EMPTY] = {"empty", "ok", "an empty set is an error", ENGINE, NULL, NULL},
	[SL_RULE_USES] = {"uses", "a number from 1 to 4294967295", "unlimited", FLOW_LIMITS,
			  NULL, NULL},
	[SL_RULE_LOG] = {"log", "all, denied or none", "the policy's", ENGINE, NULL, NULL},
	[SL_RULE_LIMITS] = {"limits", LIMITS_TYPE, "none", FLOW_LIMITS, NULL, NULL},
	[SL_RULE_SNI] = {"sni", "verify, observe or off", "off", NAMES, NULL, NULL},
	[SL_RULE_RESOLVES_TO] = {"resolves_to", "private", "none", NAMES, NULL, NULL},
};

#define HOSTS_TYPE "a host (address, CIDR, @set, name or any) or a list of them"
#define PORTS_TYPE "a port, a range LOW-HIGH, or a list of them"
#define PROTOCOL_TYPE "tcp, udp, icmp, icmpv6, sctp, any, a number from 0 to 255, or a list of them"
#define ICMP_KEY_TYPE "a mapping as {type: 8} or {type: 3, code: 4}"

static const struct sl_key match[] = {
	[SL_MATCH_TO] = {"to", HOSTS_TYPE, "required", ENGINE, NULL, NULL},
	[SL_MATCH_PORTS] = {"ports", PORTS_TYPE, "every port", ENGINE, NULL, NULL},
	[SL_MATCH_PROTOCOL] = {"protocol", PROTOCOL_TYPE, "see below", ENGINE, NULL, NULL},
	[SL_MATCH_ICMP] = {"icmp", ICMP_KEY_TYPE, "every type", ENGINE, NULL, NULL},
	[SL_MATCH_UID] = {"uid", "a number, a user name, or a list of them", "every uid", ENGINE,
			  NULL, NULL},
};

static const struct sl_key inbound[] = {
	[SL_INBOUND_FROM] = {"from", HOSTS_TYPE, "required", ENGINE, NULL, NULL},
	[SL_INBOUND_PORTS] = {"ports", PORTS_TYPE, "every port", ENGINE, NULL, NULL},
	[SL_INBOUND_PROTOCOL] = {"protocol", PROTOCOL_TYPE, "as in a match", ENGINE, NULL, NULL},
	[SL_INBOUND_ICMP] = {"icmp", ICMP_KEY_TYPE, "every type", ENGINE, NULL, NULL},
};

static const struct sl_key uid[] = {
	[SL_UID_KEY_CONTAINER] = {"container", "a number from 0 to 4294967294", "", ENGINE, NULL,
				  NULL},
};

static const struct sl_key icmp[] = {
	[SL_ICMP_TYPE] = {"type", "a number from 0 to 255", "required", ENGINE, NULL, NULL},
	[SL_ICMP_CODE] = {"code", "a number from 0 to 255", "every code", ENGINE, NULL, NULL},
};

static const struct sl_key set[] = {
	[SL_SET_FILE] = {"file", "the path of a file", "required", ENGINE, NULL, NULL},
};

#define FLOW_TYPE "a text as ADDRESS:PORT/PROTO or NAME:PORT, or a mapping with \"to\""

static const struct sl_key test[] = {
	[SL_TEST_ALLOW] = {"allow", FLOW_TYPE, "required", ENGINE, NULL, NULL},
	[SL_TEST_DENY] = {"deny", FLOW_TYPE, "required", ENGINE, NULL, NULL},
};

static const struct sl_key flow[] = {
	[SL_FLOW_TO] = {"to", "an address or a name", "required", ENGINE, NULL, NULL},
	[SL_FLOW_PORT] = {"port", "a number from 1 to 65535", "none", ENGINE, NULL, NULL},
	[SL_FLOW_PROTOCOL] = {"protocol", "tcp, udp, icmp, icmpv6, sctp or a number from 0 to 255",
			      "tcp", ENGINE, NULL, NULL},
	[SL_FLOW_ICMP] = {"icmp", ICMP_KEY_TYPE, "an echo request", ENGINE, NULL, NULL},
	[SL_FLOW_UID] = {"uid", "a number from 0 to 4294967294", "none", ENGINE, NULL, NULL},
};

static const struct sl_key device[] = {
	[SL_DEVICE_ARP] = {"arp", "allow or deny", "allow", MACHINES, NULL, NULL},
	[SL_DEVICE_ND] = {"nd", "allow or deny", "allow", MACHINES, NULL, NULL},
	[SL_DEVICE_DHCP] = {"dhcp", "client or deny", "client", MACHINES, NULL, NULL},
};

static const struct sl_key limits[] = {
	[SL_LIMIT_KEY_BANDWIDTH] = {"bandwidth", "a mapping, as {out: 10MiB/s, in: 10MiB/s}", "none",
				MACHINES, NULL, NULL},
	[SL_LIMIT_KEY_CONNECTIONS] = {"connections", "new flows in a second or minute, as 50/s or "
				  "30/m, from 1 to 1000000", "none", MACHINES, NULL, NULL},
	[SL_LIMIT_KEY_DNS] = {"dns", "questions in a second or minute, as 20/s or 600/m, from 1 to "
			  "1000000", "none", NAMES, NULL, NULL},
};

#define RATE_TYPE "a rate, as 10MiB/s, 10MB/s or 8Mbit/s"
#define BURST_TYPE "a size, as 20MiB or 512KiB"
#define DIRECTION_TYPE RATE_TYPE ", or a mapping of average, peak and burst"

static const struct sl_key bandwidth[] = {
	[SL_BANDWIDTH_OUT] = {"out", DIRECTION_TYPE, "no limit", MACHINES, NULL, NULL},
	[SL_BANDWIDTH_IN] = {"in", DIRECTION_TYPE, "no limit", MACHINES, NULL, NULL},
	[SL_BANDWIDTH_PEAK] = {"peak", RATE_TYPE, "none", MACHINES, NULL, NULL},
	[SL_BANDWIDTH_BURST] = {"burst", BURST_TYPE, "see below", MACHINES, NULL, NULL},
};

static const struct sl_key rate[] = {
	[SL_RATE_AVERAGE] = {"average", RATE_TYPE, "required", MACHINES, NULL, NULL},
	[SL_RATE_PEAK] = {"peak", RATE_TYPE, "that of both", MACHINES, NULL, NULL},
	[SL_RATE_BURST] = {"burst", BURST_TYPE, "that of both", MACHINES, NULL, NULL},
};

#define TABLE(name, what, heading) \
	const struct sl_key_table sl_keys_##name = {what, heading, name, \
						    sizeof(name) / sizeof((name)[0])}

TABLE(top, "a policy", "Top level");
TABLE(dns, "dns", "`dns`");
TABLE(ttl, "ttl", "`ttl`");
TABLE(rule, "a rule", "A rule");
TABLE(match, "a match", "A match as a mapping");
TABLE(inbound, "an inbound rule", "Inbound");
TABLE(uid, "a uid", NULL);
TABLE(icmp, "icmp", NULL);
TABLE(set, "a set", NULL);
TABLE(test, "a test", NULL);
TABLE(flow, "a flow", NULL);
TABLE(device, "device", "`device`");
TABLE(limits, "limits", "`limits`");
TABLE(bandwidth, "bandwidth", "`bandwidth`");
TABLE(rate, "a direction of bandwidth", "A direction as a mapping");

const struct sl_key_table *const sl_key_tables[] = {
	&sl_keys_top, &sl_keys_dns, &sl_keys_ttl, &sl_keys_rule, &sl_keys_match,
	&sl_keys_inbound, &sl_keys_uid, &sl_keys_icmp, &sl_keys_set, &sl_keys_test, &sl_keys_flow, &sl_keys_device,
	&sl_keys_limits, &sl_keys_bandwidth, &sl_keys_rate, NULL,
};

int sl_key_find(const struct sl_key_table *table, const char *name, size_t len)
{
	for (unsigned i = 0; i < table->n; i++) {
		if (sl_text_is(name, len, table->keys[i].name))
			return (int)i;
	}
	return -1;
}

bool sl_key_is_later(const struct sl_key *key)
{
	static const char *const built[] = {ENGINE, MACHINES, NAMES, SL_PART_ALERTS};

	for (size_t i = 0; i < sizeof(built) / sizeof(built[0]); i++) {
		if (!strcmp(key->part, built[i]))
			return false;
	}
	return !key->later;
}

const char *sl_key_nearest(const struct sl_key_table *table, const char *name, size_t len)
{
	const char *words[SL_KEYS_MAX + 1] = {NULL};

	for (unsigned i = 0; i < table->n; i++)
		words[i] = table->keys[i].name;
	return sl_nearest(name, len, words);
}

const struct sl_key_table *sl_key_elsewhere(const struct sl_key_table *table, const char *name,
					    size_t len)
{
	bool of_policy = false;

	/* The keys of another kind of file belong to no part of a policy. */
	for (size_t i = 0; sl_key_tables[i]; i++)
		of_policy |= sl_key_tables[i] == table;
	for (size_t i = 0; of_policy && sl_key_tables[i]; i++) {
		if (sl_key_tables[i] != table && sl_key_find(sl_key_tables[i], name, len) >= 0)
			return sl_key_tables[i];
	}
	return NULL;
}
