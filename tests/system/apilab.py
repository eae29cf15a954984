# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A made-up API server over TLS, as far as a client of lists, watches and status patches sees one;
and the client without sluiced (tests/tools/follow_cluster.c)."""
import collections
import copy
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

from cli_tools import BUILD

FOLLOW = BUILD / "tests" / "follow_cluster"

KINDS = {
    "namespaces": ("v1", "Namespace"),
    "pods": ("v1", "Pod"),
    "services": ("v1", "Service"),
    "endpoints": ("v1", "Endpoints"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy"),
    "egresspolicies": ("sluice.dev/v1alpha1", "EgressPolicy"),
    "clusteregresspolicies": ("sluice.dev/v1alpha1", "ClusterEgressPolicy"),
}


def make_ca(folder, name="ca", names="IP:127.0.0.1,DNS:localhost"):
    """A CA and a certificate of it for names: paths of CA, certificate, key."""
    paths = {what: folder / f"{name}-{what}.pem" for what in ("ca", "ca-key", "cert", "key", "csr", "ext")}
    run = lambda *words: subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *new, "-keyout", paths["ca-key"], "-out", paths["ca"], "-days", "2", "-subj", f"/CN={name}")
    run("req", *new, "-keyout", paths["key"], "-out", paths["csr"], "-subj", "/CN=apiserver")
    paths["ext"].write_text(f"subjectAltName={names}\n")
    run("x509", "-req", "-in", paths["csr"], "-CA", paths["ca"], "-CAkey", paths["ca-key"], "-CAcreateserial",
        "-out", paths["cert"], "-days", "2", "-extfile", paths["ext"])
    return paths["ca"], paths["cert"], paths["key"]


class Cluster:
    """Objects with versions, their history, and what goes wrong when a test says so."""

    def __init__(self, folder, port=0):
        self.changed = threading.Condition()
        self.version = 1000
        self.oldest = 0                     # versions before this are compacted
        self.objects = {plural: {} for plural in KINDS}
        self.history = []                   # (version, plural, type, object)
        self.tokens = {"first"}
        self.forbidden = set()              # plurals
        self.groups = {"networking.k8s.io": ["v1"], "discovery.k8s.io": ["v1"], "sluice.dev": ["v1alpha1"]}
        self.hidden = {}                    # groups that are served, and not listed
        self.watch_faults = collections.defaultdict(list)   # plural: functions of the handler, each once
        self.list_faults = collections.defaultdict(list)
        self.requests = []                  # (method, path, query)
        self.patches = []                   # (path, query, type, body)
        self.watching = collections.Counter()
        self.ca, self.cert, self.key = make_ca(folder)
        self.server = None
        self.start(port)

    # ---- up and down ----

    def start(self, port=0, cert=None):
        cluster = self

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

            def get_request(self):
                sock, address = self.socket.accept()
                sock.settimeout(30)
                return cluster.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, request, client_address):
                pass            # clients that go away, or that do not trust us

        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(*(cert or (self.cert, self.key)))
        self.connections = set()
        self.stopping = False
        self.server = Server(("127.0.0.1", port), type("Bound", (Handler,), {"cluster": self}))
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self):
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        self.stopping = True
        with self.changed:
            self.changed.notify_all()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server = None

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    # ---- objects ----

    def put(self, plural, obj, quiet=False):
        version, kind = KINDS[plural]
        with self.changed:
            self.version += 1
            obj = {"apiVersion": version, "kind": kind, **copy.deepcopy(obj)}
            meta = obj["metadata"]
            meta["resourceVersion"] = str(self.version)
            key = f"{meta.get('namespace', '')}/{meta['name']}"
            old = self.objects[plural].get(key)
            meta["generation"] = ((old["metadata"]["generation"] + (old.get("spec") != obj.get("spec")))
                                  if old else 1)
            self.objects[plural][key] = obj
            if not quiet:
                self.history.append((self.version, plural, "MODIFIED" if old else "ADDED", obj))
                self.changed.notify_all()
            return obj

    def delete(self, plural, key):
        with self.changed:
            self.version += 1
            obj = copy.deepcopy(self.objects[plural].pop(key))
            obj["metadata"]["resourceVersion"] = str(self.version)
            self.history.append((self.version, plural, "DELETED", obj))
            self.changed.notify_all()

    def bookmark(self, plural):
        version, kind = KINDS[plural]
        with self.changed:
            self.version += 1
            self.history.append((self.version, plural, "BOOKMARK", {
                "apiVersion": version, "kind": kind,
                "metadata": {"resourceVersion": str(self.version), "creationTimestamp": None}}))
            self.changed.notify_all()

    def compact(self):
        """Forgets the history: who goes on from before must list again."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.history = []

    # ---- what was asked ----

    def asked(self, plural, watch=None):
        return [dict(urllib.parse.parse_qsl(query)) for method, path, query in list(self.requests)
                if method == "GET" and path.endswith("/" + plural) and
                (watch is None or ("watch=1" in query) == watch)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster = None

    def setup(self):
        self.cluster.connections.add(self.request)
        self.request.do_handshake()
        super().setup()

    def finish(self):
        try:
            super().finish()
        finally:
            self.cluster.connections.discard(self.request)

    def log_message(self, *args):
        pass

    # ---- answers ----

    def answer(self, code, value, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code, message, **headers):
        self.answer(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                           "message": message}, [(name.replace("_", "-"), text) for name, text in headers.items()])

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    # ---- requests ----

    def begin(self):
        url = urllib.parse.urlsplit(self.path)
        self.cluster.requests.append((self.command, url.path, url.query))
        if self.headers.get("Authorization", "") not in {f"Bearer {token}" for token in self.cluster.tokens}:
            self.refuse(401, "Unauthorized")
            return None, None
        return url.path, dict(urllib.parse.parse_qsl(url.query))

    def do_GET(self):
        path, query = self.begin()
        if path is None:
            return
        if path == "/apis":
            self.answer(200, {"kind": "APIGroupList", "groups": [
                {"name": name, "versions": [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]}
                for name, versions in self.cluster.groups.items()]})
            return
        plural = path.rsplit("/", 1)[1]
        group = path.split("/")[2]
        if plural not in KINDS or (path.startswith("/apis/") and group not in {**self.cluster.groups, **self.cluster.hidden}):
            self.refuse(404, "the server could not find the requested resource")
        elif plural in self.cluster.forbidden:
            self.refuse(403, f'{plural} is forbidden: User "system:serviceaccount:sluice:sluice" cannot '
                             f'{"watch" if "watch" in query else "list"} resource "{plural}" at the cluster scope')
        elif query.get("watch"):
            self.watch(plural, query)
        else:
            self.list(plural, query)

    def selects(self, query):
        field = query.get("fieldSelector")
        if not field:
            return lambda obj: True
        name, value = field.split("=", 1)
        assert name == "spec.nodeName"
        return lambda obj: obj.get("spec", {}).get("nodeName") == value

    def list(self, plural, query):
        cluster = self.cluster
        if cluster.list_faults[plural]:
            if not cluster.list_faults[plural].pop(0)(self):
                return
        select = self.selects(query)
        with cluster.changed:
            at, version = 0, cluster.version
            if "continue" in query:
                version, at = map(int, query["continue"].split("@"))
                if version < cluster.oldest:
                    self.refuse(410, "The provided continue parameter is too old")
                    return
            items = [obj for _, obj in sorted(cluster.objects[plural].items()) if select(obj)]
            limit = int(query.get("limit", "0")) or len(items)
            page = items[at:at + limit]
            meta = {"resourceVersion": str(version)}
            if at + limit < len(items):
                meta["continue"] = f"{version}@{at + limit}"
            # a server leaves these out of the items of a list
            bare = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in page]
            body = json.dumps({"kind": KINDS[plural][1] + "List", "apiVersion": KINDS[plural][0],
                               "metadata": meta, "items": bare}).encode()
        self.answer(200, body)

    def watch(self, plural, query):
        cluster = self.cluster
        seen = int(query["resourceVersion"])
        if cluster.watch_faults[plural]:
            if not cluster.watch_faults[plural].pop(0)(self):
                return
        select = self.selects(query)
        end = time.monotonic() + int(query["timeoutSeconds"])
        self.begin_stream()
        cluster.watching[plural] += 1
        try:
            while time.monotonic() < end and not cluster.stopping:
                with cluster.changed:
                    if seen < cluster.oldest:
                        self.chunk(json.dumps({"type": "ERROR", "object": {
                            "kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired",
                            "message": f"too old resource version: {seen}"}}).encode() + b"\n")
                        break
                    new = [entry for entry in cluster.history if entry[0] > seen and entry[1] == plural]
                    if not new:
                        cluster.changed.wait(0.2)
                        continue
                for seen, _, type_, obj in new:
                    if type_ == "BOOKMARK" or select(obj):
                        self.chunk(json.dumps({"type": type_, "object": obj}).encode() + b"\n")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
        finally:
            cluster.watching[plural] -= 1

    def do_PATCH(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, query = self.begin()
        if path is None:
            return
        plural = path.split("/")[-3]
        if plural + "/status" in self.cluster.forbidden:
            self.refuse(403, f'{plural}/status is forbidden')
            return
        self.cluster.patches.append((path, query, self.headers["Content-Type"], json.loads(body)))
        self.apply_status(plural, path, query, json.loads(body))

    def apply_status(self, plural, path, query, body):
        """Server-side apply of a status whose lists are maps: each manager owns its elements."""
        cluster = self.cluster
        parts = path.split("/")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
        key = f"{namespace}/{parts[-2]}"
        with cluster.changed:
            obj = cluster.objects[plural].get(key)
            if not obj:
                self.refuse(404, "not found")
                return
            managers = obj.setdefault("applied", {})
            managers[query["fieldManager"]] = body.get("status", {})
            merged = {}
            for status in managers.values():
                for field, value in status.items():
                    name = {"nodes": "name", "conditions": "type"}.get(field)
                    if not name:
                        merged[field] = value
                        continue
                    kept = {item[name]: item for item in merged.get(field, [])}
                    kept.update({item[name]: item for item in value})
                    merged[field] = list(kept.values())
            obj = {**obj, "status": merged}
        self.answer(200, cluster.put(plural, obj))


# ---- faults: functions of a handler; True: and then as usual ----

def says(data, end=b""):
    """A watch that begins, says this, and is cut off."""
    def fault(handler):
        handler.begin_stream()
        if data:
            handler.chunk(data)
        if end:
            handler.wfile.write(end)
        handler.wfile.flush()
        handler.close_connection = True
        handler.request.shutdown(socket.SHUT_RDWR)
    return fault


def status(code, message="no", **headers):
    return lambda handler: handler.refuse(code, message, **headers)


def body(data):
    return lambda handler: handler.answer(200, data)


def stalls(event):
    """Nothing at all, until the test says so."""
    def fault(handler):
        event.wait(60)
        handler.close_connection = True
    return fault


# ---- the client ----

class Client:
    def __init__(self, cluster, folder, node="node-a", ca=None, server=None, page=None):
        self.token = folder / "token"
        if not self.token.exists():
            self.token.write_text("first\n")
        words = [FOLLOW, server or cluster.url, ca or cluster.ca, self.token, node] + ([page] if page else [])
        self.child = subprocess.Popen(list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=(folder / "stderr").open("ab"), text=True)
        self.errors = folder / "stderr"
        self.states = []
        self.answers = collections.deque()
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.child.stdout:
            value = json.loads(line)
            with self.news:
                if "policy" in value:
                    self.answers.append(value["policy"])
                else:
                    self.states.append(value)
                self.news.notify_all()

    def ask(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def state(self, timeout=20):
        with self.news:
            n = len(self.states)
        self.ask("state")
        with self.news:
            assert self.news.wait_for(lambda: len(self.states) > n, timeout), self.said()
            return self.states[-1]

    def until(self, wanted, timeout=20):
        """The first state of which `wanted` is true."""
        end = time.monotonic() + timeout
        while True:
            state = self.state(max(1, end - time.monotonic()))
            if wanted(state):
                return state
            assert time.monotonic() < end, f"{json.dumps(state, indent=1)}\n{self.said()}"
            with self.news:
                n = len(self.states)
                self.news.wait_for(lambda: len(self.states) > n, 0.1)

    def policy(self, namespace, name):
        self.ask(f"policy {namespace} {name}")
        with self.news:
            assert self.news.wait_for(lambda: self.answers, 20), self.said()
            return self.answers.popleft()

    def said(self):
        return self.errors.read_text()

    def close(self):
        if self.child.poll() is None:
            self.child.stdin.close()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.reader.join(10)
        return self.child.returncode


def kind(state, plural):
    return next((each for each in state["kinds"] if each["kind"] == plural), None)


def pod(name, ip, node="node-a", namespace="shop", **labels):
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels, "uid": f"uid-of-{name}"},
            "spec": {"nodeName": node, "containers": [{"name": "c", "ports": [
                {"name": "sql", "containerPort": 5432}]}]},
            "status": {"phase": "Running", "podIP": ip, "hostIP": "192.168.0.11"}}


def netpol(name, *egress, namespace="shop", **labels):
    return {"metadata": {"name": name, "namespace": namespace},
            "spec": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"], "egress": list(egress)}}


def own(name, *rules, namespace="shop", **labels):
    return {"metadata": {"name": name, "namespace": namespace},
            "spec": {"podSelector": {"matchLabels": labels}, "rules": list(rules)}}


def counts_are(**wanted):
    return lambda state: state["counts"] and all(state["counts"][key] == n for key, n in wanted.items())
