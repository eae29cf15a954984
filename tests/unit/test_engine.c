// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What an engine answers, under the sanitizers: read, cut off, changed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <dlfcn.h>
#include <poll.h>

#include "engine/engine.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char answer[] =
	"[{\"Id\": \"" ID "\", \"Names\": [\"/other/alias\", \"/agent-1\"], \"State\": \"running\","
	" \"Labels\": {\"tier\": \"db\", \"n\": 5}},"
	" {\"Id\": \"" OTHER "\", \"Names\": [\"/x\"], \"Labels\": {\"n\": \"a\\u0000\", \"k\\u0000\": \"\"}},"
	" {\"Id\": \"short\", \"Names\": [\"/x\"]}, 7,"
	" {\"Id\": \"" ID "\", \"Names\": []}]";

static void test_list(void **state)
{
	struct sl_engine_list list = {};
	const char *why = NULL;

	(void)state;
	assert_int_equal(sl_engine_read(answer, sizeof(answer) - 1, &list, &why), 0);
	assert_int_equal(list.n, 2); /* one whose label has a NUL takes nothing from the others */
	assert_int_equal(list.unreadable, 3);
	assert_string_equal(list.list[0].id, ID);
	assert_string_equal(list.list[0].name, "agent-1");
	assert_int_equal(json_object_size(list.list[0].labels), 1);
	assert_string_equal(json_string_value(json_object_get(list.list[0].labels, "tier")), "db");
	sl_engine_list_free(&list);
}

static void test_what_is_none(void **state)
{
	static const char *const texts[] = {"", "{}", "null", "5", "[", "{\"message\": \"no\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct sl_engine_list list = {};
		const char *why = NULL;

		assert_int_equal(sl_engine_read(texts[i], strlen(texts[i]), &list, &why), -EBADMSG);
		assert_non_null(why);
		assert_null(list.list);
	}
}

/* In memory of its own size, so that the sanitizer sees a byte too far. */
static void read_copy(const char *text, size_t len)
{
	struct sl_engine_list list = {};
	const char *why = NULL;
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	if (!sl_engine_read(copy, len, &list, &why))
		sl_engine_list_free(&list);
	free(copy);
}

static void test_cut_off_and_changed(void **state)
{
	char changed[sizeof(answer)];

	(void)state;
	for (size_t len = 0; len < sizeof(answer); len++)
		read_copy(answer, len);
	for (size_t i = 0; i < sizeof(answer) - 1; i++)
		for (int byte = 0; byte < 256; byte += 5) {
			memcpy(changed, answer, sizeof(answer));
			changed[i] = (char)byte;
			read_copy(changed, sizeof(answer) - 1);
		}
}

/* ---- the client ---- */

static int refusals;	/* of libcurl's, from now on */
static int begun[2];	/* requests: the list's, the stream's */

/* In libcurl's place, which has no other way to be made to fail. */
CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy)
{
	static CURLMcode (*real)(CURLM *multi, CURL *easy);
	char *url = NULL;

	if (refusals) {
		refusals--;
		return CURLM_OUT_OF_MEMORY;
	}
	if (!real)
		real = (CURLMcode (*)(CURLM *, CURL *))dlsym(RTLD_NEXT, "curl_multi_add_handle");
	curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
	begun[url && strstr(url, "/events")]++;
	return real(multi, easy);
}

/* A daemon's loop, until both have been begun; false: it has nothing to wait for any more. */
static bool work_until_begun(struct sl_engine *engine)
{
	for (int turn = 0; turn < 1000 && !(begun[0] && begun[1]); turn++) {
		struct pollfd fd = {.fd = sl_engine_fd(engine), .events = POLLIN};
		int wait = sl_engine_timeout(engine);

		if (wait < 0)
			return false;
		poll(&fd, 1, wait);
		sl_engine_work(engine);
	}
	return begun[0] && begun[1];
}

/* 1: the stream's; 2: the list's too; 3: the stream's again. */
static void test_a_request_that_cannot_be_begun(void **state)
{
	(void)state;
	for (refusals = 0; refusals <= 3; refusals++) {
		struct sl_engine *engine;
		int first = refusals;

		memset(begun, 0, sizeof(begun));
		assert_int_equal(sl_engine_open("/nowhere/engine.sock", &engine), 0);
		sl_engine_work(engine);
		if (first)
			assert_non_null(strstr(sl_engine_error(engine), "memory"));
		else
			assert_null(sl_engine_error(engine));
		assert_true(work_until_begun(engine));
		assert_int_equal(refusals, 0);
		sl_engine_close(engine);
		refusals = first;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_that_cannot_be_begun),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_cut_off_and_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
