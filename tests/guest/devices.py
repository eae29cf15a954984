# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The device programs, for the suite of the kernel matrix: a veth and a tap, both
ports of a bridge; behind it a namespace with servers, where "arrived" is seen.

    [workload] w0 --- v0 --+
    a descriptor ---- t0 --+-- br0 [host] -- p0 --- p1 [behind]
"""
import contextlib
import ctypes
import json
import os
import pathlib
import socket
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))
import client  # noqa: E402
import devlab  # noqa: E402
import echoes  # noqa: E402
import lab  # noqa: E402

MAC = "52:54:00:12:34:56"
MINE = {4: "192.0.2.10", 6: "2001:db8::10"}
THEIRS = {4: "192.0.2.2", 6: "2001:db8::2"}
FREE = {4: "192.0.2.77", 6: "2001:db8::77"}
OPEN, CLOSED, UNNAMED = 7001, 7002, 7003
BIND = ("--mac", MAC, "--address", MINE[4], "--address", MINE[6])
VLAN = 7
POLICY = f"""\
sluice: 1
name: devices
rules:
  - allow: {{to: ["{THEIRS[4]}", "{THEIRS[6]}"], ports: [{OPEN}]}}
  - deny: {{to: ["{THEIRS[4]}", "{THEIRS[6]}"], ports: [{CLOSED}]}}
    id: closed
"""
ERRORS = {"tcp": {4: "ECONNREFUSED", 6: "ECONNREFUSED"},
          "connected-udp": {4: "EHOSTUNREACH", 6: "EACCES"}}
BURST = 64      # of which a quarter is marked
QUICK_MS = 500  # the suite's: a refusal, not a time-out
IPV4, IPV6, Q = 0x0800, 0x86dd, 0x8100
SYS_BPF, BPF_PROG_QUERY, TCX_INGRESS, TCX_EGRESS = 321, 16, 46, 47     # x86-64; linux/bpf.h
libc = ctypes.CDLL(None, use_errno=True)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


# ---- frames ----

def ethernet(body, family, source=MAC, vlan=None, to="ff:ff:ff:ff:ff:ff"):
    kind = {4: IPV4, 6: IPV6}[family]
    tag = b"" if vlan is None else struct.pack("!HH", Q, vlan)
    return bytes.fromhex((to + source).replace(":", "")) + tag + struct.pack("!H", kind) + body


def packet(family, protocol, body, source=None):
    source = source or MINE[family]
    head = client.ip_header({"from": source, "to": THEIRS[family]}, protocol, len(body))
    if family == 4:
        head = head[:2] + struct.pack("!H", 20 + len(body)) + head[4:]
        head = head[:10] + struct.pack("!H", client.checksum(head)) + head[12:]
    return head + body


def udp(family, token, source=None, port=OPEN):
    body = client.datagram(source or MINE[family], THEIRS[family], 4000, port, token)
    return packet(family, 17, body, source)


def syn(family, port):
    return packet(family, 6, struct.pack("!HHIIBBHHH", 4001, port, 7, 0, 5 << 4, 2, 1000, 0, 0))


class Site:
    def __init__(self, program, folder):
        os.environ["SLUICE"] = str(program)
        self.host = devlab.Host("sl-k-host", folder)
        self.workload = devlab.Namespace("sl-k-work")
        self.behind = devlab.Namespace("sl-k-behind")
        self.program, self.tokens, self.closing = program, 0, []
        self.policy = self.host.write(POLICY)
        self.build()
        self.serve()

    def build(self):
        for namespace in (self.host, self.workload, self.behind):
            namespace.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        self.host.ip("link add br0 type bridge forward_delay 0")
        self.host.ip("link set br0 up")
        self.tap = self.host.tap("t0")
        self.host.ip(f"link add v0 type veth peer name w0 netns {self.workload.name}")
        self.host.ip(f"link add p0 type veth peer name p1 netns {self.behind.name}")
        for port in ("t0", "v0", "p0"):
            self.host.ip(f"link set {port} master br0 up")
        self.workload.ip(f"link set w0 address {MAC} up")
        self.behind.ip("link set p1 up")
        for namespace, device, addresses in ((self.workload, "w0", MINE),
                                             (self.behind, "p1", THEIRS)):
            namespace.ip(f"addr add {addresses[4]}/24 dev {device}")
            namespace.ip(f"addr add {addresses[6]}/64 dev {device} nodad")

    def serve(self):
        echo = echoes.Echo()
        self.closing.append(echo)
        for namespace in (self.behind, self.workload):
            def make(*arguments, where=namespace):
                return where.within(lambda: socket.socket(*arguments))
            for port in (OPEN, CLOSED, UNNAMED):
                echo.add_tcp(make, port)
                echo.add_udp(make, port)
        capture = self.behind.within(lambda: socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(lab.ETH_P_ALL)))
        capture.bind(("p1", lab.ETH_P_ALL))
        self.closing.append(capture)
        self.wire = lab.Wire(capture, None)

    def close(self):
        for thing in self.closing:
            thing.close()
        for namespace in (self.host, self.workload, self.behind):
            namespace.close()

    # ---- sluice ----

    def sluice(self, *words):
        done = self.host.sluice(*words)
        expect(done.returncode == 0, f"{words}: {done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def attached(self, device, *options):
        self.sluice("attach", "--dev", device, "-p", self.policy, *BIND, *options)
        yield
        self.sluice("detach", "--dev", device)

    def target(self, device):
        return self.host.status().get(device)

    # ---- what is tried ----

    def attempts(self, namespace, *attempts):
        done = namespace.run("/usr/bin/python3", HERE / "attempt.py", *attempts)
        results = [json.loads(line) for line in done.stdout.splitlines()]
        expect(len(results) == len(attempts), done.stderr)
        return results

    def token(self):
        self.tokens += 1
        return b"token-%d-" % self.tokens

    def send(self, device, frame):
        """A raw frame from the workload's side of v0 or t0, and the mark behind it: a
        datagram that every policy here allows, from the same place."""
        mark = lab.new_mark()
        if device == "t0":
            for each in (frame, ethernet(udp(4, mark), 4)):
                os.write(self.tap, each)
        else:
            with contextlib.closing(self.workload.within(lambda: socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW))) as sock:
                sock.bind(("w0", 0))
                for each in (frame, ethernet(udp(4, mark), 4)):
                    sock.send(each)
        self.wire.await_mark(mark)

    def arrives(self, device, make):
        """make(TOKEN) is the frame."""
        token = self.token()
        self.send(device, make(token))
        return self.has_seen(token)

    def burst(self, make):
        """Frames of the veth's workload with one token, without a mark behind them."""
        token = self.token()
        with contextlib.closing(self.workload.within(lambda: socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW))) as sock:
            sock.bind(("w0", 0))
            for _ in range(BURST):
                sock.send(make(token))
        return token

    def has_seen(self, token):
        with self.wire.changed:
            return any(token in frame for _, frame in self.wire.frames)

    def answer(self, matches):
        """A frame that the tap's workload gets, or none within a while."""
        found = []

        def step():
            with contextlib.suppress(BlockingIOError):
                while frame := os.read(self.tap, 65536):
                    found.extend([frame] if matches(frame) else [])
            return found
        return lab.until(step, seconds=5)


# ---- the cases ----

def reach(site, _features):
    """allowed and refused TCP and UDP over a veth, IPv4 and IPv6; nothing comes in"""
    allowed = [f"{kind}:{THEIRS[v]}:{OPEN}" for v in (4, 6) for kind in ERRORS]
    denied = [(f"{kind}:{THEIRS[v]}:{port}", ERRORS[kind][v]) for v in (4, 6) for kind in ERRORS
              for port in (CLOSED, UNNAMED)]
    inward = [f"{kind}:{MINE[v]}:{OPEN}" for v in (4, 6) for kind in ERRORS]
    for result in site.attempts(site.workload, *allowed, *(each for each, _ in denied)) + \
            site.attempts(site.behind, *inward):
        expect(result["ok"], f"without a policy: {result}")
    with site.attached("v0"):
        for result in site.attempts(site.workload, *allowed):
            expect(result["ok"], result)
        results = site.attempts(site.workload, *(each for each, _ in denied))
        for result, (_, error) in zip(results, denied):
            expect(result["error"] == error and result["ms"] < QUICK_MS, f"{error}: {result}")
        target = site.target("v0")
        expect((target["allowed"], target["tx_denied"]) == (len(allowed), len(denied)), target)
        for result in site.attempts(site.behind, inward[0], inward[-1]):
            expect(result["error"] == "timeout", f"unsolicited: {result}")
        for result in site.attempts(site.workload, *allowed):
            expect(result["ok"], result)


def spoofed(site, device):
    for v in (4, 6):
        for what, make in (
                ("address", lambda t: ethernet(udp(v, t, source=FREE[v]), v)),
                ("MAC", lambda t: ethernet(udp(v, t), v, source="52:54:00:00:00:99")),
                ("VLAN", lambda t: ethernet(udp(v, t), v, vlan=VLAN)),
                ("priority tag", lambda t: ethernet(udp(v, t), v, vlan=0)),
                ("closed port", lambda t: ethernet(udp(v, t, port=CLOSED), v))):
            yield f"{what}, IPv{v}, {device}", make


def spoofing(site, _features):
    """another address, another MAC, a VLAN tag (in metadata by then): from both"""
    for device in ("v0", "t0"):
        for what, make in spoofed(site, device):
            expect(site.arrives(device, make), f"{what}: does not arrive without a policy")
        with site.attached(device):
            for what, make in spoofed(site, device):
                before = site.target(device)["tx_denied"]
                expect(not site.arrives(device, make), f"{what}: arrives")
                expect(site.target(device)["tx_denied"] == before + 1, f"{what}: not counted")
            expect(site.arrives(device, lambda t: ethernet(udp(6, t), 6)), "its own do not arrive")


def vlans(site, _features):
    """--vlan: frames of that id are judged like untagged ones"""
    for device in ("v0", "t0"):
        with site.attached(device, "--vlan", VLAN):
            for v in (4, 6):
                expect(site.arrives(device, lambda t: ethernet(udp(v, t), v, vlan=VLAN)),
                       f"its own VLAN, {device}, IPv{v}")
                expect(not site.arrives(device, lambda t: ethernet(udp(v, t), v, vlan=VLAN + 1)),
                       f"another VLAN, {device}, IPv{v}")
                expect(not site.arrives(device, lambda t: ethernet(udp(v, t, port=CLOSED), v,
                                                                   vlan=VLAN)),
                       f"a closed port in its own VLAN, {device}, IPv{v}")


def refusals(site, _features):
    """what a tap's workload gets back: RST, ICMP 3/13, ICMPv6 1/1"""
    def is_rst(v):
        at = 14 + (20 if v == 4 else 40)
        return lambda f: len(f) >= at + 20 and f[at - 11 if v == 4 else at - 34] == 6 and \
            f[at + 13] & 4 and f[at:at + 2] == struct.pack("!H", CLOSED)

    def is_unreachable(v):
        at, said = (34, b"\x03\x0d") if v == 4 else (54, b"\x01\x01")
        return lambda f: len(f) > at + 2 and f[at:at + 2] == said and \
            f[23 if v == 4 else 20] == (1 if v == 4 else 58)
    peer = site.behind.address_of("p1")     # what is sent to all is never answered
    with site.attached("t0"):
        for v in (4, 6):
            site.send("t0", ethernet(syn(v, CLOSED), v, to=peer))
            expect(site.answer(is_rst(v)), f"no RST, IPv{v}")
            site.send("t0", ethernet(udp(v, site.token(), port=CLOSED), v, to=peer))
            expect(site.answer(is_unreachable(v)), f"no ICMP, IPv{v}")


def leaves_nothing(site, features):
    """attached by what the kernel has; detached it leaves nothing on the device"""
    def filters():
        return [site.host.run("tc", *words).stdout
                for words in (("filter", "show", "dev", "v0", "ingress"),
                              ("filter", "show", "dev", "v0", "egress"),
                              ("qdisc", "show", "dev", "v0"))]
    before = filters()
    want = "tcx" if features.get("tcx") == "ok" else "clsact"
    with site.attached("v0"):
        target = site.target("v0")
        expect(target["attached"] and target["via"] == want, f"{want}: {target}")
        expect((filters() != before) == (want == "clsact"), f"{want}: {filters()}")
        expect(tcx_programs(site, "v0") == (2 if want == "tcx" else 0), f"{want}: tcx programs")
    expect(site.target("v0") is None, site.target("v0"))
    expect(filters() == before and not tcx_programs(site, "v0"), f"{before}, {filters()}")
    for what, make in spoofed(site, "v0"):
        expect(site.arrives("v0", make), f"{what}: does not arrive after detach")


# Half of what leaves, by chance, goes to the ifb (tests/system/test_device_peer.py).
REDIRECT = ("filter", "add", "dev", "w0", "egress", "protocol", "all", "bpf", "bytecode",
            "4,32 0 0 4294963256,69 0 1 1,6 0 0 4294967295,6 0 0 0",
            "action", "mirred", "egress", "redirect", "dev", "ifb0")


def marked(site, features):
    """frames that an ifb device in the container marked to go past tc at the host's end"""
    def closed(v):
        return lambda t: ethernet(udp(v, t, port=CLOSED), v)

    def some_arrive(v):
        token = site.burst(closed(v))
        return lab.until(lambda: site.has_seen(token), seconds=5)

    def all_are_denied(v):
        before = site.target("v0")["tx_denied"]
        token = site.burst(closed(v))
        return lab.until(lambda: site.target("v0")["tx_denied"] >= before + BURST, seconds=10) \
            and not site.has_seen(token)
    site.workload.ip("link add ifb0 type ifb")
    site.workload.ip("link set ifb0 up")
    site.workload.run("tc", "qdisc", "add", "dev", "w0", "clsact")
    done = site.workload.run("tc", *REDIRECT)
    expect(done.returncode == 0, done.stderr)
    guarded = features.get("veth guard") == "ok"
    try:
        for v in (4, 6):
            expect(some_arrive(v), f"without a policy, IPv{v}")
        with site.attached("v0"):
            expect(site.target("v0")["peer"] == ("guarded" if guarded else "open"),
                   site.target("v0"))
            for v in (4, 6):
                expect(all_are_denied(v) if guarded else some_arrive(v),
                       f"guarded: {guarded}, IPv{v}")
            expect((site.target("v0")["unjudged"] == 0) == guarded, site.target("v0"))
    finally:
        site.workload.run("tc", "qdisc", "del", "dev", "w0", "clsact")
        site.workload.ip("link del ifb0")


def tcx_programs(site, device):
    """How many at either direction of a device; 0 where the kernel has no tcx."""
    ifindex, count = site.host.ifindex(device), 0
    for kind in (TCX_INGRESS, TCX_EGRESS):
        attr = ctypes.create_string_buffer(struct.pack("=IIIIQI", ifindex, kind, 0, 0, 0, 0), 64)
        result = site.host.within(lambda asked=attr: libc.syscall(SYS_BPF, BPF_PROG_QUERY, asked,
                                                                  len(asked)))
        count += struct.unpack_from("=I", attr, 24)[0] if result == 0 else 0
    return count


CASES = (reach, spoofing, vlans, refusals, leaves_nothing, marked)
