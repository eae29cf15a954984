/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one reader of a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3), compiled for the
 * kernel and for user space: which server does it name? The message stands in a struct
 * sl_dns, from its byte 0 on; the name ends up in its text, reversed as names are, and its
 * hash is that of the same name in a DNS message.
 *
 * Only what lies before the end of the server's name is looked at, and that must be in
 * one TLS record: nothing behind it can change which name the server sees, since a hello
 * with two is refused by servers (RFC 8446, 4.2).
 */
#ifndef SLUICE_TLS_H
#define SLUICE_TLS_H

#include "sluice_dns.h"

#define SL_TLS_EXTENSIONS_MAX 64

enum { SL_TLS_HANDSHAKE = 22, SL_TLS_CLIENT_HELLO = 1, SL_TLS_SERVER_NAME = 0, SL_TLS_HOST_NAME = 0,
       SL_TLS_RECORD = 5, SL_TLS_HELLO = SL_TLS_RECORD + 4, SL_TLS_RANDOM = 34 };

enum sl_tls_verdict {
	SL_TLS_NAMED,		/* its name is in d->text; d->end: where it ends in the message */
	SL_TLS_NAMELESS,	/* no ClientHello, or one without a server's name */
	SL_TLS_SPLIT,		/* it goes on where the message ends */
	SL_TLS_ODD,		/* a name that names do not have here */
};

/* The cursor moves by n bytes that must be there, with `more` behind them. */
SL_INLINE bool sl_tls_skip(struct sl_dns *d, __u32 n, __u32 more)
{
	d->at += n;
	return d->at + more <= d->length;
}

/* One extension: 1 ends the walk. */
SL_DNS_STEP(sl_tls_extension_step)
{
	__u32 type, size;

	d->verdict = SL_TLS_NAMELESS;
	if (d->at >= d->lowest)		/* behind the last one */
		return 1;
	d->verdict = SL_TLS_SPLIT;
	if (d->at + 4 > d->length)
		return 1;
	type = sl_dns_u16(d, d->at);
	size = sl_dns_u16(d, d->at + 2);
	d->at += 4;
	if (type == SL_TLS_SERVER_NAME) {
		d->verdict = SL_TLS_NAMED;
		d->end = d->at + size;
		return 1;
	}
	d->at += size;
	return 0;
}

/* One byte of the server's name. */
SL_DNS_STEP(sl_tls_name_step)
{
	__u32 c, letter;

	if (!d->left)
		return 1;
	c = sl_dns_byte(d, d->at);
	letter = c == '.' ? c : sl_dns_letter(c);
	if (!letter || (c == '.' && !d->pointers))
		d->odd = 1;
	d->pointers = c != '.';		/* was the last byte a letter? */
	sl_dns_put(d, letter);
	d->left--;
	d->at++;
	return 0;
}

/* The extension at d->at, to d->end: a list of one host name. */
SL_INLINE int sl_tls_name(struct sl_dns *d)
{
	__u32 size;

	if (d->end > d->length)
		return SL_TLS_SPLIT;
	size = sl_dns_u16(d, d->at + 3);
	if (d->at + 5 + size != d->end || sl_dns_u16(d, d->at) != size + 3 ||
	    sl_dns_byte(d, d->at + 2) != SL_TLS_HOST_NAME || !size || size > SL_NAME_CHARACTERS)
		return SL_TLS_ODD;
	d->at += 5;
	d->left = size;
	d->characters = 0;
	d->odd = 0;
	d->pointers = 0;
	d->hash = d->seed;
	SL_DNS_LOOP(SL_NAME_CHARACTERS, sl_tls_name_step, d);
	d->state = SL_DNS_READ;
	return d->odd || !d->pointers ? SL_TLS_ODD : SL_TLS_NAMED;
}

/* From the record's header to the list of extensions: SL_TLS_NAMED: it is there, at d->at
 * and up to d->lowest. */
SL_INLINE int sl_tls_extensions(struct sl_dns *d)
{
	__u32 record;

	if (sl_dns_byte(d, 0) != SL_TLS_HANDSHAKE)
		return SL_TLS_NAMELESS;
	if (d->length < SL_TLS_HELLO)
		return SL_TLS_SPLIT;
	record = SL_TLS_RECORD + sl_dns_u16(d, 3);
	if (sl_dns_byte(d, 1) != 3 || sl_dns_byte(d, SL_TLS_RECORD) != SL_TLS_CLIENT_HELLO)
		return SL_TLS_NAMELESS;
	if (d->length > record)
		d->length = record;	/* what comes in another record is not looked at */
	d->at = SL_TLS_HELLO;
	if (!sl_tls_skip(d, SL_TLS_RANDOM, 1) ||
	    !sl_tls_skip(d, 1 + sl_dns_byte(d, d->at), 2) ||	/* session */
	    !sl_tls_skip(d, 2 + sl_dns_u16(d, d->at), 1) ||	/* cipher suites */
	    !sl_tls_skip(d, 1 + sl_dns_byte(d, d->at), 0))	/* compression */
		return SL_TLS_SPLIT;
	if (d->at == SL_TLS_HELLO + (sl_dns_byte(d, 6) << 16 | sl_dns_u16(d, 7)))
		return SL_TLS_NAMELESS;				/* no extensions at all */
	if (!sl_tls_skip(d, 2, 0))
		return SL_TLS_SPLIT;
	d->lowest = d->at + sl_dns_u16(d, d->at - 2);
	return SL_TLS_NAMED;
}

/* Reads d->length bytes of the message. enum sl_tls_verdict. */
SL_DNS_FUNCTION int sl_tls_hello(struct sl_dns *d)
{
	int verdict;

	if (!d || !d->length || d->length > SL_DNS_BYTES)
		return SL_TLS_SPLIT;
	verdict = sl_tls_extensions(d);
	if (verdict != SL_TLS_NAMED)
		return verdict;
	d->verdict = SL_TLS_SPLIT;
	SL_DNS_LOOP(SL_TLS_EXTENSIONS_MAX, sl_tls_extension_step, d);
	return d->verdict == SL_TLS_NAMED ? sl_tls_name(d) : (int)d->verdict;
}

SL_DNS_STEP(sl_tls_hash_step)
{
	if (d->at >= d->lowest)
		return 1;
	d->hash = (d->hash ^ sl_dns_byte(d, d->at)) * 0x9e3779b97f4a7c15ull;
	d->hash ^= d->hash >> 29;
	d->at++;
	return 0;
}

/* A keyed hash of the message's first n bytes, never 0. */
SL_DNS_FUNCTION __u32 sl_tls_hash(struct sl_dns *d, __u32 n)
{
	if (!d || n > d->length)
		return 0;
	d->at = 0;
	d->lowest = n;
	d->hash = d->seed;
	SL_DNS_LOOP(SL_DNS_BYTES, sl_tls_hash_step, d);
	return (__u32)(d->hash >> 32) | 1;
}

#endif
