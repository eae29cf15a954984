// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Types of DNS questions: words for those in use (IANA's registry), TYPEn for all
 * (RFC 3597). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "parser.h"
#include "text.h"

#define TYPE_OPT 41	/* RFC 6891: in no question */

#define TYPES(X) \
	X(A, 1) X(NS, 2) X(CNAME, 5) X(SOA, 6) X(PTR, 12) X(MX, 15) X(TXT, 16) X(AAAA, 28) \
	X(SRV, 33) X(NAPTR, 35) X(DS, 43) X(SSHFP, 44) X(DNSKEY, 48) X(TLSA, 52) X(SVCB, 64) \
	X(HTTPS, 65) X(ANY, 255) X(CAA, 257)

static const struct {
	const char *word;
	__u16 number;
} types[] = {
#define TYPE(word, number) {#word, number},
	TYPES(TYPE)
#undef TYPE
};

#define N_TYPES (sizeof(types) / sizeof(types[0]))

const char *sl_dns_type_words(void)
{
#define WORD(word, number) #word " "
	return TYPES(WORD);
#undef WORD
}

bool sl_dns_type_parse(const char *text, size_t len, __u16 *type)
{
	__u64 number;

	for (size_t i = 0; i < N_TYPES; i++) {
		if (len == strlen(types[i].word) && !strncasecmp(text, types[i].word, len)) {
			*type = types[i].number;
			return true;
		}
	}
	if (len < 5 || strncasecmp(text, "TYPE", 4) ||
	    !sl_text_number(text + 4, len - 4, 65535, &number) || !number || number == TYPE_OPT)
		return false;
	*type = (__u16)number;
	return true;
}

const char *sl_dns_type_format(__u16 type, char buf[SL_DNS_TYPE_TEXT])
{
	for (size_t i = 0; i < N_TYPES; i++) {
		if (types[i].number == type)
			return types[i].word;
	}
	snprintf(buf, SL_DNS_TYPE_TEXT, "TYPE%u", type);
	return buf;
}
