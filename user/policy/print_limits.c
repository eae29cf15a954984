// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* limits and device. */
#include "parser.h"
#include "print.h"

static void print_direction(const char *name, const struct sl_bandwidth *b, FILE *out)
{
	char buf[SL_QUANTITY_TEXT];
	bool has_burst = b->burst != sl_bandwidth_default_burst(b->average);

	fprintf(out, "%s: ", name);
	if (!b->peak && !has_burst) {
		fprintf(out, "%s/s", sl_quantity_format(b->average, buf));
		return;
	}
	fprintf(out, "{average: %s/s", sl_quantity_format(b->average, buf));
	if (b->peak)
		fprintf(out, ", peak: %s/s", sl_quantity_format(b->peak, buf));
	if (has_burst)
		fprintf(out, ", burst: %s", sl_quantity_format(b->burst, buf));
	putc('}', out);
}

static void print_bandwidth(const struct sl_limits *limits, FILE *out)
{
	fputs("bandwidth: {", out);
	if (limits->out.average)
		print_direction("out", &limits->out, out);
	if (limits->out.average && limits->in.average)
		fputs(", ", out);
	if (limits->in.average)
		print_direction("in", &limits->in, out);
	putc('}', out);
}

/* An interval is a period's N-th part, rounded up: N of them are a second and less
 * than another, or a minute. */
static void print_count(const char *key, __u64 interval_ns, __u32 n, FILE *out)
{
	bool minute = interval_ns * n >= 60000000000ull;

	fprintf(out, "%s: %u/%c", key, n, minute ? 'm' : 's');
}

void sl_print_limits(const struct sl_limits *limits, FILE *out)
{
	bool has_bandwidth = limits->out.average || limits->in.average;
	const char *comma = "";

	if (!has_bandwidth && !limits->flow_interval_ns && !limits->dns_interval_ns)
		return;
	fputs("limits: {", out);
	if (has_bandwidth) {
		print_bandwidth(limits, out);
		comma = ", ";
	}
	if (limits->flow_interval_ns) {
		fputs(comma, out);
		print_count("connections", limits->flow_interval_ns, limits->flow_burst, out);
		comma = ", ";
	}
	if (limits->dns_interval_ns) {
		fputs(comma, out);
		print_count("dns", limits->dns_interval_ns, limits->dns_burst, out);
	}
	fputs("}\n", out);
}

void sl_print_device(const struct sl_device_switches *device, FILE *out)
{
	const char *comma = "";

	if (!device->arp_deny && !device->nd_deny && !device->dhcp_deny)
		return;
	fputs("device: {", out);
	if (device->arp_deny) {
		fputs("arp: deny", out);
		comma = ", ";
	}
	if (device->nd_deny) {
		fprintf(out, "%snd: deny", comma);
		comma = ", ";
	}
	if (device->dhcp_deny)
		fprintf(out, "%sdhcp: deny", comma);
	fputs("}\n", out);
}
