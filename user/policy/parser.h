/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the files of the parser share.
 *
 * A function that parses a value is called with the value's first event as the
 * current one and returns with its last. It reports what is wrong and goes on,
 * so that one run finds every error; that there was one is told by the diag. After
 * an error of the stream itself every event is SL_YAML_END, which ends all loops.
 */
#ifndef SLUICE_POLICY_PARSER_H
#define SLUICE_POLICY_PARSER_H

#include "keys.h"
#include "names.h"
#include "policy.h"
#include "yaml.h"

struct sl_parser {
	struct sl_yaml yaml;
	struct sl_diag *diag;
	struct sl_policy *policy;
	bool is_fragment;
	bool is_part;			/* of another text: no version, no name of its own */
	struct sl_names ids, set_names;
};

/* Parses the value of key into what object points at. */
typedef void sl_value_fn(struct sl_parser *p, const struct sl_key *key, void *object);

/* A mapping while it is read. */
struct sl_map {
	const struct sl_key_table *table;
	unsigned lines[SL_KEYS_MAX];	/* of each key; 0 = not there */
	bool faulty;			/* had a key that is none: what seems to be
					 * missing is most likely that one */
};

/* ---- parse_value.c ---- */

/* Out of memory: ends the stream. */
void sl_parser_no_memory(struct sl_parser *p);

/* Reads the mapping that is the current event: each key's value by its function
 * in values (indexed as the table). */
void sl_map_read(struct sl_parser *p, const struct sl_key_table *table,
		 sl_value_fn *const *values, void *object, struct sl_map *map);

/* Reads each element of a list, or the value if it is none. The list of
 * sl_list_read must be one. An empty list is an error unless may_be_empty. */
void sl_each_read(struct sl_parser *p, const struct sl_key *key, sl_value_fn *element,
		  void *object);
void sl_list_read(struct sl_parser *p, const struct sl_key *key, sl_value_fn *element,
		  void *object, bool may_be_empty);

/* Reports that the current value is not what key wants, and passes it over. */
void sl_wrong_value(struct sl_parser *p, const struct sl_key *key);

/* True if the current event is a scalar that is not null; else it is reported. */
bool sl_is_text(struct sl_parser *p, const struct sl_key *key);

/* Index in words (NULL-terminated), or -1, reported. */
int sl_word_read(struct sl_parser *p, const struct sl_key *key, const char *const *words);

/* A number up to max; false if it is none, reported. */
bool sl_number_read(struct sl_parser *p, const struct sl_key *key, __u64 max, __u64 *out);

/* Replaces *out by a copy of the current scalar. */
bool sl_copy_text(struct sl_parser *p, const struct sl_key *key, char **out);
/* The same for a name as in sl_text_name. */
bool sl_copy_name(struct sl_parser *p, const struct sl_key *key, char **out);

/* Records a use that loading must refuse. */
void sl_unenforced(struct sl_parser *p, const char *part, const struct sl_pos *pos,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* ---- parse_match.c ---- */

/* The match of allow, deny (object: struct sl_rule). */
void sl_matches_read(struct sl_parser *p, const struct sl_key *key, void *object);
/* A list of inbound rules' mapping; object: struct sl_policy. */
void sl_inbound_read(struct sl_parser *p, const struct sl_key *key, void *object);

struct sl_icmp {
	bool written;
	__u8 type;
	int code;
};

/* An icmp mapping; object: struct sl_icmp. */
void sl_icmp_read(struct sl_parser *p, const struct sl_key *key, void *object);

/* ---- units.c ---- */

/* The current value as a rate (bytes a second) or a size (bytes) within its bounds;
 * else false, reported. */
bool sl_quantity_read(struct sl_parser *p, const struct sl_key *key, bool rate, __u64 *out);

/* Bytes in the largest unit that holds them whole. Returns buf. */
#define SL_QUANTITY_TEXT 32
const char *sl_quantity_format(__u64 bytes, char buf[SL_QUANTITY_TEXT]);

/* ---- dns_type.c ---- */

/* The types that have words, each with a space behind it. */
const char *sl_dns_type_words(void);
/* A word in letters of any case, or TYPE and a number; false if it is neither. */
bool sl_dns_type_parse(const char *text, size_t len, __u16 *type);
#define SL_DNS_TYPE_TEXT 16
const char *sl_dns_type_format(__u16 type, char buf[SL_DNS_TYPE_TEXT]);

/* ---- parse_rule.c, parse_dns.c, parse_settings.c, parse_limits.c, parse_test.c ---- */

void sl_rules_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_dns_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_sets_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_device_read(struct sl_parser *p, const struct sl_key *key, void *object);
/* Of a policy, and of a rule: read, and refused by their key. */
void sl_limits_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_rule_limits_read(struct sl_parser *p, const struct sl_key *key, void *object);
enum sl_log sl_log_read(struct sl_parser *p, const struct sl_key *key);
void sl_policy_log_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_tests_read(struct sl_parser *p, const struct sl_key *key, void *object);

/* ---- shorthand.c: texts without YAML ---- */

int sl_shorthand_parse(const char *text, size_t len, const struct sl_pos *pos,
		       struct sl_match *match, struct sl_diag *diag);
/* HOST alone. *host is zeroed first. */
int sl_host_parse(const char *text, size_t len, const struct sl_pos *pos, struct sl_host *host,
		  struct sl_diag *diag);
/* A port or a range. */
int sl_port_range_parse(const char *text, size_t len, const struct sl_pos *pos,
			struct sl_port_range *range, struct sl_diag *diag);
/* Do the parts of a match go together? */
int sl_match_check(const struct sl_match *match, const struct sl_pos *pos,
		   struct sl_diag *diag);

/* HOST, PORTS and PROTO of a shorthand or flow, unread; NULL = not there. */
struct sl_parts {
	const char *host, *ports, *protocol;
	size_t host_len, ports_len, protocol_len;
	bool bracketed;
};

/* Splits text. An address takes `/NUMBER` as its prefix length if prefixes. */
int sl_parts_split(const char *text, size_t len, bool prefixes, const struct sl_pos *pos,
		   struct sl_parts *parts, struct sl_diag *diag);
bool sl_protocol_has_ports(int protocol);

/* ---- expires.c ---- */

/* Fills expiry and expires_s; false if the text is no date, time or duration. */
bool sl_expires_parse(const char *text, size_t len, struct sl_rule *rule);
/* The text of it; buf of 32 bytes. */
void sl_expires_format(const struct sl_rule *rule, char *buf, size_t size);
/* A duration alone: a number, not 0, and s, m, h or d. */
bool sl_duration_parse(const char *text, size_t len, __s64 *seconds);
void sl_duration_format(__s64 seconds, char *buf, size_t size);

/* ---- flow.c ---- */

/* The address of a flow: unlike a rule's it may be one that embeds IPv4. */
int sl_flow_address(const char *text, size_t len, const struct sl_pos *pos,
		    struct sl_cidr *address, struct sl_diag *diag);
/* HOST of a flow, whichever it is, into name or address. */
int sl_flow_host(const char *text, size_t len, const struct sl_pos *pos, struct sl_test *test,
		 struct sl_diag *diag);
int sl_flow_parse_n(const char *text, size_t len, const struct sl_pos *pos,
		    struct sl_test *test, struct sl_diag *diag);
/* What goes together in a flow, once all is read; makes text. written tells that
 * an icmp type was given. port -1 and protocol -1: not written; with a name both may be,
 * then only the question is meant. */
int sl_flow_finish(struct sl_test *test, int port, int protocol, bool icmp_written,
		   const struct sl_pos *pos, struct sl_diag *diag);

#endif
