// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Numbers, ports, addresses and states, as libvirt writes them. */
#include "nwfilter_value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"

#define VARIABLE "a variable is filled in where a domain refers to the filter: write its value"

const char *const nw_value_names[] = {
	"srcipaddr", "srcipmask", "srcipfrom", "srcipto", "srcportstart", "srcportend",
	"dstipaddr", "dstipmask", "dstipfrom", "dstipto", "dstportstart", "dstportend",
	"type", "code", "state", "comment", "match", "protocolid", NULL,
};

int nw_wrong_value(const struct nw_maker *m, int which, const char *want)
{
	return sl_error(m->diag, &m->rule->pos, "<%s %s=\"%.80s\">: %s", m->name,
			nw_value_names[which], m->values[which], want);
}

/* ---- numbers ---- */

int nw_read_number(const struct nw_maker *m, int which, long most, long *out)
{
	const char *text = m->values[which];
	char *end;
	long number;

	if (*text == '$')
		return nw_wrong_value(m, which, VARIABLE);
	errno = 0;
	number = strtol(text, &end, strncmp(text, "0x", 2) ? 10 : 16);
	if (errno || end == text || *end || *text < '0' || *text > '9' || number > most)
		return nw_wrong_value(m, which,
				      most == 255 ? "a number from 0 to 255 is wanted"
						  : "a number from 0 to 65535 is wanted");
	*out = number;
	return 0;
}

int nw_read_ports(const struct nw_maker *m, int start, struct nw_range *ports)
{
	long low = 0, high;
	int err;

	if (!m->values[start] && !m->values[start + 1])
		return 0;
	if (!m->values[start])
		return nw_wrong_value(m, start + 1, "an end without a start: libvirt passes over "
				      "it; add the start, or take it out");
	err = nw_read_number(m, start, 65535, &low);
	high = low;
	if (!err && m->values[start + 1])
		err = nw_read_number(m, start + 1, 65535, &high);
	if (err)
		return err;
	if (high < low)
		return nw_wrong_value(m, start + 1, "the end is below the start");
	if (!low && high < 65535)
		return nw_wrong_value(m, start, "ports are 1 to 65535 here: begin with 1");
	*ports = (struct nw_range){(__u16)low, (__u16)high};
	return 0;
}

int nw_read_icmp(const struct nw_maker *m, struct nw_box *box)
{
	long number = 0;
	int err;

	if (m->values[NW_CODE] && !m->values[NW_TYPE])
		return nw_wrong_value(m, NW_CODE,
				      "a code without a type: libvirt passes over it; add the type, "
				      "or take it out");
	if (!m->values[NW_TYPE])
		return 0;
	err = nw_read_number(m, NW_TYPE, 255, &number);
	if (err)
		return err;
	box->icmp_type = (int)number;
	if (!m->values[NW_CODE])
		return 0;
	err = nw_read_number(m, NW_CODE, 255, &number);
	if (!err)
		box->icmp_code = (int)number;
	return err;
}

/* ---- addresses ---- */

static nw_address from_bytes(const __u8 *bytes, int family)
{
	nw_address address = 0;

	for (int i = 0; i < (family == 4 ? 4 : 16); i++)
		address = address << 8 | bytes[i];
	return address;
}

static bool is_address(const struct nw_maker *m, int which, nw_address *out)
{
	int family = m->protocol->family;
	__u8 bytes[16];

	if (inet_pton(family == 4 ? AF_INET : AF_INET6, m->values[which], bytes) != 1)
		return false;
	*out = from_bytes(bytes, family);
	return true;
}

static int read_address(const struct nw_maker *m, int which, nw_address *out)
{
	if (is_address(m, which, out))
		return 0;
	if (m->values[which][0] == '$')
		return nw_wrong_value(m, which, VARIABLE);
	return nw_wrong_value(m, which,
			      m->protocol->family == 4 ? "an IPv4 address is wanted"
						       : "an IPv6 address is wanted");
}

/* A length, or a mask of ones and then zeros. */
static int read_mask(const struct nw_maker *m, int which, int width, int *length)
{
	const char *text = m->values[which];
	nw_address mask, inverse;
	__u64 number;

	if (sl_text_number(text, strlen(text), (__u64)width, &number)) {
		*length = (int)number;
		return 0;
	}
	if (!is_address(m, which, &mask))
		return nw_wrong_value(m, which,
				      width == 32 ? "a length of 0 to 32, or a mask as 255.255.0.0, "
						    "is wanted"
						  : "a length of 0 to 128, or a mask as "
						    "ffff:ffff::, is wanted");
	inverse = width == 32 ? (__u32) ~(__u32)mask : ~mask;
	if (inverse & (inverse + 1))
		return nw_wrong_value(m, which, "the mask has holes: no prefix is like that");
	for (*length = width; inverse; inverse >>= 1)
		--*length;
	return 0;
}

static int read_prefix(const struct nw_maker *m, int which, struct nw_box *box)
{
	int width = m->protocol->family == 4 ? 32 : 128, length = width, err;
	nw_address address = 0, span;

	err = read_address(m, which, &address);
	if (!err && m->values[which + 1])
		err = read_mask(m, which + 1, width, &length);
	if (err)
		return err;
	span = length ? (((nw_address)1 << (width - length)) - 1) : box->high;
	box->low = address & ~span;
	box->high = address | span;
	return 0;
}

static int read_span(const struct nw_maker *m, int which, struct nw_box *box)
{
	nw_address low = 0, high = 0;
	int err;

	if (!m->values[which] || !m->values[which + 1])
		return nw_wrong_value(m, m->values[which] ? which : which + 1,
				      "a range wants both ends");
	err = read_address(m, which, &low);
	if (!err)
		err = read_address(m, which + 1, &high);
	if (err)
		return err;
	if (high < low)
		return nw_wrong_value(m, which + 1, "the end is below the start");
	box->low = low;
	box->high = high;
	return 0;
}

/* ::ffff:0:0/96 and 64:ff9b::/96 are judged as the IPv4 address in them, so a range
 * must not begin or end there (docs/policy.md, "Addresses that embed others"). */
static int check_embedded(const struct nw_maker *m, int which, const struct nw_box *box)
{
	nw_address mapped = (nw_address)0xffff << 32, nat64 = (nw_address)0x64ff9b << 96;
	nw_address blocks[] = {mapped, nat64};

	for (int i = 0; m->protocol->family == 6 && i < 2; i++) {
		nw_address last = blocks[i] | 0xffffffff;

		if ((box->low > blocks[i] && box->low <= last) ||
		    (box->high >= blocks[i] && box->high < last) ||
		    (box->low == blocks[i] && box->high == last))
			return nw_wrong_value(
				m, which,
				"addresses in ::ffff:0:0/96 and 64:ff9b::/96 are judged as the IPv4 "
				"address in them: write the rule for IPv4");
	}
	return 0;
}

int nw_read_addresses(const struct nw_maker *m, int side, struct nw_box *box)
{
	int prefix = NW_SRC + side, span = NW_SRC_FROM + side, err = 0;
	bool has_span = m->values[span] || m->values[span + 1];

	if (m->values[prefix] && has_span)
		return nw_wrong_value(m, m->values[span] ? span : span + 1,
				      "libvirt passes over a range beside an address: take one of "
				      "them out");
	if (m->values[prefix + 1] && !m->values[prefix])
		return nw_wrong_value(m, prefix + 1,
				      "a mask without an address: libvirt passes over it; add the "
				      "address, or take it out");
	if (m->values[prefix])
		err = read_prefix(m, prefix, box);
	else if (has_span)
		err = read_span(m, span, box);
	if (err || !(m->values[prefix] || has_span))
		return err;
	return check_embedded(m, m->values[prefix] ? prefix : span, box);
}

/* ---- state ---- */

int nw_read_states(const struct nw_maker *m, unsigned *states)
{
	static const struct {
		const char *word;
		unsigned state;
	} known[] = {{"NEW", NW_NEW}, {"ESTABLISHED", NW_ESTABLISHED}, {"RELATED", NW_RELATED},
		     {"INVALID", NW_INVALID}};
	const char *text = m->values[NW_STATE];

	*states = 0;
	if (!text)
		return 0;
	while (*text) {
		size_t len = strcspn(text, ","), i = 0;

		while (i < 4 && !sl_text_is(text, len, known[i].word))
			i++;
		if (i == 4)
			break;
		*states |= known[i].state;
		text += len;
		if (*text == ',' && *++text == '\0')
			break;
		if (!*text)
			return 0;
	}
	return nw_wrong_value(m, NW_STATE, "NEW, ESTABLISHED, RELATED and INVALID, with commas and "
			      "no spaces, are known");
}
