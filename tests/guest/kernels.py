# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Debian's kernels for guests: found with apt-cache, unpacked into a cache
outside the tree, never installed. As a program: kernels.py [SERIES...] fetches them."""
import fcntl
import lzma
import os
import pathlib
import re
import subprocess
import sys

SERIES = ("6.1", "6.12")


class KernelError(Exception):
    pass


class Kernel:
    """An unpacked kernel package."""

    def __init__(self, folder):
        images = list(folder.glob("boot/vmlinuz-*"))
        if not images:
            raise KernelError(f"{folder}: no kernel image in it")
        self.image = images[0]
        self.release = self.image.name.removeprefix("vmlinuz-")
        self._modules = None

    def _module_files(self):
        """Module name to file; both /lib and /usr/lib have been in use."""
        if self._modules is None:
            top = self.image.parents[1]
            self._modules = {
                path.name.split(".ko")[0].replace("-", "_"): path
                for lib in ("lib", "usr/lib")
                for path in (top / lib / "modules" / self.release).glob("kernel/**/*.ko*")}
        return self._modules

    def modules(self, names):
        """(name, contents) of the modules and all that they need, in the order
        of loading. What is built into the kernel is no file and is left out."""
        loaded, files = {}, self._module_files()

        def add(name):
            name = name.replace("-", "_")
            if name in loaded or name not in files:
                return
            data = files[name].read_bytes()
            if files[name].suffix == ".xz":
                data = lzma.decompress(data)
            needs = re.search(rb"\0depends=([^\0]*)\0", data)
            for need in needs[1].decode().split(",") if needs else ():
                add(need)
            loaded[name] = data

        for name in names:
            add(name)
        return list(loaded.items())


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "sluice" / "kernels"


def _package_pattern(version):
    """The non-cloud kernel packages of a series, or one exact version: the
    cloud variants have no 9p."""
    if re.fullmatch(r"\d+\.\d+", version):
        version = {"6.1": r"6\.1\.0-[0-9]+"}.get(version, re.escape(version) + r"\.[0-9]+\+deb12")
    else:
        version = re.escape(version.removesuffix("-amd64"))
    return rf"^linux-image-{version}-amd64(-unsigned)?$"


def _order(package):
    numbers = [int(n) for n in re.findall(r"\d+", package.split("-amd64")[0])]
    return numbers, not package.endswith("-unsigned")


def _offered(pattern):
    """Packages that the configured suites have, newest last."""
    found = subprocess.run(["apt-cache", "search", "--names-only", pattern],
                           capture_output=True, text=True, check=False).stdout
    return sorted((line.split(" ")[0] for line in found.splitlines()), key=_order)


def _fetch(package, cache):
    """apt-get holds what it downloads against the signed lists."""
    print(f"{package}: not in {cache} yet, fetching it", file=sys.stderr, flush=True)
    staging = cache / f".{package}.new"
    subprocess.run(["rm", "-rf", str(staging)], check=True)
    (staging / "root").mkdir(parents=True)
    result = subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download",
                             package], cwd=staging, capture_output=True, text=True, check=False)
    archives = list(staging.glob("*.deb"))
    if result.returncode or not archives:
        raise KernelError(f"apt-get download {package}: {result.stderr.strip()}")
    subprocess.run(["dpkg-deb", "-x", str(archives[0]), str(staging / "root")], check=True)
    os.rename(staging / "root", cache / package)
    subprocess.run(["rm", "-rf", str(staging)], check=True)


def get(version):
    """The newest kernel of a series ("6.1", "6.12") or the one named."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    pattern = _package_pattern(version)
    with open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        offered = _offered(pattern)
        if offered and not (cache / offered[-1]).is_dir():
            _fetch(offered[-1], cache)
        if not offered:  # no package lists: what an earlier run left
            offered = sorted((p.name for p in cache.iterdir() if re.match(pattern, p.name)),
                             key=_order)
    if not offered:
        raise KernelError(f"no kernel package for {version}: run apt-get update")
    return Kernel(cache / offered[-1])


if __name__ == "__main__":
    for each in sys.argv[1:] or SERIES:
        print(f"{each}: {get(each).image}")
