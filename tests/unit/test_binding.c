// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/target: who a workload is, from text, in a table, and compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "target/device.h"

static void test_mac(void **state)
{
	static const char *const wrong[] = {
		"", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:5", "5254:00:12:34:567",
		" 2:54:00:12:34:56", "+2:54:00:12:34:56", "0x:54:00:12:34:56", "52-54-00-12-34-56",
		"52:54:00:12:34:56 ", "52:54:00:12:34:5g", ":::::::::::::::::", "52:54:00:12:345:6",
	};
	__u8 mac[6];

	assert_true(sl_mac_parse("52:54:00:aB:Cd:0f", mac));
	assert_memory_equal(mac, "\x52\x54\x00\xab\xcd\x0f", 6);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(sl_mac_parse(wrong[i], mac));
	assert_memory_equal(mac, "\x52\x54\x00\xab\xcd\x0f", 6);
}

static struct sl_binding_spec spec(const char *mac, const char *const *addresses,
				   const char *vlan)
{
	struct sl_binding_spec made = {};
	struct sl_diag diag = {};

	if (mac)
		sl_binding_mac(&made, mac, &diag);
	for (; addresses && *addresses; addresses++)
		sl_binding_address(&made, *addresses, &diag);
	if (vlan)
		sl_binding_vlan(&made, vlan, &diag);
	assert_int_equal(diag.n, 0);
	return made;
}

#define ADDRESSES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* What can be nobody's is refused, whole prefixes of it too; what holds it among others
 * is taken. */
static void test_nobodys(void **state)
{
	static const char *const wrong[] = {"0.0.0.0", "0.1.2.0/24", "127.0.0.1", "224.0.0.1",
					    "255.255.255.255", "::", "::1", "::ffff:1.2.3.4",
					    "ff02::1"};
	static const char *const right[] = {"0.0.0.0/0", "1.0.0.0", "126.0.0.1", "223.255.255.255",
					    "::/0", "::2", "fe80::1", "2001:db8::/32"};
	struct sl_binding_spec made = {};
	struct sl_diag diag = {};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_not_equal(sl_binding_address(&made, wrong[i], &diag), 0);
	assert_int_not_equal(sl_binding_mac(&made, "00:00:00:00:00:00", &diag), 0);
	assert_int_not_equal(sl_binding_mac(&made, "01:00:5e:00:00:01", &diag), 0);
	assert_false(made.has_addresses || made.has_mac);
	sl_diag_free(&diag);
	for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++)
		assert_int_equal(sl_binding_address(&made, right[i], &diag), 0);
	assert_int_equal(diag.n, 0);
}

/* Eight IPv6 addresses have room beside the link-local one of the MAC. */
static void test_room(void **state)
{
	struct sl_binding_spec made = {};
	struct sl_diag diag = {};
	char text[40];

	assert_int_equal(sl_binding_mac(&made, "52:54:00:12:34:56", &diag), 0);
	for (int i = 0; i < 16; i++) {
		snprintf(text, sizeof(text), "192.0.2.%d", i);
		assert_int_equal(sl_binding_address(&made, text, &diag), 0);
	}
	for (int i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "2001:db8::%d", i);
		assert_int_equal(sl_binding_address(&made, text, &diag), 0);
	}
	assert_int_not_equal(sl_binding_address(&made, "192.0.2.16", &diag), 0);
	assert_int_not_equal(sl_binding_address(&made, "2001:db8::8", &diag), 0);
	assert_int_equal(made.n_addresses, 24);
	assert_int_equal(sl_binding_complete(&made).n_addresses, 25);
	sl_diag_free(&diag);
}

static void test_same(void **state)
{
	const char *mac = "52:54:00:12:34:56";
	const struct sl_binding_spec all[] = {
		spec(NULL, NULL, NULL),
		spec(mac, NULL, NULL),
		spec("52:54:00:12:34:57", NULL, NULL),
		spec(mac, ADDRESSES("192.0.2.1"), NULL),
		spec(mac, ADDRESSES("192.0.2.1", "192.0.2.2"), NULL),
		spec(mac, ADDRESSES("192.0.2.0/24"), NULL),
		spec(mac, ADDRESSES("192.0.2.1", "dhcp"), NULL),
		spec(mac, ADDRESSES("dhcp"), NULL),
		spec(mac, ADDRESSES("192.0.2.1", "2001:db8::1"), NULL),
		spec(mac, NULL, "42"),
		spec(mac, NULL, "43"),
	};
	const size_t n = sizeof(all) / sizeof(*all);
	struct sl_binding_spec a, b;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			assert_int_equal(sl_binding_same(&all[i], &all[j]), i == j);
	a = spec(mac, ADDRESSES("192.0.2.1", "2001:db8::1", "192.0.2.2"), NULL);
	b = spec(mac, ADDRESSES("2001:db8::1", "192.0.2.2", "192.0.2.1"), NULL);
	assert_true(sl_binding_same(&a, &b));
	/* what is bound with a MAC and an IPv6 address is there unsaid */
	b = spec(mac, ADDRESSES("fe80::5054:ff:fe12:3456", "2001:db8::1", "192.0.2.2",
				"192.0.2.1"), NULL);
	assert_true(sl_binding_same(&a, &b));
}

/* Only what the host knows a network of; a link-local one says nothing. */
static void test_routed(void **state)
{
	static struct sl_cidr net[] = {{{10, 9}, 4, 16}, {{0xfe, 0x80}, 6, 64}, {{0x20, 1}, 6, 64}};
	struct sl_environment env = {.subnet = net, .n_subnet = 2, .upper = 7};
	struct sl_binding_spec made = {.routed = true}, free = {};
	struct sl_binding b = sl_binding_complete(&made);

	sl_binding_network(&b, &env);
	assert_true(b.routed4 && !b.routed6 && b.upper == 7);
	env.n_subnet = 3;
	b = sl_binding_complete(&made);
	sl_binding_network(&b, &env);
	assert_true(b.routed4 && b.routed6);
	b = sl_binding_complete(&free);
	sl_binding_network(&b, &env);
	assert_false(b.routed4 || b.routed6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_nobodys),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_routed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
