/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* DNS messages of the forwarder's own making (RFC 1035, RFC 6891, RFC 8914). Pure. */
#ifndef SLUICE_FORWARD_MESSAGE_H
#define SLUICE_FORWARD_MESSAGE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define SL_DNS_WIRE_MAX 65535
#define SL_DNS_SMALL_MAX 1024	/* of a message without records */
#define SL_EDNS_SIZE 1232	/* what we say that we take, and the most that we send by UDP */

enum { SL_RCODE_NONE = 0, SL_RCODE_FORMERR = 1, SL_RCODE_SERVFAIL = 2, SL_RCODE_NXDOMAIN = 3,
       SL_RCODE_NOTIMP = 4, SL_RCODE_REFUSED = 5 };
/* Extended DNS errors (RFC 8914, section 4) */
enum { SL_EDE_NONE = -1, SL_EDE_OTHER = 0, SL_EDE_BLOCKED = 15, SL_EDE_UNREACHABLE = 22 };
enum { SL_TYPE_A = 1, SL_TYPE_CNAME = 5, SL_TYPE_SOA = 6, SL_TYPE_AAAA = 28, SL_TYPE_SVCB = 64,
       SL_TYPE_HTTPS = 65 };

/* One question, as a client asked it. */
struct sl_query {
	__u8 name[256];		/* wire format, in the client's letters */
	size_t name_bytes;
	__u16 id, type, udp_size;
	bool recursion, checking_disabled;
	bool edns;		/* it had an OPT record */
};

/* Reads a message that the gate has found to be one plain question. -EINVAL: it is none. */
int sl_query_read(const __u8 *message, size_t length, struct sl_query *query);

/* A message without records, but for the question and, to a query with EDNS, an OPT record
 * with the error (ede, SL_EDE_NONE; text may be NULL). The length of what is in out. */
size_t sl_reply_make(const struct sl_query *query, unsigned rcode, int ede, const char *text,
		     __u8 out[SL_DNS_SMALL_MAX]);

/* The answer to a message that is no question: its header alone. 0: it has none, or is
 * an answer itself. */
size_t sl_reply_malformed(const __u8 *message, size_t length, __u8 out[SL_DNS_SMALL_MAX]);

/* A message that asks for a name of wire format. Its length. */
size_t sl_question_make(const __u8 *name, size_t name_bytes, unsigned type,
			__u8 out[SL_DNS_SMALL_MAX]);

/* The same with an OPT record behind it. */
size_t sl_question_add_opt(__u8 message[SL_DNS_SMALL_MAX], size_t length);

/*
 * The parameters of an HTTPS or SVCB record (RFC 9460, section 2.2) without those that
 * strip names (enum sl_dns_strip): record data in, and out (as long at most). The new
 * length; 0: leave the record out: it cannot be read, or says that who does not
 * understand what is taken out may not use it (`mandatory`).
 */
size_t sl_svcb_strip(const __u8 *data, size_t length, unsigned strip, __u8 *out);

#endif
