/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the files of this folder share: the objects as they were read. */
#ifndef SLUICE_KUBERNETES_OBJECTS_H
#define SLUICE_KUBERNETES_OBJECTS_H

#include "kubernetes.h"
#include "policy/names.h"
#include "prefixes.h"
#include "selector.h"

/* Texts are borrowed of the trees, unless a comment says that they are owned. */

enum sl_kube_kind {
	SL_KUBE_NAMESPACE,
	SL_KUBE_POD,
	SL_KUBE_NETPOL,
	SL_KUBE_SERVICE,
	SL_KUBE_SLICE,
	SL_KUBE_ENDPOINTS,
	SL_KUBE_OWN,
	SL_KUBE_CLUSTER_OWN,
	SL_KUBE_KINDS
};

extern const struct sl_kube_kind_name {
	const char *version, *kind;
} sl_kube_kinds[SL_KUBE_KINDS];

struct sl_record;	/* store.c */

#define SL_KUBE_PLACE 256
#define SL_KUBE_APPLICATION "sluice.dev/egress-policy" /* a pod's annotation */

struct sl_object {
	const char *name, *namespace;	/* namespace NULL: the object is the cluster's */
	struct sl_labels labels;	/* owned */
	struct sl_pos pos;
	struct sl_record *record;	/* of a store; NULL: of a file */
};

struct sl_addresses {
	struct sl_cidr *list;		/* owned */
	size_t n;
};

/* A port of a container, a Service or its endpoints. */
struct sl_named_port {
	const char *name;		/* NULL: none */
	int protocol;			/* IPPROTO_ */
	__u16 port;
};

struct sl_named_ports {
	struct sl_named_port *list;	/* owned */
	size_t n;
};

struct sl_words {
	const char **list;		/* owned */
	size_t n;
};

struct sl_kube_pod {
	struct sl_object object;
	struct sl_addresses own, node;	/* podIPs, hostIPs; len 32 or 128 */
	struct sl_named_ports ports;
	bool host_network, ended;
	const char *uid;		/* as its cgroup is called on its node; NULL: none */
	const char *node_name;		/* NULL: not known */
	__s64 started_s;		/* Unix time at which its node took it up; 0: not known */
	__s64 created_s;		/* Unix time by the API server's clock; 0: not known */
	bool mirror;			/* its uid is what an annotation says */
	const char *dns_policy;		/* NULL: ClusterFirst */
	struct sl_words nameservers, searches; /* of its dnsConfig, as they are written */
	const char *application;	/* the text of SL_KUBE_APPLICATION; NULL: none */
};

/* ports of a NetworkPolicy: a name, or low to high; low 0: every port. */
struct sl_kube_port {
	int protocol;
	const char *name;
	__u16 low, high;
};

struct sl_kube_peer {
	bool is_block, has_pods, has_namespaces;
	struct sl_cidr block;
	struct sl_addresses except;
	struct sl_selector pods, namespaces;
	struct sl_pos pos;
};

struct sl_kube_egress {
	struct sl_kube_peer *peers;	/* owned; none: every destination */
	size_t n_peers;
	struct sl_kube_port *ports;	/* owned; none: every port of every protocol */
	size_t n_ports;
	struct sl_pos pos;
};

struct sl_kube_netpol {
	struct sl_object object;
	struct sl_selector pods;
	bool governs_egress;
	struct sl_kube_egress *egress;	/* owned */
	size_t n_egress;
};

struct sl_kube_service {
	struct sl_object object;
	struct sl_addresses addresses;	/* clusterIPs */
	struct sl_addresses external;	/* externalIPs, and those of load balancers */
	struct sl_named_ports ports;
	struct sl_named_ports node_ports; /* port: the node's */
};

/* An EndpointSlice, or a subset of Endpoints: each ready address with each port. */
struct sl_kube_endpoints {
	const char *service, *namespace;
	bool is_slice;
	struct sl_addresses ready;
	struct sl_named_ports ports;
	struct sl_record *record;
};

/* EgressPolicy or ClusterEgressPolicy. */
struct sl_kube_own {
	struct sl_object object;
	struct sl_selector pods, namespaces;
	const struct sl_node *spec;
};

/* Names in the cluster, as its administrators have it. */
struct sl_kube_dns {
	struct sl_addresses resolvers;
	bool decided;		/* these alone; else the cluster's DNS Service too */
	char **domains;		/* owned, each owned: the cluster's, then those of its nodes */
	size_t n_domains;	/* 0: cluster.local */
};

/* Namespaces in order of their names. */
struct sl_kube_order {
	const struct sl_object **list;	/* owned; NULL: not since they changed */
};

struct sl_kube {
	struct sl_diag *diag;
	/* Of the cluster only this node's pods are known, and no Services: what would ask for the
	 * others is refused. */
	bool partial;
	struct sl_names names;		/* of the objects: KIND NAMESPACE/NAME */
	char **texts;			/* owned, each owned: what names borrows */
	size_t n_texts;
	struct sl_tree **trees;		/* owned, each owned */
	size_t n_trees;
	struct sl_object *namespaces;
	size_t n_namespaces;
	struct sl_kube_order *order;	/* owned; of namespaces */
	struct sl_kube_pod *pods;
	size_t n_pods;
	struct sl_kube_netpol *netpols;
	size_t n_netpols;
	struct sl_kube_service *services;
	size_t n_services;
	struct sl_kube_endpoints *endpoints;
	size_t n_endpoints;
	struct sl_kube_own *own;
	size_t n_own;
	/* May pods of the namespace say by annotation what takes the place of policies that select
	 * them? NULL: all may. */
	bool (*trusts)(void *context, const char *namespace);
	void *trusts_context;
	const struct sl_kube_dns *dns;	/* NULL: nobody says; only the objects do */
	struct sl_record *record;	/* of what is being read; NULL: of a file */
	struct sl_record *flaws;	/* policies that a store could not read */
};

/* ---- read.c ---- */

/* An address into list; both that it may be, if there are two readings of the text. 0, -EINVAL
 * (reported), -ENOMEM. */
int sl_kube_address(const struct sl_node *node, struct sl_addresses *list, struct sl_diag *diag);
/* Each of them once, where it is first. After the last: a look at all of them for each would be
 * seconds of an object of the API server's size. 0 or -ENOMEM. */
int sl_kube_addresses_once(struct sl_addresses *list);
/* protocol of a port: TCP if it is not there. 0 or -EINVAL. */
int sl_kube_protocol(const struct sl_node *port, int *protocol, struct sl_diag *diag);
/* A port's number, 1 to 65535. 0 or -EINVAL. */
int sl_kube_number(const struct sl_node *node, const char *what, __u16 *number,
		   struct sl_diag *diag);
/* Ports of a list of {name, protocol, KEY}; those without KEY are left out. */
int sl_kube_ports(const struct sl_node *list, const char *key, struct sl_named_ports *ports,
		  struct sl_diag *diag);

/* Appends the object of a known kind that node is. 0, -EINVAL or -ENOMEM with the errors in
 * kube->diag; what it has appended then has to be taken off, or all of it freed. */
int sl_kube_read_kind(struct sl_kube *kube, const struct sl_node *node, enum sl_kube_kind kind);

/* Each reads one object into what SL_ADD has appended, which is freed in any case. */
int sl_kube_read_netpol(struct sl_kube *kube, const struct sl_node *node,
			struct sl_kube_netpol *netpol);
int sl_kube_read_service(struct sl_kube *kube, const struct sl_node *node,
			 struct sl_kube_service *service);
/* Of Endpoints and EndpointSlice: appends by itself. */
int sl_kube_read_endpoints(struct sl_kube *kube, const struct sl_node *node,
			   const struct sl_object *object, bool is_slice);
int sl_kube_read_own(struct sl_kube *kube, const struct sl_node *node, struct sl_kube_own *own);

void sl_kube_netpol_free(struct sl_kube_netpol *netpol);

/* ---- life.c ---- */

/* What an element of an array owns; not the element. */
void sl_kube_namespace_free(struct sl_object *namespace);
void sl_kube_pod_free(struct sl_kube_pod *pod);
void sl_kube_service_free(struct sl_kube_service *service);
void sl_kube_endpoints_free(struct sl_kube_endpoints *endpoints);
void sl_kube_own_free(struct sl_kube_own *own);

/* ---- clause.c: what NetworkPolicies allow, as a union ---- */

struct sl_clause {
	bool any;			/* every address */
	struct sl_addresses hosts;	/* prefixes */
	int protocol;			/* or SL_PROTOCOL_ANY */
	struct sl_port_range *ports;	/* owned; none: every port */
	size_t n_ports;
	const struct sl_kube_netpol *netpol;	/* NULL: of no policy */
	size_t rule;			/* of netpol */
	const char *why;		/* without a netpol; static */
};

struct sl_clauses {
	struct sl_clause *list;		/* owned */
	size_t n;
	bool selected;			/* a NetworkPolicy governs the pod's egress */
	struct sl_policy *application;	/* takes their place (application.c); NULL: there is none */
	size_t replaced;		/* NetworkPolicies that would select the pod */
	struct sl_prefixes hosts;	/* of clauses, by their places in list */
	size_t n_hosts;			/* of all of them; at most SL_KUBE_HOSTS */
	size_t n_asked;			/* pods by the peers that select some */
};

#define SL_KUBE_HOSTS (1u << 22)	/* 72 MiB; a rule that chooses all pods of 10,000 has 10,000 */

#define SL_KUBE_ASKED (1u << 24)	/* half a second of a CPU; 100 peers in a cluster of 10,000 pods are 1,000,000 */

/* ---- peers.c ---- */

/* 0 or -ENOMEM. */
int sl_address_add(struct sl_addresses *list, const struct sl_cidr *cidr);

/* Block without the prefixes in except, appended to list. 0 or -ENOMEM. */
int sl_carve(const struct sl_cidr *block, const struct sl_addresses *except,
	     struct sl_addresses *list);

/* What the rule's peers choose, appended to hosts; a pod that several choose once. 0, -EINVAL
 * (reported) or -ENOMEM. */
int sl_kube_peers(const struct sl_kube *kube, const struct sl_kube_netpol *netpol,
		  const struct sl_kube_egress *egress, struct sl_addresses *hosts);

/* ---- named.c ---- */

/* An address of a pod that has a port by a name of the rule's. */
struct sl_named_host {
	__u8 protocol;
	__u16 port;			/* its number there */
	unsigned at;			/* of the address, among those of all pods */
	const struct sl_cidr *address;
};

struct sl_named_hosts {
	struct sl_named_host *list;	/* owned */
	size_t n;
};

/* By protocol and port, each once. among NULL: whatever the address. 0, -ENOMEM, -ENOSPC: more than
 * SL_KUBE_HOSTS; hosts is to be freed in any case. */
int sl_kube_find_named(const struct sl_kube *kube, const struct sl_kube_egress *egress,
		       const struct sl_prefixes *among, struct sl_named_hosts *hosts);

/* A peer is chosen by its labels, or a port by its name: other pods decide. */
bool sl_kube_asks_for_pods(const struct sl_kube_egress *egress);

int sl_clauses_make(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		    struct sl_clauses *clauses);
/* Before the first sl_clauses_allow. 0 or -ENOMEM. */
int sl_clauses_index(struct sl_clauses *clauses);
bool sl_clauses_allow(const struct sl_clauses *clauses, const struct sl_cidr *address,
		      int protocol, __u16 port);
void sl_clauses_free(struct sl_clauses *clauses);

/* ---- namespaces.c ---- */

/* One comes, goes, or stands elsewhere. */
void sl_kube_namespaces_change(struct sl_kube *kube);
/* Does the selector choose the namespace? -EINVAL (reported) if its labels are not known; -ENOMEM. */
int sl_kube_in_namespace(const struct sl_kube *kube, const struct sl_selector *selector,
			 const char *namespace, const struct sl_pos *pos, bool *matches);

/* ---- emit.c ---- */

/* As sl_kube_policy; of a pod on its node's network what EgressPolicies say. */
int sl_kube_pod_policy(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		       struct sl_policy **out);
/* What ClusterEgressPolicies alone say of it, and nothing else passes: for a pod of which what a
 * namespace's objects say is wrong. *out NULL: none selects it. 0, -EINVAL (reported), -ENOMEM. */
int sl_kube_cluster_policy(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			   struct sl_policy **out);
/* Every EgressPolicy, whether it selects a pod or not, is one in our language. 0, or -errno with
 * the errors in kube->diag. */
int sl_kube_check_own(const struct sl_kube *kube);

/* `line 7`, or what an object of the API server has instead of lines. Returns buf. */
const char *sl_kube_place(const struct sl_pos *pos, char buf[SL_KUBE_PLACE]);

/* Is every policy that may be about the pod (cluster_only: every ClusterEgressPolicy) among the
 * objects? 0, or -EINVAL with those that could not be read. */
int sl_kube_check_flaws(const struct sl_kube *kube, const struct sl_kube_pod *pod, bool cluster_only);
/* Are its rules right, by themselves? 0, -EINVAL with the errors in diag, -ENOMEM. */
int sl_kube_own_check(const struct sl_kube_own *own, struct sl_diag *diag);
/* Does it select the pod? 0, or -EINVAL (reported): its namespace's labels are not known. */
int sl_kube_own_selects(const struct sl_kube *kube, const struct sl_kube_own *own,
			const struct sl_kube_pod *pod, bool *selected);
/* A rule for an address and port of a Service, at the policy's end, which owns it. NULL: no memory. */
struct sl_rule *sl_kube_front_rule(struct sl_policy *policy, enum sl_action action,
				   const struct sl_cidr *address, const struct sl_named_port *port,
				   const char *service);

/* Takes off the rules behind the first n items. */
void sl_kube_cut_rules(struct sl_policy *policy, size_t n);

/* Denies the addresses, at the ports; NULL: at every one, by every protocol. At the policy's end;
 * of no addresses there is no rule. 0 or -ENOMEM. */
int sl_kube_whole_rule(struct sl_policy *policy, const struct sl_addresses *addresses,
		       const struct sl_named_ports *ports, const char *service);

/* ---- front.c: addresses that kube-proxy changes into those of endpoints ---- */

/* A ready endpoint: its address, and its own port. */
struct sl_kube_endpoint {
	struct sl_cidr address;
	__u16 port;
};

/* An address and port of a Service. */
struct sl_kube_front {
	const struct sl_kube_service *service;
	struct sl_cidr address;
	struct sl_named_port port;	/* its number at that address */
	/* Nobody else has the address. Else it is a load balancer's, an externalIP, or the node's
	 * own, and not every packet to it comes to an endpoint. */
	bool is_cluster_ip;
	struct sl_kube_endpoint *ready;	/* owned: those of the address's family */
	size_t n_ready;
	size_t mixed;			/* so many of them are denied, and others are not; 0: all or none */
	const struct sl_kube_endpoint *example;
};

struct sl_kube_fronts {
	const struct sl_kube *kube;
	const struct sl_kube_pod *pod;
	struct sl_kube_front *list;	/* owned */
	size_t n;
	bool *whole;			/* owned; by kube->services: what is in list of it does not count */
	size_t n_whole;
};

#define SL_KUBE_SERVICE_FRONTS 4096u	/* of one Service: addresses by ports */
#define SL_KUBE_FRONTS_WEIGHT (1u << 22) /* of all together, in endpoints: 84 MB */

/* All that the pod may meet, NodePorts at its own node's addresses. A Service of more than is looked
 * at port by port is one of the whole (a warning). Zeroed before; to be freed in any case. 0 or
 * -ENOMEM. */
int sl_kube_fronts_make(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			struct sl_kube_fronts *fronts);
void sl_kube_fronts_free(struct sl_kube_fronts *fronts);

/* What the clauses say about the endpoints, as rules, behind what stands in policy; Services of which
 * too many follow are ones of the whole from here on. 0 or -ENOMEM. */
int sl_kube_emit_fronts(struct sl_kube_fronts *fronts, struct sl_clauses *clauses,
			struct sl_policy *policy);
/* 64:ff9b::10.0.0.1 is 10.0.0.1, as a packet to it is judged. */
struct sl_cidr sl_kube_judged(const struct sl_cidr *address);
/* Of each front of which some ready endpoints are denied, and some are not; once. */
void sl_kube_warn_mixed(struct sl_kube_fronts *fronts);

/* ---- front_whole.c: Services of too many addresses, ports and endpoints ---- */

/* weights are by kube->services. The largest are taken as ones of the whole, each with a warning,
 * until the others together are at most bound. 0 or -ENOMEM. */
int sl_kube_take_largest(struct sl_kube_fronts *fronts, const size_t *weights, size_t bound);
/* The rules that follow for fronts, by Service: in the order of the fronts. */
struct sl_kube_tally {
	size_t *weights;		/* owned; by kube->services */
	size_t sum;
	const struct sl_kube_front *last;
};

/* For one pod of what EgressPolicies say, and as many of what NetworkPolicies do. A policy that
 * knows more than 65,535 addresses apart does not compile: twice 26,214 leave room for others. */
#define SL_KUBE_FRONT_RULES (1u << 17)
#define SL_KUBE_FRONT_ADDRESS 5u /* the first rule of an address counts as */

/* Counts another. false: that is too many, and it need not be made. */
bool sl_kube_count_rule(const struct sl_kube_fronts *fronts, const struct sl_kube_front *front,
			struct sl_kube_tally *tally);
bool sl_kube_is_whole(const struct sl_kube_fronts *fronts, const struct sl_kube_front *front);
/* Nobody knows which of their endpoints are denied: their addresses are, at the policy's end. 0 or
 * -ENOMEM. */
int sl_kube_emit_whole(const struct sl_kube_fronts *fronts, struct sl_policy *policy);
/* The same before the policy's first deny, which one of their endpoints may meet. */
int sl_kube_insert_whole(const struct sl_kube_fronts *fronts, struct sl_policy *policy);

/* ---- front_own.c ---- */

/* The policy holds what EgressPolicies say: each deny that an endpoint meets becomes one of what
 * is in front of it too, at its place. 0 or -ENOMEM. */
int sl_kube_own_fronts(struct sl_kube_fronts *fronts, const struct sl_clauses *clauses,
		       struct sl_policy *policy);

/* ---- rules.c ---- */

/* Does the match hold for the port, whatever the address and whoever sends? */
bool sl_kube_match_is_for(const struct sl_match *match, int protocol, __u16 port);
/* It holds for some users, or until some time. */
bool sl_kube_is_conditional(const struct sl_rule *rule, const struct sl_match *match);
/* Do the first n rules deny it, to some or for a while at least? own_sets: so they may by a set that is
 * the pod's own (@gateway), whatever the address. */
bool sl_kube_may_deny(const struct sl_policy *policy, size_t n, const struct sl_cidr *address,
		      int protocol, __u16 port, bool own_sets);
/* 0 or -ENOMEM. */
int sl_kube_copy_uids(const struct sl_match *from, struct sl_match *to);

/* ---- application.c: a pod's own policy, by its annotation ---- */

/* 0 and *out, owned by the caller, NULL: it has none; -EINVAL (reported), -ENOMEM. */
int sl_kube_application(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			struct sl_policy **out);
bool sl_kube_application_allows(const struct sl_policy *application, const struct sl_cidr *address,
				int protocol, __u16 port);
/* Its rules, which it gives away, behind what stands in policy, whose default is its own then.
 * is_selected: by an EgressPolicy. -EINVAL (reported): it has no right to. */
int sl_kube_application_emit(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			     const struct sl_clauses *clauses, bool is_selected,
			     struct sl_policy *policy);

/* ---- dns.c ---- */

/* The resolv.conf that the kubelet will make for the pod, as far as it is known before; owned by
 * the caller. NULL: it is not. 0 or -ENOMEM. */
int sl_kube_expected_conf(const struct sl_kube *kube, const struct sl_kube_pod *pod, char **text);

/* ---- own.c ---- */

/* The EgressPolicies that select the pod, into policy. *n tells how many. */
int sl_kube_merge_own(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		      const struct sl_clauses *clauses, struct sl_policy *policy, size_t *n);
/* Each written id is there once: of two the later gets a number. 0 or -ENOMEM. */
int sl_kube_distinguish_ids(struct sl_policy *policy);
/* As sl_kube_merge_own, of ClusterEgressPolicies alone. */
int sl_kube_merge_cluster(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			  struct sl_policy *policy, size_t *n);

#endif
