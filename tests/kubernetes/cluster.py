# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A cluster of one node, of Kubernetes itself, in namespaces of its own (see capsule):

    pod --veth--+-- cni0 [capsule] n0 ---- o0 [outside]

What a pod sends to 192.0.2.2 or 2001:db8::2 is seen outside, with the pod's address."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system"))
import image  # noqa: E402
import leftovers  # noqa: E402
import settings  # noqa: E402
from lab import SLUICE, cgroup2, sh, until  # noqa: E402
from outside import Outside  # noqa: E402

SLUICE_CNI = pathlib.Path(SLUICE).resolve().parent / "sluice-cni"
WAIT_S = 120            # nothing here takes this long unless it is broken
# Of the capsule: its /proc has no others.
SHIMS = """for p in /proc/[0-9]*; do
    case $(readlink $p/exe) in */containerd-shim-*) kill -KILL ${p#/proc/} ;; esac
done; true"""
CTR = ("ctr", "-n", "k8s.io", "images", "import", "-")


class Cluster:
    def __init__(self, folder, programs, driver="cgroupfs"):
        """driver: of the kubelet's cgroups. With systemd the node's process 1 is one, and what it sees
        of cgroups begins at the cluster's own, as in a node that is a container (kind)."""
        self.folder, self.programs = folder, pathlib.Path(programs)
        self.systemd = driver == "systemd"
        self.daemons, self.closing = {}, []
        self.capsule = self.lock = None
        self.over = threading.Event()
        self.top = f"/{leftovers.PREFIX}{os.getpid()}{'-systemd' if self.systemd else ''}"   # this machine's
        self.cgroup = "" if self.systemd else self.top                      # the node's
        self.pods = "/kubepods.slice" if self.systemd else f"{self.cgroup}/kubepods"
        try:
            self.make_cgroups()
            self.enter()
            self.join_outside()
            self.write_files()
            self.start_all()
            if not self.systemd:        # which has cgroup2, too
                threading.Thread(target=self.sweep, daemon=True).start()
        except BaseException:
            self.close()
            raise

    # ---- the capsule ----

    def hierarchies(self):
        """Of cgroups: the kubelet wants its root in each that has a controller."""
        mounts = map(str.split, pathlib.Path("/proc/self/mounts").read_text().splitlines())
        return [pathlib.Path(m[1]) for m in mounts if m[2] in ("cgroup", "cgroup2")]

    def make_cgroups(self):
        leftovers.clear(self.hierarchies(), cgroup2())
        for top in self.hierarchies():
            made = top / self.top[1:]
            made.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (made / name).exists():
                    (made / name).write_text((top / name).read_text())
        self.lock = leftovers.lock(cgroup2() + self.top)    # for as long as this process lives

    def enter(self):
        self.errors = open(self.folder / "capsule.log", "w+", encoding="utf-8")
        self.capsule = subprocess.Popen(
            [*self.joined(), "unshare", "-mnpCf" if self.systemd else "-mnpf", "--mount-proc",
             "--propagation", "private", "--kill-child", str(HERE / "capsule"),
             *(("systemd",) if self.systemd else ())],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        if self.capsule.stdout.readline() != "ready\n":
            raise RuntimeError(f"the capsule: {self.said('capsule')}")
        children = f"/proc/{self.capsule.pid}/task/{self.capsule.pid}/children"
        self.pid = pathlib.Path(children).read_text().split()[0]
        self.inside = [*self.joined(), "nsenter", "-t", self.pid, "-m", "-n", "-p",
                       *(("-C",) if self.systemd else ())]
        self.files = pathlib.Path(f"/proc/{self.pid}/root")     # the node's, from here
        self.env = {**os.environ, "PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin",
                    "KUBECONFIG": "/run/kubernetes/admin"}
        # the kubelet would ask a cloud for credentials of registries, and wait
        self.env["AWS_EC2_METADATA_DISABLED"] = "true"

    def joined(self):
        """Before a command: it is in the cluster's cgroups, which are the root of a cgroup namespace."""
        if not self.systemd:
            return []
        return ["sh", "-c", "".join(f"echo $$ >{top}{self.top}/cgroup.procs && "
                                    for top in self.hierarchies()) + 'exec "$0" "$@"']

    def join_outside(self):
        self.outside = Outside(self.pid, "sl-kube-out" + ("-s" if self.systemd else ""))
        self.closing.append(self.outside.close)

    def said(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def run(self, *words, check=True, timeout=WAIT_S, **more):
        more.setdefault("stdin", subprocess.DEVNULL if "input" not in more else None)
        if "input" in more:
            del more["stdin"]
        more.setdefault("text", True)
        done = subprocess.run([*self.inside, *map(str, words)], env=self.env, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              **more)
        assert not check or done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
        return done

    # ---- its programs ----

    def write(self, path, text):
        path = self.files / path.strip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def write_files(self):
        self.write("/run/resolv.conf", "nameserver 192.0.2.2\n")
        self.write_network(settings.CNI)
        (self.files / settings.STATIC.strip("/")).mkdir()
        self.write("/run/containerd.toml", settings.CONTAINERD +
                   (settings.CONTAINERD_SYSTEMD if self.systemd else ""))
        keys = self.files / "run" / "kubernetes"
        self.write("/run/kubernetes/proxy.yaml", settings.PROXY)
        self.write("/run/kubernetes/kubelet.yaml",
                   settings.KUBELET.format(node=settings.NODE4, cgroup=self.cgroup or "/",
                                           static=settings.STATIC,
                                           driver="systemd" if self.systemd else "cgroupfs"))
        self.certificates(keys)
        lines = []
        for name, user, groups in settings.TOKENS:
            token = f"{name}-{os.urandom(8).hex()}"
            lines.append(f'{token},{user},{name},"{groups}"\n')
            self.write(f"/run/kubernetes/{name}",
                       settings.KUBECONFIG.format(api=settings.API, token=token))
        self.write("/run/kubernetes/tokens", "".join(lines))

    def write_network(self, text):
        """The CNI's list, and its programs, among them this build's."""
        self.write("/run/cni.d/10-pods.conflist", text)
        programs = self.files / "run" / "cni.bin"
        programs.mkdir(exist_ok=True)
        for program in [*pathlib.Path("/usr/lib/cni").iterdir(), SLUICE_CNI]:
            (programs / program.name).unlink(missing_ok=True)
            (programs / program.name).symlink_to(program)

    @staticmethod
    def certificates(keys):
        """An authority, the API server's certificate, the key of service accounts' tokens."""
        names = (f"subjectAltName=IP:{settings.NODE4},IP:10.96.0.1,DNS:kubernetes.default.svc,"
                 "DNS:kubernetes.default")
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-days", "30"]
        sh(*new, "-keyout", keys / "ca.key", "-out", keys / "ca.crt", "-subj", "/CN=lab",
           "-addext", "basicConstraints=critical,CA:TRUE")
        sh(*new, "-keyout", keys / "api.key", "-out", keys / "api.crt", "-subj", "/CN=api",
           "-CA", keys / "ca.crt", "-CAkey", keys / "ca.key", "-addext", names,
           "-addext", "basicConstraints=critical,CA:FALSE")
        sh("openssl", "genrsa", "-out", keys / "accounts.key", "2048")
        sh("openssl", "rsa", "-in", keys / "accounts.key", "-pubout", "-out",
           keys / "accounts.pub")

    def start(self, name, *words):
        log = open(self.folder / f"{name}.log", "a", encoding="utf-8")
        self.daemons[name] = subprocess.Popen([*self.inside, name, *words], env=self.env,
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

    def answers(self, name, *words):
        """Until the command ends well."""
        def ask():
            if self.daemons[name].poll() is not None:
                raise RuntimeError(f"{name} ended: {self.said(name)}")
            return self.run(*words, check=False).returncode == 0
        assert until(ask, WAIT_S, 0.2), f"{name} does not answer: {self.said(name)}"

    def start_all(self):
        self.start("etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync")
        self.start("containerd", "--config", "/run/containerd.toml")
        self.answers("containerd", "ctr", "version")
        self.load(settings.PAUSE, image.busybox(), Entrypoint=["/bin/sleep", "2147483647"])
        self.load(settings.BUSYBOX, image.busybox(), Cmd=["/bin/sh"])
        for name in settings.commands():
            self.start_program(name)
        self.wait(lambda node: node and not node["spec"].get("taints"), "node", settings.NODE)
        # every pod has one
        self.answers("kube-controller-manager", "kubectl", "get", "serviceaccount", "default")

    def start_program(self, name):
        """One of Kubernetes' own."""
        self.start(name, *settings.commands()[name])
        if name == "kube-apiserver":
            self.answers(name, "kubectl", "get", "--raw", "/readyz")

    def load(self, name, layer, **config):
        self.run(*CTR, input=image.archive(name, layer, **config), text=False)

    def stop(self, name, sign=signal.SIGTERM):
        made = self.daemons.pop(name)
        # the child of nsenter, which entered the process namespace for it
        children = f"/proc/{made.pid}/task/{made.pid}/children"
        for pid in pathlib.Path(children).read_text().split():
            os.kill(int(pid), sign)
        made.wait(WAIT_S)

    def restart_node(self, network, first=lambda: None):
        """As a boot: no process of a pod, no pin, nothing of the runtime's in /run, no pod's device.
        What arrived before is forgotten. first: what starts before the runtime and the kubelet do.
        The control plane is elsewhere, and goes on."""
        self.stop("kubelet")
        self.stop("containerd")
        self.run("sh", "-c", SHIMS)
        assert until(self.end_pods, WAIT_S)
        self.run("sh", "-c", "umount -q /run/netns/* ; rm -f /run/netns/cni-* ; "
                 "grep -o ' /run/containerd/[^ ]*' /proc/mounts | sort -r | xargs -r umount -lq ; "
                 "rm -rf /run/containerd /run/cni /run/sluice /sys/fs/bpf/sluice ; ip link del cni0",
                 check=False)
        self.write_network(network)
        self.outside.forget()
        first()
        self.start("containerd", "--config", "/run/containerd.toml")
        self.answers("containerd", "ctr", "version")
        self.start_program("kubelet")

    def end_pods(self):
        """True: nothing runs any more, and nothing is left of their cgroups."""
        if self.systemd:
            self.run("systemctl", "stop", "kubepods.slice", check=False)
        for path in self.cgroups():
            if "/kubepods" in path:
                for pid in (pathlib.Path(path) / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
        for top in self.hierarchies():
            for path, _, _ in os.walk(f"{top}{self.top}/{os.path.basename(self.pods)}", topdown=False):
                removed(path)
        return not any("/kubepods" in path for path in self.cgroups())

    # ---- what a user does ----

    def kubectl(self, *words, user="admin", **more):
        return self.run("kubectl", f"--kubeconfig=/run/kubernetes/{user}", *words, **more)

    def apply(self, objects, *options, **more):
        text = objects if isinstance(objects, str) else json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": objects})
        return self.kubectl("apply", "-f", "-", *options, input=text, **more)

    def get(self, *words):
        """{} if it is not there."""
        said = self.kubectl("get", "--ignore-not-found", "-o", "json", *words).stdout
        return json.loads(said) if said else {}

    def delete(self, *words):
        """Does not wait: a pod's end is seen by its cgroup, and told 10 s later by the kubelet."""
        self.kubectl("delete", "--now", "--wait=false", "--ignore-not-found", *words)

    def wait(self, what, *words, seconds=WAIT_S):
        """Until what() of the object says yes; the object."""
        found = {}

        def look():
            found["is"] = self.get(*words)
            return what(found["is"])
        assert until(look, seconds, 0.1), json.dumps(found["is"], indent=1)
        return found["is"]

    def log_of(self, name, namespace="default"):
        return self.kubectl("-n", namespace, "logs", name, check=False).stdout

    # ---- its end ----

    def cgroups(self):
        """Directories of cgroup2 that are the cluster's, the deepest first."""
        return [top for top, _, _ in os.walk(cgroup2() + self.top, topdown=False)]

    def sweep(self):
        """The kubelet's part: on a hybrid machine it does not know of the directories that runc
        makes in cgroup2, so that those of pods would stay. What it has removed goes here too."""
        memory = next((top for top in self.hierarchies() if top.name == "memory"), None)
        while memory and not self.over.wait(0.3):
            for path in self.cgroups():
                if "/kubepods/" in path and \
                        not (memory / path.removeprefix(cgroup2()).strip("/")).exists():
                    removed(path)

    def gone(self, made):
        """A pod's cgroups."""
        uid = made["metadata"]["uid"]
        return not any(uid in path.replace("_", "-") for path in self.cgroups())

    def remove_cgroups(self):
        for top in self.hierarchies():
            for below, _, _ in os.walk(str(top) + self.top, topdown=False):
                if not until(lambda path=below: removed(path), 10):
                    print(f"{below} is not removed", file=sys.stderr)

    def close(self):
        self.over.set()
        if self.capsule:
            self.capsule.stdin.close()
            if self.systemd:
                self.capsule.kill()         # and systemd with it
            self.capsule.wait(WAIT_S)
            self.errors.close()
        for made in self.daemons.values():
            made.wait(WAIT_S)
        for close in self.closing:
            close()
        self.remove_cgroups()
        if self.lock is not None:
            os.close(self.lock)


def removed(path):
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def pod(name, *command, labels=None, annotations=None, namespace="default", **spec):
    """A pod of one container that is not started again."""
    container = {"name": "main", "image": settings.BUSYBOX, "imagePullPolicy": "Never",
                 "command": list(command)}
    container.update(spec.pop("container", {}))
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {},
                         "annotations": annotations or {}},
            "spec": {"containers": [container], "restartPolicy": "Never",
                     "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
                     "enableServiceLinks": False, **spec}}
