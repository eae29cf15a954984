/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a filter becomes a policy, one file a step:
 *
 *	_xml		a text → a document
 *	_read		a document → a filter: rules and references, as written
 *	_rule, _value	the attributes of one rule
 *	_own		libvirt's own filters (clean-traffic ...)
 *	_link		the rules about frames → what the device is bound to
 *	_table		the rules about packets → two tables, one a direction
 *	_judge		what the tables say of new flows, and whether answers pass
 *	_switches	ARP, neighbour discovery and DHCP
 *	_emit, _match	the tables → rules and `inbound`
 *
 * nwfilter.c does all of it in order; _box has the sets of flows.
 */
#ifndef SLUICE_CONVERT_NWFILTER_INTERNAL_H
#define SLUICE_CONVERT_NWFILTER_INTERNAL_H

#include <linux/types.h>

#include "nwfilter.h"

#define NW_RULES_MAX 4096 /* of a filter with all that it refers to */

/* Seen from the guest: out is what it sends. */
enum { NW_OUT = 1, NW_IN = 2, NW_INOUT = 3 };

enum nw_action { NW_ACCEPT, NW_DROP, NW_REJECT, NW_RETURN, NW_CONTINUE };

/* What connection tracking says of a packet; each packet is in one state. */
enum {
	NW_NEW = 1,
	NW_LATER = 2,		/* ESTABLISHED, from the side that opened the flow */
	NW_ANSWER = 4,		/* ESTABLISHED, from the other side */
	NW_ESTABLISHED = NW_LATER | NW_ANSWER,
	NW_RELATED = 8,
	NW_INVALID = 16,	/* ICMP that opens no flow and belongs to none */
	NW_UNTRACKED = 32,	/* neighbour discovery and listener reports */
	NW_EVERY_STATE = 63,
};

/* Frames, as the rules of the link layer tell them apart. */
enum {
	NW_IP4 = 1,
	NW_IP6 = 2,
	NW_ARP = 4,
	NW_OTHER = 8,
	NW_EVERY_FRAME = 15,
};

/* An address of either family in host byte order; IPv4 in the low 32 bits. */
__extension__ typedef unsigned __int128 nw_address;

struct nw_range {
	__u16 low, high;
};

/* A set of flows: every part must hold. */
struct nw_box {
	__u8 family;		       /* 4 or 6 */
	__u64 protocols[4];	       /* a bit for each of 256 */
	nw_address low, high;	       /* of the other side */
	struct nw_range remote, local; /* ports */
	int icmp_type, icmp_code;      /* -1: every one */
};

/* A <rule> as written. */
struct nw_rule {
	enum nw_action action;
	unsigned directions;
	int priority;
	bool stateless;	   /* statematch='false' */
	unsigned states;   /* the attribute; 0: there is none */
	unsigned frames;   /* a rule of the link layer: which frames; else 0 */
	bool bound;	   /* only for the guest's bound addresses: $IP, $IPV6 */
	struct nw_box box; /* a rule about packets */
	char *comment;	   /* owned or NULL */
	const char *of;	   /* borrowed: the filter's name; NULL: the first one's */
	struct sl_pos pos;
};

/* A <filterref> with what its parameters say. */
struct nw_reference {
	char *name;	  /* owned */
	char **addresses; /* owned, each owned: values for --address */
	size_t n_addresses;
	struct sl_pos pos;
};

struct nw_item {
	struct nw_rule *rule;		/* owned; NULL for a reference */
	struct nw_reference *reference; /* owned */
};

struct nw_filter {
	char *name, *chain; /* owned */
	int chain_priority;
	struct nw_item *items; /* owned */
	size_t n_items;
	bool open; /* is being walked: a reference to it is a loop */
	struct sl_pos pos;
};

/* ---- nwfilter_xml.c ---- */

struct _xmlDoc;

/* 0 and *out, to be freed with xmlFreeDoc; -EINVAL with an error in diag, -ENOMEM. */
int nw_document_read(const struct sl_nwfilter_source *source, struct _xmlDoc **out,
		     struct sl_diag *diag);

/* ---- nwfilter_read.c ---- */

/* 0 and *out, -EINVAL with errors in diag, -ENOMEM. */
int nw_filter_parse(const struct sl_nwfilter_source *source, struct nw_filter **out,
		    struct sl_diag *diag);
void nw_filter_free(struct nw_filter *filter);

/* ---- nwfilter_rule.c ---- */

/* One attribute of a protocol's element, for nw_rule_protocol. */
struct nw_attribute {
	const char *name;
	char *value; /* owned by the caller */
};

/* Sets what `<NAME ATTRIBUTES/>` says in *rule, whose own attributes are read
 * already. 0, -EINVAL with errors in diag at rule->pos, -ENOMEM. */
int nw_rule_protocol(struct nw_rule *rule, const char *name, const struct nw_attribute *attributes,
		     size_t n, struct sl_diag *diag);

/* ---- nwfilter_box.c ---- */

/* Everything of a family. */
struct nw_box nw_box_all(int family);
void nw_box_only(struct nw_box *box, int protocol);
bool nw_box_has(const struct nw_box *box, int protocol);
bool nw_box_every_protocol(const struct nw_box *box);
bool nw_box_empty(const struct nw_box *box);
bool nw_box_disjoint(const struct nw_box *a, const struct nw_box *b);
bool nw_box_covers(const struct nw_box *outer, const struct nw_box *inner);
/* The protocol of a family's ICMP, and whether a message of a type opens a flow. */
int nw_icmp(int family);
bool nw_icmp_query(int family, int type);
/* The type that answers a query, or the type itself. */
int nw_icmp_answer(int family, int type);

/* box less cut, as disjoint boxes; at most NW_PIECES. Returns their number, or -EINVAL: no
 * list of boxes with these parts says it (part of the remote ports or types). */
#define NW_PIECES 5
int nw_box_subtract(const struct nw_box *box, const struct nw_box *cut,
		    struct nw_box pieces[NW_PIECES]);

/* ---- nwfilter_link.c ---- */

/* A rule of the link layer in its chain. */
struct nw_row {
	const char *chain; /* borrowed */
	int chain_priority, priority;
	unsigned order; /* as found */
	unsigned directions, frames;
	unsigned need; /* what a frame must have: NW_HAS_... */
	enum nw_action action;
	struct sl_pos pos;
};

struct nw_link {
	struct nw_row *rows; /* owned */
	size_t n;
};

/* What the link layer lets pass, and to what it holds the guest. */
struct nw_link_summary {
	bool ip4, ip6, arp;	     /* pass, both ways */
	bool mac;		     /* only from the bound MAC address */
	bool ip4_bound, ip6_bound;   /* only from bound addresses */
	bool dhcp4, dhcp6;	     /* both ways */
	bool multicast4, multicast6; /* may be sent */
	struct sl_pos ip4_pos, ip6_pos, multicast4_pos, multicast6_pos; /* who drops it */
};

/* What a frame has, for nw_row.need. */
enum {
	NW_HAS_MAC = 1,	       /* the guest's MAC address as its source */
	NW_HAS_ADDRESS = 2,    /* a bound address as its source; ARP: as the sender's */
	NW_HAS_ARP_MAC = 4,    /* the guest's MAC address as the ARP sender's */
	NW_HAS_NONE_YET = 8,   /* UDP from 0.0.0.0, or from a link-local address */
	NW_HAS_DHCP = 16,      /* it is DHCP */
	NW_HAS_MULTICAST = 32, /* a multicast destination */
};

/* Adds a row, or a rule of a filter. 0, -EINVAL with an error in diag, -ENOMEM. */
int nw_link_row(struct nw_link *link, struct nw_row row, struct sl_diag *diag);
int nw_link_rule(struct nw_link *link, const struct nw_filter *filter, const struct nw_rule *rule,
		 struct sl_diag *diag);
/* Classes of frames that a chain sees by its name; 0: libvirt has no such chain. */
unsigned nw_chain_frames(const char *chain, int *priority);
/* 0, or -EINVAL with errors in diag. Sorts the rows. */
int nw_link_judge(struct nw_link *link, struct nw_link_summary *out, struct sl_diag *diag);

/* ---- nwfilter_own.c ---- */

/* Adds one of libvirt's own filters: 0, -ENOENT if there is none by that name,
 * -EINVAL with an error in diag, -ENOMEM. */
int nw_link_own(struct nw_link *link, const char *name, const struct sl_pos *pos,
		struct sl_diag *diag);

/* ---- nwfilter_table.c ---- */

struct nw_entry {
	struct nw_box box;
	unsigned states; /* the packets that it decides: */
	unsigned made;	 /* as the rule has it, and less and less of that */
	bool pass, reject;
	bool mirrored;		    /* stands here for the rule of the other direction */
	unsigned order;		    /* of its rule among all rules */
	const struct nw_rule *rule; /* NULL: the end of the table, or the link layer */
	struct sl_pos pos;
};

/* What one direction's packets meet, in order; the ends (pass) are its last two. */
struct nw_table {
	struct nw_entry *entries; /* owned */
	size_t n;
};

struct nw_tables {
	struct nw_table out, in;
};

/* A rule about packets that applies, in the order of the files. */
struct nw_use {
	const struct nw_rule *rule;
	unsigned order;
};

/* Sorts uses and fills *out. 0 or -ENOMEM. */
int nw_tables_make(struct nw_use *uses, size_t n, const struct nw_link_summary *link,
		   struct nw_tables *out);
void nw_tables_free(struct nw_tables *tables);

/* ---- nwfilter_judge.c ---- */

enum nw_verdict { NW_PASSES, NW_DENIED, NW_MIXED };

/* What the entries from first on say of all packets of the box in one state.
 * *why (may be NULL): the last rule that decides there. */
enum nw_verdict nw_table_says(const struct nw_table *table, size_t first, const struct nw_box *box,
			      unsigned state, size_t *why);
/* Refuses what a policy cannot say and what libvirt's two drivers do differently,
 * unless it makes no difference. 0 or -EINVAL with errors in diag. */
int nw_tables_check(struct nw_tables *tables, struct sl_diag *diag);
/* Refuses flows whose later packets or answers do not pass. */
int nw_tables_answers(const struct nw_tables *tables, struct sl_diag *diag);
/* on_deny: 0, or -EINVAL where the filter wants both. */
int nw_tables_refusal(const struct nw_tables *tables, enum sl_on_deny *out, struct sl_diag *diag);

/* ---- nwfilter_switches.c ---- */

/* The switches of the device, of tables that nw_tables_check has not seen yet: 0 or
 * -EINVAL with errors in diag. */
int nw_device_switches(const struct nw_tables *tables, const struct nw_link_summary *link,
		       struct sl_device_switches *out, struct sl_diag *diag);

/* ---- nwfilter_match.c ---- */

bool nw_every_port(struct nw_range ports);
int nw_match_ports(struct sl_match *match, struct nw_range ports);
/* Fills an empty match; ports: those of the box that the match is about. 0 or -ENOMEM. */
int nw_match_fill(struct sl_match *match, const struct nw_box *box, struct nw_range ports);

/* ---- nwfilter_emit.c ---- */

/* The rules and `inbound` of *policy. 0, -EINVAL with errors in diag, -ENOMEM. */
int nw_emit(const struct nw_tables *tables, struct sl_policy *policy, struct sl_diag *diag);

#endif
