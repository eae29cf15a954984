// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <string.h>

#include "message.h"

enum { HEADER = 12, CLASS_IN = 1, TYPE_OPT = 41, OPTION_EDE = 15 };
enum { QR = 0x8000, OPCODE = 0x7800, RD = 0x0100, RA = 0x0080, CD = 0x0010 };

static unsigned get16(const __u8 *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static __u8 *put16(__u8 *at, unsigned value)
{
	at[0] = (__u8)(value >> 8);
	at[1] = (__u8)value;
	return at + 2;
}

/* ---- questions ---- */

/* The name at a message's cursor, without pointers. -EINVAL: it is none. */
static int read_name(const __u8 *m, size_t length, size_t *cursor, struct sl_query *q)
{
	size_t at = *cursor, label;

	do {
		if (at >= length)
			return -EINVAL;
		label = m[at];
		if (label > 63 || at + 1 + label > length || at + 1 + label - *cursor > 255)
			return -EINVAL;
		at += 1 + label;
	} while (label);
	q->name_bytes = at - *cursor;
	memcpy(q->name, m + *cursor, q->name_bytes);
	*cursor = at;
	return 0;
}

int sl_query_read(const __u8 *m, size_t length, struct sl_query *query)
{
	struct sl_query q = {};
	size_t at = HEADER;
	unsigned flags;

	if (length < HEADER || get16(m + 4) != 1 || (get16(m + 2) & (QR | OPCODE)) ||
	    read_name(m, length, &at, &q) || at + 4 > length || get16(m + at + 2) != CLASS_IN)
		return -EINVAL;
	flags = get16(m + 2);
	q.id = (__u16)get16(m);
	q.recursion = flags & RD;
	q.checking_disabled = flags & CD;
	q.type = (__u16)get16(m + at);
	at += 4;
	q.udp_size = 512;
	if (get16(m + 10)) {
		if (at + 11 > length || m[at] || get16(m + at + 1) != TYPE_OPT)
			return -EINVAL;
		q.edns = true;
		q.udp_size = (__u16)get16(m + at + 3);
		q.udp_size = q.udp_size < 512 ? 512 : q.udp_size;
		q.udp_size = q.udp_size > SL_EDNS_SIZE ? SL_EDNS_SIZE : q.udp_size;
	}
	*query = q;
	return 0;
}

size_t sl_question_make(const __u8 *name, size_t name_bytes, unsigned type,
			__u8 out[SL_DNS_SMALL_MAX])
{
	__u8 *at = out + HEADER;

	memset(out, 0, HEADER);
	put16(out + 2, RD);
	put16(out + 4, 1);
	memcpy(at, name, name_bytes);
	at = put16(at + name_bytes, type);
	return put16(at, CLASS_IN) - out;
}

/* ---- replies ---- */

/* An OPT record, with an extended error in it. */
static __u8 *put_opt(__u8 *at, int ede, const char *text)
{
	size_t n = text ? strnlen(text, 255) : 0;

	*at++ = 0;
	at = put16(at, TYPE_OPT);
	at = put16(at, SL_EDNS_SIZE);
	memset(at, 0, 4);	/* extended RCODE, version, flags */
	at = put16(at + 4, ede < 0 ? 0 : (unsigned)(6 + n));
	if (ede < 0)
		return at;
	at = put16(at, OPTION_EDE);
	at = put16(at, (unsigned)(2 + n));
	at = put16(at, (unsigned)ede);
	if (n)
		memcpy(at, text, n);
	return at + n;
}

size_t sl_question_add_opt(__u8 message[SL_DNS_SMALL_MAX], size_t length)
{
	put16(message + 10, 1);
	return put_opt(message + length, SL_EDE_NONE, NULL) - message;
}

size_t sl_reply_make(const struct sl_query *q, unsigned rcode, int ede, const char *text,
		     __u8 out[SL_DNS_SMALL_MAX])
{
	__u8 *at = out + HEADER;

	memset(out, 0, HEADER);
	put16(out, q->id);
	put16(out + 2, QR | RA | rcode | (q->recursion ? RD : 0) | (q->checking_disabled ? CD : 0));
	put16(out + 4, 1);
	memcpy(at, q->name, q->name_bytes);
	at = put16(at + q->name_bytes, q->type);
	at = put16(at, CLASS_IN);
	if (q->edns) {
		put16(out + 10, 1);
		at = put_opt(at, ede, text);
	}
	return at - out;
}

size_t sl_reply_malformed(const __u8 *m, size_t length, __u8 out[SL_DNS_SMALL_MAX])
{
	if (length < HEADER || (get16(m + 2) & QR))
		return 0;
	memset(out, 0, HEADER);
	memcpy(out, m, 2);
	put16(out + 2, QR | (get16(m + 2) & (OPCODE | RD)) | RA | SL_RCODE_FORMERR);
	return HEADER;
}
