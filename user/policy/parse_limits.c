// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* limits: rates that what is allowed is held to. */
#include <string.h>

#include "parser.h"
#include "text.h"

#define SECOND_NS 1000000000ull

struct quantity {
	__u64 value;		/* 0: not given, or wrong */
	struct sl_pos pos;
};

/* average, peak and burst of a direction; beside both, the defaults. */
struct direction {
	struct quantity average, peak, burst;
};

struct bandwidth {
	struct direction out, in, both;
};

/* What is over a limit is dropped, not delayed, and on a short path TCP can only be
 * slowed down by its time-out, 200 ms: what it may send at once must last that long.
 * Measured at 10 MB/s over a veth: goodput 6 to 50 % of the rate with bursts of 13 to
 * 100 ms, 94 to 98 % with 300 ms. */
__u64 sl_bandwidth_default_burst(__u64 average)
{
	__u64 burst = average / 10 * 3;

	return burst > (128u << 10) ? burst : 128u << 10;
}

static void rate_read(struct sl_parser *p, const struct sl_key *key, struct quantity *out)
{
	out->pos = p->yaml.pos;
	sl_quantity_read(p, key, true, &out->value);
}

static void average_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	rate_read(p, key, &((struct direction *)object)->average);
}

static void peak_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	rate_read(p, key, &((struct direction *)object)->peak);
}

static void burst_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct quantity *burst = &((struct direction *)object)->burst;

	burst->pos = p->yaml.pos;
	sl_quantity_read(p, key, false, &burst->value);
}

/* A rate, or a mapping of average, peak and burst. */
static void direction_read(struct sl_parser *p, const struct sl_key *key, struct direction *out)
{
	static sl_value_fn *const values[] = {
		[SL_RATE_AVERAGE] = average_read,
		[SL_RATE_PEAK] = peak_read,
		[SL_RATE_BURST] = burst_read,
	};
	struct sl_pos pos = p->yaml.pos;
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		rate_read(p, key, &out->average);
		return;
	}
	sl_map_read(p, &sl_keys_rate, values, out, &map);
	if (!map.lines[SL_RATE_AVERAGE] && !map.faulty && p->yaml.type != SL_YAML_END)
		sl_error(p->diag, &pos, "\"%s\" wants an \"average\"", key->name);
}

static void out_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	direction_read(p, key, &((struct bandwidth *)object)->out);
}

static void in_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	direction_read(p, key, &((struct bandwidth *)object)->in);
}

static void both_peak_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	peak_read(p, key, &((struct bandwidth *)object)->both);
}

static void both_burst_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	burst_read(p, key, &((struct bandwidth *)object)->both);
}

static void check_peak(struct sl_parser *p, const char *name, const struct quantity *average,
		       const struct quantity *peak)
{
	char low[SL_QUANTITY_TEXT], high[SL_QUANTITY_TEXT];

	if (peak->value && peak->value < average->value)
		sl_error(p->diag, &peak->pos, "the peak of \"%s\", %s/s, is less than its average, "
			 "%s/s", name, sl_quantity_format(peak->value, low),
			 sl_quantity_format(average->value, high));
}

static void check_burst(struct sl_parser *p, const char *name, const struct quantity *average,
			const struct quantity *burst)
{
	__u64 most = average->value * SL_BURST_SECONDS_MAX;
	char found[SL_QUANTITY_TEXT], bound[SL_QUANTITY_TEXT];

	if (burst->value > most)
		sl_error(p->diag, &burst->pos, "the burst of \"%s\", %s, is more than an hour of "
			 "its average; it is at most %s", name,
			 sl_quantity_format(burst->value, found), sl_quantity_format(most, bound));
}

static void take(struct sl_parser *p, const char *name, const struct direction *own,
		 const struct direction *both, struct sl_bandwidth *out)
{
	const struct quantity *peak = own->peak.value ? &own->peak : &both->peak;
	const struct quantity *burst = own->burst.value ? &own->burst : &both->burst;

	if (!own->average.value)
		return;
	check_peak(p, name, &own->average, peak);
	check_burst(p, name, &own->average, burst);
	out->average = own->average.value;
	out->peak = peak->value;
	out->burst = burst->value ? burst->value : sl_bandwidth_default_burst(out->average);
}

static void bandwidth_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_BANDWIDTH_OUT] = out_read,
		[SL_BANDWIDTH_IN] = in_read,
		[SL_BANDWIDTH_PEAK] = both_peak_read,
		[SL_BANDWIDTH_BURST] = both_burst_read,
	};
	struct sl_limits *limits = object;
	struct sl_pos pos = p->yaml.pos;
	struct bandwidth found = {0};
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	sl_map_read(p, &sl_keys_bandwidth, values, &found, &map);
	if (p->yaml.type == SL_YAML_END)
		return;
	if (!map.lines[SL_BANDWIDTH_OUT] && !map.lines[SL_BANDWIDTH_IN] && !map.faulty)
		sl_error(p->diag, &pos, "\"bandwidth\" wants \"out\", \"in\" or both");
	take(p, "out", &found.out, &found.both, &limits->out);
	take(p, "in", &found.in, &found.both, &limits->in);
}

/* N/s or N/m: N at once, and then one in each second or minute's N-th part. */
static void count_read(struct sl_parser *p, const struct sl_key *key, __u64 *interval_ns,
		       __u32 *burst)
{
	size_t len = p->yaml.scalar_len;
	__u64 number, period;
	char letter;

	if (!sl_is_text(p, key))
		return;
	letter = len > 2 && p->yaml.scalar[len - 2] == '/' ? p->yaml.scalar[len - 1] : 0;
	if ((letter != 's' && letter != 'm') ||
	    !sl_text_number(p->yaml.scalar, len - 2, SL_CONNECTIONS_MAX, &number) || !number) {
		sl_wrong_value(p, key);
		return;
	}
	period = letter == 's' ? SECOND_NS : 60 * SECOND_NS;
	/* Rounded up: never more than what is written. */
	*interval_ns = (period + number - 1) / number;
	*burst = (__u32)number;
}

static void connections_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_limits *limits = object;

	count_read(p, key, &limits->flow_interval_ns, &limits->flow_burst);
}

static void dns_limit_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_limits *limits = object;

	count_read(p, key, &limits->dns_interval_ns, &limits->dns_burst);
}

static void limits_read(struct sl_parser *p, const struct sl_key *key, struct sl_limits *limits)
{
	static sl_value_fn *const values[] = {
		[SL_LIMIT_KEY_BANDWIDTH] = bandwidth_read,
		[SL_LIMIT_KEY_CONNECTIONS] = connections_read,
		[SL_LIMIT_KEY_DNS] = dns_limit_read,
	};
	struct sl_map map;

	limits->pos = p->yaml.pos;
	if (p->yaml.type == SL_YAML_MAP)
		sl_map_read(p, &sl_keys_limits, values, limits, &map);
	else
		sl_wrong_value(p, key);
}

void sl_limits_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	limits_read(p, key, &((struct sl_policy *)object)->limits);
}

void sl_rule_limits_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_limits unused = {0};

	(void)object;
	limits_read(p, key, &unused);
}
