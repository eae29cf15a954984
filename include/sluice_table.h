/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A generation: one compiled (policy, resolution) as one position-independent
 * table of 64-bit words in host byte order. sluice_reader.h reads it.
 *
 * In the kernel the table is an ARRAY of pages (SL_PAGE_WORDS
 * words), the inner map of sl_tables; in user space it is the plain words, to a whole page. What
 * each verdict reads stands as near to the header as there is room.
 *
 *   address --ranges--> class --row(view)--> ports --search--> decision
 *                       `any` --base(view)-> ports --search--> decision
 *
 * The smaller rule number of the two decides. A view is what a uid can see of
 * the rules; view 0 is inbound, view 1 a flow whose uid no rule names (or that
 * has none), view 2+i the i-th uid of the uid section.
 */
#ifndef SLUICE_TABLE_H
#define SLUICE_TABLE_H

#include <linux/types.h>
#include "sluice_reasons.h"

#define SL_TABLE_MAGIC 0x534c554943450007ull	/* "SLUICE", layout 7 */
#define SL_CHUNK_WORDS 8			/* a line of the cache; sections begin with one */
#define SL_CHUNK_SHIFT 3
#define SL_PAGE_WORDS 512u			/* words of one array element: the kernel's call of a
						 * helper finds one, and a map has whole pages */
#define SL_TABLE_WORDS_MAX (8u << 20)		/* 64 MiB */
#define SL_CLASSES_MAX 65535u
#define SL_OTHERWISE_MAX 16			/* decisions behind one another */
#define SL_SEARCH_STEPS 24			/* 2^24 > any section's entries */
#define SL_PAGE_STEPS 14			/* 2^14 pages are all that a table has */
#define SL_NONE 0xffffffffu			/* no decision, no rule */

/* Header words. A section is (entries << 32 | first word). */
enum sl_table_header {
	SL_H_MAGIC,
	SL_H_GENERATION,
	SL_H_FLAGS,		/* SL_F_ */
	SL_H_WORDS,		/* of the whole table */
	SL_H_V4,		/* groups of ranges, see below */
	SL_H_V6,		/* blocks of ranges, by the upper halves of addresses */
	SL_H_CLASSES,		/* 1 word:  SL_C_ flags << 32 | row's first word */
	SL_H_UIDS,		/* 1 word:  uid << 32 | view, ascending */
	SL_H_BASE,		/* a row: what rules to `any` say */
	SL_H_DECISIONS,		/* SL_DECISION_WORDS words each */
	SL_H_RULES,		/* number of rules (no section) */
	SL_H_DEVICE,		/* SL_CHUNK_WORDS words each, chunk-aligned: the binding */
	SL_H_LIMITS,		/* one chunk, enum sl_limit_word; 0 entries: no limits */
	SL_H_LABELS,		/* 1 word: 8 bytes of text, see below */
	SL_H_DNS,		/* one chunk, enum sl_dns_word; 0 entries: no gate */
	SL_H_V4_ROOTS,		/* entries: equal parts of the address space, two a word, see below;
				 * 0: none, few ranges */
	SL_H_RANGES,		/* number of ranges: IPv6's << 32 | IPv4's (no section) */
	SL_H_V6_LEVELS,		/* SL_V6_LEVELS words: where each level begins, see below */
	SL_H_FULL = SL_H_V6_LEVELS + 7, /* groups of ranges of IPv6 by whole addresses */
	SL_H_FULL_RANGES,	/* number of these (no section) */
	SL_H_FULL_LEVELS,	/* SL_V6_LEVELS words: the same for these groups */
	SL_HEADER_WORDS = SL_H_FULL_LEVELS + 7,
};

/*
 * IPv4 ranges. SL_V4_GROUP of them from the first on are a group of one chunk: their first addresses,
 * two a word, the lower one in the upper half; then their classes, 16 bits each. Places behind the
 * last range have the highest address, and its class.
 *
 * What leads to a group: for each part of the address space (the lower one in the lower half of a
 * word) the group that its first address is in, and in how many from there on its addresses
 * are; SL_V4_ROOT_MANY: in any.
 */
#define SL_V4_GROUP 10
#define SL_V4_RANGES(words) ((__u32)(words)[SL_H_RANGES])
#define SL_V4_GROUPS(n) (((n) + SL_V4_GROUP - 1) / SL_V4_GROUP)
#define SL_V4_ROOT_GROUP 0xffffffu
#define SL_V4_ROOT_SHIFT 24
#define SL_V4_ROOT_MANY 0xffu

/* The first address of the i-th range of a group, and its class, by the words that hold them. */
#define SL_V4_FIRST_WORD(i) ((i) / 2)
#define SL_V4_FIRST(i, word) ((__u32)((word) >> 32 * (~(i) & 1)))
#define SL_V4_CLASS_WORD(i) (SL_V4_GROUP / 2 + (i) / 4)
#define SL_V4_CLASS(i, word) ((word) >> 16 * ((i) % 4) & 0xffff)

/*
 * IPv6 ranges. Nearly all begin where a /64 begins: they are told by the upper halves of their first
 * addresses alone, SL_V6_GROUP to a group of one chunk: the upper 63 bits of each half, SL_V6_NO_KEY
 * behind the last range; then eight places of 16 bits: the class of the range before the group, those of
 * the ranges, and the lowest bits of the halves, the first one's lowest. SL_V6_BLOCK_GROUPS groups are a
 * block, in which the right one is found by their first keys: their lines are read at the same time.
 *
 * SL_V6_FULL in the place of a class: the range is divided by whole addresses, and these ranges stand
 * in groups of their own, SL_FULL_GROUP to a group of two chunks, the first of which has an even
 * place: the upper halves of their first addresses, the lower ones, and in the last word of
 * each chunk their classes, 16 bits each. Places behind the last range have the highest address,
 * and its class.
 *
 * What leads to a block, or to a full group: the lowest level has a chunk for each SL_V6_CHILDREN of
 * them: the upper 63 bits of the first address of each but the first; each level above the same for chunks of the
 * level below; the highest is one chunk and comes first in the header, where 0 ends the list. Words
 * behind the last of a level are SL_V6_NO_KEY, which is above all keys. No level: there is one.
 */
#define SL_V6_LEVELS 7
#define SL_V6_CHILDREN (SL_CHUNK_WORDS + 1)
#define SL_V6_NO_KEY (1ull << 63)
#define SL_V6_FULL 0xffffu		/* no class: they are below SL_CLASSES_MAX */
#define SL_V6_GROUP 6
#define SL_V6_RANGES(words) ((__u32)((words)[SL_H_RANGES] >> 32))
#define SL_V6_BLOCK_GROUPS 8
#define SL_V6_BLOCK (SL_V6_BLOCK_GROUPS * SL_V6_GROUP)	/* ranges */
#define SL_V6_BLOCK_WORDS (SL_V6_BLOCK_GROUPS * SL_CHUNK_WORDS)
#define SL_V6_BLOCKS(n) (((n) + SL_V6_BLOCK - 1) / SL_V6_BLOCK)
#define SL_FULL_GROUP (SL_CHUNK_WORDS - 1)
#define SL_FULL_GROUP_WORDS (2 * SL_CHUNK_WORDS)
#define SL_FULL_GROUPS(n) (((n) + SL_FULL_GROUP - 1) / SL_FULL_GROUP)

/* The class before the i-th range of a group, by the word that holds it; SL_V6_GROUP: behind the
 * last. And the lowest bits. */
#define SL_V6_CLASS_WORD(i) (SL_V6_GROUP + (i) / 4)
#define SL_V6_CLASS(i, word) ((word) >> 16 * ((i) % 4) & 0xffff)
#define SL_V6_LOWEST (SL_V6_GROUP + 1)

/* Words of the i-th range of a full group: its address, and what holds its class. */
#define SL_FULL_HIGH(i) (i)
#define SL_FULL_LOW(i) (SL_CHUNK_WORDS + (i))
#define SL_FULL_CLASS_WORD(i) (SL_FULL_GROUP + (i) / 4 * SL_CHUNK_WORDS)
#define SL_FULL_CLASS(i, word) ((word) >> 16 * ((i) % 4) & 0xffff)

enum sl_table_flags {
	SL_F_AUDIT = 1 << 0,		/* let pass what the policy denies */
	SL_F_DEFAULT_ALLOW = 1 << 1,
	SL_F_DROP = 1 << 2,		/* on_deny: drop */
	SL_F_INBOUND_ALLOW = 1 << 3,
	SL_F_UIDS = 1 << 4,		/* some rule has a uid */
	SL_F_DEADLINES = 1 << 5,	/* some rule expires */
	SL_F_FRAGMENTS = 1 << 6,	/* fragments: first-decides */
	SL_F_LIMIT_OUT = 1 << 7,	/* the limits section holds an out rate ... */
	SL_F_LIMIT_IN = 1 << 8,
	SL_F_LIMIT_FLOWS = 1 << 9,
	SL_F_ARP_DENY = 1 << 10,	/* device: arp, nd, dhcp: deny */
	SL_F_ND_DENY = 1 << 11,
	SL_F_DHCP_DENY = 1 << 12,
	SL_F_NAMES = 1 << 13,		/* questions are judged (docs/names.md) */
	SL_F_QUERIES_ANY = 1 << 14,	/* a name that no pattern covers may be asked */
	/* log: what is an event, of what no rule decides; neither: denials. In an answer
	 * of a rule they are the rule's. */
	SL_F_LOG_ALL = 1 << 15,
	SL_F_LOG_NONE = 1 << 16,
	SL_F_FORWARD = 1 << 17,		/* dns: {mode: forward}: a process of ours judges them */
	SL_F_BY_HAND = 1 << 29,		/* sluiced gave it, asked for on its socket */
	SL_F_MANAGED = 1 << 30,		/* sluiced gave it, by its configuration */
};

enum sl_dns_word {
	SL_N_TYPES,		/* 4 words: 16 question types of 16 bits; 0: none */
	SL_N_TTL = SL_N_TYPES + 4, /* least << 32 | most, seconds */
	SL_N_RATE_NS,		/* between two questions; 0: no limit */
	SL_N_BURST,		/* questions at once */
	SL_N_PATTERNS,		/* number of patterns */
	SL_N_WORDS,
};

/*
 * The patterns of a generation stand beside its table, in one LPM_TRIE: the name's
 * characters from the last to the first, lower-case, with `.` between labels.
 * An exact name ends in NUL, `*.x` in `.`, `*` is the empty prefix; what is
 * looked up ends in NUL. The longest match is the most specific pattern, whose class
 * holds the rules of every pattern that covers the name.
 */
#define SL_NAME_CHARACTERS 253			/* characters, without the root's dot */
#define SL_PATTERN_BYTES 256

struct sl_pattern_key {
	__u32 prefixlen;		/* bits */
	__u8 data[SL_PATTERN_BYTES];
};

struct sl_pattern_value {
	__u32 class;			/* a class of the table, with SL_C_NAME */
	__u32 reserved;
};

/*
 * The binding of a device (docs/devices.md): who the workload is. Each chunk has
 * room for two IPv4 prefixes and one IPv6 prefix; the first also says the rest.
 * A table for a cgroup has none; a device whose table has none denies all.
 */
enum sl_binding_word {
	SL_B_MAC,	/* SL_B_ flags << 48 | MAC as a number, first byte highest */
	SL_B_VLANS,	/* four VIDs of 16 bits; 0xffff: none */
	SL_B_V4,	/* 2 words: address << 32 | mask; unused: 1 << 32 */
	SL_B_V6 = SL_B_V4 + 2, /* 4 words: address high, low, mask high, low; unused: 0 1 0 0 */
	SL_B_WORDS = SL_B_V6 + 4,
};

#define SL_B_HAS_MAC (1ull << 48)
#define SL_B_HAS_ADDRESSES (1ull << 49)
#define SL_B_LEASE (1ull << 50)		/* and what DHCP leased to it */
#define SL_B_NETWORK (1ull << 51)	/* where DHCP's servers are is known */
/* Per family: a source must be one that the host's routes lead back to by the interface of this
 * index, which stands in the MAC's place (bpf/routed.bpf.h) */
#define SL_B_ROUTED4 (1ull << 52)
#define SL_B_ROUTED6 (1ull << 53)
#define SL_B_LEASING_SHIFT 56		/* above: chunks of what may be leased, 0 to 8 */
#define SL_B_MAC_MASK 0xffffffffffffull
#define SL_BINDING_V4_MAX 16
#define SL_BINDING_V6_MAX 8		/* and the link-local address of the MAC */
#define SL_BINDING_CHUNKS_MAX (SL_BINDING_V6_MAX + 1)
/* Behind the binding's chunks: words as SL_B_V4's. The first chunk holds the networks that
 * DHCP's servers and leases are in, the others what is never leased. None: anything. */
#define SL_B_LEASING_MAX 8
#define SL_VID_NONE 0xffff

/* Rates in bytes a second, bursts in bytes; 0: none. */
enum sl_limit_word {
	SL_L_OUT_RATE, SL_L_OUT_PEAK, SL_L_OUT_BURST,
	SL_L_IN_RATE, SL_L_IN_PEAK, SL_L_IN_BURST,
	SL_L_FLOW_NS,		/* between two new flows */
	SL_L_FLOW_BURST,	/* new flows at once */
	SL_L_WORDS,
};

/*
 * Labels: texts that each end in NUL, padded with NUL: the policy's name, then
 * the id of each rule by its number. So a table tells who decided without the
 * policy's file.
 */

enum sl_class_flags {
	SL_C_EMBEDDED = 1 << 0,		/* rules to `any` and default do not apply:
					 * no decision = SL_REASON_EMBEDDED */
	SL_C_UNIFORM = 1 << 1,		/* the row has 2 entries: inbound, all uids */
	SL_C_NAME = 1 << 2,		/* of names: the row's first entry judges questions
					 * (key 0), the others connections */
	SL_C_PRIVATE = 1 << 3,		/* resolves_to: private */
};

#define SL_VIEW_INBOUND 0
#define SL_VIEW_QUESTION 0	/* of a class of names */
#define SL_VIEW_OTHER 1

/*
 * A row has one word a view: entries << 32 | first word of a port table (0
 * entries: no rule). A port table's word is (first key << 32 | decision), keys
 * ascending from 0; a key is protocol << 16 | port (host byte order), or for
 * ICMP and ICMPv6 protocol << 16 | type << 8 | code.
 *
 * Decision ids ascend with the rule number, so comparing ids compares rules.
 */
enum sl_decision_word {
	SL_D_RULE,		/* flags << 32 | rule number */
	SL_D_DEADLINE,		/* boot time, ns; from then on `otherwise`; 0 = never */
	SL_D_OTHERWISE,		/* decision id or SL_NONE */
	SL_D_RESERVED,
	SL_DECISION_WORDS,
};

#define SL_D_DENY 1u			/* bit 0 of the flags */
#define SL_D_SNI_OBSERVE 2u		/* what it lets pass over TCP begins with a ClientHello ... */
#define SL_D_SNI_VERIFY 4u		/* ... that its names allow, or is denied */
#define SL_D_REASON_SHIFT 8		/* bits 8..15: enum sl_reason */
#define SL_D_LOG_SHIFT 16		/* bits 16, 17: SL_F_LOG_ALL, SL_F_LOG_NONE */

/* What is asked: one flow, seen from the target. */
struct sl_question {
	__u64 address_high;	/* remote address, host byte order; IPv4: 0 ... */
	__u64 address_low;	/* ... and the address in the low 32 bits */
	__u64 now_ns;		/* boot time; 0 if the table has no deadlines */
	__u32 uid;		/* if has_uid: the creator's, init user namespace */
	__u16 key;		/* port, or ICMP type << 8 | code, or 0; host order */
	__u8 family;		/* 4 or 6 */
	__u8 protocol;
	__u8 inbound;		/* 1: remote is the source, key the local port */
	__u8 has_uid;
	__u8 reserved[6];
};

/* The policy's answer; audit mode is not applied. */
struct sl_answer {
	__u64 deadline_ns;	/* boot time from which it must be asked again; 0 = never */
	__u32 rule;		/* rule number or SL_NONE */
	__u32 flags;		/* SL_F_ of the table */
	__u32 decision;		/* its id in the table or SL_NONE */
	__u32 name;		/* + 1: an owner of the address, by its place; 0: none */
	__u8 deny;
	__u8 reason;		/* enum sl_reason */
	__u8 quiet;		/* counted, but no event */
	__u8 sni;		/* SL_D_SNI_ of its decision */
	__u8 reserved[4];
};

#endif
