// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What a watch says, under the sanitizers: cut into pieces of every size, cut off at and changed
 * in each byte. What it is asked, and when: tests/system/test_apiserver.py.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "apiserver/internal.h"

static const char stream[] =
	"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"x\","
	"\"resourceVersion\":\"11\"},\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":80}]}]},"
	"\"status\":{\"podIP\":\"10.0.0.1\",\"hostIP\":\"192.168.0.1\"}}}\n"
	"\n"
	"{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"b\",\"namespace\":\"x\","
	"\"resourceVersion\":\"12\",\"labels\":{\"app\":\"b\"},"
	"\"annotations\":{\"whose\":\"a user's\\u0000\"}},\"status\":{\"podIP\":\"fd00::1\"}}}\n"
	"{\"type\":\"DELETED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"x\","
	"\"resourceVersion\":\"13\"}}}\n"
	"{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"20\"}}}\n";

struct fixture {
	struct sl_api api;
	struct sl_follow follow;
};

static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->api.store = sl_store_new();
	sl_follow_open(&f->follow, &f->api, &sl_api_resources[SL_KUBE_POD]);
	f->follow.list_next = false;
}

static void end(struct fixture *f)
{
	sl_follow_close(&f->follow);
	sl_store_free(f->api.store);
}

/* In pieces of n bytes. */
static int feed(struct fixture *f, const char *text, size_t len, size_t n)
{
	int err = 0;

	for (size_t at = 0; at < len && !err; at += n)
		err = sl_event_take(&f->follow, text + at, len - at < n ? len - at : n);
	return err;
}

static void pieces_of_every_size(void **state)
{
	struct fixture f;

	for (size_t n = 1; n <= sizeof(stream); n++) {
		begin(&f);
		assert_int_equal(feed(&f, stream, sizeof(stream) - 1, n), 0);
		assert_int_equal(f.follow.events, 3);
		assert_int_equal(f.follow.bookmarks, 1);
		assert_int_equal(f.follow.seen, 4);
		assert_string_equal(f.follow.version, "20");
		assert_int_equal(sl_store_count(f.api.store, SL_KUBE_POD), 1);
		end(&f);
	}
	(void)state;
}

/* A line without its end is none, and the version is that of the last whole one. */
static void cut_off_at_each_byte(void **state)
{
	struct fixture f;

	for (size_t len = 0; len < sizeof(stream) - 1; len++) {
		unsigned lines = 0;

		for (size_t i = 0; i < len; i++)
			lines += stream[i] == '\n' && i && stream[i - 1] != '\n';
		begin(&f);
		assert_int_equal(feed(&f, stream, len, 64), 0);
		assert_int_equal(f.follow.seen, lines);
		end(&f);
	}
	(void)state;
}

/* Whatever it makes of it, it is noted as garbage if it is refused, and nothing is overrun. */
static void changed_in_each_byte(void **state)
{
	static const char with[] = {0, '"', '{', '}', '\\', '\n', (char)0xff, '9'};
	char text[sizeof(stream)];
	struct fixture f;
	int err;

	for (size_t at = 0; at < sizeof(stream) - 1; at++)
		for (size_t i = 0; i < sizeof(with); i++) {
			memcpy(text, stream, sizeof(text));
			text[at] = with[i];
			begin(&f);
			err = feed(&f, text, sizeof(text) - 1, 100);
			if (err && f.follow.request.trouble != SL_API_GARBAGE)
				fail_msg("byte %zu: trouble %d", at, f.follow.request.trouble);
			assert_true(sl_store_count(f.api.store, SL_KUBE_POD) <= 3);
			end(&f);
		}
	(void)state;
}

static void an_error_in_the_stream(void **state)
{
	static const struct {
		const char *line;
		enum sl_api_trouble trouble;
	} cases[] = {
		{"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n", SL_API_FINE},
		{"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":504}}\n", SL_API_BUSY},
		{"{\"type\":\"ERROR\",\"object\":{}}\n", SL_API_BUSY},
		{"{\"type\":\"ERROR\",\"object\":{\"code\":\"410\"}}\n", SL_API_BUSY},
		{"{\"type\":\"ERROR\",\"object\":{\"code\":99999999999}}\n", SL_API_BUSY},
		{"{\"type\":\"ERROR\"}\n", SL_API_GARBAGE},
	};
	struct fixture f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		begin(&f);
		assert_int_equal(feed(&f, cases[i].line, strlen(cases[i].line), 7), -EINVAL);
		assert_int_equal(f.follow.request.trouble, cases[i].trouble);
		assert_int_equal(f.follow.list_next, cases[i].trouble != SL_API_GARBAGE);
		end(&f);
	}
	(void)state;
}

static void a_line_without_end(void **state)
{
	char *piece = malloc(1 << 20);
	struct fixture f;
	unsigned n = 0;
	int err = 0;

	memset(piece, 'x', 1 << 20);
	begin(&f);
	while (!err && n++ < 20)
		err = sl_event_take(&f.follow, piece, 1 << 20);
	assert_int_equal(err, -EINVAL);
	assert_int_equal(n, 17);
	assert_int_equal(f.follow.request.trouble, SL_API_GARBAGE);
	end(&f);
	free(piece);
	(void)state;
}

/* ---- who asks, and when ---- */

static void write_token(const char *path, const char *token)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(token, out);
	assert_int_equal(fclose(out), 0);
}

/* The kubelet writes it anew long before the old one ends: nobody is refused, so the clock tells. */
static void the_token_is_read_each_minute(void **state)
{
	char path[] = "/tmp/sl-token-XXXXXX";
	struct sl_api_account account = {.token_file = path};
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	write_token(path, "first\n");
	sl_account_refresh(&account, 1000);
	assert_string_equal(account.token, "first");
	write_token(path, "second\n");
	sl_account_refresh(&account, 1000 + 59999);
	assert_string_equal(account.token, "first");
	sl_account_refresh(&account, 1000 + 60000);
	assert_string_equal(account.token, "second");
	assert_int_equal(account.rotations, 1);
	unlink(path);
	account.token_file = NULL;
	sl_account_close(&account);
	(void)state;
}

static __u64 delay_after(unsigned tries)
{
	struct sl_api api = {.account.server = (char *)"https://192.0.2.1"};
	struct sl_api_state one = {.tries = tries, .trouble = SL_API_UNREACHABLE, .said = ~0ull >> 1};
	struct sl_api_request request = {};

	return sl_trouble_note(&api, &one, &request, CURLE_COULDNT_CONNECT, "list pods");
}

/* Twice as long each time, up to half a minute, and half of it by chance: nodes that failed together do
 * not come back together. */
static void attempts_become_rarer_by_chance(void **state)
{
	__u64 most = 500, first, delay;

	for (unsigned tries = 0; tries < 20; tries++, most = most < 15000 ? 2 * most : 30000) {
		bool differs = false;

		first = delay_after(tries);
		for (int i = 0; i < 50; i++) {
			delay = delay_after(tries);
			assert_in_range(delay, most / 2, most);
			differs |= delay != first;
		}
		assert_true(differs);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_of_every_size),
		cmocka_unit_test(cut_off_at_each_byte),
		cmocka_unit_test(changed_in_each_byte),
		cmocka_unit_test(an_error_in_the_stream),
		cmocka_unit_test(a_line_without_end),
		cmocka_unit_test(the_token_is_read_each_minute),
		cmocka_unit_test(attempts_become_rarer_by_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
