/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A pattern of tinyproxy: read into branches (tinyproxy_pattern.c), which are then
 * found to be names and addresses, or not (tinyproxy_hosts.c). */
#ifndef SLUICE_CONVERT_TINYPROXY_INTERNAL_H
#define SLUICE_CONVERT_TINYPROXY_INTERNAL_H

#include "policy/diag.h"
#include "tinyproxy.h"

#define TP_LINE_MAX 510	    /* tinyproxy reads lines into 512 bytes */
#define TP_BRANCHES_MAX 256 /* of a pattern; beyond it is refused */
#define TP_MORE 0xffff	    /* max of an item: any number */

/* Bytes. Letters are there in both cases: names have none. */
struct tp_set {
	__u64 bits[4];
};

/* min to max bytes of the set. */
struct tp_item {
	struct tp_set set;
	__u16 min, max;
};

/* One way to match: a sequence, at the beginning of the text, at its end, or anywhere. */
struct tp_branch {
	struct tp_item *items; /* owned */
	size_t n;
	bool begins, ends; /* with ^, with $ */
};

struct tp_pattern {
	struct tp_branch *branches; /* owned */
	size_t n;
};

static inline bool tp_has(const struct tp_set *set, unsigned char c)
{
	return set->bits[c / 64] >> (c % 64) & 1;
}

static inline void tp_add(struct tp_set *set, unsigned char c)
{
	set->bits[c / 64] |= 1ull << (c % 64);
}

static inline void tp_every_byte(struct tp_set *set)
{
	__builtin_memset(set, 0xff, sizeof(*set));
}

/* A pattern that is read. */
struct tp_scan {
	const char *text;
	size_t len, at;
	bool extended;	/* else basic, or a glob */
	unsigned depth; /* of groups */
	const struct sl_pos *pos;
	struct sl_diag *diag;
};

/* An error that quotes the pattern; why is the end of a sentence about it. -EINVAL. */
int tp_refuse(const struct tp_scan *s, const char *why);
/* Is the word next? Then it is taken. */
bool tp_take(struct tp_scan *s, const char *word);

/* ---- tinyproxy_repeat.c: 0, -EINVAL (reported) or -ENOMEM ---- */

/* An empty branch at the end; NULL: no memory. */
struct tp_branch *tp_add_branch(struct tp_pattern *pattern);
int tp_add_item(struct tp_branch *branch, const struct tp_item *item);
/* A branch of one item. */
int tp_one_item(struct tp_pattern *out, const struct tp_item *item);
/* *p becomes p followed by q. */
int tp_join(const struct tp_scan *s, struct tp_pattern *p, const struct tp_pattern *q);
/* Moves q's branches behind p's. */
int tp_gather(const struct tp_scan *s, struct tp_pattern *p, struct tp_pattern *q);
/* Takes the repetition that stands next, if there is one, and applies it to p. */
int tp_repeat(struct tp_scan *s, struct tp_pattern *p, bool group);
/* Digits that cover 0 to 255: as good as [0-9]{1,3}, since no other number is part of an
 * address. Keeps the usual long alternatives from multiplying. */
bool tp_is_octet(const struct tp_pattern *p);

/* ---- tinyproxy_branch.c ---- */

#define TP_NAME_BYTES "abcdefghijklmnopqrstuvwxyz0123456789-_."

bool tp_has_every(const struct tp_set *set, const char *bytes);
bool tp_has_none(const struct tp_set *set, const char *bytes);
/* The one byte (lower case) that the item is; 0: it is more than that. */
char tp_only_byte(const struct tp_item *item);
/* Anything, of any length: `.*`; with least 1 `.+`. */
bool tp_is_anything(const struct tp_item *item, unsigned least);
/* The text that items from `at` on are, lower case, owned; NULL: they are no text. */
char *tp_text_of(const struct tp_branch *branch, size_t at);
/* Takes `.*` off the ends that are held: they are then open; and the dot that no host
 * ends with. */
struct tp_branch tp_loosen(const struct tp_branch *from);

/* ---- */

/* 0 and *out (tp_pattern_free), -EINVAL with one error that quotes the pattern, -ENOMEM. */
int tp_pattern_read(const char *text, size_t len, enum sl_tinyproxy_type type,
		    const struct sl_pos *pos, struct tp_pattern *out, struct sl_diag *diag);
void tp_pattern_free(struct tp_pattern *pattern);

/* What a pattern matches of the hosts that there are. */
struct tp_hosts {
	struct sl_host *hosts; /* owned: names, then addresses */
	size_t n, n_names;
	/* Other spellings of IPv4 addresses (0x7f000001, 2130706433): no host, and no
	 * name in DNS. They count where all of IPv4 is matched elsewhere. */
	bool spellings;
};

/* 0 and *out (tp_hosts_free); -EINVAL with an error that says why a policy cannot say
 * it and what would be exact, or -ENOMEM. quoted: the pattern as it was written. */
int tp_hosts_find(const struct tp_pattern *pattern, const char *quoted, enum sl_tinyproxy_type type,
		  const struct sl_pos *pos, struct tp_hosts *out, struct sl_diag *diag);
void tp_hosts_free(struct tp_hosts *hosts);

/* Is every IPv4 (every IPv6) address among the hosts? */
bool tp_hosts_every(const struct sl_host *hosts, size_t n, int family);

/* The IPv4 addresses of a branch of digits and dots, at both ends; appends to *hosts.
 * 0, -ENOMEM; -ENOENT: it matches other spellings alone; -ERANGE: too many prefixes;
 * -EINVAL: it cannot be told. */
int tp_ipv4_find(const struct tp_branch *branch, struct tp_hosts *hosts);

#endif
