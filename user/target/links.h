/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The network devices of the caller's network namespace, as they come and go:
 * rtnetlink(7), a dump and then the events of RTNLGRP_LINK. What is lost when
 * the receive buffer overflows is found again by another dump.
 *
 * A device found this way exists already: it may have sent before anyone heard
 * of it. What must not lose a frame attaches where the device is made.
 */
#ifndef SLUICE_TARGET_LINKS_H
#define SLUICE_TARGET_LINKS_H

#include <linux/types.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

struct sl_link {
	unsigned ifindex;
	char name[IFNAMSIZ];
	char kind[16];		/* `tun` (a tap too), `veth`, `bridge`...; empty: none told */
	unsigned master;	/* ifindex of its bridge or bond; 0: none */
	__u16 type;		/* ARPHRD_ of net/if_arp.h; a tap's is ETHER, a tun's NONE */
};

enum sl_link_change {
	SL_LINK_NEW,		/* made, moved into this namespace, or there at the start */
	SL_LINK_RENAMED,
	SL_LINK_MASTER,		/* its master is another */
	SL_LINK_AGAIN,		/* found by the dump after an overrun: the same number and
				 * name, but perhaps not the same device */
	SL_LINK_GONE,		/* deleted, or moved out of this namespace */
};

/* before: what was known; NULL for NEW. For GONE link is what was known. */
typedef void (*sl_link_handler)(void *context, enum sl_link_change change,
				const struct sl_link *link, const struct sl_link *before);

struct sl_links;

/*
 * Begins to listen; the devices that exist come with the first sl_links_read.
 * receive_buffer: bytes, 0 = 4 MiB. 0 or -errno; *out is owned by the caller.
 */
int sl_links_open(unsigned receive_buffer, sl_link_handler handler, void *context,
		  struct sl_links **out);
void sl_links_close(struct sl_links *links);

/* A descriptor to poll for POLLIN. */
int sl_links_fd(const struct sl_links *links);

/*
 * Takes what has come, calls back for each change, and returns when there is
 * nothing more or after a bounded number of messages (the descriptor then still
 * polls ready). 0, or -errno when the socket is of no more use.
 */
int sl_links_read(struct sl_links *links);

/* True between the start, or an overrun, and the end of the dump that follows. */
bool sl_links_catching_up(const struct sl_links *links);

/* How many times the receive buffer overflowed. */
unsigned long sl_links_overruns(const struct sl_links *links);

/* The known device of that number, or NULL. Valid until the next read. */
const struct sl_link *sl_links_find(const struct sl_links *links, unsigned ifindex);

/* Calls back, with SL_LINK_NEW, for each known device. */
void sl_links_each(const struct sl_links *links, sl_link_handler handler, void *context);

/* ---- patterns of names: fnmatch(3), `vnet*`, `tap[0-9]*` ---- */

/* Index of the first pattern that matches the name, or -1. */
int sl_link_pattern(const char *const *patterns, size_t n, const char *name);

/* Why a text is no pattern (static), or NULL. One that matches every name is
 * refused: it would take the host's own interfaces. */
const char *sl_link_pattern_wrong(const char *pattern);

/* ---- addresses and routes (addresses.c) ---- */

/*
 * A descriptor that polls ready when addresses or routes of the caller's
 * network namespace may have changed, so that @host, @gateway and @subnet mean
 * something else. Or -errno; close(2) it.
 */
int sl_addresses_open(void);

/* Takes what has come: 1 if something changed (or was lost), 0 if not, -errno. */
int sl_addresses_read(int fd);

#endif
