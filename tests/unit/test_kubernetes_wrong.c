// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Objects that cannot be read, or not in every part: what a store makes of them, and how it says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store_lab.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wrong_rule_is_said_with_its_place),
		cmocka_unit_test(a_policy_whose_selector_is_not_known_may_be_about_every_pod),
		cmocka_unit_test(hostile_objects),
		cmocka_unit_test(a_tree_is_as_deep_as_a_text_may_be),
		cmocka_unit_test(a_place_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
