// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * user/target: where the cgroup is, and who the command is. Parts that need root say so
 * and are skipped without it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "target_tools.h"
#include "target/cgroup.h"
#include "target/identity.h"
#include "target/mountinfo.h"
#include "target/uid_map.h"

#define NOBODY 65534

/* ---- uids inside and outside -------------------------------------------- */

static struct sl_uid_map uid_map(const char *text, int want)
{
	struct sl_uid_map map = {};
	FILE *in = fmemopen((void *)text, strlen(text), "r");

	assert_non_null(in);
	assert_int_equal(sl_uid_map_read(in, &map), want);
	fclose(in);
	return map;
}

static void expect_uid(const struct sl_uid_map *map, __u32 inside, long outside)
{
	const char *why = NULL;
	__u32 found = 0;

	assert_int_equal(sl_uid_map_host(map, inside, &found, &why), outside < 0 ? -ENOENT : 0);
	if (outside < 0)
		assert_non_null(why);
	else
		assert_int_equal(found, outside);
}

static void uids_are_mapped(void **state)
{
	struct sl_uid_map map = uid_map("         0     100000      65536\n"
					" 65536 1000 1\n 4294967294 7 1\n", 0);

	(void)state;
	expect_uid(&map, 0, 100000);
	expect_uid(&map, 65535, 165535);
	expect_uid(&map, 65536, 1000);
	expect_uid(&map, 65537, -1);
	expect_uid(&map, 4294967293, -1);
	expect_uid(&map, 4294967294, 7);
	map.state = SL_UID_MAP_SEVERAL;
	expect_uid(&map, 0, -1);
	sl_uid_map_free(&map);
	map = uid_map("0 0 4294967295\n", 0);	/* the host's */
	expect_uid(&map, 0, 0);
	expect_uid(&map, 4294967294, 4294967294);
	sl_uid_map_free(&map);
	map = uid_map("", 0);
	expect_uid(&map, 0, -1);
	sl_uid_map_free(&map);
	for (size_t i = 0; i < 3; i++) {
		map = uid_map(((const char *[]){"0 1\n", "0 0 1\nx", "a b c"})[i], -EINVAL);
		sl_uid_map_free(&map);
	}
}

/* ---- mountinfo and the way to the cgroup -------------------------------- */

static void mountinfo_line_is_parsed(void **state)
{
	char ok[] =
		"41 31 0:38 / /sys/fs/a\\040b\\134c rw,nosuid shared:9 master:1 - cgroup2 c rw\n";
	char ro[] = "41 31 0:38 / /x ro,relatime - cgroup2 cgroup2 rw";
	char super_ro[] = "41 31 0:38 / /x rw - cgroup2 cgroup2 ro,nsdelegate";
	char *bad[] = {"", "1 2 3:4 / /x rw", "1 2 3:4 / /x rw shared:1", "1 2 3:4 / /x rw - t s",
		       "x 2 3:4 / /x rw - t s rw"};
	struct sl_mount m;
	char copy[128];

	assert_int_equal(sl_mountinfo_line(ok, &m), 0);
	assert_int_equal(m.id, 41);
	assert_string_equal(m.point, "/sys/fs/a b\\c");
	assert_string_equal(m.type, "cgroup2");
	assert_false(m.readonly);
	assert_int_equal(sl_mountinfo_line(ro, &m), 0);
	assert_true(m.readonly);
	assert_int_equal(sl_mountinfo_line(super_ro, &m), 0);
	assert_true(m.readonly);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(copy, sizeof(copy), "%s", bad[i]);
		assert_int_equal(sl_mountinfo_line(copy, &m), -EINVAL);
	}
}

struct way_case {
	const char *name, *text, *path;
	const char *own; /* of the best way; NULL: none */
	bool writable;
	size_t n, n_mounts;
};

#define C2(root, point, opts) "9 1 0:9 " root " " point " " opts " - cgroup2 c rw\n"
static const struct way_case ways[] = {
	{"unified", C2("/", "/sys/fs/cgroup", "rw"), "/user.slice/s.scope",
	 "/sys/fs/cgroup/user.slice/s.scope", true, 1, 1},
	{"unified, in the root", C2("/", "/sys/fs/cgroup", "rw"), "/", "/sys/fs/cgroup", true, 1,
	 1},
	{"hybrid",
	 "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
	 "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" C2(
		 "/", "/sys/fs/cgroup/unified", "rw"),
	 "/a", "/sys/fs/cgroup/unified/a", true, 1, 1},
	{"container without a namespace", C2("/docker/abc", "/sys/fs/cgroup", "rw"),
	 "/docker/abc/x", "/sys/fs/cgroup/x", true, 1, 1},
	{"a prefix of a name is no parent", C2("/docker/abc", "/sys/fs/cgroup", "rw"),
	 "/docker/abcd", NULL, false, 0, 1},
	{"mount above the namespace", C2("/..", "/sys/fs/cgroup", "rw"), "/", NULL, false, 0, 1},
	{"the writable one", C2("/", "/w", "rw") C2("/", "/sys/fs/cgroup", "ro"), "/a", "/w/a",
	 true, 2, 2},
	{"the whole one", C2("/", "/whole", "rw") C2("/a", "/part", "rw"), "/a/b", "/whole/a/b",
	 true, 2, 2},
	{"the later one", C2("/", "/one", "rw") C2("/", "/two", "rw"), "/a", "/two/a", true, 2, 2},
	{"read-only alone", C2("/", "/sys/fs/cgroup", "ro"), "/a", "/sys/fs/cgroup/a", false, 1, 1},
	{"escapes", C2("/a\\040b", "/x\\011y", "rw"), "/a b/c", "/x\ty/c", true, 1, 1},
	{"none, and a broken line", "garbage\n", "/", NULL, false, 0, 0},
};

static void ways_to_the_cgroup(void **state)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		const struct way_case *c = &ways[i];
		FILE *in = fmemopen((void *)c->text, strlen(c->text), "r");
		struct sl_cgroup2_way *found = NULL;
		size_t n = 99, n_mounts = 99;

		assert_int_equal(sl_cgroup2_ways(in, c->path, &found, &n, &n_mounts), 0);
		fclose(in);
		if (n != c->n || n_mounts != c->n_mounts)
			fail_msg("%s: %zu ways of %zu mounts", c->name, n, n_mounts);
		if (c->own) {
			assert_string_equal(found[0].own, c->own);
			assert_int_equal(found[0].writable, c->writable);
		}
		sl_cgroup2_ways_free(found, n);
	}
}

static void own_path_is_read(void **state)
{
	char hybrid[] = "9:name=systemd:/x\n1:cpu:/y\n0::/a/b c\n", v1[] = "1:cpu:/y\n";
	FILE *in = fmemopen(hybrid, strlen(hybrid), "r");
	char *path = NULL;

	assert_int_equal(sl_cgroup2_own_path(in, &path), 0);
	fclose(in);
	assert_string_equal(path, "/a/b c");
	free(path);
	path = NULL;
	in = fmemopen(v1, strlen(v1), "r");
	assert_int_equal(sl_cgroup2_own_path(in, &path), -ENOENT);
	assert_null(path);
	fclose(in);
}

/* ---- the run's cgroup --------------------------------------------------- */

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	return pid;
}

static void cgroup_holds_and_goes(void **state)
{
	struct sl_diag diag = {0};
	struct sl_cgroup2 fs;
	struct sl_cgroup cg;
	char nested[4096];
	struct stat st;
	pid_t pid;

	find(&fs);
	for (int by_signals = 0; by_signals < 2; by_signals++) {
		assert_int_equal(sl_cgroup_make(&fs, &cg, &diag), 0);
		assert_int_equal(fstat(cg.dir_fd, &st), 0);
		assert_true(cg.id == st.st_ino);
		assert_int_equal(cg.level, fs.level + 1);
		assert_int_equal(sl_cgroup_populated(&cg), 0);
		pid = sleeper();
		assert_int_equal(sl_cgroup_add(&cg, pid, &diag), 0);
		assert_int_equal(sl_cgroup_populated(&cg), 1);
		assert_int_equal(sl_cgroup_wait_empty(&cg, 10), -ETIMEDOUT);
		snprintf(nested, sizeof(nested), "%s/a", cg.path);
		assert_int_equal(mkdir(nested, 0755), 0);
		snprintf(nested, sizeof(nested), "%s/a/b", cg.path);
		assert_int_equal(mkdir(nested, 0755), 0);
		assert_int_equal(sl_cgroup_remove(&cg), -EBUSY);
		assert_int_equal(
			by_signals ? sl_cgroup_kill_by_signals(&cg, 5000) : sl_cgroup_kill(&cg), 0);
		assert_int_equal(sl_cgroup_wait_empty(&cg, 5000), 0);
		assert_int_equal(WTERMSIG(wait_for(pid, 0)), SIGKILL);
		assert_int_equal(sl_cgroup_remove(&cg), 0);
		assert_int_equal(stat(cg.path, &st), -1);
		sl_cgroup_close(&cg);
		sl_cgroup_close(&cg);
	}
	sl_cgroup2_free(&fs);
	assert_int_equal(diag.n_errors, 0);
}

static void sweep_takes_only_dead_runs(void **state)
{
	struct sl_diag diag = {0};
	struct sl_cgroup2 fs;
	struct sl_cgroup live;
	char dead[4096], full[4096], other[4096], procs[4200], text[16];
	pid_t gone, member;
	struct stat st;
	int fd;

	find(&fs);
	sl_cgroup_sweep(&fs); /* what a killed run of this test has left */
	gone = fork();
	if (!gone)
		_exit(0);
	wait_for(gone, 0);
	member = sleeper();
	assert_int_equal(sl_cgroup_make(&fs, &live, &diag), 0);
	snprintf(dead, sizeof(dead), "%s/sluice-run-%d-0", fs.own, gone);
	snprintf(full, sizeof(full), "%s/sluice-run-%d-1", fs.own, gone);
	snprintf(other, sizeof(other), "%s/sluice-run-%d-2x", fs.own, gone);
	assert_int_equal(mkdir(dead, 0755) | mkdir(full, 0755) | mkdir(other, 0755), 0);
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", full);
	fd = open(procs, O_WRONLY);
	snprintf(text, sizeof(text), "%d", member);
	assert_true(write(fd, text, strlen(text)) > 0);
	close(fd);

	assert_int_equal(sl_cgroup_sweep(&fs), 1);
	assert_int_equal(stat(dead, &st), -1);
	assert_int_equal(stat(full, &st), 0);
	assert_int_equal(stat(other, &st), 0);
	assert_int_equal(stat(live.path, &st), 0);

	kill(member, SIGKILL);
	wait_for(member, 0);
	assert_int_equal(sl_cgroup_sweep(&fs), 1);
	assert_int_equal(rmdir(other), 0);
	assert_int_equal(sl_cgroup_remove(&live), 0);
	sl_cgroup_close(&live);
	sl_cgroup2_free(&fs);
}

static void threaded_parent_is_explained(void **state)
{
	struct sl_diag diag = {0};
	struct sl_cgroup2 fs, threaded;
	struct sl_cgroup cg = {0};
	char dir[4096], type[4200];
	int fd;

	find(&fs);
	snprintf(dir, sizeof(dir), "%s/sluice-test-threaded-%d", fs.own, getpid());
	assert_int_equal(mkdir(dir, 0755), 0);
	snprintf(type, sizeof(type), "%s/cgroup.type", dir);
	fd = open(type, O_WRONLY);
	if (write(fd, "threaded", 8) == 8) {
		threaded = fs;
		threaded.own = dir;
		assert_int_equal(sl_cgroup_make(&threaded, &cg, &diag), -EOPNOTSUPP);
		assert_null(cg.path);
		assert_int_equal(diag.n_errors, 1);
		assert_non_null(strstr(diag.entries[0].message, "threaded"));
	} else {
		print_message("skipped: this parent takes no threaded children\n");
	}
	close(fd);
	assert_int_equal(rmdir(dir), 0); /* nothing was left in it */
	sl_diag_free(&diag);
	sl_cgroup2_free(&fs);
}

/* ---- identity ----------------------------------------------------------- */

static void bad_users_are_refused(void **state)
{
	static const char *const bad[] = {"",
					  ":",
					  ":0",
					  "nobody:",
					  "nobody:no-such-group",
					  "no-such-user",
					  "99999999999",
					  "4294967295",
					  "-1",
					  "4242",
					  "0x10",
					  " nobody"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sl_identity id = {.uid = 77};
		struct sl_diag diag = {0};

		if (sl_identity_resolve(bad[i], false, &id, &diag) >= 0)
			fail_msg("--user \"%s\" was taken as %u", bad[i], id.uid);
		assert_int_equal(id.uid, 77);
		assert_int_equal(diag.n_errors, 1);
		sl_diag_free(&diag);
	}
}

static void check_user(const char *user, uid_t uid, gid_t gid, const char *home)
{
	struct sl_diag diag = {0};
	struct sl_identity id;

	assert_int_equal(sl_identity_resolve(user, false, &id, &diag), 0);
	assert_int_equal(id.source, SL_IDENTITY_USER);
	assert_int_equal(id.uid, uid);
	assert_int_equal(id.gid, gid);
	assert_string_equal(id.home, home);
	sl_identity_free(&id);
}

static void users_by_name_and_number(void **state)
{
	check_user("nobody", NOBODY, 65534, "/nonexistent");
	check_user("65534", NOBODY, 65534, "/nonexistent");
	check_user("nobody:daemon", NOBODY, 1, "/nonexistent");
	check_user("4242:4243", 4242, 4243, "/");
	check_user("root", 0, 0, "/root");
}

static void sudo_is_obeyed_for_root_only(void **state)
{
	static const char *const bad[] = {"", "root", "-1", "12a", "4294967295", "99999999999"};
	struct sl_diag diag = {0};
	struct sl_identity id;

	need_root();
	setenv("SUDO_UID", "4242", 1);
	setenv("SUDO_GID", "4343", 1);
	setenv("SUDO_USER", "nobody", 1); /* not the uid's: not believed */
	assert_int_equal(sl_identity_resolve(NULL, false, &id, &diag), 0);
	assert_int_equal(id.source, SL_IDENTITY_SUDO);
	assert_int_equal(id.uid, 4242);
	assert_int_equal(id.gid, 4343);
	assert_int_equal(id.n_groups, 0);
	assert_string_equal(id.home, "/");
	sl_identity_free(&id);
	assert_int_equal(sl_identity_resolve(NULL, true, &id, &diag), 0);
	assert_int_equal(id.source, SL_IDENTITY_CALLER);
	assert_int_equal(id.uid, 0);
	sl_identity_free(&id);
	unsetenv("SUDO_GID");
	assert_true(sl_identity_resolve(NULL, false, &id, &diag) < 0);
	setenv("SUDO_UID", "65534", 1);
	assert_int_equal(sl_identity_resolve(NULL, false, &id, &diag), 0);
	assert_int_equal(id.gid, 65534);
	assert_string_equal(id.name, "nobody");
	sl_identity_free(&id);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setenv("SUDO_UID", bad[i], 1);
		assert_true(sl_identity_resolve(NULL, false, &id, &diag) < 0);
	}
	assert_int_equal(setresuid(-1, NOBODY, -1), 0);
	setenv("SUDO_UID", "0", 1);
	assert_int_equal(sl_identity_resolve(NULL, false, &id, &diag), 0);
	assert_int_equal(id.source, SL_IDENTITY_CALLER);
	sl_identity_free(&id);
	assert_int_equal(sl_identity_check_caller(&diag), -EPERM);
	assert_non_null(strstr(diag.entries[diag.n - 1].message, "CAP_NET_ADMIN"));
	assert_int_equal(setresuid(-1, 0, -1), 0);
	unsetenv("SUDO_UID");
	unsetenv("SUDO_USER");
	sl_diag_free(&diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uids_are_mapped),
		cmocka_unit_test(mountinfo_line_is_parsed),
		cmocka_unit_test(ways_to_the_cgroup),
		cmocka_unit_test(own_path_is_read),
		cmocka_unit_test(cgroup_holds_and_goes),
		cmocka_unit_test(sweep_takes_only_dead_runs),
		cmocka_unit_test(threaded_parent_is_explained),
		cmocka_unit_test(bad_users_are_refused),
		cmocka_unit_test(users_by_name_and_number),
		cmocka_unit_test(sudo_is_obeyed_for_root_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
