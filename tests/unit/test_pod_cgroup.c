// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Which cgroup is which pod's, and what stands in a pod's without being the pod's. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/pod_cgroup.h"

static void cgroups_of_pods(void **state)
{
#define UID "5d3a8e4c-2f1b-4987-8654-3210fedcba98"
#define UID_ "5d3a8e4c_2f1b_4987_8654_3210fedcba98"
	static const struct {
		const char *path, *uid; /* NULL: no pod's own */
	} cases[] = {
		{"/kubepods/pod" UID, UID},
		{"/kubepods/burstable/pod" UID, UID},
		{"/kubepods/besteffort/pod" UID, UID},
		{"/kubepods/besteffort/pod5d3a8e4c2f1b09876543210fedcba987",
		 "5d3a8e4c2f1b09876543210fedcba987"},
		{"/kubepods.slice/kubepods-pod" UID_ ".slice", UID},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice",
		 UID},
		{"/kubelet/kubepods/besteffort/pod" UID, UID},
		{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
		 "kubelet-kubepods-besteffort-pod" UID_ ".slice",
		 UID},
		/* what a pod makes below its own is nobody's */
		{"/kubepods/pod" UID "/pod11111111-2222-3333-4444-555555555555", NULL},
		{"/kubepods/pod" UID "/besteffort/podx", NULL},
		{"/kubepods/besteffort/pod" UID "/burstable/podx", NULL},
		{"/kubepods.slice/kubepods-pod" UID_ ".slice/kubepods-podx.slice", NULL},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-besteffort-pod" UID_ "/x",
		 NULL},
		/* other spellings */
		{"/kubepods", NULL},
		{"/kubepods/besteffort", NULL},
		{"/kubepods/pod", NULL},
		{"/kubepods/burstable/pod/", NULL},
		{"/kubepods/other/pod" UID, NULL},
		{"/kubepods/poda b", NULL},
		{"/kubepods/pod" UID ".slice/x", NULL},
		{"/kubepods.slice/pod" UID, NULL},
		{"/kubepods.slice/kubepods-pod" UID_, NULL},
		{"/kubepods.slice/kubepods-pod.slice", NULL},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-pod" UID_ ".slice", NULL},
		{"/kubepodsx/pod" UID, NULL},
		{"/x/kubepods/pod" UID, NULL},
		{"/user.slice/kubepods/pod" UID, NULL},
	};
	char uid[SL_POD_UID_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool found = sl_pod_cgroup(cases[i].path, sl_pods_places, SL_PODS_PLACES, uid);

		if (found != !!cases[i].uid || (found && strcmp(uid, cases[i].uid)))
			fail_msg("%s: %s", cases[i].path, found ? uid : "none");
	}
	assert_true(sl_pod_cgroup_within("/kubepods/pod" UID "/c/init", sl_pods_places,
					 SL_PODS_PLACES, uid));
	assert_string_equal(uid, UID);
	assert_false(sl_pod_cgroup_within("/system.slice/x", sl_pods_places, SL_PODS_PLACES, uid));
}

static void the_walk_goes_to_pods(void **state)
{
	static const char *const yes[] = {"/kubelet",
					  "/kubepods",
					  "/kubepods/burstable",
					  "/kubepods/pod" UID,
					  "/kubelet.slice",
					  "/kubelet.slice/kubelet-kubepods.slice",
					  "/kubepods.slice/kubepods-besteffort.slice"};
	static const char *const no[] = {"/system.slice", "/kubepods/pod" UID "/c",
					 "/kubepods/other", "/kube", "/kubepods.slice/besteffort"};

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		if (!sl_pod_cgroup_leads(yes[i], sl_pods_places, SL_PODS_PLACES))
			fail_msg("%s", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		if (sl_pod_cgroup_leads(no[i], sl_pods_places, SL_PODS_PLACES))
			fail_msg("%s", no[i]);
}

/* Makes each directory down to top/below, and opens the last. */
static int open_below(const char *top, const char *below)
{
	char path[PATH_MAX];
	size_t from = strlen(top);

	snprintf(path, sizeof(path), "%s%s", top, below);
	for (char *at = strchr(path + from + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		mkdir(path, 0700);
		*at = '/';
	}
	mkdir(path, 0700);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void close_below(const char *top, const char *below, int fd)
{
	char path[PATH_MAX];

	close(fd);
	snprintf(path, sizeof(path), "%s%s", top, below);
	for (; strcmp(path, top); *strrchr(path, '/') = 0)
		assert_int_equal(rmdir(path), 0);
}

static void a_monitor_is_beside_a_pods_containers(void **state)
{
	static const struct {
		const char *below, *name;
		bool is;
	} cases[] = {
		{"/kubepods/besteffort/pod" UID, "crio-conmon-0123", true},
		{"/kubepods.slice/kubepods-pod" UID_ ".slice", "crio-conmon-0123.scope", true},
		{"/kubelet/kubepods/pod" UID, "crio-conmon-0123", true},
		{"/kubepods/pod" UID, "crio-0123", false},
		{"/kubepods/pod" UID, "conmon", false},
		/* in a container's, and in what is no pod's, a workload gives the names */
		{"/kubepods/pod" UID "/crio-0123", "crio-conmon-0123", false},
		{"/kubepods", "crio-conmon-0123", false},
		{"/machine.slice/pod" UID, "crio-conmon-0123", false},
	};
	char top[] = "/tmp/sl-monitor-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(top));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int fd = open_below(top, cases[i].below);
		bool is = sl_pod_is_monitor(fd, cases[i].name);

		close_below(top, cases[i].below, fd);
		if (is != cases[i].is)
			fail_msg("%s/%s", cases[i].below, cases[i].name);
	}
	assert_int_equal(rmdir(top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cgroups_of_pods),
		cmocka_unit_test(the_walk_goes_to_pods),
		cmocka_unit_test(a_monitor_is_beside_a_pods_containers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
