// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* dns, as canonical text. */
#include "parser.h"
#include "print.h"

/* `KEY: ` with a comma in front, but for the first key. */
static void begin(const char *key, bool *first, FILE *out)
{
	fprintf(out, "%s%s: ", *first ? "" : ", ", key);
	*first = false;
}

static void print_resolvers(const struct sl_policy *policy, bool *first, FILE *out)
{
	if (!policy->dns_system && !policy->n_resolvers)
		return;
	begin("resolvers", first, out);
	if (policy->dns_system) {
		fputs("system", out);
		return;
	}
	for (size_t i = 0; i < policy->n_resolvers; i++) {
		fputs(i ? ", " : "[", out);
		sl_print_cidr(&policy->resolvers[i], out);
	}
	putc(']', out);
}

static void print_types(const struct sl_dns *dns, bool *first, FILE *out)
{
	char buf[SL_DNS_TYPE_TEXT];

	if (!dns->n_types)
		return;
	begin("types", first, out);
	for (size_t i = 0; i < dns->n_types; i++)
		fprintf(out, "%s%s", i ? ", " : "[", sl_dns_type_format(dns->types[i], buf));
	putc(']', out);
}

static void print_ttl(const struct sl_dns *dns, bool *first, FILE *out)
{
	bool min = dns->ttl_min_s, max = dns->ttl_max_s;
	char buf[32];

	if (!min && !max)
		return;
	begin("ttl", first, out);
	putc('{', out);
	if (min) {
		sl_duration_format(dns->ttl_min_s, buf, sizeof(buf));
		fprintf(out, "min: %s%s", buf, max ? ", " : "");
	}
	if (max) {
		sl_duration_format(dns->ttl_max_s, buf, sizeof(buf));
		fprintf(out, "max: %s", buf);
	}
	putc('}', out);
}

static void print_search(const struct sl_dns *dns, bool *first, FILE *out)
{
	if (!dns->has_search)
		return;
	begin("search", first, out);
	putc('[', out);
	for (size_t i = 0; i < dns->n_search; i++) {
		fputs(i ? ", " : "", out);
		sl_print_text(dns->search[i], out);
	}
	putc(']', out);
}

static void print_forward(const struct sl_dns *dns, bool *first, FILE *out)
{
	if (!dns->forward)
		return;
	begin("mode", first, out);
	fputs("forward", out);
	if (dns->has_listen) {
		begin("listen", first, out);
		sl_print_cidr(&dns->listen, out);
	}
	if (dns->tls) {
		begin("tls", first, out);
		sl_print_text(dns->tls, out);
	}
	if (dns->strip) {
		begin("strip", first, out);
		fprintf(out, "[%s%s%s]", dns->strip & SL_STRIP_ECH ? "ech" : "",
			dns->strip == (SL_STRIP_ECH | SL_STRIP_HINTS) ? ", " : "",
			dns->strip & SL_STRIP_HINTS ? "hints" : "");
	}
}

void sl_print_dns(const struct sl_policy *policy, FILE *out)
{
	const struct sl_dns *dns = &policy->dns;
	bool first = true;

	if (!policy->has_dns)
		return;
	fputs("dns: {", out);
	print_resolvers(policy, &first, out);
	if (dns->queries != SL_QUERIES_DEFAULT) {
		begin("queries", &first, out);
		fputs(dns->queries == SL_QUERIES_ANY ? "any" : "listed", out);
	}
	print_types(dns, &first, out);
	print_ttl(dns, &first, out);
	print_search(dns, &first, out);
	if (dns->dot_by_rules) {
		begin("dot", &first, out);
		fputs("rules", out);
	}
	print_forward(dns, &first, out);
	fputs("}\n", out);
}
