/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The command line: one table of commands (main.c), one file a command, and
 * what they share. Commands return the exit status: 0, SL_EXIT_FAILED or
 * SL_EXIT_USAGE.
 */
#ifndef SLUICE_CLI_H
#define SLUICE_CLI_H

#include <stdbool.h>

#include "compile/compile.h"
#include "resolve/resolve.h"

enum { SL_EXIT_OK = 0, SL_EXIT_FAILED = 1, SL_EXIT_USAGE = 2 };

struct sl_command {
	const char *name;
	const char *summary;	/* one line for `sluice help` */
	const char *usage;	/* for `sluice NAME --help`, with an example */
	int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

extern const struct sl_command sl_commands[];

/* NULL: there is none of this name. */
const struct sl_command *sl_command_find(const char *name);

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_test(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_fmt(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_rules(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_attach(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_libvirt_hook(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_monitor(int argc, char **argv);
int cmd_alerts(int argc, char **argv);
int cmd_apply(int argc, char **argv);
int cmd_top(int argc, char **argv);

/* Says on stderr, in one line, what is wrong and where help is: SL_EXIT_USAGE. */
int sl_usage(const char *command, const char *wrong, ...)
	__attribute__((format(printf, 2, 3)));
/* The command's usage on stdout, for --help: SL_EXIT_OK. */
int sl_help(const char *command);

/* `-o json` / `-o text`: sets *json; false for anything else. */
bool sl_output_option(const char *text, bool *json);

/* A policy from file to table, as every command does it. */
struct sl_loaded {
	struct sl_policy *policy;	/* resolved, owned */
	struct sl_compiled compiled;	/* owned */
	struct sl_policy *written;	/* as parsed, owned; NULL unless asked for */
	__s64 boot_epoch_ns;		/* what the deadlines were made with */
	/* What was said of it, and the file names that positions borrow. */
	struct sl_diag diag;
};

/*
 * Loads and compiles; prints the diagnostics to stderr (warnings too, unless
 * quiet). 0 or SL_EXIT_FAILED. Free with sl_loaded_free.
 */
int sl_load(const char *path, const struct sl_resolve_options *options, __u64 generation,
	    bool quiet, struct sl_loaded *out);

/*
 * The same, but prints nothing: out->diag holds what there is to say, after a
 * failure too (the rest is then zero). Free with sl_loaded_free in both cases.
 */
int sl_load_quietly(const char *path, const struct sl_resolve_options *options,
		    __u64 generation, bool keep_written, struct sl_loaded *out);
void sl_loaded_free(struct sl_loaded *loaded);

#endif
