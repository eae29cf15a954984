// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Bindings: from text, to text, and back from a table. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

bool sl_mac_parse(const char *text, __u8 mac[6])
{
	unsigned byte[6];

	/* scanf alone would take spaces and signs */
	if (strspn(text, "0123456789abcdefABCDEF:") != 17 || text[17])
		return false;
	for (int i = 0; i < 17; i++)
		if ((text[i] == ':') != (i % 3 == 2))
			return false;
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &byte[0], &byte[1], &byte[2], &byte[3],
		   &byte[4], &byte[5]) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (__u8)byte[i];
	return true;
}

int sl_binding_mac(struct sl_binding_spec *spec, const char *text, struct sl_diag *diag)
{
	__u8 mac[6];

	if (!sl_mac_parse(text, mac))
		return sl_error(diag, NULL, "'%s' is no MAC address; write it as "
				"52:54:00:12:34:56", text);
	if (!memcmp(mac, (const __u8[6]){}, sizeof(mac)))
		return sl_error(diag, NULL, "'%s' is no device's address", text);
	if (mac[0] & 1)
		return sl_error(diag, NULL, "'%s' is a group address: no device sends from it", text);
	memcpy(spec->mac, mac, sizeof(mac));
	spec->has_mac = true;
	return 0;
}

bool sl_address_is_nobodys(const struct sl_cidr *cidr)
{
	static const struct sl_cidr nobodys[] = {
		{.family = 4, .len = 8}, {.addr = {127}, .family = 4, .len = 8},
		{.addr = {224}, .family = 4, .len = 3}, {.family = 6, .len = 127},
		{.addr = {[10] = 0xff, 0xff}, .family = 6, .len = 96},
		{.addr = {0xff}, .family = 6, .len = 8},
	};

	for (size_t i = 0; i < sizeof(nobodys) / sizeof(*nobodys); i++)
		if (sl_cidr_within(cidr, &nobodys[i]))
			return true;
	return false;
}

int sl_binding_address(struct sl_binding_spec *spec, const char *text, struct sl_diag *diag)
{
	size_t given = 0, i;
	struct sl_cidr cidr;
	bool masked;

	if (!strcmp(text, "dhcp")) {
		spec->has_addresses = spec->lease = true;
		return 0;
	}
	if (sl_cidr_parse(text, strlen(text), &cidr, &masked))
		return sl_error(diag, NULL, "'%s' is no address; write 192.0.2.7, 2001:db8::7, a "
				"prefix as 2001:db8:7::/64, or dhcp", text);
	if (masked)
		return sl_error(diag, NULL, "'%s' has bits beyond its prefix length; write the "
				"address alone, or the whole prefix", text);
	if (sl_address_is_nobodys(&cidr))
		return sl_error(diag, NULL, "'%s' is no address that a workload can have: a frame "
				"from it is never its own", text);
	for (i = 0; i < spec->n_addresses; i++)
		given += spec->addresses[i].family == cidr.family;
	if (given == (cidr.family == 4 ? SL_BINDING_V4_MAX : SL_BINDING_V6_MAX))
		return sl_error(diag, NULL, "'%s' is one IPv%d address too many: a binding holds %zu; give "
				"prefixes", text, cidr.family, given);
	spec->has_addresses = true;
	spec->addresses[spec->n_addresses++] = cidr;
	return 0;
}

int sl_binding_vlan(struct sl_binding_spec *spec, const char *text, struct sl_diag *diag)
{
	char *end;
	unsigned long vid = strtoul(text, &end, 10);

	if (!*text || *end || *text == '-' || vid > 4094)
		return sl_error(diag, NULL, "'%s' is no VLAN id; they are 0 to 4094", text);
	if (spec->n_vlans == 4)
		return sl_error(diag, NULL, "VLAN %s is one too many: a binding holds four", text);
	spec->vlans[spec->n_vlans++] = (__u16)vid;
	return 0;
}

const char *sl_mac_format(const __u8 mac[6], char buf[SL_MAC_TEXT])
{
	snprintf(buf, SL_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	return buf;
}

/* ---- from a table ---- */

static __u8 ones(__u64 mask)
{
	return (__u8)__builtin_popcountll(mask);
}

static void add(struct sl_binding_spec *spec, const struct sl_cidr *cidr)
{
	if (spec->n_addresses < SL_BINDING_ADDRESSES_MAX)
		spec->addresses[spec->n_addresses++] = *cidr;
}

static void add_v4(struct sl_binding_spec *spec, __u64 word)
{
	struct sl_cidr cidr = {.family = 4, .len = ones((__u32)word)};
	__be32 address = htobe32((__u32)(word >> 32));

	if (word == 1ull << 32)	/* unused */
		return;
	memcpy(cidr.addr, &address, sizeof(address));
	add(spec, &cidr);
}

static void add_v6(struct sl_binding_spec *spec, const __u64 word[4])
{
	struct sl_cidr cidr = {.family = 6, .len = (__u8)(ones(word[2]) + ones(word[3]))};
	__be64 address[2] = {htobe64(word[0]), htobe64(word[1])};

	if (!word[0] && word[1] == 1 && !word[2])	/* unused */
		return;
	memcpy(cidr.addr, address, sizeof(address));
	add(spec, &cidr);
}

bool sl_binding_of_table(const struct sl_table *table, struct sl_binding_spec *out)
{
	__u64 section = table->words[SL_H_DEVICE], vlans, i;
	const __u64 *w = table->words + (__u32)section;
	struct sl_binding_spec spec = {};

	if (!(section >> 32) || (__u32)section + (section >> 32) * SL_B_WORDS > table->n_words)
		return false;
	spec.has_mac = w[SL_B_MAC] & SL_B_HAS_MAC;
	for (i = 0; i < 6 && spec.has_mac; i++)
		spec.mac[i] = (__u8)(w[SL_B_MAC] >> (40 - 8 * i));
	spec.has_addresses = w[SL_B_MAC] & SL_B_HAS_ADDRESSES;
	spec.lease = w[SL_B_MAC] & SL_B_LEASE;
	spec.routed = w[SL_B_MAC] & (SL_B_ROUTED4 | SL_B_ROUTED6);
	for (vlans = w[SL_B_VLANS], i = 0; i < 4; i++, vlans >>= 16)
		if ((vlans & 0xffff) != SL_VID_NONE)
			spec.vlans[spec.n_vlans++] = (__u16)vlans;
	for (i = 0; i < section >> 32; i++, w += SL_B_WORDS) {
		add_v4(&spec, w[SL_B_V4]);
		add_v4(&spec, w[SL_B_V4 + 1]);
		add_v6(&spec, w + SL_B_V6);
	}
	*out = spec;
	return true;
}
