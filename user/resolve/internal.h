/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the files of this folder share; nothing else includes it. */
#ifndef SLUICE_RESOLVE_INTERNAL_H
#define SLUICE_RESOLVE_INTERNAL_H

#include <errno.h>
#include <sys/stat.h>

#include "resolve.h"

#define SL_INCLUDE_DEPTH_MAX 16
/* Includes that double at each level must not fill memory. */
#define SL_INCLUDES_MAX 1024
#define SL_SET_BYTES_MAX (256u << 20)	/* all set files of a policy together */

/* ---- array.c ---- */

/* Makes room for one more element. Returns the array, which may have moved, or
 * NULL (no memory; the old one is untouched). */
void *sl_array_grow(void *array, size_t n, size_t *cap, size_t size);

struct sl_cidr_list {
	struct sl_cidr *v;	/* owned */
	size_t n, cap;
};

int sl_cidr_list_add(struct sl_cidr_list *list, const struct sl_cidr *cidr);
/* Sorts and drops duplicates, so that the same network gives the same set. */
void sl_cidr_list_sort(struct sl_cidr_list *list);

/* Interfaces: added, then sorted, then asked for. */
struct sl_index_list {
	unsigned *v;		/* owned */
	size_t n, cap;
};

int sl_index_list_add(struct sl_index_list *list, unsigned ifindex);
void sl_index_list_sort(struct sl_index_list *list);
bool sl_index_list_has(const struct sl_index_list *list, unsigned ifindex);

/* A hash table of strings. Keys and values are borrowed. */
struct sl_strtab_entry {
	const char *key;
	void *value;
	__u64 hash;
};

/* The entries stand in the order in which they came; what is searched at random, a word for each,
 * is as small as can be. */
struct sl_strtab {
	struct sl_strtab_entry *entries; /* owned; cap / 2 of them have room */
	__u64 *slots;			/* owned; high half of the hash, number of the entry + 1; 0: free */
	size_t n, cap;			/* entries, slots */
};

/* What is found stays where it is until something is added. */
struct sl_strtab_entry *sl_strtab_find(const struct sl_strtab *tab, const char *key);
/* The key must not be there yet. 0 or -ENOMEM. */
int sl_strtab_add(struct sl_strtab *tab, const char *key, void *value);
/* Adds it if it is not there; both with one look. hash: sl_strtab_expect's of key. 0 or -ENOMEM. */
int sl_strtab_put(struct sl_strtab *tab, const char *key, __u64 hash, void *value,
		  bool *was_there);
/* The key will be asked for soon: where it would stand is a miss of the caches by then. */
__u64 sl_strtab_expect(const struct sl_strtab *tab, const char *key);
/* Makes room for n keys, so that it need not grow as they come. 0 or -ENOMEM. */
int sl_strtab_reserve(struct sl_strtab *tab, size_t n);
void sl_strtab_free(struct sl_strtab *tab);

/* ---- file.c ---- */

/* sl_file_read, and *st of the opened file (zeroed for standard input). */
int sl_file_read_stat(const char *path, size_t max, const struct sl_pos *pos,
		      char **text, size_t *len, struct stat *st,
		      struct sl_diag *diag);

/* A file that may be the target's, such as /etc/hosts, whole; *out is owned, ends in NUL.
 * 0; -EINVAL: no regular file; -EFBIG: max bytes or more; -errno. */
int sl_text_file_read(const char *path, size_t max, char **out);

/* ---- netlink.c, link.c, resolvconf.c ---- */

/* Something of an interface. */
struct sl_net_cidr {
	unsigned ifindex;
	struct sl_cidr cidr;
};

struct sl_net_list {
	struct sl_net_cidr *v;	/* owned */
	size_t n, cap;
};

/* What one network namespace says. */
struct sl_net_view {
	struct sl_net_list hops;	/* next hops of default routes */
	struct sl_index_list ifindexes;	/* of default routes */
	struct sl_net_list onlink;	/* prefixes, of every interface */
	struct sl_net_list addresses;	/* local ones, loopback included */
	struct sl_index_list ports;	/* of bridges; only if asked for */
};

/* Reads the calling thread's namespace. 0 or -errno; free also after an error. */
int sl_net_view_read(struct sl_net_view *view, bool with_ports);
void sl_net_view_free(struct sl_net_view *view);

/*
 * The interface that holds the addresses of a device's network: its bridge (bond,
 * team, ...), and that one's, up to the last; the device itself where it has none
 * or its master is a VRF, which leaves addresses where they are. 0, -ENODEV, -errno.
 */
int sl_link_upper(unsigned ifindex, unsigned *upper);

/* Bytes of an address to a full-length prefix; an IPv4-mapped or NAT64 address
 * becomes the IPv4 address that rules know it by (docs/policy.md). */
void sl_cidr_from_bytes(int family, const void *bytes, struct sl_cidr *cidr);

/* What a resolv.conf says; v[] and domains owned. */
struct sl_resolvconf {
	struct sl_cidr_list servers;
	char **search;
	size_t n_search;
};

/*
 * Name servers of a resolv.conf, in its order, at most SL_NAMESERVERS_MAX, and its
 * search domains (the last `search` or `domain` line, as in the C library), at most
 * SL_SEARCH_MAX; servers that are no addresses and domains that are no names are passed
 * over. A missing file has none. 0 or -errno. Free also after an error.
 */
#define SL_NAMESERVERS_MAX 16
int sl_resolvconf_read(const char *path, struct sl_resolvconf *conf);
int sl_resolvconf_parse(char *text, struct sl_resolvconf *conf); /* text is written to */
void sl_resolvconf_free(struct sl_resolvconf *conf);

/* ---- resolve.c and its parts ---- */

/* A file that is being resolved: the policy, or a fragment under it. */
struct sl_frame {
	const struct sl_frame *up;	/* the includer; NULL: the policy */
	const struct sl_policy *policy;
	struct sl_policy *ours;		/* the same, if its rules may be taken out of it */
	bool lent;			/* but for that they stay in it, too: sl_resolve_lent */
	const char *file;		/* path as diagnostics show it; NULL: stdin */
	struct stat st;			/* st_ino 0: unknown */
	unsigned depth;
	struct sl_strtab sets;		/* name in this file -> struct sl_set of out */
};

struct sl_builtin {
	const char *name;
	struct sl_cidr_list cidrs;
	bool by_resolution, ready;
};

#define SL_N_BUILTINS 9

struct sl_resolver {
	const struct sl_resolve_options *options;
	struct sl_diag *diag;
	const struct sl_policy *root;
	struct sl_policy *out;
	size_t cap_items, cap_sets;
	struct sl_strtab set_names;	/* names taken in out, built-in ones included */
	struct sl_builtin builtins[SL_N_BUILTINS];
	struct sl_environment own_env;
	bool own_env_read;
	unsigned n_includes;
	size_t include_bytes, set_bytes;
	__s64 now_s;
	bool clock_asked, clock_refused;	/* once for all rules */
	bool failed;			/* some error is in diag */
	/* Of the rules in out, so that nobody need walk over all of them: */
	bool any_name, any_written_id, any_empty;
};

/* Reports an error; the work goes on so that the others are found too. The
 * functions below return 0 even then, and -ENOMEM alone as an error. */
#define sl_fail(r, pos, ...) \
	((r)->failed = true, (void)sl_error((r)->diag, (pos), __VA_ARGS__))

/* file_sets.c: the frame's sets into r->out, and at the end the empty ones away. */
int sl_sets_add(struct sl_resolver *r, struct sl_frame *frame);
void sl_sets_prune(struct sl_policy *out);

/* sets.c: what a host's @NAME stands for. */
struct sl_set_ref {
	const struct sl_set *set;	/* or NULL, then: */
	const struct sl_cidr *cidrs;	/* of a built-in one */
	size_t n_cidrs;
	bool known;			/* false: an error was reported */
};
int sl_set_find(struct sl_resolver *r, const struct sl_frame *frame,
		const struct sl_host *host, struct sl_set_ref *ref);
int sl_sets_init(struct sl_resolver *r);
/* Why a built-in set has nothing in it; NULL if the name is not one. */
const char *sl_builtin_why_empty(const struct sl_resolver *r, const char *name);
/* The environment to use, read when first asked for; NULL: errors reported. */
const struct sl_environment *sl_resolver_environment(struct sl_resolver *r,
						     const struct sl_pos *pos);

/* dns.c: the gate of r->out, once its rules are there. */
int sl_dns_resolve(struct sl_resolver *r);

/* hosts.c: addresses of options->hosts into the rules that allow their names. */
int sl_hosts_learn(struct sl_resolver *r);

/* match.c: one match with its hosts and uids resolved. dst may end with no
 * host when empty_ok. */
int sl_match_resolve(struct sl_resolver *r, const struct sl_frame *frame,
		     const struct sl_match *src, bool empty_ok,
		     struct sl_match *dst);

/* rule.c: appends to r->out what the frame's items hold. A rule whose matches
 * are all empty is there with none of them, until ids are given. */
int sl_items_add(struct sl_resolver *r, const struct sl_frame *frame);
/* Are there only rules that resolve to themselves, and to which nothing is put? As parsed. */
bool sl_rules_stay(const struct sl_policy *policy);

/* include.c: splices the fragment of an include. */
int sl_include_add(struct sl_resolver *r, const struct sl_frame *frame,
		   const struct sl_item *item);
/* `path` as seen from the file `from` (NULL: the working directory). Owned. */
char *sl_path_relative(const char *from, const char *path);

/* clock.c: copies expiry to dst as a time. */
void sl_expiry_resolve(struct sl_resolver *r, const struct sl_rule *src,
		       struct sl_rule *dst);

/* ids.c: makes the ids of r->out unique. */
int sl_ids_assign(struct sl_resolver *r);

#endif
