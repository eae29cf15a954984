// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice: the table of commands. */
#include <stdio.h>
#include <string.h>

#include "alerts_usage.h"
#include "cli.h"
#include "policy/text.h"

const struct sl_command sl_commands[] = {
	{"run", "run a command under a policy",
	 "usage: sluice run [-p POLICY] [--audit] [--log FILE] [-v] [-q] [--user USER]\n"
	 "                  [--wait | --leave] [--keep-privileges] [--trust-clock]\n"
	 "                  [--] COMMAND [ARGUMENT...]\n"
	 "\n"
	 "Puts COMMAND and its children in a fresh cgroup whose egress the kernel\n"
	 "decides by POLICY, and tells at the end what was blocked. Without -p nothing\n"
	 "may leave but loopback. Exits as COMMAND does; 127 if it is not found, 126 if it\n"
	 "cannot be executed, 125 if sluice itself failed, 2 for wrong usage.\n"
	 "\n"
	 "  -p, --policy FILE     the policy; - is standard input. Not root: NAME, one of those\n"
	 "                        that sluiced's configuration lists (`run`), through sluiced\n"
	 "      --audit           let everything pass, report what would be denied\n"
	 "      --log FILE        append events, one JSON object a line\n"
	 "  -v, --verbose         show events on stderr as they come\n"
	 "  -q, --quiet           no summary\n"
	 "      --user USER       run as USER (name, UID or UID:GID), not as the caller\n"
	 "      --wait            wait until every process of COMMAND has ended\n"
	 "      --leave           leave what is still running, enforced, and say where\n"
	 "      --keep-privileges keep the caller's uid and capabilities\n"
	 "      --trust-clock     take `expires` although the clock may be wrong\n"
	 "\n"
	 "example: sudo sluice run -p agent.yaml --log agent.jsonl -- npm test\n",
	 cmd_run},
	{"attach", "judge a cgroup's sockets, or what crosses a device (a guest's tap, a veth)",
	 "usage: sluice attach --dev DEVICE -p POLICY [--mac MAC] [--address ADDRESS]...\n"
	 "                     [--vlan VID]... [--audit] [--trust-clock] [-o json]\n"
	 "       sluice attach --cgroup PATH -p POLICY [--audit] [--trust-clock] [-o json]\n"
	 "\n"
	 "All that the sockets of PATH send or get, and those of the cgroups below it that\n"
	 "have no policy of their own, is judged in the kernel from now on, whether a process\n"
	 "of Sluice lives or not. The nearest cgroup with a policy decides: one for a parent is\n"
	 "the default of its children. A socket is of the cgroup in which it was made.\n"
	 "\n"
	 "Every frame that the workload behind DEVICE sends or gets is judged in the\n"
	 "kernel from now on, whether a process of Sluice lives or not. A device that has\n"
	 "a policy gets the new one at once; flows that it still allows live on.\n"
	 "\n"
	 "      --dev DEVICE      a tap, or the host's end of a veth\n"
	 "      --cgroup PATH     a cgroup2 directory, or a name as /proc/PID/cgroup has it\n"
	 "  -p, --policy FILE     the policy; - is standard input\n"
	 "      --mac MAC         the only Ethernet address that the workload may use\n"
	 "      --address ADDRESS an address or prefix that it may use; only those given.\n"
	 "                        dhcp: and the one that it is leased\n"
	 "      --vlan VID        a VLAN id that its frames may carry\n"
	 "      --audit           let everything pass, report what would be denied\n"
	 "      --trust-clock     take `expires` although the clock may be wrong\n"
	 "  -o, --output FORMAT   text or json\n"
	 "\n"
	 "Exits 0 when it is attached, 1 if it could not be, 2 for wrong usage.\n"
	 "\n"
	 "example: sudo sluice attach --dev vnet0 -p agent.yaml --mac 52:54:00:12:34:56 \\\n"
	 "                            --address dhcp\n"
	 "         sudo sluice attach --cgroup /system.slice/agent.service -p agent.yaml\n",
	 cmd_attach},
	{"detach", "take the policy off a device or a cgroup",
	 "usage: sluice detach --dev DEVICE [-o json]\n"
	 "       sluice detach --cgroup PATH [-o json]\n"
	 "       sluice detach --all [-o json]\n"
	 "\n"
	 "DEVICE is of this network namespace; --all is every cgroup, and every device of\n"
	 "every namespace.\n"
	 "\n"
	 "Exits 0 when all that was named is detached, 1 if something is not (or had no policy),\n"
	 "2 for wrong usage.\n"
	 "\n"
	 "example: sudo sluice detach --dev vnet0\n",
	 cmd_detach},
	{"watch", "attach to every device of a name, as they come and go",
	 "usage: sluice watch --dev PATTERN [--dev PATTERN]... -p POLICY [--address ADDRESS]...\n"
	 "                    [--vlan VID]... [--log FILE] [--sink SPEC]... [--metrics ADDRESS]\n"
	 "                    [-v] [--audit] [--trust-clock]\n"
	 "                    [--receive-buffer BYTES] [-o json]\n"
	 "\n"
	 "Attaches to every Ethernet device of this network namespace whose name a pattern\n"
	 "matches, now and when it comes; follows @host, @gateway and @subnet; reads POLICY\n"
	 "again at SIGHUP. Stays in the foreground; what is attached when it ends goes on being\n"
	 "judged. A device is found after it was made, so its first frames can pass: what must\n"
	 "lose none attaches before the device is up (`sluice attach`, the libvirt hook).\n"
	 "\n"
	 "      --dev PATTERN     as a shell's: vnet*, tap[0-9]; quote it\n"
	 "  -p, --policy FILE     the policy; - is standard input\n"
	 "      --address ADDRESS one that the workloads may use; a prefix; or dhcp\n"
	 "      --vlan VID        a VLAN tag that their frames may carry\n"
	 "      --log FILE        append events, one JSON object a line\n"
	 "      --sink SPEC       an audit sink: file:PATH,rotate=10M,every=1d,keep=7; stdout;\n"
	 "                        journald; syslog, syslog:udp:ADDRESS:PORT, syslog:tcp:...;\n"
	 "                        unix:PATH; each with format=ocsf if wanted (docs/sinks.md).\n"
	 "                        Files are opened again at SIGUSR1\n"
	 "      --metrics ADDRESS for Prometheus: loopback:9477 or unix:PATH (docs/metrics.md)\n"
	 "  -v, --verbose         show events on stderr as they come\n"
	 "      --audit           let everything pass, report what would be denied\n"
	 "      --trust-clock     take `expires` although the clock may be wrong\n"
	 "      --receive-buffer BYTES  of netlink, where very many devices come at once\n"
	 "  -o, --output FORMAT   text or json\n"
	 "\n"
	 "Exits 0 when a signal ends it, 1 if it could not begin or go on, 2 for wrong usage.\n"
	 "\n"
	 "example: sudo sluice watch --dev 'vnet*' -p agent.yaml --address dhcp --log vms.jsonl\n",
	 cmd_watch},
	{"status", "show what is attached, and what it decided",
	 "usage: sluice status [-o json]\n"
	 "\n"
	 "Exits 0, also where nothing is attached; 1 if it cannot tell, 2 for wrong usage.\n"
	 "\n"
	 "example: sudo sluice status\n",
	 cmd_status},
	{"monitor", "show the events of what is attached, as they come",
	 "usage: sluice monitor [--target PATTERN]... [--verdict VERDICT]... [--rule PATTERN]...\n"
	 "                      [--name PATTERN]... [-o json]\n"
	 "\n"
	 "Through sluiced any number of monitors see all. Without it events have one reader at a\n"
	 "time: this, or `sluice watch` with --log or -v.\n"
	 "\n"
	 "      --target PATTERN  only of these, by a device's name or a cgroup's path: vnet*, */agent@*\n"
	 "      --verdict VERDICT only allow, deny or audit-deny\n"
	 "      --rule PATTERN    only what these rules decided\n"
	 "      --name PATTERN    only what was asked for, or connected to, by such a name\n"
	 "  -o, --output FORMAT   text or json\n"
	 "\n"
	 "Exits 0 when a signal ends it, 1 if it could not begin or go on, 2 for wrong usage.\n"
	 "\n"
	 "example: sudo sluice monitor --target 'vnet*' --verdict deny\n",
	 cmd_monitor},
	{"alerts", SL_ALERTS_SUMMARY,
	 SL_ALERTS_USAGE,
	 cmd_alerts},
	{"top", "show what each target does now, live",
	 "usage: sluice top [--count N] [--batch]\n"
	 "\n"
	 "A table a second: the targets with most denials first. q ends it.\n"
	 "\n"
	 "  -b, --batch           print tables, one below the other\n"
	 "  -n, --count N         end after N tables\n"
	 "\n"
	 "Exits 0 when it is ended, 1 if it cannot tell what is attached, 2 for wrong usage.\n"
	 "\n"
	 "example: sudo sluice top\n",
	 cmd_top},
	{"apply", "let sluiced read its configuration now, and say what became of it",
	 "usage: sluice apply [-o json]\n"
	 "\n"
	 "sluiced reads changed files by itself; this tells whether it could, and gives devices\n"
	 "that were detached by hand their policies again. Exits 0 if the configuration is\n"
	 "in force, 1 if it is not, or a device that it names could not get its policy; 2 for\n"
	 "wrong usage.\n"
	 "\n"
	 "example: sudo sluice apply\n",
	 cmd_apply},
	{"check", "say whether a policy is valid, and what looks wrong with it",
	 "usage: sluice check [-o json] [--resolved] [--trust-clock] FILE...\n"
	 "\n"
	 "  -o, --output FORMAT   text or json\n"
	 "      --resolved        print what the policy means here and now\n"
	 "      --trust-clock     take `expires` although the clock may be wrong\n"
	 "\n"
	 "Exits 0 if every FILE is valid, whatever its warnings; 1 if one is not, 2 for wrong usage.\n"
	 "\n"
	 "example: sluice check agent.yaml\n",
	 cmd_check},
	{"explain", "say which rule decides about a destination, and why not the others",
	 "usage: sluice explain -p FILE [--dev DEVICE] DESTINATION [--uid USER]\n"
	 "                      [--proto PROTO] [--icmp TYPE[:CODE]] [--name NAME]\n"
	 "                      [--inbound] [--trust-clock] [-o json]\n"
	 "\n"
	 "DESTINATION is ADDRESS[:PORT][/PROTO] or NAME[:PORT][/PROTO]; with a port and no\n"
	 "protocol it is TCP. A NAME alone is the question for it; with a port it is the\n"
	 "question, and a connection to an address that this name alone owns.\n"
	 "The answer is that of the compiled table, which the kernel reads too.\n"
	 "\n"
	 "  -p, --policy FILE     the policy; - is standard input\n"
	 "      --dev DEVICE      as the policy decides on this device: @gateway, @subnet and\n"
	 "                        @host are its bridge's, not those of this machine's default\n"
	 "                        route. What a frame passes before the rules (its binding,\n"
	 "                        ARP, DHCP) is in docs/devices.md\n"
	 "      --uid USER        the flow is of this user (name or number)\n"
	 "      --proto PROTO     tcp, udp, icmp, icmpv6, sctp or a number\n"
	 "      --icmp TYPE:CODE  of icmp and icmpv6; without it an echo request\n"
	 "      --name NAME       the address is one that NAME has in DNS\n"
	 "      --inbound         the address is the remote side of a flow that comes in,\n"
	 "                        the port is the local one\n"
	 "      --trust-clock     take `expires` although the clock may be wrong\n"
	 "  -o, --output FORMAT   text or json\n"
	 "\n"
	 "Exits 0, whether it is allowed or denied; 1 if the policy is not valid, 2 for wrong usage\n"
	 "or a DESTINATION that cannot be read.\n"
	 "\n"
	 "example: sluice explain -p agent.yaml api.github.com:443\n",
	 cmd_explain},
	{"test", "run the tests that stand in policies",
	 "usage: sluice test [--dev DEVICE] [-o json] [--trust-clock] FILE...\n"
	 "\n"
	 "What counts is the policy's decision, in audit mode too.\n"
	 "\n"
	 "      --dev DEVICE      as the policy decides on this device (see `explain`)\n"
	 "  -o, --output FORMAT   text or json\n"
	 "      --trust-clock     take `expires` although the clock may be wrong\n"
	 "\n"
	 "Exits 0 if every test passes (or there are none), 1 if one fails or a FILE is not valid,\n"
	 "2 for wrong usage.\n"
	 "\n"
	 "example: sluice test policies/*.yaml\n",
	 cmd_test},
	{"fmt", "print a policy in canonical form",
	 "usage: sluice fmt [--fragment] [FILE]\n"
	 "       sluice fmt -w [--force] [--fragment] FILE...\n"
	 "       sluice fmt --check [--fragment] FILE...\n"
	 "\n"
	 "  -w, --write           rewrite the files in place\n"
	 "      --force           rewrite a file that has comments: they are lost\n"
	 "      --check           print no policy; name each file that is not canonical\n"
	 "                        (comments and blank lines aside)\n"
	 "      --fragment        the files are fragments, as `include` takes them\n"
	 "\n"
	 "Comments are not kept: -w refuses a file that has some, unless --force.\n"
	 "\n"
	 "Exits 0 if that was done, 1 if a FILE is not valid (--check: not canonical) or was not\n"
	 "written, 2 for wrong usage.\n"
	 "\n"
	 "example: sluice fmt agent.yaml\n",
	 cmd_fmt},
	{"convert", "turn another system's policy, or what was denied, into one of ours",
	 "usage: sluice convert --from nwfilter [FILE...]\n"
	 "       sluice convert --from sortie [FILE]\n"
	 "       sluice convert --from tinyproxy [--config tinyproxy.conf] [--set DIRECTIVE]... [FILE]\n"
	 "       sluice convert --from kubernetes --pod NAMESPACE/NAME [FILE...]\n"
	 "       sluice convert --from records [--policy NAME] [FILE...]\n"
	 "\n"
	 "Prints a policy. nwfilter: a network filter of libvirt (XML); further FILEs are\n"
	 "filters that it refers to, those that libvirt comes with excepted. sortie: an\n"
	 "application or its egress_policy (JSON). tinyproxy: its filter file. kubernetes: objects\n"
	 "(YAML, JSON), of which the policy for one pod is made. What a policy cannot say exactly\n"
	 "is refused. records: what `run --log` and the sinks write; the policy allows what was\n"
	 "denied in them by default, or was allowed, to be read before it is used.\n"
	 "\n"
	 "      --config FILE     tinyproxy.conf: how its filter is meant, and where it is\n"
	 "      --set DIRECTIVE   a line of tinyproxy.conf, as 'FilterDefaultDeny Yes'\n"
	 "      --pod NS/NAME     the pod whose egress the policy is to state\n"
	 "      --policy NAME     whose records count, where there are those of several\n"
	 "\n"
	 "Exits 0 with a policy, 1 if there is none that is exact, 2 for wrong usage.\n"
	 "\n"
	 "example: virsh nwfilter-dumpxml agent | sluice convert --from nwfilter > agent.yaml\n",
	 cmd_convert},
	{"rules", "show what each rule has decided, or the built-in sets",
	 "usage: sluice rules --dev DEVICE [--unused DURATION] [-o json]\n"
	 "       sluice rules --cgroup PATH [--unused DURATION] [-o json]\n"
	 "       sluice rules --sets [--dev DEVICE] [-o json]\n"
	 "\n"
	 "      --dev DEVICE      decisions by rule, and when each rule last decided\n"
	 "      --cgroup PATH     the same of a cgroup; PATH as for `attach`\n"
	 "      --unused DURATION only rules that decided nothing for so long, as 30d; counters\n"
	 "                        begin when the device or cgroup is attached\n"
	 "      --sets            the built-in sets\n"
	 "  -o, --output FORMAT   text or json\n"
	 "\n"
	 "Exits 0, also if no rule has decided; 1 if there is no policy or it cannot be read, 2 for\n"
	 "wrong usage.\n"
	 "\n"
	 "example: sudo sluice rules --dev vnet0 --unused 30d\n",
	 cmd_rules},
	{"libvirt-hook", "called by libvirt through deploy/libvirt/qemu-hook",
	 "usage: sluice libvirt-hook [--config FILE] [--] GUEST OPERATION [SUBOPERATION EXTRA]\n"
	 "\n"
	 "Reads the domain's XML from standard input, as libvirt's hooks get it, and attaches\n"
	 "each of the guest's NICs before it starts. docs/libvirt.md says how it is set up.\n"
	 "Exits 0 if the guest may go on, 1 if not: libvirt gives up the operation (`reconnect`\n"
	 "exits 0 in any case); 2 for wrong usage.\n"
	 "\n"
	 "      --config FILE     instead of /etc/sluice/libvirt.yaml\n"
	 "\n"
	 "example: virsh dumpxml web | sudo sluice libvirt-hook web reconnect begin -\n",
	 cmd_libvirt_hook},
	{"profile", "list or show the shipped profiles, for `- include: profile/NAME`",
	 "usage: sluice profile list [-o json]\n"
	 "       sluice profile show NAME [-o json]\n"
	 "\n"
	 "A profile is a fragment: the rules that a program needs. It says from when it is and\n"
	 "where it comes from.\n"
	 "\n"
	 "Exits 0 if they could be read, 1 if not, 2 for wrong usage.\n"
	 "\n"
	 "example: sluice profile show claude-code\n",
	 cmd_profile},
	{"doctor", "try what Sluice needs on this machine, and say what is missing",
	 "usage: sluice doctor [-o json]\n"
	 "\n"
	 "Exits 0 if this machine has all that `sluice run` needs, 1 if not, 2 for wrong usage.\n"
	 "\n"
	 "example: sudo sluice doctor\n",
	 cmd_doctor},
	{},
};

static int overview(FILE *out)
{
	const struct sl_command *c;

	fputs("usage: sluice COMMAND [OPTION...]\n\n"
	      "Decides in the kernel where a program may connect.\n\n", out);
	for (c = sl_commands; c->name; c++)
		fprintf(out, "  %-12s %s\n", c->name, c->summary);
	fputs("\n`sluice help COMMAND` or `sluice COMMAND --help` says more; `sluice --version`.\n"
	      "example: sudo sluice run -p policy.yaml -- curl https://192.0.2.1\n", out);
	return out == stdout ? SL_EXIT_OK : SL_EXIT_USAGE;
}

/* What stands for no command is quoted, and what it is probably a slip of said. */
static int no_command(const char *name)
{
	const char *words[sizeof(sl_commands) / sizeof(sl_commands[0])] = {};
	const char *nearest;
	size_t n = 0;

	for (const struct sl_command *c = sl_commands; c->name; c++)
		words[n++] = c->name;
	nearest = sl_nearest(name, strlen(name), words);
	fputs("sluice: no command '", stderr);
	sl_put_text(name, stderr);
	if (nearest)
		fprintf(stderr, "'; did you mean '%s'? `sluice help` lists all\n", nearest);
	else
		fputs("'; `sluice help` lists those that there are\n", stderr);
	return SL_EXIT_USAGE;
}

static int help(const char *command)
{
	if (!command)
		return overview(stdout);
	return sl_command_find(command) ? sl_help(command) : no_command(command);
}

int main(int argc, char **argv)
{
	const struct sl_command *command;

	if (argc < 2)
		return overview(stderr);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		puts("sluice " SLUICE_VERSION);
		return SL_EXIT_OK;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return overview(stdout);
	if (!strcmp(argv[1], "help"))
		return help(argc > 2 ? argv[2] : NULL);
	command = sl_command_find(argv[1]);
	if (!command)
		return no_command(argv[1]);
	return command->run(argc - 1, argv + 1);
}
