// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <string.h>

#include "control.h"
#include "output.h"

int sl_control_find(bool here, struct sl_control **out)
{
	struct sl_diag diag = {};
	int err = sl_control_open(out, &diag);

	if (err && err != -ENOENT && !diag.n_errors)
		sl_error(&diag, NULL, "sluiced: %s", strerror(-err));
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (!err && here && !sl_control_is_here(*out)) {
		sl_control_close(*out);
		return -ENOENT;
	}
	return err && err != -ENOENT ? SL_EXIT_FAILED : err;
}

json_t *sl_control_target(bool is_cgroup, const char *name)
{
	json_t *target = json_pack("{s:s}", is_cgroup ? "cgroup" : "device", name);

	if (target)
		return target;
	fputs("error: '", stderr);
	sl_put_text(name, stderr);
	fputs("' is not UTF-8, as the control socket wants it; a target of sluiced.yaml, as "
	      "{cgroup: /a/*}, takes any name\n", stderr);
	return NULL;
}

static void print_warnings(const json_t *answer)
{
	const json_t *w;
	size_t i;

	json_array_foreach(json_object_get(answer, "warnings"), i, w)
	{
		const char *text = json_string_value(json_object_get(w, "message"));
		const char *file = json_string_value(json_object_get(w, "file"));

		if (!text)
			continue;
		if (file) {
			sl_put_text(file, stderr);
			fprintf(stderr, ":%lld:%lld: ",
				(long long)json_integer_value(json_object_get(w, "line")),
				(long long)json_integer_value(json_object_get(w, "column")));
		}
		fputs("warning: ", stderr);
		sl_put_text(text, stderr);
		fputc('\n', stderr);
	}
}

json_t *sl_control_get(struct sl_control *control, const char *op, json_t *request)
{
	struct sl_diag diag = {};
	json_t *answer = sl_control_ask(control, op, request, &diag);

	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	print_warnings(answer);
	return answer;
}
