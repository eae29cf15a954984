/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps. Sizes marked "loader" are set before load. What happens when one is
 * full or missing stands beside it.
 */
#ifndef SLUICE_MAPS_BPF_H
#define SLUICE_MAPS_BPF_H

#include "sluice_abi.h"
#include "sluice_table.h"

struct sl_page {
	__u64 words[SL_PAGE_WORDS];
};

/* One generation. BPF_F_INNER_MAP: generations differ in size. */
struct sl_table_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sl_page));
};

/* Generations by index; an empty place denies (no-policy). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 16);	/* loader */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__array(values, struct sl_table_map);
} sl_tables SEC(".maps");

/* Which generation a slot obeys; 0 denies. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);		/* loader */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} sl_words SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);		/* loader */
	__uint(map_flags, BPF_F_MMAPABLE);	/* user space looks through all of them */
	__type(key, __u32);
	__type(value, struct sl_target);
} sl_targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);		/* loader */
	__type(key, __u32);
	__type(value, struct sl_stats);
} sl_stats SEC(".maps");

/* Full: the decision stands and `uncounted` grows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 17);	/* loader */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sl_hit_key);
	__type(value, struct sl_hit);
} sl_hits SEC(".maps");

/* The buckets of one slot. BPF_F_INNER_MAP: slots may differ in size. */
struct sl_flow_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sl_flow_bucket));
};

/* Flow state by slot: a target's flows are its own, made and gone with it. A full
 * pair of buckets denies a new flow (flow-table): nothing that is alive is ever
 * pushed out. An empty place denies new flows too. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);		/* loader */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__array(values, struct sl_flow_map);
} sl_flows SEC(".maps");

struct sl_flow_lock {
	struct bpf_spin_lock lock;
};

/* Taken to open a flow, so that one flow never gets two entries. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);		/* loader */
	__type(key, __u32);
	__type(value, struct sl_flow_lock);
} sl_flow_locks SEC(".maps");

struct sl_budget {
	struct bpf_spin_lock lock;
	__u32 tokens;
	__u64 filled_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);		/* loader */
	__type(key, __u32);
	__type(value, struct sl_budget);
} sl_budgets SEC(".maps");

#if SL_NAMES
/* Patterns by a generation's index, beside sl_tables. An empty place: no pattern
 * covers anything. */
struct sl_pattern_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct sl_pattern_key));
	__uint(value_size, sizeof(struct sl_pattern_value));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 16);	/* loader */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__array(values, struct sl_pattern_trie);
} sl_names SEC(".maps");

/* By slot: the names that a target knows, and the addresses that they own. Full:
 * the address is not learned, and counted; nothing alive is pushed out. */
struct sl_known_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SL_KNOWN_NAMES);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sl_name));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);		/* loader */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__array(values, struct sl_known_map);
} sl_known SEC(".maps");

struct sl_learned_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SL_LEARNED_BUCKETS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sl_learned_bucket));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);		/* loader */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__array(values, struct sl_learned_map);
} sl_learned SEC(".maps");
#endif

struct sl_limiter {
	struct bpf_spin_lock lock;
	__u32 reserved;
	__u64 due_ns[SL_LIMITS_MAX];	/* by enum sl_limit: limit.bpf.h */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);		/* loader */
	__type(key, __u32);
	__type(value, struct sl_limiter);
} sl_limiters SEC(".maps");

/* Full: the verdict stands, `lost` grows. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);	/* loader */
} sl_events SEC(".maps");

#endif
