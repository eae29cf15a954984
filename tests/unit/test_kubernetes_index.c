// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Which prefixes and rules hold for an address: against a look at each of them. And what it costs that
 * a large policy meets many Services.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kubernetes/objects.h"
#include "kubernetes/rule_index.h"

static unsigned draw(unsigned below)
{
	static unsigned seed = 7;

	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % below;
}

/* Few values, so that prefixes hold one another and addresses are met; its host bits may be set. */
static struct sl_cidr draw_cidr(bool whole)
{
	static const __u8 len4[] = {0, 1, 8, 9, 24, 31, 32}, len6[] = {0, 3, 48, 64, 65, 127, 128};
	bool six = draw(2);
	struct sl_cidr cidr = {.family = six ? 6 : 4};

	for (size_t i = 0; i < (six ? 16 : 4); i++)
		cidr.addr[i] = (__u8)(draw(4) ? 0 : draw(2) ? 1 : 128);
	cidr.len = whole ? (six ? 128 : 32) : six ? len6[draw(7)] : len4[draw(7)];
	return cidr;
}

/* ---- prefixes ---- */

static bool is_among(const struct sl_prefix_run *runs, size_t n, unsigned what)
{
	for (size_t i = 0; i < n; i++)
		for (const unsigned *at = runs[i].at; at < runs[i].end; at++) {
			assert_true(at == runs[i].at || at[-1] <= *at);
			if (*at == what)
				return true;
		}
	return false;
}

static void prefixes_as_one_by_one(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct sl_prefixes prefixes = {};
		struct sl_cidr cidrs[60] = {};
		__u16 ports[60];
		unsigned n = draw(61);

		for (unsigned i = 0; i < n; i++) {
			if (draw(10)) /* else: every address */
				cidrs[i] = draw_cidr(false);
			ports[i] = (__u16)draw(3);
			assert_int_equal(sl_prefixes_add(&prefixes, &cidrs[i], ports[i], i), 0);
		}
		assert_int_equal(sl_prefixes_sort(&prefixes), 0);
		for (unsigned k = 0; k < 50; k++) {
			struct sl_prefix_run runs[SL_PREFIX_RUNS];
			struct sl_cidr asked = draw_cidr(k % 4);
			__u16 port = (__u16)draw(3);
			size_t n_runs = sl_prefixes_find(&prefixes, &asked, port, runs);

			for (unsigned i = 0; i < n; i++)
				assert_int_equal(is_among(runs, n_runs, i),
						 (!cidrs[i].family || sl_cidr_within(&asked, &cidrs[i])) &&
						 (!ports[i] || ports[i] == port));
		}
		sl_prefixes_free(&prefixes);
	}
}

/* ---- rules: a policy as merge.c leaves it ---- */

#define RULES 30
#define HOSTS 3

static struct sl_cidr in_sets[3][4];
static const struct sl_set sets[3] = {{.name = "a", .cidrs = in_sets[0], .n_cidrs = 4},
				      {.name = "b", .cidrs = in_sets[1], .n_cidrs = 4},
				      {.name = "empty"}};
static struct sl_host hosts[RULES][2][HOSTS];
static struct sl_port_range ports[RULES][2];
static int protocols[RULES][2];
static struct sl_match matches[RULES][2];
static struct sl_rule rules[RULES];
static struct sl_item items[RULES];

static void draw_host(struct sl_host *host)
{
	static const char *const words[] = {"metadata", "a", "b", "empty", "gateway", "x.org"};
	unsigned word = draw(6);

	*host = (struct sl_host){.kind = draw(8) ? SL_HOST_CIDR : SL_HOST_ANY, .cidr = draw_cidr(false)};
	if (draw(2))
		return;
	host->kind = word == 5 ? SL_HOST_NAME : SL_HOST_SET;
	host->text = (char *)words[word];
	host->set = word && word < 4 ? &sets[word - 1] : NULL;
}

static void draw_match(unsigned r, unsigned m)
{
	__u16 low = (__u16)(1 + draw(3));

	ports[r][m] = (struct sl_port_range){low, (__u16)(low + draw(2))};
	protocols[r][m] = draw(2) ? IPPROTO_TCP : IPPROTO_UDP;
	for (unsigned h = 0; h < HOSTS; h++)
		draw_host(&hosts[r][m][h]);
	matches[r][m] = (struct sl_match){.hosts = hosts[r][m], .n_hosts = 1 + draw(HOSTS),
					  .ports = &ports[r][m], .n_ports = draw(2),
					  .protocols = &protocols[r][m], .n_protocols = draw(2)};
}

static struct sl_policy draw_policy(void)
{
	for (unsigned i = 0; i < 8; i++)
		in_sets[i / 4][i % 4] = draw_cidr(false);
	for (unsigned r = 0; r < RULES; r++) {
		draw_match(r, 0);
		draw_match(r, 1);
		rules[r] = (struct sl_rule){.action = draw(2) ? SL_ALLOW : SL_DENY, .matches = matches[r],
					    .n_matches = 1 + draw(2)};
		items[r] = (struct sl_item){.rule = draw(20) ? &rules[r] : NULL};
	}
	return (struct sl_policy){.items = items, .n_items = RULES};
}

/* The address itself; *may: a name or a set that is looked up later could be it. */
static bool host_holds(const struct sl_host *host, const struct sl_cidr *asked, bool *may)
{
	static const struct sl_cidr metadata = {.family = 4, .len = 32, .addr = {169, 254, 169, 254}};
	bool holds = host->kind == SL_HOST_ANY ||
		     (host->kind == SL_HOST_CIDR && sl_cidr_within(asked, &host->cidr));

	for (size_t i = 0; host->set && i < host->set->n_cidrs; i++)
		holds = holds || sl_cidr_within(asked, &host->set->cidrs[i]);
	if (host->kind == SL_HOST_SET && !strcmp(host->text, "metadata"))
		holds = sl_cidr_within(asked, &metadata);
	*may = *may || holds || host->kind == SL_HOST_NAME ||
	       (host->kind == SL_HOST_SET && !strcmp(host->text, "gateway"));
	return holds;
}

static bool match_holds(const struct sl_match *match, const struct sl_cidr *asked, int protocol,
			__u16 port, bool *may)
{
	bool holds = false;

	if ((match->n_protocols && *match->protocols != protocol) ||
	    (match->n_ports && (port < match->ports->low || port > match->ports->high)))
		return false;
	for (size_t h = 0; h < match->n_hosts; h++)
		holds = host_holds(&match->hosts[h], asked, may) || holds;
	return holds;
}

static void ask_both(struct sl_rule_index *index, const struct sl_cidr *asked, int protocol, __u16 port)
{
	const struct sl_rule_use *use;
	size_t allows, expected = 0;

	sl_rule_index_ask(index, asked, protocol, port);
	allows = sl_rule_index_allows(index);
	use = sl_rule_index_next(index);
	for (size_t r = 0; r < RULES; r++) {
		if (!items[r].rule)
			expected = r + 1;
		for (size_t m = 0; items[r].rule && m < rules[r].n_matches; m++) {
			bool may = false, holds = match_holds(&matches[r][m], asked, protocol, port, &may);

			if (may && rules[r].action == SL_ALLOW)
				expected = r + 1;
			if (!holds)
				continue;
			assert_non_null(use);
			assert_ptr_equal(use->match, &matches[r][m]);
			assert_int_equal(use->at, r);
			while (use && use->match == &matches[r][m]) /* once for each host that holds it */
				use = sl_rule_index_next(index);
		}
	}
	assert_null(use);
	assert_int_equal(allows, expected);
}

static void rules_as_one_by_one(void **state)
{
	static const struct sl_cidr metadata = {.family = 4, .len = 32, .addr = {169, 254, 169, 254}};

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct sl_policy policy = draw_policy();
		struct sl_rule_index index = {};

		assert_int_equal(sl_rule_index_make(&index, &policy, RULES), 0);
		for (unsigned k = 0; k < 30; k++) {
			struct sl_cidr asked = k % 10 ? draw_cidr(k % 4) : metadata;

			ask_both(&index, &asked, draw(2) ? IPPROTO_TCP : IPPROTO_UDP, (__u16)(1 + draw(4)));
		}
		sl_rule_index_free(&index);
	}
}

/* ---- what it costs ---- */

#define SERVICES 300
#define ENDPOINTS 20

static void write_services(FILE *out)
{
	for (unsigned i = 0; i < SERVICES; i++) {
		fprintf(out, "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"s%u\", "
			"\"namespace\": \"shop\"}, \"spec\": {\"clusterIP\": \"10.96.%u.%u\", \"ports\": "
			"[{\"port\": 80}]}}\n---\n", i, i / 250, i % 250);
		fprintf(out, "{\"apiVersion\": \"discovery.k8s.io/v1\", \"kind\": \"EndpointSlice\", \"metadata\": "
			"{\"name\": \"s%u-x\", \"namespace\": \"shop\", \"labels\": "
			"{\"kubernetes.io/service-name\": \"s%u\"}}, \"addressType\": \"IPv4\", \"ports\": "
			"[{\"port\": 80}], \"endpoints\": [", i, i);
		for (unsigned e = 0; e < ENDPOINTS; e++)
			fprintf(out, "%s{\"addresses\": [\"10.1.%u.%u\"]}", e ? ", " : "",
				(i * ENDPOINTS + e) / 250, (i * ENDPOINTS + e) % 250);
		fprintf(out, "]}\n---\n");
	}
}

#define POD                                                                                          \
	"{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"shop\"}}\n---\n"         \
	"{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"cart\", \"namespace\": "       \
	"\"shop\"}, \"spec\": {\"containers\": [{\"name\": \"c\"}]}, \"status\": {\"podIP\": \"10.0.0.9\", "    \
	"\"hostIP\": \"192.168.0.1\"}}\n---\n"

static double cpu_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The pod's policy, with its items; *seconds of the processor. More than tail is in no text. */
static int make(void (*tail)(FILE *out), size_t *n_items, double *seconds, struct sl_diag *diag)
{
	struct sl_policy *policy = NULL;
	struct sl_kube *kube = sl_kube_new(diag);
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int err;

	assert_non_null(out);
	fputs(POD, out);
	write_services(out);
	tail(out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(sl_kube_add(kube, text, len, "objects"), 0);
	*seconds = cpu_s();
	err = sl_kube_policy(kube, "shop", "cart", &policy);
	*seconds = cpu_s() - *seconds;
	*n_items = policy ? policy->n_items : 0;
	sl_policy_free(policy);
	sl_kube_free(kube);
	free(text);
	return err;
}

#define OWN                                                                                          \
	"{\"apiVersion\": \"sluice.dev/v1alpha1\", \"kind\": \"EgressPolicy\", \"metadata\": {\"name\": \"p\", " \
	"\"namespace\": \"shop\"}, \"spec\": {\"default\": \"allow\", \"rules\": ["

static void write_rules(FILE *out)
{
	fputs(OWN, out);
	for (unsigned i = 0; i < 5000; i++)
		fprintf(out, "%s{\"%s\": \"100.%u.%u.%u:443/tcp\"}", i ? ", " : "", i % 2 ? "allow" : "deny",
			i / 62500, i / 250 % 250, i % 250);
	fputs("]}}\n", out);
}

static void write_blocks(FILE *out)
{
	fputs("{\"apiVersion\": \"networking.k8s.io/v1\", \"kind\": \"NetworkPolicy\", \"metadata\": {\"name\": \"n\", "
	      "\"namespace\": \"shop\"}, \"spec\": {\"podSelector\": {}, \"policyTypes\": [\"Egress\"], \"egress\": "
	      "[{\"to\": [", out);
	for (unsigned i = 0; i < 5000; i++)
		fprintf(out, "%s{\"ipBlock\": {\"cidr\": \"100.%u.%u.%u/32\"}}", i ? ", " : "", i / 62500,
			i / 250 % 250, i % 250);
	fputs("]}]}}\n", out);
}

/* 30 million looks at a prefix, if each endpoint is compared with each. */
static void many_rules_many_services(void **state)
{
	static void (*const tails[])(FILE *out) = {write_rules, write_blocks};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sl_diag diag = {};
		size_t n;
		double seconds;

		assert_int_equal(make(tails[i], &n, &seconds, &diag), 0);
		printf("5000 prefixes, %u Services of %u endpoints: %.0f ms\n", SERVICES, ENDPOINTS,
		       seconds * 1e3);
		assert_true(seconds < 0.5);
		sl_diag_free(&diag);
	}
}

/* ---- what follows from them is bounded ---- */

static unsigned n_users;

static void write_users(FILE *out)
{
	fputs(OWN, out);
	for (unsigned i = 0; i < n_users; i++)
		fprintf(out, "%s{\"deny\": {\"to\": \"10.0.0.0/8\", \"uid\": %u}}", i ? ", " : "", 1000 + i);
	fputs("]}}\n", out);
}

static void too_many_rules_follow(void **state)
{
	struct sl_diag diag = {};
	size_t n;
	double seconds;

	(void)state;
	n_users = 100;
	assert_int_equal(make(write_users, &n, &seconds, &diag), 0);
	assert_int_equal(n, n_users * (SERVICES + 1));
	sl_diag_free(&diag);

	/* none follows then, but one for each Service */
	n_users = SL_KUBE_FRONT_RULES + 1;
	assert_int_equal(make(write_users, &n, &seconds, &diag), 0);
	assert_int_equal(n, n_users + SERVICES);
	assert_int_equal(diag.n_errors, 0);
	assert_non_null(strstr(diag.entries[0].message, "has too many addresses"));
	sl_diag_free(&diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes_as_one_by_one),
		cmocka_unit_test(rules_as_one_by_one),
		cmocka_unit_test(many_rules_many_services),
		cmocka_unit_test(too_many_rules_follow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
