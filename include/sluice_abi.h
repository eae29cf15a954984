/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The records that kernel programs and user space share: map keys and values,
 * events. Units stand in the names; addresses of packets are in network byte
 * order, ports in host byte order. Padding is explicit and zero.
 */
#ifndef SLUICE_ABI_H
#define SLUICE_ABI_H

#include <linux/types.h>

#include "sluice_table.h"

#ifndef SL_ABI_VERSION	/* the tests build the next one, too */
#define SL_ABI_VERSION 6
#endif

/* Which table a target obeys: generation << 16 | SL_WORD_SHAPED | index in
 * sl_tables. One aligned word, so that switching is one store; 0 = none (denies). */
#define SL_WORD_INDEX_BITS 16
#define SL_WORD_SHAPED (1ull << 15)	/* the table has bandwidth limits */
#define SL_WORD_INDEX(word) ((__u32)((word) & 0x7fff))
#define SL_WORD_GENERATION(word) ((word) >> SL_WORD_INDEX_BITS)
/* In a flow's entry: this generation denies the flow, and that is reported. */
#define SL_WORD_DENIED (1ull << 63)

/* sl_words[slot]: the word alone, in a map that user space maps, so that the
 * switch is one aligned 64-bit store. */

enum sl_target_kind { SL_TARGET_FREE, SL_TARGET_CGROUP, SL_TARGET_DEVICE };

enum sl_target_flags {
	SL_TARGET_LIVE = 1 << 0,	/* complete; without: given up half-way, to be swept */
	SL_TARGET_TCX = 1 << 1,		/* attached by tcx links, else by clsact */
	SL_TARGET_QDISC = 1 << 2,	/* the clsact qdisc is ours */
	SL_TARGET_ASIDE = 1 << 3,	/* moved to another namespace, its index is another's */
};

/* sl_targets[slot]. Written by the loader; the kernel reads cgroup and buckets. */
struct sl_target {
	__u64 cgroup_id;	/* the target's cgroup; 0 for a device */
	__u32 cgroup_level;	/* its depth; the hierarchy's root is 0. Of a device: the frames
				 * that it had received by then beyond those seen, low 32 bits */
	__u32 buckets;		/* of its map in sl_flows; a power of two */
	__u32 kind;		/* enum sl_target_kind */
	__u32 flags;		/* enum sl_target_flags */
	__u64 netns;		/* cookie of the device's network namespace, or of the one
				 * that a cgroup's sockets are taken to be of */
	__u64 since_ns;		/* boot time of the attachment */
	__u64 point;		/* id of the attach point that judges a cgroup ... */
	__u64 point_before;	/* ... and of the one that does until its word is changed; 0 */
	__u32 point_level;	/* depth of point */
	__u32 ifindex;
	char name[16];		/* of the device, when it was attached; of a cgroup's path
				 * the end of the last part */
};

/* sl_cgroups[cgroup id]: what the id is a target of. One word, so that it is never torn;
 * it repeats its key, since an element may be used again under a reader: as much as
 * fits, 46 bits, and the kernel counts ids on. level: that of the attach point whose
 * programs judge the target. */
#define SL_CGROUP_WORD_SHIFT 18
#define SL_CGROUP_WORD(id, level, slot) \
	((__u64)(id) << SL_CGROUP_WORD_SHIFT | (__u64)(level) << 12 | (slot))
#define SL_CGROUP_WORD_LEVEL(word) ((__u32)((word) >> 12) & 63)
#define SL_CGROUP_WORD_SLOT(word) ((__u32)(word) & 4095)
#define SL_SLOT_NONE 4096	/* beyond all slots */

/* The storage of an attach point: sl_points[its cgroup's id]. The kernel replaces it
 * whole. */
#define SL_POINT_LEVELS 8
struct sl_point {
	__u64 cgroup_id;
	__u32 level;			/* its depth; the hierarchy's root is 0 */
	__u32 n;			/* of levels */
	__u32 levels[SL_POINT_LEVELS];	/* of the targets at and below it, deepest first */
};

/* sl_devices[ifindex]: ifindex << 32 | slot. One word, so that it is never torn;
 * it repeats its key, since an element may be used again under a reader. */
#define SL_DEVICE_WORD(ifindex, slot) ((__u64)(ifindex) << 32 | (slot))

/* sl_meters[slot], per CPU. Frames and bytes as a device counts them: with the
 * Ethernet header, a GSO frame is one. Of a cgroup they are IP packets. tx is from the
 * workload. */
struct sl_meter {
	__u64 tx_bytes, tx_frames;	/* seen */
	__u64 rx_bytes, rx_frames;	/* passed */
	__u64 tx_denied, rx_denied;	/* frames */
};

/* sl_leases[slot]: what DHCP said (docs/devices.md). */
struct sl_lease {
	__u64 asked4_ns, asked6_ns;	/* boot time of the workload's last question; 0: none */
	__u32 xid4, xid6;		/* its transaction id */
	__u64 until_ns;			/* boot time at which the lease ends; 0: none */
	__u32 address, server;		/* host byte order */
};

/* The rates that a slot's limiter keeps (limit.bpf.h). */
enum sl_limit {
	SL_LIMIT_OUT, SL_LIMIT_OUT_PEAK, SL_LIMIT_IN, SL_LIMIT_IN_PEAK, SL_LIMIT_FLOW,
	SL_LIMIT_REFUSAL, SL_LIMIT_DNS, SL_LIMITS_MAX,
};

#define SL_REFUSAL_RATE 1000	/* refusals a second and target, and at once */

/* sl_stats[slot]. Atomic adds by the kernel; at rest
 * decided = submitted + suppressed + lost. */
struct sl_stats {
	__u64 decided;		/* new flows, and denied attempts */
	__u64 allowed;
	__u64 denied;
	__u64 audit_denied;	/* denied by the policy, let pass in audit mode */
	__u64 submitted;	/* as an event */
	__u64 suppressed;	/* no event: not logged, or over the budget */
	__u64 over_budget;	/* the part of suppressed that the budget kept back */
	__u64 lost;		/* the ring buffer was full */
	__u64 sequence;		/* of the next event */
	__u64 uncounted;	/* decisions, and flows that carried something, that sl_hits had
				 * no room for */
	__u64 unlearned;	/* addresses of allowed names that had no room */
	__u64 logged;		/* flows whose opening was an event */
	__u64 closes;		/* events of flows that are over; none of the numbers above */
	__u64 closes_lost;	/* of those whose place was needed, and the ring buffer was full */
};

/* sl_hits: decisions by (slot, rule or reason), and what flows carried. */
struct sl_hit_key {
	__u32 slot;
	__u32 rule;		/* rule number of the generation; SL_NONE: none */
	__u32 reason;		/* enum sl_reason */
	__u32 generation;	/* low 32 bits */
};

struct sl_hit {
	__u64 count;
	__u64 last_ns;		/* boot time of the last one */
	__u64 bytes[2];		/* of packets that passed, by enum sl_direction: as sl_meter
				 * counts; beyond these what sl_flow_entry has */
};

/* ---- flow state ---- */

#define SL_FLOW_WAYS 8		/* entries of a bucket */

/* A flow, orientation-free: endpoint a is the smaller (address, port). IPv4
 * addresses stand in the low 32 bits of a_low, b_low; host byte order. */
struct sl_flow_key {
	__u64 a_high, a_low, b_high, b_low;
	__u16 a_port, b_port;	/* ICMP: both are the identifier, or type << 8 | code */
	__u8 family, protocol;
	__u16 icmp_class;	/* ICMP: the query's type; 255: type and code, no identifier */
	__u64 netns;		/* 0: the target's own network namespace, else a cookie; of a
				 * device: the VLAN + 1, 0 without a tag */
};

enum sl_flow_flags {
	SL_FLOW_USED = 1 << 0,
	SL_FLOW_FROM_A = 1 << 1,	/* endpoint a opened it */
	SL_FLOW_INBOUND = 1 << 2,	/* opened from outside, admitted by `inbound` */
	SL_FLOW_HAS_UID = 1 << 3,
	SL_FLOW_AUDITED = 1 << 4,	/* denied, reported, and let pass: audit mode */
	SL_FLOW_REPLIED = 1 << 5,
	SL_FLOW_FIN_A = 1 << 6,
	SL_FLOW_FIN_B = 1 << 7,
	SL_FLOW_CLOSED = 1 << 8,	/* TCP: reset, or both sides are done; DNS over UDP: answered */
	SL_FLOW_RAW = 1 << 9,		/* opened by a raw socket */
	SL_FLOW_SNI = 1 << 10,		/* its ClientHello is looked for, or held to */
	SL_FLOW_SNI_VERIFY = 1 << 11,	/* and must be there */
	SL_FLOW_SNI_TOLD = 1 << 12,	/* what was wrong with it was reported */
	SL_FLOW_SNI_QUIET = 1 << 13,	/* log: none */
	SL_FLOW_STREAM = 1 << 14,	/* to a resolver: its segments follow each other */
	SL_FLOW_LOGGED = 1 << 15,	/* its opening was an event: so is its end */
	SL_FLOW_TOLD = 1 << 16,		/* its end was; what it carries since is told again */
	SL_FLOW_ITSELF = 1 << 17,	/* its resolver is the target: what that says teaches nothing */
	SL_FLOW_LOCAL = 1 << 18,	/* admitted, and sent in by the namespace itself: so are its answers */
};

struct sl_flow_entry {
	struct sl_flow_key key;
	__u64 word;		/* the generation that judged it last, and SL_WORD_DENIED */
	__u64 deadline_ns;	/* boot time at which it is judged again; 0 = never */
	__u64 expires_ns;	/* coarse monotonic time at which it is over */
	__u64 opened_ns;
	__u32 uid;
	__u32 flags;
	__u32 sequence;		/* odd while it is being written */
	__u32 rule;
	__u16 open_key;		/* the key that was judged: port, or ICMP type, code */
	__u16 sni_end;		/* bytes up to the end of the server's name; 0: not seen yet */
	__u32 name;		/* + 1: the name that admitted it, a place in sl_known; 0 */
	__u32 isn;		/* SL_FLOW_SNI: sequence number of the opener's SYN;
				 * SL_FLOW_STREAM: the next one, and sni_end is the last
				 * segment's length */
	__u32 sni_hash;		/* keyed, of the sni_end bytes */
	__u64 bytes[2];		/* that passed, by enum sl_direction: as sl_meter counts; from 0
				 * again when its end was told */
	__u64 settled[2];	/* the part that sl_hits has */
	__u8 reason;		/* of the verdict, with rule */
	__u8 hook;		/* that saw it open */
	__u8 has_ports;
	__u8 reserved;
	__u32 tick;		/* in which expires_ns was last set by the short way (known.bpf.h) */
};

/* A tag is the flow's hash, never 0; 0: the place was never used. */
struct sl_flow_bucket {
	__u64 tags[SL_FLOW_WAYS];
	struct sl_flow_entry entries[SL_FLOW_WAYS];
};

/* ---- names (docs/names.md) ---- */

#define SL_KNOWN_NAMES 1024	/* names that a target knows at once; a power of two */
#define SL_KNOWN_PROBES 8	/* places that a name may have */
#define SL_LEARNED_BUCKETS 1024	/* of a target; a power of two */
#define SL_LEARNED_WAYS 4
#define SL_OWNERS 8		/* names of one address */

#define SL_SCRATCH_PLACES 4	/* of a CPU, to read a message in */

/* A name that owns addresses or admitted flows: sl_known[slot][place]. */
struct sl_name {
	__u64 tag;		/* keyed hash of the name */
	__u64 judged;		/* generation, low 32 bits << 32 | class, or SL_NONE; one word */
	__u64 expires_ns;	/* coarse monotonic time until which something needs it */
	__u32 sequence;		/* odd while it is being written */
	__u32 characters;
	struct sl_pattern_key key; /* reversed, as patterns are */
	__u32 reserved;
};

struct sl_owner {
	__u64 tag;		/* of the name; 0: none */
	__u32 name;		/* its place */
	__u32 until_s;		/* coarse monotonic time, seconds */
};

/* Where an address was learned: of a cgroup, in which network namespace (its cookie; 0:
 * an answer counts wherever the target is). Nobody has the address in another one. Of a version
 * that knew no namespaces: family alone, which a cgroup never finds. */
#define SL_LEARNED_PLACE(family, netns) ((__u64)(netns) << 8 | (family))
#define SL_LEARNED_FAMILY(place) ((__u32)(place) & 0xff)

struct sl_learned {
	__u64 high, low;	/* host byte order; IPv4 in the low 32 bits */
	__u64 place;		/* SL_LEARNED_PLACE; 0: never used */
	struct sl_owner owners[SL_OWNERS];
};

struct sl_learned_bucket {
	struct sl_learned ways[SL_LEARNED_WAYS];
};

/* ---- sockets (SK_STORAGE) ---- */

enum sl_socket_flags {
	SL_SOCK_UID = 1 << 0,		/* uid is stamped */
	SL_SOCK_REPORTED = 1 << 2,	/* the denial of (address, key) is reported */
	SL_SOCK_SERVES = 1 << 3,	/* UDP: an admitted flow reached this socket */
	SL_SOCK_ELSEWHERE = 1 << 4,	/* made in another network namespace: netns */
	SL_SOCK_FORWARDER = 1 << 5,	/* the forwarder's: questions may go there */
	SL_SOCK_BEGAN = 1 << 6,		/* TCP: it sent the SYN of its connection to a resolver */
};

/* Who made an attempt, as far as is known. */
struct sl_process {
	__u32 known;
	__u32 pid;		/* thread group id */
	__u32 uid;
	__u32 reserved;
	char comm[16];
};

struct sl_socket {
	__u64 word;		/* generation of the reported denial */
	__u64 netns;		/* cookie */
	__u64 address_high, address_low;
	__u32 flags;
	__u32 uid;		/* fsuid of the creator, init user namespace */
	__u16 key;
	__u8 protocol;
	__u8 reserved;
	__u32 asked;		/* IPv4 address on loopback whose port 53 was asked; 0 */
	struct sl_process process;
};

/* ---- events ---- */

enum sl_verdict_kind { SL_EV_ALLOW, SL_EV_DENY, SL_EV_AUDIT_DENY };
enum sl_direction { SL_EGRESS, SL_INGRESS };

#define SL_DIRECTION_KNOWN 2	/* beside one, in sl_directions (bpf/sluice.bpf.c) */

#define SL_HOOKS(X) \
	X(CONNECT4, "connect4") X(CONNECT6, "connect6") \
	X(SENDMSG4, "sendmsg4") X(SENDMSG6, "sendmsg6") \
	X(CGROUP_EGRESS, "cgroup-egress") X(CGROUP_INGRESS, "cgroup-ingress") \
	X(SOCK_CREATE, "sock-create") X(TC_INGRESS, "tc-ingress") \
	X(TC_EGRESS, "tc-egress") X(LSM, "lsm") X(FORWARDER, "forwarder")

enum sl_hook {
#define SL_HOOK_ENUM(name, word) SL_HOOK_##name,
	SL_HOOKS(SL_HOOK_ENUM)
#undef SL_HOOK_ENUM
	SL_HOOK_MAX,
};

enum sl_event_flags {
	SL_EVENT_PROCESS = 1 << 0,	/* pid, uid and comm are known */
	SL_EVENT_UID = 1 << 1,		/* socket_uid is known */
	SL_EVENT_SOURCE = 1 << 2,	/* source address and port are known */
	SL_EVENT_PARSED = 1 << 3,	/* destination and protocol are known */
	SL_EVENT_PORTS = 1 << 4,	/* the ports are known */
	SL_EVENT_ICMP = 1 << 5,		/* ICMP's type and code are known */
	SL_EVENT_LINK = 1 << 6,		/* a frame: mac, ethertype and vlan are known */
	SL_EVENT_NAMED = 1 << 7,	/* the event of a struct sl_named_event */
	SL_EVENT_SERVER = 1 << 8,	/* its name is the one in a TLS ClientHello */
	SL_EVENT_CLOSE = 1 << 9,	/* the event of a struct sl_close_event */
};

/* One decision, in sl_events. */
struct sl_event {
	__u64 time_ns;		/* boot time */
	__u64 sequence;		/* per target, from 0, no gaps; two CPUs may submit
				 * neighbouring ones in the other order */
	__u64 generation;
	__u8 source[16];	/* network byte order; IPv4: the first 4 bytes */
	__u8 destination[16];
	__u16 source_port, destination_port; /* ICMP: 0, type << 8 | code */
	__u32 slot;
	__u32 rule;
	__u32 flags;
	__u32 pid, process_uid, socket_uid;
	__u8 family;		/* 4, 6, 0 unknown */
	__u8 protocol;
	__u8 verdict;		/* enum sl_verdict_kind */
	__u8 reason;
	__u8 hook;
	__u8 direction;
	__u8 mac_source[6], mac_destination[6];
	__u16 ethertype;	/* host byte order */
	__u16 vlan;		/* VID, SL_VLAN_NONE */
	__u8 reserved[6];
	char comm[16];
};

#define SL_VLAN_NONE 0xffff

/* An event that has a name: of a question, or an owner of the address. The record's
 * size tells it from the other. */
struct sl_named_event {
	struct sl_event event;
	__u16 type;		/* of a question; 0: a connection */
	__u16 characters;
	__u32 reserved;
	__u8 name[SL_PATTERN_BYTES]; /* reversed */
};

/* How a flow ended. Append only; docs/events.md lists the words. */
#define SL_ENDS(X) \
	X(OPEN, "open") X(FINISHED, "finished") X(RESET, "reset") X(ANSWERED, "answered") \
	X(IDLE, "idle") X(DENIED, "denied") X(REPLACED, "replaced") X(DETACHED, "detached")

enum sl_end {
#define SL_END_ENUM(name, word) SL_END_##name,
	SL_ENDS(SL_END_ENUM)
#undef SL_END_ENUM
	SL_END_MAX,
};

/* A flow is over, whose opening was an event. Its event is of the flow as it was opened; it is
 * a named one if a name admitted it, else the name is zero. */
struct sl_close_event {
	struct sl_named_event named;
	__u64 bytes[2];		/* by enum sl_direction */
	__u64 lasted_ns;	/* from its first packet to its last */
	__u8 end;		/* enum sl_end */
	__u8 reserved[7];
};

#define SL_BUDGET_RATE 1000	/* events a second and target ... */
#define SL_BUDGET_BURST 5000	/* ... and at once */

#endif
