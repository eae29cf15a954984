// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A text's objects: which there are, and pods and namespaces themselves. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "objects.h"
#include "policy/address.h"
#include "policy/text.h"

/* ---- values ---- */

/* Four numbers between dots, of which those with a leading zero are of the base. */
static bool read_numbers(const char *text, int base, struct sl_cidr *cidr)
{
	*cidr = (struct sl_cidr){.family = 4, .len = 32};
	for (int i = 0; i < 4; i++) {
		char *end;
		unsigned long n = strtoul(text, &end, *text == '0' ? base : 10);

		if (end == text || n > 255 || *end != (i < 3 ? '.' : '\0'))
			return false;
		cidr->addr[i] = (__u8)n;
		text = end + 1;
	}
	return true;
}

/* The API server takes 10.0.0.010 and reads ten, and iptables, to which kube-proxy hands the text,
 * reads eight. It may be either, so it is both. 1: it is no such text. */
static int add_with_zeros(const char *text, struct sl_addresses *list)
{
	struct sl_cidr cidr;
	int err;

	if (text[strspn(text, "0123456789.")] || !read_numbers(text, 10, &cidr))
		return 1;
	err = sl_address_add(list, &cidr);
	return !err && read_numbers(text, 8, &cidr) ? sl_address_add(list, &cidr) : err;
}

/* ::ffff:10.0.0.1 is an IPv4 address to the API server, and 64:ff9b::10.0.0.1 an IPv6 address as others
 * are. 1: it is neither. */
static int add_ipv6(const char *text, struct sl_addresses *list)
{
	struct sl_cidr cidr = {.family = 6, .len = 128};
	struct in6_addr address;

	if (inet_pton(AF_INET6, text, &address) != 1)
		return 1;
	if (IN6_IS_ADDR_V4MAPPED(&address)) {
		cidr = (struct sl_cidr){.family = 4, .len = 32};
		memcpy(cidr.addr, &address.s6_addr[12], 4);
	} else {
		memcpy(cidr.addr, &address, sizeof(address));
	}
	return sl_address_add(list, &cidr);
}

/* ::ffff:10.0.0.010: as 10.0.0.010. */
static int add_tail(const char *text, int base, struct sl_addresses *list)
{
	const char *colon = strrchr(text, ':');
	char plain[2 * INET6_ADDRSTRLEN];
	struct sl_cidr tail;

	if (!colon || colon - text >= INET6_ADDRSTRLEN || !read_numbers(colon + 1, base, &tail))
		return 1;
	snprintf(plain, sizeof(plain), "%.*s:%u.%u.%u.%u", (int)(colon - text), text, tail.addr[0],
		 tail.addr[1], tail.addr[2], tail.addr[3]);
	return add_ipv6(plain, list);
}

int sl_kube_address(const struct sl_node *node, struct sl_addresses *list, struct sl_diag *diag)
{
	const char *text = sl_node_string(node, "an address", diag);
	struct sl_cidr cidr;
	int err;

	if (!text)
		return -EINVAL;
	err = add_with_zeros(text, list);
	if (err > 0)
		err = add_ipv6(text, list);
	if (err > 0) {
		err = add_tail(text, 10, list);
		if (!err && add_tail(text, 8, list) < 0)
			err = -ENOMEM;
	}
	if (err <= 0)
		return err;
	if (sl_address_read(text, strlen(text), &node->event.pos, &cidr, diag))
		return -EINVAL;
	return sl_address_add(list, &cidr);
}

struct numbered {
	struct sl_cidr cidr;
	size_t at;
};

static int compare_numbered(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;
	int order = memcmp(&x->cidr, &y->cidr, sizeof(x->cidr));

	return order ? order : (x->at > y->at) - (x->at < y->at);
}

int sl_kube_addresses_once(struct sl_addresses *list)
{
	struct numbered *order = calloc(list->n + 1, sizeof(*order));
	size_t kept = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < list->n; i++)
		order[i] = (struct numbered){list->list[i], i};
	qsort(order, list->n, sizeof(*order), compare_numbered);
	for (size_t i = 1; i < list->n; i++)
		if (!memcmp(&order[i].cidr, &order[i - 1].cidr, sizeof(order->cidr)))
			list->list[order[i].at].family = 0;
	free(order);
	for (size_t i = 0; i < list->n; i++)
		if (list->list[i].family)
			list->list[kept++] = list->list[i];
	list->n = kept;
	return 0;
}

int sl_kube_protocol(const struct sl_node *port, int *protocol, struct sl_diag *diag)
{
	const struct sl_node *value = sl_node_get(port, "protocol");

	*protocol = IPPROTO_TCP;
	if (!value || sl_node_is(value, "TCP"))
		return 0;
	if (sl_node_is(value, "UDP"))
		*protocol = IPPROTO_UDP;
	else if (sl_node_is(value, "SCTP"))
		*protocol = IPPROTO_SCTP;
	else
		return sl_node_wrong(value, "protocol: TCP, UDP or SCTP is wanted", diag);
	return 0;
}

int sl_kube_number(const struct sl_node *node, const char *what, __u16 *number,
		   struct sl_diag *diag)
{
	char want[80];
	__u64 n;

	if (node->event.type == SL_YAML_SCALAR && node->event.plain &&
	    sl_text_number(node->event.scalar, node->event.scalar_len, 65535, &n) && n) {
		*number = (__u16)n;
		return 0;
	}
	snprintf(want, sizeof(want), "%s: a number from 1 to 65535 is wanted", what);
	return sl_node_wrong(node, want, diag);
}

int sl_kube_ports(const struct sl_node *list, const char *key, struct sl_named_ports *ports,
		  struct sl_diag *diag)
{
	sl_node_each(item, list) {
		const struct sl_node *number = sl_node_get(item, key);
		struct sl_named_port port = {.name = sl_node_text(item, "name", diag)};
		struct sl_named_port *slot;

		if (item->event.type != SL_YAML_MAP)
			return sl_node_wrong(item, "a port as a mapping is wanted", diag);
		if (!number)
			continue;
		if (sl_kube_protocol(item, &port.protocol, diag) ||
		    sl_kube_number(number, key, &port.port, diag))
			return -EINVAL;
		slot = SL_ADD(ports->list, ports->n);
		if (!slot)
			return -ENOMEM;
		*slot = port;
	}
	return 0;
}

/* name, namespace (`default` if there is none) and labels. */
static int read_metadata(struct sl_kube *kube, const struct sl_node *node, bool namespaced,
			 struct sl_object *object)
{
	const struct sl_node *metadata = sl_node_map(node, "metadata", kube->diag);
	const char *name = sl_node_text(metadata, "name", kube->diag);

	object->pos = node->event.pos;
	if (!name || !*name)
		return sl_error(kube->diag, &object->pos, "an object without metadata.name: which "
				"one is it?");
	object->name = name;
	object->namespace = namespaced ? sl_node_text(metadata, "namespace", kube->diag) : NULL;
	if (namespaced && !object->namespace)
		object->namespace = "default";
	return sl_labels_read(sl_node_map(metadata, "labels", kube->diag), &object->labels,
			      kube->diag);
}

/* ---- pods ---- */

/* ONE.ip and MANY[].ip of the status. */
static int read_ips(const struct sl_node *status, const char *one, const char *many,
		    struct sl_addresses *list, struct sl_diag *diag)
{
	const struct sl_node *ip = sl_node_get(status, one);
	int err = ip && !sl_node_is(ip, "") ? sl_kube_address(ip, list, diag) : 0;

	sl_node_each(item, sl_node_list(status, many, diag)) {
		ip = sl_node_get(item, "ip");
		if (!err && ip)
			err = sl_kube_address(ip, list, diag);
	}
	return err ? err : sl_kube_addresses_once(list);
}

/* An init container that goes on running is one of the pod's (a sidecar). */
static int read_containers(const struct sl_node *list, bool init, struct sl_named_ports *ports,
			   struct sl_diag *diag)
{
	int err = 0;

	sl_node_each(item, list) {
		if (init && !sl_node_is(sl_node_get(item, "restartPolicy"), "Always"))
			continue;
		if (!err)
			err = sl_kube_ports(sl_node_list(item, "ports", diag), "containerPort",
					    ports, diag);
	}
	return err;
}

/* Not more than words: what is none of a resolv.conf's is passed over when that is read. */
static int read_texts(const struct sl_node *list, struct sl_words *texts)
{
	sl_node_each(item, list) {
		const char **slot;

		if (item->event.type != SL_YAML_SCALAR)
			continue;
		slot = SL_ADD(texts->list, texts->n);
		if (!slot)
			return -ENOMEM;
		*slot = item->event.scalar;
	}
	return 0;
}

static int read_dns(const struct sl_node *spec, struct sl_kube_pod *pod, struct sl_diag *diag)
{
	const struct sl_node *config = sl_node_map(spec, "dnsConfig", diag);
	int err = read_texts(sl_node_list(config, "nameservers", diag), &pod->nameservers);

	pod->dns_policy = sl_node_text(spec, "dnsPolicy", diag);
	return err ? err : read_texts(sl_node_list(config, "searches", diag), &pod->searches);
}

/* A static pod has on its node the uid that its kubelet has made, a hash of 32 digits, which the
 * API server's copy of it (its mirror) has as an annotation. Whoever may make pods can write
 * that of others: no uid that the API server gives has this form. */
static void read_uid(const struct sl_node *metadata, const struct sl_node *annotations,
		     struct sl_kube_pod *pod, struct sl_diag *diag)
{
	const char *mirrored = sl_node_text(annotations, "kubernetes.io/config.mirror", diag);

	pod->mirror = mirrored && strlen(mirrored) == 32 &&
		      strspn(mirrored, "0123456789abcdef") == 32;
	pod->uid = pod->mirror ? mirrored : sl_node_text(metadata, "uid", diag);
}

/* RFC 3339 in UTC, as the API server writes it; 0: another text. */
static __s64 read_time(const char *text)
{
	struct tm tm = {};
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

	return end && (*end == 'Z' || *end == '.') ? timegm(&tm) : 0;
}

static int read_pod(struct sl_kube *kube, const struct sl_node *node, struct sl_kube_pod *pod)
{
	struct sl_diag *diag = kube->diag;
	const struct sl_node *spec = sl_node_map(node, "spec", diag);
	const struct sl_node *status = sl_node_map(node, "status", diag);
	const struct sl_node *phase = sl_node_get(status, "phase");
	const struct sl_node *metadata = sl_node_map(node, "metadata", diag);
	const struct sl_node *annotations = sl_node_map(metadata, "annotations", diag);
	int err;

	read_uid(metadata, annotations, pod, diag);
	pod->application = sl_node_text(annotations, SL_KUBE_APPLICATION, diag);
	pod->created_s = read_time(sl_node_text(metadata, "creationTimestamp", diag));
	pod->started_s = read_time(sl_node_text(status, "startTime", diag));
	pod->node_name = sl_node_text(spec, "nodeName", diag);
	pod->host_network = sl_node_bool(spec, "hostNetwork", diag);
	pod->ended = sl_node_is(phase, "Succeeded") || sl_node_is(phase, "Failed");
	err = read_dns(spec, pod, diag);
	if (!err)
		err = read_containers(sl_node_list(spec, "containers", diag), false, &pod->ports, diag);
	if (!err)
		err = read_containers(sl_node_list(spec, "initContainers", diag), true,
				      &pod->ports, diag);
	if (!err)
		err = read_ips(status, "podIP", "podIPs", &pod->own, diag);
	return err ? err : read_ips(status, "hostIP", "hostIPs", &pod->node, diag);
}

/* ---- objects ---- */

const struct sl_kube_kind_name sl_kube_kinds[SL_KUBE_KINDS] = {
	[SL_KUBE_NAMESPACE] = {"v1", "Namespace"},
	[SL_KUBE_POD] = {"v1", "Pod"},
	[SL_KUBE_NETPOL] = {"networking.k8s.io/v1", "NetworkPolicy"},
	[SL_KUBE_SERVICE] = {"v1", "Service"},
	[SL_KUBE_SLICE] = {"discovery.k8s.io/v1", "EndpointSlice"},
	[SL_KUBE_ENDPOINTS] = {"v1", "Endpoints"},
	[SL_KUBE_OWN] = {"sluice.dev/v1alpha1", "EgressPolicy"},
	[SL_KUBE_CLUSTER_OWN] = {"sluice.dev/v1alpha1", "ClusterEgressPolicy"},
};

/* Appends an object of the kind; NULL: no memory. */
static struct sl_object *append(struct sl_kube *kube, enum sl_kube_kind kind)
{
#define OBJECT_OF(array)                                                           \
	({                                                                         \
		typeof(kube->array) slot_ = SL_ADD(kube->array, kube->n_##array);  \
		slot_ ? &slot_->object : NULL;                                     \
	})
	switch (kind) {
	case SL_KUBE_NAMESPACE:
		sl_kube_namespaces_change(kube);
		return SL_ADD(kube->namespaces, kube->n_namespaces);
	case SL_KUBE_POD:
		return OBJECT_OF(pods);
	case SL_KUBE_NETPOL:
		return OBJECT_OF(netpols);
	case SL_KUBE_SERVICE:
		return OBJECT_OF(services);
	default:
		return OBJECT_OF(own);
	}
#undef OBJECT_OF
}

/* Two files may hold the same object, one of them out of date. */
static int check_once(struct sl_kube *kube, enum sl_kube_kind kind, const struct sl_object *object)
{
	const char *namespace = object->namespace ? object->namespace : "";
	unsigned earlier;
	char *text = NULL, **slot = SL_ADD(kube->texts, kube->n_texts);
	int found;

	if (!slot || asprintf(&text, "%s %s/%s", sl_kube_kinds[kind].kind, namespace, object->name) < 0)
		return -ENOMEM;
	*slot = text;
	found = sl_names_add(&kube->names, text, object->pos.line, &earlier);
	if (found > 0)
		return sl_error(kube->diag, &object->pos, "%s stands in line %u already", text,
				earlier);
	return found;
}

int sl_kube_read_kind(struct sl_kube *kube, const struct sl_node *node, enum sl_kube_kind kind)
{
	struct sl_object endpoints = {}, *object = &endpoints;
	int err;

	if (kind != SL_KUBE_SLICE && kind != SL_KUBE_ENDPOINTS)
		object = append(kube, kind);
	if (!object)
		return -ENOMEM;
	object->record = kube->record;
	err = read_metadata(kube, node, kind != SL_KUBE_NAMESPACE && kind != SL_KUBE_CLUSTER_OWN,
			    object);
	if (!err && !kube->record)
		err = check_once(kube, kind, object);
	if (err)
		goto out;
	/* object is the first member of each */
	if (kind == SL_KUBE_NAMESPACE)
		err = sl_labels_default(&object->labels, "kubernetes.io/metadata.name", object->name);
	else if (kind == SL_KUBE_POD)
		err = read_pod(kube, node, (struct sl_kube_pod *)object);
	else if (kind == SL_KUBE_NETPOL)
		err = sl_kube_read_netpol(kube, node, (struct sl_kube_netpol *)object);
	else if (kind == SL_KUBE_SERVICE)
		err = sl_kube_read_service(kube, node, (struct sl_kube_service *)object);
	else if (kind == SL_KUBE_OWN || kind == SL_KUBE_CLUSTER_OWN)
		err = sl_kube_read_own(kube, node, (struct sl_kube_own *)object);
	else
		err = sl_kube_read_endpoints(kube, node, object, kind == SL_KUBE_SLICE);
out:
	sl_labels_free(&endpoints.labels);
	return err;
}

/* `GROUP/VERSION`, or `VERSION` of the core's own group. */
static bool same_group(const char *a, const char *b)
{
	size_t n = strchr(a, '/') ? strcspn(a, "/") : 0;

	return n == (strchr(b, '/') ? strcspn(b, "/") : 0) && !strncmp(a, b, n);
}

/* Policies of another kind, or of another version, change what a pod reaches. */
static int pass_over(struct sl_kube *kube, const struct sl_node *node, const char *kind,
		     const char *version)
{
	const char *wanted = NULL;

	for (size_t i = 0; i < SL_KUBE_KINDS; i++)
		if (!strcmp(kind, sl_kube_kinds[i].kind))
			wanted = sl_kube_kinds[i].version;
	if (wanted && same_group(version, wanted))
		return sl_error(kube->diag, &node->event.pos, "%s of %s is not read, only that of "
				"%s", kind, version, wanted);
	if (strstr(kind, "EgressPolicy") || strstr(kind, "NetworkPolicy"))
		return sl_error(kube->diag, &node->event.pos, "%s of %s is not read, and may change "
				"what the pod reaches: take it out if it does not", kind, version);
	return 0;
}

static int read_object(struct sl_kube *kube, const struct sl_node *node);

static int read_items(struct sl_kube *kube, const struct sl_node *items)
{
	int err = 0, worst = 0;

	sl_node_each(item, items) {
		err = read_object(kube, item);
		if (err && worst != -ENOMEM)
			worst = err;
	}
	return worst;
}

static int read_object(struct sl_kube *kube, const struct sl_node *node)
{
	const char *version, *kind;

	if (node->event.type != SL_YAML_MAP)
		return sl_node_wrong(node, "an object of Kubernetes is wanted, with apiVersion and "
				     "kind", kube->diag);
	version = sl_node_text(node, "apiVersion", kube->diag);
	kind = sl_node_text(node, "kind", kube->diag);
	if (!version || !kind)
		return sl_error(kube->diag, &node->event.pos, "an object of Kubernetes has "
				"apiVersion and kind");
	if (strlen(kind) >= 4 && !strcmp(kind + strlen(kind) - 4, "List"))
		return read_items(kube, sl_node_list(node, "items", kube->diag));
	for (size_t i = 0; i < SL_KUBE_KINDS; i++)
		if (!strcmp(kind, sl_kube_kinds[i].kind) && !strcmp(version, sl_kube_kinds[i].version))
			return sl_kube_read_kind(kube, node, (enum sl_kube_kind)i);
	return pass_over(kube, node, kind, version);
}

int sl_kube_add(struct sl_kube *kube, const char *text, size_t len, const char *file)
{
	struct sl_tree *tree = calloc(1, sizeof(*tree)), **slot = NULL;
	size_t errors = kube->diag->n_errors;
	int err, worst = 0;

	if (tree)
		slot = SL_ADD(kube->trees, kube->n_trees);
	if (!slot) {
		free(tree);
		return -ENOMEM;
	}
	*slot = tree;
	err = sl_tree_read(text, len, sl_diag_intern(kube->diag, file), tree, kube->diag);
	if (err)
		return err;
	for (const struct sl_node *node = tree->nodes; node < tree->nodes + tree->n;
	     node = sl_node_next(node)) {
		err = sl_node_is_null(node) ? 0 : read_object(kube, node);
		if (err && worst != -ENOMEM)
			worst = err;
	}
	return worst ? worst : kube->diag->n_errors > errors ? -EINVAL : 0;
}
