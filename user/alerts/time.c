// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The times of records: RFC 3339. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fields.h"

#define SECOND_NS 1000000000ll

static bool digits(const char **at, int n, int least, int most, int *out)
{
	*out = 0;
	for (int i = 0; i < n; i++, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		*out = *out * 10 + (**at - '0');
	}
	return *out >= least && *out <= most;
}

static bool mark(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

/* .123: to nanoseconds; what is finer is passed over. */
static bool fraction(const char **at, __s64 *ns)
{
	__s64 unit = SECOND_NS / 10;
	const char *start;

	*ns = 0;
	if (**at != '.')
		return true;
	for (start = ++*at; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
		*ns += (**at - '0') * unit;
	return *at > start;
}

static bool zone(const char **at, __s64 *seconds)
{
	int hour, minute, sign = **at == '-' ? 1 : -1;

	*seconds = 0;
	if (mark(at, 'Z'))
		return true;
	if (**at != '+' && **at != '-')
		return false;
	(*at)++;
	if (!digits(at, 2, 0, 23, &hour) || !mark(at, ':') || !digits(at, 2, 0, 59, &minute))
		return false;
	*seconds = sign * (hour * 3600 + minute * 60);
	return true;
}

bool sl_time_parse(const char *text, __s64 *out)
{
	struct tm tm = {};
	__s64 ns, offset, seconds;
	int year, month;

	/* 2261: the last whole year that 63 bits of nanoseconds hold. */
	if (!digits(&text, 4, 1970, 2261, &year) || !mark(&text, '-') ||
	    !digits(&text, 2, 1, 12, &month) || !mark(&text, '-') ||
	    !digits(&text, 2, 1, 31, &tm.tm_mday) || !mark(&text, 'T') ||
	    !digits(&text, 2, 0, 23, &tm.tm_hour) || !mark(&text, ':') ||
	    !digits(&text, 2, 0, 59, &tm.tm_min) || !mark(&text, ':') ||
	    !digits(&text, 2, 0, 60, &tm.tm_sec) || !fraction(&text, &ns) ||
	    !zone(&text, &offset) || *text)
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	seconds = timegm(&tm) + offset;
	if (seconds < 0)
		return false;
	*out = seconds * SECOND_NS + ns;
	return true;
}

const char *sl_time_format(__s64 ns, char buf[SL_TIME_TEXT])
{
	time_t seconds = ns / SECOND_NS;
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(buf, SL_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, SL_TIME_TEXT - n, ".%09lldZ", (long long)(ns % SECOND_NS));
	return buf;
}
