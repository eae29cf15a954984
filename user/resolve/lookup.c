// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "lookup.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define SWITCH "/etc/nsswitch.conf"
#define SWITCH_BYTES_MAX (64u << 10)
#define RESOLV_CONF "/etc/resolv.conf"

static void add_word(char *list, size_t size, const char *word)
{
	size_t n = strlen(list);

	snprintf(list + n, size - n, "%s%s", n ? ", " : "", word);
}

/* `hosts: files resolve [!UNAVAIL=return] dns`: the sources that are neither of ours. */
static void read_sources(char *values, struct sl_lookup *out)
{
	char *word, *save;
	bool action = false;

	out->no_switch = false;
	out->sources[0] = '\0';
	for (word = strtok_r(values, " \t\r", &save); word; word = strtok_r(NULL, " \t\r", &save)) {
		if (*word == '[')
			action = true;
		else if (!action && strcmp(word, "files") && strcmp(word, "dns"))
			add_word(out->sources, sizeof(out->sources), word);
		if (word[strlen(word) - 1] == ']')
			action = false;
	}
}

static void read_switch(struct sl_lookup *out)
{
	char *text, *line, *save, *value;

	out->no_switch = true;
	if (sl_text_file_read(SWITCH, SWITCH_BYTES_MAX, &text))
		return;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line[strcspn(line, "#")] = '\0';
		line += strspn(line, " \t");
		value = strchr(line, ':');
		if (!strncmp(line, "hosts", 5) && value == line + 5 + strspn(line + 5, " \t"))
			read_sources(value + 1, out);
	}
	free(text);
}

static void read_servers(struct sl_lookup *out)
{
	struct sl_resolvconf conf = {};
	char text[SL_CIDR_TEXT];

	if (!sl_resolvconf_read(RESOLV_CONF, &conf)) {
		for (size_t i = 0; i < conf.servers.n; i++) {
			sl_cidr_format(&conf.servers.v[i], text);
			out->stub |= !strcmp(text, "127.0.0.53") || !strcmp(text, "127.0.0.54");
			out->docker |= !strcmp(text, "127.0.0.11");
		}
	}
	sl_resolvconf_free(&conf);
}

void sl_lookup_read(struct sl_lookup *out)
{
	memset(out, 0, sizeof(*out));
	read_switch(out);
	read_servers(out);
	out->nscd = !access("/run/nscd/socket", F_OK) || !access("/var/run/nscd/socket", F_OK);
	out->resolved = !access("/run/systemd/resolve/io.systemd.Resolve", F_OK);
}

const char *sl_lookup_others(const struct sl_lookup *lookup, char *buf, unsigned size)
{
	buf[0] = '\0';
	if (lookup->sources[0]) {
		add_word(buf, size, "nsswitch.conf: ");
		strncat(buf, lookup->sources, size - strlen(buf) - 1);
	}
	if (lookup->no_switch)
		add_word(buf, size, "no hosts line in nsswitch.conf (libc's default)");
	if (lookup->nscd)
		add_word(buf, size, "nscd");
	if (lookup->resolved)
		add_word(buf, size, "systemd-resolved's socket");
	return buf;
}
