// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The keys of sluiced.yaml: the tables of docs/sluiced.md in C (a unit test compares them). */
#include "config.h"

/* Parts that are built, by the word that keys.c knows as such ... */
#define BUILT "engine"
/* ... and that are not. */
#define KUBERNETES "kubernetes"

#define POLICY_TYPE "the name of a policy, NAME of policies/NAME.yaml"
#define MODE_TYPE "policy, enforce or audit"

static const struct sl_key top[] = {
	[SL_CONF_SLUICED] = {"sluiced", "the number 1", "required", BUILT, NULL, NULL},
	[SL_CONF_POLICIES] = {"policies", "the path of a directory", "policies.d beside the file",
			      BUILT, NULL, NULL},
	[SL_CONF_GROUP] = {"group", "the name of a group, or its number", "sluice", BUILT, NULL,
			   NULL},
	[SL_CONF_RUN] = {"run", "a mapping of policies, limit and cgroup", "none", BUILT, NULL, NULL},
	[SL_CONF_TARGETS] = {"targets", "a list of targets", "none", BUILT, NULL, NULL},
	[SL_CONF_DEFAULTS] = {"defaults", "a list of defaults", "none", BUILT, NULL, NULL},
	[SL_CONF_AUDIT] = {"audit", "a list of sinks", "none", BUILT, NULL, NULL},
	[SL_CONF_METRICS] = {"metrics", "an address, or a mapping of listen and others", "none",
			     BUILT, NULL, NULL},
	[SL_CONF_RUNTIMES] = {"runtimes", "a mapping of docker, podman, containerd and sockets",
			      "where Debian has them", BUILT, NULL, NULL},
	[SL_CONF_METER] = {"meter", "a duration, as 10s or 5m, at most 1d", "1m", BUILT, NULL,
			   NULL},
	[SL_CONF_EXPEDITE] = {"expedite", "true or false", "true", BUILT, NULL, NULL},
	[SL_CONF_KUBERNETES] = {"kubernetes", "a mapping of directory, cri, default and others",
				"none", BUILT, NULL, NULL},
};

static const struct sl_key target[] = {
	[SL_CONF_T_MATCH] = {"match", "a mapping with one key, as {device: \"vnet*\"}", "required",
			     BUILT, NULL, NULL},
	[SL_CONF_T_POLICY] = {"policy", POLICY_TYPE, "required", BUILT, NULL, NULL},
	[SL_CONF_T_MODE] = {"mode", MODE_TYPE, "policy", BUILT, NULL, NULL},
	[SL_CONF_T_BIND] = {"bind", "a mapping of mac, address and vlan", "nothing is bound", BUILT,
			    NULL, NULL},
	[SL_CONF_T_CHOICE] = {"choice", "a list of names of policies", "none", BUILT, NULL, NULL},
	[SL_CONF_T_VETH] = {"veth", "true or false", "false", BUILT, NULL, NULL},
};

static const struct sl_key match[] = {
	[SL_CONF_M_DEVICE] = {"device", "a pattern of device names, or a list of them", "none",
			      BUILT, NULL, NULL},
	[SL_CONF_M_CGROUP] = {"cgroup",
			      "a path in the cgroup hierarchy, as /agents/*, or a list "
			      "of them",
			      "none", BUILT, NULL, NULL},
	[SL_CONF_M_UNIT] = {"unit",
			    "a pattern of systemd units, as agent@*.service, or a list of "
			    "them",
			    "none", BUILT, NULL, NULL},
	[SL_CONF_M_CONTAINER] = {"container", "a pattern of container names, or a list of them",
				 "none", BUILT, NULL, NULL},
	[SL_CONF_M_LABEL] = {"label",
			     "a label of containers, KEY or KEY=PATTERN, or a list of which all "
			     "hold",
			     "none", BUILT, NULL, NULL},
	[SL_CONF_M_POD] = {"pod", "a mapping of namespace and labels", "none", KUBERNETES, NULL,
			   NULL},
};

static const struct sl_key binding[] = {
	[SL_CONF_B_MAC] = {"mac", "a MAC address, as 52:54:00:12:34:56", "any", BUILT, NULL, NULL},
	[SL_CONF_B_ADDRESS] = {"address", "an address, a prefix or dhcp, or a list of them", "any",
			       BUILT, NULL, NULL},
	[SL_CONF_B_VLAN] = {"vlan", "a VLAN id, 0 to 4094, or a list of them", "untagged frames",
			    BUILT, NULL, NULL},
};

static const struct sl_key defaults[] = {
	[SL_CONF_D_CGROUP] = {"cgroup", "a path in the cgroup hierarchy, as /agents.slice",
			      "required", BUILT, NULL, NULL},
	[SL_CONF_D_POLICY] = {"policy", POLICY_TYPE, "required", BUILT, NULL, NULL},
	[SL_CONF_D_MODE] = {"mode", MODE_TYPE, "policy", BUILT, NULL, NULL},
};

static const struct sl_key runs[] = {
	[SL_CONF_U_POLICIES] = {"policies", "a list of names of policies", "required", BUILT, NULL,
				NULL},
	[SL_CONF_U_LIMIT] = {"limit", "runs at once of one user, 1 to 256", "16", BUILT, NULL, NULL},
	[SL_CONF_U_CGROUP] = {"cgroup", "a path in the cgroup hierarchy", "/sluice-runs", BUILT,
			      NULL, NULL},
};

static const struct sl_key runtimes[] = {
	[SL_CONF_R_DOCKER] = {"docker", "the path of its data root", "/var/lib/docker", BUILT, NULL,
			      NULL},
	[SL_CONF_R_PODMAN] = {"podman", "the path of its storage", "/var/lib/containers/storage",
			      BUILT, NULL, NULL},
	[SL_CONF_R_CONTAINERD] = {"containerd", "the path of its state", "/run/containerd", BUILT,
				  NULL, NULL},
	[SL_CONF_R_SOCKETS] = {"sockets", "paths of the sockets of engines with Docker's API",
			       "[/run/docker.sock, /run/podman/podman.sock]", BUILT, NULL, NULL},
};

static const struct sl_key kubernetes[] = {
	[SL_CONF_K_CRI] = {"cri", "the path of the runtime's socket",
			   "/run/containerd/containerd.sock", BUILT, NULL, NULL},
	[SL_CONF_K_DIRECTORY] = {"directory", "the path of a directory of objects", "none",
				 BUILT, NULL, NULL},
	[SL_CONF_K_API] = {"api", "in-cluster, or a mapping of server, ca, token and others",
			   "none", BUILT, NULL, NULL},
	[SL_CONF_K_CGROUP] = {"cgroup", "a path in the cgroup hierarchy, or a list of them",
			      "kubepods, where kubelets make it", BUILT, NULL, NULL},
	[SL_CONF_K_DEFAULT] = {"default", POLICY_TYPE, "nothing passes", BUILT, NULL, NULL},
	[SL_CONF_K_EXEMPT] = {"exempt", "a pattern of namespaces, or a list of them", "none", BUILT,
			      NULL, NULL},
	[SL_CONF_K_NODE] = {"node", "an address of this node, or a list of them", "none", BUILT,
			    NULL, NULL},
	[SL_CONF_K_ANNOTATIONS] = {"annotations", "a pattern of namespaces, or a list of them",
				   "none", BUILT, NULL, NULL},
	[SL_CONF_K_VETH] = {"veth", "true or false", "true", BUILT, NULL, NULL},
	[SL_CONF_K_RESOLVERS] = {"resolvers", "an address of the cluster's DNS, or a list of them",
				 "sluiced's own in a pod, and Service kube-system/kube-dns", BUILT,
				 NULL, NULL},
	[SL_CONF_K_DOMAINS] = {"domains",
			       "the cluster's domain, or a list of it and those of its nodes",
			       "sluiced's own in a pod, else cluster.local", BUILT, NULL, NULL},
};

static const struct sl_key api[] = {
	[SL_CONF_A_SERVER] = {"server", "https://HOST[:PORT]", "the pod's own cluster", BUILT, NULL,
			      NULL},
	[SL_CONF_A_CA] = {"ca", "the path of a file of CA certificates", "the pod's own", BUILT,
			  NULL, NULL},
	[SL_CONF_A_TOKEN] = {"token", "the path of a file with a bearer token", "the pod's own",
			     BUILT, NULL, NULL},
	[SL_CONF_A_NAME] = {"name", "this node's name in the cluster",
			    "NODE_NAME of the environment, else the host's name", BUILT, NULL, NULL},
	[SL_CONF_A_STATUS] = {"status", "true or false", "true", BUILT, NULL, NULL},
};

#define TABLE(name, keys, what, heading)                                                           \
	const struct sl_key_table sl_config_##name = {what, heading, keys,                         \
						      sizeof(keys) / sizeof((keys)[0])}

TABLE(top, top, "the configuration", "Top level");
TABLE(target, target, "a target", "A target");
TABLE(match, match, "a match", "`match`");
TABLE(bind, binding, "bind", "`bind`");
TABLE(default, defaults, "a default", "A default");
TABLE(run, runs, "run", "`run`");
TABLE(runtimes, runtimes, "runtimes", "`runtimes`");
TABLE(kubernetes, kubernetes, "kubernetes", "`kubernetes`");
TABLE(api, api, "api", "`api`");

const struct sl_key_table *const sl_config_tables[] = {
	&sl_config_top,	 &sl_config_target,  &sl_config_match,
	&sl_config_bind, &sl_config_default, &sl_config_run, &sl_config_runtimes,
	&sl_config_kubernetes, &sl_config_api,
	NULL,
};
