// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Objects as a server gives them, one by one: what the store makes of them is what the reader
 * of files makes of the same objects, whatever came and went before.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kubernetes/json_tree.h"
#include "kubernetes/store.h"

static json_t *json_of(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!json)
		fail_msg("%s: %s", text, error.text);
	return json;
}

static int put(struct sl_store *store, enum sl_kube_kind kind, const char *text)
{
	json_t *json = json_of(text);
	const char *why;
	int err = sl_store_put(store, kind, json, &why);

	assert_true(err != -EINVAL || why);
	json_decref(json);
	return err;
}

static int drop(struct sl_store *store, enum sl_kube_kind kind, const char *text)
{
	json_t *json = json_of(text);
	const char *why;
	int err = sl_store_remove(store, kind, json, &why);

	json_decref(json);
	return err;
}

/* ---- texts ---- */

#define NAMESPACE "{'metadata':{'name':'shop','labels':{'tier':'prod'}}}"
#define POD(name, app, ip)                                                                   \
	"{'metadata':{'name':'" name "','namespace':'shop','labels':{'app':'" app "'},"      \
	"'managedFields':[{'manager':'kubelet'}]},"                                          \
	"'spec':{'containers':[{'name':'c','image':'i','ports':[{'name':'sql',"              \
	"'containerPort':5432}]}]},"                                                         \
	"'status':{'phase':'Running','podIP':'" ip "','hostIP':'192.168.0.1'}}"
#define NETPOL(name, egress)                                                                 \
	"{'metadata':{'name':'" name "','namespace':'shop'},'spec':{'podSelector':{},"       \
	"'policyTypes':['Egress'],'egress':" egress "}}"
#define OWN(name, rules)                                                                     \
	"{'metadata':{'name':'" name "','namespace':'shop','generation':3},'spec':"          \
	"{'podSelector':{'matchLabels':{'app':'cart'}},'rules':" rules "}}"
#define SERVICE(name, ip)                                                                    \
	"{'metadata':{'name':'" name "','namespace':'shop'},'spec':{'clusterIP':'" ip "',"   \
	"'ports':[{'port':5432}]}}"
#define SLICE(name, service, ip)                                                             \
	"{'metadata':{'name':'" name "','namespace':'shop','labels':"                        \
	"{'kubernetes.io/service-name':'" service "'}},'addressType':'IPv4',"                \
	"'ports':[{'port':5432}],'endpoints':[{'addresses':['" ip "']}]}"

/* The texts above, with the quotes of JSON. */
static const char *quoted(const char *text)
{
	static char buf[4][4096];
	static unsigned turn;
	char *to = buf[turn++ % 4];

	snprintf(to, sizeof(buf[0]), "%s", text);
	for (char *c = to; *c; c++)
		if (*c == '\'')
			*c = '"';
	return to;
}

#define PUT(store, kind, text) assert_int_equal(put(store, kind, quoted(text)), 0)
#define DROP(store, kind, text) assert_int_equal(drop(store, kind, quoted(text)), 0)

/* What is printed for a pod, or the errors; owned by the caller. */
static char *policy_of(struct sl_kube *kube, const char *pod)
{
	struct sl_diag diag = {}, *before = kube->diag;
	struct sl_policy *policy;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	kube->diag = &diag;
	if (sl_kube_policy(kube, "shop", pod, &policy)) {
		sl_diag_print(&diag, out);
	} else {
		sl_policy_print(policy, out);
		sl_policy_free(policy);
	}
	fclose(out);
	kube->diag = before;
	sl_diag_free(&diag);
	return text;
}

static void expect_policy(struct sl_store *store, const char *pod, const char *part, bool there)
{
	char *text = policy_of(sl_store_objects(store), pod);

	if (!strstr(text, part) == there)
		fail_msg("\"%s\" is %sin: %s", part, there ? "not " : "", text);
	free(text);
}

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

/* ---- what cannot be read ---- */

struct found {
	char error[512];
	bool any;
};

static int take_error(void *context, const struct sl_stored *stored)
{
	struct found *found = context;

	found->any = true;
	snprintf(found->error, sizeof(found->error), "%s/%s %lld: %s", stored->namespace,
		 stored->name, (long long)stored->generation, stored->error ? stored->error : "-");
	return 1;
}

static void a_wrong_rule_is_said_with_its_place(void **state)
{
	struct sl_store *store = sl_store_new();
	struct found found = {};

	PUT(store, SL_KUBE_NAMESPACE, NAMESPACE);
	PUT(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
	PUT(store, SL_KUBE_POD, POD("db", "db", "10.0.1.5"));
	PUT(store, SL_KUBE_OWN, OWN("pay", "[{'allow':'10.0.0.1'},{'allow':['1.2.3.4:99999']}]"));
	assert_int_equal(sl_store_unreadable(store, SL_KUBE_OWN), 1);
	sl_store_each(store, SL_KUBE_OWN, take_error, &found);
	if (!strstr(found.error, "shop/pay 3: EgressPolicy shop/pay spec.rules[1].allow[0]: "))
		fail_msg("%s", found.error);
	/* and it holds for whom it selects */
	expect_policy(store, "cart", "EgressPolicy shop/pay spec.rules[1].allow[0]", true);
	expect_policy(store, "db", "not-selected", true);
	PUT(store, SL_KUBE_OWN, OWN("pay", "[{'allow':'10.0.0.1'}]"));
	assert_int_equal(sl_store_unreadable(store, SL_KUBE_OWN), 0);
	expect_policy(store, "cart", "10.0.0.1", true);
	sl_store_free(store);
	(void)state;
}

static void a_policy_whose_selector_is_not_known_may_be_about_every_pod(void **state)
{
	static const struct {
		enum sl_kube_kind kind;
		const char *text;
		bool here;
	} cases[] = {
		{SL_KUBE_NETPOL, "{'metadata':{'name':'n','namespace':'shop'},'spec':{'new':1}}", true},
		{SL_KUBE_NETPOL, "{'metadata':{'name':'n','namespace':'shop'}}", true},
		{SL_KUBE_NETPOL, "{'metadata':{'name':'n','namespace':'shop2'}}", false},
		{SL_KUBE_NETPOL, "{'metadata':{'name':'n','namespace':'sho'}}", false},
		{SL_KUBE_OWN, "{'metadata':{'name':'n','namespace':'shop'},"
			      "'spec':{'podSelector':{'matchLabels':[]}}}", true},
		{SL_KUBE_CLUSTER_OWN, "{'metadata':{'name':'n'},'spec':{'podSelector':7}}", true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_store *store = sl_store_new();

		PUT(store, SL_KUBE_POD, POD("cart", "cart", "10.0.1.4"));
		PUT(store, cases[i].kind, cases[i].text);
		assert_int_equal(sl_store_unreadable(store, cases[i].kind), 1);
		expect_policy(store, "cart", "it is not known whether it is about pods of shop",
			      cases[i].here);
		DROP(store, cases[i].kind, cases[i].text);
		expect_policy(store, "cart", "not-selected", true);
		sl_store_free(store);
	}
	(void)state;
}

static void hostile_objects(void **state)
{
	static const char *const nameless[] = {
		"{}", "[]", "7", "null", "{'metadata':7}", "{'metadata':{'name':7}}",
		"{'metadata':{'name':''}}", "{'metadata':{'name':'a/b'}}",
		"{'metadata':{'name':'a','namespace':'b/c'}}",
		"{'metadata':{'name':'a','namespace':7}}",
		"{'metadata':{'name':'a\\u001b[31m'}}", "{'metadata':{'name':'a b'}}",
	};
	static const char *const odd[] = {
		"{'metadata':{'name':'a'},'spec':[],'status':[],'ports':{},'endpoints':{},"
		"'subsets':7}",
		"{'metadata':{'name':'a','labels':[1]},'spec':{'containers':{},'ports':[[]],"
		"'clusterIP':7,'egress':[7]},'status':{'podIP':'x'},'endpoints':[7],"
		"'subsets':[[]]}",
		"{'metadata':{'name':'a','labels':{'a':{'b':1}}},'spec':{'rules':[[[[[[[]]]]]]]},"
		"'status':{'podIPs':[{'ip':{'a':1}}]},'subsets':[{'addresses':[{}]}]}",
		"{'metadata':{'name':'a'},'spec':{'podSelector':null,'rules':[{'allow':1e400}]}}",
	};
	struct sl_store *store = sl_store_new();

	for (unsigned kind = 0; kind < SL_KUBE_KINDS; kind++) {
		for (size_t i = 0; i < sizeof(nameless) / sizeof(*nameless); i++) {
			json_t *json = json_loads(quoted(nameless[i]), JSON_DECODE_ANY, NULL);
			const char *why = NULL;

			assert_int_equal(sl_store_put(store, kind, json, &why), -EINVAL);
			assert_non_null(why);
			json_decref(json);
		}
		assert_int_equal(sl_store_count(store, kind), 0);
		for (size_t i = 0; i < sizeof(odd) / sizeof(*odd) - 1; i++)
			PUT(store, kind, odd[i]);
		assert_int_equal(sl_store_count(store, kind), 1);
	}
	sl_store_free(store);
	(void)state;
}

static void a_tree_is_as_deep_as_a_text_may_be(void **state)
{
	static const char *const all[] = {"a", NULL};
	struct sl_json_tree_options options = {all, "deep", true};
	struct sl_json_tree tree = {};

	for (unsigned depth = 60; depth < 70; depth++) {
		json_t *json = json_array(), *top = json_object();
		int err;

		for (unsigned i = 2; i < depth; i++) {
			json_t *outer = json_array();

			json_array_append_new(outer, json);
			json = outer;
		}
		json_object_set_new(top, "a", json);
		err = sl_json_tree_make(top, &options, &tree);
		assert_int_equal(err, depth > 64 ? -EINVAL : 0);
		sl_json_tree_free(&tree);
		json_decref(top);
	}
	(void)state;
}

/* A key as long as an object may be is not written once for each of ten thousand below it. */
static void a_place_is_cut(void **state)
{
	static const char *const all[] = {"a", NULL};
	struct sl_json_tree_options options = {all, "Long x/y", true};
	struct sl_json_tree tree = {};
	json_t *top = json_object(), *list = json_array(), *in = json_object();
	char *key = malloc(100001);

	memset(key, 'k', 100000);
	key[100000] = '\0';
	for (unsigned i = 0; i < 1000; i++)
		json_array_append_new(list, json_integer(i));
	json_object_set_new(in, key, list);
	json_object_set_new(top, "a", in);
	assert_int_equal(sl_json_tree_make(top, &options, &tree), 0);
	assert_true(tree.len < 600000);
	assert_string_equal(tree.nodes[tree.n - 4].event.scalar, "999");
	assert_true(strlen(tree.nodes[tree.n - 4].event.pos.file) < 260);
	sl_json_tree_free(&tree);
	json_decref(top);
	free(key);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_nobody_reads_is_no_change),
		cmocka_unit_test(a_list_leaves_what_it_has),
		cmocka_unit_test(peers_and_names_want_all_pods),
		cmocka_unit_test(policies_follow_objects),
		cmocka_unit_test(rules_stand_in_order_of_names),
		cmocka_unit_test(a_wrong_rule_is_said_with_its_place),
		cmocka_unit_test(a_policy_whose_selector_is_not_known_may_be_about_every_pod),
		cmocka_unit_test(hostile_objects),
		cmocka_unit_test(a_tree_is_as_deep_as_a_text_may_be),
		cmocka_unit_test(a_place_is_cut),
		cmocka_unit_test(churn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
