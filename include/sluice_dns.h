/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one reader of DNS messages (RFC 1035, RFC 6891), compiled for the kernel and for
 * user space alike: what docs/names.md says of questions and answers. A message is
 * copied into a struct sl_dns first, so nothing changes under the reader, and all its
 * state stands there (the kernel's verifier follows memory better than registers).
 *
 * Whoever includes this defines first
 *
 *	SL_DNS_LOOP(n, step, d)		calls step(i, d) for i < n until it returns 1
 *	SL_DNS_FUNCTION, SL_DNS_STEP	how functions and steps are declared
 *
 * Bounds: every index into the message or the text is masked, and checked besides.
 */
#ifndef SLUICE_DNS_H
#define SLUICE_DNS_H

#include "sluice_table.h"

#define SL_DNS_BYTES 4096		/* of a message; a power of two */
#define SL_DNS_RECORDS_MAX 128
#define SL_DNS_ADDRESSES_MAX 64
#define SL_DNS_ALIASES_MAX 16
#define SL_DNS_OPT_BYTES 64
#define SL_DNS_STEPS 320		/* of one name: 253 characters, labels, pointers */

/* A name's text grows backwards from here: character i stands at SL_DNS_LAST - i, so
 * the text ends up reversed, as patterns are (struct sl_pattern_key). */
#define SL_DNS_TEXT 1024		/* a power of two; room for a key behind the text */
#define SL_DNS_LAST 511

enum { SL_DNS_HEADER = 12, SL_DNS_A = 1, SL_DNS_CNAME = 5, SL_DNS_AAAA = 28, SL_DNS_OPT = 41,
       SL_DNS_IN = 1 };
/* flags and counts of the header, as 16-bit numbers */
enum { SL_DNS_QR = 0x8000, SL_DNS_OPCODE = 0x7800, SL_DNS_TC = 0x0200, SL_DNS_RCODE = 0x000f };

enum sl_dns_verdict {
	SL_DNS_GOOD,
	SL_DNS_EMPTY,		/* an answer that passes and teaches nothing */
	SL_DNS_BAD,		/* not of the shape that it must have */
};

/* An address that an answer gives to the question's name. */
struct sl_dns_address {
	__u8 bytes[16];		/* network byte order; IPv4: the first 4 */
	__u32 family;		/* 4 or 6 */
	__u32 ttl_s;
};

struct sl_dns {
	__u32 busy, place;	/* the includer's */
	__u32 length;		/* of the message */
	__u32 at;		/* cursor */

	/* of the name that was read last */
	__u32 left;		/* of its current label */
	__u32 characters;
	__u32 end;		/* where it ends in the message */
	__u32 lowest;		/* a pointer must point before this */
	__u32 pointers;		/* allowed? */
	__u32 state;		/* enum sl_dns_name_state */
	__u32 odd;		/* a byte that names do not have here */
	__u64 hash;		/* keyed, of the lower-case text */

	__u64 seed;
	__u64 question;		/* hash of the question's name */
	__u32 type;		/* of the question */
	__u32 id;

	/* of the walk over the records */
	__u64 current;		/* hash of the name that an address must belong to */
	__u32 records, record;	/* of the answer section; the one that is read */
	__u32 section;		/* where it begins */
	__u32 verdict;		/* enum sl_dns_verdict */
	__u32 n_aliases, n_addresses;
	__u32 over;		/* addresses beyond the bound */
	__u32 reserved;
	__u32 aliases[SL_DNS_ALIASES_MAX]; /* where the CNAMEs' targets begin */
	struct sl_dns_address addresses[SL_DNS_ADDRESSES_MAX];

	__u8 text[SL_DNS_TEXT];
	__u8 message[SL_DNS_BYTES + 16];
};

enum sl_dns_name_state { SL_DNS_READING, SL_DNS_READ, SL_DNS_FAULT };

SL_INLINE __u32 sl_dns_byte(const struct sl_dns *d, __u32 at)
{
	SL_BARRIER(at);
	return d->message[at & (SL_DNS_BYTES - 1)];
}

SL_INLINE __u32 sl_dns_u16(const struct sl_dns *d, __u32 at)
{
	return sl_dns_byte(d, at) << 8 | sl_dns_byte(d, at + 1);
}

SL_INLINE void sl_dns_put(struct sl_dns *d, __u32 c)
{
	__u32 at = SL_DNS_LAST - d->characters;

	SL_BARRIER(at);
	d->text[at & (SL_DNS_LAST)] = (__u8)c;
	d->characters++;
	d->hash = (d->hash ^ c) * 0x9e3779b97f4a7c15ull;
	d->hash ^= d->hash >> 29;
}

/* Lower-case, or 0 for a byte that a name may not have. */
SL_INLINE __u32 sl_dns_letter(__u32 c)
{
	if (c >= 'A' && c <= 'Z')
		return c | 0x20;
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
		return c;
	return 0;
}

/* At the beginning of a label: its length, the end, or a pointer. */
SL_INLINE int sl_dns_label(struct sl_dns *d, __u32 c)
{
	__u32 target;

	if (!c) {
		if (!d->end)
			d->end = d->at + 1;
		d->state = SL_DNS_READ;
		return 1;
	}
	if ((c & 0xc0) == 0xc0) {
		target = (c & 0x3f) << 8 | sl_dns_byte(d, d->at + 1);
		if (!d->pointers || d->at + 1 >= d->length || target >= d->lowest) {
			d->state = SL_DNS_FAULT;
			return 1;
		}
		if (!d->end)
			d->end = d->at + 2;
		d->at = d->lowest = target;	/* always backwards: it ends */
		return 0;
	}
	if (c > 63) {
		d->state = SL_DNS_FAULT;
		return 1;
	}
	if (d->characters)
		sl_dns_put(d, '.');
	d->left = c;
	d->at++;
	return 0;
}

SL_DNS_STEP(sl_dns_name_step)
{
	__u32 c, letter;

	if (d->at >= d->length || d->characters > SL_NAME_CHARACTERS) {
		d->state = SL_DNS_FAULT;
		return 1;
	}
	c = sl_dns_byte(d, d->at);
	if (!d->left)
		return sl_dns_label(d, c);
	letter = sl_dns_letter(c);
	if (!letter)
		d->odd = 1;
	sl_dns_put(d, letter);
	d->left--;
	d->at++;
	return 0;
}

/* Reads the name at d->at into text, hash and end. SL_DNS_READ, or a fault. */
SL_DNS_FUNCTION int sl_dns_name(struct sl_dns *d, __u32 pointers)
{
	if (!d)
		return SL_DNS_FAULT;
	d->left = 0;
	d->characters = 0;
	d->end = 0;
	d->lowest = d->at;
	d->pointers = pointers;
	d->odd = 0;
	d->hash = d->seed;
	d->state = SL_DNS_READING;
	SL_DNS_LOOP(SL_DNS_STEPS, sl_dns_name_step, d);
	if (d->state != SL_DNS_READ || d->characters > SL_NAME_CHARACTERS)
		return SL_DNS_FAULT;
	return SL_DNS_READ;
}

/* Header and the one question, of a message or an answer: what both share. */
SL_INLINE int sl_dns_read_question(struct sl_dns *d)
{
	if (d->length < SL_DNS_HEADER + 5 || d->length > SL_DNS_BYTES || sl_dns_u16(d, 4) != 1)
		return SL_DNS_BAD;
	d->id = sl_dns_u16(d, 0);
	d->at = SL_DNS_HEADER;
	if (sl_dns_name(d, 0) != SL_DNS_READ || d->end + 4 > d->length)
		return SL_DNS_BAD;
	d->question = d->hash;
	d->type = sl_dns_u16(d, d->end);	/* of an odd name too: for the event */
	if (d->odd || sl_dns_u16(d, d->end + 2) != SL_DNS_IN)
		return SL_DNS_BAD;
	return SL_DNS_GOOD;
}

/* A question that may leave, as to its shape. Its name is then in d->text. */
SL_DNS_FUNCTION int sl_dns_question(struct sl_dns *d)
{
	__u32 flags, at, options;

	if (!d)
		return SL_DNS_BAD;
	flags = sl_dns_u16(d, 2);
	if ((flags & (SL_DNS_QR | SL_DNS_OPCODE | SL_DNS_TC)) || sl_dns_u16(d, 6) ||
	    sl_dns_u16(d, 8) || sl_dns_u16(d, 10) > 1 || sl_dns_read_question(d) != SL_DNS_GOOD)
		return SL_DNS_BAD;
	at = d->end + 4;
	if (!sl_dns_u16(d, 10))
		return at == d->length ? SL_DNS_GOOD : SL_DNS_BAD;
	options = sl_dns_u16(d, at + 9);
	if (at + 11 > d->length || sl_dns_byte(d, at) || sl_dns_u16(d, at + 1) != SL_DNS_OPT ||
	    options > SL_DNS_OPT_BYTES || at + 11 + options != d->length)
		return SL_DNS_BAD;
	return SL_DNS_GOOD;
}

/* The name that a CNAME record at `at` makes the current one. */
SL_INLINE int sl_dns_alias(struct sl_dns *d, __u32 at, __u32 size)
{
	__u32 n = d->n_aliases;

	if (n >= SL_DNS_ALIASES_MAX)
		return SL_DNS_BAD;
	d->at = at;
	if (sl_dns_name(d, 1) != SL_DNS_READ || d->end != at + size)
		return SL_DNS_BAD;
	n = d->n_aliases;
	SL_BARRIER(n);
	d->aliases[n & (SL_DNS_ALIASES_MAX - 1)] = at;
	d->n_aliases = n + 1;
	d->current = d->odd ? 0 : d->hash;
	return SL_DNS_GOOD;
}

SL_INLINE void sl_dns_take(struct sl_dns *d, __u32 family, __u32 at, __u32 ttl)
{
	__u32 n = d->n_addresses;
	struct sl_dns_address *to;

	if (n >= SL_DNS_ADDRESSES_MAX) {
		d->over++;
		return;
	}
	d->n_addresses = n + 1;
	SL_BARRIER(n);
	to = &d->addresses[n & (SL_DNS_ADDRESSES_MAX - 1)];
	SL_BARRIER(at);
	__builtin_memcpy(to->bytes, &d->message[at & (SL_DNS_BYTES - 1)], sizeof(to->bytes));
	to->family = family;
	to->ttl_s = ttl;
}

/* One record of the answer section. 1 ends the walk. */
SL_DNS_STEP(sl_dns_record_step)
{
	__u32 at, type, class, ttl, size;
	__u64 owner;

	if (d->record >= d->records)
		return 1;
	d->record++;
	d->verdict = SL_DNS_BAD;
	if (sl_dns_name(d, 1) != SL_DNS_READ)
		return 1;
	owner = d->odd ? 0 : d->hash;
	at = d->end;
	if (at + 10 > d->length)
		return 1;
	type = sl_dns_u16(d, at);
	class = sl_dns_u16(d, at + 2);
	ttl = sl_dns_u16(d, at + 4) << 16 | sl_dns_u16(d, at + 6);
	size = sl_dns_u16(d, at + 8);
	at += 10;
	if (at + size > d->length)
		return 1;
	d->verdict = SL_DNS_GOOD;
	/* An odd name (0) is equal to none, itself included: its text was not kept. */
	if (class == SL_DNS_IN && owner && owner == d->current) {
		if (type == SL_DNS_CNAME)
			d->verdict = sl_dns_alias(d, at, size);
		else if (type == SL_DNS_A && size == 4)
			sl_dns_take(d, 4, at, ttl);
		else if (type == SL_DNS_AAAA && size == 16)
			sl_dns_take(d, 6, at, ttl);
	}
	d->at = at + size;
	return d->verdict != SL_DNS_GOOD;
}

/* An answer, first half: its shape and question (question, type, id). Its name is in
 * d->text until the second half. SL_DNS_EMPTY: it teaches nothing. */
SL_DNS_FUNCTION int sl_dns_answer(struct sl_dns *d)
{
	__u32 flags;

	if (!d)
		return SL_DNS_BAD;
	flags = sl_dns_u16(d, 2);
	if (!(flags & SL_DNS_QR) || (flags & SL_DNS_OPCODE) ||
	    sl_dns_read_question(d) != SL_DNS_GOOD)
		return SL_DNS_BAD;
	d->records = sl_dns_u16(d, 6);
	if ((flags & SL_DNS_RCODE) || !d->records)
		return SL_DNS_EMPTY;
	d->section = d->end + 4;
	return d->records > SL_DNS_RECORDS_MAX && !(flags & SL_DNS_TC) ? SL_DNS_BAD : SL_DNS_GOOD;
}

/* Second half: walks the answer section. The addresses that it gives to the question's
 * name are then in d->addresses; none of them counts if the answer is bad anywhere. One that
 * says that it is truncated (RFC 2181, 9) is good up to where it ends: some clients take what
 * is there, and the others ask again by TCP. */
SL_DNS_FUNCTION int sl_dns_records(struct sl_dns *d)
{
	if (!d)
		return SL_DNS_BAD;
	d->at = d->section;
	d->current = d->question;
	d->record = 0;
	d->n_aliases = 0;
	d->n_addresses = 0;
	d->over = 0;
	d->verdict = SL_DNS_GOOD;
	SL_DNS_LOOP(SL_DNS_RECORDS_MAX, sl_dns_record_step, d);
	return sl_dns_u16(d, 2) & SL_DNS_TC ? SL_DNS_GOOD : d->verdict;
}

/* The name at `at`, once more, as text and hash: of an alias, or (SL_DNS_HEADER) of the
 * question. */
SL_DNS_FUNCTION int sl_dns_read_again(struct sl_dns *d, __u32 at)
{
	if (!d)
		return SL_DNS_FAULT;
	d->at = at;
	return sl_dns_name(d, 1);
}

#endif
