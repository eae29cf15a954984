// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The cgroups that match: when something is to be done. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cgroups.h"
#include "policy/text.h"
#include "target/cgroup.h"

#define SECOND 1000000000ull
#define SPACING_NS (20 * 1000000ull) /* between two walks: 10,000 cgroups take longer */
#define RESCAN_NS (30 * SECOND)	     /* whatever inotify lost */
#define CHECK_NS (300 * 1000000ull)
#define BUSY_NS (20 * 1000000ull)
#define SWEEP_MAX_NS (30 * SECOND)

static void on_news(void *context, __u32 events)
{
	struct sl_cgroups *c = context;
	char buf[16384];

	(void)events;
	while (read(c->source.fd, buf, sizeof(buf)) > 0)
		;
	if (!c->scan_at_ns)
		c->scan_at_ns = c->scanned_at_ns + SPACING_NS;
}

/* ---- work ---- */

static bool wants(const struct sl_watched_cgroup *w)
{
	return w->as.state == SL_WATCHED_WAITING || (sl_cgroup_is_ours(w) && w->as.renew);
}

static bool has_work(const struct sl_cgroups *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (wants(&c->list[i]))
			return true;
	return c->sweep;
}

static bool has_lost_something(const struct sl_cgroups *c, const struct sl_state *state)
{
	for (size_t i = 0; i < c->n; i++)
		if (sl_cgroup_is_ours(&c->list[i]) && sl_cgroup_broken(state, &c->list[i]))
			return true;
	return false;
}

static void note_lost(struct sl_cgroups *c, struct sl_state *state, struct sl_watched_cgroup *w)
{
	const char *why = sl_cgroup_is_ours(w) ? sl_cgroup_broken(state, w) : NULL;

	if (!why)
		return;
	c->ops->tell(c->context, "lost", w, NULL, why);
	w->as.state = SL_WATCHED_WAITING;
	w->meaning = 0;
}

/* Parents first: a default holds what stands below it. Of thousands that come at once not all
 * are given theirs at a stretch: events, the watchdog and clients wait meanwhile. */
static void give_some(struct sl_cgroups *c, struct sl_state *state, __u64 at_most_ns)
{
	__u64 begin = sl_now_ns();

	for (size_t i = 0; i < c->n; i++) {
		struct sl_watched_cgroup *w = &c->list[i];

		if (!wants(w))
			continue;
		if (sl_now_ns() - begin > at_most_ns) {
			c->busy_at_ns = begin; /* go on at once */
			return;
		}
		if (w->as.state == SL_WATCHED_WAITING)
			sl_cgroup_give(c, state, w);
		else
			sl_cgroup_renew(c, state, w);
	}
}

static void note_left(void *context, const struct sl_target_view *view)
{
	struct sl_cgroups *c = context;
	struct sl_gone_cgroup *gone;

	if (view->target.kind != SL_TARGET_CGROUP || !(view->flags & SL_F_MANAGED) ||
	    sl_cgroups_find(c, view->target.cgroup_id))
		return;
	gone = SL_ADD(c->gone, c->n_gone);
	if (gone)
		gone->id = view->target.cgroup_id;
}

/* What was removed while nobody followed it. True: nothing was. */
static bool look_back(struct sl_cgroups *c, struct sl_state *state)
{
	if (c->looked_back)
		return false;
	sl_state_targets(state, note_left, c);
	c->looked_back = true;
	return !c->n_gone;
}

/* The kernel lets go of a removed cgroup some time later, and sockets may outlive it: what
 * is still there is looked at again, each time later. */
static void sweep(struct sl_cgroups *c, struct sl_state *state)
{
	__u32 slot;

	c->sweep = false;
	if (look_back(c, state))
		return;
	sl_state_sweep(state);
	for (size_t i = 0; i < c->n_gone;)
		if (sl_cgroups_find(c, c->gone[i].id) ||
		    sl_state_find_cgroup(state, c->gone[i].id, &slot) == -ENOENT) {
			free(c->gone[i].path);
			c->gone[i] = c->gone[--c->n_gone];
		} else {
			i++;
		}
	c->sweep_wait_ns = !c->sweep_wait_ns		      ? SECOND / 5 :
			   c->sweep_wait_ns < SWEEP_MAX_NS ? 2 * c->sweep_wait_ns :
							     SWEEP_MAX_NS;
	c->sweep_at_ns = c->n_gone ? sl_now_ns() + c->sweep_wait_ns : 0;
}

static void change_state(struct sl_cgroups *c, bool lost, __u64 at_most_ns)
{
	struct sl_state *state;
	int err = c->ops->lock(c->context, &state);

	if (err) {
		c->busy_at_ns = sl_now_ns() + (err == -EAGAIN ? BUSY_NS : SECOND);
		return;
	}
	for (size_t i = 0; lost && i < c->n; i++)
		note_lost(c, state, &c->list[i]);
	give_some(c, state, at_most_ns);
	if (c->sweep)
		sweep(c, state);
	sl_state_unlock(state);
}

static bool is_due(__u64 *at_ns, __u64 now)
{
	if (!*at_ns || now < *at_ns)
		return false;
	*at_ns = 0;
	return true;
}

static void retry(struct sl_cgroups *c)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->list[i].as.state == SL_WATCHED_FAILED)
			c->list[i].as.state = SL_WATCHED_WAITING;
		c->list[i].as.renew |= c->list[i].as.pending;
	}
}

void sl_cgroups_renew_all(struct sl_cgroups *c)
{
	for (size_t i = 0; i < c->n; i++)
		c->list[i].as.renew = true;
}

void sl_cgroups_on_change(struct sl_cgroups *c)
{
	__u64 now = sl_now_ns(), last;

	if (!c->renew_at_ns)
		c->changed_at_ns = now;
	last = c->changed_at_ns + SECOND;
	c->renew_at_ns = now + SECOND / 5 < last ? now + SECOND / 5 : last;
}

static void look_at_early(struct sl_cgroups *c)
{
	__u64 now = sl_now_ns();

	for (size_t i = 0; i < c->n; i++)
		c->list[i].as.renew |=
			c->list[i].early_since_ns || sl_cgroup_is_soon(&c->list[i], now);
}

static bool has_forwarder(struct sl_cgroups *c, const struct sl_forwarder *f)
{
	const struct sl_watched_cgroup *w = sl_cgroups_find(c, f->cgroup_id);

	return w && w->generation == f->generation && w->as.state != SL_WATCHED_LEFT &&
	       w->as.state != SL_WATCHED_RELEASED;
}

/* Nobody's are ended, what has ended is started. */
static void work_on_forwarders(struct sl_cgroups *c, const struct sl_state *state)
{
	for (size_t i = 0; i < c->forwarders->n;)
		if (has_forwarder(c, c->forwarders->list[i]))
			i++;
		else
			sl_forwarders_end(c->forwarders, i);
	sl_forwarders_work(c->forwarders, state);
}

void sl_cgroups_work(struct sl_cgroups *c, const struct sl_state *state, __u64 at_most_ns)
{
	__u64 now = sl_now_ns();
	bool news, lost;

	if (!c->mount)
		return;
	news = c->scan_at_ns;
	if (is_due(&c->scan_at_ns, now) || now > c->scanned_at_ns + RESCAN_NS)
		sl_cgroups_walk(c, news);
	if (is_due(&c->renew_at_ns, now))
		sl_cgroups_renew_all(c);
	if (is_due(&c->early_at_ns, now))
		look_at_early(c);
	if (is_due(&c->retry_at_ns, now))
		retry(c);
	c->sweep |= is_due(&c->sweep_at_ns, now);
	work_on_forwarders(c, state);
	if (c->busy_at_ns && !is_due(&c->busy_at_ns, now))
		return;
	lost = is_due(&c->check_at_ns, now) && has_lost_something(c, state);
	if (lost || has_work(c))
		change_state(c, lost, at_most_ns);
	if (!c->check_at_ns)
		c->check_at_ns = now + CHECK_NS;
}

int sl_cgroups_timeout(const struct sl_cgroups *c)
{
	const __u64 at[] = {c->sweep_at_ns, c->scan_at_ns, c->check_at_ns, c->retry_at_ns, c->busy_at_ns,
			    c->renew_at_ns, c->early_at_ns};
	__u64 now = sl_now_ns(), wait = ~0ull;

	for (size_t i = 0; c->mount && i < sizeof(at) / sizeof(*at); i++) {
		__u64 left = at[i] > now ? at[i] - now : 0;

		if (at[i] && left < wait)
			wait = left;
	}
	return wait == ~0ull ? -1 : (int)((wait + 999999) / 1000000);
}

/* ---- life ---- */

int sl_cgroups_open(struct sl_cgroups *c, int loop, struct sl_diag *diag)
{
	int err = sl_cgroup_mount(&c->mount, &c->foreign, diag), fd;

	if (err)
		return err;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return sl_error(diag, NULL, "the cgroups cannot be followed: %s", strerror(errno));
	c->source = (struct sl_loop_source){.fd = fd, .ready = on_news, .context = c};
	c->scan_at_ns = sl_now_ns();
	sl_cgroup_found_by(sl_cgroups_where, c);
	return sl_loop_add(loop, &c->source, EPOLLIN);
}

void sl_cgroups_close(struct sl_cgroups *c, int loop)
{
	if (c->source.fd >= 0) {
		sl_loop_drop(loop, &c->source);
		close(c->source.fd);
	}
	sl_cgroup_found_by(NULL, NULL);
	while (c->n)
		sl_cgroups_drop(c, &c->list[c->n - 1]);
	free(c->list);
	while (c->n_gone)
		free(c->gone[--c->n_gone].path);
	free(c->gone);
	free(c->strangers);
	for (size_t i = 0; i < c->n_groups; i++)
		sl_target_group_put(c->groups[i]);
	free(c->groups);
	free(c->looks);
	free(c->mount);
}
