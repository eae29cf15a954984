// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice apply: sluiced reads its configuration now. */
#include <errno.h>
#include <getopt.h>

#include "control.h"
#include "output.h"

static long long number_of(const json_t *j, const char *key)
{
	return (long long)json_integer_value(json_object_get(j, key));
}

static int apply(bool json)
{
	struct sl_control *control;
	int found = sl_control_find(false, &control);
	json_t *a;

	if (found == -ENOENT) {
		fprintf(stderr, "sluice apply: no sluiced listens at %s (`systemctl start sluiced`; "
			"$SLUICE_SOCKET names another socket); without it `sluice attach` gives a "
			"device or a cgroup its policy\n", sl_control_path() ?: "a socket that "
			"$SLUICE_SOCKET names beside $SLUICE_STATE");
		return SL_EXIT_FAILED;
	}
	if (found)
		return found;
	a = sl_control_get(control, "apply", NULL);
	sl_control_close(control);
	if (!a)
		return SL_EXIT_FAILED;
	json_object_del(a, "sluice");
	if (json)
		sl_json_print(json_incref(a));
	else
		printf("%s is in force: %lld target%s; devices: %lld attached, %lld isolated, "
		       "%lld failed, %lld left alone\n",
		       json_string_value(json_object_get(a, "config")), number_of(a, "targets"),
		       SL_S(number_of(a, "targets")),
		       number_of(a, "attached"), number_of(a, "isolated"), number_of(a, "failed"),
		       number_of(a, "left"));
	found = number_of(a, "failed") || number_of(a, "isolated") ? SL_EXIT_FAILED : SL_EXIT_OK;
	json_decref(a);
	return found;
}

static const struct option long_options[] = {
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_apply(int argc, char **argv)
{
	bool json = false;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("apply");
		if (c != 'o')
			return sl_option_wrong("apply", c, argv);
		if (!sl_output_option(optarg, &json))
			return sl_usage("apply", "-o is text or json, not '%s'", optarg);
	}
	if (optind < argc)
		return sl_usage("apply", "what is '%s'?", argv[optind]);
	return sl_output_done("apply", apply(json));
}
