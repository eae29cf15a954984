// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Sizes and rates with their units. A number alone has libvirt's: kilobytes
 * (1000 bytes) a second for a rate, kibibytes (1024) for a burst, so that the
 * numbers of a <bandwidth> element can be taken as they are.
 */
#include <string.h>

#include "parser.h"
#include "text.h"

static const struct unit {
	const char *name;
	__u64 eighths;	/* of a byte */
	bool bits;	/* of rates only, and not what we print */
} units[] = {	/* what is printed is the first that divides */
	{"TB", 8000000000000ull, false}, {"TiB", 8ull << 40, false},
	{"GB", 8000000000ull, false}, {"GiB", 8ull << 30, false},
	{"MB", 8000000ull, false}, {"MiB", 8ull << 20, false},
	{"kB", 8000ull, false}, {"KiB", 8ull << 10, false}, {"B", 8, false},
	{"Tbit", 1000000000000ull, true}, {"Gbit", 1000000000ull, true},
	{"Mbit", 1000000ull, true}, {"kbit", 1000ull, true}, {"bit", 1, true},
};

#define N_UNITS (sizeof(units) / sizeof(units[0]))
#define BYTE_UNITS "B kB MB GB TB KiB MiB GiB TiB"

static const struct unit *find_unit(const char *name, size_t len, bool bits)
{
	for (size_t i = 0; i < N_UNITS; i++) {
		if (sl_text_is(name, len, units[i].name) && (bits || !units[i].bits))
			return &units[i];
	}
	return NULL;
}

/* NUMBER and UNIT apart; false if there is no number, or one too long to be any. */
static bool split(const char *text, size_t len, __u64 *number, size_t *digits)
{
	*digits = 0;
	while (*digits < len && text[*digits] >= '0' && text[*digits] <= '9')
		(*digits)++;
	return sl_text_number(text, *digits, ~0ull, number);
}

static void wrong_unit(struct sl_parser *p, bool rate, const char *unit, size_t len)
{
	const char *text = p->yaml.scalar;
	size_t n = p->yaml.scalar_len;

	if (!len)
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\" has no unit, as 10MiB/s has",
			 SL_Q(text, n));
	else if (unit[0] == '.' || unit[0] == ',')
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\": the number is a whole one; take a "
			 "smaller unit (1.5MiB is 1536KiB)", SL_Q(text, n));
	else
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\": \"%.*s\" is no unit; bytes are %s%s",
			 SL_Q(text, n), SL_Q(unit, len), BYTE_UNITS,
			 rate ? ", bits are bit kbit Mbit Gbit Tbit" : "");
}

/* Takes the `/s` of a rate off *len; a rate must have it, a size must not. */
static bool take_second(struct sl_parser *p, const struct sl_key *key, bool rate, size_t *len)
{
	const char *text = p->yaml.scalar;
	bool second = *len > 2 && !memcmp(text + *len - 2, "/s", 2);

	if (second == rate) {
		*len -= second ? 2 : 0;
		return true;
	}
	if (rate)
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\": \"%s\" is a rate and ends in /s, as "
			 "10MiB/s", SL_Q(text, *len), key->name);
	else
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\": \"%s\" is a size, without /s, as "
			 "20MiB", SL_Q(text, *len), key->name);
	return false;
}

/* Bytes of number units. What is too large to count is larger than any bound. */
static bool to_bytes(struct sl_parser *p, __u64 number, const struct unit *unit, __u64 *out)
{
	if (unit->eighths >= 8) {
		/* All of these are whole bytes but for bits, whose 1000 is 125 bytes. */
		if (__builtin_mul_overflow(number, unit->eighths / 8, out))
			*out = ~0ull;
		return true;
	}
	if (number % 8) {
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\" is no whole number of bytes; a number "
			 "of bits is a multiple of 8",
			 SL_Q(p->yaml.scalar, p->yaml.scalar_len));
		return false;
	}
	*out = number / 8;
	return true;
}

static bool quantity_parse(struct sl_parser *p, const struct sl_key *key, bool rate, __u64 *out)
{
	const struct unit *unit;
	const char *text = p->yaml.scalar;
	size_t len = p->yaml.scalar_len, digits;
	__u64 number;

	if (!split(text, len, &number, &digits)) {
		sl_wrong_value(p, key);
		return false;
	}
	if (digits == len)
		return to_bytes(p, number, find_unit(rate ? "kB" : "KiB", rate ? 2 : 3, false), out);
	if (!take_second(p, key, rate, &len))
		return false;
	unit = find_unit(text + digits, len - digits, rate);
	if (unit)
		return to_bytes(p, number, unit, out);
	wrong_unit(p, rate, text + digits, len - digits);
	return false;
}

static bool in_bounds(struct sl_parser *p, const struct sl_key *key, bool rate, __u64 value)
{
	__u64 least = rate ? SL_RATE_MIN : SL_BURST_MIN, most = rate ? SL_RATE_MAX : SL_BURST_MAX;
	char bound[SL_QUANTITY_TEXT];

	if (value >= least && value <= most)
		return true;
	sl_quantity_format(value < least ? least : most, bound);
	sl_error(p->diag, &p->yaml.pos, "\"%s\" is at %s %s%s; found \"%.*s\"", key->name,
		 value < least ? "least" : "most", bound, rate ? "/s" : "",
		 SL_Q(p->yaml.scalar, p->yaml.scalar_len));
	return false;
}

bool sl_quantity_read(struct sl_parser *p, const struct sl_key *key, bool rate, __u64 *out)
{
	__u64 value;

	if (!sl_is_text(p, key) || !quantity_parse(p, key, rate, &value) ||
	    !in_bounds(p, key, rate, value))
		return false;
	*out = value;
	return true;
}

const char *sl_quantity_format(__u64 bytes, char buf[SL_QUANTITY_TEXT])
{
	const struct unit *unit = units;

	while (bytes % (unit->eighths / 8))
		unit++;
	snprintf(buf, SL_QUANTITY_TEXT, "%llu%s",
		 (unsigned long long)(bytes / (unit->eighths / 8)), unit->name);
	return buf;
}
