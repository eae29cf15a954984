// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* resolv.conf(5): the name servers, and nothing else of it. */
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define RESOLV_CONF_BYTES_MAX (64u << 10)

static bool listed(const struct sl_cidr_list *list, const struct sl_cidr *cidr)
{
	for (size_t i = 0; i < list->n; i++)
		if (!memcmp(&list->v[i], cidr, sizeof(*cidr)))
			return true;
	return false;
}

/* One line, NUL-terminated. A server that is no address is passed over, as the
 * C library does: what nobody can ask need not be in a set. */
static int add_line(char *line, struct sl_cidr_list *servers)
{
	static const char key[] = "nameserver";
	unsigned char bytes[16];
	struct sl_cidr cidr;
	char *word, *save;
	int family;

	if (strncmp(line, key, strlen(key)) || !isblank((unsigned char)line[strlen(key)]))
		return 0;
	word = strtok_r(line + strlen(key), " \t\r", &save);
	if (!word)
		return 0;
	family = strchr(word, ':') ? AF_INET6 : AF_INET;
	if (family == AF_INET6)
		word[strcspn(word, "%")] = '\0'; /* fe80::1%eth0 */
	if (inet_pton(family, word, bytes) != 1)
		return 0;
	sl_cidr_from_bytes(family, bytes, &cidr);
	return listed(servers, &cidr) ? 0 : sl_cidr_list_add(servers, &cidr);
}

static int parse(char *text, struct sl_cidr_list *servers)
{
	char *line, *save;
	int err;

	for (line = strtok_r(text, "\n", &save); line && servers->n < SL_NAMESERVERS_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		err = add_line(line, servers);
		if (err)
			return err;
	}
	return 0;
}

int sl_resolvconf_read(const char *path, struct sl_cidr_list *servers)
{
	static const size_t max = RESOLV_CONF_BYTES_MAX;
	char text[RESOLV_CONF_BYTES_MAX + 1];
	size_t n = 0;
	struct stat st;
	ssize_t got;
	int fd, err = 0;

	/* The file may be the target's: it may be a FIFO or endless. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	while (!err && n < max) {
		got = read(fd, text + n, max - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			err = -errno;
		if (got <= 0)
			break;
		n += got;
	}
	close(fd);
	/* A last line that is cut could name another server. */
	if (!err && n == max)
		err = -EFBIG;
	text[n] = '\0';
	return err ? err : parse(text, servers);
}
