// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Answers for the oracle (tests/oracle/differential.py), line by line:
 *
 *	policy PATH				-> ok | error TEXT
 *	kubernetes NAMESPACE/NAME PATH		-> the same, of the policy that the objects in PATH
 *						   give for the pod, printed and read again
 *	DIR PROTO ADDRESS KEY UID [NAME,...]	-> allow|deny ID CAUSE
 *	question NAME				-> allow|deny ID CAUSE
 *
 * NAME,... own the address. Names are judged in user space alone.
 *
 * judge: the table read in user space. judge --kernel: the table in the kernel,
 * asked by running the judge program (BPF_PROG_TEST_RUN).
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compile/compile.h"
#include "kernel/kernel.h"
#include "kubernetes/kubernetes.h"
#include "policy/text.h"
#include "resolve/resolve.h"
#include "../../bpf/judge.h"
#include "judge.skel.h"

static const char *const reasons[] = {
#define REASON_WORD(name, word, text) word,
	SL_REASONS(REASON_WORD)
#undef REASON_WORD
};

#define SL_OWNERS_MAX 16

static struct judge *skel;	/* NULL: user space */
static struct sl_policy *policy;
static struct sl_compiled compiled;
static __u64 generation;

static __s64 boot_epoch_ns(void)
{
	struct timespec real, boot;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return (real.tv_sec - boot.tv_sec) * 1000000000ll + real.tv_nsec - boot.tv_nsec;
}

static int load_kernel(struct sl_diag *diag)
{
	__u32 index = 0;
	int fd = sl_kernel_table_map(&compiled.table, diag), err;

	if (fd < 0)
		return fd;
	err = bpf_map_update_elem(bpf_map__fd(skel->maps.sl_tables), &index, &fd, 0);
	close(fd);
	return err;
}

static void load_policy(const char *path)
{
	struct sl_resolve_options resolve = {.trust_clock = true};
	struct sl_compile_options compile = {.generation = ++generation,
					     .boot_epoch_ns = boot_epoch_ns()};
	struct sl_diag diag = {};
	int err;

	sl_compiled_free(&compiled);
	sl_policy_free(policy);
	policy = NULL;
	err = sl_policy_load(path, &resolve, &policy, &diag);
	if (!err)
		err = sl_compile(policy, &compile, &compiled, &diag);
	if (!err && skel)
		err = load_kernel(&diag);
	if (err)
		printf("error %s\n", diag.n ? diag.entries[0].message : strerror(-err));
	else
		puts("ok");
	sl_diag_free(&diag);
}

static int convert(const char *pod, const char *name, const char *path, FILE *out)
{
	struct sl_policy *made = NULL;
	struct sl_diag diag = {};
	struct sl_kube *kube = sl_kube_new(&diag);
	char *text = NULL;
	size_t len;
	int err = sl_file_read(path, SL_POLICY_BYTES_MAX, NULL, &text, &len, &diag);

	if (!err)
		err = sl_kube_add(kube, text, len, path);
	if (!err)
		err = sl_kube_policy(kube, pod, name, &made);
	if (!err)
		sl_policy_print(made, out);
	else
		printf("error %s\n", diag.n ? diag.entries[0].message : strerror(-err));
	free(text);
	sl_policy_free(made);
	sl_kube_free(kube);
	sl_diag_free(&diag);
	return err;
}

/* `NAMESPACE/NAME PATH` */
static void load_kubernetes(char *line)
{
	char *path = strchr(line, ' '), *name = strchr(line, '/');
	char file[] = "/tmp/judge-kubernetes-XXXXXX";
	int fd = path && name && name < path ? mkstemp(file) : -1, err;
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");

	if (!out) {
		puts("error no `kubernetes NAMESPACE/NAME PATH`, or no file for it");
		return;
	}
	*name++ = *path++ = '\0';
	err = convert(line, name, path, out);
	fclose(out);
	if (!err)
		load_policy(file);
	unlink(file);
}

static int ask_kernel(const struct sl_question *q, struct sl_answer *a)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);
	struct sl_judge_packet p = {}, back;

	p.flow.family = q->family;
	p.flow.protocol = q->protocol;
	p.flow.key = q->key;
	p.flow.inbound = q->inbound;
	if (q->inbound) {
		p.flow.source_high = q->address_high;
		p.flow.source_low = q->address_low;
	} else {
		p.flow.destination_high = q->address_high;
		p.flow.destination_low = q->address_low;
	}
	p.subject.word = generation << SL_WORD_INDEX_BITS;
	p.subject.has_uid = q->has_uid;
	p.subject.uid = q->uid;
	options.data_in = &p;
	options.data_size_in = sizeof(p);
	options.data_out = &back;
	options.data_size_out = sizeof(back);
	if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.sluice_judge), &options) ||
	    options.retval)
		return -1;
	*a = back.answer;
	return 0;
}

static int parse_flow(const char *line, struct sl_question *q)
{
	char direction[4], address[64], uid[16];
	unsigned protocol, key;
	struct sl_cidr cidr = {};

	if (sscanf(line, "%3s %u %63s %u %15s", direction, &protocol, address, &key, uid) != 5)
		return -1;
	/* not sl_cidr_parse: it refuses what a rule may not say */
	if (inet_pton(AF_INET, address, cidr.addr) == 1)
		cidr.family = 4;
	else if (inet_pton(AF_INET6, address, cidr.addr) == 1)
		cidr.family = 6;
	else
		return -1;
	sl_question_address(q, &cidr);
	q->inbound = !strcmp(direction, "in");
	q->protocol = protocol;
	q->key = key;
	q->has_uid = strcmp(uid, "-") != 0;
	q->uid = q->has_uid ? strtoul(uid, NULL, 10) : 0;
	return 0;
}

static __u64 now_ns(void)
{
	return time(NULL) * 1000000000ll - boot_epoch_ns();
}

static void print_answer(const struct sl_answer *a)
{
	printf("%s %s %s\n", a->deny ? "deny" : "allow",
	       a->rule == SL_NONE ? "-" : compiled.rules[a->rule].id,
	       a->reason < SL_REASON_MAX ? reasons[a->reason] : "?");
}

/* Takes the owners off a line; how many there are. */
static size_t take_owners(char *line, const char *owners[SL_OWNERS_MAX])
{
	char *at = line, *save;
	size_t n = 0;
	int i;

	for (i = 0; i < 5 && at; i++)
		at = strchr(at + 1, ' ');
	if (!at)
		return 0;
	*at = 0;
	for (at = strtok_r(at + 1, ",", &save); at && n < SL_OWNERS_MAX;
	     at = strtok_r(NULL, ",", &save))
		owners[n++] = at;
	return n;
}

static void answer(char *line)
{
	const char *owners[SL_OWNERS_MAX];
	size_t n_owners = take_owners(line, owners);
	struct sl_question q = {};
	struct sl_answer a = {};
	int err;

	if (parse_flow(line, &q) || (n_owners && skel)) {
		puts("error - flow");
		return;
	}
	q.now_ns = now_ns();
	if (skel)
		err = ask_kernel(&q, &a);
	else
		err = !(n_owners ? sl_names_connection(&compiled, &q, owners, n_owners, &a)
				 : sl_table_judge(&compiled.table, &q, &a));
	if (err)
		puts("error - run");
	else
		print_answer(&a);
}

static void question(const char *name)
{
	struct sl_answer a;

	if (sl_names_question(&compiled, name, now_ns(), &a))
		print_answer(&a);
	else
		puts("error - run");
}

int main(int argc, char **argv)
{
	static char out[1 << 16], line[8192];

	setvbuf(stdout, out, _IOFBF, sizeof(out));
	if (argc > 1 && !strcmp(argv[1], "--kernel")) {
		skel = judge__open_and_load();
		if (!skel) {
			fprintf(stderr, "judge: the program cannot be loaded: %s\n",
				strerror(errno));
			return 1;
		}
	}
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "policy ", 7))
			load_policy(line + 7);
		else if (!strncmp(line, "kubernetes ", 11))
			load_kubernetes(line + 11);
		else if (!strncmp(line, "question ", 9))
			question(line + 9);
		else if (*line)
			answer(line);
		fflush(stdout);
	}
	sl_compiled_free(&compiled);
	sl_policy_free(policy);
	judge__destroy(skel);
	return 0;
}
