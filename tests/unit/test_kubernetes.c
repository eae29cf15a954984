// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Objects of Kubernetes under the sanitizers: selectors, blocks less their exceptions, and
 * texts cut off and changed. What policies mean: tests/oracle/kubernetes_differential.py.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kubernetes/objects.h"
#include "kubernetes/source.h"

/* ---- selectors ---- */

/* 1: it selects the labels; 0: it does not; -EINVAL: refused. Both are YAML. */
static int selects(const char *selector_text, const char *labels_text)
{
	struct sl_tree selector_tree, labels_tree;
	struct sl_selector selector;
	struct sl_labels labels;
	struct sl_diag diag = {};
	int result;

	assert_int_equal(sl_tree_read(selector_text, strlen(selector_text), "s", &selector_tree,
				      &diag), 0);
	assert_int_equal(sl_tree_read(labels_text, strlen(labels_text), "l", &labels_tree, &diag), 0);
	result = sl_selector_read(selector_tree.nodes, &selector, &diag);
	assert_int_equal(sl_labels_read(labels_tree.nodes, &labels, &diag), 0);
	if (!result)
		result = sl_selector_matches(&selector, &labels);
	else
		assert_int_equal(diag.n_errors, 1);
	sl_selector_free(&selector);
	sl_labels_free(&labels);
	sl_tree_free(&selector_tree);
	sl_tree_free(&labels_tree);
	sl_diag_free(&diag);
	return result;
}

#define EXPRESSION(text) "matchExpressions: [{" text "}]"

static void selector_operators(void **state)
{
	static const struct {
		const char *selector, *labels;
		int result;
	} cases[] = {
		{"{}", "{}", 1},
		{"{}", "{a: b}", 1},
		{"matchLabels: {a: b}", "{a: b, c: d}", 1},
		{"matchLabels: {a: b}", "{a: c}", 0},
		{"matchLabels: {a: b}", "{}", 0},
		{"matchLabels: {a: b, c: d}", "{a: b}", 0},
		{"matchLabels: {a: ''}", "{a: ''}", 1},
		{"matchLabels: {a: ''}", "{}", 0},
		{EXPRESSION("key: a, operator: In, values: [b, c]"), "{a: c}", 1},
		{EXPRESSION("key: a, operator: In, values: [b, c]"), "{a: d}", 0},
		{EXPRESSION("key: a, operator: In, values: [b, c]"), "{}", 0},
		{EXPRESSION("key: a, operator: NotIn, values: [b]"), "{a: b}", 0},
		{EXPRESSION("key: a, operator: NotIn, values: [b]"), "{a: c}", 1},
		{EXPRESSION("key: a, operator: NotIn, values: [b]"), "{}", 1},
		{EXPRESSION("key: a, operator: Exists"), "{a: ''}", 1},
		{EXPRESSION("key: a, operator: Exists, values: []"), "{}", 0},
		{EXPRESSION("key: a, operator: DoesNotExist"), "{}", 1},
		{EXPRESSION("key: a, operator: DoesNotExist"), "{a: b}", 0},
		{"matchLabels: {a: b}\n" EXPRESSION("key: c, operator: Exists"), "{a: b}", 0},
		{"matchLabels: {a: '5'}", "{a: '5'}", 1},
		{EXPRESSION("key: a, operator: In"), "{}", -EINVAL},
		{EXPRESSION("key: a, operator: In, values: []"), "{}", -EINVAL},
		{EXPRESSION("key: a, operator: Exists, values: [b]"), "{}", -EINVAL},
		{EXPRESSION("key: a, operator: in, values: [b]"), "{}", -EINVAL},
		{EXPRESSION("operator: Exists"), "{}", -EINVAL},
		{EXPRESSION("key: a, operator: Exists, value: b"), "{}", -EINVAL},
		{"matchLabels: {a: 5}", "{}", -EINVAL},
		{"matchLabels: {a: yes}", "{}", -EINVAL},
		{"matchLabels: {a: }", "{}", -EINVAL},
		{"matchLabel: {a: b}", "{}", -EINVAL},
		{"[a]", "{}", -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (selects(cases[i].selector, cases[i].labels) != cases[i].result)
			fail_msg("%s over %s", cases[i].selector, cases[i].labels);
}

/* ---- blocks ---- */

static struct sl_cidr cidr_of(const char *text)
{
	struct sl_cidr cidr;
	bool masked;

	assert_int_equal(sl_cidr_parse(text, strlen(text), &cidr, &masked), 0);
	assert_false(masked);
	return cidr;
}

static bool in_any(const struct sl_cidr *address, const struct sl_addresses *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (sl_cidr_within(address, &list->list[i]))
			return true;
	return false;
}

/* Every address of a /22 is either in what is left or in an exception, never in both. */
static void carving_leaves_what_no_exception_has(void **state)
{
	struct sl_cidr excepted[] = {cidr_of("10.0.1.0/24"), cidr_of("10.0.1.7/32"),
				     cidr_of("10.0.0.0/31"), cidr_of("10.0.3.255/32")};
	struct sl_addresses except = {excepted, 4}, left = {};
	struct sl_cidr block = cidr_of("10.0.0.0/22"), address = cidr_of("10.0.0.0/32");

	(void)state;
	assert_int_equal(sl_carve(&block, &except, &left), 0);
	for (unsigned i = 0; i < 2048; i++) {
		__be32 word = htonl(0x0a000000 + i);

		memcpy(address.addr, &word, sizeof(word));
		assert_int_equal(in_any(&address, &left), i < 1024 && !in_any(&address, &except));
	}
	free(left.list);
}

static void carving_the_whole_address_space(void **state)
{
	struct sl_cidr one = cidr_of("2001:db8::1/128"), next = cidr_of("2001:db8::/128");
	struct sl_cidr all = cidr_of("::/0");
	struct sl_addresses except = {&one, 1}, left = {};

	(void)state;
	assert_int_equal(sl_carve(&all, &except, &left), 0);
	assert_int_equal(left.n, 128);
	assert_false(in_any(&one, &left));
	assert_true(in_any(&next, &left));
	free(left.list);
	left = (struct sl_addresses){};
	except.list = &all;
	assert_int_equal(sl_carve(&all, &except, &left), 0);
	assert_int_equal(left.n, 0);
}

#define EXCEPTIONS 8192

/* Lists of a cloud's prefixes have thousands, and a pod's policy is made anew with each change. */
static void carving_many_exceptions(void **state)
{
	struct sl_cidr block = cidr_of("10.0.0.0/8"), *list = calloc(EXCEPTIONS, sizeof(*list));
	struct sl_addresses except = {list, EXCEPTIONS}, left = {};
	struct timespec before, after;

	(void)state;
	for (unsigned i = 0; i < EXCEPTIONS; i++) {
		__be32 word = htonl(0x0a000000 + (i * 4801 % EXCEPTIONS) * 1024 + 256);

		list[i] = (struct sl_cidr){.family = 4, .len = 32};
		memcpy(list[i].addr, &word, sizeof(word));
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	assert_int_equal(sl_carve(&block, &except, &left), 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	/* ten for each /22 that one is in, and the other /9 */
	assert_int_equal(left.n, EXCEPTIONS * 10 + 1);
	printf("%u exceptions: %.0f ms\n", EXCEPTIONS, (double)(after.tv_sec - before.tv_sec) * 1e3 +
	       (double)(after.tv_nsec - before.tv_nsec) / 1e6);
	free(left.list);
	free(list);
}

/* ---- texts ---- */

static const char sample[] =
	"apiVersion: v1\nkind: List\nitems:\n"
	"- {apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {t: r}}}\n"
	"- apiVersion: v1\n  kind: Pod\n  metadata: {name: a, namespace: x, managedFields: [{f: {}}]}\n"
	"  spec: {containers: [{ports: [{name: web, containerPort: 80}]}]}\n"
	"  status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], hostIP: 10.9.0.1}\n"
	"---\n"
	"{\"apiVersion\": \"networking.k8s.io/v1\", \"kind\": \"NetworkPolicy\",\n"
	" \"metadata\": {\"name\": \"n\", \"namespace\": \"x\"}, \"spec\": {\"egress\": [\n"
	" {\"to\": [{\"ipBlock\": {\"cidr\": \"10.0.0.0/8\", \"except\": [\"10.1.0.0/16\"]}},\n"
	" {\"podSelector\": {}, \"namespaceSelector\": {\"matchLabels\": {\"t\": \"r\"}}}],\n"
	" \"ports\": [{\"port\": \"web\"}, {\"port\": 80, \"endPort\": 90, \"protocol\": \"UDP\"}]}]}}\n"
	"---\n"
	"apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: x}\n"
	"spec: {clusterIP: 10.96.0.1, externalIPs: [192.0.2.1], ports: [{port: 80, nodePort: 30080}]}\n"
	"status: {loadBalancer: {ingress: [{ip: 192.0.2.2}, {ip: 192.0.2.3, ipMode: Proxy}]}}\n---\n"
	"apiVersion: v1\nkind: Endpoints\nmetadata: {name: s, namespace: x}\n"
	"subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.1.0.1}], ports: [{port: 80}]}]\n---\n"
	"apiVersion: sluice.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: e, namespace: x}\n"
	"spec: {podSelector: {}, sets: {m: [10.3.0.0/16]}, rules: [{deny: '@m', id: i},\n"
	"  {deny: {to: 10.1.0.1, uid: root}}, {deny: '@private', expires: 2099-01-01}]}\n";

/* Of a copy of its very length, so that reading past the end is seen. */
static int convert(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	struct sl_diag diag = {};
	struct sl_kube *kube = sl_kube_new(&diag);
	struct sl_policy *policy = NULL;
	int err;

	assert_non_null(copy);
	memcpy(copy, text, len);
	err = sl_kube_add(kube, copy, len, "test");
	free(copy);
	if (!err)
		err = sl_kube_policy(kube, "x", "a", &policy);
	if (err)
		assert_true(err != -ENOMEM && diag.n_errors > 0);
	else
		assert_int_equal(diag.n_errors, 0);
	sl_policy_free(policy);
	sl_kube_free(kube);
	sl_diag_free(&diag);
	return err;
}

static void a_text_cut_at_each_byte(void **state)
{
	(void)state;
	assert_int_equal(convert(sample, sizeof(sample) - 1), 0);
	for (size_t len = 0; len < sizeof(sample); len++)
		convert(sample, len);
}

static void a_text_changed_at_each_byte(void **state)
{
	static const char bytes[] = "]}[{:,-0'\n\x01";
	char *text = strdup(sample);

	(void)state;
	for (size_t i = 0; i < sizeof(sample) - 1; i++) {
		text[i] = bytes[i % (sizeof(bytes) - 1)];
		convert(text, sizeof(sample) - 1);
		text[i] = sample[i];
	}
	free(text);
}

/* ---- whose uid it is ---- */

#define HASH "0123456789abcdef0123456789abcdef"
#define POD(name, more) \
	"---\n{apiVersion: v1, kind: Pod, metadata: {name: " name ", namespace: ns, " more "}}\n"
#define MIRROR(name, made) \
	POD(name, "uid: u-" name ", creationTimestamp: '" made "', " \
	    "annotations: {kubernetes.io/config.mirror: " HASH "}")

/* The name of the pod with that uid, or "" */
static void assert_is(const char *text, const char *uid, const char *name)
{
	struct sl_diag diag = {};
	struct sl_kube *kube = sl_kube_new(&diag);
	const struct sl_kube_pod *pod;

	assert_int_equal(sl_kube_add(kube, text, strlen(text), "t"), 0);
	pod = sl_kube_find_uid(kube, uid);
	assert_string_equal(pod ? pod->object.name : "", name);
	sl_kube_free(kube);
	sl_diag_free(&diag);
}

static void a_forged_mirror_takes_nothing(void **state)
{
	const char *const true_one = MIRROR("proxy", "2026-11-26T10:00:00Z");
	char *text;

	(void)state;
	assert_is(true_one, HASH, "proxy");
	assert_is(MIRROR("forged", "2026-11-26T10:00:01Z") MIRROR("proxy", "2026-11-26T10:00:00Z"),
		  HASH, "proxy");
	assert_is(MIRROR("proxy", "2026-11-26T10:00:00Z") MIRROR("forged", "2026-11-26T10:00:01Z")
		  MIRROR("more", "2026-11-26T10:00:01Z"), HASH, "proxy");
	/* which was first is not known: none of them */
	assert_is(MIRROR("a", "2026-11-26T10:00:00Z") MIRROR("b", "2026-11-26T10:00:00Z"), HASH, "");
	assert_is(MIRROR("a", "2026-11-26T10:00:00Z") MIRROR("b", "yesterday"), HASH, "");
	assert_true(asprintf(&text, "%s%s", MIRROR("a", "2026-11-26T10:00:02Z"),
			     MIRROR("b", "2026-11-26T10:00:01Z") MIRROR("c", "2026-11-26T10:00:01Z")) > 0);
	assert_is(text, HASH, "");
	free(text);
	/* the uid that the API server gave a mirror is no cgroup's */
	assert_is(true_one, "u-proxy", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(selector_operators),
		cmocka_unit_test(carving_leaves_what_no_exception_has),
		cmocka_unit_test(carving_the_whole_address_space),
		cmocka_unit_test(carving_many_exceptions),
		cmocka_unit_test(a_text_cut_at_each_byte),
		cmocka_unit_test(a_text_changed_at_each_byte),
		cmocka_unit_test(a_forged_mirror_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
