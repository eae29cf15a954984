// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice detach: the only thing that opens. */
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "kernel/expedite.h"
#include "output.h"
#include "pins.h"

static const struct option long_options[] = {
	{"dev", required_argument, NULL, 'd'},
	{"cgroup", required_argument, NULL, 'c'},
	{"all", no_argument, NULL, 'a'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

struct detaching {
	struct sl_state *state;
	struct sl_diag *diag;
	bool json, failed;
};

/* netns: of a device in another namespace, else 0. */
static void say(const struct detaching *d, const char *name, __u64 netns, const char *now)
{
	if (d->json) {
		sl_json_print(json_pack("{s:o, s:b, s:b}", "name", sl_json_text(name), "detached",
					1, "here", !netns));
		return;
	}
	sl_put_text(name, stdout);
	if (netns)
		printf(" (in another network namespace, cookie %llu)", (unsigned long long)netns);
	printf(": detached; %s\n", now);
}

static const char nothing_judges_frames[] = "nothing judges its frames now";
static const char nothing_judges_sockets[] = "nothing judges its sockets now";
static const char another_holds[] = "the policy of a cgroup above it holds now";

static void detach_each(void *context, const struct sl_target_view *view)
{
	bool cgroup = view->target.kind == SL_TARGET_CGROUP;
	char *path = cgroup ? sl_state_cgroup_path(&view->target) : NULL;
	struct detaching *d = context;

	if (sl_state_detach_slot(d->state, view->slot, d->diag))
		d->failed = true;
	else
		say(d, path ? path : view->target.name,
		    cgroup || view->here ? 0 : view->target.netns,
		    cgroup ? nothing_judges_sockets : nothing_judges_frames);
	free(path);
}

static int detach_cgroup(struct detaching *d, const char *path)
{
	struct sl_cgroup_target cgroup;
	bool above = false;
	unsigned i;
	__u32 slot;
	int err = sl_cgroup_open_target(path, &cgroup, d->diag);

	if (err)
		return SL_EXIT_FAILED;
	err = sl_state_detach_cgroup(d->state, &cgroup, d->diag);
	for (i = 0; i < cgroup.level; i++)
		above |= !sl_state_find_cgroup(d->state, cgroup.ids[i], &slot);
	if (!err)
		say(d, cgroup.path, 0, above ? another_holds : nothing_judges_sockets);
	sl_cgroup_close_target(&cgroup);
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}

struct moved {
	const char *name;
	__u32 slot;
	bool found;
};

static void find_moved(void *context, const struct sl_target_view *view)
{
	struct moved *m = context;

	if (view->moved && view->here && !strcmp(view->target.name, m->name)) {
		m->slot = view->slot;
		m->found = true;
	}
}

static int detach_device(struct detaching *d, const char *name)
{
	struct moved moved = {.name = name};
	struct sl_device device;

	if (!if_nametoindex(name) && !sl_state_targets(d->state, find_moved, &moved) &&
	    moved.found && !sl_state_detach_slot(d->state, moved.slot, d->diag)) {
		say(d, name, 0, nothing_judges_frames);
		return SL_EXIT_OK;
	}
	if (sl_device_find(name, &device, d->diag) ||
	    sl_state_detach_device(d->state, &device, d->diag))
		return SL_EXIT_FAILED;
	say(d, name, 0, nothing_judges_frames);
	return SL_EXIT_OK;
}

static const char *what_holds(const json_t *detached)
{
	if (json_is_true(json_object_get(detached, "above")))
		return another_holds;
	return json_is_true(json_object_get(detached, "cgroup")) ? nothing_judges_sockets :
								  nothing_judges_frames;
}

/* Through sluiced, which would otherwise put it back. */
static int ask(struct sl_control *control, const char *name, bool is_cgroup, bool json)
{
	struct detaching d = {.json = json};
	json_t *what = name ? sl_control_target(is_cgroup, name) : json_pack("{s:b}", "all", 1);
	json_t *answer, *each;
	size_t i;

	if (!what)
		return SL_EXIT_FAILED;
	answer = sl_control_get(control, "detach", what);
	json_array_foreach(json_object_get(answer, "detached"), i, each)
		say(&d, json_string_value(json_object_get(each, "name")), 0, what_holds(each));
	json_decref(answer);
	return answer ? SL_EXIT_OK : SL_EXIT_FAILED;
}

/* No state: nothing is attached. */
static int detach_pins(const char *name, bool is_cgroup, bool json, struct sl_diag *diag)
{
	struct detaching d = {.diag = diag, .json = json};
	int status;

	sl_expedite_open(); /* without it takes longer */
	status = sl_pins_open(false, &d.state);
	if (status == -ENOENT && !name)
		return SL_EXIT_OK;
	if (status == -ENOENT)
		sl_error(diag, NULL, "%s '%s' has no policy: nothing is attached",
			 is_cgroup ? "cgroup" : "device", name);
	if (status)
		return SL_EXIT_FAILED;
	sl_state_sweep(d.state);
	if (name)
		status = is_cgroup ? detach_cgroup(&d, name) : detach_device(&d, name);
	else
		status = sl_state_targets(d.state, detach_each, &d) || d.failed ? SL_EXIT_FAILED :
										 SL_EXIT_OK;
	sl_state_close(d.state);
	return status;
}

static int detach(const char *name, bool is_cgroup, bool json, struct sl_diag *diag)
{
	struct sl_control *control;
	int found = sl_control_find(name && !is_cgroup, &control);

	if (found == -ENOENT)
		return detach_pins(name, is_cgroup, json, diag);
	if (found)
		return found;
	found = ask(control, name, is_cgroup, json);
	sl_control_close(control);
	return found;
}

int cmd_detach(int argc, char **argv)
{
	bool json = false, all = false, is_cgroup = false, two = false;
	struct sl_diag diag = {};
	const char *name = NULL;
	int c, status;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("detach");
		if (c == 'd' || c == 'c') {
			two |= name != NULL;
			name = optarg;
			is_cgroup = c == 'c';
		} else if (c == 'a')
			all = true;
		else if (c != 'o')
			return sl_option_wrong("detach", c, argv);
		else if (!sl_output_option(optarg, &json))
			return sl_usage("detach", "-o is text or json, not '%s'", optarg);
	}
	if (optind < argc)
		return sl_usage("detach", "what is '%s'?", argv[optind]);
	if (!name == !all || two)
		return sl_usage("detach", "one of --dev DEVICE, --cgroup PATH and --all is needed");
	status = sl_output_done("detach", detach(name, is_cgroup, json, &diag));
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	return status;
}
