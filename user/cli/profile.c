// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice profile: the fragments that are shipped, for `- include: profile/NAME`. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

#define SPDX "# SPDX-"
#define ENDING ".yaml"

struct profile {
	char *text;			/* owned */
	size_t len;
	struct sl_policy *fragment;	/* owned */
};

static void profile_free(struct profile *p)
{
	sl_policy_free(p->fragment);
	free(p->text);
}

/* Reads and parses; what is wrong is on stderr. */
static int profile_read(const char *name, struct profile *p)
{
	char *path = sl_profile_path(NULL, name);
	struct sl_diag diag = {};
	int err = path ? 0 : -ENOMEM;

	memset(p, 0, sizeof(*p));
	if (!err && access(path, F_OK)) {
		err = -ENOENT;
		sl_error(&diag, NULL, "no profile '%s': `sluice profile list` names those that "
			 "there are", name);
	}
	if (!err)
		err = sl_file_read(path, SL_POLICY_BYTES_MAX, NULL, &p->text, &p->len, &diag);
	if (!err)
		err = sl_policy_parse(p->text, p->len, path, SL_PARSE_FRAGMENT, &p->fragment,
				      &diag);
	sl_diag_print(&diag, stderr);
	if (err && !diag.n_errors)
		fprintf(stderr, "sluice profile: %s: %s\n", name, strerror(-err));
	sl_diag_free(&diag);
	free(path);
	if (err)
		profile_free(p);
	return err;
}

/* A line's text without `# `; NULL: it is no comment. */
static const char *comment_of(const char *line, size_t len, size_t *n)
{
	if (!len || *line != '#')
		return NULL;
	*n = len - 1;
	line++;
	while (*n && *line == ' ') {
		line++;
		--*n;
	}
	return line;
}

/* The comments in front, without the license's: what the profile says of itself. Owned. */
static char *about(const char *text)
{
	char *result = NULL;
	const char *comment;
	size_t size, len, n;
	FILE *out = open_memstream(&result, &size);

	for (; out && *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		comment = comment_of(text, len, &n);
		if (!comment)
			break;
		if (!strncmp(text, SPDX, strlen(SPDX)))
			continue;
		fprintf(out, "%.*s\n", (int)n, comment);
	}
	if (!out || fclose(out)) {
		free(result);
		return NULL;
	}
	return result;
}

static size_t count_patterns(const struct sl_policy *fragment)
{
	size_t n = 0;

	for (size_t i = 0; i < fragment->n_items; i++) {
		const struct sl_rule *rule = fragment->items[i].rule;

		for (size_t m = 0; rule && m < rule->n_matches; m++)
			for (size_t h = 0; h < rule->matches[m].n_hosts; h++)
				n += rule->matches[m].hosts[h].kind >= SL_HOST_NAME;
	}
	return n;
}

static json_t *profile_json(const char *name, const struct profile *p, const char *text)
{
	return json_pack("{s:s, s:o, s:o, s:o}", "profile", name, "about", sl_json_text(text),
			 "rules", sl_json_number(p->fragment->n_items),
			 "patterns", sl_json_number(count_patterns(p->fragment)));
}

/* ---- list ---- */

static int is_profile(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name), ending = strlen(ENDING);

	return len > ending && entry->d_name[0] != '.' &&
	       !strcmp(entry->d_name + len - ending, ENDING);
}

static int list_one(const char *name, bool json)
{
	struct profile p;
	char *text;

	if (profile_read(name, &p))
		return SL_EXIT_FAILED;
	text = about(p.text);
	if (json) {
		sl_json_print(profile_json(name, &p, text));
	} else {
		printf("%-12s ", name);
		if (text)
			text[strcspn(text, "\n")] = 0;
		sl_put_text(text ? text : "", stdout);
		putchar('\n');
	}
	free(text);
	profile_free(&p);
	return SL_EXIT_OK;
}

static int list(bool json)
{
	char *shipped = sl_profile_dir(), *dir = NULL;
	int n = -1, status = SL_EXIT_OK;
	struct dirent **entries = NULL;

	if (shipped && asprintf(&dir, "%s/profile", shipped) > 0)
		n = scandir(dir, &entries, is_profile, alphasort);
	if (n < 0) {
		fprintf(stderr, "sluice profile: no profiles in %s: %s\n", dir ? dir : "?",
			strerror(errno));
		status = SL_EXIT_FAILED;
	}
	for (int i = 0; i < n; i++) {
		entries[i]->d_name[strlen(entries[i]->d_name) - strlen(ENDING)] = 0;
		if (list_one(entries[i]->d_name, json))
			status = SL_EXIT_FAILED;
		free(entries[i]);
	}
	free(entries);
	free(shipped);
	free(dir);
	return status;
}

/* ---- show ---- */

static int show(const char *name, bool json)
{
	struct profile p;
	json_t *object;
	char *text;

	if (!sl_profile_name_ok(name))
		return sl_usage("profile", "'%s' is no profile's name: `sluice profile list` has "
				"them", name);
	if (profile_read(name, &p))
		return SL_EXIT_FAILED;
	if (json) {
		text = about(p.text);
		object = profile_json(name, &p, text);
		json_object_set_new(object, "text", sl_json_text(p.text));
		sl_json_print(object);
		free(text);
	} else {
		fwrite(p.text, 1, p.len, stdout);
	}
	profile_free(&p);
	return SL_EXIT_OK;
}

static const struct option options[] = {
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_profile(int argc, char **argv)
{
	bool json = false, showing;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("profile");
		if (c != 'o')
			return sl_option_wrong("profile", c, argv);
		if (!sl_output_option(optarg, &json))
			return sl_usage("profile", "-o is text or json, not '%s'", optarg);
	}
	argv += optind;
	argc -= optind;
	showing = argc && !strcmp(argv[0], "show");
	if (!argc)
		return sl_usage("profile", "list, or show NAME");
	if (!showing && strcmp(argv[0], "list"))
		return sl_usage("profile", "what is '%s'? write list, or show NAME", argv[0]);
	if (argc != (showing ? 2 : 1))
		return sl_usage("profile", showing ? "one NAME is wanted" : "list takes no name");
	return sl_output_done("profile", showing ? show(argv[1], json) : list(json));
}
