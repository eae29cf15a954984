// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The forwarder's messages: made, read, changed, cut; and any byte of them changed. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "compile/compile.h"
#include "compile/device.h"
#include "forward/answer.h"
#include "forward/filter.h"
#include "resolve/resolve.h"

static const __u8 name[] = "\1X\4good\7example";

/* A message that grows. */
struct wire {
	__u8 bytes[SL_DNS_WIRE_MAX];
	size_t n;
};

static void put(struct wire *w, const void *bytes, size_t n)
{
	assert_true(w->n + n <= sizeof(w->bytes));
	memcpy(w->bytes + w->n, bytes, n);
	w->n += n;
}

static void put16(struct wire *w, unsigned value)
{
	const __u8 bytes[] = {(__u8)(value >> 8), (__u8)value};

	put(w, bytes, 2);
}

/* An answer's header and question; records follow. */
static void begin(struct wire *w, unsigned type, unsigned flags)
{
	w->n = sl_question_make(name, sizeof(name), type, w->bytes);
	w->bytes[2] = (__u8)(0x80 | flags >> 8);
	w->bytes[3] = (__u8)flags;
}

static void record(struct wire *w, const void *owner, size_t owner_bytes, unsigned type,
		   const void *data, size_t n)
{
	unsigned count = ((unsigned)w->bytes[6] << 8 | w->bytes[7]) + 1;

	put(w, owner, owner_bytes);
	put16(w, type);
	put16(w, 1);
	put16(w, 0);
	put16(w, 60);
	put16(w, (unsigned)n);
	put(w, data, n);
	w->bytes[6] = (__u8)(count >> 8);
	w->bytes[7] = (__u8)count;
}

static const __u8 own[] = {0xc0, 0x0c};	/* the question's name */

static struct sl_query query_of(unsigned type, bool edns)
{
	__u8 made[SL_DNS_SMALL_MAX];
	size_t n = sl_question_make(name, sizeof(name), type, made);
	struct sl_query q;

	if (edns)
		n = sl_question_add_opt(made, n);
	assert_int_equal(sl_query_read(made, n, &q), 0);
	return q;
}

static void a_question_is_read(void **state)
{
	struct sl_query q = query_of(SL_TYPE_A, true), plain = query_of(SL_TYPE_AAAA, false);
	__u8 made[SL_DNS_SMALL_MAX];
	size_t n = sl_question_make(name, sizeof(name), SL_TYPE_A, made);

	assert_true(q.edns && q.recursion && q.udp_size == SL_EDNS_SIZE);
	assert_true(!plain.edns && plain.udp_size == 512 && plain.type == SL_TYPE_AAAA);
	assert_memory_equal(q.name, name, sizeof(name));
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(sl_query_read(made, cut, &q), -EINVAL);
	made[2] |= 0x80;
	assert_int_equal(sl_query_read(made, n, &q), -EINVAL);
	assert_int_equal(sl_reply_malformed(made, n, made), 0);
}

static void a_refusal_says_why(void **state)
{
	/* option 15, its length, code 15, the text (RFC 8914) */
	static const __u8 error[] = {0, 15, 0, 8, 0, 15, 'n', 'o', '-', 'b', 'a', 'd'};
	struct sl_query q = query_of(SL_TYPE_A, true);
	__u8 out[SL_DNS_SMALL_MAX];
	size_t n = sl_reply_make(&q, SL_RCODE_NXDOMAIN, SL_EDE_BLOCKED, "no-bad", out);

	assert_int_equal(out[3] & 0xf, SL_RCODE_NXDOMAIN);
	assert_memory_equal(out + n - sizeof(error), error, sizeof(error));
	q.edns = false;
	n = sl_reply_make(&q, SL_RCODE_NXDOMAIN, SL_EDE_BLOCKED, "no-bad", out);
	assert_int_equal(n, 12 + sizeof(name) + 4);
	assert_int_equal(out[11], 0);
}

/* ---- answers ---- */

static void addresses_are_learned_up_to_64(void **state)
{
	struct sl_query q = query_of(SL_TYPE_A, true);
	static struct wire w;
	struct sl_upstream u, again;
	__u8 *out;
	size_t n;

	begin(&w, SL_TYPE_A, 0);
	for (unsigned i = 0; i < 300; i++) {
		const __u8 address[] = {198, 51, (__u8)(100 + i / 250), (__u8)(i % 250)};

		record(&w, own, sizeof(own), SL_TYPE_A, address, 4);
	}
	assert_int_equal(sl_upstream_read(&q, w.bytes, w.n, 0, &u), 0);
	assert_int_equal(u.lesson[6] << 8 | u.lesson[7], SL_ANSWER_ADDRESSES);
	assert_int_equal(u.lesson_bytes, 12 + sizeof(name) + 4 + 64 * 16);
	assert_int_equal(sl_upstream_write(&q, &u, SL_DNS_WIRE_MAX, &out, &n), 0);
	assert_int_equal(sl_upstream_read(&q, out, n, 0, &again), 0);
	assert_int_equal(again.lesson_bytes, u.lesson_bytes);
	assert_memory_equal(again.lesson, u.lesson, u.lesson_bytes);
	sl_upstream_free(&again);
	free(out);
	assert_int_equal(sl_upstream_write(&q, &u, 512, &out, &n), 0);
	assert_true(n <= 512 && n > 480 && (out[2] & 2));
	free(out);
	assert_int_equal(sl_upstream_write(&q, &u, 20, &out, &n), -EMSGSIZE);
	sl_upstream_free(&u);
}

/* The alias behind a name: cN.example */
static size_t alias(unsigned i, __u8 out[16])
{
	out[0] = 2;
	out[1] = 'c';
	out[2] = (__u8)('a' + i);
	memcpy(out + 3, "\7example", 9);
	return 12;
}

static int read_chain(unsigned length, struct sl_upstream *u)
{
	static const __u8 address[] = {198, 51, 100, 7};
	struct sl_query q = query_of(SL_TYPE_A, false);
	static struct wire w;
	__u8 from[16], to[16];

	begin(&w, SL_TYPE_A, 0);
	for (unsigned i = 0; i < length; i++) {
		size_t n = alias(i, to);

		if (i)
			record(&w, from, alias(i - 1, from), SL_TYPE_CNAME, to, n);
		else
			record(&w, own, sizeof(own), SL_TYPE_CNAME, to, n);
	}
	record(&w, to, alias(length - 1, to), SL_TYPE_A, address, 4);
	return sl_upstream_read(&q, w.bytes, w.n, 0, u);
}

static void a_chain_has_16_aliases(void **state)
{
	struct sl_upstream u;
	__u8 first[16];

	assert_int_equal(read_chain(16, &u), 0);
	assert_int_equal(u.n_aliases, 16);
	assert_int_equal(u.aliases[0].name_bytes, alias(0, first));
	assert_memory_equal(u.aliases[0].name, first, 12);
	assert_true(u.lesson_bytes);
	sl_upstream_free(&u);
	assert_int_equal(read_chain(17, &u), -EINVAL);
}

static void what_is_not_of_the_chain_is_left_out(void **state)
{
	static const __u8 address[] = {198, 51, 100, 66}, other[] = "\4evil\7example";
	static const __u8 six[16] = {0x20, 0x01, 0x0d, 0xb8};
	struct sl_query q = query_of(SL_TYPE_A, false);
	static struct wire w;
	struct sl_upstream u;
	__u8 *out;
	size_t n;

	begin(&w, SL_TYPE_A, 0);
	record(&w, other, sizeof(other), SL_TYPE_A, address, 4);
	record(&w, own, sizeof(own), SL_TYPE_AAAA, six, 16);
	assert_int_equal(sl_upstream_read(&q, w.bytes, w.n, 0, &u), 0);
	assert_int_equal(u.lesson_bytes, 0);
	assert_int_equal(sl_upstream_write(&q, &u, 512, &out, &n), 0);
	assert_int_equal(out[7], 0);
	free(out);
	sl_upstream_free(&u);
}

/* ---- HTTPS records ---- */

#define BYTES(...) {sizeof((const __u8[]){__VA_ARGS__}), {__VA_ARGS__}}
/* priority 1, target `.` */
#define HEAD 0, 1, 0
#define ALPN 0, 1, 0, 3, 2, 'h', '2'
#define HINT 0, 4, 0, 4, 192, 0, 2, 1
#define ECH 0, 5, 0, 2, 'e', 'c'
#define MANDATORY_ECH 0, 0, 0, 2, 0, 5

static void parameters_are_stripped(void **state)
{
	static const struct {
		unsigned strip;
		struct {
			size_t n;
			__u8 bytes[64];
		} in, out;
	} cases[] = {
		{SL_STRIP_ECH, BYTES(HEAD, ALPN, HINT, ECH), BYTES(HEAD, ALPN, HINT)},
		{SL_STRIP_HINTS, BYTES(HEAD, ALPN, HINT, ECH), BYTES(HEAD, ALPN, ECH)},
		{SL_STRIP_HINTS | SL_STRIP_ECH, BYTES(HEAD, HINT, ECH), BYTES(HEAD)},
		{0, BYTES(HEAD, ALPN, ECH), BYTES(HEAD, ALPN, ECH)},
		{SL_STRIP_HINTS, BYTES(HEAD, MANDATORY_ECH, ECH), BYTES(HEAD, MANDATORY_ECH, ECH)},
		{SL_STRIP_ECH, BYTES(HEAD, MANDATORY_ECH, ECH), {}},
		{SL_STRIP_ECH, BYTES(HEAD, 0, 5, 0, 9, 'e'), {}},
		{SL_STRIP_ECH, BYTES(HEAD, 0, 5), {}},
		{SL_STRIP_ECH, BYTES(0, 1, 9, 'x'), {}},
		{SL_STRIP_ECH, BYTES(0, 1), {}},
	};
	__u8 out[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(sl_svcb_strip(cases[i].in.bytes, cases[i].in.n, cases[i].strip, out),
				 cases[i].out.n);
		assert_memory_equal(out, cases[i].out.bytes, cases[i].out.n);
	}
}

/* ---- the gate ---- */

static bool may_ask(const struct sl_compiled *compiled, const char *address, __u16 port)
{
	struct sl_question question = {.protocol = IPPROTO_UDP, .key = port};
	struct sl_answer said;
	struct sl_cidr cidr;
	bool masked;

	assert_int_equal(sl_cidr_parse(address, strlen(address), &cidr, &masked), 0);
	sl_question_address(&question, &cidr);
	assert_true(sl_table_judge(&compiled->table, &question, &said));
	return !said.deny;
}

/* The resolvers are the forwarder's; the command has the forwarder, if there is one. */
static void the_gate_admits_the_forwarder_alone(void **state)
{
	static const char text[] = "sluice: 1\nname: f\ndefault: allow\n"
				   "dns: {mode: forward, resolvers: [192.0.2.53]}\n";
	static const struct sl_environment nothing;
	struct sl_resolve_options resolve = {.env = &nothing, .now_s = 1700000000};
	struct sl_cidr address = {.addr = {127, 64, 0, 1}, .family = 4, .len = 32};
	struct sl_compile_options options = {.generation = 1};
	struct sl_policy *parsed, *resolved;
	struct sl_compiled compiled;
	struct sl_diag diag = {};

	assert_int_equal(sl_policy_parse(text, strlen(text), "f", SL_PARSE_POLICY, &parsed, &diag),
			 0);
	assert_int_equal(sl_resolve(parsed, NULL, &resolve, &resolved, &diag), 0);
	for (int there = 0; there < 2; there++) {
		options.forwarder = there ? &address : NULL;
		assert_int_equal(sl_compile(resolved, &options, &compiled, &diag), 0);
		assert_true(compiled.table.words[SL_H_FLAGS] & SL_F_FORWARD);
		assert_int_equal(may_ask(&compiled, "127.64.0.1", 53), there);
		assert_false(may_ask(&compiled, "127.64.0.2", 53));
		assert_false(may_ask(&compiled, "192.0.2.53", 53));
		assert_false(may_ask(&compiled, "127.64.0.1", 853));
		assert_true(may_ask(&compiled, "192.0.2.53", 54));
		sl_compiled_free(&compiled);
	}
	assert_int_equal(sl_device_refuse(resolved, &diag), -EINVAL);
	sl_policy_free(resolved);
	sl_policy_free(parsed);
	sl_diag_free(&diag);
}

/* ---- the process ---- */

/* In a child, behind the filter: 0 if each of these is refused, and serving is not. */
static int tried_behind_the_filter(void)
{
	char *const argv[] = {"true", NULL};
	int pair[2];
	union {
		__u8 bytes[128];
		__u32 words[32];
	} attr = {};

	if (sl_forward_filter())
		return 1;
	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EPERM)
		return 2;
	if (execve("/bin/true", argv, argv + 1) >= 0 || errno != EPERM)
		return 3;
	if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0 || errno != EPERM)
		return 4;
	if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EPERM ||
	    socket(AF_PACKET, SOCK_RAW, 0) >= 0 || errno != EPERM ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) >= 0 || errno != EPERM)
		return 5;
	if (kill(getppid(), 0) >= 0 || errno != EPERM)
		return 6;
	/* BPF_MAP_LOOKUP_ELEM, and the test-run of a program that there is not */
	if (syscall(SYS_bpf, 1, &attr, sizeof(attr)) >= 0 || errno != EPERM)
		return 7;
	attr.words[0] = 9999;
	if (syscall(SYS_bpf, 10, &attr, sizeof(attr)) >= 0 || errno != EBADF)
		return 8;
	return socket(AF_INET, SOCK_DGRAM, 0) < 0 || socket(AF_INET6, SOCK_STREAM, 0) < 0 ? 9 : 0;
}

static void the_filter_leaves_what_serves(void **state)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid)	/* before _exit() the sanitizer makes a call that is refused */
		syscall(SYS_exit_group, tried_behind_the_filter());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- any bytes ---- */

static void use(const struct wire *w, const struct sl_query *q)
{
	struct sl_upstream u;
	__u8 *out;
	size_t n;

	if (sl_upstream_read(q, w->bytes, w->n, SL_STRIP_ECH | SL_STRIP_HINTS, &u))
		return;
	assert_true(u.lesson_bytes <= sizeof(u.lesson));
	if (!sl_upstream_write(q, &u, 512, &out, &n)) {
		assert_true(n <= 512);
		free(out);
	}
	sl_upstream_free(&u);
}

static void every_byte_changed_is_survived(void **state)
{
	static const __u8 https[] = {HEAD, ALPN, HINT, ECH}, address[] = {198, 51, 100, 7};
	static const __u8 changes[] = {0, 1, 0x3f, 0x40, 0xc0, 0xff};
	struct sl_query q = query_of(SL_TYPE_HTTPS, true);
	static struct wire w, changed;
	__u8 to[16];

	begin(&w, SL_TYPE_HTTPS, 0);
	record(&w, own, sizeof(own), SL_TYPE_CNAME, to, alias(0, to));
	record(&w, to, alias(0, to), SL_TYPE_HTTPS, https, sizeof(https));
	record(&w, to, alias(0, to), SL_TYPE_A, address, sizeof(address));
	for (size_t i = 0; i < w.n; i++)
		for (size_t k = 0; k < sizeof(changes); k++) {
			changed = w;
			changed.bytes[i] = changes[k];
			use(&changed, &q);
		}
	for (changed = w; changed.n; changed.n--)
		use(&changed, &q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_read),
		cmocka_unit_test(a_refusal_says_why),
		cmocka_unit_test(addresses_are_learned_up_to_64),
		cmocka_unit_test(a_chain_has_16_aliases),
		cmocka_unit_test(what_is_not_of_the_chain_is_left_out),
		cmocka_unit_test(parameters_are_stripped),
		cmocka_unit_test(the_gate_admits_the_forwarder_alone),
		cmocka_unit_test(the_filter_leaves_what_serves),
		cmocka_unit_test(every_byte_changed_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
