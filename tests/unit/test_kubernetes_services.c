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
#include <time.h>

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

/* ---- what multiplies ---- */

static void put_stream(struct sl_store *store, enum sl_kube_kind kind, FILE *out, char **text)
{
	fclose(out);
	for (char *c = *text; *c; c++)
		if (*c == '\'')
			*c = '"';
	assert_int_equal(put(store, kind, *text), 0);
	free(*text);
}

static bool is_v6; /* what the Services and their endpoints are */

static void put_external(FILE *out, unsigned a, unsigned b)
{
	fprintf(out, is_v6 ? "'2001:db8:18:%x::%x'" : "'198.18.%u.%u'", a, b);
}

static void put_endpoint(FILE *out, unsigned a, unsigned b)
{
	fprintf(out, is_v6 ? "'fd00:9::%x:%x'" : "'10.9.%u.%u'", a, b);
}

/* n_external addresses, 256 to a number, and ports 1 to n_ports, the first at the node's too. */
static void put_service(struct sl_store *store, unsigned number, unsigned n_external, unsigned n_ports)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fprintf(out, "{'metadata':{'name':'s%u','namespace':'evil'},'spec':{", number);
	fprintf(out, is_v6 ? "'clusterIP':'fd00:96::%x','externalIPs':[" :
			     "'clusterIP':'10.96.1.%u','externalIPs':[", number);
	for (unsigned i = 0; i < n_external; i++) {
		fputs(i ? "," : "", out);
		put_external(out, number + i / 256, i % 256);
	}
	fputs("],'ports':[", out);
	for (unsigned i = 0; i < n_ports; i++)
		fprintf(out, "%s{'name':'a%u','port':%u%s}", i ? "," : "", i, i + 1,
			i ? "" : ",'nodePort':30001");
	fputs("]}}", out);
	put_stream(store, SL_KUBE_SERVICE, out, &text);
}

static void put_slice(struct sl_store *store, unsigned number, unsigned n_endpoints, unsigned n_ports)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fprintf(out, "{'metadata':{'name':'s%u-x','namespace':'evil','labels':{'kubernetes.io/service-name':"
		"'s%u'}},'addressType':'%s','ports':[", number, number, is_v6 ? "IPv6" : "IPv4");
	for (unsigned i = 0; i < n_ports; i++)
		fprintf(out, "%s{'name':'a%u','protocol':'TCP','port':%u}", i ? "," : "", i, i + 1);
	fputs("],'endpoints':[", out);
	for (unsigned i = 0; i < n_endpoints; i++) {
		fprintf(out, "%s{'addresses':[", i ? "," : "");
		put_endpoint(out, i / 250, i % 250);
		fputs("]}", out);
	}
	fputs("]}", out);
	put_stream(store, SL_KUBE_SLICE, out, &text);
}

static void expect_order(struct sl_store *store, const char *const *parts)
{
	char *text = policy_of(sl_store_objects(store), "cart"), *at = text;

	for (; *parts; parts++) {
		char *found = strstr(at, *parts);

		if (!found)
			fail_msg("\"%s\" is not where it should be in: %.3000s", *parts, text);
		at = found;
	}
	free(text);
}

/* 1.5 MB, which the API server takes, are 1,000 million addresses and ports: 100 GB. */
static void a_service_of_too_many_addresses_and_ports(void **state)
{
	struct sl_store *store = cluster(DENIES("[{'allow':'198.18.1.7'},{'deny':'10.9.9.9'},{'deny':'10.8.8.8'}]"));

	put_service(store, 1, 100, 40);
	put_slice(store, 1, 1, 40);
	expect_policy(store, "cart", "198.18.1.99", false);
	expect_policy(store, "cart", "too many addresses", false);
	put_service(store, 1, 100, 41);
	/* it is a whole: what was allowed before the first that may be an endpoint's stays so */
	expect_order(store, (const char *const[]){"allow: \"198.18.1.7\"", "deny:", "10.96.1.1", "198.18.1.99",
						  "192.168.0.1", "30001", "deny: \"10.9.9.9\"", "deny: \"10.8.8.8\"",
						  NULL});
	expect_policy(store, "cart", "10.96.1.1:", false);
	PUT(store, SL_KUBE_CLUSTER_OWN, DENIES("[{'allow':'198.18.1.7'}]"));
	expect_policy(store, "cart", "198.18.1.99", false);
	PUT(store, SL_KUBE_NETPOL, NETPOL("all", "[{}]"));
	expect_order(store, (const char *const[]){"allow: \"198.18.1.7\"", "deny:", "10.96.1.1", "198.18.1.99",
						  "192.168.0.1", "30001", "allow:", "any", NULL});
	put_service(store, 1, 100, 40);
	expect_policy(store, "cart", "198.18.1.99\n", false);
	sl_store_free(store);
	(void)state;
}

/* Each is none too many: the largest are taken as a whole, nobody else's. */
static void services_of_too_many_together(void **state)
{
	struct sl_store *store = cluster(DENIES("[{'deny':'10.9.3.249'}]"));

	for (unsigned i = 1; i <= 5; i++) {
		put_service(store, i, 9, i == 3 ? 100 : 80);
		put_slice(store, i, 1000, i == 3 ? 100 : 80);
	}
	expect_order(store, (const char *const[]){"deny:", "10.96.1.3", "198.18.3.8",
						  "deny: \"10.96.1.1:1/tcp\"", "deny: \"10.9.3.249\"", NULL});
	expect_policy(store, "cart", "10.96.1.3:", false);
	expect_policy(store, "cart", "deny: \"198.18.5.8:80/tcp\"", true);
	put_service(store, 3, 2, 80);
	expect_policy(store, "cart", "deny: \"10.96.1.3:80/tcp\"", true);
	sl_store_free(store);
	(void)state;
}

/* Each has an endpoint that is denied. */
static void put_services(struct sl_store *store, unsigned first, unsigned n, unsigned n_external,
			 unsigned n_ports)
{
	for (unsigned i = first; i < first + n; i++) {
		put_service(store, i * 4, n_external, n_ports);
		put_slice(store, i * 4, 1, n_ports);
	}
}

/* What the cluster's alone say; owned by the caller. Each Service of the list has a warning: that it is
 * taken as a whole. */
static char *cluster_policy_of(struct sl_store *store, const char *const *services)
{
	struct sl_kube *kube = sl_store_objects(store);
	struct sl_diag diag = {}, *before = kube->diag;
	struct sl_policy *policy = NULL;
	size_t len, n = 0;
	char *text;

	kube->diag = &diag;
	assert_int_equal(sl_kube_cluster_policy(kube, &kube->pods[0], &policy), 0);
	kube->diag = before;
	for (; services[n]; n++)
		assert_non_null(strstr(diag.entries[n].message, services[n]));
	assert_int_equal(diag.n, n);
	text = sl_policy_text(policy, &len);
	sl_policy_free(policy);
	sl_diag_free(&diag);
	return text;
}

static void expect_cluster(struct sl_store *store, const char *service, const char *part)
{
	char *text = cluster_policy_of(store, (const char *const[]){service, NULL});

	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %.3000s", part, text);
	free(text);
}

/* It was an error of every pod, and of what the cluster alone says: 33 Services of one tenant. */
static void denies_of_too_many_ports(void **state)
{
	static const char *const rules[] = {
		DENIES("[{'allow':'198.18.80.7'},{'deny':'10.9.0.0'},{'deny':'192.0.2.1'}]"),
		DENIES("[{'allow':'2001:db8:18:50::7'},{'deny':'fd00:9::'},{'deny':'192.0.2.1'}]"),
	};
	static const char *const parts[][8] = {
		{"allow: \"198.18.80.7\"", "deny:", "10.96.1.80", "198.18.82.70", "192.168.0.1", "30001",
		 "deny: \"10.96.1.4:1/tcp\"", "deny: \"10.9.0.0\""},
		{"allow: \"2001:db8:18:50::7\"", "deny:", "fd00:96::50", "2001:db8:18:52::46",
		 "deny: \"[fd00:96::4]:1/tcp\"", "deny: \"fd00:9::\""},
	};

	for (unsigned i = 0; i < 2; i++) {
		const char *order[9] = {};
		struct sl_store *store = cluster(rules[i]);

		is_v6 = i;
		memcpy(order, parts[i], sizeof(parts[i]));
		put_services(store, 1, 19, 510, 8);
		put_services(store, 20, 1, 583, 7);
		put_services(store, 21, 1, 510, 8);
		expect_policy(store, "cart", is_v6 ? "deny: \"[fd00:96::50]:7/tcp\"" :
						     "deny: \"10.96.1.80:7/tcp\"", true);
		put_services(store, 22, 1, 510, 8); /* the largest is none too many by itself */
		expect_order(store, order);
		expect_policy(store, "cart", is_v6 ? "[fd00:96::50]:" : "10.96.1.80:", false);
		expect_policy(store, "cart", is_v6 ? "deny: \"[fd00:96::58]:8/tcp\"" :
						     "deny: \"10.96.1.88:8/tcp\"", true);
		expect_cluster(store, "Service evil/s80 has too many", is_v6 ? "fd00:96::50" : "10.96.1.80");
		put_services(store, 23, 11, 510, 8);
		expect_order(store, order);
		sl_store_free(store);
	}
	is_v6 = false;
	(void)state;
}

/* More than 65,535 addresses, each with a rule of its own, are no policy that compiles. */
static void denies_of_too_many_addresses(void **state)
{
	struct sl_store *store = cluster(DENIES("[{'deny':'10.9.0.0'}]"));

	for (unsigned i = 1; i <= 6; i++)
		put_services(store, i * 4, 1, 4000, 1);
	expect_policy(store, "cart", "deny: \"10.96.1.96:1/tcp\"", true);
	put_services(store, 28, 1, 4094, 1);
	expect_policy(store, "cart", "deny: \"10.96.1.112", false);
	expect_policy(store, "cart", "deny: \"10.96.1.96:1/tcp\"", true);
	expect_cluster(store, "Service evil/s112 has too many", "10.96.1.112");
	sl_store_free(store);
	(void)state;
}

/* So with what follows from NetworkPolicies. */
static void ports_that_no_networkpolicy_allows(void **state)
{
	static const char *const egress[] = {
		NETPOL("all", "[{'to':[{'ipBlock':{'cidr':'0.0.0.0/0','except':['10.9.0.0/32']}}]}]"),
		NETPOL("all", "[{'to':[{'ipBlock':{'cidr':'::/0','except':['fd00:9::/128']}}]}]"),
	};
	static const char *const parts[][6] = {
		{"deny:", "10.96.1.80", "198.18.82.70", "deny: \"10.96.1.4:1/tcp\"", "allow:"},
		{"deny:", "fd00:96::50", "2001:db8:18:52::46", "deny: \"[fd00:96::4]:1/tcp\"", "allow:"},
	};

	for (unsigned i = 0; i < 2; i++) {
		struct sl_store *store = sl_store_new();

		is_v6 = i;
		PUT(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
		PUT(store, SL_KUBE_NETPOL, egress[i]);
		put_services(store, 1, 19, 510, 8);
		put_services(store, 20, 1, 583, 7);
		expect_policy(store, "cart", is_v6 ? "deny: \"[fd00:96::50]:7/tcp\"" :
						     "deny: \"10.96.1.80:7/tcp\"", true);
		put_services(store, 21, 2, 510, 8);
		expect_order(store, parts[i]);
		expect_policy(store, "cart", is_v6 ? "[fd00:96::50]:" : "10.96.1.80:", false);
		sl_store_free(store);
	}
	is_v6 = false;
	(void)state;
}

/* A look at each for each is 2,500 million, 5 s of a CPU. */
static void a_service_of_many_addresses_is_read_at_once(void **state)
{
	struct sl_store *store = sl_store_new();
	clock_t before = clock();
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("{'metadata':{'name':'s','namespace':'evil'},'spec':{'clusterIP':'10.96.1.1','clusterIPs':"
	      "['10.96.1.1'],'externalIPs':[", out);
	for (unsigned i = 0; i < 70000; i++)
		fprintf(out, "%s'20.%u.%u.%u'", i ? "," : "", i / 65536, i / 256 % 256, i % 256);
	fputs(",'20.0.0.0','20.0.0.1']}}", out);
	put_stream(store, SL_KUBE_SERVICE, out, &text);
	assert_true(clock() - before < 2 * CLOCKS_PER_SEC);
	assert_int_equal(sl_store_objects(store)->services[0].addresses.n, 1);
	assert_int_equal(sl_store_objects(store)->services[0].external.n, 70000);
	assert_int_equal(sl_store_objects(store)->services[0].external.list[69999].addr[1], 1);
	sl_store_free(store);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slice_with_a_port_of_any_number),
		cmocka_unit_test(a_service_with_an_address_of_any_form),
		cmocka_unit_test(an_endpoint_behind_nat64_is_the_address_in_it),
		cmocka_unit_test(a_service_of_too_many_addresses_and_ports),
		cmocka_unit_test(services_of_too_many_together),
		cmocka_unit_test(denies_of_too_many_ports),
		cmocka_unit_test(denies_of_too_many_addresses),
		cmocka_unit_test(ports_that_no_networkpolicy_allows),
		cmocka_unit_test(a_service_of_many_addresses_is_read_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
