/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which of many prefixes hold an address: a search for each length that a prefix has, however many
 * there are. Prefixes that are for one port alone are not looked at for another.
 */
#ifndef SLUICE_KUBERNETES_PREFIXES_H
#define SLUICE_KUBERNETES_PREFIXES_H

#include "policy/policy.h"

struct sl_prefix {
	struct sl_cidr cidr;
	__u16 port;	/* 0: not for one alone */
	unsigned what;	/* the caller's number */
};

struct sl_prefixes {
	struct sl_prefix *list;	/* owned; in order once it is sorted */
	size_t n;
	unsigned *what;		/* owned; of list, once it is sorted */
	struct {
		__u8 list[129];
		size_t n;
	} lengths[2];		/* those that prefixes have, of IPv4 and of IPv6 */
};

/* The caller's numbers of one prefix, ascending. */
struct sl_prefix_run {
	const unsigned *at, *end;
};

#define SL_PREFIX_RUNS (2 * 129)

/* family 0: every address of both. 0 or -ENOMEM. */
int sl_prefixes_add(struct sl_prefixes *prefixes, const struct sl_cidr *cidr, __u16 port,
		    unsigned what);
/* After the last was added, and before the first is looked for. 0 or -ENOMEM. */
int sl_prefixes_sort(struct sl_prefixes *prefixes);
/* Those that hold the whole of cidr, for the port; returns how many runs. */
size_t sl_prefixes_find(const struct sl_prefixes *prefixes, const struct sl_cidr *cidr, __u16 port,
			struct sl_prefix_run runs[SL_PREFIX_RUNS]);
void sl_prefixes_free(struct sl_prefixes *prefixes);

#endif
