// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* HOST: an address, a CIDR, @set, a name, *.name, * or any. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "parser.h"
#include "text.h"

#define NAME_BYTES_MAX 253	/* RFC 1035, section 2.3.4, as text without the last dot */
#define LABEL_BYTES_MAX 63

static bool is_label_byte(char c)
{
	/* Bytes beyond ASCII: an international name, for the names part to judge. */
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || (c & 0x80);
}

/* Why text is no name, or NULL if it is one. */
static const char *name_fault(const char *text, size_t len)
{
	size_t label = 0;

	if (len > NAME_BYTES_MAX)
		return "is longer than a name can be (253 characters)";
	for (size_t i = 0; i <= len; i++) {
		if (i == len || text[i] == '.') {
			if (!label)
				return i == len && len ? "ends with a dot; leave it out"
						       : "has an empty label";
			if (label > LABEL_BYTES_MAX)
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

/* A name whose last label is a number is an address with a slip in it. */
static bool ends_in_number(const char *text, size_t len)
{
	size_t n = len;

	while (n && text[n - 1] >= '0' && text[n - 1] <= '9')
		n--;
	return n < len && (!n || text[n - 1] == '.');
}

static int take_text(const char *text, size_t len, enum sl_host_kind kind, struct sl_host *host)
{
	host->text = strndup(text, len);
	if (!host->text)
		return -ENOMEM;
	for (char *c = host->text; *c; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	}
	host->kind = kind;
	return 0;
}

static int set_parse(const char *text, size_t len, const struct sl_pos *pos, struct sl_host *host,
		     struct sl_diag *diag)
{
	if (!sl_text_name(text, len, false))
		return sl_error(diag, pos, "\"@%.*s\": a set's name is 1 to 63 of a-z 0-9 . _ -",
				SL_Q(text, len));
	return take_text(text, len, SL_HOST_SET, host);
}

static int name_parse(const char *text, size_t len, const struct sl_pos *pos,
		      struct sl_host *host, struct sl_diag *diag)
{
	bool suffix = len > 2 && text[0] == '*' && text[1] == '.';
	const char *name = suffix ? text + 2 : text;
	size_t name_len = suffix ? len - 2 : len;
	const char *fault;
	__u32 cp;
	int n;

	if (text[0] == '*' && !suffix)
		return sl_error(diag, pos, "\"%.*s\": a star stands alone or as \"*.name\"",
				SL_Q(text, len));
	if (memchr(name, '*', name_len))
		return sl_error(diag, pos, "\"%.*s\": one star, at the beginning, as \"*.name\"",
				SL_Q(text, len));
	if (name_len == 3 && !strncasecmp(name, "any", 3))
		return sl_error(diag, pos, "\"%.*s\": every address is written any",
				SL_Q(text, len));
	for (size_t i = 0; i < name_len; i += (size_t)n) {
		n = sl_utf8_decode(name + i, name_len - i, &cp);
		if (n < 0 || sl_utf8_hidden(cp))
			return sl_error(diag, pos, "\"%.*s\": a character that is not visible",
					SL_Q(text, len));
	}
	fault = name_fault(name, name_len);
	if (fault)
		return sl_error(diag, pos, "\"%.*s\" %s", SL_Q(text, len), fault);
	return take_text(name, name_len, suffix ? SL_HOST_SUFFIX : SL_HOST_NAME, host);
}

static bool looks_like_address(const char *text, size_t len)
{
	return memchr(text, ':', len) || memchr(text, '/', len) || ends_in_number(text, len);
}

/* HOST:PORTS, HOST/PROTO or [HOST] where a host alone stands? */
static bool more_than_host(const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len), *slash = memchr(text, '/', len);

	if (text[0] == '[')
		return true;
	if (colon && !memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)))
		return true;
	return slash && slash + 1 < text + len && (slash[1] < '0' || slash[1] > '9');
}

int sl_host_parse(const char *text, size_t len, const struct sl_pos *pos, struct sl_host *host,
		  struct sl_diag *diag)
{
	int err;

	memset(host, 0, sizeof(*host));
	host->pos = *pos;
	if (!len)
		return sl_error(diag, pos, "there is no host: an address, a CIDR, \"@set\", a "
				"name, \"*.name\", \"*\" or any");
	if (sl_text_is(text, len, "any"))
		return 0;
	if (sl_text_is(text, len, "*")) {
		host->kind = SL_HOST_EVERY_NAME;
		return 0;
	}
	if (more_than_host(text, len))
		return sl_error(diag, pos, "\"%.*s\": a host stands alone here, without brackets; "
				"ports and protocol have keys of their own", SL_Q(text, len));
	if (text[0] == '@')
		return set_parse(text + 1, len - 1, pos, host, diag);
	if (!looks_like_address(text, len))
		return name_parse(text, len, pos, host, diag);
	err = sl_cidr_read(text, len, pos, &host->cidr, diag);
	if (!err)
		host->kind = SL_HOST_CIDR;
	return err;
}
