// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The devices that match: when something is to be done. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "devices.h"

#define SECOND 1000000000ull
/* An interface that comes up brings a dozen messages; one that never rests must not
 * put the answer off for ever. */
#define SETTLE_NS (200 * 1000000ull)
#define SETTLE_MAX_NS (2 * SECOND)
#define RETRY_MAX_NS (60 * SECOND)
#define BUSY_NS (20 * 1000000ull)

__u64 sl_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

/* ---- when ---- */

void sl_devices_on_change(struct sl_devices *devices)
{
	__u64 now = sl_now_ns(), last;

	if (!devices->renew_at_ns)
		devices->changed_at_ns = now;
	last = devices->changed_at_ns + SETTLE_MAX_NS;
	devices->renew_at_ns = now + SETTLE_NS < last ? now + SETTLE_NS : last;
}

void sl_devices_retry_later(struct sl_devices *devices)
{
	__u64 wait = devices->retries < 6 ? SECOND << devices->retries : RETRY_MAX_NS;

	if (devices->retry_at_ns)
		return;
	devices->retry_at_ns = sl_now_ns() + wait;
	devices->retries++;
}

void sl_devices_renew_all(struct sl_devices *devices, bool anew)
{
	for (size_t i = 0; i < devices->n_devices; i++) {
		devices->devices[i].as.renew = true;
		if (anew)
			devices->devices[i].meaning = 0;
	}
}

static void retry(struct sl_devices *devices)
{
	for (size_t i = 0; i < devices->n_devices; i++) {
		struct sl_watched *w = &devices->devices[i];

		if (w->as.state == SL_WATCHED_FAILED)
			w->as.state = SL_WATCHED_WAITING;
		w->held = false; /* somebody may have opened it */
		w->as.renew |= w->as.pending;
	}
}

static bool is_due(__u64 *at_ns, __u64 now)
{
	if (!*at_ns || now < *at_ns)
		return false;
	*at_ns = 0;
	return true;
}

int sl_devices_timeout(const struct sl_devices *devices)
{
	const __u64 at[] = {devices->renew_at_ns, devices->retry_at_ns, devices->check_at_ns,
			    devices->busy_at_ns};
	__u64 now = sl_now_ns(), wait = ~0ull;

	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		__u64 left = at[i] > now ? at[i] - now : 0;

		if (at[i] && left < wait)
			wait = left;
	}
	return wait == ~0ull ? -1 : (int)((wait + 999999) / 1000000);
}

/* ---- what the state says ---- */

struct survey {
	struct sl_devices *devices;
	struct sl_device_found *found; /* of each device */
	__u64 netns;
};

static void note(void *context, const struct sl_target_view *view)
{
	struct survey *survey = context;
	const struct sl_target *t = &view->target;
	struct sl_watched *w;

	if (t->kind != SL_TARGET_DEVICE || t->netns != survey->netns || view->moved)
		return;		/* of one that was moved another may have the index */
	w = sl_devices_find(survey->devices, t->ifindex);
	if (w)
		survey->found[w - survey->devices->devices] =
			(struct sl_device_found){.present = true,
						 .attached = view->attached,
						 .slot = view->slot,
						 .broken = view->broken,
						 .generation = view->generation};
}

/* Owned; NULL without memory. */
static struct sl_device_found *look(struct sl_devices *devices)
{
	struct survey survey = {devices, calloc(devices->n_devices + 1, sizeof(*survey.found)),
				sl_state_netns(devices->state)};

	if (survey.found)
		sl_state_targets(devices->state, note, &survey);
	return survey.found;
}

static bool is_ours(const struct sl_watched *w)
{
	return w->as.state == SL_WATCHED_ATTACHED || w->as.state == SL_WATCHED_ISOLATED;
}

/* What is not in the kernel as we left it, or NULL. */
static const char *broken(const struct sl_devices *devices, const struct sl_watched *w)
{
	struct sl_seal seal;
	int err = sl_state_seal(devices->state, w->slot, &seal);

	if (err) /* what cannot be looked at is no news */
		return err == -ENOENT ? "somebody detached it" : NULL;
	return sl_seal_broken(&w->seal, &seal);
}

/* Somebody took a policy of ours away, its programs off the device, or changed the pinned
 * maps. (If the device itself is gone, the news of it is under way.) What can be mended
 * without a moment in which nothing is judged is mended so; then all is given anew. */
static void check(struct sl_devices *devices, struct sl_watched *w, struct sl_device_found *found)
{
	bool there = found->present && found->attached, had = is_ours(w);
	/* a whole table of another generation is somebody's policy, no damage */
	const char *why =
		had && (found->broken || !found->generation || found->generation == w->generation)
			? broken(devices, w)
			: NULL;

	if ((there && !why) || !sl_device_is_there(w))
		return;
	if (!found->present)
		why = "somebody detached it";
	else if (!there && !why)
		why = "somebody took the programs off the device";
	if (had)
		devices->ops->tell(devices->context, "lost", w, NULL, why);
	if (had && found->present && !sl_state_mend(devices->state, &w->device, found->slot))
		found->attached = true;
	if (had || w->as.state == SL_WATCHED_LEFT)
		w->as.state = SL_WATCHED_WAITING;
	if (had)
		w->generation = found->generation;
	w->meaning = 0;
}

static void work_on(struct sl_devices *devices, struct sl_watched *w, struct sl_device_found *found)
{
	check(devices, w, found);
	if (w->as.state == SL_WATCHED_WAITING)
		sl_device_give(devices, w, found);
	else if (is_ours(w) && !sl_device_leaves(devices, w, found) && w->as.renew)
		sl_device_renew(devices, w);
	w->as.renew = false;
}

static bool has_work(const struct sl_devices *devices)
{
	bool work = devices->sweep;

	for (size_t i = 0; i < devices->n_devices; i++)
		work |= devices->devices[i].as.state == SL_WATCHED_WAITING ||
			devices->devices[i].as.renew;
	return work;
}

/* Looks without the lock. */
static bool has_lost_something(struct sl_devices *devices)
{
	for (size_t i = 0; i < devices->n_devices; i++) {
		const struct sl_watched *w = &devices->devices[i];

		if (is_ours(w) && broken(devices, w))
			return true;
		if (w->as.state == SL_WATCHED_LEFT &&
		    !sl_state_device_is_attached(devices->state, &w->device))
			return true;
	}
	return false;
}

static bool wants_hold(const struct sl_watched *w)
{
	const struct sl_attach_options *o = &w->as.group->given.attach;

	return w->as.state == SL_WATCHED_WAITING && w->is_new && !w->held && !o->audit &&
	       o->parsed->mode != SL_MODE_AUDIT && sl_device_is_there(w);
}

/* A device that has just come sends at once, and what a policy takes to be in place is
 * grace periods: until then nothing passes. All of them, before the first gets its
 * policy. Devices that were there before us are not interrupted; neither is anything
 * in audit mode. False: time is over, and there are more. */
static bool hold_new(struct sl_devices *devices, __u64 until_ns)
{
	struct sl_diag ignored = {}; /* attaching it will say the same */
	bool held = false, all = true;

	for (size_t i = 0; i < devices->n_devices && all; i++) {
		struct sl_watched *w = &devices->devices[i];

		if (!wants_hold(w))
			continue;
		all = !held || sl_now_ns() < until_ns;
		if (!all)
			continue;
		sl_state_hold_device(devices->state, &w->device, &ignored);
		w->held = held = true;
	}
	sl_diag_free(&ignored);
	return all;
}

/* False: time is over. */
static bool work_on_all(struct sl_devices *devices, __u64 until_ns)
{
	struct sl_device_found *found = look(devices);
	size_t first = devices->next < devices->n_devices && until_ns != ~0ull ? devices->next : 0;
	size_t i;

	for (i = first; found && i < devices->n_devices; i++) {
		if (i > first && sl_now_ns() >= until_ns)
			break;
		work_on(devices, &devices->devices[i], &found[i]);
	}
	free(found);
	devices->next = i < devices->n_devices ? i : 0;
	return !found || !devices->next;
}

static int lock(struct sl_devices *devices)
{
	struct sl_diag diag = {};
	int err = sl_state_relock(devices->state, &diag);

	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	return err == -ESTALE ? devices->ops->reopen(devices->context) : err;
}

static void change_state(struct sl_devices *devices, __u64 at_most_ns)
{
	__u64 begin = sl_now_ns(), until = at_most_ns > ~0ull - begin ? ~0ull : begin + at_most_ns;
	int err = lock(devices);
	bool all;

	if (err == -EAGAIN) /* a command changes it now */
		devices->busy_at_ns = sl_now_ns() + BUSY_NS;
	else if (err) /* said */
		sl_devices_retry_later(devices);
	if (err)
		return;
	all = hold_new(devices, until);
	if (devices->sweep)
		sl_state_sweep(devices->state);
	devices->sweep = false;
	if (!all || !work_on_all(devices, until))
		devices->busy_at_ns = begin; /* go on at once */
	sl_state_unlock(devices->state);
}

void sl_devices_work(struct sl_devices *devices, __u64 at_most_ns)
{
	__u64 now = sl_now_ns();

	if (is_due(&devices->renew_at_ns, now))
		sl_devices_renew_all(devices, false);
	if (is_due(&devices->retry_at_ns, now))
		retry(devices);
	if (devices->busy_at_ns && !is_due(&devices->busy_at_ns, now))
		return;
	if (has_work(devices) ||
	    (is_due(&devices->check_at_ns, now) && has_lost_something(devices)))
		change_state(devices, at_most_ns);
	if (!devices->check_at_ns)
		devices->check_at_ns = sl_now_ns() + devices->check_ns;
}

void sl_devices_free(struct sl_devices *devices)
{
	while (devices->n_devices)
		sl_devices_drop(devices, &devices->devices[0]);
	free(devices->devices);
	devices->devices = NULL;
	for (size_t i = 0; i < devices->n_groups; i++)
		sl_target_group_put(devices->groups[i]);
	free(devices->groups);
	devices->groups = NULL;
	devices->n_groups = 0;
}
