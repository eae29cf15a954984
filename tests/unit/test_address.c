// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/policy: addresses and CIDRs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "policy/address.h"
#include "policy/policy.h"

static void cidrs_contain_each_other(void **state)
{
	static const struct {
		const char *a, *b;
		bool within;
	} cases[] = {
		{"10.1.2.3", "10.0.0.0/8", true},	{"11.1.2.3", "10.0.0.0/8", false},
		{"10.0.0.0/8", "10.0.0.0/8", true},	{"10.0.0.0/7", "10.0.0.0/8", false},
		{"192.0.2.129", "192.0.2.128/25", true}, {"192.0.2.127", "192.0.2.128/25", false},
		{"1.2.3.4", "0.0.0.0/0", true},		{"1.2.3.4", "::/0", false},
		{"::", "0.0.0.0/0", false},		{"2001:db8::1", "2001:db8::/33", true},
		{"2001:db8:8000::", "2001:db8::/33", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sl_cidr a, b;

		assert_int_equal(sl_cidr_parse(cases[i].a, strlen(cases[i].a), &a, NULL), 0);
		assert_int_equal(sl_cidr_parse(cases[i].b, strlen(cases[i].b), &b, NULL), 0);
		assert_int_equal(sl_cidr_within(&a, &b), cases[i].within);
	}
}

/* Some that are addresses, and more that are nearly. */
static void almost_an_address(char text[INET6_ADDRSTRLEN])
{
	static const char letters[] = "0123456789abcdefABCDEF:::::./g";
	__u8 address[16];
	size_t len, at;

	for (int i = 0; i < 16; i++)
		address[i] = rand() % 3 ? 0 : (__u8)rand();
	inet_ntop(AF_INET6, address, text, INET6_ADDRSTRLEN);
	for (int edits = rand() % 4; edits; edits--) {
		len = strlen(text);
		at = (size_t)rand() % (len + 1);
		if (rand() % 2 && len < INET6_ADDRSTRLEN - 1)
			memmove(text + at + 1, text + at, len + 1 - at);
		else if (at == len)
			continue;
		text[at] = letters[(size_t)rand() % (sizeof(letters) - 1)];
	}
}

static void ipv6_is_what_inet_pton_takes_for_it(void **state)
{
	static const char *const edges[] = {"", ":", "::", ":::", "1::", "::1", "1:", ":1",
		"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8",
		"1::2::3", "12345::", "::fffff", "::g", "::1.2.3.4", "1.2.3.4::", "::%1"};
	size_t n_edges = sizeof(edges) / sizeof(*edges), addresses = 0;
	char text[INET6_ADDRSTRLEN];
	__u8 wanted[16];

	(void)state;
	for (size_t i = 0; i < 300000; i++) {
		struct sl_cidr cidr = {0};
		bool is;

		if (i < n_edges)
			strcpy(text, edges[i]);
		else
			almost_an_address(text);
		if (strchr(text, '/') || !strchr(text, ':'))
			continue;
		is = inet_pton(AF_INET6, text, wanted) == 1;
		if ((sl_cidr_parse(text, strlen(text), &cidr, NULL) == 0) != is ||
		    (is && (cidr.family != 6 || memcmp(cidr.addr, wanted, 16))))
			fail_msg("\"%s\"", text);
		addresses += is;
	}
	assert_in_range(addresses, 50000, 290000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cidrs_contain_each_other),
		cmocka_unit_test(ipv6_is_what_inet_pton_takes_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
