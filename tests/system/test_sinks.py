# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Audit sinks on a machine where things go wrong, and before the programs that read them."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import pytest

import ocsf
from devlab import Host, Lines
from lab import sh, until
from sinkslab import COUNT, Counter, Feed, Reader

HERE = str(pathlib.Path(__file__).parent)
AGENT = "sluice: 1\nname: agent\nrules:\n  - allow: {to: 192.0.2.0/24, ports: 9, protocol: udp}\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems: needs root")


@pytest.fixture
def feed():
    made = []

    def make(*specs, **words):
        made.append(Feed(*specs, **words))
        return made[-1]
    yield make
    for each in made:
        each.child.kill()
        each.close()


@pytest.fixture
def disk(tmp_path):
    """A file system of 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    sh("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", path)
    yield path
    sh("umount", "-l", path)


# ---- disks ----

def test_disk_full(feed, disk, tmp_path):
    """What does not fit is counted, told where it is missing, and hurts no other sink."""
    full, other = disk / "a.jsonl", tmp_path / "b.jsonl"
    sinks = feed(f"file:{full},queue=512", f"file:{other}")
    filler = disk / "filler"
    with filler.open("wb") as f:
        f.write(b"x" * 1000000)
    for _ in range(20):
        sinks.put(100)
        sinks.written(1)
        until(lambda: sinks.stats()["failing"] or not sinks.stats()["queued"])
    stats = sinks.stats()
    assert stats["failing"] and "No space left on device" in stats["error"]
    assert stats["lost"] > 500 and stats["written"] + stats["queued"] + stats["lost"] == 2001
    assert all(line.endswith(b"}\n") for line in full.read_bytes().splitlines(True))
    filler.unlink()
    stats = sinks.written()
    last = sinks.put(1)
    sinks.written()
    counter = Counter(0).file(full)
    assert counter.next == last and counter.lost == sinks.stats()["lost"] == stats["lost"]
    lost = next(json.loads(line) for line in full.open() if '"lost"' in line)
    assert "No space left" in lost["why"] and lost["count"] == counter.lost
    assert Counter(0).file(other).records == last and sinks.stats(1)["lost"] == 0


def test_read_only_directory(feed, disk):
    sh("mount", "-o", "remount,ro", disk)
    sinks = feed(f"file:{disk}/a.jsonl")
    assert "Read-only file system" in sinks.said
    sinks.put(10)
    assert sinks.stats()["failing"] and sinks.stats()["queued"] == 11
    sh("mount", "-o", "remount,rw", disk)
    assert sinks.written()["written"] == 11
    assert Counter(0).file(disk / "a.jsonl").records == 11


def test_rotation_that_is_not_possible(feed, tmp_path):
    """Something that is no file has the name: ours goes on growing, and nothing is lost."""
    (tmp_path / "a.1" / "x").mkdir(parents=True)
    sinks = feed(f"file:{tmp_path}/a,rotate=4K,keep=1")
    last = sinks.put(100)
    assert until(lambda: sinks.stats()["queued"] == 0)
    stats = sinks.stats()
    assert "rotating: Is a directory" in stats["error"] and stats["errors"] == 1
    assert Counter(0).file(tmp_path / "a").next == last and not stats["lost"]


def test_no_descriptor_is_left(feed, tmp_path):
    """A file that is renamed away still takes the lines while no other can be opened."""
    sinks = feed(f"file:{tmp_path}/a")
    sinks.put(5)
    sinks.written()
    free = max(map(int, os.listdir(f"/proc/{sinks.child.pid}/fd"))) + 1
    assert sinks.ask(f"files {free}")["error"] == 0
    os.rename(tmp_path / "a", tmp_path / "a.1")
    sinks.ask("reopen")
    sinks.put(5)
    assert until(lambda: "Too many open files" in sinks.stats()["error"])
    sinks.put(5)
    until(lambda: sinks.stats()["queued"] == 0)
    assert not (tmp_path / "a").exists()
    assert Counter(0).file(tmp_path / "a.1").next == 16
    sinks.ask("files 1024")
    assert until((tmp_path / "a").exists)
    last = sinks.put(5)
    sinks.written()
    assert Counter(0).file(tmp_path / "a.1", tmp_path / "a").next == last
    assert sinks.stats()["lost"] == 0


def test_killed_amid_writing(feed, tmp_path):
    """Whole lines, at most one half one; the next process begins a stream of its own."""
    path = tmp_path / "a"
    sinks = feed(f"file:{path}")
    sinks.child.stdin.write("put 3000000\n")
    sinks.child.stdin.flush()
    assert until(lambda: path.stat().st_size > 100000)
    sinks.child.kill()
    sinks.child.wait()
    again = feed(f"file:{path}")
    again.put(3)
    again.close()
    streams, halves = [], 0
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            halves += 1
            continue
        if record["event"] == "begin":
            streams.append(record["stream"])
    assert halves <= 1 and len(set(streams)) == 2


def test_reconfiguration_leaves_nothing_behind(feed, tmp_path):
    """Descriptors, threads and memory, before and after."""
    sinks = feed()
    kinds = [f"file:{tmp_path}/a", f"unix:{tmp_path}/s", "syslog:udp:127.0.0.1:9", "journald:/none"]

    def used():
        proc = pathlib.Path(f"/proc/{sinks.child.pid}")
        rss = int((proc / "statm").read_text().split()[1]) * 4
        return len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir())), rss

    def cycle(n):
        for i in range(n):
            assert sinks.ask("set " + " ".join(kinds[i % 4:]))["error"] == 0
            sinks.put(10)
        sinks.ask("set")
        assert until(lambda: used()[1] == 1)
        return used()
    before, after = cycle(8), cycle(40)
    print(f"descriptors, threads, KiB: {before} before, {after} after")
    assert after[:2] == before[:2] and after[2] < before[2] + 2048


# ---- readers ----

def test_a_million_records_and_one_reader_stopped(feed, tmp_path):
    path = tmp_path / "s"
    sinks = feed(f"unix:{path}")
    stopped = Lines([sys.executable, "-c", COUNT, HERE, str(path)])
    stopped.wait(lambda line: line == "ready")
    stopped.signal(signal.SIGSTOP)
    awake = Reader(path)
    for _ in range(200):
        last = sinks.put(5000)
        assert awake.wait(last).lost == 0
    assert last == 1000001              # with `begin`
    stats = sinks.stats()
    assert stats["consumers"] == 2 and stats["lost"] > 900000
    stopped.signal(signal.SIGCONT)
    sinks.close()                       # `end` is the last one: the stream ends behind it
    records, lost, after = map(int, stopped.wait(lambda line: line[0].isdigit(), 60).split())
    assert after == last + 1 and lost - stats["lost"] in (0, 1)  # its queue was full for `end`
    assert records + lost in (last + 1, last, last - 1)     # it may have missed `begin`
    stopped.close()
    awake.close()


def test_a_reader_of_stdout_that_sleeps(feed, tmp_path):
    read, write = os.pipe()
    sinks = feed("stdout,queue=100", f"file:{tmp_path}/a", stdout=write)
    os.close(write)
    for _ in range(20):
        last = sinks.put(500)
        sinks.written(1)
    assert sinks.stats()["lost"] > 5000 and sinks.stats(1)["lost"] == 0
    lost, counter = sinks.stats()["lost"], Counter(0)
    with os.fdopen(read, "rb") as lines:
        for line in lines:
            counter.take(line)
            if counter.next == last:
                break
    assert counter.lost == lost
    assert Counter(0).file(tmp_path / "a").records == last


def test_hostile_names_end_no_line(feed, tmp_path):
    name = b'x\n{"seq":99}\r\x1b[2J"\\\xff\xe2\x80\xae.example'
    sinks = feed(f"file:{tmp_path}/a", f"file:{tmp_path}/b,format=ocsf")
    last = sinks.put(3, name)
    sinks.written(0), sinks.written(1)
    for file in ("a", "b"):
        text = (tmp_path / file).read_bytes()
        assert text.count(b"\n") == last and max(text) < 0x7f and min(text) == 0x0a
        assert all(json.loads(line) for line in text.splitlines())
    question = json.loads((tmp_path / "a").read_text().splitlines()[1])["question"]
    assert question == {"name": 'x?{"seq":99}??[2J"\\????.example', "type": "TXT"}


TARGET = {"kind": "cgroup", "name": "/a", "id": 7}
RECORDS = [
    {"event": "connection", "verdict": "deny", "reason": "socket-family", "direction": "egress",
     "source": None, "destination": None, "process": {"pid": 9, "uid": 0, "comm": "x"}},
    {"event": "connection", "verdict": "audit-deny", "family": "ipv6", "protocol": "89", "rule": "r",
     "policy": "p", "generation": 3, "destination": {"address": "2001:db8::1", "port": None}},
    {"event": "dns", "verdict": "deny", "reason": "dns-name", "direction": "egress", "protocol": "udp",
     "destination": {"address": "192.0.2.53", "port": 53, "name": None},
     "question": {"name": "a.example", "type": "A"}, "count": 2},
    {"event": "dns", "verdict": "deny", "reason": "dns-malformed",
     "question": {"name": None, "type": None}},
    {"event": "foreign-change", "change": "lost", "why": "x"}, {"event": "meter", "bytes": {"out": 1}},
    {"event": "reload", "ok": False}, {"event": "later", "verdict": None, "time": "rubbish"},
]


def test_every_record_is_an_event_of_ocsf(feed, tmp_path):
    sinks = feed(f"file:{tmp_path}/a,format=ocsf")
    for record in RECORDS:
        sinks.ask("raw " + json.dumps({"time": "2026-11-26T05:00:00.5Z", "target": TARGET, **record}))
    sinks.written()
    events = [json.loads(line) for line in (tmp_path / "a").open()][1:]
    assert len(events) == len(RECORDS)
    for event in events:
        ocsf.check({k: v for k, v in event.items() if k != "time_dt" or v != "rubbish"})
    assert events[0]["src_endpoint"] == {"name": "/a"} and "query" not in events[3]
    assert events[1]["connection_info"]["protocol_num"] == 89 and events[2]["count"] == 2


# ---- the programs that read them ----

JOURNALD = "/lib/systemd/systemd-journald"


def test_a_real_journald(feed, tmp_path):
    """In mounts of its own: its sockets, its journal."""
    if not os.path.exists(JOURNALD) or not os.path.exists("/etc/machine-id"):
        pytest.skip("systemd-journald is not installed")
    start = ("mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/log/journal && "
             f"exec {JOURNALD}")
    daemon = subprocess.Popen(["unshare", "-m", "sh", "-c", start], stderr=subprocess.DEVNULL)
    root = f"/proc/{daemon.pid}/root/run"
    try:
        assert until(lambda: os.path.exists(f"{root}/systemd/journal/socket"))
        sinks = feed("journald", prefix=["nsenter", f"--mount=/proc/{daemon.pid}/ns/mnt"])
        last = sinks.put(50, b'q"\n.example')
        sinks.written()

        def seen():
            done = subprocess.run(
                ["journalctl", "-D", f"{root}/log/journal", "-o", "json", "--no-pager",
                 "SYSLOG_IDENTIFIER=sluice"], stdout=subprocess.PIPE, check=False)
            entries = [json.loads(line) for line in done.stdout.splitlines()]
            return len(entries) == last and entries
        entries = until(seen)
        assert [int(e["SLUICE_SEQ"]) for e in entries] == list(range(last))
        entry = entries[-1]
        assert entry["SLUICE_QUESTION_NAME"] == 'q"?.example' and entry["PRIORITY"] == "4"
        assert entry["SLUICE_TARGET_NAME"] == "vnet0" and entry["_TRANSPORT"] == "journal"
        assert entry["MESSAGE"].startswith('deny question q"?.example TXT by dns-name')
    finally:
        daemon.kill()
        daemon.wait()


RSYSLOG = """
global(workDirectory="{folder}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{folder}/log" UseSpecialParser="off" RateLimit.Interval="0")
module(load="imudp")
input(type="imudp" address="127.0.0.1" port="5514")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="5515")
template(name="t" type="string"
  string="%inputname%|%protocol-version%|%pri%|%app-name%|%msgid%|%structured-data%|%msg%\\n")
action(type="omfile" file="{folder}/out" template="t")
"""


def test_a_real_rsyslog(feed, tmp_path):
    if not shutil.which("rsyslogd"):
        pytest.skip("rsyslogd is not installed")
    (tmp_path / "conf").write_text(RSYSLOG.format(folder=tmp_path))
    host = Host("sl-rsyslog", tmp_path)
    try:
        host.start("rsyslogd", "-n", "-f", tmp_path / "conf", "-i", tmp_path / "pid")
        assert until((tmp_path / "log").exists)
        sinks = feed("syslog:udp:127.0.0.1:5514", "syslog:tcp:127.0.0.1:5515,facility=local3",
                     f"syslog:{tmp_path}/log", prefix=host.inside)
        # datagrams to a server that is not up yet are nobody's: from here on it is
        assert until(lambda: sinks.stats(1)["written"])
        first = sinks.put(1)
        last = sinks.put(50)

        def seen():
            if not (tmp_path / "out").exists():
                return False
            lines = [line.split("|", 6) for line in (tmp_path / "out").read_text().splitlines()]
            found = {kind: [line for line in lines if line[0] == kind and
                            json.loads(line[6])["seq"] >= first]
                     for kind in ("imudp", "imtcp", "imuxsock")}
            return all(len(some) == last - first for some in found.values()) and found
        for kind, lines in until(seen).items():
            assert [json.loads(line[6])["seq"] for line in lines] == list(range(first, last))
            pri = "156" if kind == "imtcp" else "28"
            assert {tuple(line[1:5]) for line in lines} == {("1", pri, "sluice", "connection")}
            assert lines[0][5] == f'[meta sequenceId="{first + 1}"]'
    finally:
        host.close()


# ---- sluice watch ----

@pytest.fixture
def host(tmp_path):
    made = Host("sl-sinks", tmp_path)
    try:
        yield made
    finally:
        made.close()


def denied(host):
    """A workload on vnet0 whose frames the policy denies: sends so many."""
    host.ip("link add vnet0 type veth peer name work0")
    for name in ("vnet0", "work0"):
        host.ip(f"link set {name} up")


def send(host, n, to=(198, 51, 100, 1), port=1000):
    """n UDP datagrams from the workload's side, to as many ports: as many events."""
    code = ("import socket,struct\n"
            "s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW);s.bind(('work0',0))\n"
            "m=s.getsockname()[4]\n"
            f"for i in range({n}):\n"
            f"  u=struct.pack('!4H',1,{port}+i,12,0)+b'data'\n"
            "  h=bytearray(struct.pack('!BBHHHBBH4s4s',0x45,0,32,0,0,64,17,0,"
            f"bytes([192,0,2,9]),bytes({list(to)})))\n"
            "  c=sum(struct.unpack('!10H',h));c=(c&0xffff)+(c>>16);c=~(c+(c>>16))&0xffff\n"
            "  h[10:12]=struct.pack('!H',c)\n"
            "  s.send(b'\\x02'*6+m+b'\\x08\\x00'+bytes(h)+u)\n")
    done = host.run(sys.executable, "-c", code)
    assert done.returncode == 0, done


def seen(path, port):
    return any(f'"port":{port},' in line for line in path.open()) if path.exists() else False


ROTATE = """{path} {{
    {how}
    rotate 3
    missingok
    su root root
    {post}
}}
"""


@pytest.mark.parametrize("how", ["create", "copytruncate"])
def test_logrotate(host, tmp_path, how):
    """The real one, with a signal after it renamed the file, or cutting it."""
    path, sock = tmp_path / "audit.jsonl", tmp_path / "s"
    denied(host)
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "--sink", f"file:{path}",
                       "--sink", f"unix:{sock}")
    watch.wait(lambda line: line["change"] == "attached")
    reader = Reader(sock)
    send(host, 20)
    assert until(lambda: seen(path, 1019))
    post = f"postrotate\n kill -USR1 {watch.child.pid}\n endscript" if how == "create" else ""
    conf = host.write(ROTATE.format(path=path, how=how, post=post), "rotate.conf")
    sh("logrotate", "-f", "-s", tmp_path / "status", conf)
    send(host, 20)
    assert until(lambda: seen(path, 1019))
    assert watch.close() == 0
    counter = Counter(0).file(tmp_path / "audit.jsonl.1", path)
    assert counter.lost == 0 and '"event":"end"' in path.read_text().splitlines()[-1]
    assert reader.wait(counter.next).lost == 0
    reader.close()


def no_ip():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("work0", 0))
        sock.send(b"\x02" * 12 + b"\x88\xb5" + bytes(60))


def test_records_of_watch(host, tmp_path):
    """What was denied, and what became of the device, in one stream."""
    path, written = tmp_path / "a", tmp_path / "b"
    denied(host)
    watch = host.watch("--dev", "vnet*", "-p", host.write(AGENT), "--sink", f"file:{path}",
                       "--sink", f"file:{written},format=ocsf")
    watch.wait(lambda line: line["change"] == "attached")
    host.within(no_ip)
    send(host, 1)
    assert until(lambda: seen(path, 1000))
    assert watch.close() == 0
    records = [json.loads(line) for line in path.open()]
    assert [r["seq"] for r in records] == list(range(len(records)))
    events = [r["event"] for r in records]
    assert events[0] == "begin" and events[-1] == "end" and "device" in events
    event = next(r for r in records if r["event"] == "connection" and
                 r["destination"]["port"] == 1000)
    assert event["verdict"] == "deny" and event["bytes"] is None and event["duration"] is None
    same = [json.loads(line) for line in written.open()]
    for each in same:
        ocsf.check(each)
    without, = [r for r in same if r.get("status_detail") == "ethertype"]
    assert without["src_endpoint"] == {"name": "vnet0", "mac": "02:02:02:02:02:02"}
    assert [r["metadata"]["sequence"] for r in same] == list(range(len(records)))
    twin = same[event["seq"]]
    assert twin["class_uid"] == 4001
    assert twin["dst_endpoint"] == {"ip": "198.51.100.1", "port": 1000}


def test_allowed_connections(host, tmp_path):
    """With `log: all`; by default there is no record of them."""
    denied(host)
    path = host.write(AGENT)
    watch = host.watch("--dev", "vnet*", "-p", path, "--sink", f"file:{tmp_path}/a",
                       "--sink", f"file:{tmp_path}/b,format=ocsf")
    watch.wait(lambda line: line["change"] == "attached")
    send(host, 1, (192, 0, 2, 1), 9)
    send(host, 1)
    assert until(lambda: seen(tmp_path / "a", 1000))
    assert not seen(tmp_path / "a", 9)
    host.write(AGENT.replace("name: agent\n", "name: agent\nlog: all\n"))
    watch.signal(signal.SIGHUP)
    watch.wait(lambda line: line["change"] == "renewed")
    send(host, 1, (192, 0, 2, 2), 9)
    assert until(lambda: seen(tmp_path / "a", 9))
    host.ip("link del vnet0")       # its flows end with it
    watch.wait(lambda line: line["change"] == "gone")
    assert until(lambda: '"event":"close"' in (tmp_path / "a").read_text())
    assert watch.close() == 0
    event = next(r for r in map(json.loads, (tmp_path / "a").open()) if r.get("verdict") == "allow")
    assert event["destination"] == {"address": "192.0.2.2", "port": 9, "name": None}
    assert event["bytes"] is None and event["duration"] is None
    twin = next(r for r in map(json.loads, (tmp_path / "b").open())
                if r["metadata"]["sequence"] == event["seq"])
    assert (twin["activity_name"], twin["disposition"], twin["severity_id"]) == ("Open", "Allowed", 1)
    assert twin["dst_endpoint"] == {"ip": "192.0.2.2", "port": 9}
    for line in (tmp_path / "b").open():
        ocsf.check(json.loads(line))
    close, = [r for r in map(json.loads, (tmp_path / "a").open()) if r["event"] == "close"]
    assert close["destination"] == event["destination"] and close["end"] == "detached"
    assert close["bytes"]["out"] > 40 and close["bytes"]["in"] == 0
    twin = next(r for r in map(json.loads, (tmp_path / "b").open())
                if r["metadata"]["sequence"] == close["seq"])
    assert (twin["class_uid"], twin["activity_id"], twin["type_uid"]) == (4001, 2, 400102)
    assert (twin["activity_name"], twin["disposition"], twin["severity_id"]) == ("Close", "Allowed", 1)
    assert twin["traffic"] == {"bytes_out": close["bytes"]["out"], "bytes_in": 0}
    assert twin["duration"] == int(close["duration"] * 1000)
    assert twin["unmapped"]["event"] == "close" and twin["unmapped"]["end"] == "detached"


@pytest.mark.parametrize("spec, said", [
    ("file:relative", "file: 'relative': an absolute path is wanted"),
    ("fil:/a", "'fil' is no kind of sink"),
    ("file:/no/such/folder/a", "/no/such/folder/a: No such file or directory: make its directory"),
])
def test_a_sink_that_is_wrong_at_the_start(host, spec, said):
    done = host.sluice("watch", "--dev", "vnet*", "-p", host.write(AGENT), "--sink", spec)
    assert done.returncode in (1, 2) and said in done.stderr
    assert "records wait" not in done.stderr, "it ends: nobody tries again"
