// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice top: what each target does now, live. */
#include <curses.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "late/late.h"
#include "output.h"
#include "status.h"

/* All that is called of it (user/late/late.h). Functions alone: what is bound late has no
 * variables, so there is no stdscr here, no LINES. */
#pragma weak newterm
#pragma weak newwin
#pragma weak cbreak
#pragma weak noecho
#pragma weak endwin
#pragma weak werase
#pragma weak wmove
#pragma weak waddnstr
#pragma weak wattr_on
#pragma weak wattr_off
#pragma weak wrefresh
#pragma weak wtimeout
#pragma weak wgetch
#pragma weak getmaxx
#pragma weak getmaxy

#define NAME_COLUMNS_MIN 16
#define NAME_COLUMNS_MAX 40

/* Counters of one target at one time. */
struct sample {
	char name[NAME_COLUMNS_MAX + 1], policy[64], mode[16];
	__u64 slot, since_hash; /* the same target as before? */
	__u64 allowed, blocked, lost, tx, rx;
	double allowed_s, blocked_s, tx_s, rx_s; /* since the sample before */
};

struct samples {
	struct sample *rows; /* owned */
	size_t n;
	double at_s;
	json_t *status; /* owned: for the warnings */
};

struct top {
	bool batch;
	__u64 count; /* of tables; 0: for ever */
	struct samples now, before;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static double clock_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- sampling ---- */

static __u64 number_of(const json_t *j, const char *key)
{
	return (__u64)json_integer_value(json_object_get(j, key));
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	return text ? text : "?";
}

/* What a workload could choose stays text. */
static void copy(char *to, size_t size, const char *text)
{
	char *escaped = sl_escaped(text);

	snprintf(to, size, "%s", escaped ? escaped : "?");
	free(escaped);
}

/* Of a path that is too long the end is shown: there cgroups differ. */
static void copy_end(char *to, size_t size, const char *text)
{
	char *escaped = sl_escaped(text);
	size_t len = escaped ? strlen(escaped) : 0;
	const char *at = escaped ? escaped : "?";

	if (len >= size) {
		at += len - (size - 3);
		while ((*at & 0xc0) == 0x80)	/* not from the middle of a character */
			at++;
	}
	snprintf(to, size, "%s%s", len >= size ? ".." : "", at);
	free(escaped);
}

static struct sample sample_of(const json_t *t)
{
	struct sample s = {
		.slot = number_of(t, "slot"),
		.since_hash = sl_hash(text_of(t, "since")),
		.allowed = number_of(t, "allowed"),
		.lost = number_of(t, "lost"),
		.blocked = number_of(t, "denied") + number_of(t, "audit_denied"),
		.tx = number_of(t, "tx_bytes"),
		.rx = number_of(t, "rx_bytes"),
	};

	copy_end(s.name, sizeof(s.name), text_of(t, "name"));
	copy(s.policy, sizeof(s.policy), text_of(t, "policy"));
	copy(s.mode, sizeof(s.mode), text_of(t, "mode"));
	return s;
}

static double rate(__u64 now, __u64 before, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static void compare(struct samples *now, const struct samples *before)
{
	double seconds = now->at_s - before->at_s;

	for (size_t i = 0; i < now->n; i++)
		for (size_t k = 0; k < before->n; k++) {
			struct sample *s = &now->rows[i];
			const struct sample *b = &before->rows[k];

			if (s->slot != b->slot || s->since_hash != b->since_hash)
				continue;
			s->allowed_s = rate(s->allowed, b->allowed, seconds);
			s->blocked_s = rate(s->blocked, b->blocked, seconds);
			s->tx_s = rate(s->tx, b->tx, seconds);
			s->rx_s = rate(s->rx, b->rx, seconds);
		}
}

static int busiest_first(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	double by_blocked = y->blocked_s - x->blocked_s, by_bytes = y->tx_s - x->tx_s;

	if (by_blocked != 0)
		return by_blocked > 0 ? 1 : -1;
	if (by_bytes != 0)
		return by_bytes > 0 ? 1 : -1;
	return strcmp(x->name, y->name);
}

static void free_samples(struct samples *s)
{
	free(s->rows);
	json_decref(s->status);
	memset(s, 0, sizeof(*s));
}

static int take(struct top *top)
{
	struct samples next = {.at_s = clock_s(), .status = sl_status_get("top")};
	const json_t *targets = json_object_get(next.status, "targets"), *t;
	size_t i;

	if (!next.status)
		return SL_EXIT_FAILED;
	next.rows = calloc(json_array_size(targets) + 1, sizeof(*next.rows));
	if (!next.rows) {
		free_samples(&next);
		return SL_EXIT_FAILED;
	}
	json_array_foreach(targets, i, t)
	{
		if (!sl_status_is_ready_run(t))
			next.rows[next.n++] = sample_of(t);
	}
	compare(&next, &top->now);
	free_samples(&top->before);
	top->before = top->now;
	top->now = next;
	qsort(next.rows, next.n, sizeof(*next.rows), busiest_first);
	return SL_EXIT_OK;
}

/* ---- showing ---- */

#define HEADING "%-*s %-18s %-7s %9s %9s %10s %10s %10s %10s %7s"
#define WORDS                                                                                      \
	"TARGET", "POLICY", "MODE", "ALLOWED/s", "BLOCKED/s", "TX B/s", "RX B/s", "ALLOWED",       \
		"BLOCKED", "LOST"

static int name_width(const struct samples *samples)
{
	size_t width = NAME_COLUMNS_MIN, len;

	for (size_t i = 0; i < samples->n; i++) {
		len = strlen(samples->rows[i].name);
		width = len > width ? len : width;
	}
	return (int)width;
}

static void row_text(const struct sample *s, int width, char *buf, size_t size)
{
	snprintf(buf, size, "%-*s %-18.18s %-7s %9.1f %9.1f %10.0f %10.0f %10llu %10llu %7llu",
		 width, s->name, s->policy, s->mode, s->allowed_s, s->blocked_s, s->tx_s, s->rx_s,
		 (unsigned long long)s->allowed, (unsigned long long)s->blocked,
		 (unsigned long long)s->lost);
}

static void print_table(const struct top *top)
{
	int width = name_width(&top->now);
	char line[256];

	printf(HEADING "\n", width, WORDS);
	for (size_t i = 0; i < top->now.n; i++) {
		row_text(&top->now.rows[i], width, line, sizeof(line));
		puts(line);
	}
	fflush(stdout);
}

static void put_line(WINDOW *w, int y, const char *text)
{
	if (wmove(w, y, 0) != ERR)
		waddnstr(w, text, getmaxx(w));
}

static void draw(const struct top *top, WINDOW *w)
{
	const json_t *warnings = json_object_get(top->now.status, "warnings"), *warning;
	int y = 2, last = getmaxy(w) - 1, width = name_width(&top->now);
	char line[256];
	size_t i;

	werase(w);
	snprintf(line, sizeof(line), "sluice top: %zu target%s, %zu warning%s; q ends", top->now.n,
		 SL_S(top->now.n), json_array_size(warnings), SL_S(json_array_size(warnings)));
	put_line(w, 0, line);
	wattr_on(w, A_REVERSE, NULL);
	snprintf(line, sizeof(line), HEADING, width, WORDS);
	put_line(w, 1, line);
	wattr_off(w, A_REVERSE, NULL);
	for (i = 0; i < top->now.n && y < last; i++) {
		row_text(&top->now.rows[i], width, line, sizeof(line));
		put_line(w, y++, line);
	}
	json_array_foreach(warnings, i, warning)
	{
		char *text = sl_escaped(json_string_value(warning));

		if (text && y <= last)
			put_line(w, y++, text);
		free(text);
	}
	wrefresh(w);
}

static int batch(struct top *top)
{
	int status = SL_EXIT_OK;

	for (__u64 i = 0; !status && !ended && (!top->count || i < top->count); i++) {
		if (i)
			sleep(1);
		status = take(top);
		if (!status)
			print_table(top);
	}
	return status;
}

/* The whole screen; NULL: there is none. */
static WINDOW *open_screen(void)
{
	struct sl_diag diag = {};
	WINDOW *w = NULL;

	setlocale(LC_ALL, "");
	if (!sl_late_need(SL_LATE_CURSES, &diag) && newterm(NULL, stdout, stdin))
		w = newwin(0, 0, 0, 0);
	if (!w && !diag.n_errors)
		fputs("sluice top: no terminal; try --batch\n", stderr);
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (w) {
		cbreak();
		noecho();
		wtimeout(w, 1000);
	}
	return w;
}

static int live(struct top *top)
{
	int status = take(top), key;
	WINDOW *w;

	if (status)
		return status;
	w = open_screen();
	if (!w)
		return SL_EXIT_FAILED;
	for (__u64 i = 1; !status && !ended; i++) {
		draw(top, w);
		if (top->count && i >= top->count)
			break;
		key = wgetch(w);
		if (key == 'q')
			break;
		status = take(top);
	}
	endwin();
	return status;
}

static const struct option long_options[] = {
	{"batch", no_argument, NULL, 'b'},
	{"count", required_argument, NULL, 'n'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_top(int argc, char **argv)
{
	struct top top = {};
	int c, status;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":bn:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("top");
		if (c == 'b')
			top.batch = true;
		else if (c != 'n')
			return sl_option_wrong("top", c, argv);
		else if (!sl_text_number(optarg, strlen(optarg), 1000000000, &top.count) ||
			 !top.count)
			return sl_usage("top", "--count '%s': a number from 1", optarg);
	}
	if (optind < argc)
		return sl_usage("top", "what is '%s'?", argv[optind]);
	if (!top.batch && (!isatty(STDOUT_FILENO) || !getenv("TERM")))
		return sl_usage("top", "standard output is no terminal; --batch prints tables");
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	status = top.batch ? batch(&top) : live(&top);
	free_samples(&top.now);
	free_samples(&top.before);
	return sl_output_done("top", status);
}
