/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Compile: a resolved policy becomes one table (include/sluice_table.h). Pure:
 * no libbpf, no sockets, no logging, no clock; the same input gives the same
 * bytes.
 */
#ifndef SLUICE_COMPILE_H
#define SLUICE_COMPILE_H

#include "policy/policy.h"
#include "sluice_table.h"

/* A pattern of names and its class (include/sluice_table.h). */
struct sl_pattern {
	struct sl_pattern_key key;
	__u32 class;
};

/* The words of a table, owned, and the patterns that stand beside it, borrowed. */
struct sl_table {
	__u64 *words;
	size_t n_words;
	const struct sl_pattern *patterns;
	size_t n_patterns;
};

/* What a rule number stands for. */
struct sl_rule_info {
	const char *id;			/* borrowed from the policy, or static */
	const struct sl_rule *rule;	/* borrowed; NULL for the dns gate and inbound */
	enum sl_action action : 8;
	enum sl_reason reason : 8;
	enum sl_log log : 8;		/* the rule's own, here because a look at each rule is a */
	enum sl_sni sni : 8;		/* miss of the caches */
	struct sl_pos pos;
};

struct sl_compiled {
	struct sl_table table;
	struct sl_pattern *patterns;	/* owned; by rising prefixlen, then data */
	size_t n_patterns;
	size_t n_ask_only;		/* of them: there for the search domains alone */
	struct sl_rule_info *rules;	/* owned; by rule number */
	size_t n_rules;
	size_t n_ranges4, n_ranges6, n_classes, n_views, n_decisions; /* for people */
	size_t n_name_classes;		/* of n_classes */
	bool has_uids;
};

/* Who the workload on a device is (docs/devices.md). Addresses borrowed. */
struct sl_binding {
	bool has_mac;
	__u8 mac[6];
	bool has_addresses;		/* only these, and, if lease, what DHCP gave */
	bool lease;
	/* A source must be one that the host's routes lead back to by `upper`; without a MAC alone. */
	bool routed4, routed6;
	__u32 upper;			/* ifindex: the device's bridge, or itself */
	const struct sl_cidr *addresses; /* prefixes, either family */
	size_t n_addresses;
	__u16 vlans[4];
	size_t n_vlans;
	/* The networks that DHCP's servers and leases are in (none: any), and what is leased to
	 * nobody. Those that are no IPv4 are passed over. */
	const struct sl_cidr *networks, *taken[2];
	size_t n_networks, n_taken[2];
};

struct sl_compile_options {
	const struct sl_binding *binding; /* NULL: the target is no device */
	/* dns: {mode: forward}: where the forwarder listens, in the resolvers' stead; NULL: where
	 * the policy says (`listen`), or no forwarder is there, and port 53 leads nowhere. */
	const struct sl_cidr *forwarder;
	__u64 generation;
	/* boot time = Unix time - this, in ns: turns `expires` into a deadline.
	 * Only read where a rule expires. */
	__s64 boot_epoch_ns;
};

/*
 * Compiles policy, which must outlive *out (ids and rules are borrowed).
 * 0, or -EINVAL with errors in diag (a bound exceeded: the rules that multiply
 * are named), or -ENOMEM. *out is untouched on failure; free it with
 * sl_compiled_free.
 */
int sl_compile(const struct sl_policy *policy, const struct sl_compile_options *options,
	       struct sl_compiled *out, struct sl_diag *diag);
void sl_compiled_free(struct sl_compiled *compiled);

/* The label of a table: 0 the policy's name, 1 + N the id of rule N. Borrowed from
 * the table; NULL beyond the last. words: a table of n_words. */
const char *sl_table_label(const __u64 *words, size_t n_words, __u32 index);

/* The ranges of a family (4 or 6) in a table, in the order of their addresses: its class goes from
 * a range's first address, in host byte order (IPv4 in low), to the next one's. */
struct sl_table_range {
	__u64 high, low;
	__u32 class;
};

struct sl_ranges {
	const __u64 *groups, *full;
	size_t n, n_full, at, at_full;
	int family;
	bool within;		/* full ranges */
};

/* False if there are none, or not all of their words. r borrows the table's words. */
bool sl_ranges_open(struct sl_ranges *r, const struct sl_table *table, int family);
/* To the range that this address is in. */
void sl_ranges_go(struct sl_ranges *r, __u64 high, __u64 low);
bool sl_ranges_next(struct sl_ranges *r, struct sl_table_range *out);

/* The verdict of a table in user space: the reader that the kernel runs. */
bool sl_table_judge(const struct sl_table *table, struct sl_question *question,
		    struct sl_answer *answer);

/* ---- names: docs/names.md; a name is lower-case, without a last dot ---- */

/* The key of a name or, if suffix, of `*.name`; with an empty name, of `*`. */
void sl_pattern_key(const char *name, bool suffix, struct sl_pattern_key *key);
/* The pattern as a policy writes it, in buf. */
char *sl_pattern_text(const struct sl_pattern *pattern, char buf[SL_PATTERN_BYTES + 2]);

/* The most specific pattern that covers the name, or NULL. */
const struct sl_pattern *sl_names_find(const struct sl_compiled *compiled, const char *name);

/*
 * May the name be asked? now_ns is boot time. The number of the rule that decides, if
 * one does. If not: SL_REASON_DNS_NAME. If so: SL_REASON_RULE, or SL_REASON_DNS_RESOLVER for a
 * search domain's rule and where any name may be asked.
 * False: the table cannot be read; *answer is then a denial.
 */
bool sl_names_question(const struct sl_compiled *compiled, const char *name, __u64 now_ns,
		       struct sl_answer *answer);

/* As sl_table_judge, for a flow to an address that the names in owners own. */
bool sl_names_connection(const struct sl_compiled *compiled, struct sl_question *question,
			 const char *const owners[], size_t n_owners, struct sl_answer *answer);

/*
 * An address of the kind that most addresses of a family (4 or 6) are: of the class
 * with the most of them. Into the question's family and address. False: the table
 * cannot be read.
 */
bool sl_table_common_address(const struct sl_table *table, int family,
			     struct sl_question *question);

/* Fills a question's address from a full-length prefix. */
void sl_question_address(struct sl_question *question, const struct sl_cidr *address);

#endif
