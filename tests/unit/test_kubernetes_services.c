// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Services and EndpointSlices as whoever may write them in his own namespace can: what the API server
 * takes, kube-proxy follows, and so must what the cluster denies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store_lab.h"

#define DENIES(rules)                                                                        \
	"{'metadata':{'name':'base'},'spec':{'default':'allow','rules':" rules "}}"
#define A_SERVICE(ip, more)                                                                  \
	"{'metadata':{'name':'way','namespace':'shop'},'spec':{'clusterIP':'" ip "'" more    \
	",'ports':[{'name':'a','port':80}]}}"
#define A_SLICE(type, ports, addresses)                                                      \
	"{'metadata':{'name':'way-x','namespace':'shop','labels':"                           \
	"{'kubernetes.io/service-name':'way'}},'addressType':'" type "','ports':" ports ","  \
	"'endpoints':[{'addresses':" addresses "}]}"
#define PORT "[{'name':'a','protocol':'TCP','port':80}]"

/* A pod, and a ClusterEgressPolicy that lets all pass but the rules. */
static struct sl_store *cluster(const char *policy)
{
	struct sl_store *store = sl_store_new();

	PUT(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
	PUT(store, SL_KUBE_CLUSTER_OWN, policy);
	return store;
}

static void a_slice_with_a_port_of_any_number(void **state)
{
	static const struct {
		const char *ports;
		bool denied; /* the rule is for port 80 of the endpoint */
	} cases[] = {
		{PORT, true},
		{"[{'name':'a','protocol':'TCP','port':81}]", false},
		{"[{'name':'a','protocol':'TCP','port':80},{'name':'b','protocol':'TCP','port':0}]", true},
		{"[{'name':'b','protocol':'UDP','port':-1},{'name':'a','protocol':'TCP','port':80}]", true},
		{"[{'name':'a','protocol':'TCP','port':65616}]", true},
		{"[{'name':'a','protocol':'TCP','port':-65456}]", true},
		{"[{'name':'a','protocol':'TCP','port':0}]", false},
		{"[{'name':'a','protocol':'TCP'},{'name':'b','protocol':'TCP','port':80}]", false},
	};
	struct sl_store *store = cluster(DENIES("[{'deny':'10.9.9.9:80/tcp'}]"));
	char text[1024];

	PUT(store, SL_KUBE_SERVICE, A_SERVICE("10.96.0.20", ""));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), A_SLICE("IPv4", "%s", "['10.9.9.9']"), cases[i].ports);
		PUT(store, SL_KUBE_SLICE, text);
		assert_int_equal(sl_store_unreadable(store, SL_KUBE_SLICE), 0);
		expect_policy(store, "cart", "deny: \"10.96.0.20:80/tcp\"", cases[i].denied);
	}
	sl_store_free(store);
	(void)state;
}

/* Nothing that a Service has beside its ClusterIP makes it one that is not known. */
static void a_service_with_an_address_of_any_form(void **state)
{
	static const char *const others[] = {"192.0.2.1", "2001:db8::1", "64:ff9b::1", "::ffff:192.0.2.1",
					     "::ffff:192.0.2.010", "::192.0.02.1"};
	struct sl_store *store = cluster(DENIES("[{'deny':'10.9.9.9'}]"));
	char text[1024];

	PUT(store, SL_KUBE_SLICE, A_SLICE("IPv4", PORT, "['10.9.9.9']"));
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		snprintf(text, sizeof(text), A_SERVICE("10.96.0.20", ",'externalIPs':['%s']"), others[i]);
		PUT(store, SL_KUBE_SERVICE, text);
		assert_int_equal(sl_store_unreadable(store, SL_KUBE_SERVICE), 0);
		expect_policy(store, "cart", "deny: \"10.96.0.20:80/tcp\"", true);
	}
	PUT(store, SL_KUBE_SLICE, A_SLICE("IPv4", PORT, "['10.9.9.8']"));
	expect_policy(store, "cart", "10.96.0.20", false);
	sl_store_free(store);
	(void)state;
}

/* By NAT64 an endpoint is an IPv4 address, as it is where a packet goes there without a Service. */
static void an_endpoint_behind_nat64_is_the_address_in_it(void **state)
{
	static const struct {
		const char *addresses;
		bool denied;
	} cases[] = {
		{"['64:ff9b::a09:909']", true},
		{"['2001:db8::2','64:ff9b::10.9.9.9']", true},
		{"['64:ff9b::a09:908']", false},
		{"['2001:db8::2']", false},
		{"['2001:db8::9']", true},
	};
	struct sl_store *store = cluster(DENIES("[{'deny':['10.9.9.9','2001:db8::9']}]"));
	char text[1024];

	PUT(store, SL_KUBE_SERVICE, A_SERVICE("fd00:96::20", ",'externalIPs':['64:ff9b::c000:201']"));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), A_SLICE("IPv6", PORT, "%s"), cases[i].addresses);
		PUT(store, SL_KUBE_SLICE, text);
		expect_policy(store, "cart", "deny: \"[fd00:96::20]:80/tcp\"", cases[i].denied);
		expect_policy(store, "cart", "deny: \"192.0.2.1:80/tcp\"", cases[i].denied);
	}
	sl_store_free(store);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slice_with_a_port_of_any_number),
		cmocka_unit_test(a_service_with_an_address_of_any_form),
		cmocka_unit_test(an_endpoint_behind_nat64_is_the_address_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
