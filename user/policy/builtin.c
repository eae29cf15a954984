// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <string.h>

#include "builtin.h"
#include "sluice_sets.h"

const char *sl_builtin_set(const char *name)
{
	static const char *const sets[][2] = {
#define X(set, contents) {#set, contents},
		SL_STATIC_SETS(X)
#undef X
	};

	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++)
		if (!strcmp(sets[i][0], name))
			return sets[i][1];
	return NULL;
}

bool sl_cidrs_have(const char *text, const struct sl_cidr *address)
{
	struct sl_cidr cidr;
	size_t len;
	bool masked;

	for (; text && *text; text += len + strspn(text + len, " ")) {
		len = strcspn(text, " ");
		if (!sl_cidr_parse(text, len, &cidr, &masked) && sl_cidr_within(address, &cidr))
			return true;
	}
	return false;
}

/* docs/names.md, "Never learned"; and with `resolves_to: private`, those that are. The
 * file is the administrator's: loopback may be in it, which no answer may give. */
static const struct {
	const char *text;
	bool private;
} special[] = {
	{"0.0.0.0/8", false},
	{"224.0.0.0/3", false},
	{"169.254.169.254", false},
	{"169.254.170.2", false},
	{"169.254.170.23", false},
	{"168.63.129.16", false},
	{"100.100.100.200", false},
	{"10.0.0.0/8", true},
	{"100.64.0.0/10", true},
	{"127.0.0.0/8", true},
	{"169.254.0.0/16", true},
	{"172.16.0.0/12", true},
	{"192.0.0.0/24", true},
	{"192.168.0.0/16", true},
	{"198.18.0.0/15", true},
	{"fd00:ec2::254", false},
	{"::1", true},
	{"::/64", false},
	{"64:ff9b::/32", false},
	{"2001::/32", false},
	{"2002::/16", false},
	{"ff00::/8", false},
	{"100::/64", true},
	{"fc00::/7", true},
	{"fe80::/10", true},
	{"fec0::/10", true},
};

/* The first entry that holds the address decides. */
bool sl_address_may_belong(const struct sl_cidr *address, bool private)
{
	struct sl_cidr range;
	bool masked;

	for (size_t i = 0; i < sizeof(special) / sizeof(*special); i++) {
		if (sl_cidr_parse(special[i].text, strlen(special[i].text), &range, &masked))
			return false;
		if (range.family == address->family && sl_cidr_within(address, &range))
			return special[i].private && private;
	}
	return true;
}
