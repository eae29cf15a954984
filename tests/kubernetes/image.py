# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Images of one layer, made of this machine's files: an archive as `docker save` writes it,
which `ctr images import` reads. Nothing is pulled from anywhere."""
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUSYBOX = "/bin/busybox"
NETCAT = "/bin/nc.openbsd"      # busybox's knows no UDP
APPLETS = ("sh", "cat", "echo", "ls", "sleep", "true", "id", "grep", "head", "kill", "rm")


class Layer:
    """The files of an image, all of them root's."""

    def __init__(self):
        self.data = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.data, mode="w")
        self.made = set()

    def folder(self, path):
        path = path.strip("/")
        if not path or path in self.made:
            return
        self.folder(os.path.dirname(path))
        self.made.add(path)
        self.entry(path, tarfile.DIRTYPE, 0o755)

    def entry(self, path, kind, mode, **more):
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.mode = kind, mode
        for key, value in more.items():
            setattr(info, key, value)
        self.tar.addfile(info)

    def link(self, path, to):
        self.folder(os.path.dirname(path))
        self.entry(path, tarfile.SYMTYPE, 0o777, linkname=to)

    def file(self, path, source, mode=0o755):
        if path in self.made:
            return
        self.made.add(path)
        self.folder(os.path.dirname(path))
        data = pathlib.Path(source).read_bytes() if not isinstance(source, bytes) else source
        info = tarfile.TarInfo(path.strip("/"))
        info.size, info.mode = len(data), mode
        self.tar.addfile(info, io.BytesIO(data))

    def program(self, path, source):
        """With the libraries that it is linked with, where the dynamic linker looks for them."""
        self.file(path, source)
        said = subprocess.run(["ldd", str(source)], capture_output=True, text=True,
                              check=False).stdout
        for library in re.findall(r"(/\S+) \(0x", said):
            self.file(library, os.path.realpath(library))

    def bytes(self):
        self.tar.close()
        return self.data.getvalue()


def busybox():
    layer = Layer()
    layer.file("/bin/busybox", BUSYBOX)
    for name in APPLETS:
        layer.link(f"/bin/{name}", "busybox")
    layer.program("/bin/netcat", NETCAT)
    for folder in ("/tmp", "/etc", "/proc", "/sys", "/dev", "/run"):
        layer.folder(folder)
    return layer


def sluice(build):
    """What the Containerfile makes: `make install` and the libraries, without a Debian around."""
    build = pathlib.Path(build).resolve()
    if not build.is_relative_to(ROOT):      # `make` would build our sources into it
        raise RuntimeError(f"{build} is not below {ROOT}, whose image is made: set SLUICE to the sluice of a build there")
    layer = busybox()
    with tempfile.TemporaryDirectory(prefix="sl-image-") as folder:
        subprocess.run(["make", "-s", "-C", str(ROOT), "install", f"O={build}",
                        f"DESTDIR={folder}"], check=True, stdout=subprocess.DEVNULL)
        for path in sorted(pathlib.Path(folder).rglob("*")):
            inside = "/" + str(path.relative_to(folder))
            if path.is_file():
                add = layer.program if "bin" in path.parts[-2] else layer.file
                add(inside, path)
    layer.file("/etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n", 0o644)
    layer.file("/etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644)
    return layer


def archive(name, layer, **config):
    """The bytes of an archive with one image."""
    data = layer.bytes()
    digest = hashlib.sha256(data).hexdigest()
    settings = json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], **config},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    config_name = f"{hashlib.sha256(settings).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name],
                            "Layers": [f"{digest}/layer.tar"]}]).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in ((config_name, settings), (f"{digest}/layer.tar", data),
                              ("manifest.json", manifest)):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
