# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the node's programs are told: one node, both families, no registry."""

NODE = "node"
NODE4, NODE6 = "192.0.2.1", "2001:db8::1"
PODS4, PODS6 = "10.244.0.0/24", "fd00:244::/64"
SERVICES = "10.96.0.0/16,fd00:96::/112"
API = f"https://{NODE4}:6443"
# who is who by its token: name, user, groups
TOKENS = (("admin", "admin", "system:masters"),
          ("kubelet", f"system:node:{NODE}", "system:nodes"),
          ("controller-manager", "system:kube-controller-manager", ""),
          ("scheduler", "system:kube-scheduler", ""),
          ("proxy", "system:kube-proxy", ""),
          ("nobody", "nobody", ""))
PAUSE = "sluice.test/pause:1"
BUSYBOX = "sluice.test/busybox:1"
SLUICE = "docker.io/library/sluice:0.1.0"      # as deploy/kubernetes names it
STATIC = "/run/static"           # the manifests of static pods
GATES = "IPv6DualStack=true,EphemeralContainers=true"

CONTAINERD = f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/run/cni.bin"
    conf_dir = "/run/cni.d"
"""

CONTAINERD_SYSTEMD = """\
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
"""

# Behind the bridge: sluice-cni. Where sluiced is not there it lets pods start, unless it is to be closed.
CNI = f"""\
{{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
    "ipam": {{"type": "host-local", "dataDir": "/run/cni",
             "ranges": [[{{"subnet": "{PODS4}"}}], [{{"subnet": "{PODS6}"}}]],
             "routes": [{{"dst": "0.0.0.0/0"}}, {{"dst": "::/0"}}]}}}},
  {{"type": "sluice-cni", "timeout": 20, "failOpen": true}}]}}
"""

# Whoever asks the kubelet may: it listens in the capsule, where the test alone is.
KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {node}
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: {driver}
cgroupRoot: {cgroup}
enforceNodeAllocatable: []
oomScoreAdj: 0
failSwapOn: false
evictionHard: {{nodefs.available: "0%", memory.available: "0%"}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
resolvConf: /run/resolv.conf
staticPodPath: {static}
clusterDNS: ["10.96.0.10"]
clusterDomain: cluster.local
syncFrequency: 2s
configMapAndSecretChangeDetectionStrategy: Watch
nodeStatusUpdateFrequency: 5s
serializeImagePulls: false
kubeAPIQPS: 200
kubeAPIBurst: 200
readOnlyPort: 0
featureGates: {{IPv6DualStack: true, EphemeralContainers: true}}
"""

PROXY = f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: /run/kubernetes/proxy}}
clusterCIDR: "{PODS4},{PODS6}"
hostnameOverride: {NODE}
mode: iptables
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
metricsBindAddress: 127.0.0.1:10249
featureGates: {{IPv6DualStack: true}}
"""

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: lab, cluster: {{server: "{api}", certificate-authority: /run/kubernetes/ca.crt}}}}]
users: [{{name: it, user: {{token: "{token}"}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: it}}}}]
current-context: lab
"""


def commands():
    """The words of what is started after etcd and containerd, by name, in this order."""
    keys = "/run/kubernetes"
    return {
        "kube-apiserver": (
            "--etcd-servers=http://127.0.0.1:2379", f"--advertise-address={NODE4}",
            "--secure-port=6443", f"--tls-cert-file={keys}/api.crt",
            f"--tls-private-key-file={keys}/api.key", f"--token-auth-file={keys}/tokens",
            "--authorization-mode=Node,RBAC", f"--service-cluster-ip-range={SERVICES}",
            f"--service-account-key-file={keys}/accounts.pub",
            f"--service-account-signing-key-file={keys}/accounts.key",
            f"--service-account-issuer={API}", "--allow-privileged=true",
            "--enable-admission-plugins=NodeRestriction", "--watch-cache=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--feature-gates={GATES}"),
        "kube-controller-manager": (
            f"--kubeconfig={keys}/controller-manager", "--leader-elect=false",
            f"--service-account-private-key-file={keys}/accounts.key",
            f"--root-ca-file={keys}/ca.crt", "--use-service-account-credentials=true",
            "--kube-api-qps=200", "--kube-api-burst=200", "--port=0", f"--feature-gates={GATES}"),
        "kube-scheduler": (
            f"--kubeconfig={keys}/scheduler", "--leader-elect=false", "--port=0",
            f"--feature-gates={GATES}"),
        "kubelet": (
            "--config=/run/kubernetes/kubelet.yaml", "--kubeconfig=/run/kubernetes/kubelet",
            f"--hostname-override={NODE}", f"--node-ip={NODE4},{NODE6}",
            "--container-runtime=remote",
            "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
            "--register-node=true"),
        "kube-proxy": ("--config=/run/kubernetes/proxy.yaml",),
    }
