// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "domain.h"

#include <errno.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "late/late.h"
#include "text.h"

static bool is_label_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

const char *sl_domain_fault(const char *text, size_t len)
{
	size_t label = 0;

	if (len > SL_DOMAIN_MAX)
		return "is longer than a name can be (253 characters)";
	for (size_t i = 0; i <= len; i++) {
		if (i == len || text[i] == '.') {
			if (!label)
				return i == len && len ? "ends with a dot; leave it out"
						       : "has an empty label";
			if (label > SL_LABEL_MAX)
				return "has a label of more than 63 characters";
			label = 0;
		} else if (!is_label_byte(text[i])) {
			return "is no host: an address, a CIDR, \"@set\", a name, \"*.name\", "
			       "\"*\" or any";
		} else {
			label++;
		}
	}
	return NULL;
}

bool sl_domain_ends_in_number(const char *text, size_t len)
{
	size_t n = len;

	while (n && text[n - 1] >= '0' && text[n - 1] <= '9')
		n--;
	return n < len && (!n || text[n - 1] == '.');
}

static bool is_ascii(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] & 0x80)
			return false;
	}
	return true;
}

/* True if a reader of the file sees every character. */
static bool is_visible(const char *text, size_t len)
{
	__u32 cp;
	int n;

	for (size_t i = 0; i < len; i += (size_t)n) {
		n = sl_utf8_decode(text + i, len - i, &cp);
		if (n < 0 || sl_utf8_hidden(cp))
			return false;
	}
	return true;
}

/* The form that DNS has of an international name, owned. */
static int to_ascii(const char *text, size_t len, const char *whole, size_t whole_len,
		    const struct sl_pos *pos, char **out, struct sl_diag *diag)
{
	int err = sl_late_need(SL_LATE_IDN, diag);
	char *copy, *ascii = NULL;

	if (err)
		return err;
	copy = strndup(text, len);
	if (!copy)
		return -ENOMEM;
	err = idn2_to_ascii_8z(copy, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	free(copy);
	if (err == IDN2_MALLOC)
		return -ENOMEM;
	if (err)
		return sl_error(diag, pos, "\"%.*s\" is no international name (IDNA 2008): %s; "
				"where DNS has it nevertheless, write its xn-- form",
				SL_Q(whole, whole_len), idn2_strerror(err));
	*out = strdup(ascii);
	idn2_free(ascii);
	if (!*out)
		return -ENOMEM;
	sl_warn(diag, pos, "\"%.*s\" has characters beyond ASCII; in DNS it is %s",
		SL_Q(whole, whole_len), *out);
	return 0;
}

/* What a name is compared as; after a conversion too, which may have made anything
 * of it: digits of other scripts become ours. */
static int check(const char *name, const char *whole, size_t whole_len, const struct sl_pos *pos,
		 struct sl_diag *diag)
{
	const char *fault = sl_domain_fault(name, strlen(name));

	if (!strcasecmp(name, "any"))
		return sl_error(diag, pos, "\"%.*s\": every address is written any",
				SL_Q(whole, whole_len));
	if (fault)
		return sl_error(diag, pos, "\"%.*s\" %s", SL_Q(whole, whole_len), fault);
	if (sl_domain_ends_in_number(name, strlen(name)))
		return sl_error(diag, pos, "\"%.*s\" ends in a number, as addresses do and no "
				"name does", SL_Q(whole, whole_len));
	return 0;
}

int sl_domain_read(const char *text, size_t len, const char *whole, size_t whole_len,
		   const struct sl_pos *pos, char **out, struct sl_diag *diag)
{
	char *name = NULL;
	int err = 0;

	if (!is_visible(text, len))
		return sl_error(diag, pos, "\"%.*s\": a character that is not visible",
				SL_Q(whole, whole_len));
	if (is_ascii(text, len))
		name = strndup(text, len);
	else
		err = to_ascii(text, len, whole, whole_len, pos, &name, diag);
	if (!name)
		return err ? err : -ENOMEM;
	err = check(name, whole, whole_len, pos, diag);
	if (err) {
		free(name);
		return err;
	}
	for (char *c = name; *c; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	}
	*out = name;
	return 0;
}
