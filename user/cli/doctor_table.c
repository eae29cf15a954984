// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The features, in the order in which they are tried: a privilege or a cgroup
 * that later ones need stands before them. */
#include <linux/capability.h>

#include "doctor.h"
#include "kernel/expedite.h"
#include "kernel/probe.h"
#include "target/private.h"

#define CGROUP_BPF "a kernel 6.1 or later with CONFIG_CGROUP_BPF"
#define ROOT "run it as root: sudo"
#define NO_RUN "`sluice run` refuses to start"

static int try_cgroup_program(struct sl_doctor *d, const struct sl_feature *f,
			      struct sl_finding *out)
{
	return sl_probe_cgroup_program((enum bpf_prog_type)f->type, (enum bpf_attach_type)f->value,
				       d->cgroup_fd);
}

/* A try that takes nothing, or only the scratch cgroup. */
#define TRY(name, call)                                                                            \
	static int try_##name(struct sl_doctor *d, const struct sl_feature *f,                     \
			      struct sl_finding *out)                                              \
	{                                                                                          \
		return call;                                                                       \
	}

TRY(retval, sl_probe_retval(d->cgroup_fd))
TRY(ancestor, sl_probe_ancestor())
TRY(process, sl_probe_process())
TRY(creator, sl_probe_creator())
TRY(packet, sl_probe_packet())
TRY(socket_storage, sl_probe_socket_storage())
TRY(ringbuf, sl_probe_ringbuf())
TRY(table_maps, sl_probe_table_maps())
TRY(spin_lock, sl_probe_spin_lock())
TRY(atomics, sl_probe_atomics())
TRY(function, sl_probe_function())
TRY(tcx, sl_probe_tcx())
TRY(clsact, sl_probe_clsact())
TRY(peer, sl_probe_peer())
TRY(sock_destroy, sl_probe_sock_destroy())

#define CAPABILITY(cap, purpose)                                                                   \
	{                                                                                          \
		.name = #cap, .required = true, .needed_for = purpose, .without = NO_RUN,          \
		.hint = ROOT, .try = sl_try_capability, .value = cap                               \
	}
#define HOOK(name, type, attach, purpose, gone)                                                    \
	{                                                                                          \
		name, true, purpose, gone, CGROUP_BPF, try_cgroup_program, type, attach            \
	}

const struct sl_feature sl_features[] = {
	CAPABILITY(CAP_BPF, "load programs and maps"),
	CAPABILITY(CAP_NET_ADMIN, "attach programs to cgroups and devices"),
	CAPABILITY(CAP_PERFMON, "the verifier's bounded pointers, reading kernel memory"),
	CAPABILITY(CAP_SYS_ADMIN, "the command's private mounts (read-only cgroups)"),
	CAPABILITY(CAP_SETUID, "run the command as the caller"),
	CAPABILITY(CAP_SETGID, "run the command with the caller's groups"),
	CAPABILITY(CAP_SETPCAP, "empty the command's capability bounding set"),
	CAPABILITY(CAP_KILL, "pass signals on to a command of another user"),

	{"kernel release", true, "all of it; 6.1 to 6.18 are tested",
	 "what is older may lack what stands below", "update the kernel", sl_try_kernel, 0, 0},
	{"BTF of the kernel", true, "programs that fit this kernel's structures",
	 "programs cannot be loaded", "a kernel with CONFIG_DEBUG_INFO_BTF, as distributions have",
	 sl_try_btf, 0, 0},
	{"cgroup2", true, "the cgroup that the command lives in", NO_RUN,
	 "mount it: mkdir -p /sys/fs/cgroup/unified && "
	 "mount -t cgroup2 none /sys/fs/cgroup/unified",
	 sl_try_cgroup2, 0, 0},
	{"fresh cgroup", true, "a cgroup for the command alone", NO_RUN,
	 "in a container cgroup2 must be mounted writable", sl_try_scratch, 0, 0},

	HOOK("cgroup/connect4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT,
	     "refuse IPv4 connections at once", "programs cannot be attached"),
	HOOK("cgroup/connect6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT,
	     "refuse IPv6 connections at once", "programs cannot be attached"),
	HOOK("cgroup/sendmsg4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG,
	     "refuse IPv4 datagrams at once", "programs cannot be attached"),
	HOOK("cgroup/sendmsg6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG,
	     "refuse IPv6 datagrams at once", "programs cannot be attached"),
	HOOK("cgroup_skb/egress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS,
	     "decide about every packet that leaves", "nothing can be enforced"),
	HOOK("cgroup_skb/ingress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS,
	     "`inbound`: decide about every packet that comes in", "nothing can be enforced"),
	HOOK("cgroup/sock_create", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE,
	     "uid rules; whose socket it is", "nothing can be enforced"),
	{"bpf_set_retval", true, "ECONNREFUSED and EHOSTUNREACH for the caller (tried for real)",
	 "programs cannot be loaded", "a kernel 5.18 or later", try_retval, 0, 0},
	{"ancestor cgroup id", true, "tell a task from outside that uses the command's socket",
	 "programs cannot be loaded", CGROUP_BPF, try_ancestor, 0, 0},
	{"process identity", true, "pid, uid and name in events", "programs cannot be loaded",
	 CGROUP_BPF, try_process, 0, 0},
	{"socket creator", true, "the uid that made a socket", "programs cannot be loaded",
	 "a kernel that is not locked down for confidentiality", try_creator, 0, 0},
	{"packet helpers", true, "parse packets, ask the time", "programs cannot be loaded",
	 CGROUP_BPF, try_packet, 0, 0},
	{"socket storage", true, "notes on sockets, inherited by accepted ones (BPF_F_CLONE)",
	 "programs cannot be loaded", "a kernel 6.1 or later", try_socket_storage, 0, 0},
	{"ring buffer", true, "events", "programs cannot be loaded", "a kernel 5.8 or later",
	 try_ringbuf, 0, 0},
	{"tables in a map", true, "generations of the policy, switched at once",
	 "programs cannot be loaded", "a kernel 5.10 or later", try_table_maps, 0, 0},
	{"spin locks", true, "flow state and event budgets", "programs cannot be loaded",
	 "a kernel 6.1 or later", try_spin_lock, 0, 0},
	{"atomic operations", true, "exact counters", "programs cannot be loaded",
	 "a kernel 5.12 or later; on other machines than x86-64 and arm64 maybe later", try_atomics,
	 0, 0},
	{"global functions", true, "one verdict for all hooks", "programs cannot be loaded",
	 "a kernel 5.6 or later", try_function, 0, 0},
	{"private mounts", true, "read-only cgroups for the command (tried for real)",
	 "only `sluice run --keep-privileges` can work",
	 "in a container allow mount(2): CAP_SYS_ADMIN, and the seccomp and AppArmor profiles",
	 sl_try_mounts, 0, 0},
	{"seccomp filters", true,
	 "no AF_PACKET, AF_VSOCK, io_uring for the command "
	 "(tried for real)",
	 "only `sluice run --keep-privileges` can work", "a kernel with CONFIG_SECCOMP_FILTER",
	 sl_try_seccomp, 0, 0},

	{"BPF JIT", false, "speed", "programs are interpreted: several times slower",
	 "sysctl -w net.core.bpf_jit_enable=1", sl_try_jit, 0, 0},
	{"cgroup.kill", false, "end what the command leaves behind, at once",
	 "done with signals, one process after the other", "a kernel 5.14 or later",
	 sl_try_cgroup_kill, 0, 0},
	{"bpffs", false, "pins: targets that outlive the program that made them",
	 "mounted at /sys/fs/bpf when it is needed (`run` does not need it)",
	 "mount -t bpf bpf /sys/fs/bpf", sl_try_bpffs, 0, 0},
	{"BPF LSM", false, "socket families for commands that keep their privileges",
	 "with --keep-privileges AF_PACKET and other families are open",
	 "boot with lsm=...,bpf and a kernel with CONFIG_BPF_LSM that does not refuse them",
	 sl_try_lsm, 0, 0},
	{"BPF LSM for a cgroup", false, "the same, for one cgroup alone",
	 "with --keep-privileges AF_PACKET and other families are open",
	 "a kernel 6.0 or later with CONFIG_BPF_LSM that does not refuse them", sl_try_lsm_cgroup,
	 0, 0},
	{"tcx", false, "network devices: taps and veths", "a clsact queueing discipline instead",
	 "a kernel 6.6 or later", try_tcx, 0, 0},
	{"clsact", false, "network devices where there is no tcx",
	 "none, if there is tcx; else only cgroups can be targets", "the module sch_ingress",
	 try_clsact, 0, 0},
	{"veth guard", false, "a container with CAP_NET_ADMIN cannot send past its veth's policy",
	 "it can, by an ifb device (docs/SECURITY.md); `status` says so of each veth",
	 "a kernel 6.6 or later with BTF", try_peer, 0, 0},
	{"bpf_sock_destroy", false, "end live connections that a new policy denies",
	 "they are cut off: packets are dropped, the program sees a time-out",
	 "a kernel 6.5 or later", try_sock_destroy, 0, 0},
	{"Landlock scope", false,
	 "keep the command from tracing the caller's other processes, "
	 "and from their abstract unix sockets",
	 "these are open to a command of the same user",
	 "a kernel 6.12 or later with CONFIG_SECURITY_LANDLOCK, and landlock in lsm=", sl_try_scope,
	 0, 0},
	{"yama", false, "keep the command from tracing the caller's other processes",
	 "a command may take over another process of its user, which is not bound by the policy",
	 "sysctl -w kernel.yama.ptrace_scope=1, or give the command a user of its own: --user",
	 sl_try_yama, 0, 0},
	{"ping", false, "ping inside `sluice run`, where file capabilities do not count",
	 "ping fails there, whatever the policy says",
	 "sysctl -w net.ipv4.ping_group_range='0 2147483647'", sl_try_ping, 0, 0},
	{"user namespaces", false, "sandboxes of browsers and build tools inside the command",
	 "such programs need their own switch (--no-sandbox)",
	 "sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces", sl_try_userns, 0, 0},
	{"lookups of names", false, "rules by name: addresses are learned from DNS packets",
	 "what others resolve is not learned, and not judged as a question; `run` gives its "
	 "command "
	 "`hosts: files dns` and covers these sockets, `attach` cannot",
	 "hosts: files dns in the workload's nsswitch.conf; its resolv.conf names a server of DNS",
	 sl_try_lookups, 0, 0},
	{"resolver of names", false, "`dns: {resolvers: system}`",
	 "questions are judged on their way to it; what it asks in turn is its own traffic",
	 "docs/names.md, \"Stubs\"", sl_try_resolver, 0, 0},
	{"quick starts by sluiced", false,
	 "`sluice run` of members of its group (a process is moved into another cgroup), and "
	 "attachments: the kernel waits for its grace periods",
	 "each start waits 4 to 20 ms for the whole system (a grace period), each attachment as long",
	 "let sluiced write " SL_EXPEDITE_KNOB " (ReadWritePaths= of its unit; not in a "
	 "container), and leave rcu_normal 0 (docs/sluiced.md, \"Grace periods\")",
	 sl_try_moves, 0, 0},
	{"names in runs by sluiced", false,
	 "`sluice run` of members of its group, policies with names",
	 "these are refused; root's `sluice run` has them",
	 "make install, or: setcap " SL_MOUNTS_CAPABILITIES " .../libexec/sluice-mounts",
	 sl_try_run_names, 0, 0},
	{"container engines", false,
	 "labels of podman's containers, and containers below another data root",
	 "sluiced knows containers by their runtimes' files alone",
	 "start the engine (systemctl enable --now podman.socket), or list its socket: `sockets` of "
	 "`runtimes` in sluiced.yaml (docs/containers.md)",
	 sl_try_engines, 0, 0},
	{"clock", false, "`expires` in policies", "a policy with `expires` is refused",
	 "start a time service (systemd-timesyncd, chrony), or give --trust-clock", sl_try_clock, 0,
	 0},
};

const size_t sl_n_features = sizeof(sl_features) / sizeof(sl_features[0]);
