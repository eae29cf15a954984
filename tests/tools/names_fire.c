// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * names_fire [SECONDS]: names are revoked and learned at the same time. Two names share an
 * address; one thread switches between policies that allow both, either or neither (so each
 * goes first), two ask for the names and answer, without pause, two connect to the address.
 * All through the device programs (BPF_PROG_TEST_RUN), with a state of its own.
 *
 * What became of every frame must be what one of the policies says that were in force
 * meanwhile: no connection by a name that is revoked, none refused while a name that allows it
 * owns the address. At rest the last policy alone counts.
 *
 * The last line is `switches N, lessons N, connections N, wrong N`; exit 1 if wrong.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compile/compile.h"
#include "kernel/state.h"
#include "resolve/resolve.h"

#define LOOPBACK 1		/* the interface of a test run */
#define PASS (-1)		/* TCX_NEXT */
#define ME 0xc0000201u		/* 192.0.2.1 */
#define RESOLVER 0xc0000235u	/* 192.0.2.53 */
#define SHARED 0xcb007107u	/* 203.0.113.7 */
#define PORTS 1500		/* local ones of a connecting thread */

enum { NAME_A = 1, NAME_B = 2, BOTH = 3, N_POLICIES = 4 };

/* By the names that it allows; each name has a port of its own, 3000 is of both. */
static const char *const rules[N_POLICIES] = {
	"  - allow: {to: other.example, ports: 1}\n",
	"  - allow: {to: a.example, ports: [1000, 3000]}\n",
	"  - allow: {to: \"*.b.example\", ports: [2000, 3000]}\n",
	"  - allow: {to: a.example, ports: [1000, 3000]}\n"
	"  - allow: {to: \"*.b.example\", ports: [2000, 3000]}\n",
};

/* Both names go, in either order, and come back. */
static const __u8 turns[] = {BOTH, NAME_A, 0, NAME_A, BOTH, NAME_B, 0, NAME_B, BOTH, 0};
#define TURN(n) turns[(n) % sizeof(turns)]

static struct sl_state *state;
static struct sl_policy *policies[N_POLICIES];
static __u32 slot;
static unsigned long started, completed, lessons, connections, wrong;
static bool over;

static void die(const char *what, int err, struct sl_diag *diag)
{
	fprintf(stderr, "names_fire: %s: %s\n", what, strerror(-err));
	sl_diag_print(diag, stderr);
	exit(1);
}

/* ---- policies ---- */

static void load(int names)
{
	struct sl_resolve_options resolve = {.trust_clock = true};
	char path[] = "/tmp/sl-names-fire-XXXXXX";
	struct sl_diag diag = {};
	FILE *out = fdopen(mkstemp(path), "w");
	int err;

	if (!out)
		die(path, -errno, &diag);
	fprintf(out, "sluice: 1\nname: fire\non_deny: drop\nlog: none\n"
		"dns: {resolvers: [192.0.2.53], search: []}\nrules:\n%s", rules[names]);
	fclose(out);
	err = sl_policy_load(path, &resolve, &policies[names], &diag);
	unlink(path);
	if (err)
		die("a policy", err, &diag);
	sl_diag_free(&diag);
}

static void put_in_force(int names, bool first)
{
	struct sl_compile_options options = {.generation = sl_state_next_generation(state)};
	static struct sl_binding binding = {.addresses = NULL};
	struct sl_compiled compiled = {};
	struct sl_diag diag = {};
	int err;

	options.binding = &binding;
	err = sl_compile(policies[names], &options, &compiled, &diag);
	if (!err)
		err = first ? sl_state_add_unattached(state, LOOPBACK, &compiled.table, &slot, &diag) :
			      sl_state_switch(state, slot, &compiled.table, &diag);
	if (err)
		die("a generation", err, &diag);
	sl_compiled_free(&compiled);
	sl_diag_free(&diag);
}

/* ---- frames ---- */

struct frame {
	__u8 bytes[512];
	__u32 size;
};

static void put_headers(struct frame *f, bool out, __u32 remote, __u8 protocol, __u32 payload)
{
	struct ethhdr *eth = (void *)f->bytes;
	struct iphdr *ip = (void *)(eth + 1);

	memset(f->bytes, 0, sizeof(*eth) + sizeof(*ip));
	memset(eth->h_source, 2, ETH_ALEN);
	memset(eth->h_dest, 4, ETH_ALEN);
	eth->h_proto = htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->tot_len = htons((__u16)(sizeof(*ip) + payload));
	ip->protocol = protocol;
	ip->saddr = htonl(out ? ME : remote);
	ip->daddr = htonl(out ? remote : ME);
	f->size = sizeof(*eth) + sizeof(*ip) + payload;
}

static void *payload_of(struct frame *f)
{
	return f->bytes + sizeof(struct ethhdr) + sizeof(struct iphdr);
}

static void make_syn(struct frame *f, __u16 from, __u16 to)
{
	struct tcphdr *tcp;

	put_headers(f, true, SHARED, IPPROTO_TCP, sizeof(*tcp));
	tcp = payload_of(f);
	*tcp = (struct tcphdr){.source = htons(from), .dest = htons(to), .syn = 1, .doff = 5};
}

/* A question for a name in DNS's form, or its answer: the shared address, for an hour. */
static void make_message(struct frame *f, __u16 port, __u16 id, const char *name, __u32 size,
			 bool out)
{
	static const __u8 kind[] = {0, 1, 0, 1}, record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4};
	__be16 head[6] = {htons(id), htons(out ? 0x0100 : 0x8180), htons(1), htons(!out)};
	__u32 bytes = sizeof(head) + size + sizeof(kind) + (out ? 0 : sizeof(record) + 4);
	__be32 address = htonl(SHARED);
	struct udphdr *udp;
	__u8 *at;

	put_headers(f, out, RESOLVER, IPPROTO_UDP, sizeof(*udp) + bytes);
	udp = payload_of(f);
	*udp = (struct udphdr){.source = htons(out ? port : 53), .dest = htons(out ? 53 : port),
			       .len = htons((__u16)(sizeof(*udp) + bytes))};
	at = mempcpy(udp + 1, head, sizeof(head));
	at = mempcpy(at, name, size);
	at = mempcpy(at, kind, sizeof(kind));
	if (!out)
		memcpy(mempcpy(at, record, sizeof(record)), &address, sizeof(address));
}

static bool passes(const struct frame *f, enum sl_direction direction)
{
	__u8 made[1024];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = f->bytes, .data_size_in = f->size,
		    .data_out = made, .data_size_out = sizeof(made), .repeat = 1);
	struct sl_diag diag = {};
	int err = bpf_prog_test_run_opts(sl_state_program_fd(state, direction), &options);

	if (err)
		die("a test run", err, &diag);
	return (int)options.retval == PASS;
}

/* ---- what may become of a frame ---- */

/* Was there a policy in force, since `since` was, that allows one of the names (or does not)? */
static bool may_be(unsigned long since, int names, bool allowed)
{
	unsigned long until = __atomic_load_n(&started, __ATOMIC_SEQ_CST);

	for (unsigned long n = since; n <= until; n++)
		if (!!(TURN(n) & names) == allowed)
			return true;
	return false;
}

static unsigned long now_in_force(void)
{
	return __atomic_load_n(&completed, __ATOMIC_SEQ_CST);
}

static void complain(const char *what, int names, bool passed, unsigned long since)
{
	if (__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED) < 10)
		printf("%s of names %d %s under policies %u to %u (switch %lu to %lu)\n", what, names,
		       passed ? "passes" : "is refused", TURN(since),
		       TURN(__atomic_load_n(&started, __ATOMIC_SEQ_CST)), since,
		       __atomic_load_n(&started, __ATOMIC_SEQ_CST));
}

static void check(const char *what, const struct frame *f, int names)
{
	unsigned long since = now_in_force();
	bool passed = passes(f, SL_EGRESS);

	if (!may_be(since, names, passed))
		complain(what, names, passed, since);
}

static const struct {
	const char *wire;
	__u32 size;
	int names;
} asked[] = {{"\1a\7example", 11, NAME_A}, {"\1x\1b\7example", 13, NAME_B}};

static bool learn(int which, __u16 port, __u16 id)
{
	unsigned long since = now_in_force();
	struct frame f;
	bool passed;

	make_message(&f, port, id, asked[which].wire, asked[which].size, true);
	passed = passes(&f, SL_EGRESS);
	if (!may_be(since, asked[which].names, passed))
		complain("a question", asked[which].names, passed, since);
	if (!passed)
		return false;
	make_message(&f, port, id, asked[which].wire, asked[which].size, false);
	if (!passes(&f, SL_INGRESS)) {
		complain("an answer", asked[which].names, false, since);
		return false;
	}
	__atomic_fetch_add(&lessons, 1, __ATOMIC_RELAXED);
	return true;
}

static const struct {
	__u16 port;
	int names;
} doors[] = {{1000, NAME_A}, {2000, NAME_B}, {3000, BOTH}};

static void connect_all(__u16 from)
{
	struct frame f;

	for (size_t i = 0; i < sizeof(doors) / sizeof(*doors); i++) {
		make_syn(&f, from, doors[i].port);
		check("a connection", &f, doors[i].names);
		__atomic_fetch_add(&connections, 1, __ATOMIC_RELAXED);
	}
}

/* ---- threads ---- */

static bool is_over(void)
{
	return __atomic_load_n(&over, __ATOMIC_RELAXED);
}

static void *learner(void *arg)
{
	size_t which = (size_t)arg;

	for (__u16 id = 0; !is_over(); id++)
		learn(which, (__u16)(5000 + which), id);
	return NULL;
}

static void *connector(void *arg)
{
	__u16 first = (__u16)(20000 + (size_t)arg * PORTS);

	for (unsigned n = 0; !is_over(); n++)
		connect_all((__u16)(first + n % PORTS));
	return NULL;
}

static void switch_to(unsigned long n)
{
	__atomic_store_n(&started, n, __ATOMIC_SEQ_CST);
	put_in_force(TURN(n), false);
	__atomic_store_n(&completed, n, __ATOMIC_SEQ_CST);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void fire(double limit)
{
	void *(*const work[])(void *) = {learner, learner, connector, connector};
	double end = seconds() + limit;
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, work[i], (void *)(i % 2)))
			die("a thread", -EAGAIN, &(struct sl_diag){});
	while (seconds() < end)
		switch_to(completed + 1);
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* Nothing else happens: each policy of the cycle alone, new flows and those of the fire. */
static void rest(void)
{
	for (size_t i = 0; i < sizeof(turns); i++) {
		switch_to(completed + 1);
		connect_all((__u16)(60000 + i));
		connect_all(20000);
		connect_all(60000);
	}
}

int main(int argc, char **argv)
{
	double limit = argc > 1 ? atof(argv[1]) : 10;
	struct sl_diag diag = {};
	int err = sl_state_open(&(struct sl_state_options){.create = true}, &state, &diag);

	if (err)
		die("a state", err, &diag);
	for (int i = 0; i < N_POLICIES; i++)
		load(i);
	put_in_force(TURN(0), true);
	if (!learn(0, 5000, 0) || !learn(1, 5001, 0))
		die("the names are not learned", -EPERM, &diag);
	fire(limit);
	rest();
	for (int i = 0; i < N_POLICIES; i++)
		sl_policy_free(policies[i]);
	sl_state_close(state);
	printf("switches %lu, lessons %lu, connections %lu, wrong %lu\n", completed, lessons,
	       connections, wrong);
	return wrong != 0;
}
