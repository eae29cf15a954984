// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Which veths lead to whose network, and when that is looked at. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/json.h"
#include "daemon.h"
#include "op_change.h"
#include "policy/text.h"
#include "target/veth.h"

#define SECOND 1000000000ull
#define SOON_NS (20 * 1000000ull) /* the first time that none is found; then twice as long */
#define SOON_MAX_NS (2 * SECOND)

/* The veths of our namespace, as they are while something is looked for. */
struct round {
	struct sl_veth *list; /* owned */
	size_t n;
	bool listed;
};

static void note_veth(void *context, const struct sl_veth *veth)
{
	struct round *round = context;
	struct sl_veth *one = SL_ADD(round->list, round->n);

	if (one)
		*one = *veth;
}

/* Listing them gives the namespaces behind them their numbers: that comes first. */
static void list_veths(struct round *round)
{
	if (!round->listed && sl_veth_each(note_veth, round))
		round->n = 0; /* interrupted, or no memory: looked at again later */
	round->listed = true;
}

/* ---- whose ---- */

/* The number of the network that the cgroup's oldest process is in; -1: of none that one of our
 * veths leads to. */
static int network_of(const struct sl_cgroups *c, const struct sl_watched_cgroup *w)
{
	struct stat st;
	int fd, nsid = -1;
	char *path;
	pid_t pid;

	if (asprintf(&path, "%s%s", c->mount, w->path) < 0)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return -1;
	pid = !fstat(fd, &st) && st.st_ino == w->id ? sl_oldest_process(fd, sl_pod_is_monitor, NULL)
						    : 0;
	close(fd);
	return pid && !sl_netns_of_process(pid, &nsid) ? nsid : -1;
}

static bool has(const struct sl_veths *v, unsigned ifindex)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->indexes[i] == ifindex)
			return true;
	return false;
}

const struct sl_pod *sl_veths_pod_behind(const struct sl_daemon *d, int nsid)
{
	for (size_t i = 0; nsid >= 0 && i < d->pods.n; i++) {
		const struct sl_pod *pod = &d->pods.list[i];
		const struct sl_watched_cgroup *w =
			pod->ended || !pod->text ? NULL :
			sl_cgroups_find((struct sl_cgroups *)&d->cgroups, pod->id);

		if (w && network_of(&d->cgroups, w) == nsid)
			return pod;
	}
	return NULL;
}

/* A device that the configuration names, or that somebody attached, is not ours to judge. */
void sl_veths_take(struct sl_daemon *d, struct sl_veths *v, const struct sl_veth *veth)
{
	struct sl_watched *w = sl_devices_find(&d->devices, veth->ifindex);
	unsigned *index = has(v, veth->ifindex) ? NULL : SL_ADD(v->indexes, v->n);

	if (!index)
		return;
	*index = veth->ifindex;
	if (!w)
		sl_devices_add(&d->devices, veth->ifindex, veth->name, v->group);
	else if (w->of_veth && !w->as.by_hand)
		sl_assign_anew(&w->as, v->group);
}

static void look(struct sl_daemon *d, struct sl_watched_cgroup *w, struct round *round)
{
	struct sl_veths *v = w->veths;
	int nsid;

	list_veths(round);
	nsid = round->n ? network_of(&d->cgroups, w) : -1;
	for (size_t i = 0; nsid >= 0 && i < round->n; i++)
		if (round->list[i].nsid == nsid)
			sl_veths_take(d, v, &round->list[i]);
	v->look_at_ns = 0;
	if (v->n)
		return;
	v->wait_ns = !v->wait_ns ? SOON_NS : v->wait_ns < SOON_MAX_NS ? 2 * v->wait_ns : 0;
	v->look_at_ns = v->wait_ns ? sl_now_ns() + v->wait_ns : 0;
}

/* ---- what they get ---- */

static void set_all(struct sl_daemon *d, struct sl_veths *v)
{
	for (size_t i = 0; i < v->n; i++) {
		struct sl_watched *w = sl_devices_find(&d->devices, v->indexes[i]);

		if (w && w->of_veth && !w->as.by_hand)
			sl_assign_anew(&w->as, v->group);
	}
}

/* Opens them: the policy is one that no veth can have, or the pod is exempt now. */
static void release(struct sl_daemon *d, struct sl_veths *v)
{
	struct sl_diag diag = {};
	int err = v->n ? sl_change_lock(d, &diag) : 0;

	for (size_t i = 0; !err && i < v->n; i++) {
		struct sl_watched *w = sl_devices_find(&d->devices, v->indexes[i]);

		if (!w || !w->of_veth || w->as.by_hand)
			continue;
		sl_state_detach_device(d->devices.state, &w->device, &diag);
		d->devices.ops->tell(d->devices.context, "detached", w, NULL, v->why);
		sl_devices_drop(&d->devices, w);
	}
	if (!err && v->n)
		sl_state_unlock(d->devices.state);
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (!err)
		v->n = 0; /* else at the next turn */
	sl_target_group_put(v->group);
	v->group = NULL;
}

/* The policy is another one. What cannot be loaded leaves them what they have. */
static void load(struct sl_daemon *d, struct sl_watched_cgroup *w)
{
	struct sl_veths *v = w->veths;
	struct sl_target_group *group = v->group ? v->group : sl_target_group_new();
	int err = group ? 0 : -ENOMEM;

	if (err)
		return;
	sl_target_group_put(v->source);
	v->source = sl_target_group_get(w->as.group);
	v->loads = w->as.group->given.loads;
	if (!group->policy && w->as.group->policy)
		group->policy = strdup(w->as.group->policy);
	group->line = w->as.group->line;
	v->meaning = w->meaning;
	err = sl_veth_load(group, w, v->why, sizeof(v->why));
	if (!v->group && err)
		sl_target_group_put(group);
	else
		v->group = group;
	if (err == -EOPNOTSUPP)
		release(d, v);
	else if (!err)
		set_all(d, v);
	v->unfit = err == -EOPNOTSUPP;
	if (!err && !v->n)
		v->look_at_ns = 1; /* at once */
}

static void forget_gone(struct sl_daemon *d, struct sl_veths *v)
{
	for (size_t i = 0; i < v->n;)
		if (sl_links_find(d->devices.links, v->indexes[i]) ||
		    sl_devices_find(&d->devices, v->indexes[i]))
			i++;
		else
			v->indexes[i] = v->indexes[--v->n];
}

/* The pod's object says so, or the container's target. */
static bool is_wanted(const struct sl_watched_cgroup *w)
{
	return (w->has_veths || (w->container && w->as.group->has_veths)) &&
	       w->as.group->given.attach.parsed;
}

/* Its cgroup comes first: what that could not be given, its veths do not get. */
static bool is_due(const struct sl_watched_cgroup *w)
{
	const struct sl_veths *v = w->veths;
	bool another = v->source != w->as.group || v->loads != w->as.group->given.loads,
	     resolved = w->meaning && w->meaning != v->meaning,
	     keeps = v->group && w->as.state == SL_WATCHED_ATTACHED && (*w->why || w->as.renew);

	return w->as.state != SL_WATCHED_WAITING && !keeps && (another || resolved);
}

static void work_on(struct sl_daemon *d, struct sl_watched_cgroup *w, struct round *round,
		    __u64 now)
{
	struct sl_veths *v = w->veths;

	if (!is_wanted(w)) {
		if (v)
			release(d, v);
		if (v && !v->n) {
			sl_veths_free(v);
			w->veths = NULL;
		}
		return;
	}
	if (!v)
		v = w->veths = calloc(1, sizeof(*v));
	if (!v)
		return;
	if (is_due(w))
		load(d, w);
	forget_gone(d, v);
	if (v->group && v->look_at_ns && now >= v->look_at_ns)
		look(d, w, round);
}

void sl_veths_give(struct sl_daemon *d, __u64 cgroup, const struct sl_veth *list, size_t n)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, cgroup);
	struct round round = {.listed = true}; /* nothing is to be looked for */

	work_on(d, w, &round, sl_now_ns());
	for (size_t i = 0; w->veths && w->veths->group && i < n; i++)
		sl_veths_take(d, w->veths, &list[i]);
	sl_devices_work(&d->devices, ~0ull);
}

void sl_veths_work(struct sl_daemon *d)
{
	struct round round = {};
	__u64 now = sl_now_ns();

	for (size_t i = 0; i < d->cgroups.n; i++)
		work_on(d, &d->cgroups.list[i], &round, now);
	sl_veths_settle_held(d);
	free(round.list);
}

int sl_veths_timeout(const struct sl_daemon *d)
{
	__u64 now = sl_now_ns(), at = d->held_look_at_ns ? d->held_look_at_ns : ~0ull, wait;

	for (size_t i = 0; i < d->cgroups.n; i++) {
		const struct sl_veths *v = d->cgroups.list[i].veths;

		if (v && v->group && v->look_at_ns && v->look_at_ns < at)
			at = v->look_at_ns;
	}
	wait = at == ~0ull ? at : at > now ? at - now : 0;
	return wait == ~0ull ? -1 : (int)((wait + 999999) / 1000000);
}

void sl_veths_on_links(struct sl_daemon *d)
{
	for (size_t i = 0; i < d->cgroups.n; i++) {
		struct sl_veths *v = d->cgroups.list[i].veths;

		if (v && !v->n && !v->look_at_ns)
			v->look_at_ns = sl_now_ns() + SOON_NS;
	}
}

void sl_veths_reconcile(struct sl_daemon *d)
{
	for (size_t i = 0; i < d->cgroups.n; i++)
		if (d->cgroups.list[i].veths)
			d->cgroups.list[i].veths->look_at_ns = sl_now_ns();
}

static bool is_above(const char *above, const char *path)
{
	size_t n = strlen(above);

	return !strncmp(path, above, n) && (path[n] == '/' || !path[n]);
}

/* Why one of them is not judged, or that there is none. */
static const char *open_end(struct sl_daemon *d, const struct sl_veths *v)
{
	if (!v || *v->why)
		return !v ? "no memory" : v->unfit ? NULL : v->why;
	for (size_t i = 0; i < v->n; i++) {
		const struct sl_watched *w = sl_devices_find(&d->devices, v->indexes[i]);

		if (w && w->of_veth && w->as.state != SL_WATCHED_ATTACHED &&
		    w->as.state != SL_WATCHED_ISOLATED && w->as.state != SL_WATCHED_LEFT)
			return *w->why ? w->why : "its device is not judged";
	}
	return v->n ? NULL : "no veth leads to its network from sluiced's";
}

const char *sl_veths_now(struct sl_daemon *d, const char *path)
{
	struct sl_watched_cgroup *w, *nearest = NULL;
	struct round round = {};

	for (size_t i = 0; i < d->cgroups.n; i++) {
		w = &d->cgroups.list[i];
		if (is_wanted(w) && is_above(w->path, path) &&
		    (!nearest || strlen(w->path) > strlen(nearest->path)))
			nearest = w;
	}
	if (!nearest)
		return NULL;
	if (nearest->veths)
		nearest->veths->look_at_ns = 1;
	work_on(d, nearest, &round, sl_now_ns());
	free(round.list);
	sl_devices_work(&d->devices, ~0ull);
	return open_end(d, nearest->veths);
}

void sl_veths_free(struct sl_veths *v)
{
	if (!v)
		return;
	sl_target_group_put(v->source);
	sl_target_group_put(v->group);
	free(v->indexes);
	free(v);
}

/* ---- as status shows them ---- */

const char *sl_veths_unfit(const struct sl_watched_cgroup *w)
{
	return w->veths && w->veths->unfit && *w->veths->why ? w->veths->why : NULL;
}

void sl_veths_json(const struct sl_daemon *d, __u64 cgroup, json_t *object)
{
	const struct sl_watched_cgroup *w =
		sl_cgroups_find((struct sl_cgroups *)&d->cgroups, cgroup);
	const struct sl_veths *v = w ? w->veths : NULL;
	json_t *names = json_array();

	for (size_t i = 0; v && i < v->n; i++) {
		const struct sl_watched *one =
			sl_devices_find((struct sl_devices *)&d->devices, v->indexes[i]);

		if (one)
			json_array_append_new(names, sl_json_text(one->device.name));
	}
	json_object_set_new(object, "veths", names);
	json_object_set_new(object, "veths_why", v && *v->why ? json_string(v->why) : json_null());
}

const struct sl_watched_cgroup *sl_veths_owner(const struct sl_daemon *d, unsigned ifindex)
{
	for (size_t i = 0; i < d->cgroups.n; i++)
		if (d->cgroups.list[i].veths && has(d->cgroups.list[i].veths, ifindex))
			return &d->cgroups.list[i];
	return NULL;
}

static bool is_of_open(const struct sl_daemon *d, const char *text)
{
	static const char begins[] = ": " SL_VIEW_PEER_OPEN;

	for (size_t i = 0; i < d->devices.n_devices; i++) {
		const struct sl_watched *w = &d->devices.devices[i];
		size_t n = strlen(w->device.name);

		if (w->of_veth && !strncmp(text, w->device.name, n) &&
		    !strncmp(text + n, begins, sizeof(begins) - 1))
			return true;
	}
	return false;
}

void sl_veths_fold(const struct sl_daemon *d, json_t *warnings)
{
	size_t n = 0;

	for (size_t i = json_array_size(warnings); i-- > 0;)
		if (is_of_open(d, json_string_value(json_array_get(warnings, i)))) {
			json_array_remove(warnings, i);
			n++;
		}
	if (n)
		json_array_append_new(
			warnings, json_sprintf("not guarded inside: %zu veth%s of pods or containers: "
					       "with CAP_NET_ADMIN one can "
					       "send past its veth's policy, not past its cgroup's "
					       "(docs/kubernetes.md)",
					       n, SL_S(n)));
}
