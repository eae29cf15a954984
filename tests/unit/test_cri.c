// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A runtime's answers under the sanitizers: whole, cut at each byte, changed at each byte, made
 * to take memory. How they come: test_cri_client.py.
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

#include "cri/cri.h"

/* ---- messages, by hand: what read.c is made of does not make its own tests ---- */

struct message {
	unsigned char bytes[8192];
	size_t n;
};

static void put_number(struct message *m, uint64_t n)
{
	while (n > 0x7f) {
		m->bytes[m->n++] = (unsigned char)(n | 0x80);
		n >>= 7;
	}
	m->bytes[m->n++] = (unsigned char)n;
}

static void put_int(struct message *m, unsigned field, uint64_t value)
{
	put_number(m, field << 3);
	put_number(m, value);
}

static void put_bytes(struct message *m, unsigned field, const void *bytes, size_t n)
{
	put_number(m, field << 3 | 2);
	put_number(m, n);
	memcpy(m->bytes + m->n, bytes, n);
	m->n += n;
}

static void put_text(struct message *m, unsigned field, const char *text)
{
	put_bytes(m, field, text, strlen(text));
}

static void put_message(struct message *m, unsigned field, const struct message *part)
{
	put_bytes(m, field, part->bytes, part->n);
}

static void put_pair(struct message *m, unsigned field, const char *key, const char *value)
{
	struct message pair = {};

	put_text(&pair, 1, key);
	put_text(&pair, 2, value);
	put_message(m, field, &pair);
}

struct given {
	const char *id, *name, *namespace, *uid;
	uint64_t state, created_ns;
};

static void put_annotated(struct message *list, const struct given *g, const char *application,
			  const char *again)
{
	struct message sandbox = {}, metadata = {};

	put_text(&metadata, 1, g->name);
	put_text(&metadata, 2, g->uid);
	put_text(&metadata, 3, g->namespace);
	put_int(&metadata, 4, 1);
	put_text(&sandbox, 1, g->id);
	put_message(&sandbox, 2, &metadata);
	put_int(&sandbox, 3, g->state);
	put_int(&sandbox, 4, g->created_ns);
	put_pair(&sandbox, 5, "app", "web");
	put_pair(&sandbox, 5, "empty", "");
	put_pair(&sandbox, 6, "note", "is not read");
	if (application)
		put_pair(&sandbox, 6, SL_CRI_APPLICATION, application);
	if (again)
		put_pair(&sandbox, 6, SL_CRI_APPLICATION, again);
	put_text(&sandbox, 7, "runc");
	put_message(list, 1, &sandbox);
}

static void put_sandbox(struct message *list, const struct given *g)
{
	put_annotated(list, g, NULL, NULL);
}

static int read_list(const struct message *m, struct sl_cri_pods *pods)
{
	const char *why = NULL;
	int err;

	*pods = (struct sl_cri_pods){};
	err = sl_cri_read_list(m->bytes, m->n, pods, &why);
	if (err == -EBADMSG)
		assert_non_null(why);
	return err;
}

static void a_list_is_read(void **state)
{
	static const struct given given[] = {
		{"a1", "web", "shop", "u-1", 0, 7000000000ull},
		{"a2", "old", "shop", "u-2", 1, 7000000000ull}, /* not ready */
		{"a3", "db", "shop", "u-3", 0, 5000000000ull},
		{"a4", "db", "shop", "u-4", 0, 9000000000ull}, /* its successor */
		{"a5", "web", "shop", "u-1", 0,
		 3000000000ull}, /* an earlier sandbox of the first */
	};
	struct sl_cri_pods pods;
	struct message m = {};

	(void)state;
	for (size_t i = 0; i < 5; i++)
		put_sandbox(&m, &given[i]);
	assert_int_equal(read_list(&m, &pods), 0);
	assert_int_equal(pods.n, 2);
	assert_int_equal(pods.unreadable, 0);
	assert_string_equal(pods.list[0].id, "a1");
	assert_int_equal(pods.list[0].created_s, 7);
	assert_string_equal(json_string_value(json_object_get(pods.list[0].labels, "app")), "web");
	assert_string_equal(json_string_value(json_object_get(pods.list[0].labels, "empty")), "");
	assert_null(json_object_get(pods.list[0].labels, "note"));
	assert_string_equal(pods.list[1].uid, "u-4");
	sl_cri_pods_free(&pods);
}

/* A pod whose own policy cannot be had is not taken for one without. */
static void of_annotations_one_is_read(void **state)
{
	static const struct given given[] = {
		{"a1", "plain", "shop", "u-1", 0, 0},
		{"a2", "own", "shop", "u-2", 0, 0},
		{"a3", "twice", "shop", "u-3", 0, 0},
		{"a4", "broken", "shop", "u-4", 0, 0},
	};
	struct sl_cri_pods pods;
	struct message m = {};

	(void)state;
	put_annotated(&m, &given[0], NULL, NULL);
	put_annotated(&m, &given[1], "{\"mode\": \"\"}", NULL);
	put_annotated(&m, &given[2], "{}", "{}");
	put_annotated(&m, &given[3], "\xff", NULL);
	assert_int_equal(read_list(&m, &pods), 0);
	assert_int_equal(pods.n, 2);
	assert_int_equal(pods.unreadable, 2);
	assert_null(pods.list[0].application);
	assert_string_equal(pods.list[1].application, "{\"mode\": \"\"}");
	sl_cri_pods_free(&pods);
}

static void what_is_no_text_is_left_out(void **state)
{
	static const struct given good = {"a", "web", "shop", "u", 0, 0};
	struct message m = {}, sandbox = {}, metadata = {};
	struct sl_cri_pods pods;

	(void)state;
	put_sandbox(&m, &good);
	put_bytes(&metadata, 1, "we\0b", 4);
	put_text(&metadata, 2, "v");
	put_text(&metadata, 3, "shop");
	put_text(&sandbox, 1, "b");
	put_message(&sandbox, 2, &metadata);
	put_message(&m, 1, &sandbox);
	sandbox = (struct message){};
	put_text(&sandbox, 1, "c"); /* no metadata */
	put_message(&m, 1, &sandbox);
	put_pair(&sandbox, 5, "app", "\xff\xfe");
	put_message(&m, 1, &sandbox);
	assert_int_equal(read_list(&m, &pods), 0);
	assert_int_equal(pods.n, 1);
	assert_int_equal(pods.unreadable, 3);
	sl_cri_pods_free(&pods);
}

/* Two bytes of it are a structure: it must not fill memory. */
static void a_list_of_nothing_is_bounded(void **state)
{
	size_t n = SL_CRI_REPLY_MAX / 2;
	unsigned char *bytes = malloc(2 * n);
	struct sl_cri_pods pods = {};
	const char *why;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		bytes[2 * i] = 1 << 3 | 2;
		bytes[2 * i + 1] = 0;
	}
	assert_int_equal(sl_cri_read_list(bytes, 2 * n, &pods, &why), -EBADMSG);
	assert_non_null(strstr(why, "too much memory"));
	assert_int_equal(sl_cri_read_list(bytes, 2 * (SL_CRI_PODS_MAX + 1), &pods, &why), -EBADMSG);
	assert_non_null(strstr(why, "more than 4096"));
	assert_int_equal(sl_cri_read_list(bytes, 2 * SL_CRI_PODS_MAX, &pods, &why), 0);
	assert_int_equal(pods.unreadable, SL_CRI_PODS_MAX);
	sl_cri_pods_free(&pods);
	free(bytes);
}

/* ---- status ---- */

/* A pod's annotations are in it: whoever makes one writes what he likes. */
static const char info[] = "{\"config\": {\"annotations\": {\"note\": \"\\u0000\"}, \"linux\": {\"cgroup_parent\": \"/kubepods/podu\"}}, "
			   "\"runtimeSpec\": {\"linux\": "
			   "{\"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"network\", "
			   "\"path\": \"/run/netns/x\"}]}}}";

static void put_status(struct message *m, const char *id, unsigned network, uint64_t ready)
{
	struct message status = {}, net = {}, ip = {}, option = {}, spaces = {}, part = {};

	put_text(&net, 1, network == 2 ? "" : "10.0.1.4");
	put_text(&ip, 1, "fd00::4");
	put_message(&net, 2, &ip);
	put_int(&option, 1, network);
	put_message(&spaces, 2, &option);
	put_message(&part, 1, &spaces);
	put_text(&status, 1, id);
	put_int(&status, 3, ready);
	put_message(&status, 5, &net);
	put_message(&status, 6, &part);
	put_message(m, 1, &status);
	put_pair(m, 2, "info", info);
}

static int read_status(const struct message *m, struct sl_cri_pod *pod)
{
	const char *why = NULL;

	return sl_cri_read_status(m->bytes, m->n, pod, &why);
}

static void a_status_is_read(void **state)
{
	struct message m = {}, other = {}, ended = {}, node = {};
	struct sl_cri_pod pod = {.id = strdup("a")};

	(void)state;
	put_status(&other, "b", 0, 0);
	assert_int_equal(read_status(&other, &pod), -EBADMSG);
	put_status(&ended, "a", 0, 1);
	assert_int_equal(read_status(&ended, &pod), -ENOENT);
	assert_false(pod.known);
	put_status(&m, "a", 0, 0);
	assert_int_equal(read_status(&m, &pod), 0);
	assert_true(pod.known);
	assert_false(pod.host_network);
	assert_int_equal(json_array_size(pod.addresses), 2);
	assert_string_equal(json_string_value(json_array_get(pod.addresses, 1)), "fd00::4");
	assert_string_equal(pod.netns, "/run/netns/x");
	put_status(&node, "a", 2, 0);
	assert_int_equal(read_status(&node, &pod), 0);
	assert_true(pod.host_network);
	sl_cri_pod_free(&pod);
}

/* ---- cut and changed ---- */

static void try_status(const unsigned char *bytes, size_t n)
{
	struct sl_cri_pod pod = {.id = strdup("a")};
	const char *why;

	sl_cri_read_status(bytes, n, &pod, &why);
	sl_cri_pod_free(&pod);
}

static void try_list(const unsigned char *bytes, size_t n)
{
	struct sl_cri_pods pods = {};
	const char *why;

	if (!sl_cri_read_list(bytes, n, &pods, &why))
		sl_cri_pods_free(&pods);
}

/* In memory of its own length, so that the sanitizer sees who reads on. */
static void try_each(const struct message *m, void (*try)(const unsigned char *, size_t))
{
	for (size_t i = 0; i < m->n; i++) {
		unsigned char *copy = malloc(m->n);

		memcpy(copy, m->bytes, m->n);
		for (unsigned value = 0; value < 256; value += 5) {
			copy[i] = (unsigned char)(m->bytes[i] ^ value);
			try(copy, m->n);
		}
		free(copy);
		copy = malloc(i ? i : 1);
		memcpy(copy, m->bytes, i);
		try(copy, i);
		free(copy);
	}
}

static void cut_and_changed_answers(void **state)
{
	static const struct given given = {"a1", "web", "shop", "u-1", 0, 7000000000ull};
	struct message list = {}, status = {};

	(void)state;
	put_sandbox(&list, &given);
	put_sandbox(&list, &given);
	try_each(&list, try_list);
	put_status(&status, "a", 0, 0);
	try_each(&status, try_status);
}

static void frames(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *why; /* NULL: it is one */
	} cases[] = {
		{"\0\0\0\0\2ab", 7, NULL},
		{"\0\0\0\0\0", 5, NULL},
		{"", 0, "cut short"},
		{"\0\0\0\0", 4, "cut short"},
		{"\0\0\0\0\3ab", 7, "cut short"},
		{"\0\0\0\0\1ab", 7, "more follows"},
		{"\1\0\0\0\2ab", 7, "compressed"},
		{"\0\377\377\377\377ab", 7, "cut short"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const void *message = NULL;
		const char *why = NULL;
		size_t n = 0;
		int err = sl_cri_unframe(cases[i].bytes, cases[i].n, &message, &n, &why);

		assert_int_equal(err, cases[i].why ? -EBADMSG : 0);
		if (cases[i].why)
			assert_non_null(strstr(why, cases[i].why));
		else
			assert_int_equal(n, cases[i].n - 5);
	}
}

static void a_request_for_a_status(void **state)
{
	static const unsigned char want[] = {0, 0, 0, 0, 6, 1 << 3 | 2, 2, 'a', '1', 2 << 3, 1};
	size_t n;
	void *request = sl_cri_status_request("a1", &n);

	(void)state;
	assert_int_equal(n, sizeof(want));
	assert_memory_equal(request, want, n);
	free(request);
}

/* ---- cgroups ---- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_read),
		cmocka_unit_test(of_annotations_one_is_read),
		cmocka_unit_test(what_is_no_text_is_left_out),
		cmocka_unit_test(a_list_of_nothing_is_bounded),
		cmocka_unit_test(a_status_is_read),
		cmocka_unit_test(cut_and_changed_answers),
		cmocka_unit_test(frames),
		cmocka_unit_test(a_request_for_a_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
