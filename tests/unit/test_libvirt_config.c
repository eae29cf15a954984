// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/libvirt: the configuration, and which policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvirt/choose.h"
#include "libvirt/config.h"

static int parse_config(const char *text, struct sl_libvirt_config *config, struct sl_diag *diag)
{
	*diag = (struct sl_diag){};
	return sl_libvirt_config_parse(text, strlen(text), "libvirt.yaml", config, diag);
}

static void test_config_defaults(void **state)
{
	static const char *const texts[] = {"", "# nothing\n", "---\n", "{}\n",
					    "fail: isolate\naddresses: dhcp\nuncovered: refuse\n"
					    "metadata: use\npolicies: /etc/sluice/libvirt\n"};
	struct sl_libvirt_config config;
	struct sl_diag diag;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(parse_config(texts[i], &config, &diag), 0);
		assert_int_equal(config.fail, SL_FAIL_ISOLATE);
		assert_false(config.any_address || config.uncovered_ok || config.no_metadata);
		assert_string_equal(config.policies, "/etc/sluice/libvirt");
		sl_libvirt_config_free(&config);
		sl_diag_free(&diag);
	}
}

static void test_config_values(void **state)
{
	struct sl_libvirt_config config;
	struct sl_diag diag;

	assert_int_equal(parse_config("fail: open\naddresses: any\nuncovered: warn\n"
				      "metadata: ignore\npolicies: \"/srv/p\"\n", &config, &diag), 0);
	assert_int_equal(config.fail, SL_FAIL_OPEN);
	assert_true(config.any_address && config.uncovered_ok && config.no_metadata);
	assert_string_equal(config.policies, "/srv/p");
	sl_libvirt_config_free(&config);
	assert_int_equal(parse_config("{fail: refuse}", &config, &diag), 0);
	assert_int_equal(config.fail, SL_FAIL_REFUSE);
	sl_libvirt_config_free(&config);
}

static void test_config_wrong(void **state)
{
	static const struct {
		const char *text;
		unsigned line, column;
		const char *says;
	} cases[] = {
		{"fail: closed\n", 1, 7, "isolate, refuse or open is wanted: found the text \"closed\""},
		{"fail:\n", 1, 0, "found nothing"},
		{"fail: [open]\n", 1, 7, "found a list"},
		{"addresses: dhcp\nfial: open\n", 2, 1, "did you mean \"fail\"?"},
		{"fail: open\nfail: open\n", 2, 1, "stands twice: the first is in line 1"},
		{"policies: etc\n", 1, 11, "absolute path"},
		{"uncovered: yes\n", 1, 12, "refuse or warn"},
		{"metadata: no\n", 1, 11, "use or ignore"},
		{"addresses: 192.0.2.1\n", 1, 12, "dhcp or any"},
		{"- fail\n", 1, 1, "a mapping"},
		{"open\n", 1, 1, "a mapping"},
		{"[fail]: open\n", 0, 0, "a key is a word"},
		{"fail: open\n---\nfail: isolate\n", 2, 0, "second document"},
		{"fail: open\nx: [\n", 0, 0, ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_libvirt_config config = {.policies = "untouched"};
		struct sl_diag diag;

		assert_int_equal(parse_config(cases[i].text, &config, &diag), -EINVAL);
		assert_true(diag.n_errors > 0);
		assert_string_equal(config.policies, "untouched");
		assert_non_null(strstr(diag.entries[0].message, cases[i].says));
		if (cases[i].line)
			assert_int_equal(diag.entries[0].pos.line, cases[i].line);
		if (cases[i].column)
			assert_int_equal(diag.entries[0].pos.column, cases[i].column);
		sl_diag_free(&diag);
	}
}

/* ---- files: each test stands in an empty directory of its own ---- */

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/sl-libvirt-XXXXXX");
	umask(022);
	return !mkdtemp(dir) || chdir(dir) || mkdir("own", 0755) || mkdir("shipped", 0755);
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return chdir("/") || system(command);
}

static void touch(const char *path)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
}

static void test_config_file(void **state)
{
	struct sl_libvirt_config config;
	struct sl_diag diag = {};

	assert_int_equal(sl_libvirt_config_read("none.yaml", false, &config, &diag), 0);
	assert_int_equal(config.fail, SL_FAIL_ISOLATE);
	sl_libvirt_config_free(&config);
	assert_int_equal(sl_libvirt_config_read("none.yaml", true, &config, &diag), -EINVAL);
	touch("empty.yaml");
	assert_int_equal(sl_libvirt_config_read("empty.yaml", true, &config, &diag), 0);
	sl_libvirt_config_free(&config);
	assert_int_equal(chmod("empty.yaml", 0666), 0);
	assert_int_equal(sl_libvirt_config_read("empty.yaml", false, &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.entries[diag.n - 1].message, "chmod o-w"));
	assert_int_equal(sl_libvirt_config_read("own", false, &config, &diag), -EINVAL);
	sl_diag_free(&diag);
}

static const struct sl_policy_places places = {"own", "shipped"};

static void assert_chosen(const char *guest, const char *wanted, const char *want)
{
	struct sl_diag diag = {};
	char *path = NULL;

	assert_int_equal(sl_policy_choose(&places, guest, wanted, &path, &diag), 0);
	assert_string_equal(path, want);
	assert_int_equal(diag.n, 0);
	free(path);
}

static void test_choice_in_order(void **state)
{
	assert_chosen("web", NULL, "shipped/vm-isolated.yaml");
	touch("own/default.yaml");
	assert_chosen("web", NULL, "own/default.yaml");
	touch("own/web.yaml");
	assert_chosen("web", NULL, "own/web.yaml");
	assert_chosen("web2", NULL, "own/default.yaml");
	touch("shipped/vm-bridge.yaml");
	assert_chosen("web", "vm-bridge", "shipped/vm-bridge.yaml");
	touch("own/vm-bridge.yaml");
	assert_chosen("web", "vm-bridge", "own/vm-bridge.yaml");
}

static void test_a_wanted_policy_that_is_not_there_is_an_error(void **state)
{
	struct sl_diag diag = {};
	char *path = NULL;

	touch("own/default.yaml");
	assert_int_equal(sl_policy_choose(&places, "web", "gone", &path, &diag), -EINVAL);
	assert_null(path);
	assert_non_null(strstr(diag.entries[0].message, "own/gone.yaml"));
	assert_non_null(strstr(diag.entries[0].message, "shipped/gone.yaml"));
	sl_diag_free(&diag);
}

static void test_a_file_that_cannot_be_read_is_chosen(void **state)
{
	touch("own/default.yaml");
	assert_int_equal(symlink("nowhere", "own/web.yaml"), 0);
	assert_chosen("web", NULL, "own/web.yaml");
	assert_int_equal(mkdir("own/db.yaml", 0700), 0);
	assert_chosen("db", NULL, "own/db.yaml");
}

static void test_names_that_have_no_file(void **state)
{
	static const char *const names[] = {"", ".", "..", ".web", "a/b", "../own/web", "/etc/passwd",
					    "web\n", "web\x7f", "we\x01" "b"};
	char longer[600];

	touch("own/default.yaml");
	touch("own/.web.yaml");
	touch("own/.yaml");
	touch("web.yaml");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_false(sl_guest_has_file(names[i]));
		assert_chosen(names[i], NULL, "own/default.yaml");
	}
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_chosen(longer, NULL, "own/default.yaml");
	touch("own/a b$(x);'\".yaml");
	assert_chosen("a b$(x);'\"", NULL, "own/a b$(x);'\".yaml");
	touch("own/--help.yaml");
	assert_chosen("--help", NULL, "own/--help.yaml");
}

static void test_a_folder_that_anyone_may_write_is_refused(void **state)
{
	struct sl_diag diag = {};
	char *path = NULL;

	touch("own/web.yaml");
	assert_int_equal(chmod("own", 01777), 0);
	assert_int_equal(sl_policy_choose(&places, "web", NULL, &path, &diag), -EINVAL);
	assert_non_null(strstr(diag.entries[0].message, "chmod o-w own"));
	sl_diag_free(&diag);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_defaults),
		cmocka_unit_test(test_config_values),
		cmocka_unit_test(test_config_wrong),
		IN_FOLDER(test_config_file),
		IN_FOLDER(test_choice_in_order),
		IN_FOLDER(test_a_wanted_policy_that_is_not_there_is_an_error),
		IN_FOLDER(test_a_file_that_cannot_be_read_is_chosen),
		IN_FOLDER(test_names_that_have_no_file),
		IN_FOLDER(test_a_folder_that_anyone_may_write_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
