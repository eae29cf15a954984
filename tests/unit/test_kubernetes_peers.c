// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* NetworkPolicies that choose the same pods many times: whoever may write them in his own namespace
 * does not have sluiced's memory for it. */
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

#define PODS 200
#define EVERY_POD "{\"namespaceSelector\":{}}"

static struct sl_store *cluster(void)
{
	struct sl_store *store = sl_store_new();
	char text[512];

	PUT(store, SL_KUBE_NAMESPACE, NAMESPACE);
	for (unsigned i = 0; i < PODS; i++) {
		snprintf(text, sizeof(text), POD("p%u", "cart", "10.1.0.%u"), i, i);
		PUT(store, SL_KUBE_POD, text);
	}
	return store;
}

/* A policy with n times `part` between `before` and `behind`. */
static void put_many(struct sl_store *store, const char *before, const char *part, unsigned n,
		     const char *behind)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("{\"metadata\":{\"name\":\"many\",\"namespace\":\"shop\"},\"spec\":{\"podSelector\":{},"
	      "\"policyTypes\":[\"Egress\"],\"egress\":[", out);
	fputs(before, out);
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%s%s", i ? "," : "", part);
	fprintf(out, "%s]}}", behind);
	fclose(out);
	assert_int_equal(put(store, SL_KUBE_NETPOL, text), 0);
	free(text);
}

static void a_pod_that_many_peers_choose_is_there_once(void **state)
{
	struct sl_store *store = cluster();
	char *once, *often;

	put_many(store, "{\"to\":[", EVERY_POD, 1, "]}");
	once = policy_of(sl_store_objects(store), "p7");
	put_many(store, "{\"to\":[", EVERY_POD ",{\"podSelector\":{}}", 500, "]}");
	often = policy_of(sl_store_objects(store), "p7");
	assert_non_null(strstr(once, "10.1.0.199"));
	assert_string_equal(once, often);
	free(once);
	free(often);
	sl_store_free(store);
	(void)state;
}

static void rules_that_choose_too_many_are_an_error(void **state)
{
	static const char rule[] = "{\"to\":[" EVERY_POD "]}",
			  named[] = "{\"port\":\"sql\"}";
	struct sl_store *store = cluster();

	put_many(store, "", rule, 100, "");
	expect_policy(store, "p7", "10.1.0.199", true);
	put_many(store, "", rule, SL_KUBE_HOSTS / PODS + 1, "");
	expect_policy(store, "p7", "choose more than 4194304 addresses", true);
	/* a name that is there again says nothing more */
	put_many(store, "{\"to\":[" EVERY_POD "],\"ports\":[", named, SL_KUBE_HOSTS / PODS + 1, "]}");
	expect_policy(store, "p7", "10.1.0.199", true);
	put_many(store, "{\"to\":[" EVERY_POD "],\"ports\":[", named, 1, "]}");
	expect_policy(store, "p7", "10.1.0.199", true);
	sl_store_free(store);
	(void)state;
}

static void selectors_that_ask_too_often_are_an_error(void **state)
{
	static const char none[] = "{\"podSelector\":{\"matchLabels\":{\"app\":\"x\"}}}";
	struct sl_store *store = cluster();

	put_many(store, "{\"to\":[{\"podSelector\":{}},", none, 1000, "]}");
	expect_policy(store, "p7", "10.1.0.199", true);
	put_many(store, "{\"to\":[{\"podSelector\":{}},", none, SL_KUBE_ASKED / PODS, "]}");
	expect_policy(store, "p7", "more than 16777216 pods would have to be looked at", true);
	sl_store_free(store);
	(void)state;
}

/* ---- ports by name ---- */

static double cpu_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* As many as a pod and a policy of the API server's size may have, but one in four: each looked for among
 * all is 3 s of a CPU, 34 s of four times as many. */
static void many_ports_many_names(void **state)
{
	struct sl_store *store = cluster();
	char *text = NULL, *policy;
	double seconds;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("{\"metadata\":{\"name\":\"many\",\"namespace\":\"shop\"},\"spec\":{\"containers\":[{\"ports\":[",
	      out);
	for (unsigned i = 0; i < 15000; i++)
		fprintf(out, "%s{\"name\":\"a%u\",\"containerPort\":%u,\"protocol\":\"%s\"}", i ? "," : "", i, i + 1,
			i % 2 ? "UDP" : "TCP");
	fputs("]}]},\"status\":{\"podIP\":\"10.1.1.1\"}}", out);
	fclose(out);
	assert_int_equal(put(store, SL_KUBE_POD, text), 0);
	free(text);
	out = open_memstream(&text, &len);
	for (unsigned i = 0; i < 15000; i++)
		fprintf(out, "%s{\"port\":\"a%u\",\"protocol\":\"%s\"}", i ? "," : "", i, i % 4 < 2 ? "UDP" : "TCP");
	fclose(out);
	put_many(store, "{\"ports\":[", text, 1, "]}");
	free(text);
	seconds = cpu_s();
	policy = policy_of(sl_store_objects(store), "p7");
	seconds = cpu_s() - seconds;
	printf("15000 names of 15000 ports: %.0f ms\n", seconds * 1e3);
	assert_true(strstr(policy, "allow: \"10.1.1.1:14999/tcp\"") && strstr(policy, "allow: \"10.1.1.1:2/udp\""));
	/* the name is of the other protocol's */
	assert_false(strstr(policy, "10.1.1.1:1/") || strstr(policy, "10.1.1.1:15000/"));
	assert_true(seconds < 1);
	free(policy);
	sl_store_free(store);
	(void)state;
}

/* Two names of one port, two ports of one name. */
static void a_port_is_what_each_pod_calls_so(void **state)
{
	struct sl_store *store = sl_store_new();

	PUT(store, SL_KUBE_POD, POD("one", "cart", "10.1.0.1"));
	PUT(store, SL_KUBE_POD, "{'metadata':{'name':'two','namespace':'shop'},'spec':{'containers':[{'ports':["
	    "{'name':'sql','containerPort':6000},{'name':'pg','containerPort':6000}]},{'ports':["
	    "{'name':'sql','containerPort':5432},{'name':'web','containerPort':80}]}]},"
	    "'status':{'podIPs':[{'ip':'10.1.0.2'},{'ip':'fd00::2'}]}}");
	PUT(store, SL_KUBE_NETPOL, NETPOL("one", "[{'ports':[{'port':'sql'},{'port':'pg'},{'port':'sql'}]}]"));
	expect_policy(store, "one", "allow: {to: [10.1.0.1, 10.1.0.2, \"fd00::2\"], ports: 5432, protocol: tcp}", true);
	expect_policy(store, "one", "allow: {to: [10.1.0.2, \"fd00::2\"], ports: 6000, protocol: tcp}", true);
	expect_policy(store, "one", "80", false);
	sl_store_free(store);
	(void)state;
}

/* ---- namespaces ---- */

#define OF_TEAM(team) "[{'to':[{'namespaceSelector':{'matchLabels':{'team':'" team "'}}}]}]"
#define TEAM(name, team) "{'metadata':{'name':'" name "','labels':{'team':'" team "'}}}"

static void a_namespace_counts_as_it_is_now(void **state)
{
	struct sl_store *store = cluster();

	PUT(store, SL_KUBE_NETPOL, NETPOL("one", OF_TEAM("red")));
	PUT(store, SL_KUBE_NAMESPACE, TEAM("zoo", "red"));
	expect_policy(store, "p7", "10.1.0.199", false);
	PUT(store, SL_KUBE_NAMESPACE, TEAM("shop", "red"));
	expect_policy(store, "p7", "10.1.0.199", true);
	PUT(store, SL_KUBE_NAMESPACE, TEAM("art", "blue"));
	expect_policy(store, "p7", "10.1.0.199", true);
	DROP(store, SL_KUBE_NAMESPACE, TEAM("zoo", "red"));
	expect_policy(store, "p7", "10.1.0.199", true);
	PUT(store, SL_KUBE_NAMESPACE, TEAM("shop", "blue"));
	expect_policy(store, "p7", "10.1.0.199", false);
	DROP(store, SL_KUBE_NAMESPACE, TEAM("shop", "blue"));
	expect_policy(store, "p7", "add the Namespace shop to the objects", true);
	sl_store_free(store);
	(void)state;
}

/* 40 million names compared, if each is looked for among all. */
static void many_namespaces_many_peers(void **state)
{
	struct sl_store *store = sl_store_new();
	char text[512], *policy;
	double seconds;

	for (unsigned i = 0; i < 2000; i++) {
		snprintf(text, sizeof(text), TEAM("a-long-name-%u", "t%u"), i, i);
		PUT(store, SL_KUBE_NAMESPACE, text);
	}
	PUT(store, SL_KUBE_NAMESPACE, NAMESPACE);
	PUT(store, SL_KUBE_POD, POD("p0", "cart", "10.1.0.1"));
	for (unsigned i = 0; i < 4000; i++) {
		snprintf(text, sizeof(text), "{'metadata':{'name':'q%u','namespace':'a-long-name-%u'},'spec':{},"
			 "'status':{'podIP':'10.2.%u.%u'}}", i, i % 2000, i / 250, i % 250);
		PUT(store, SL_KUBE_POD, text);
	}
	put_many(store, "{\"to\":[{\"namespaceSelector\":{\"matchLabels\":{\"team\":\"t1999\"}}},",
		 "{\"namespaceSelector\":{\"matchLabels\":{\"team\":\"none\"}}}", 9, "]}");
	seconds = cpu_s();
	policy = policy_of(sl_store_objects(store), "p0");
	seconds = cpu_s() - seconds;
	printf("4000 pods, 2000 namespaces, 10 peers: %.0f ms\n", seconds * 1e3);
	assert_true(strstr(policy, "10.2.7.249") && strstr(policy, "10.2.15.249") && !strstr(policy, "10.2.7.248"));
	assert_true(seconds < 0.5);
	free(policy);
	sl_store_free(store);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_namespace_counts_as_it_is_now),
		cmocka_unit_test(many_namespaces_many_peers),
		cmocka_unit_test(a_pod_that_many_peers_choose_is_there_once),
		cmocka_unit_test(rules_that_choose_too_many_are_an_error),
		cmocka_unit_test(selectors_that_ask_too_often_are_an_error),
		cmocka_unit_test(many_ports_many_names),
		cmocka_unit_test(a_port_is_what_each_pod_calls_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
