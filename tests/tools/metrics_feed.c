// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The metrics server, as a test drives it: metrics_feed LISTEN [MAX_SERIES] serves a
 * snapshot that lines of standard input change, each answered by a line on standard output:
 *
 *   targets N RULES   N targets with so many rules each
 *   hostile HEX       one more target of this name, with a rule and a policy of this name
 *   add N             so many decisions of each target and rule
 *   deaf, hear        texts are not sent, sent again
 *   pid               the child's
 *   size              of a text
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/metrics.h"

struct feed {
	struct sl_metrics_target *targets;
	struct sl_metrics_hit *hits;
	size_t n, rules;
	char hostile[200];
	bool deaf;
	struct sl_metrics *metrics;
	struct sl_metrics_server *server;
};

static void make(struct feed *f, size_t n, size_t rules)
{
	f->targets = calloc(n + 1, sizeof(*f->targets));
	f->hits = calloc((n + 1) * rules + 1, sizeof(*f->hits));
	f->n = n;
	f->rules = rules;
	for (size_t i = 0; i < n; i++) {
		char *name;

		if (asprintf(&name, "vnet%zu", i) < 0)
			abort();
		f->targets[i] = (struct sl_metrics_target){
			.kind = "device", .name = name, .policy = "agent", .attached = true,
			.generation = 7, .has_meter = true, .meter = {.tx_bytes = 1000 + i},
			.hits = &f->hits[i * rules], .n_hits = rules};
		for (size_t k = 0; k < rules; k++) {
			if (asprintf(&name, "rule-%zu", k) < 0)
				abort();
			f->hits[i * rules + k] = (struct sl_metrics_hit){.rule = name};
		}
	}
}

static void add_hostile(struct feed *f, const char *hex)
{
	static struct sl_metrics_hit hit;
	unsigned byte;
	size_t n = 0;

	while (n < sizeof(f->hostile) - 1 && sscanf(hex + 2 * n, "%2x", &byte) == 1)
		f->hostile[n++] = (char)byte;
	hit = (struct sl_metrics_hit){.rule = f->hostile, .count = 3};
	f->targets[f->n++] = (struct sl_metrics_target){.kind = "cgroup",
							.name = f->hostile,
							.policy = f->hostile,
							.hits = &hit,
							.n_hits = 1};
}

static void add(struct feed *f, __u64 count)
{
	for (size_t i = 0; i < f->n; i++)
		f->targets[i].stats.decided += count;
	for (size_t i = 0; i < f->n * f->rules; i++)
		f->hits[i].count += count;
}

static char *text(struct feed *f, size_t *len)
{
	struct sl_metrics_snapshot shot = {.version = "1", .targets = f->targets,
					   .n_targets = f->n};

	return sl_metrics_text(f->metrics, &shot, len);
}

static bool obey(struct feed *f, char *line)
{
	unsigned long n = 0, rules = 0;
	size_t len = 0;

	line[strcspn(line, "\n")] = 0;
	if (sscanf(line, "targets %lu %lu", &n, &rules) == 2)
		make(f, n, rules);
	else if (!strncmp(line, "hostile ", 8))
		add_hostile(f, line + 8);
	else if (sscanf(line, "add %lu", &n) == 1)
		add(f, n);
	else if (!strcmp(line, "deaf") || !strcmp(line, "hear"))
		f->deaf = *line == 'd';
	else if (!strcmp(line, "size"))
		free(text(f, &len));
	else if (strcmp(line, "pid"))
		return false;
	printf("{\"done\": \"%.4s\", \"pid\": %d, \"size\": %zu}\n", line,
	       sl_metrics_pid(f->server), len);
	fflush(stdout);
	return true;
}

static void answer(struct feed *f)
{
	size_t len;
	char *now;

	if (sl_metrics_wanted(f->server) != 1 || f->deaf)
		return;
	now = text(f, &len);
	if (now)
		sl_metrics_answer(f->server, now, len);
	free(now);
}

int main(int argc, char **argv)
{
	struct sl_metrics_listen listen;
	struct sl_diag diag = {};
	struct feed f = {};
	char line[1024];
	struct pollfd polls[2] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdin, NULL, _IONBF, 0);
	if (argc < 2 || sl_metrics_parse(argv[1], NULL, &listen, &diag) ||
	    sl_metrics_serve(&listen, &f.server, &diag)) {
		sl_diag_print(&diag, stderr);
		return 1;
	}
	f.metrics = sl_metrics_new(argc > 2 ? strtoul(argv[2], NULL, 10) : 0);
	make(&f, 1, 1);
	puts("{\"done\": \"ready\"}");
	fflush(stdout);
	for (;;) {
		polls[1].fd = sl_metrics_fd(f.server);
		if (poll(polls, 2, 1000) < 0)
			break;
		answer(&f);
		if (polls[0].revents && (!fgets(line, sizeof(line), stdin) || !obey(&f, line)))
			break;
	}
	sl_metrics_end(f.server);
	sl_metrics_free(f.metrics);
	sl_metrics_listen_free(&listen);
	return 0;
}
