/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The attributes of a protocol's element, by kind, and their values. */
#ifndef SLUICE_CONVERT_NWFILTER_VALUE_H
#define SLUICE_CONVERT_NWFILTER_VALUE_H

#include "nwfilter_internal.h"

/* The destination's stand SIDE behind the source's; an end behind its start. */
enum {
	NW_SRC,
	NW_SRC_MASK,
	NW_SRC_FROM,
	NW_SRC_TO,
	NW_SRC_PORT,
	NW_SRC_PORT_END,
	NW_DST,
	NW_DST_MASK,
	NW_DST_FROM,
	NW_DST_TO,
	NW_DST_PORT,
	NW_DST_PORT_END,
	NW_TYPE,
	NW_CODE,
	NW_STATE,
	NW_COMMENT,
	NW_MATCH,
	NW_PROTOCOLID,
	NW_VALUES,
	NW_SIDE = NW_DST - NW_SRC,
};

extern const char *const nw_value_names[]; /* ends in NULL */

struct nw_protocol {
	const char *name;
	__u8 family;	 /* 0: a rule of the link layer */
	short number;	 /* -1: every one */
	unsigned frames; /* of the link layer */
};

/* A rule in the making. */
struct nw_maker {
	struct nw_rule *rule;
	const char *name; /* of the element */
	const struct nw_protocol *protocol;
	const char *values[NW_VALUES]; /* NULL: not given */
	struct sl_diag *diag;
};

/* Each returns 0, or -EINVAL with an error that quotes the attribute. */
int nw_wrong_value(const struct nw_maker *m, int which, const char *want);
int nw_read_number(const struct nw_maker *m, int which, long most, long *out);
/* start and what stands behind it; *ports is untouched where neither is given. */
int nw_read_ports(const struct nw_maker *m, int start, struct nw_range *ports);
int nw_read_icmp(const struct nw_maker *m, struct nw_box *box);
/* The addresses of a side (0 or NW_SIDE): of every form, into box->low and high. */
int nw_read_addresses(const struct nw_maker *m, int side, struct nw_box *box);
/* 0: no attribute. */
int nw_read_states(const struct nw_maker *m, unsigned *states);

#endif
