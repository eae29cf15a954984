/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A policy as it was written: settings and an ordered list of rules, with the
 * place of each part in its text. docs/policy.md is the language.
 *
 * The same structure carries a resolved policy (user/resolve): includes spliced
 * in, names of users and sets replaced, every rule with its id. The printer
 * prints either.
 */
#ifndef SLUICE_POLICY_H
#define SLUICE_POLICY_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "diag.h"

#define SL_ID_MAX 63		/* characters of a policy, rule or set name */
#define SL_POLICY_BYTES_MAX (64u << 20)	/* a policy or fragment file */

/* An address prefix. addr is in network byte order; IPv4 uses the first 4
 * bytes; the bytes and bits beyond len are zero. */
struct sl_cidr {
	__u8 addr[16];
	__u8 family;		/* 4 or 6 */
	__u8 len;		/* bits: 0..32 or 0..128 */
};

/* A list of prefixes, in the order of the text. */
struct sl_set {
	char *name;		/* owned, without the @ */
	char *path;		/* owned, as written; NULL: listed in the policy */
	struct sl_cidr *cidrs;	/* owned */
	size_t n_cidrs;
	struct sl_pos pos;
};

enum sl_host_kind {
	SL_HOST_ANY,		/* any: both families */
	SL_HOST_CIDR,		/* address or prefix */
	SL_HOST_SET,		/* @set */
	SL_HOST_NAME,		/* name */
	SL_HOST_SUFFIX,		/* *.name */
	SL_HOST_EVERY_NAME,	/* * */
};

struct sl_host {
	enum sl_host_kind kind;
	struct sl_cidr cidr;	/* CIDR */
	char *text;		/* owned; SET: set's name, NAME and SUFFIX: the
				 * lower-cased name without `*.`; else NULL */
	const struct sl_set *set; /* SET in a resolved policy; else NULL */
	struct sl_pos pos;
};

struct sl_port_range {
	__u16 low, high;	/* host byte order, 1..65535, low <= high */
};

enum sl_uid_kind { SL_UID_NUMBER, SL_UID_NAME, SL_UID_CONTAINER };

struct sl_uid {
	enum sl_uid_kind kind;
	__u32 number;		/* NUMBER, CONTAINER */
	char *name;		/* owned; NAME */
	struct sl_pos pos;
};

#define SL_PROTOCOL_ANY (-1)

/* One match: every part must hold (docs/policy.md, "What matches"). */
struct sl_match {
	struct sl_host *hosts;		/* owned, at least one */
	struct sl_port_range *ports;	/* owned; none = every port */
	int *protocols;			/* owned; 0..255 or SL_PROTOCOL_ANY;
					 * none = not written */
	struct sl_uid *uids;		/* owned; none = every uid */
	__u32 n_hosts, n_ports, n_protocols, n_uids;
	bool has_icmp;
	bool borrowed;			/* its arrays are its rule's (short_form), not its own */
	__u8 icmp_type;
	__s16 icmp_code;		/* 0..255; -1 = every code */
	struct sl_pos pos;
};

enum sl_action { SL_ALLOW, SL_DENY };

/* What the first bytes of a connection that a rule by name admits must be. */
enum sl_sni { SL_SNI_OFF, SL_SNI_OBSERVE, SL_SNI_VERIFY };

enum sl_expiry_kind { SL_EXPIRES_NEVER, SL_EXPIRES_AT, SL_EXPIRES_AFTER };

/* What becomes an event (docs/events.md). */
enum sl_log { SL_LOG_DEFAULT, SL_LOG_ALL, SL_LOG_DENIED, SL_LOG_NONE };

/* There may be a hundred thousand: what is small stands together. */
struct sl_rule {
	enum sl_action action : 8;
	enum sl_expiry_kind expiry : 8;
	enum sl_sni sni : 8;
	enum sl_log log : 8;		/* DEFAULT: the policy's */
	bool id_written;		/* the text has an id of its own */
	bool empty_ok;
	bool resolves_private;		/* resolves_to: private */
	bool short_form;		/* one piece of memory with its parts (short_rule.h): they
					 * can be read, and no more put to them */
	struct sl_match *matches;	/* owned, at least one; any of them */
	size_t n_matches;
	char *id;			/* owned; NULL = default id (not yet resolved) */
	char *reason;			/* owned or NULL */
	__s64 expires_s;		/* AT: Unix time, the first second in which
					 * the rule is over; AFTER: duration */
	struct sl_pos expires_pos;
	struct sl_pos pos;
};

/* An entry of `rules`: a rule, or an include of a fragment. */
struct sl_item {
	struct sl_rule *rule;		/* owned; NULL for an include */
	char *include;			/* owned; path as written */
	struct sl_pos pos;
};

enum sl_mode { SL_MODE_ENFORCE, SL_MODE_AUDIT };
enum sl_on_deny { SL_REJECT, SL_DROP };
enum sl_inbound { SL_INBOUND_REPLIES, SL_INBOUND_ALLOW, SL_INBOUND_LIST };

/* An entry of `tests`. */
struct sl_test {
	enum sl_action want;
	char *name;			/* owned; lower case; NULL: */
	struct sl_cidr address;		/* len 32 or 128 */
	bool question_only;		/* a name without port and protocol */
	__u8 protocol;
	__u16 port;			/* host byte order; 0 = none */
	__u8 icmp_type, icmp_code;
	bool has_uid;
	__u32 uid;
	char *text;			/* owned; the flow, canonical */
	struct sl_pos pos;
};

/* A use of a key whose part is not built yet: loading must refuse it. */
struct sl_unenforced {
	char *what;			/* owned: the key or value, quoted in the error */
	const char *part;		/* the part that brings it (static) */
	struct sl_pos pos;
};

/*
 * Bytes a second, and bytes. average 0: no limit, the others are then 0 too.
 * peak 0: none. With an average the burst is never 0.
 */
struct sl_bandwidth {
	__u64 average, peak, burst;
};

/* So that the kernel's arithmetic holds: bytes and nanoseconds in 64 bits. */
#define SL_RATE_MIN 1000ull			/* 1 kB/s */
#define SL_RATE_MAX 1000000000000ull		/* 1 TB/s */
#define SL_BURST_MIN 2048ull			/* a frame */
#define SL_BURST_SECONDS_MAX 3600ull		/* of the average */
#define SL_BURST_MAX (SL_RATE_MAX * SL_BURST_SECONDS_MAX)
#define SL_CONNECTIONS_MAX 1000000u		/* in a second or a minute */

/* The burst of a direction for which none is written. */
__u64 sl_bandwidth_default_burst(__u64 average);

/* Bandwidth is out of the workload and into it. */
struct sl_limits {
	struct sl_bandwidth out, in;
	/* connections, N/s or N/m: the N-th part of the period, rounded up; 0 = no
	 * limit. N of them may come at once. */
	__u64 flow_interval_ns;
	__u32 flow_burst;
	/* dns: the same of questions */
	__u64 dns_interval_ns;
	__u32 dns_burst;
	struct sl_pos pos;
};

/* Switches that only devices read (docs/devices.md). */
struct sl_device_switches {
	bool arp_deny, nd_deny, dhcp_deny;
};

enum sl_queries { SL_QUERIES_DEFAULT, SL_QUERIES_LISTED, SL_QUERIES_ANY };

#define SL_DNS_TYPES_MAX 16
#define SL_SEARCH_MAX 32		/* domains */
#define SL_DNS_TTL_BOUND_S (7 * 86400)	/* of what may be written as one */
#define SL_DNS_TTL_MIN_S 60u		/* the defaults of `ttl` */
#define SL_DNS_TTL_MAX_S 86400u

enum sl_dns_strip { SL_STRIP_ECH = 1 << 0, SL_STRIP_HINTS = 1 << 1 };

/* `dns`, but for the resolvers. */
struct sl_dns {
	enum sl_queries queries;
	__u16 types[SL_DNS_TYPES_MAX];
	size_t n_types;			/* 0: those of docs/names.md */
	__u32 ttl_min_s, ttl_max_s;	/* 0: the default */
	bool has_search;		/* false: those of the target's resolv.conf */
	char **search;			/* owned, each owned; lower case */
	size_t n_search;
	bool dot_by_rules;		/* dot: rules: port 853 is none of the gate's */
	bool forward;			/* mode: forward */
	char *tls;			/* owned; its resolvers' name, by TLS; NULL: port 53 */
	unsigned strip;			/* enum sl_dns_strip, or-ed: of HTTPS and SVCB records */
	bool has_listen;		/* false: an address of the forwarder's own choice */
	struct sl_cidr listen;		/* of 127.0.0.0/8, len 32 */
	struct sl_pos forward_pos;	/* of what is forward's alone; line 0: nothing */
	struct sl_pos pos;		/* of what there is beside resolvers; line 0: nothing */
};

struct sl_policy {
	char *name;			/* owned; NULL = take the file's */
	enum sl_mode mode;
	enum sl_action default_action;
	enum sl_on_deny on_deny;
	bool has_dns;
	bool dns_system;		/* resolvers: system */
	struct sl_cidr *resolvers;	/* owned; len 32 or 128 */
	size_t n_resolvers;
	struct sl_dns dns;
	enum sl_log log;		/* DEFAULT: denied */
	enum sl_inbound inbound;
	struct sl_match *inbound_matches; /* owned; hosts = `from`, ports = local */
	size_t n_inbound;
	bool fragments_first;		/* fragments: first-decides */
	struct sl_limits limits;
	struct sl_device_switches device;
	struct sl_set **sets;		/* owned, each owned (stable addresses) */
	size_t n_sets;
	struct sl_item *items;		/* owned */
	size_t n_items;
	struct sl_test *tests;		/* owned */
	size_t n_tests;
	struct sl_unenforced *unenforced; /* owned */
	size_t n_unenforced;
	bool is_fragment;
	bool lent;			/* its rules are another policy's, which outlives it */
	struct sl_pos pos;
};

/* ---- parse: text -> policy. Pure: reads no file. ---- */

enum sl_parse_kind { SL_PARSE_POLICY, SL_PARSE_FRAGMENT };

/*
 * Parses text (len bytes, need not end in NUL). file names it in diagnostics.
 * Returns 0 and *out, to be freed by sl_policy_free, or -EINVAL with the errors
 * in diag, or -ENOMEM; *out is then untouched. Keys of parts not built yet are
 * no error here: they are listed in out->unenforced. As many errors as can be
 * found independently are reported, not only the first.
 */
int sl_policy_parse(const char *text, size_t len, const char *file,
		    enum sl_parse_kind kind, struct sl_policy **out,
		    struct sl_diag *diag);
/* The same of a mapping that was read before, as events (yaml.h), which *out does not keep:
 * part of another text, without `sluice: 1`. */
struct sl_yaml_event;
int sl_policy_parse_events(const struct sl_yaml_event *events, size_t n, struct sl_policy **out,
			   struct sl_diag *diag);
void sl_policy_free(struct sl_policy *policy);

/* Whom `from` may ask, and what its resolver puts behind a name, become to's. 0 or -ENOMEM: to is
 * as it was, or without search domains. */
int sl_policy_copy_asks(struct sl_policy *to, const struct sl_policy *from);

/* A rule with one empty match (matches[0]) and no id, at the end of the policy, which owns it.
 * NULL: no memory; the policy is as it was. */
struct sl_rule *sl_policy_add_rule(struct sl_policy *policy, enum sl_action action);

/* Turns each entry of policy->unenforced into an error. 0 if there is none. */
int sl_policy_refuse_unenforced(const struct sl_policy *policy, struct sl_diag *diag);

/* A set file: one address or CIDR a line, # and ; comments. Appends to set. */
int sl_set_parse(const char *text, size_t len, const char *file,
		 struct sl_set *set, struct sl_diag *diag);

/*
 * Shorthand `HOST[:PORTS][/PROTO]` into *match (zeroed first; free with
 * sl_match_clear). pos is where the text begins. Name hosts are accepted.
 */
int sl_match_parse(const char *text, struct sl_pos pos, struct sl_match *match,
		   struct sl_diag *diag);
void sl_match_clear(struct sl_match *match);

/* A name, *.name or *. */
bool sl_host_is_name(const struct sl_host *host);
/* The first host that is one; or NULL. */
const struct sl_host *sl_match_name(const struct sl_match *match);
const struct sl_host *sl_rule_name(const struct sl_rule *rule);

void sl_rule_free(struct sl_rule *rule);
/* id becomes the rule's, which owns it. */
void sl_rule_set_id(struct sl_rule *rule, char *id);
/* The rule's default id becomes its id; it has none. 0 or -ENOMEM. */
int sl_rule_take_default_id(struct sl_rule *rule);
void sl_set_free(struct sl_set *set);

/*
 * A flow for `explain` and `tests`: `ADDRESS[:PORT][/PROTO]`, PROTO a word or a
 * number; with a port and no protocol TCP. Or NAME in the place of ADDRESS; alone it
 * is the question for the name. Fills *test except want; free with sl_test_clear.
 */
int sl_flow_parse(const char *text, struct sl_pos pos, struct sl_test *test,
		  struct sl_diag *diag);
void sl_test_clear(struct sl_test *test);

/* ---- print: policy -> canonical text ---- */

/*
 * Prints the policy as canonical YAML. parse(print(p)) equals p but for
 * positions, and printing that again gives the same bytes. Returns 0, or
 * -EIO when out reports an error.
 */
int sl_policy_print(const struct sl_policy *policy, FILE *out);
/* The same as a text of *len bytes and a NUL, owned by the caller; NULL: no memory. */
char *sl_policy_text(const struct sl_policy *policy, size_t *len);

/* The canonical text of a rule's action and match alone: one line, stable; the
 * default id is made from it. Returns an owned string or NULL (no memory). */
char *sl_rule_canonical(const struct sl_rule *rule);

/* One match as text: shorthand where it can be one, else a flow mapping. */
char *sl_match_canonical(const struct sl_match *match);

/* The default id: `allow-` or `deny-` and 6 hex digits of a hash of the
 * canonical text. */
#define SL_DEFAULT_ID_BYTES 16
void sl_rule_default_id(const struct sl_rule *rule, char *buf, size_t size);

/* ---- addresses ---- */

/*
 * Parses `ADDRESS` or `ADDRESS/LEN` (no brackets). Host bits are masked;
 * *masked tells. Returns 0, -EINVAL (not an address), -ERANGE (prefix length).
 */
int sl_cidr_parse(const char *text, size_t len, struct sl_cidr *cidr, bool *masked);

/* Text of a prefix; a full-length one prints as the address alone.
 * buf of SL_CIDR_TEXT bytes. Returns buf. */
#define SL_CIDR_TEXT 64
const char *sl_cidr_format(const struct sl_cidr *cidr, char buf[SL_CIDR_TEXT]);
/* The same; the address of its NUL. */
char *sl_cidr_put(char *at, const struct sl_cidr *cidr);

/* True if a lies within b (same family). */
bool sl_cidr_within(const struct sl_cidr *a, const struct sl_cidr *b);

/* `tcp` ... or NULL: protocol words. sl_protocol_number returns -EINVAL if the
 * word is none of ours; `any` gives SL_PROTOCOL_ANY - so check for -EINVAL. */
const char *sl_protocol_name(int protocol);
int sl_protocol_number(const char *word, size_t len, int *protocol);

#endif
