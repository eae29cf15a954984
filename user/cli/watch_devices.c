// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The devices of `sluice watch`: which there are, and when something is to be done. */
#include <errno.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "output.h"
#include "watch.h"

#define SECOND 1000000000ull
/* An interface that comes up brings a dozen messages; one that never rests must not
 * put the answer off for ever. */
#define SETTLE_NS (200 * 1000000ull)
#define SETTLE_MAX_NS (2 * SECOND)
#define CHECK_NS (5 * SECOND)
#define RETRY_MAX_NS (60 * SECOND)
#define DRAIN_MS 250

__u64 sl_watch_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

/* ---- what the links say ---- */

static struct sl_watched *find(struct sl_watch *watch, unsigned ifindex)
{
	for (size_t i = 0; i < watch->n_devices; i++)
		if (watch->devices[i].device.ifindex == ifindex)
			return &watch->devices[i];
	return NULL;
}

static void set_name(struct sl_watched *w, const char *name)
{
	memcpy(w->device.name, name, sizeof(w->device.name));
}

/* What is no Ethernet device (lo, a tun) has no frames to judge. */
static void consider(struct sl_watch *watch, const struct sl_link *link)
{
	const struct sl_watch_options *o = watch->options;
	struct sl_watched *w;

	if (sl_link_pattern(o->patterns, o->n_patterns, link->name) < 0)
		return;
	if (link->type != ARPHRD_ETHER) {
		fprintf(stderr, "sluice watch: %s matches, but is no Ethernet device (type %u): "
			"not attached\n", link->name, link->type);
		return;
	}
	w = SL_ADD(watch->devices, watch->n_devices);
	if (!w) {
		fprintf(stderr, "sluice watch: %s: out of memory: NOT ATTACHED\n", link->name);
		return;
	}
	w->device.ifindex = link->ifindex;
	w->is_new = watch->started;
	set_name(w, link->name);
}

static void drop(struct sl_watch *watch, struct sl_watched *w)
{
	*w = watch->devices[--watch->n_devices];
}

/* Whoever may rename a device may also detach it; that a name changed is no wish
 * that its frames pass. */
static void renamed(struct sl_watch *watch, struct sl_watched *w, const struct sl_link *link)
{
	const struct sl_watch_options *o = watch->options;
	bool matches = sl_link_pattern(o->patterns, o->n_patterns, link->name) >= 0;
	bool has_none = w->state == SL_WATCHED_WAITING || w->state == SL_WATCHED_FAILED;
	char why[80];

	snprintf(why, sizeof(why), "was %s%s", w->device.name,
		 matches ? "" : "; stays attached, though no pattern matches");
	set_name(w, link->name);
	if (has_none && !matches) {
		drop(watch, w);
	} else if (has_none) {
		w->state = SL_WATCHED_WAITING;
	} else {
		sl_watch_tell(watch, "renamed", w, NULL, why);
		/* a new generation brings the name into the state, and so into events */
		w->meaning = 0;
		w->renew = true;
	}
}

static void gone(struct sl_watch *watch, struct sl_watched *w)
{
	if (w->state == SL_WATCHED_ATTACHED || w->state == SL_WATCHED_ISOLATED)
		sl_watch_tell(watch, "gone", w, NULL, NULL);
	watch->sweep = true;
	drop(watch, w);
}

void sl_watch_on_link(void *context, enum sl_link_change change, const struct sl_link *link,
		      const struct sl_link *before)
{
	struct sl_watch *watch = context;
	struct sl_watched *w = find(watch, link->ifindex);

	switch (change) {
	case SL_LINK_NEW:
		consider(watch, link);
		break;
	case SL_LINK_RENAMED:
		if (w)
			renamed(watch, w, link);
		else
			consider(watch, link);
		break;
	case SL_LINK_MASTER:
		if (w)
			sl_watch_on_change(watch);
		break;
	case SL_LINK_AGAIN:
		watch->check_at_ns = sl_watch_now_ns();
		break;
	case SL_LINK_GONE:
		if (w)
			gone(watch, w);
		break;
	}
}

/* ---- when ---- */

void sl_watch_on_change(struct sl_watch *watch)
{
	__u64 now = sl_watch_now_ns(), last;

	if (!watch->renew_at_ns)
		watch->changed_at_ns = now;
	last = watch->changed_at_ns + SETTLE_MAX_NS;
	watch->renew_at_ns = now + SETTLE_NS < last ? now + SETTLE_NS : last;
}

void sl_watch_retry_later(struct sl_watch *watch)
{
	__u64 wait = watch->retries < 6 ? SECOND << watch->retries : RETRY_MAX_NS;

	if (watch->retry_at_ns)
		return;
	watch->retry_at_ns = sl_watch_now_ns() + wait;
	watch->retries++;
}

static void renew(struct sl_watch *watch, bool anew)
{
	for (size_t i = 0; i < watch->n_devices; i++) {
		watch->devices[i].renew = true;
		if (anew)
			watch->devices[i].meaning = 0;
	}
}

void sl_watch_renew_all(struct sl_watch *watch)
{
	renew(watch, true);
}

static void retry(struct sl_watch *watch)
{
	for (size_t i = 0; i < watch->n_devices; i++) {
		struct sl_watched *w = &watch->devices[i];

		if (w->state == SL_WATCHED_FAILED)
			w->state = SL_WATCHED_WAITING;
		w->renew |= w->pending;
	}
}

static bool is_due(__u64 *at_ns, __u64 now)
{
	if (!*at_ns || now < *at_ns)
		return false;
	*at_ns = 0;
	return true;
}

int sl_watch_timeout(const struct sl_watch *watch)
{
	const __u64 at[] = {watch->renew_at_ns, watch->retry_at_ns, watch->check_at_ns};
	__u64 now = sl_watch_now_ns(), wait = watch->aggregate ? DRAIN_MS * 1000000ull : ~0ull;

	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		__u64 left = at[i] > now ? at[i] - now : 0;

		if (at[i] && left < wait)
			wait = left;
	}
	return wait == ~0ull ? -1 : (int)((wait + 999999) / 1000000);
}

/* ---- what the state says ---- */

struct survey {
	struct sl_watch *watch;
	struct sl_watch_found *found;	/* of each device of the watch */
	__u64 netns;
};

static void note(void *context, const struct sl_target_view *view)
{
	struct survey *survey = context;
	const struct sl_target *t = &view->target;
	struct sl_watched *w;

	if (t->kind != SL_TARGET_DEVICE || t->netns != survey->netns)
		return;
	w = find(survey->watch, t->ifindex);
	if (w)
		survey->found[w - survey->watch->devices] = (struct sl_watch_found){
			.present = true, .attached = view->attached, .slot = view->slot,
			.generation = view->generation, .preceding = view->preceding};
}

/* Owned; NULL without memory. */
static struct sl_watch_found *look(struct sl_watch *watch)
{
	struct survey survey = {watch, calloc(watch->n_devices + 1, sizeof(*survey.found)),
				sl_state_netns(watch->state)};

	if (survey.found)
		sl_state_targets(watch->state, note, &survey);
	return survey.found;
}

/* Somebody took a policy of ours away, or its programs off the device. (If the device
 * itself is gone, the news of it is under way.) */
static void check(struct sl_watch *watch, struct sl_watched *w, const struct sl_watch_found *found)
{
	bool had = w->state == SL_WATCHED_ATTACHED || w->state == SL_WATCHED_ISOLATED;

	if ((found->present && found->attached) || !sl_watch_is_there(w))
		return;
	if (had)
		sl_watch_tell(watch, "lost", w, NULL, found->present ?
			      "somebody took the programs off the device" : "somebody detached it");
	if (had || w->state == SL_WATCHED_LEFT)
		w->state = SL_WATCHED_WAITING;
}

static void tell_preceding(struct sl_watch *watch, struct sl_watched *w,
			   const struct sl_watch_found *found)
{
	if (found->preceding && found->preceding != w->preceding)
		sl_watch_tell(watch, "preceded", w, NULL, "somebody's tcx program stands before "
			      "ours: what it passes or drops is not judged");
	w->preceding = found->preceding;
}

static void work_on(struct sl_watch *watch, struct sl_watched *w,
		    const struct sl_watch_found *found)
{
	check(watch, w, found);
	if (w->state == SL_WATCHED_WAITING)
		sl_watch_attach(watch, w, found);
	else if ((w->state == SL_WATCHED_ATTACHED || w->state == SL_WATCHED_ISOLATED) &&
		 !sl_watch_leaves(watch, w, found) && w->renew)
		sl_watch_renew(watch, w);
	w->renew = false;
}

static bool has_work(const struct sl_watch *watch)
{
	bool work = watch->sweep;

	for (size_t i = 0; i < watch->n_devices; i++)
		work |= watch->devices[i].state == SL_WATCHED_WAITING || watch->devices[i].renew;
	return work;
}

/* Looks without the lock; tells what needs none. */
static bool has_lost_something(struct sl_watch *watch)
{
	struct sl_watch_found *found = look(watch);
	bool lost = false;

	for (size_t i = 0; found && i < watch->n_devices; i++)
		tell_preceding(watch, &watch->devices[i], &found[i]);
	for (size_t i = 0; found && i < watch->n_devices; i++)
		lost |= watch->devices[i].state != SL_WATCHED_FAILED &&
			!(found[i].present && found[i].attached);
	free(found);
	return lost;
}

/* A device that has just come sends at once, and what a policy takes to be in place is
 * grace periods: until then nothing passes. All of them, before the first gets its
 * policy. Devices that were there before us are not interrupted; neither is anything
 * in audit mode. */
static void hold_new(struct sl_watch *watch)
{
	struct sl_diag ignored = {};	/* attaching it will say the same */

	if (watch->attach.audit || watch->attach.parsed->mode == SL_MODE_AUDIT)
		return;
	for (size_t i = 0; i < watch->n_devices; i++) {
		const struct sl_watched *w = &watch->devices[i];

		if (w->state == SL_WATCHED_WAITING && w->is_new && sl_watch_is_there(w))
			sl_state_hold_device(watch->state, &w->device, &ignored);
	}
	sl_diag_free(&ignored);
}

static int lock(struct sl_watch *watch)
{
	struct sl_diag diag = {};
	int err = sl_state_relock(watch->state, &diag);

	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	return err == -ESTALE ? sl_watch_reopen(watch) : err;
}

static void change_state(struct sl_watch *watch)
{
	struct sl_watch_found *found;

	if (lock(watch)) {	/* said */
		sl_watch_retry_later(watch);
		return;
	}
	hold_new(watch);
	if (watch->sweep)
		sl_state_sweep(watch->state);
	watch->sweep = false;
	found = look(watch);
	for (size_t i = 0; found && i < watch->n_devices; i++)
		work_on(watch, &watch->devices[i], &found[i]);
	free(found);
	sl_state_unlock(watch->state);
}

void sl_watch_work(struct sl_watch *watch)
{
	__u64 now = sl_watch_now_ns();

	if (is_due(&watch->renew_at_ns, now))
		renew(watch, false);
	if (is_due(&watch->retry_at_ns, now))
		retry(watch);
	if (has_work(watch) || (is_due(&watch->check_at_ns, now) && has_lost_something(watch)))
		change_state(watch);
	if (!watch->check_at_ns)
		watch->check_at_ns = sl_watch_now_ns() + CHECK_NS;
}
