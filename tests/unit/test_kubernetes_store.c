// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Objects as a server gives them, one by one: what the store makes of them is what the reader
 * of files makes of the same objects, whatever came and went before.
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

/* ---- changes ---- */

static void what_nobody_reads_is_no_change(void **state)
{
	struct sl_store *store = sl_store_new();
	__u64 version;

	PUT(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
	version = sl_store_version(store);
	PUT(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
	PUT(store, SL_KUBE_POD,
	    "{'metadata':{'name':'cart','namespace':'shop','labels':{'app':'cart'},"
	    "'resourceVersion':'7','annotations':{'a':'b'}},"
	    "'spec':{'containers':[{'name':'c','image':'other','ports':[{'name':'sql',"
	    "'containerPort':5432}]}]},'status':{'phase':'Running','podIP':'10.0.1.4',"
	    "'hostIP':'192.168.0.1','conditions':[{'type':'Ready'}]}}");
	assert_int_equal(sl_store_version(store), version);
	PUT(store, SL_KUBE_POD, POD("cart", "till", "10.0.1.4"));
	assert_int_not_equal(sl_store_version(store), version);
	assert_int_equal(sl_store_count(store, SL_KUBE_POD), 1);
	assert_int_equal(sl_store_objects(store)->n_pods, 1);
	sl_store_free(store);
	(void)state;
}

static void a_list_leaves_what_it_has(void **state)
{
	struct sl_store *store = sl_store_new();
	__u64 version;

	PUT(store, SL_KUBE_POD, POD("a", "x", "10.0.0.1"));
	PUT(store, SL_KUBE_POD, POD("b", "x", "10.0.0.2"));
	PUT(store, SL_KUBE_SERVICE, SERVICE("db", "10.96.0.1"));
	sl_store_begin_list(store, SL_KUBE_POD);
	PUT(store, SL_KUBE_POD, POD("b", "x", "10.0.0.2"));
	PUT(store, SL_KUBE_POD, POD("c", "x", "10.0.0.3"));
	assert_int_equal(sl_store_count(store, SL_KUBE_POD), 3);
	sl_store_end_list(store, SL_KUBE_POD);
	assert_int_equal(sl_store_count(store, SL_KUBE_POD), 2);
	assert_int_equal(sl_store_count(store, SL_KUBE_SERVICE), 1);
	version = sl_store_version(store);
	sl_store_begin_list(store, SL_KUBE_POD);
	PUT(store, SL_KUBE_POD, POD("c", "x", "10.0.0.3"));
	PUT(store, SL_KUBE_POD, POD("b", "x", "10.0.0.2"));
	sl_store_end_list(store, SL_KUBE_POD);
	assert_int_equal(sl_store_version(store), version);
	sl_store_free(store);
	(void)state;
}

static void peers_and_names_want_all_pods(void **state)
{
	static const struct {
		const char *egress;
		bool all;
	} cases[] = {
		{"[]", false},
		{"[{}]", false},
		{"[{'to':[{'ipBlock':{'cidr':'10.0.0.0/8'}}],'ports':[{'port':80}]}]", false},
		{"[{'to':[{'podSelector':{}}]}]", true},
		{"[{'to':[{'namespaceSelector':{}}]}]", true},
		{"[{'ports':[{'port':'sql'}]}]", true},
	};
	struct sl_store *store = sl_store_new();
	char text[1024];

	assert_false(sl_store_wants_all_pods(store));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), NETPOL("one", "%s"), cases[i].egress);
		PUT(store, SL_KUBE_NETPOL, text);
		assert_int_equal(sl_store_wants_all_pods(store), cases[i].all);
	}
	DROP(store, SL_KUBE_NETPOL, NETPOL("one", "[]"));
	assert_false(sl_store_wants_all_pods(store));
	sl_store_free(store);
	(void)state;
}

/* ---- what they mean ---- */

static void policies_follow_objects(void **state)
{
	struct sl_store *store = sl_store_new();

	PUT(store, SL_KUBE_NAMESPACE, NAMESPACE);
	PUT(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
	expect_policy(store, "cart", "not-selected", true);
	PUT(store, SL_KUBE_NETPOL,
	    NETPOL("inside", "[{'to':[{'podSelector':{'matchLabels':{'app':'db'}}}],"
			     "'ports':[{'port':'sql'}]}]"));
	expect_policy(store, "cart", "not-selected", false);
	expect_policy(store, "cart", "10.0.2.9", false);
	PUT(store, SL_KUBE_POD, POD("db", "db", "10.0.2.9"));
	PUT(store, SL_KUBE_SERVICE, SERVICE("db", "10.96.0.20"));
	expect_policy(store, "cart", "\"10.0.2.9:5432/tcp\"", true);
	expect_policy(store, "cart", "10.96.0.20", false);
	PUT(store, SL_KUBE_SLICE, SLICE("db-x", "db", "10.0.2.9"));
	expect_policy(store, "cart", "10.96.0.20", true);
	expect_policy(store, "cart", "egress[0]\"", true); /* and no line, which JSON has not */
	PUT(store, SL_KUBE_POD, POD("db", "other", "10.0.2.9"));
	expect_policy(store, "cart", "10.0.2.9", false);
	expect_policy(store, "cart", "10.96.0.20", false);
	DROP(store, SL_KUBE_NETPOL, NETPOL("inside", "[]"));
	expect_policy(store, "cart", "not-selected", true);
	DROP(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
	expect_policy(store, "cart", "there is no Pod shop/cart", true);
	sl_store_free(store);
	(void)state;
}

/* An order of arrival or removal is no order of rules. */
static void rules_stand_in_order_of_names(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d", "e"};
	struct sl_store *store = sl_store_new();
	char text[1024], *first, *then;

	PUT(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
	for (size_t i = 0; i < 5; i++) {
		snprintf(text, sizeof(text),
			 NETPOL("%s", "[{'to':[{'ipBlock':{'cidr':'10.%zu.0.0/16'}}]}]"), names[i], i);
		PUT(store, SL_KUBE_NETPOL, text);
	}
	first = policy_of(sl_store_objects(store), "cart");
	for (size_t k = 0; k < 5; k++) {
		size_t i = k * 3 % 5;

		snprintf(text, sizeof(text),
			 NETPOL("%s", "[{'to':[{'ipBlock':{'cidr':'10.%zu.0.0/16'}}]}]"), names[i], i);
		DROP(store, SL_KUBE_NETPOL, text);
		PUT(store, SL_KUBE_NETPOL, text);
	}
	then = policy_of(sl_store_objects(store), "cart");
	assert_string_equal(first, then);
	free(first);
	free(then);
	sl_store_free(store);
	(void)state;
}

/* ---- whatever came and went ---- */

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 8;
}

#define NAMES 24

/* Objects put and removed by chance: at the end the store is what a new one makes of those
 * that are left, and every element is where its record says. */
static void churn(void **state)
{
	unsigned seed = 7, alive[SL_KUBE_KINDS][NAMES] = {};
	struct sl_store *store = sl_store_new(), *fresh = sl_store_new();
	char text[1024], *a, *b;

	for (unsigned turn = 0; turn < 4000; turn++) {
		unsigned kind = next_random(&seed) % SL_KUBE_KINDS, n = next_random(&seed) % NAMES;
		unsigned value = next_random(&seed) % 200 + 1;

		snprintf(text, sizeof(text),
			 "{'metadata':{'name':'n%u','namespace':'shop','labels':{'app':'a%u',"
			 "'kubernetes.io/service-name':'n%u'}},'addressType':'IPv4',"
			 "'endpoints':[{'addresses':['10.0.0.%u']}],'ports':[{'port':%u}],"
			 "'subsets':[{'addresses':[{'ip':'10.0.0.%u'}],'ports':[{'port':%u}]},"
			 "{'addresses':[],'ports':[]}],'spec':{%s},'status':{'podIP':'10.0.1.%u',"
			 "'hostIP':'192.168.0.1'}}", n, value % 3, n, value, value, value, value,
			 kind == SL_KUBE_NETPOL ? "'podSelector':{},'egress':[{'to':[{'podSelector':"
			 "{'matchLabels':{'app':'a1'}}}]}]" : kind == SL_KUBE_SERVICE ?
			 "'clusterIP':'10.96.0.1','ports':[{'port':9}]" : kind == SL_KUBE_OWN ||
			 kind == SL_KUBE_CLUSTER_OWN ? "'rules':[]" : "'containers':[]", value);
		if (next_random(&seed) % 3) {
			PUT(store, kind, text);
			alive[kind][n] = value;
			PUT(fresh, kind, text);
		} else {
			DROP(store, kind, text);
			alive[kind][n] = 0;
		}
	}
	for (unsigned kind = 0; kind < SL_KUBE_KINDS; kind++) {
		size_t n = 0;

		for (unsigned i = 0; i < NAMES; i++) {
			n += alive[kind][i] != 0;
			snprintf(text, sizeof(text), "{'metadata':{'name':'n%u','namespace':'shop'}}", i);
			if (!alive[kind][i])
				DROP(fresh, kind, text);
		}
		assert_int_equal(sl_store_count(store, kind), n);
		assert_int_equal(sl_store_count(fresh, kind), n);
	}
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(text, sizeof(text), "n%u", i);
		a = policy_of(sl_store_objects(store), text);
		b = policy_of(sl_store_objects(fresh), text);
		assert_int_equal(strstr(a, "there is no Pod") != NULL, !alive[SL_KUBE_POD][i]);
		assert_int_equal(strlen(a), strlen(b)); /* peers stand in another order */
		free(a);
		free(b);
	}
	sl_store_free(store);
	sl_store_free(fresh);
	(void)state;
}

size_t __sanitizer_get_current_allocated_bytes(void); /* its header is not on every machine */

/* Whoever may write an object in his own namespace would else take it of every node for good. */
static void a_large_object_leaves_no_memory_behind(void **state)
{
	struct sl_store *store = sl_store_new();
	char *text;
	size_t len, before;
	FILE *out = open_memstream(&text, &len);

	PUT(store, SL_KUBE_NETPOL, NETPOL("all", "[{}]"));
	before = __sanitizer_get_current_allocated_bytes();
	fputs("{\"metadata\":{\"name\":\"all\",\"namespace\":\"shop\"},\"spec\":{\"podSelector\":{},"
	      "\"policyTypes\":[\"Egress\"],\"egress\":[{}", out);
	for (unsigned i = 1; i < 50000; i++)
		fputs(",{}", out);
	fputs("]}}", out);
	fclose(out);
	assert_int_equal(put(store, SL_KUBE_NETPOL, text), 0);
	free(text);
	assert_int_equal(sl_store_unreadable(store, SL_KUBE_NETPOL), 0);
	PUT(store, SL_KUBE_NETPOL, NETPOL("all", "[{}]"));
	assert_true(__sanitizer_get_current_allocated_bytes() < before + 65536);
	sl_store_free(store);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_nobody_reads_is_no_change),
		cmocka_unit_test(a_list_leaves_what_it_has),
		cmocka_unit_test(peers_and_names_want_all_pods),
		cmocka_unit_test(policies_follow_objects),
		cmocka_unit_test(rules_stand_in_order_of_names),
		cmocka_unit_test(churn),
		cmocka_unit_test(a_large_object_leaves_no_memory_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
