// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "domain.h"
#include "text.h"

/* Dotted quad, decimal, no leading zeros (some readers take 010 as 8). */
static bool parse_ipv4(const char *text, size_t len, __u8 addr[4])
{
	const char *end = text + len;

	for (int octet = 0; octet < 4; octet++) {
		unsigned value = 0;
		int digits = 0;

		while (text < end && *text >= '0' && *text <= '9' && digits < 4) {
			value = value * 10 + (unsigned)(*text++ - '0');
			digits++;
		}
		if (!digits || value > 255 || (digits > 1 && text[-digits] == '0'))
			return false;
		addr[octet] = (__u8)value;
		if (octet < 3 && (text == end || *text++ != '.'))
			return false;
	}
	return text == end;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Up to four hexadecimal digits; how many. */
static int parse_group(const char *text, const char *end, unsigned *value)
{
	int n = 0;

	for (*value = 0; n < 4 && text + n < end && hex_value(text[n]) >= 0; n++)
		*value = *value << 4 | (unsigned)hex_value(text[n]);
	return n;
}

/* Eight groups, or fewer and one `::` in the place of those that are not there. */
static bool parse_groups(const char *text, size_t len, __u8 addr[16])
{
	const char *end = text + len;
	int n = 0, gap = -1, digits;
	unsigned group;

	memset(addr, 0, 16);
	if (len >= 2 && text[0] == ':' && text[1] == ':') {
		gap = 0;
		text += 2;
	}
	while (text < end) {
		digits = parse_group(text, end, &group);
		if (!digits || n == 8)
			return false;
		addr[2 * n] = (__u8)(group >> 8);
		addr[2 * n++ + 1] = (__u8)group;
		text += digits;
		if (text == end)
			break;
		if (*text++ != ':' || text == end)
			return false;
		if (*text != ':')
			continue;
		if (gap >= 0)
			return false;
		gap = n;
		text++;
	}
	if (gap < 0 || n == 8)
		return gap < 0 && n == 8;
	memmove(addr + 16 - 2 * (n - gap), addr + 2 * gap, 2 * (size_t)(n - gap));
	memset(addr + 2 * gap, 0, 2 * (size_t)(8 - n));
	return true;
}

/* inet_pton takes four times as long; it reads what ends as IPv4. */
static bool parse_ipv6(const char *text, size_t len, __u8 addr[16])
{
	char copy[INET6_ADDRSTRLEN];

	if (!memchr(text, '.', len))
		return parse_groups(text, len, addr);

	if (len >= sizeof(copy) || memchr(text, 0, len))
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	return inet_pton(AF_INET6, copy, addr) == 1;
}

/* Clears the bits beyond len; true if one was set. */
static bool mask(struct sl_cidr *cidr)
{
	unsigned bytes = cidr->family == 4 ? 4 : 16;
	bool masked = false;

	if (cidr->len == bytes * 8)
		return false;
	for (unsigned i = cidr->len / 8; i < bytes; i++) {
		unsigned keep = cidr->len <= i * 8 ? 0 : cidr->len - i * 8;
		__u8 bits = keep >= 8 ? 0xff : (__u8)(0xff00 >> keep);

		if (cidr->addr[i] & ~bits)
			masked = true;
		cidr->addr[i] &= bits;
	}
	return masked;
}

int sl_cidr_parse(const char *text, size_t len, struct sl_cidr *cidr, bool *masked)
{
	const char *slash = memchr(text, '/', len);
	size_t n = slash ? (size_t)(slash - text) : len;
	struct sl_cidr result = {0};
	__u64 bits;
	bool had;

	if (parse_ipv4(text, n, result.addr))
		result.family = 4;
	else if (parse_ipv6(text, n, result.addr))
		result.family = 6;
	else
		return -EINVAL;
	bits = result.family == 4 ? 32 : 128;
	if (slash && !sl_text_number(slash + 1, len - n - 1, bits, &bits))
		return -ERANGE;
	result.len = (__u8)bits;
	had = mask(&result);
	*cidr = result;
	if (masked)
		*masked = had;
	return 0;
}

/* inet_ntop of IPv4 takes ten times as long. */
static char *put_ipv4(char *at, const __u8 addr[4])
{
	for (int i = 0; i < 4; i++) {
		if (i)
			*at++ = '.';
		at = sl_put_number(at, addr[i]);
	}
	return at;
}

char *sl_cidr_put(char *at, const struct sl_cidr *cidr)
{
	if (cidr->family == 4) {
		at = put_ipv4(at, cidr->addr);
	} else {
		if (!inet_ntop(AF_INET6, cidr->addr, at, SL_CIDR_TEXT))
			*at = 0;
		at += strlen(at);
	}
	if (cidr->len == (cidr->family == 4 ? 32 : 128))
		return at;
	*at++ = '/';
	return sl_put_number(at, cidr->len);
}

const char *sl_cidr_format(const struct sl_cidr *cidr, char buf[SL_CIDR_TEXT])
{
	sl_cidr_put(buf, cidr);
	return buf;
}

bool sl_cidr_within(const struct sl_cidr *a, const struct sl_cidr *b)
{
	unsigned bytes = b->len / 8, bits = b->len % 8;

	if (a->family != b->family || a->len < b->len)
		return false;
	if (memcmp(a->addr, b->addr, bytes))
		return false;
	return !bits || !((a->addr[bytes] ^ b->addr[bytes]) & (__u8)(0xff00 >> bits));
}

static const struct {
	const char *name;
	int number;
} protocols[] = {
	{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"icmpv6", 58}, {"sctp", 132},
	{"any", SL_PROTOCOL_ANY},
};

#define N_PROTOCOLS (sizeof(protocols) / sizeof(protocols[0]))

const char *sl_protocol_name(int protocol)
{
	for (size_t i = 0; i < N_PROTOCOLS; i++) {
		if (protocols[i].number == protocol)
			return protocols[i].name;
	}
	return NULL;
}

int sl_protocol_number(const char *word, size_t len, int *protocol)
{
	for (size_t i = 0; i < N_PROTOCOLS; i++) {
		if (sl_text_is(word, len, protocols[i].name)) {
			*protocol = protocols[i].number;
			return 0;
		}
	}
	return -EINVAL;
}

/* The text without leading zeros of its octets, if that makes it an address. */
static bool without_zeros(const char *text, size_t len, char *buf, size_t size)
{
	struct sl_cidr cidr;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		bool starts = !i || text[i - 1] == '.';

		while (starts && text[i] == '0' && i + 1 < len && text[i + 1] >= '0' &&
		       text[i + 1] <= '9')
			i++;
		if (n + 1 >= size)
			return false;
		buf[n++] = text[i];
	}
	buf[n] = 0;
	return n < len && !sl_cidr_parse(buf, n, &cidr, NULL);
}

static bool only(const char *text, size_t len, const char *accept)
{
	for (size_t i = 0; i < len; i++) {
		if (!strchr(accept, text[i]))
			return false;
	}
	return true;
}

/* ADDRESS:PORT of IPv4? */
static bool has_port(const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len);
	struct sl_cidr cidr;

	return colon && !sl_cidr_parse(text, (size_t)(colon - text), &cidr, NULL);
}

int sl_address_explain(const char *text, size_t len, const struct sl_pos *pos,
		       struct sl_diag *diag)
{
	const char *slash = memchr(text, '/', len), *zone = memchr(text, '%', len);
	size_t n = slash ? (size_t)(slash - text) : len;
	struct sl_cidr cidr;
	char fixed[40];

	if (zone && !sl_cidr_parse(text, (size_t)(zone - text), &cidr, NULL))
		return sl_error(diag, pos, "\"%.*s\": an address here has no zone; leave out "
				"\"%%\" and what follows", SL_Q(text, len));
	if (without_zeros(text, len, fixed, sizeof(fixed)))
		return sl_error(diag, pos, "\"%.*s\": a number with a leading zero is read as "
				"octal by some programs; write %s", SL_Q(text, len), fixed);
	if (!len)
		return sl_error(diag, pos, "an empty text where an address is wanted");
	if (has_port(text, len))
		return sl_error(diag, pos, "\"%.*s\": an address stands here without a port",
				SL_Q(text, len));
	if (only(text, len, "0123456789./"))
		return sl_error(diag, pos, "\"%.*s\" is not an IPv4 address: it wants four "
				"numbers from 0 to 255, as 192.0.2.1", SL_Q(text, n));
	if (memchr(text, ':', n))
		return sl_error(diag, pos, "\"%.*s\" is not an IPv6 address", SL_Q(text, n));
	return sl_error(diag, pos, "\"%.*s\" is not an address or CIDR, as 192.0.2.1 or "
			"2001:db8::/32", SL_Q(text, len));
}

bool sl_cidr_embedded_ipv4(const struct sl_cidr *cidr, struct sl_cidr *ipv4)
{
	static const struct sl_cidr mapped = {{[10] = 0xff, [11] = 0xff}, 6, 96};
	static const struct sl_cidr nat64 = {{0x00, 0x64, 0xff, 0x9b}, 6, 96};

	if (!sl_cidr_within(cidr, &mapped) && !sl_cidr_within(cidr, &nat64))
		return false;
	*ipv4 = (struct sl_cidr){.family = 4, .len = (__u8)(cidr->len - 96)};
	memcpy(ipv4->addr, cidr->addr + 12, 4);
	return true;
}

int sl_cidr_read(const char *text, size_t len, const struct sl_pos *pos,
		 struct sl_cidr *cidr, struct sl_diag *diag)
{
	struct sl_cidr result, ipv4;
	char buf[SL_CIDR_TEXT];
	bool masked;
	int err = sl_cidr_parse(text, len, &result, &masked);

	if (err == -ERANGE)
		return sl_error(diag, pos, "\"%.*s\": the prefix length of an IPv%c address is a "
				"number from 0 to %s", SL_Q(text, len),
				memchr(text, ':', len) ? '6' : '4',
				memchr(text, ':', len) ? "128" : "32");
	if (err)
		return sl_address_explain(text, len, pos, diag);
	if (sl_cidr_embedded_ipv4(&result, &ipv4))
		return sl_error(diag, pos, "\"%.*s\" is an IPv4 address inside an IPv6 address and "
				"is judged as IPv4; write %s", SL_Q(text, len),
				sl_cidr_format(&ipv4, buf));
	if (masked)
		sl_warn(diag, pos, "\"%.*s\" has bits set beyond its prefix length; taken as %s",
			SL_Q(text, len), sl_cidr_format(&result, buf));
	*cidr = result;
	return 0;
}

int sl_member_read(const char *text, size_t len, const struct sl_pos *pos,
		   struct sl_cidr *cidr, struct sl_diag *diag)
{
	size_t star = len > 2 && text[0] == '*' && text[1] == '.' ? 2 : 0;

	if (!sl_text_is(text, len, "any") && !sl_domain_fault(text + star, len - star) &&
	    !sl_domain_ends_in_number(text + star, len - star))
		return sl_error(diag, pos, "\"%.*s\" is a name, and a set holds addresses: it is "
				"known when the policy is loaded, a name's addresses are not; "
				"write the name in the rule itself", SL_Q(text, len));
	return sl_cidr_read(text, len, pos, cidr, diag);
}

int sl_address_read(const char *text, size_t len, const struct sl_pos *pos,
		    struct sl_cidr *cidr, struct sl_diag *diag)
{
	if (memchr(text, '/', len))
		return sl_error(diag, pos, "\"%.*s\": an address without a prefix length is wanted "
				"here", SL_Q(text, len));
	return sl_cidr_read(text, len, pos, cidr, diag);
}
