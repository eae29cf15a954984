// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* HOST[:PORTS][/PROTO]: from text to a match. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "parser.h"
#include "text.h"

/* Up to one of two bytes. */
static size_t span_until(const char *text, size_t len, const char stop[2])
{
	size_t n = 0;

	while (n < len && text[n] != stop[0] && text[n] != stop[1])
		n++;
	return n;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
	return c <= ' ' && (c == ' ' || c == '\t' || c == '\r' || c == '\n');
}

static bool is_ipv6(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
}

static bool has_colons(const char *text, size_t len)
{
	const char *first = memchr(text, ':', len);

	return first && memchr(first + 1, ':', len - (size_t)(first + 1 - text));
}

/* Length of the IPv6 address that text begins with, judged by its colons. */
static size_t ipv6_span(const char *text, size_t len)
{
	int colons = 0;
	size_t n;

	if (!has_colons(text, len))
		return 0;
	for (n = 0; n < len && is_ipv6(text[n]); n++)
		colons += text[n] == ':';
	if (n < len && text[n] != '/' && text[n] != '%')
		return 0;
	return colons >= 2 ? n + (n < len && text[n] == '%' ? span_until(text + n, len - n, "//")
							    : 0) : 0;
}

/* The same for IPv4; also for what can only be meant as one. */
static size_t ipv4_span(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && (is_digit(text[n]) || text[n] == '.'))
		n++;
	return n == len || text[n] == ':' || text[n] == '/' ? n : 0;
}

static int split_bracketed(const char *text, size_t len, const struct sl_pos *pos,
			   struct sl_parts *parts, struct sl_diag *diag)
{
	const char *close = memchr(text, ']', len);
	size_t inside = close ? (size_t)(close - text) - 1 : 0;

	if (!close)
		return sl_error(diag, pos, "\"%.*s\": the bracket is not closed", SL_Q(text, len));
	if (!memchr(text + 1, ':', inside))
		return sl_error(diag, pos, "\"%.*s\": brackets are for IPv6 addresses; write "
				"%.*s without them", SL_Q(text, len), SL_Q(text + 1, inside));
	parts->host = text + 1;
	parts->host_len = inside;
	parts->bracketed = true;
	if (inside + 3 < len && close[1] == '/' && is_digit(close[2]))
		return sl_error(diag, pos, "\"%.*s\": the prefix length stands inside the "
				"brackets, as [2001:db8::/32]:443", SL_Q(text, len));
	return 0;
}

/* Where HOST ends; ipv6: the length of its IPv6 address. */
static size_t host_span(const char *text, size_t len, size_t ipv6, bool prefixes)
{
	size_t n = ipv6;

	if (!n)
		n = ipv4_span(text, len);
	if (!n)
		return span_until(text, len, ":/");
	if (prefixes && n + 1 < len && text[n] == '/' && is_digit(text[n + 1]))
		n += 1 + span_until(text + n + 1, len - n - 1, ":/");
	return n;
}

static int split_rest(const char *text, size_t len, const char *rest, size_t left,
		      const struct sl_pos *pos, struct sl_parts *parts, struct sl_diag *diag)
{
	if (left && *rest == ':') {
		parts->ports = rest + 1;
		parts->ports_len = span_until(rest + 1, left - 1, "//");
		left -= parts->ports_len + 1;
		rest += parts->ports_len + 1;
	}
	if (left && *rest == '/') {
		parts->protocol = rest + 1;
		parts->protocol_len = left - 1;
		if (!memchr(rest + 1, ':', left - 1))
			return 0;
		if (is_digit(rest[1]))
			return sl_error(diag, pos, "\"%.*s\": a prefix length does not go here",
					SL_Q(text, len));
		return sl_error(diag, pos, "\"%.*s\": ports come before the protocol, as "
				"192.0.2.1:443/tcp", SL_Q(text, len));
	}
	if (left)
		return sl_error(diag, pos, "\"%.*s\" does not read as HOST:PORTS/PROTO",
				SL_Q(text, len));
	return 0;
}

static bool is_url(const char *text, size_t len)
{
	const char *end = text + len, *at = text;

	for (; (at = memchr(at, ':', (size_t)(end - at))); at++)
		if (end - at >= 3 && at[1] == '/' && at[2] == '/')
			return true;
	return false;
}

static bool has_space(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (is_space(text[i]))
			return true;
	return false;
}

int sl_parts_split(const char *text, size_t len, bool prefixes, const struct sl_pos *pos,
		   struct sl_parts *parts, struct sl_diag *diag)
{
	size_t used, ipv6;

	memset(parts, 0, sizeof(*parts));
	if (!len)
		return sl_error(diag, pos, "an empty text; it wants HOST:PORTS/PROTO, as "
				"192.0.2.1:443/tcp");
	if (is_url(text, len))
		return sl_error(diag, pos, "\"%.*s\" is a URL; write host and port alone, as "
				"example.com:443", SL_Q(text, len));
	if (has_space(text, len))
		return sl_error(diag, pos, "\"%.*s\" has a space in it; several hosts are written "
				"as a list", SL_Q(text, len));
	if (text[0] == '[') {
		if (split_bracketed(text, len, pos, parts, diag))
			return -EINVAL;
		used = parts->host_len + 2;
	} else {
		parts->host = text;
		ipv6 = ipv6_span(text, len);
		parts->host_len = used = host_span(text, len, ipv6, prefixes);
		if (ipv6 && used < len && text[used] == ':')
			return sl_error(diag, pos, "\"%.*s\": an IPv6 address with ports stands in "
					"brackets; write [%.*s]%.*s", SL_Q(text, len),
					SL_Q(text, used), SL_Q(text + used, len - used));
	}
	return split_rest(text, len, text + used, len - used, pos, parts, diag);
}

static int port_parse(const char *text, size_t len, __u16 *port)
{
	__u64 number;

	if (!sl_text_number(text, len, 65535, &number) || !number)
		return -EINVAL;
	*port = (__u16)number;
	return 0;
}

int sl_port_range_parse(const char *text, size_t len, const struct sl_pos *pos,
			struct sl_port_range *range, struct sl_diag *diag)
{
	const char *dash = memchr(text, '-', len);
	size_t low_len = dash ? (size_t)(dash - text) : len;
	struct sl_port_range result;

	if (port_parse(text, low_len, &result.low) ||
	    (dash && port_parse(dash + 1, len - low_len - 1, &result.high)))
		return sl_error(diag, pos, "\"%.*s\" is not a port (1 to 65535) or a range of "
				"ports, as 8000-8100", SL_Q(text, len));
	if (!dash)
		result.high = result.low;
	if (result.low > result.high)
		return sl_error(diag, pos, "\"%.*s\": the range is reversed; write %u-%u",
				SL_Q(text, len), result.high, result.low);
	*range = result;
	return 0;
}

static int ports_parse(const char *text, size_t len, const struct sl_pos *pos,
		       struct sl_match *match, struct sl_diag *diag)
{
	const char *end = text + len;

	for (;;) {
		struct sl_port_range *range = SL_ADD(match->ports, match->n_ports);
		size_t n = span_until(text, (size_t)(end - text), ",,");

		if (!range)
			return -ENOMEM;
		if (sl_port_range_parse(text, n, pos, range, diag))
			return -EINVAL;
		if (text + n == end)
			return 0;
		text += n + 1;
	}
}

static int protocol_parse(const char *text, size_t len, const struct sl_pos *pos,
			  struct sl_match *match, struct sl_diag *diag)
{
	static const char *const words[] = {"tcp", "udp", "icmp", "icmpv6", "sctp", "any", NULL};
	int *protocol = SL_ADD(match->protocols, match->n_protocols);
	const char *nearest;
	__u64 number;

	if (!protocol)
		return -ENOMEM;
	if (!sl_protocol_number(text, len, protocol))
		return 0;
	if (sl_text_number(text, len, 255, &number))
		return sl_error(diag, pos, "\"/%.*s\": a protocol is a word here; a number is "
				"written {to: HOST, protocol: %.*s}", SL_Q(text, len),
				SL_Q(text, len));
	nearest = sl_nearest(text, len, words);
	return sl_error(diag, pos, "\"/%.*s\": a protocol is one of tcp, udp, icmp, icmpv6, sctp, "
			"any%s%s%s", SL_Q(text, len), nearest ? "; did you mean \"" : "",
			nearest ? nearest : "", nearest ? "\"?" : "");
}

int sl_shorthand_parse(const char *text, size_t len, const struct sl_pos *pos,
		       struct sl_match *match, struct sl_diag *diag)
{
	struct sl_parts parts;
	struct sl_host *host;
	int err = sl_parts_split(text, len, true, pos, &parts, diag);

	if (err)
		return err;
	host = SL_ADD(match->hosts, match->n_hosts);
	if (!host)
		return -ENOMEM;
	err = sl_host_parse(parts.host, parts.host_len, pos, host, diag);
	if (!err && parts.ports)
		err = ports_parse(parts.ports, parts.ports_len, pos, match, diag);
	if (!err && parts.protocol)
		err = protocol_parse(parts.protocol, parts.protocol_len, pos, match, diag);
	return err ? err : sl_match_check(match, pos, diag);
}

int sl_match_parse(const char *text, struct sl_pos pos, struct sl_match *match,
		   struct sl_diag *diag)
{
	struct sl_match result = {.pos = pos, .icmp_code = -1};
	int err = sl_shorthand_parse(text, strlen(text), &pos, &result, diag);

	if (err) {
		sl_match_clear(&result);
		return err;
	}
	*match = result;
	return 0;
}

bool sl_protocol_has_ports(int protocol)
{
	return protocol == 6 || protocol == 17 || protocol == 132;
}

static const char *protocol_text(int protocol, char *buf, size_t size)
{
	if (sl_protocol_name(protocol))
		return sl_protocol_name(protocol);
	snprintf(buf, size, "protocol %d", protocol);
	return buf;
}

int sl_match_check(const struct sl_match *match, const struct sl_pos *pos, struct sl_diag *diag)
{
	char buf[32];

	if (match->has_icmp && !match->n_protocols)
		return sl_error(diag, pos, "\"icmp\" stands beside \"protocol: icmp\" or "
				"\"protocol: icmpv6\"; there is no \"protocol\"");
	for (size_t i = 0; i < match->n_protocols; i++) {
		int protocol = match->protocols[i];

		if (match->n_ports && !sl_protocol_has_ports(protocol))
			return sl_error(diag, pos, "ports go with tcp, udp and sctp, not with %s",
					protocol_text(protocol, buf, sizeof(buf)));
		if (match->has_icmp && protocol != 1 && protocol != 58)
			return sl_error(diag, pos, "an icmp type goes with icmp and icmpv6, not "
					"with %s", protocol_text(protocol, buf, sizeof(buf)));
	}
	return 0;
}
