// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* `expires`: times that a wrong clock would move. */
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "internal.h"

static __s64 clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (__s64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

__u64 sl_boot_ns(void)
{
	return (__u64)clock_ns(CLOCK_BOOTTIME);
}

__s64 sl_boot_epoch_ns(void)
{
	return clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
}

/* The first second of the day before this file was compiled: __DATE__ is in the
 * builder's time zone. SOURCE_DATE_EPOCH moves it (gcc(1)). */
static __s64 build_time(void)
{
	struct tm tm = {0};

	if (!strptime(__DATE__, "%b %d %Y", &tm))
		return 0;
	return (__s64)timegm(&tm) - 24 * 60 * 60;
}

/* Why the time is not to be believed, or NULL. A time that the caller gives is
 * the caller's; but one before the build is wrong in any case. */
static const char *clock_doubt(struct sl_resolver *r)
{
	struct timex timex = {0};
	int state;

	if (r->options->trust_clock || r->clock_asked)
		return NULL;
	r->clock_asked = true;
	if (r->now_s < build_time())
		return "the clock is older than this program";
	if (r->options->now_s)
		return NULL;
	state = adjtimex(&timex);
	if (state < 0 || state == TIME_ERROR)
		return "the kernel says that the clock is not synchronised";
	return NULL;
}

void sl_expiry_resolve(struct sl_resolver *r, const struct sl_rule *src, struct sl_rule *dst)
{
	__s64 start_s = r->now_s;
	const char *doubt;

	dst->expires_pos = src->expires_pos;
	if (src->expiry == SL_EXPIRES_NEVER)
		return;
	doubt = clock_doubt(r);
	if (doubt) {
		r->clock_refused = true;
		sl_fail(r, &src->expires_pos,
			"\"expires\" needs the time, and %s: "
			"set it, or give --trust-clock",
			doubt);
	}
	dst->expiry = SL_EXPIRES_AT;
	dst->expires_s = src->expires_s;
	if (src->expiry == SL_EXPIRES_AFTER && r->options->since && src->id)
		start_s = r->options->since(r->options->since_context, src->id, r->now_s);
	if (src->expiry == SL_EXPIRES_AFTER &&
	    __builtin_add_overflow(start_s, src->expires_s, &dst->expires_s))
		sl_fail(r, &src->expires_pos, "\"expires\" is too far away");
	else if (dst->expires_s <= r->now_s && !r->clock_refused)
		sl_warn(r->diag, &src->expires_pos, "this rule is over: it expired");
}
