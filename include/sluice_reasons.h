/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Why a verdict is what it is. Append only: the numbers are in pinned maps and
 * the words in people's logs. The enum, the strings and the table in
 * docs/events.md come from this list.
 */
#ifndef SLUICE_REASONS_H
#define SLUICE_REASONS_H

#define SL_REASONS(X) \
	X(RULE, "rule", "a rule of the policy decided") \
	X(DEFAULT, "default", "no rule matched: the policy's default") \
	X(EMBEDDED, "embedded", "an IPv6 address that embeds an IPv4 one, and no rule names it") \
	X(DNS_RESOLVER, "dns-resolver", "port 53 of a resolver of the policy") \
	X(DNS_GATE, "dns-gate", "port 53 or 853 elsewhere than at the policy's resolvers") \
	X(UNSOLICITED, "unsolicited", "an inbound packet of no flow that the policy admitted") \
	X(INBOUND, "inbound", "inbound: allow") \
	X(MALFORMED, "malformed", "a packet that cannot be parsed") \
	X(FRAGMENT, "fragment", "an IP fragment: its ports cannot be known") \
	X(IP_OPTIONS, "ip-options", "an IPv4 header with options (they can reroute)") \
	X(ROUTING_HEADER, "routing-header", "an IPv6 routing header") \
	X(EXTENSION_HEADERS, "extension-headers", "more IPv6 extension headers than we walk") \
	X(FLOW_TABLE, "flow-table", "the target's flow table has no room for a new flow") \
	X(FOREIGN_TASK, "foreign-task", "a task outside the target used the target's socket") \
	X(NO_POLICY, "no-policy", "no generation is loaded, or its table cannot be read") \
	X(SOCKET_FAMILY, "socket-family", "a socket family or type that no hook can judge") \
	X(VLAN, "vlan", "a VLAN tag that the device's binding does not list") \
	X(ETHERTYPE, "ethertype", "a frame that is neither ARP nor IP") \
	X(MAC_BINDING, "mac-binding", "an Ethernet source address that is not the workload's") \
	X(ADDRESS_BINDING, "address-binding", "a source address that is not the workload's") \
	X(ARP, "arp", "ARP for an address that is not the workload's, or `arp: deny`") \
	X(ND, "nd", "neighbour discovery for what is not the workload's, or `nd: deny`") \
	X(ROGUE_RA, "rogue-ra", "a router's message from one that is no router") \
	X(DHCP, "dhcp", "DHCP that is not the workload's own, or `dhcp: deny`") \
	X(ROGUE_DHCP, "rogue-dhcp", "the workload as a DHCP server") \
	X(STRAY, "stray", "a frame that is not for the workload") \
	X(TCP_FLAGS, "tcp-flags", "TCP flags that open or continue nothing") \
	X(CONNECTION_LIMIT, "connection-limit", "a new flow over limits: connections") \
	X(BANDWIDTH, "bandwidth", "a packet over limits: bandwidth") \
	X(DNS_NAME, "dns-name", "a question for a name that no rule allows") \
	X(DNS_TYPE, "dns-type", "a question of a type that `dns: types` does not list") \
	X(DNS_MALFORMED, "dns-malformed", "a message to a resolver that is not one plain question") \
	X(DNS_RATE, "dns-rate", "a question over limits: dns") \
	X(DNS_PENDING, "dns-pending", "no room to remember a question") \
	X(DNS_ANSWER, "dns-answer", "an answer that nobody asked for, or that leads to a denied name") \
	X(SNI_NAME, "sni-name", "a TLS ClientHello for a server that the rule's names do not allow") \
	X(SNI_MISSING, "sni-missing", "no TLS ClientHello with a server's name where the rule wants one") \
	X(SNI_SPLIT, "sni-split", "a TLS ClientHello that does not lie in one piece") \
	X(SNI_QUIC, "sni-quic", "UDP to a name whose rule wants to see the server's name") \
	X(DNS_FORWARDER, "dns-forwarder", "a message to the forwarder's address that would reach another") \
	X(SKIPS_TC, "skips-tc", "a frame that an ifb device marked to go past tc at the end of its veth")

enum sl_reason {
#define SL_REASON_ENUM(name, word, text) SL_REASON_##name,
	SL_REASONS(SL_REASON_ENUM)
#undef SL_REASON_ENUM
	SL_REASON_MAX,
};

#endif
