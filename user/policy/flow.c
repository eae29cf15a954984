// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One flow, for `tests` and `explain`: ADDRESS[:PORT][/PROTO], or a name for ADDRESS. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "domain.h"
#include "parser.h"
#include "text.h"

#define ICMP 1
#define ICMPV6 58
#define ICMP_ECHO 8	/* RFC 792 */
#define ICMPV6_ECHO 128	/* RFC 4443 */

int sl_flow_address(const char *text, size_t len, const struct sl_pos *pos,
		    struct sl_cidr *address, struct sl_diag *diag)
{
	if (memchr(text, '/', len))
		return sl_error(diag, pos, "\"%.*s\": a flow has one address, without a prefix "
				"length", SL_Q(text, len));
	if (sl_cidr_parse(text, len, address, NULL))
		return sl_address_explain(text, len, pos, diag);
	return 0;
}

int sl_flow_host(const char *text, size_t len, const struct sl_pos *pos, struct sl_test *test,
		 struct sl_diag *diag)
{
	if (len && text[0] == '*')
		return sl_error(diag, pos, "\"%.*s\": a flow has one name, not a pattern",
				SL_Q(text, len));
	if (!len || memchr(text, ':', len) || memchr(text, '/', len) || text[0] == '@' ||
	    sl_text_is(text, len, "any") || sl_domain_ends_in_number(text, len))
		return sl_flow_address(text, len, pos, &test->address, diag);
	free(test->name);
	test->name = NULL;
	return sl_domain_read(text, len, text, len, pos, &test->name, diag);
}

static int protocol_parse(const char *text, size_t len, const struct sl_pos *pos, int *protocol,
			  struct sl_diag *diag)
{
	static const char *const words[] = {"tcp", "udp", "icmp", "icmpv6", "sctp", NULL};
	const char *nearest;
	__u64 number;

	if (sl_text_number(text, len, 255, &number)) {
		*protocol = (int)number;
		return 0;
	}
	if (!sl_text_is(text, len, "any") && !sl_protocol_number(text, len, protocol))
		return 0;
	nearest = sl_nearest(text, len, words);
	return sl_error(diag, pos, "\"/%.*s\": the protocol of a flow is tcp, udp, icmp, icmpv6, "
			"sctp or a number from 0 to 255%s%s%s", SL_Q(text, len),
			nearest ? "; did you mean \"" : "", nearest ? nearest : "",
			nearest ? "\"?" : "");
}

/* Ranges are spoken of only where one seems to be meant. */
static int port_parse(const char *text, size_t len, const struct sl_pos *pos, int *port,
		      struct sl_diag *diag)
{
	struct sl_port_range range;
	__u64 number;

	if (sl_text_number(text, len, 65535, &number) && number) {
		*port = (int)number;
		return 0;
	}
	if (memchr(text, '-', len))
		return sl_port_range_parse(text, len, pos, &range, diag) ? -EINVAL :
			sl_error(diag, pos, "\"%.*s\": a flow has one port, as %u",
				 SL_Q(text, len), range.low);
	return sl_error(diag, pos, "\"%.*s\" is not a port: a number from 1 to 65535 (`getent "
			"services NAME` tells a service's)", SL_Q(text, len));
}

/* The shortest text of the flow that reads back as the same one. */
static char *flow_text(const struct sl_test *test)
{
	const char *name = sl_protocol_name(test->protocol);
	bool icmp = test->protocol == ICMP || test->protocol == ICMPV6;
	bool echo = test->icmp_type == (test->protocol == ICMP ? ICMP_ECHO : ICMPV6_ECHO) &&
		    !test->icmp_code;
	bool v6 = !test->name && test->address.family == 6;
	char buf[SL_CIDR_TEXT], uid[32] = "", port[32] = "", type[48] = "", number[8];
	const char *host = test->name ? test->name : sl_cidr_format(&test->address, buf);
	char *text;

	if (test->question_only)
		return strdup(host);
	snprintf(number, sizeof(number), "%u", test->protocol);
	if (!test->has_uid && (!icmp || echo)) {
		if (test->port)
			snprintf(port, sizeof(port), ":%u", test->port);
		return asprintf(&text, "%s%s%s%s/%s", v6 && test->port ? "[" : "", host,
				v6 && test->port ? "]" : "", port, name ? name : number) < 0
			       ? NULL : text;
	}
	if (test->port)
		snprintf(port, sizeof(port), ", port: %u", test->port);
	if (icmp && !echo)
		snprintf(type, sizeof(type), ", icmp: {type: %u, code: %u}", test->icmp_type,
			 test->icmp_code);
	if (test->has_uid)
		snprintf(uid, sizeof(uid), ", uid: %u", test->uid);
	return asprintf(&text, "{to: %s%s%s%s, protocol: %s%s%s}", v6 ? "\"" : "", host,
			v6 ? "\"" : "", port, name ? name : number, type, uid) < 0 ? NULL : text;
}

static int ports_check(const struct sl_test *test, int port, const struct sl_pos *pos,
		       struct sl_diag *diag)
{
	const char *name = sl_protocol_name(test->protocol);

	if (sl_protocol_has_ports(test->protocol) && port < 0)
		return sl_error(diag, pos, "a flow of %s has a port, as 192.0.2.1:443/%s", name,
				name);
	if (!sl_protocol_has_ports(test->protocol) && port >= 0)
		return sl_error(diag, pos, "ports go with tcp, udp and sctp, not with %s",
				name ? name : "this protocol");
	return 0;
}

int sl_flow_finish(struct sl_test *test, int port, int protocol, bool icmp_written,
		   const struct sl_pos *pos, struct sl_diag *diag)
{
	test->question_only = test->name && port < 0 && protocol < 0 && !icmp_written &&
			      !test->has_uid;
	if (port < 0 && protocol < 0 && !test->question_only)
		return sl_error(diag, pos, "a flow wants a port or a protocol, as 192.0.2.1:443 "
				"or 192.0.2.1/icmp");
	test->protocol = protocol < 0 ? 6 : (__u8)protocol;
	if (test->question_only)
		test->protocol = 0;
	if (icmp_written && test->protocol != ICMP && test->protocol != ICMPV6)
		return sl_error(diag, pos, "an icmp type goes with \"protocol: icmp\" or "
				"\"protocol: icmpv6\"");
	if (!test->question_only && ports_check(test, port, pos, diag))
		return -EINVAL;
	test->port = port < 0 ? 0 : (__u16)port;
	if (!icmp_written && test->protocol == ICMP)
		test->icmp_type = ICMP_ECHO;
	if (!icmp_written && test->protocol == ICMPV6)
		test->icmp_type = ICMPV6_ECHO;
	free(test->text);
	test->text = flow_text(test);
	return test->text ? 0 : -ENOMEM;
}

int sl_flow_parse_n(const char *text, size_t len, const struct sl_pos *pos,
		    struct sl_test *test, struct sl_diag *diag)
{
	struct sl_parts parts;
	int protocol = -1, port = -1;
	int err = sl_parts_split(text, len, false, pos, &parts, diag);

	if (!err)
		err = parts.bracketed
			      ? sl_flow_address(parts.host, parts.host_len, pos, &test->address,
						diag)
			      : sl_flow_host(parts.host, parts.host_len, pos, test, diag);
	if (err)
		return err;
	if (parts.ports && port_parse(parts.ports, parts.ports_len, pos, &port, diag))
		return -EINVAL;
	if (parts.protocol &&
	    protocol_parse(parts.protocol, parts.protocol_len, pos, &protocol, diag))
		return -EINVAL;
	return sl_flow_finish(test, port, protocol, false, pos, diag);
}

int sl_flow_parse(const char *text, struct sl_pos pos, struct sl_test *test,
		  struct sl_diag *diag)
{
	struct sl_test result = {.pos = pos, .want = test->want};
	int err = sl_flow_parse_n(text, strlen(text), &pos, &result, diag);

	if (err)
		sl_test_clear(&result);
	else
		*test = result;
	return err;
}
