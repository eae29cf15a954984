// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The attributes of a protocol's element → a box of flows, seen from the guest: its
 * own side is the source of what goes out and the destination of what comes in.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "nwfilter_value.h"
#include "policy/text.h"

#define COMMENT_MAX 256	/* bytes, as iptables has it */

#define WRONG(m, ...) sl_error((m)->diag, &(m)->rule->pos, __VA_ARGS__)

#define BOTH(name, number)                                                                         \
	{name, 4, number, 0},                                                                      \
	{                                                                                          \
		name "-ipv6", 6, number, 0                                                         \
	}

static const struct nw_protocol protocols[] = {
	BOTH("all", -1),
	BOTH("tcp", IPPROTO_TCP),
	BOTH("udp", IPPROTO_UDP),
	BOTH("udplite", IPPROTO_UDPLITE),
	BOTH("sctp", IPPROTO_SCTP),
	BOTH("esp", IPPROTO_ESP),
	BOTH("ah", IPPROTO_AH),
	{"icmp", 4, IPPROTO_ICMP, 0},
	{"icmpv6", 6, IPPROTO_ICMPV6, 0},
	{"igmp", 4, IPPROTO_IGMP, 0},
	{"mac", 0, 0, NW_EVERY_FRAME},
	{"ip", 0, 0, NW_IP4},
	{"ipv6", 0, 0, NW_IP6},
	{"arp", 0, 0, NW_ARP},
	{"rarp", 0, 0, NW_OTHER},
};

/* What has no like here, and what to do. */
static const struct {
	const char *name, *advice;
} refused[] = {
	{"srcmacaddr", "MAC addresses are the device's binding (--mac): take it out"},
	{"srcmacmask", "MAC addresses are the device's binding (--mac): take it out"},
	{"dstmacaddr", "no rule is about MAC addresses here: take it out"},
	{"dstmacmask", "no rule is about MAC addresses here: take it out"},
	{"connlimit-above", "connections are not counted here: take the rule out, and see `limits: "
			    "connections`, which is a rate"},
	{"ipset", "an ipset is not read: write a rule for each of its prefixes"},
	{"ipsetflags", "an ipset is not read: write a rule for each of its prefixes"},
	{"dscp", "DSCP is not looked at here: take it out"},
	{"flags", "TCP flags are not looked at by rules here: take it out"},
	{"option", "TCP options are not looked at here: take it out"},
};

/* ---- which attributes ---- */

static int unknown_attribute(const struct nw_maker *m, const struct nw_attribute *a)
{
	const char *near;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (!strcmp(refused[i].name, a->name))
			return WRONG(m, "<%s %s=\"%.80s\">: %s", m->name, a->name, a->value,
				     refused[i].advice);
	near = sl_nearest(a->name, strlen(a->name), nw_value_names);
	return WRONG(m, "<%s> has no attribute \"%.80s\"%s%s%s: correct it, or take it out",
		     m->name, a->name, near ? "; is \"" : "", near ? near : "",
		     near ? "\" meant?" : "");
}

/* Does the protocol have this attribute? */
static bool fits(const struct nw_protocol *protocol, int which)
{
	bool ports = protocol->number == IPPROTO_TCP || protocol->number == IPPROTO_UDP ||
		     protocol->number == IPPROTO_SCTP;
	bool icmp = protocol->number == IPPROTO_ICMP || protocol->number == IPPROTO_ICMPV6;

	switch (which) {
	case NW_COMMENT:
	case NW_MATCH:
		return true;
	case NW_PROTOCOLID:
		return !strcmp(protocol->name, "mac");
	case NW_SRC_PORT:
	case NW_SRC_PORT_END:
	case NW_DST_PORT:
	case NW_DST_PORT_END:
		return protocol->family && ports;
	case NW_TYPE:
	case NW_CODE:
		return protocol->family && icmp;
	default:
		return protocol->family;
	}
}

static int link_attribute(const struct nw_maker *m, const struct nw_attribute *a)
{
	return WRONG(m,
		     "<%s %.80s=\"%.80s\">: no rule is about single frames here; refer to one of "
		     "libvirt's own filters (no-mac-spoofing, no-ip-spoofing, no-arp-spoofing, "
		     "no-ip-multicast ...) in its place, or write it about packets: <all>, <tcp>, "
		     "<udp>",
		     m->name, a->name, a->value);
}

static int take_attributes(struct nw_maker *m, const struct nw_attribute *attributes, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		int which = 0;

		while (nw_value_names[which] && strcmp(nw_value_names[which], attributes[i].name))
			which++;
		if (nw_value_names[which] && fits(m->protocol, which))
			m->values[which] = attributes[i].value;
		else if (!m->protocol->family)
			err = link_attribute(m, &attributes[i]);
		else
			err = unknown_attribute(m, &attributes[i]);
	}
	if (m->values[NW_MATCH] && strcmp(m->values[NW_MATCH], "yes"))
		err = nw_wrong_value(
			m, NW_MATCH,
			"a negation: write a rule with the other action for what it leaves out "
			"before this one, and this one without match");
	return err;
}

/* The guest's own address is the binding's: only `$IP` for what it sends says no
 * more than that. */
static int read_own(const struct nw_maker *m, int side, struct nw_rule *rule)
{
	static const char advice[] = "the guest's own address is the device's binding (--address): "
				     "take it out";
	const char *address = m->values[NW_SRC + side];
	const char *variable = m->protocol->family == 4 ? "$IP" : "$IPV6";

	for (int which = NW_SRC; which <= NW_SRC_TO; which++) {
		if (!m->values[which + side])
			continue;
		if (which != NW_SRC || rule->directions != NW_OUT || strcmp(address, variable))
			return nw_wrong_value(m, which + side, advice);
		rule->bound = true;
	}
	return 0;
}

/* ---- the rule as a whole ---- */

static int check_states(const struct nw_maker *m, const struct nw_rule *rule)
{
	bool pass = rule->action == NW_ACCEPT || rule->action == NW_RETURN;

	if (rule->states && rule->stateless)
		return nw_wrong_value(m, NW_STATE,
				      "statematch=\"false\" makes libvirt pass over it: take one of "
				      "them out");
	if (!pass && rule->states & (NW_ESTABLISHED | NW_RELATED))
		return nw_wrong_value(m, NW_STATE,
				      "packets of a flow that was let in or out always pass here: "
				      "drop NEW ones alone");
	if (pass && rule->states & NW_INVALID)
		return nw_wrong_value(m, NW_STATE,
				      "INVALID packets cannot be let through alone here: take "
				      "INVALID out");
	return 0;
}

/* libvirt's iptables driver reads an inout rule from the inside, its nftables driver
 * from both sides, and the former makes no rule of one with an ICMP type. */
static int check_inout(const struct nw_maker *m, const struct nw_rule *rule)
{
	if (rule->directions != NW_INOUT)
		return 0;
	for (int which = 0; which < NW_STATE; which++)
		if (m->values[which])
			return nw_wrong_value(
				m, which,
				"direction=\"inout\" with it: libvirt's drivers read this "
				"differently: write a rule for in and one for out");
	return 0;
}

static int make_packet_rule(struct nw_maker *m)
{
	struct nw_rule *rule = m->rule;
	struct nw_box *box = &rule->box;
	int own = rule->directions == NW_OUT ? 0 : NW_SIDE, other = NW_SIDE - own, err;

	*box = nw_box_all(m->protocol->family);
	if (m->protocol->number >= 0)
		nw_box_only(box, m->protocol->number);
	if (rule->action == NW_CONTINUE)
		return WRONG(m,
			     "action=\"continue\" with <%s>: iptables has no such target: take the "
			     "rule out",
			     m->name);
	err = check_inout(m, rule);
	if (!err)
		err = read_own(m, own, rule);
	if (!err)
		err = nw_read_addresses(m, other, box);
	if (!err)
		err = nw_read_ports(m, NW_SRC_PORT + own, &box->local);
	if (!err)
		err = nw_read_ports(m, NW_SRC_PORT + other, &box->remote);
	if (!err)
		err = nw_read_icmp(m, box);
	if (!err)
		err = nw_read_states(m, &rule->states);
	return err ? err : check_states(m, rule);
}

static int make_link_rule(struct nw_maker *m)
{
	static const struct {
		const char *word;
		unsigned frames;
	} ids[] = {{"ipv4", NW_IP4}, {"ipv6", NW_IP6}, {"arp", NW_ARP}, {"rarp", NW_OTHER}};
	const char *id = m->values[NW_PROTOCOLID];
	long number = 0;

	m->rule->frames = m->protocol->frames;
	if (!id)
		return 0;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (!strcmp(ids[i].word, id)) {
			m->rule->frames = ids[i].frames;
			return 0;
		}
	}
	if (nw_read_number(m, NW_PROTOCOLID, 65535, &number))
		return -EINVAL;
	m->rule->frames = number == 0x0800 ? NW_IP4 : number == 0x86dd ? NW_IP6 :
			  number == 0x0806 ? NW_ARP : NW_OTHER;
	return 0;
}

/* As the rule's reason: a text of one line that shows as it is. */
static int take_comment(const struct nw_maker *m)
{
	const char *comment = m->values[NW_COMMENT];
	size_t len = comment ? strlen(comment) : 0;
	__u32 cp;
	int n;

	if (len > COMMENT_MAX)
		return nw_wrong_value(m, NW_COMMENT, "libvirt takes 256 bytes at most");
	for (size_t i = 0; i < len; i += (size_t)n) {
		n = sl_utf8_decode(comment + i, len - i, &cp);
		if (n < 0 || sl_utf8_hidden(cp) || cp == '\n' || cp == '\t')
			return nw_wrong_value(m, NW_COMMENT, "a character in it cannot be seen: "
					      "take it out");
	}
	if (!len)
		return 0;
	m->rule->comment = strdup(comment);
	return m->rule->comment ? 0 : -ENOMEM;
}

int nw_rule_protocol(struct nw_rule *rule, const char *name, const struct nw_attribute *attributes,
		     size_t n, struct sl_diag *diag)
{
	struct nw_maker m = {.rule = rule, .name = name, .diag = diag};
	int err;

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (!strcmp(protocols[i].name, name))
			m.protocol = &protocols[i];
	if (!strcmp(name, "vlan") || !strcmp(name, "stp"))
		return WRONG(&m,
			     "<%s>: a device passes no such frames (a VLAN tag: `sluice attach "
			     "--vlan`): take the rule out",
			     name);
	if (!m.protocol)
		return WRONG(&m, "<%.40s>: libvirt has no such protocol", name);
	err = take_attributes(&m, attributes, n);
	if (!err)
		err = m.protocol->family ? make_packet_rule(&m) : make_link_rule(&m);
	return err ? err : take_comment(&m);
}
