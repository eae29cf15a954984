// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* When a rule is over: dates, times (UTC) and durations. */
#include <stdio.h>
#include <string.h>

#include "parser.h"
#include "text.h"

#define DAY_S 86400
#define DURATION_MAX_S (100ll * 366 * DAY_S)

/* n decimal digits at text, exactly. */
static bool digits(const char *text, int n, int *out)
{
	*out = 0;
	for (int i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*out = *out * 10 + (text[i] - '0');
	}
	return true;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01; year 1970 to 9999. */
static __s64 days_since_epoch(int year, int month, int day)
{
	int y = year - 1;
	__s64 days = 365ll * y + y / 4 - y / 100 + y / 400 - 719162;

	for (int m = 1; m < month; m++)
		days += days_in_month(year, m);
	return days + day - 1;
}

/* YYYY-MM-DD; first second of that day. */
static bool parse_date(const char *text, __s64 *out)
{
	int year, month, day;

	if (!digits(text, 4, &year) || text[4] != '-' || !digits(text + 5, 2, &month) ||
	    text[7] != '-' || !digits(text + 8, 2, &day))
		return false;
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
		return false;
	*out = days_since_epoch(year, month, day) * DAY_S;
	return true;
}

/* YYYY-MM-DDTHH:MM:SSZ */
static bool parse_time(const char *text, __s64 *out)
{
	int hour, minute, second;
	__s64 day;

	if (!parse_date(text, &day) || text[10] != 'T' || !digits(text + 11, 2, &hour) ||
	    text[13] != ':' || !digits(text + 14, 2, &minute) || text[16] != ':' ||
	    !digits(text + 17, 2, &second) || text[19] != 'Z')
		return false;
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	*out = day + hour * 3600 + minute * 60 + second;
	return true;
}

static const struct {
	char letter;
	int seconds;
} units[] = {{'d', DAY_S}, {'h', 3600}, {'m', 60}, {'s', 1}};

bool sl_duration_parse(const char *text, size_t len, __s64 *out)
{
	__u64 number;

	if (len < 2)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		__u64 max = (__u64)(DURATION_MAX_S / units[i].seconds);

		if (text[len - 1] != units[i].letter)
			continue;
		if (!sl_text_number(text, len - 1, max, &number) || !number)
			return false;
		*out = (__s64)number * units[i].seconds;
		return true;
	}
	return false;
}

bool sl_expires_parse(const char *text, size_t len, struct sl_rule *rule)
{
	__s64 seconds;

	if (len == strlen("2026-12-31") && parse_date(text, &seconds)) {
		/* The day itself still counts. */
		rule->expires_s = seconds + DAY_S;
		rule->expiry = SL_EXPIRES_AT;
		return true;
	}
	if (len == strlen("2026-12-31T12:00:00Z") && parse_time(text, &seconds)) {
		rule->expires_s = seconds;
		rule->expiry = SL_EXPIRES_AT;
		return true;
	}
	if (!sl_duration_parse(text, len, &seconds))
		return false;
	rule->expires_s = seconds;
	rule->expiry = SL_EXPIRES_AFTER;
	return true;
}

void sl_duration_format(__s64 seconds, char *buf, size_t size)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (seconds % units[i].seconds)
			continue;
		snprintf(buf, size, "%lld%c", (long long)(seconds / units[i].seconds),
			 units[i].letter);
		return;
	}
}

static void format_time(__s64 seconds, char *buf, size_t size)
{
	/* Midnight is the end of the day before, written as that day. */
	bool is_date = seconds % DAY_S == 0 && seconds >= DAY_S;
	__s64 day = seconds / DAY_S - is_date;
	int rest = (int)(seconds % DAY_S), year = 1970, month = 1, n;

	for (; day >= 365 + is_leap(year); year++)
		day -= 365 + is_leap(year);
	for (; day >= days_in_month(year, month); month++)
		day -= days_in_month(year, month);
	n = snprintf(buf, size, "%04d-%02d-%02d", year, month, (int)day + 1);
	if (!is_date && n > 0 && (size_t)n < size)
		snprintf(buf + n, size - (size_t)n, "T%02d:%02d:%02dZ", rest / 3600,
			 rest / 60 % 60, rest % 60);
}

void sl_expires_format(const struct sl_rule *rule, char *buf, size_t size)
{
	buf[0] = 0;
	if (rule->expiry == SL_EXPIRES_AFTER)
		sl_duration_format(rule->expires_s, buf, size);
	else if (rule->expiry == SL_EXPIRES_AT)
		format_time(rule->expires_s, buf, size);
}
