// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A pod's network is made: what the chained CNI plugin (user/gate/cni.c) asks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/json.h"
#include "op_change.h"
#include "policy/text.h"
#include "server.h"
#include "target/veth.h"

static const char *text_of(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

static struct sl_pod *find_pod(struct sl_daemon *d, const char *uid)
{
	for (size_t i = 0; i < d->pods.n; i++)
		if (!d->pods.list[i].ended && !strcmp(d->pods.list[i].uid, uid))
			return &d->pods.list[i];
	return NULL;
}

/* Its cgroup is there before its network: if no news has told of it yet, now. */
static struct sl_pod *look_for(struct sl_daemon *d, const char *uid)
{
	struct sl_pod *pod = find_pod(d, uid);

	if (pod || !d->cgroups.mount)
		return pod;
	sl_cgroups_walk(&d->cgroups, true);
	return find_pod(d, uid);
}

/* ---- the devices of the request ---- */

struct wanted {
	const json_t *indexes;
	struct sl_veth *list; /* owned */
	size_t n;
};

static void note(void *context, const struct sl_veth *veth)
{
	struct wanted *w = context;
	const json_t *index;
	struct sl_veth *one;
	size_t i;

	json_array_foreach((json_t *)w->indexes, i, index)
	{
		if (json_integer_value(index) != (json_int_t)veth->ifindex)
			continue;
		one = SL_ADD(w->list, w->n);
		if (one)
			*one = *veth;
	}
}

/* What is no veth that leads out of our namespace is no pod's. */
static int read_devices(const json_t *request, struct wanted *w, struct sl_diag *diag)
{
	int err;

	w->indexes = json_object_get(request, "devices");
	if (!json_is_array(w->indexes))
		return sl_error(diag, NULL, "cni wants \"devices\", a list of the veths' indexes");
	err = sl_veth_each(note, w);
	if (!err && w->n != json_array_size(w->indexes))
		err = -ENODEV;
	return err ? sl_error(diag, NULL,
			      "a device of the pod is none of this namespace's veths, or they "
			      "cannot be listed: %s",
			      strerror(-err))
		   : 0;
}

/* ---- add ---- */

/* Nothing of the pod passes the veth until it is known; sockets meet the default. */
static int hold(struct sl_daemon *d, const char *uid, const struct wanted *w, struct sl_diag *diag)
{
	int err = sl_change_lock(d, diag);

	if (err)
		return err;
	for (size_t i = 0; !err && i < w->n; i++) {
		struct sl_device device = {.ifindex = w->list[i].ifindex};

		memcpy(device.name, w->list[i].name, sizeof(device.name));
		if (sl_devices_find(&d->devices, device.ifindex))
			continue; /* the configuration's: judged by that */
		err = sl_state_hold_device(d->devices.state, &device, diag);
		if (!err)
			err = sl_veths_held(d, uid, &w->list[i]);
	}
	sl_state_unlock(d->devices.state);
	return err;
}

static int check_devices(struct sl_daemon *d, const struct wanted *w, struct sl_diag *diag)
{
	for (size_t i = 0; i < w->n; i++) {
		struct sl_device device = {.ifindex = w->list[i].ifindex};

		memcpy(device.name, w->list[i].name, sizeof(device.name));
		if (!sl_state_device_is_attached(d->devices.state, &device))
			return sl_error(diag, NULL, "%s is not judged (`sluice status`)",
					device.name);
	}
	return 0;
}

/* Known: its cgroup first, then its veths. The pod may be another element of the list afterwards.
 */
static int give(struct sl_daemon *d, __u64 id, const struct wanted *w, struct sl_diag *diag)
{
	const struct sl_watched_cgroup *c;

	sl_cgroups_work(&d->cgroups, d->devices.state, ~0ull);
	c = sl_cgroups_find(&d->cgroups, id);
	if (!c || (c->as.state != SL_WATCHED_ATTACHED && c->as.state != SL_WATCHED_ISOLATED &&
		   c->as.state != SL_WATCHED_LEFT))
		return sl_error(diag, NULL, "the policy of the pod is not in force: %s",
				c && *c->why ? c->why : "see sluiced's log");
	if (!c->has_veths)
		return 0;
	sl_veths_give(d, id, w->list, w->n);
	c = sl_cgroups_find(&d->cgroups, id);
	return c && c->veths && *c->veths->why ? 0 : check_devices(d, w, diag);
}

static int add(struct sl_daemon *d, const json_t *request, const struct wanted *w,
	       const char **state, struct sl_diag *diag)
{
	const char *uid = text_of(request, "uid"), *namespace = text_of(request, "namespace");
	struct sl_pod *pod = look_for(d, uid);
	bool exempt = pod && pod->text ? pod->exempt : sl_pods_is_exempt(d, uid, namespace);

	*state = exempt ? "exempt" : pod && pod->text ? "judged" : "held";
	if (exempt)
		return 0;
	return pod && pod->text ? give(d, pod->id, w, diag) : hold(d, uid, w, diag);
}

/* ---- the operation ---- */

static int work(struct sl_daemon *d, const json_t *request, const char **state,
		struct sl_diag *diag)
{
	const char *command = text_of(request, "command"), *uid = text_of(request, "uid");
	struct wanted w = {};
	int err = 0;

	*state = NULL;
	if (!command ||
	    (strcmp(command, "ADD") && strcmp(command, "CHECK") && strcmp(command, "DEL")))
		return sl_error(diag, NULL, "cni wants \"command\": ADD, CHECK or DEL");
	if (uid && strlen(uid) > SL_POD_UID_MAX)
		return sl_error(diag, NULL, "a pod's uid has at most %d bytes", SL_POD_UID_MAX);
	if (!d->pods.on || !uid || !strcmp(command, "DEL"))
		return 0;
	err = read_devices(request, &w, diag);
	if (!err && !d->config->kubernetes.no_veth)
		err = add(d, request, &w, state, diag);
	free(w.list);
	return err;
}

void sl_op_cni(struct sl_caller *client, const json_t *request)
{
	struct sl_diag diag = {};
	const char *state;
	int err = work(client->daemon, request, &state, &diag);

	if (err)
		sl_answer_diag(client, "failed", &diag, err);
	else
		sl_answer(client,
			  json_pack("{s:b, s:s?}", "matched", state != NULL, "state", state));
	sl_diag_free(&diag);
}
