// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* HOST: an address, a CIDR, @set, a name, *.name, * or any. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "domain.h"
#include "parser.h"
#include "text.h"

static int set_parse(const char *text, size_t len, const struct sl_pos *pos, struct sl_host *host,
		     struct sl_diag *diag)
{
	if (!sl_text_name(text, len, false))
		return sl_error(diag, pos, "\"@%.*s\": a set's name is 1 to 63 of a-z 0-9 . _ -",
				SL_Q(text, len));
	host->text = strndup(text, len);
	host->kind = SL_HOST_SET;
	return host->text ? 0 : -ENOMEM;
}

static int name_parse(const char *text, size_t len, const struct sl_pos *pos,
		      struct sl_host *host, struct sl_diag *diag)
{
	bool suffix = len > 2 && text[0] == '*' && text[1] == '.';
	const char *name = suffix ? text + 2 : text;
	size_t name_len = suffix ? len - 2 : len;
	int err;

	if (text[0] == '*' && !suffix)
		return sl_error(diag, pos, "\"%.*s\": a star stands alone or as \"*.name\"",
				SL_Q(text, len));
	if (memchr(name, '*', name_len))
		return sl_error(diag, pos, "\"%.*s\": one star, at the beginning, as \"*.name\"",
				SL_Q(text, len));
	err = sl_domain_read(name, name_len, text, len, pos, &host->text, diag);
	if (!err)
		host->kind = suffix ? SL_HOST_SUFFIX : SL_HOST_NAME;
	return err;
}

static bool looks_like_address(const char *text, size_t len)
{
	return memchr(text, ':', len) || memchr(text, '/', len) ||
	       sl_domain_ends_in_number(text, len);
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
	struct sl_cidr ipv4;
	bool masked;
	int err;

	memset(host, 0, sizeof(*host));
	host->pos = *pos;
	/* most are an address that nothing is to be said of */
	if (!sl_cidr_parse(text, len, &host->cidr, &masked) && !masked &&
	    !sl_cidr_embedded_ipv4(&host->cidr, &ipv4)) {
		host->kind = SL_HOST_CIDR;
		return 0;
	}
	memset(&host->cidr, 0, sizeof(host->cidr));
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
