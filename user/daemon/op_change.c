// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What can be asked of sluiced: attach, detach, apply. */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "audit/json.h"
#include "daemon.h"
#include "policy/text.h"
#include "hand.h"
#include "op_change.h"
#include "server.h"

/* A command that changes the pins holds their lock for milliseconds. One that stands still
 * must not make us stand still. */
#define BUSY_TRIES 20
#define BUSY_US 10000

static const char *text_of(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

/* The state locked, also if the one that was open is not the pinned one any more. */
int sl_change_lock(struct sl_daemon *d, struct sl_diag *diag)
{
	int err = -EAGAIN;

	for (int i = 0; err == -EAGAIN && i < BUSY_TRIES; i++) {
		if (i)
			usleep(BUSY_US);
		err = sl_state_relock(d->devices.state, diag);
	}
	if (err == -EAGAIN)
		sl_error(diag, NULL, "another command changes %s now; try again",
			 d->options->state);
	return err == -ESTALE ? sl_daemon_device_ops.reopen(d) : err;
}

/* ---- attach ---- */

typedef int binding_fn(struct sl_binding_spec *spec, const char *text, struct sl_diag *diag);

static void bind_list(const json_t *list, binding_fn *bind, struct sl_binding_spec *spec,
		      struct sl_diag *diag)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) if (json_is_string(item))
		bind(spec, json_string_value(item), diag);
	else sl_error(diag, NULL, "addresses and vlans are lists of texts");
}

/* A misspelt binding that is passed over would bind nothing: what is not known is refused. */
static void check_fields(const json_t *request, struct sl_diag *diag)
{
	static const struct {
		const char *name;
		json_type type;
	} fields[] = {
		{"sluice", JSON_INTEGER},   {"op", JSON_STRING},     {"device", JSON_STRING},
		{"cgroup", JSON_STRING},    {"policy", JSON_STRING}, {"text", JSON_STRING},
		{"base", JSON_STRING},	    {"mac", JSON_STRING},    {"addresses", JSON_ARRAY},
		{"vlans", JSON_ARRAY},	    {"audit", JSON_TRUE},    {"trust_clock", JSON_TRUE},
	};
	const size_t n = sizeof(fields) / sizeof(*fields);
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)request, key, value)
	{
		size_t i = 0;

		while (i < n && strcmp(fields[i].name, key))
			i++;
		if (i == n)
			sl_error(diag, NULL, "attach has no field \"%.40s\" (docs/control.md)", key);
		else if (json_typeof(value) != fields[i].type && !json_is_null(value) &&
			 !(fields[i].type == JSON_TRUE && json_is_false(value)))
			sl_error(diag, NULL, "attach: \"%s\" is of another type (docs/control.md)", key);
	}
}

static int read_options(const json_t *request, struct sl_attach_options *o, struct sl_diag *diag)
{
	check_fields(request, diag);
	o->policy = text_of(request, "policy");
	o->audit = json_is_true(json_object_get(request, "audit"));
	o->trust_clock = json_is_true(json_object_get(request, "trust_clock"));
	if (text_of(request, "mac"))
		sl_binding_mac(&o->binding, text_of(request, "mac"), diag);
	bind_list(json_object_get(request, "addresses"), sl_binding_address, &o->binding, diag);
	bind_list(json_object_get(request, "vlans"), sl_binding_vlan, &o->binding, diag);
	if (!o->policy && !text_of(request, "text"))
		sl_error(diag, NULL, "attach wants \"policy\", the path of a file, or \"text\"");
	else if (o->policy && o->policy[0] != '/')
		sl_error(diag, NULL, "policy '%s': the path must be absolute", o->policy);
	return diag->n_errors ? -EINVAL : 0;
}

/* The file's text into the request: what is in force is what it held now. */
static int read_policy(json_t *request, const char *path, struct sl_diag *diag)
{
	size_t len;
	char *text;
	int err = sl_file_read(path, SL_POLICY_BYTES_MAX, NULL, &text, &len, diag);

	if (err)
		return err;
	if (json_object_set_new(request, "text", json_stringn_nocheck(text, len)) ||
	    json_object_set(request, "base", json_object_get(request, "policy")))
		err = -ENOMEM;
	free(text);
	return err ? err : json_object_del(request, "policy");
}

int sl_change_load(json_t *request, struct sl_target_group *group, struct sl_diag *diag)
{
	struct sl_attach_options options = {.by_hand = true};
	int err = read_options(request, &options, diag);
	const json_t *text;

	if (!err && options.policy)
		err = read_policy(request, options.policy, diag);
	if (err)
		return err;
	options.policy = NULL;
	text = json_object_get(request, "text");
	return sl_given_load_text(&group->given, &options, json_string_value(text),
				  json_string_length(text), text_of(request, "base"), diag);
}

/* The device's own entry; *made tells whether there was none. */
static struct sl_watched *entry_of(struct sl_devices *devices, const struct sl_device *device,
				   bool *made)
{
	struct sl_watched *w = sl_devices_find(devices, device->ifindex);

	*made = !w;
	if (w)
		return w;
	w = SL_ADD(devices->devices, devices->n_devices);
	if (w) {
		w->device = *device;
		w->as.state = SL_WATCHED_FAILED; /* until it has something */
	}
	return w;
}

/* What it had stays in force if the new policy cannot be given. */
static int attach(struct sl_daemon *d, const struct sl_device *device,
		  struct sl_target_group *group, struct sl_watched **out, struct sl_diag *diag)
{
	bool made, by_hand;
	struct sl_watched *w = entry_of(&d->devices, device, &made);
	struct sl_target_group *old = w ? w->as.group : NULL;
	int err = w ? sl_change_lock(d, diag) : -ENOMEM;

	if (!w)
		return err;
	by_hand = w->as.by_hand;
	w->as.group = sl_target_group_get(group);
	w->as.by_hand = true;
	if (!err) {
		err = sl_device_give_now(&d->devices, w, diag);
		sl_state_unlock(d->devices.state);
	}
	if (!err) {
		sl_target_group_put(old);
		w->as.orphan = false;
		*out = w;
		return 0;
	}
	sl_target_group_put(group);
	w->as.group = old;
	w->as.by_hand = by_hand;
	if (made)
		sl_devices_drop(&d->devices, w);
	return err;
}

static json_t *attached_json(struct sl_daemon *d, const struct sl_watched *w,
			     const struct sl_diag *diag)
{
	struct sl_target t = {};

	sl_state_target(d->devices.state, w->slot, &t);
	return json_pack("{s:s, s:i, s:s, s:o, s:s, s:i, s:o}", "name", w->device.name, "ifindex",
			 (int)w->device.ifindex, "policy", w->as.group->given.name, "generation",
			 sl_json_number(w->generation), "via",
			 t.flags & SL_TARGET_TCX ? "tcx" : "clsact", "slot", (int)w->slot,
			 "warnings", sl_json_diag(diag, SL_WARNING));
}

static int attach_device(struct sl_daemon *d, const char *name, json_t *request,
			 struct sl_target_group *group, json_t **answer, struct sl_diag *diag)
{
	struct sl_watched *w = NULL;
	struct sl_device device;
	int err = sl_device_find(name, &device, diag);

	if (!err)
		err = sl_change_load(request, group, diag);
	if (!err)
		err = attach(d, &device, group, &w, diag);
	if (err)
		return err;
	sl_hand_note_device(d, w, request);
	*answer = attached_json(d, w, diag);
	return 0;
}

void sl_op_attach(struct sl_caller *client, const json_t *asked)
{
	struct sl_daemon *d = client->daemon;
	struct sl_target_group *group = sl_target_group_new();
	json_t *request = json_copy((json_t *)asked);
	const char *device = text_of(request, "device"), *cgroup = text_of(request, "cgroup");
	json_t *answer = NULL;
	struct sl_diag diag = {};
	int err = group && request ? 0 : -ENOMEM;

	if (!err && !device == !cgroup)
		err = sl_error(&diag, NULL, "attach wants \"device\" or \"cgroup\"");
	if (!err && device)
		err = attach_device(d, device, request, group, &answer, &diag);
	else if (!err)
		err = sl_change_attach_cgroup(d, cgroup, request, group, &answer, &diag);
	if (err)
		sl_answer_diag(client, "failed", &diag, err);
	else
		sl_answer(client, answer);
	sl_target_group_put(group);
	json_decref(request);
	sl_diag_free(&diag);
}

/* ---- detach: the only thing that opens ---- */

struct detaching {
	struct sl_daemon *daemon;
	struct sl_diag *diag;
	const char *name; /* of a device; NULL: all */
	__u64 cgroup;	  /* the id of one, instead; 0: none */
	json_t *list;
	bool failed;
};

/* A device of the configuration is not given its policy again by itself. */
static void release_device(struct sl_daemon *d, const struct sl_target *t)
{
	struct sl_watched *w = t->netns == sl_state_netns(d->devices.state)
				       ? sl_devices_find(&d->devices, t->ifindex)
				       : NULL;

	if (!w)
		return;
	sl_hand_forget_device(d, t->ifindex);
	if (w->as.by_hand || w->as.orphan) {
		sl_devices_drop(&d->devices, w);
	} else {
		w->as.state = SL_WATCHED_RELEASED;
		w->generation = w->meaning = 0;
		w->as.pending = w->as.renew = false;
	}
}

/* Of one that was moved away another may have the name here by now. */
static bool is_wanted(const struct detaching *d, const struct sl_target_view *view)
{
	const struct sl_target *t = &view->target;

	if (d->cgroup)
		return t->kind == SL_TARGET_CGROUP && t->cgroup_id == d->cgroup;
	return !d->name || (t->kind == SL_TARGET_DEVICE && !strcmp(d->name, t->name) &&
			    t->netns == sl_state_netns(d->daemon->devices.state) &&
			    (!view->moved || !if_nametoindex(d->name)));
}

static void detach_each(void *context, const struct sl_target_view *view)
{
	const struct sl_target *t = &view->target;
	struct detaching *d = context;
	json_t *one;

	if (!is_wanted(d, view))
		return;
	if (sl_state_detach_slot(d->daemon->devices.state, view->slot, d->diag)) {
		d->failed = true;
		return;
	}
	one = json_pack("{s:b, s:b}", "cgroup", t->kind == SL_TARGET_CGROUP, "above",
			t->kind == SL_TARGET_CGROUP && sl_change_is_below_another(d->daemon, t));
	json_object_set_new(one, "name",
			    t->kind == SL_TARGET_CGROUP ? sl_change_release_cgroup(d->daemon, t)
							: sl_json_text(t->name));
	if (t->kind == SL_TARGET_DEVICE && !view->moved)
		release_device(d->daemon, t);
	fputs("sluiced: detached ", stderr);
	sl_put_text(json_string_value(json_object_get(one, "name")), stderr);
	fputs(": asked for on the control socket\n", stderr);
	sl_daemon_record(d->daemon,
			 json_pack("{s:s, s:s, s:{s:s, s:O}}", "event",
				   t->kind == SL_TARGET_CGROUP ? "cgroup" : "device", "change",
				   "detached", "target", "kind",
				   t->kind == SL_TARGET_CGROUP ? "cgroup" : "device", "name",
				   json_object_get(one, "name")),
			 true);
	json_array_append_new(d->list, one);
}

/* What is asked for, into t. */
static int read_wanted(struct detaching *t, const json_t *request)
{
	const char *cgroup = text_of(request, "cgroup");
	struct sl_cgroup_target target;
	int err;

	t->name = text_of(request, "device");
	if (!!t->name + !!cgroup + json_is_true(json_object_get(request, "all")) != 1)
		return sl_error(t->diag, NULL,
				"detach wants \"device\", \"cgroup\", or \"all\": "
				"true");
	if (!cgroup)
		return 0;
	err = sl_cgroup_open_target(cgroup, &target, t->diag);
	if (err)
		return err;
	t->cgroup = target.id;
	sl_cgroup_close_target(&target);
	return 0;
}

void sl_op_detach(struct sl_caller *client, const json_t *request)
{
	struct sl_diag diag = {};
	struct detaching t = {.daemon = client->daemon, .diag = &diag, .list = json_array()};
	int err = read_wanted(&t, request);

	if (!err)
		err = sl_change_lock(t.daemon, &diag);
	if (!err) {
		sl_state_sweep(t.daemon->devices.state);
		err = sl_state_targets(t.daemon->devices.state, detach_each, &t);
		sl_state_unlock(t.daemon->devices.state);
	}
	if (!err && (t.name || t.cgroup) && !json_array_size(t.list) && !t.failed)
		err = sl_error(&diag, NULL,
			       "%s '%s' has no policy%s (`sluice status` lists those "
			       "that have one)",
			       t.name ? "device" : "cgroup",
			       t.name ? t.name : text_of(request, "cgroup"),
			       t.name ? "" : " of its own");
	if (err || t.failed)
		sl_answer_diag(client, "failed", &diag, err);
	else
		sl_answer(client, json_pack("{s:O}", "detached", t.list));
	json_decref(t.list);
	sl_diag_free(&diag);
}

/* ---- apply ---- */

/* Waits for one that begins now at the earliest: what is being read may have been read before
 * the caller changed it. */
void sl_op_apply(struct sl_caller *client, const json_t *request)
{
	struct sl_daemon *d = client->daemon;

	(void)request;
	client->applies = d->reload.started + 1;
	d->reload_at_ns = sl_now_ns();
}

static json_t *apply_failed(const struct sl_daemon *d)
{
	return json_pack("{s:i, s:b, s:s, s:s, s:O}", "sluice", SL_CONTROL_VERSION, "ok", 0, "code",
			 "failed", "error",
			 "the configuration is not loaded; what was loaded before goes on",
			 "errors", d->reload.errors);
}

/* Every target has what is in force now. */
static json_t *apply_done(struct sl_daemon *d)
{
	size_t count[SL_WATCHED_RELEASED + 1] = {};

	sl_devices_take_back(&d->devices);
	sl_cgroups_take_back(&d->cgroups);
	sl_devices_work(&d->devices, ~0ull);
	sl_cgroups_work(&d->cgroups, d->devices.state, ~0ull);
	for (size_t i = 0; i < d->devices.n_devices; i++)
		count[d->devices.devices[i].as.state]++;
	for (size_t i = 0; i < d->cgroups.n; i++)
		count[d->cgroups.list[i].as.state]++;
	return json_pack("{s:i, s:b, s:s, s:i, s:i, s:i, s:i, s:i}", "sluice", SL_CONTROL_VERSION,
			 "ok", 1, "config", d->options->config, "targets", (int)d->config->n_targets,
			 "attached", (int)count[SL_WATCHED_ATTACHED], "isolated",
			 (int)count[SL_WATCHED_ISOLATED], "failed", (int)count[SL_WATCHED_FAILED],
			 "left", (int)count[SL_WATCHED_LEFT]);
}

void sl_op_apply_answer(struct sl_daemon *d, __u64 started)
{
	struct sl_caller *c = sl_control_server_first(d->server);
	json_t *answer = NULL;

	for (; c; c = c->next) {
		if (!c->applies || c->applies > started || c->gone)
			continue;
		if (!answer)
			answer = d->reload.ok ? apply_done(d) : apply_failed(d);
		c->applies = 0;
		c->active_ns = sl_now_ns();
		c->more = true;	/* what it has asked meanwhile */
		sl_caller_send(c, json_incref(answer));
	}
	json_decref(answer);
}
