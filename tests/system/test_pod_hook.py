# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""sluice-oci-hook in containerd's base_runtime_spec, as docs/containers.md has it: it is asked for each container of a
pod (not for its sandbox, to which containerd gives no such specification)."""
import json
import os
import shutil
import subprocess

import pytest

from crilab import Node
from ocilab import ALL, HOOK, SOME
from podlab import config, egress, put

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not shutil.which("containerd"), reason="needs containerd"),
]
RUNC = 'runtime_type = "io.containerd.runc.v2"\n'


class Hooked(Node):
    def start_runtime(self):
        """The manual's command, and what it says to add."""
        said = subprocess.run(["ctr", "oci", "spec"], check=True, capture_output=True, text=True)
        spec = json.loads(said.stdout)
        self.trim(spec)
        spec["hooks"] = {"createRuntime": [{"path": HOOK, "args": ["sluice-oci-hook", "--socket", self.socket]}]}
        (self.base / "spec.json").write_text(json.dumps(spec))
        path = self.base / "config.toml"
        path.write_text(path.read_text().replace(RUNC, f'{RUNC}      base_runtime_spec = "{self.base}/spec.json"\n'))
        super().start_runtime()


@pytest.fixture
def node(tmp_path):
    made = Hooked("sl-phook", tmp_path)
    made.objects, made.audit = tmp_path / "objects", tmp_path / "audit.jsonl"
    made.objects.mkdir()
    put(made, "web.yaml", egress())
    made.configure(config(made))
    try:
        yield made
    finally:
        made.close()


def test_no_container_without_sluiced(node):
    pod = node.pod(labels={"app": "web"})
    with pytest.raises(AssertionError) as refused:
        pod.start()
    assert "StartContainer" in str(refused.value) and "systemctl start sluiced" in str(refused.value)
    pod.remove()
    assert node.arrived() == [0, 0, 0]
    node.start_daemon()
    for app, want in (("web", SOME), ("other", ALL)):
        pod = node.pod(labels={"app": app})
        pod.start()
        assert pod.probe() == want
        pod.remove()
    node.daemon.close()
    node.daemon = None
    node.sluice("detach", "--all")
