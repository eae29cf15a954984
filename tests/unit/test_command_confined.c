// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * user/target: what the command cannot do.
 * Parts that need root say so and are skipped without it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "command_run.h"
#include "target/confine.h"
#include "target/identity.h"
#include "target_tools.h"

#define NOBODY 65534

/* ---- probes: run as the command ---------------------------------------- */

static const char *verdict(long result)
{
	return result < 0 ? strerrorname_np(errno) : "ok";
}

#ifdef __x86_64__
static long int80(long call, long a, long b, long c)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(call), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	errno = result < 0 ? (int)-result : 0;
	return result < 0 ? -1 : result;
}
#endif

static int probe_sockets(void)
{
	static const int families[] = {AF_UNIX,	  AF_INET,  AF_INET6, AF_NETLINK, AF_ALG,
				       AF_PACKET, AF_VSOCK, AF_XDP,   AF_TIPC,	  AF_RDS,
				       AF_SMC,	  50,	    63,	      64,	  -1};
	char params[256] = {0};
	int pair[2];

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		printf("socket %d: %s\n", families[i],
		       verdict(socket(families[i],
				      families[i] == AF_ALG ? SOCK_SEQPACKET : SOCK_STREAM, 0)));
	printf("packet raw: %s\n", verdict(socket(AF_PACKET, SOCK_RAW, 0)));
	printf("inet raw: %s\n", verdict(socket(AF_INET, SOCK_RAW, IPPROTO_UDP)));
	printf("high bits: %s\n",
	       verdict(syscall(SYS_socket, (1L << 32) | AF_VSOCK, SOCK_STREAM, 0)));
	printf("high bits inet: %s\n",
	       verdict(syscall(SYS_socket, (1L << 32) | AF_INET, SOCK_STREAM, 0)));
	printf("pair unix: %s\n", verdict(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)));
	printf("pair tipc: %s\n", verdict(socketpair(AF_TIPC, SOCK_STREAM, 0, pair)));
	printf("io_uring: %s\n", verdict(syscall(SYS_io_uring_setup, 1, params)));
	printf("io_uring enter: %s\n", verdict(syscall(SYS_io_uring_enter, 9999, 0, 0, 0, 0, 0)));
	printf("tiocsti: %s\n", verdict(ioctl(0, TIOCSTI, "x")));
#ifdef __x86_64__
	printf("x32: %s\n", verdict(syscall(0x40000000L | SYS_socket, AF_VSOCK, SOCK_STREAM, 0)));
	printf("i386 vsock: %s\n", verdict(int80(359, AF_VSOCK, SOCK_STREAM, 0)));
	printf("i386 inet: %s\n", verdict(int80(359, AF_INET, SOCK_STREAM, 0)));
	printf("i386 socketcall: %s\n", verdict(int80(102, 1, 0, 0)));
#endif
	return 0;
}

/* Writes our pid to DIR/cgroup.procs. */
static long move_to(const char *dir)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	return write(fd, "0", 1);
}

static int probe_leave(const char *own, const char *mount_point)
{
	struct mount_attr rw = {.attr_clr = MOUNT_ATTR_RDONLY};
	char path[4096];

	printf("write: %s\n", verdict(move_to(own)));
	snprintf(path, sizeof(path), "/proc/%d/root%s", getppid(), own);
	printf("through the parent's root: %s\n", verdict(move_to(path)));
	snprintf(path, sizeof(path), "/proc/1/root%s", own);
	printf("through init's root: %s\n", verdict(move_to(path)));
	printf("remount: %s\n", verdict(mount_setattr(AT_FDCWD, mount_point, 0, &rw, sizeof(rw))));
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP)) {
		printf("no user namespace\n");
	} else {
		printf("remount in userns: %s\n",
		       verdict(mount_setattr(AT_FDCWD, mount_point, 0, &rw, sizeof(rw))));
		printf("umount in userns: %s\n", verdict(umount2(mount_point, MNT_DETACH)));
		printf("write in userns: %s\n", verdict(move_to(own)));
		if (!mount("c", "/tmp", "cgroup2", 0, NULL)) {
			printf("new mount, up: %s\n", verdict(move_to("/tmp/..")));
			printf("new mount, own: %s\n", verdict(move_to("/tmp")));
		}
	}
	print_file("/proc/self/cgroup");
	return 0;
}

static int probe_fds(void)
{
	for (int fd = 0; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("fd %d\n", fd);
	return 0;
}

static int probe_trace(const char *pid_text, const char *abstract)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/root/", pid_text);
	printf("root: %s\n", verdict(open(path, O_RDONLY | O_DIRECTORY)));
	printf("ptrace: %s\n", verdict(ptrace(PTRACE_SEIZE, atoi(pid_text), 0, 0)));
	snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "%s", abstract);
	printf("abstract: %s\n",
	       verdict(connect(fd, (struct sockaddr *)&addr,
			       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
					   strlen(abstract)))));
	return 0;
}

static int probe(char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(argv[1], "sockets"))
		return probe_sockets();
	if (!strcmp(argv[1], "status"))
		return probe_status();
	if (!strcmp(argv[1], "leave"))
		return probe_leave(argv[2], argv[3]);
	if (!strcmp(argv[1], "fds"))
		return probe_fds();
	if (!strcmp(argv[1], "trace"))
		return probe_trace(argv[2], argv[3]);
	return 99;
}

static void privileges_are_gone(void **state)
{
	static const char *const users[] = {NULL, "nobody", "4242:4343"};
	char bounding[32];

	need_root();
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(run_all(&(struct run){.user = users[i], .argv = PROBE("status")},
					 out, sizeof(out)),
				 0);
		assert_line(out, "CapInh:\t0000000000000000");
		assert_line(out, "CapPrm:\t0000000000000000");
		assert_line(out, "CapEff:\t0000000000000000");
		snprintf(bounding, sizeof(bounding), "CapBnd:\t%016llx", SL_BOUNDING_KEPT);
		assert_line(out, bounding);
		assert_line(out, "CapAmb:\t0000000000000000");
		assert_line(out, "NoNewPrivs:\t1");
		assert_line(out, "Seccomp:\t2");
		assert_non_null(strstr(out, "/sluice-run-"));
		assert_line(out, i == 0	  ? "Uid:\t0\t0\t0\t0"
				 : i == 1 ? "Uid:\t65534\t65534\t65534\t65534"
					  : "Uid:\t4242\t4242\t4242\t4242");
		if (i == 1) {
			assert_line(out, "Gid:\t65534\t65534\t65534\t65534");
			assert_line(out, "HOME=/nonexistent");
			assert_line(out, "USER=nobody");
			assert_line(out, "LOGNAME=nobody");
		}
	}
	assert_int_equal(
		run_all(&(struct run){.keep = true, .argv = PROBE("status")}, out, sizeof(out)), 0);
	assert_line(out, "NoNewPrivs:\t0");
	assert_line(out, "Seccomp:\t0");
	assert_null(strstr(out, "CapEff:\t0000000000000000"));
}

static void families_without_hooks_are_refused(void **state)
{
	static const char *const want[] = {
		"socket 1: ok",
		"socket 2: ok",
		"socket 10: ok",
		"socket 40: EAFNOSUPPORT",
		"socket 17: EAFNOSUPPORT",
		"socket 44: EAFNOSUPPORT",
		"socket 30: EAFNOSUPPORT",
		"socket 21: EAFNOSUPPORT",
		"socket 43: EAFNOSUPPORT",
		"socket 50: EAFNOSUPPORT",
		"socket 63: EAFNOSUPPORT",
		"socket 64: EAFNOSUPPORT",
		"socket -1: EAFNOSUPPORT",
		"packet raw: EAFNOSUPPORT",
		"inet raw: EPERM",
		"high bits: EAFNOSUPPORT",
		"high bits inet: ok",
		"pair unix: ok",
		"pair tipc: EAFNOSUPPORT",
		"io_uring: ENOSYS",
		"io_uring enter: ENOSYS",
		"tiocsti: EPERM",
#ifdef __x86_64__
		"x32: ENOSYS",
		"i386 vsock: EAFNOSUPPORT",
		"i386 inet: ok",
		"i386 socketcall: ENOSYS",
#endif
	};

	need_root();
	/* SOCK_STREAM is no netlink type; that the family passes shows in the error. */
	assert_int_equal(run_all(&(struct run){.user = "nobody", .argv = PROBE("sockets")}, out,
				 sizeof(out)),
			 0);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_line(out, want[i]);
	assert_null(strstr(out, "socket 16: EAFNOSUPPORT"));
	/* The pair: without the filter the same probe gets through. */
	assert_int_equal(
		run_all(&(struct run){.keep = true, .argv = PROBE("sockets")}, out, sizeof(out)),
		0);
	assert_line(out, "packet raw: ok");
	assert_line(out, "io_uring: ok");
	assert_line(out, "inet raw: ok");
}

static void cgroup_cannot_be_left(void **state)
{
	char *argv[] = {"/proc/self/exe", "leave", NULL, NULL, NULL};
	static const char *const users[] = {NULL, "4242:4343"};
	struct sl_cgroup2 fs;
	char delegated[4096], file[4200];

	find(&fs);
	/* A sibling that belongs to uid 4242, as systemd delegates them; uid 0 owns all. */
	snprintf(delegated, sizeof(delegated), "%s/sluice-test-mine-%d", fs.own, getpid());
	assert_int_equal(mkdir(delegated, 0755), 0);
	snprintf(file, sizeof(file), "%s/cgroup.procs", delegated);
	argv[2] = delegated;
	argv[3] = fs.mount;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(chown(file, i ? 4242 : 0, i ? 4343 : 0), 0);
		assert_int_equal(
			run_all(&(struct run){.user = users[i], .argv = argv}, out, sizeof(out)),
			0);
		assert_line(out, "write: EROFS");
		assert_null(strstr(out, "root: ok"));
		assert_line(out, "remount: EPERM");
		if (!strstr(out, "no user namespace")) {
			assert_line(out, "remount in userns: EPERM");
			assert_null(strstr(out, "umount in userns: ok"));
			assert_line(out, "write in userns: EROFS");
		}
		assert_null(strstr(out, "0::/sluice-test-mine"));
	}
	/* The pair: privileges kept, it walks out. */
	assert_int_equal(run_all(&(struct run){.keep = true, .argv = argv}, out, sizeof(out)), 0);
	assert_line(out, "write: ok");
	assert_int_equal(rmdir(delegated), 0);
	sl_cgroup2_free(&fs);
}

static void mount_bpf(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) || mkdir("/sys/fs/bpf/pins", 0777))
		_exit(123);
}

static void pinned_objects_are_out_of_sight(void **state)
{
	char *argv[] = {"ls", "/sys/fs/bpf", NULL};

	need_root();
	for (int keep = 0; keep < 2; keep++) {
		int status =
			run_all(&(struct run){.keep = keep, .argv = argv, .prepare = mount_bpf},
				out, sizeof(out));

		if (WIFEXITED(status) && WEXITSTATUS(status) == 123) {
			print_message("skipped: no bpf file system\n");
			skip();
		}
		assert_int_equal(status, 0);
		if (keep)
			assert_line(out, "pins");
		else
			assert_string_equal(out, "");
	}
}

static int inherited_udp, inherited_unix, inherited_dir, inherited_file;

static void inherit(void)
{
	inherited_udp = fcntl(socket(AF_INET, SOCK_STREAM, 0), F_DUPFD, 20);
	inherited_unix = fcntl(socket(AF_UNIX, SOCK_STREAM, 0), F_DUPFD, 30);
	inherited_dir = fcntl(open("/", O_RDONLY | O_DIRECTORY), F_DUPFD, 40);
	inherited_file = fcntl(open("/dev/null", O_RDONLY), F_DUPFD, 50);
}

static void inherit_stdin(void)
{
	dup2(socket(AF_INET, SOCK_STREAM, 0), 0);
}

static void inherited_sockets_are_closed(void **state)
{
	need_root();
	for (int keep = 0; keep < 2; keep++) {
		assert_int_equal(run_all(&(struct run){.keep = keep,
						       .argv = PROBE("fds"),
						       .prepare = inherit},
					 out, sizeof(out)),
				 0);
		assert_null(strstr(out, "fd 20\n"));
		assert_line(out, "fd 30");
		assert_int_equal(!!strstr(out, "fd 40\n"), keep);
		assert_line(out, "fd 50");
	}
	assert_int_equal(
		WEXITSTATUS(run_all(&(struct run){.argv = PROBE("fds"), .prepare = inherit_stdin},
				    out, sizeof(out))),
		125);
	assert_non_null(strstr(out, "standard input is a inet stream socket"));
}

static void closed_descriptors_are_reported(void **state)
{
	struct sl_diag diag = {0};
	struct sl_fds before, fds;
	int tcp, uds, cloexec;

	assert_int_equal(sl_fds_scan(false, &before, &diag), 0);
	tcp = socket(AF_INET6, SOCK_DGRAM, 0);
	uds = socket(AF_UNIX, SOCK_STREAM, 0);
	cloexec = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(sl_fds_scan(false, &fds, &diag), 0);
	assert_int_equal(fds.n_closed, before.n_closed + 1);
	assert_int_equal(fds.n_unix, before.n_unix + 1);
	for (size_t i = 0; i < fds.n_closed; i++)
		if (fds.closed[i].fd == tcp)
			assert_string_equal(fds.closed[i].what, "inet6 datagram socket");
	close(tcp);
	close(uds);
	close(cloexec);
	sl_fds_free(&before);
	sl_fds_free(&fds);
}

/* A process of the same uid outside, with an abstract socket. */
static pid_t outsider(const char *abstract)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "%s", abstract);
		if (bind(fd, (struct sockaddr *)&addr,
			 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				     strlen(abstract))) ||
		    listen(fd, 8) || setresgid(4343, 4343, 4343) || setresuid(4242, 4242, 4242))
			_exit(1);
		prctl(PR_SET_DUMPABLE, 1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(ready[1], "r", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void outsiders_cannot_be_traced(void **state)
{
	char *argv[] = {"/proc/self/exe", "trace", NULL, "sluice-test-abstract", NULL};
	char pid_text[16];
	pid_t pid;

	need_root();
	if (!sl_confine_has_scope()) {
		print_message("skipped: no Landlock ABI 6 in this kernel\n");
		skip();
	}
	pid = outsider(argv[3]);
	snprintf(pid_text, sizeof(pid_text), "%d", pid);
	argv[2] = pid_text;
	assert_int_equal(
		run_all(&(struct run){.user = "4242:4343", .argv = argv}, out, sizeof(out)), 0);
	assert_line(out, "root: EACCES");
	assert_line(out, "ptrace: EPERM");
	assert_line(out, "abstract: EPERM");
	/* The pair: the same uid without the domain. */
	assert_int_equal(run_all(&(struct run){.user = "4242:4343", .keep = true, .argv = argv},
				 out, sizeof(out)),
			 0);
	assert_line(out, "root: ok");
	assert_line(out, "abstract: ok");
	kill(pid, SIGKILL);
	wait_for(pid, 0);
}

/* ---- what stays open ---------------------------------------------------- */

static void open_points_are_named(void **state)
{
	struct sl_identity root = {.source = SL_IDENTITY_CALLER}, user = {.uid = 4242, .gid = 4343};
	struct sl_open_points points;

	need_root();
	assert_int_equal(sl_confine_open_points(&root, true, NULL, &points), 0);
	assert_int_equal(points.n, 1);
	assert_non_null(strstr(points.lines[0], "--keep-privileges"));
	sl_open_points_free(&points);
	assert_int_equal(sl_confine_open_points(&root, false, NULL, &points), 0);
	assert_non_null(strstr(points.lines[0], "use --user"));
	sl_open_points_free(&points);
	assert_int_equal(sl_confine_open_points(&user, false, NULL, &points), 0);
	for (size_t i = 0; i < points.n; i++)
		assert_null(strstr(points.lines[i], "uid 0"));
	sl_open_points_free(&points);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(privileges_are_gone),
		cmocka_unit_test(families_without_hooks_are_refused),
		cmocka_unit_test(cgroup_cannot_be_left),
		cmocka_unit_test(pinned_objects_are_out_of_sight),
		cmocka_unit_test(inherited_sockets_are_closed),
		cmocka_unit_test(closed_descriptors_are_reported),
		cmocka_unit_test(outsiders_cannot_be_traced),
		cmocka_unit_test(open_points_are_named),
	};

	if (argc > 1)
		return probe(argv);
	/* A caller's sudo would decide whom the runs below become. */
	unsetenv("SUDO_UID");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
