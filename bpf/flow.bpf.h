/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a hook hands to the verdict: a flow (from a socket address or a packet)
 * and a subject (the target, and the uid of the socket's creator).
 */
#ifndef SLUICE_FLOW_BPF_H
#define SLUICE_FLOW_BPF_H

#include "sluice_abi.h"
#if SL_ONE_TABLE
/* What the one table that the programs are for lacks, sl_lacks of it; 0: they take any. */
const volatile __u32 sl_lacks = 0;
#define SL_MAY(lacked) (!(sl_lacks & (lacked)))
#endif
#include "sluice_lacks.h"
#include "sluice_table.h"

/* The Ethernet frame around a packet; devices only. */
struct sl_link {
	__u8 source[6], destination[6];
	__u16 ethertype;	/* host byte order */
	__u16 vlan;		/* VID, or SL_VLAN_NONE */
};

/* An attempt or a packet. Host byte order; IPv4 in the low 32 bits of _low. */
struct sl_flow {
	__u64 source_high, source_low;
	__u64 destination_high, destination_low;
	__u16 source_port, destination_port;
	__u16 key;		/* what rules look at: port, or ICMP type << 8 | code */
	__u16 icmp_id;		/* identifier of a query and its answer */
	__u8 family;		/* 4, 6, 0 if unknown */
	__u8 protocol;
	__u8 inbound;
	__u8 tcp_flags;
	__u8 icmp_query;	/* ICMP: 1 query, 2 answer, 3 error, 0 none of these */
	__u8 icmp_class;	/* ICMP: the query's type for it and its answer; else 255 */
	__u8 has_source;
	__u8 has_ports;
	__u8 hook;		/* enum sl_hook */
	__u8 from_a;		/* the source is endpoint a of the flow's key */
	__u8 local;		/* SL_LOCAL_: a packet that the namespace itself sent in */
	__u8 raw;		/* a packet of a raw socket: its source may be forged */
	__u8 fragment;		/* SL_FRAGMENT_ */
	__u8 take_fragments;	/* for the parser: `fragments: first-decides` */
	__u8 more;		/* a fragment that is not the last */
	__u8 extended;		/* IPv6 with extension headers */
	__u8 hop_limit;
	union {
		__u8 group;	/* of a device: a frame sent to an Ethernet group address */
		__u8 forged;	/* of a cgroup: the kernel's answer may not leave; answered.bpf.h */
	};
	__u8 judged_again;	/* SL_AGAIN_: shows the flow as it was opened */
	__u8 place;		/* SL_PLACE_ */
	union {			/* a rule looks for a server's name: */
		__u32 isn;	/* a SYN's sequence number */
		__u32 watched;	/* + 1: where the entry is of the known flow */
	};
	__u32 scratch;		/* + 1: the place that its hello is read in */
	__u32 name;		/* of a known flow: of the name that admitted it, + 1 */
	union {
		__u32 entry_sequence;	/* of the entry that sl_flow_find found */
		__u32 found;		/* the place that sl_flow_try found */
	};
	__u32 carrier;		/* + 1: where the entry is that counted the packet's bytes */
	__u64 netns;		/* 0: the target's own network namespace, else a cookie; of a
				 * device: its frame's VLAN + 1, 0 without a tag */
	__u32 at, end;		/* where the transport header begins, where the packet ends */
	__u32 fragment_id;
	__u32 fragment_begin;	/* of the payload, in bytes */
};

struct sl_subject {
	__u64 word;		/* the generation, read once for one decision */
	__u32 slot;
	__u32 uid;
	__u64 has_uid : 1;
	__u64 where : 56;	/* the network namespace whose answers count, a cookie (names.bpf.h) */
};

enum { SL_FRAGMENT_NONE, SL_FRAGMENT_FIRST, SL_FRAGMENT_LATER };

/* What a place among the flows stands for: a flow; a first fragment that passed; a
 * question that is outstanding. */
enum { SL_PLACE_FLOW, SL_PLACE_FRAGMENT, SL_PLACE_QUESTION };
/* On the loopback device; or the copy of what went to a group, which comes in on the group's. */
enum { SL_LOCAL_DEVICE = 1, SL_LOCAL_COPY = 2 };
/* By the opener's packet, which it shows then, or by the other side's. */
enum { SL_AGAIN_OPENER = 1, SL_AGAIN_OTHER = 2 };
enum { SL_ICMP_QUERY = 1, SL_ICMP_ANSWER = 2, SL_ICMP_ERROR = 3 };
enum { SL_TCP_FIN = 0x01, SL_TCP_SYN = 0x02, SL_TCP_RST = 0x04, SL_TCP_ACK = 0x10,
       SL_TCP_URG = 0x20 };

#define SL_SECOND 1000000000ull

/* Random: which flows or names share a bucket is no one's choice. */
const volatile __u64 sl_seed = 0;
/* `bpftool map dump` of the program's .rodata tells which version's it is. */
const volatile __u32 sl_abi = SL_ABI_VERSION;

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#endif
