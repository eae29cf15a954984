// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What the NetworkPolicies of a pod allow. They add up, so each rule becomes clauses that
 * allow and none that denies: what `except` leaves out is cut out of the block, where
 * a deny would take it from the other policies too.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/text.h"

static int add_prefixes(struct sl_prefixes *prefixes, bool any, const struct sl_addresses *hosts,
			unsigned what)
{
	static const struct sl_cidr all = {};
	int err = any ? sl_prefixes_add(prefixes, &all, 0, what) : 0;

	for (size_t i = 0; i < hosts->n && !any && !err; i++)
		err = sl_prefixes_add(prefixes, &hosts->list[i], 0, what);
	return err;
}

bool sl_kube_asks_for_pods(const struct sl_kube_egress *egress)
{
	for (size_t i = 0; i < egress->n_peers; i++)
		if (!egress->peers[i].is_block)
			return true;
	for (size_t i = 0; i < egress->n_ports; i++)
		if (egress->ports[i].name)
			return true;
	return false;
}

/* ---- clauses ---- */

static struct sl_clause *add_clause(struct sl_clauses *clauses,
				    const struct sl_kube_netpol *netpol, size_t rule, int protocol)
{
	struct sl_clause *clause = SL_ADD(clauses->list, clauses->n);

	if (clause) {
		clause->netpol = netpol;
		clause->rule = rule;
		clause->protocol = protocol;
	}
	return clause;
}

/* -ENOSPC: the pod's clauses would have too many. */
static int copy_hosts(struct sl_clauses *clauses, struct sl_clause *clause, bool any,
		      const struct sl_addresses *hosts)
{
	int err = 0;

	clause->any = any;
	if (any)
		return 0;
	if (hosts->n > SL_KUBE_HOSTS - clauses->n_hosts)
		return -ENOSPC;
	clauses->n_hosts += hosts->n;
	for (size_t i = 0; i < hosts->n && !err; i++)
		err = sl_address_add(&clause->hosts, &hosts->list[i]);
	return err;
}

static int add_port(struct sl_clause *clause, __u16 low, __u16 high)
{
	struct sl_port_range *range = SL_ADD(clause->ports, clause->n_ports);

	if (!range)
		return -ENOMEM;
	*range = (struct sl_port_range){low, high};
	return 0;
}

static int compare_ports(const void *a, const void *b)
{
	const struct sl_port_range *x = a, *y = b;

	return x->low != y->low ? x->low - y->low : x->high - y->high;
}

static void sort_ports(struct sl_clause *clause)
{
	size_t kept = 0;

	if (clause->n_ports)
		qsort(clause->ports, clause->n_ports, sizeof(*clause->ports), compare_ports);
	for (size_t i = 0; i < clause->n_ports; i++)
		if (!kept || compare_ports(&clause->ports[i], &clause->ports[kept - 1]))
			clause->ports[kept++] = clause->ports[i];
	clause->n_ports = kept;
}

struct rule {
	struct sl_clauses *clauses;
	const struct sl_kube_netpol *netpol;
	const struct sl_kube_egress *egress;
	size_t number;			/* in netpol */
	bool any;
	struct sl_addresses hosts;	/* owned */
};

/* The ports of one protocol that are numbers, in one clause. */
static int number_clause(struct rule *r, int protocol)
{
	struct sl_clause *clause = NULL;
	bool every = false;
	int err = 0;

	for (size_t i = 0; i < r->egress->n_ports && !err; i++) {
		const struct sl_kube_port *port = &r->egress->ports[i];

		if (port->protocol != protocol || port->name)
			continue;
		if (!clause) {
			clause = add_clause(r->clauses, r->netpol, r->number, protocol);
			err = clause ? copy_hosts(r->clauses, clause, r->any, &r->hosts) : -ENOMEM;
		}
		every = every || !port->low;
		if (!err && port->low)
			err = add_port(clause, port->low, port->high);
	}
	if (clause && every)
		clause->n_ports = 0;
	if (clause)
		sort_ports(clause);
	return err;
}

/* A clause for each port that pods call by a name of the rule's. */
static int add_named(struct rule *r, const struct sl_named_hosts *hosts)
{
	const struct sl_named_host *before = NULL;
	struct sl_clause *clause = NULL;
	int err = 0;

	if (hosts->n > SL_KUBE_HOSTS - r->clauses->n_hosts)
		return -ENOSPC;
	r->clauses->n_hosts += hosts->n;
	for (size_t i = 0; i < hosts->n && !err; i++) {
		const struct sl_named_host *host = &hosts->list[i];

		if (!before || host->protocol != before->protocol || host->port != before->port) {
			clause = add_clause(r->clauses, r->netpol, r->number, host->protocol);
			err = clause ? add_port(clause, host->port, host->port) : -ENOMEM;
		}
		if (!err)
			err = sl_address_add(&clause->hosts, host->address);
		before = host;
	}
	return err;
}

static int named_clauses(const struct sl_kube *kube, struct rule *r)
{
	struct sl_prefixes index = {};
	struct sl_named_hosts hosts = {};
	int err = add_prefixes(&index, false, &r->hosts, 0);

	if (!err)
		err = sl_prefixes_sort(&index);
	if (!err)
		err = sl_kube_find_named(kube, r->egress, r->any ? NULL : &index, &hosts);
	if (!err)
		err = add_named(r, &hosts);
	free(hosts.list);
	sl_prefixes_free(&index);
	return err;
}

static int add_ports(const struct sl_kube *kube, struct rule *r)
{
	static const int protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
	struct sl_clause *clause;
	int err = 0;

	if (!r->egress->n_ports) {
		clause = add_clause(r->clauses, r->netpol, r->number, SL_PROTOCOL_ANY);
		return clause ? copy_hosts(r->clauses, clause, r->any, &r->hosts) : -ENOMEM;
	}
	for (size_t i = 0; i < 3 && !err; i++)
		err = number_clause(r, protocols[i]);
	for (size_t i = 0; i < r->egress->n_ports && !err; i++)
		if (r->egress->ports[i].name)
			return named_clauses(kube, r);
	return err;
}

static int check_asked(const struct sl_kube *kube, const struct sl_kube_netpol *netpol,
		       const struct sl_kube_egress *egress, struct sl_clauses *clauses)
{
	for (size_t i = 0; i < egress->n_peers; i++)
		clauses->n_asked += egress->peers[i].is_block ? 0 : kube->n_pods;
	if (clauses->n_asked <= SL_KUBE_ASKED)
		return 0;
	return sl_error(kube->diag, &egress->pos, "the NetworkPolicies of one pod have so many selectors, with "
			"those of this rule of %s/%s, that more than %u pods would have to be looked at: put "
			"values of a label into one selector (In)", netpol->object.namespace,
			netpol->object.name, SL_KUBE_ASKED);
}

static int add_rule(const struct sl_kube *kube, const struct sl_kube_netpol *netpol,
		    size_t number, struct sl_clauses *clauses)
{
	const struct sl_kube_egress *egress = &netpol->egress[number];
	struct rule r = {.clauses = clauses, .netpol = netpol, .egress = egress, .number = number,
			 .any = !egress->n_peers};
	int err;

	if (kube->partial && sl_kube_asks_for_pods(egress))
		return sl_error(kube->diag, &egress->pos, "it asks for pods of other nodes, and they "
				"are not known (yet)");
	err = check_asked(kube, netpol, egress, clauses);
	if (!err)
		err = sl_kube_peers(kube, netpol, egress, &r.hosts);

	/* peers without one address: nothing, where no peers would be everything */
	if (!err && (r.any || r.hosts.n))
		err = add_ports(kube, &r);
	if (err == -ENOSPC)
		err = sl_error(kube->diag, &egress->pos, "the NetworkPolicies of one pod choose more than "
			       "%u addresses in all, with those of this rule of %s/%s: put peers of "
			       "the same ports into one rule", SL_KUBE_HOSTS, netpol->object.namespace,
			       netpol->object.name);
	free(r.hosts.list);
	return err;
}

/* What no policy can take from a pod. */
static int add_always(const char *why, const struct sl_addresses *hosts,
		      struct sl_clauses *clauses)
{
	struct sl_clause *clause;

	if (!hosts->n)
		return 0;
	clause = add_clause(clauses, NULL, 0, SL_PROTOCOL_ANY);
	if (!clause)
		return -ENOMEM;
	clause->why = why;
	return copy_hosts(clauses, clause, false, hosts);
}

static int add_all_always(const struct sl_kube_pod *pod, struct sl_clauses *clauses)
{
	struct sl_cidr loopback[] = {{.family = 4, .len = 8, .addr = {127}},
				     {.family = 6, .len = 128, .addr = {[15] = 1}}};
	struct sl_addresses list = {loopback, 2};
	int err = add_always("loopback", &list, clauses);

	if (!err)
		err = add_always("self", &pod->own, clauses);
	return err ? err : add_always("node", &pod->node, clauses);
}

static void warn_replaced(const struct sl_kube *kube, const struct sl_kube_netpol *netpol,
			  const struct sl_kube_pod *pod)
{
	sl_warn(kube->diag, &netpol->object.pos, "NetworkPolicy %s/%s selects %s, whose annotation "
		SL_KUBE_APPLICATION " takes its place: added up, as NetworkPolicies are, what it "
		"allows would pass too", netpol->object.namespace, netpol->object.name,
		pod->object.name);
}

int sl_clauses_make(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		    struct sl_clauses *clauses)
{
	int err = add_all_always(pod, clauses);

	clauses->selected = clauses->application;
	for (size_t i = 0; i < kube->n_netpols && !err; i++) {
		const struct sl_kube_netpol *netpol = &kube->netpols[i];

		if (!netpol->governs_egress || pod->host_network ||
		    strcmp(netpol->object.namespace, pod->object.namespace) ||
		    !sl_selector_matches(&netpol->pods, &pod->object.labels))
			continue;
		clauses->selected = true;
		if (clauses->application) {
			clauses->replaced++;
			warn_replaced(kube, netpol, pod);
			continue;
		}
		for (size_t rule = 0; rule < netpol->n_egress && !err; rule++)
			err = add_rule(kube, netpol, rule, clauses);
	}
	return err;
}

static bool port_among(const struct sl_clause *clause, __u16 port)
{
	for (size_t i = 0; i < clause->n_ports; i++)
		if (port >= clause->ports[i].low && port <= clause->ports[i].high)
			return true;
	return !clause->n_ports;
}

int sl_clauses_index(struct sl_clauses *clauses)
{
	int err = 0;

	for (size_t i = 0; i < clauses->n && !err; i++)
		err = add_prefixes(&clauses->hosts, clauses->list[i].any, &clauses->list[i].hosts,
				   (unsigned)i);
	return err ? err : sl_prefixes_sort(&clauses->hosts);
}

/* What no policy can take from a pod is in the list, whatever its policy is. */
bool sl_clauses_allow(const struct sl_clauses *clauses, const struct sl_cidr *address,
		      int protocol, __u16 port)
{
	struct sl_prefix_run runs[SL_PREFIX_RUNS];
	size_t n = sl_prefixes_find(&clauses->hosts, address, 0, runs);

	for (size_t i = 0; i < n; i++)
		for (const unsigned *at = runs[i].at; at < runs[i].end; at++) {
			const struct sl_clause *clause = &clauses->list[*at];

			if ((clause->protocol == SL_PROTOCOL_ANY || clause->protocol == protocol) &&
			    port_among(clause, port))
				return true;
		}
	return clauses->application &&
	       sl_kube_application_allows(clauses->application, address, protocol, port);
}

void sl_clauses_free(struct sl_clauses *clauses)
{
	for (size_t i = 0; i < clauses->n; i++) {
		free(clauses->list[i].hosts.list);
		free(clauses->list[i].ports);
	}
	free(clauses->list);
	sl_prefixes_free(&clauses->hosts);
	memset(clauses, 0, sizeof(*clauses));
}
