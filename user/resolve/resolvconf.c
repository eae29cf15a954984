// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* resolv.conf(5): the name servers and the search domains. */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "policy/domain.h"

#define RESOLV_CONF_BYTES_MAX (64u << 10)
#define BLANKS " \t\r"

static bool listed(const struct sl_cidr_list *list, const struct sl_cidr *cidr)
{
	for (size_t i = 0; i < list->n; i++)
		if (!memcmp(&list->v[i], cidr, sizeof(*cidr)))
			return true;
	return false;
}

/* A server that is no address is passed over, as the C library does: what nobody can
 * ask need not be in a set. */
static int add_server(char *values, struct sl_cidr_list *servers)
{
	unsigned char bytes[16];
	struct sl_cidr cidr;
	char *word, *save;
	int family;

	word = strtok_r(values, BLANKS, &save);
	if (!word || servers->n >= SL_NAMESERVERS_MAX)
		return 0;
	family = strchr(word, ':') ? AF_INET6 : AF_INET;
	if (family == AF_INET6)
		word[strcspn(word, "%")] = '\0'; /* fe80::1%eth0 */
	if (inet_pton(family, word, bytes) != 1)
		return 0;
	sl_cidr_from_bytes(family, bytes, &cidr);
	return listed(servers, &cidr) ? 0 : sl_cidr_list_add(servers, &cidr);
}

static void drop_search(struct sl_resolvconf *conf)
{
	for (size_t i = 0; i < conf->n_search; i++)
		free(conf->search[i]);
	free(conf->search);
	conf->search = NULL;
	conf->n_search = 0;
}

static bool searched(const struct sl_resolvconf *conf, const char *domain)
{
	for (size_t i = 0; i < conf->n_search; i++)
		if (!strcmp(conf->search[i], domain))
			return true;
	return false;
}

/* Lower-case, without the last dot. What is no name (`.`, the root) adds nothing to one. */
static int add_domain(char *word, struct sl_resolvconf *conf)
{
	size_t len = strlen(word);
	char **search, *copy;

	if (len && word[len - 1] == '.')
		word[--len] = '\0';
	for (char *c = word; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (sl_domain_fault(word, len) || sl_domain_ends_in_number(word, len) ||
	    searched(conf, word) || conf->n_search == SL_SEARCH_MAX)
		return 0;
	search = reallocarray(conf->search, conf->n_search + 1, sizeof(*search));
	if (!search)
		return -ENOMEM;
	conf->search = search;
	copy = strdup(word);
	if (!copy)
		return -ENOMEM;
	search[conf->n_search++] = copy;
	return 0;
}

/* The last such line counts. `domain` has one domain, `search` several. */
static int set_search(char *values, bool several, struct sl_resolvconf *conf)
{
	char *word, *save;
	int err = 0;

	drop_search(conf);
	for (word = strtok_r(values, BLANKS, &save); word && !err;
	     word = several ? strtok_r(NULL, BLANKS, &save) : NULL)
		err = add_domain(word, conf);
	return err;
}

/* What stands behind key and a blank; NULL: the line is another. */
static char *values_of(char *line, const char *key)
{
	size_t len = strlen(key);

	return !strncmp(line, key, len) && isblank((unsigned char)line[len]) ? line + len : NULL;
}

/* One line, NUL-terminated. */
static int add_line(char *line, struct sl_resolvconf *conf)
{
	char *values = values_of(line, "nameserver");

	if (values)
		return add_server(values, &conf->servers);
	values = values_of(line, "search");
	if (values)
		return set_search(values, true, conf);
	values = values_of(line, "domain");
	return values ? set_search(values, false, conf) : 0;
}

int sl_resolvconf_parse(char *text, struct sl_resolvconf *conf)
{
	char *line, *save;
	int err;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		err = add_line(line, conf);
		if (err)
			return err;
	}
	return 0;
}

void sl_resolvconf_free(struct sl_resolvconf *conf)
{
	drop_search(conf);
	free(conf->servers.v);
	memset(conf, 0, sizeof(*conf));
}

int sl_resolvconf_read(const char *path, struct sl_resolvconf *conf)
{
	char *text;
	int err = sl_text_file_read(path, RESOLV_CONF_BYTES_MAX, &text);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = sl_resolvconf_parse(text, conf);
	free(text);
	return err;
}
