// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* HTTPS and SVCB records (RFC 9460): what tells a client to hide, or where else to go. */
#include <string.h>

#include "message.h"
#include "policy/policy.h"

enum { KEY_MANDATORY = 0, KEY_IPV4HINT = 4, KEY_ECH = 5, KEY_IPV6HINT = 6 };

static unsigned get16(const __u8 *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static bool is_stripped(unsigned key, unsigned strip)
{
	return ((strip & SL_STRIP_ECH) && key == KEY_ECH) ||
	       ((strip & SL_STRIP_HINTS) && (key == KEY_IPV4HINT || key == KEY_IPV6HINT));
}

/* Where the target's name ends, behind the priority; 0: it does not. */
static size_t skip_target(const __u8 *data, size_t length)
{
	size_t at = 2;

	while (at < length && data[at]) {
		if (data[at] > 63)
			return 0;
		at += 1 + data[at];
	}
	return at < length ? at + 1 : 0;
}

/* Does a list of keys, of that many bytes, name one that goes? */
static bool names_stripped(const __u8 *keys, size_t length, unsigned strip)
{
	for (size_t i = 0; i + 2 <= length; i += 2)
		if (is_stripped(get16(keys + i), strip))
			return true;
	return false;
}

size_t sl_svcb_strip(const __u8 *data, size_t length, unsigned strip, __u8 *out)
{
	size_t at = skip_target(data, length), n = at, size;
	unsigned key;

	if (!at)
		return 0;
	memcpy(out, data, at);
	for (; at < length; at += size) {
		if (at + 4 > length)
			return 0;
		key = get16(data + at);
		size = 4 + get16(data + at + 2);
		if (at + size > length)
			return 0;
		if (is_stripped(key, strip))
			continue;
		if (key == KEY_MANDATORY && names_stripped(data + at + 4, size - 4, strip))
			return 0;
		memcpy(out + n, data + at, size);
		n += size;
	}
	return n;
}
