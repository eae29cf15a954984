// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The memory as a file: a first line that says what it is, then one entry a line, the oldest
 * first: `v KEY LAST` or `g KEY LAST FIRST`, and `end N` at last, so that half a file is
 * known for one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory_internal.h"

#define HEAD "sluice-alerts-memory 1\n"
#define LINE 128

static void put_kind(const struct sl_seen_kind *kind, char letter, FILE *out)
{
	for (const struct sl_seen *seen = kind->oldest; seen; seen = seen->newer) {
		fprintf(out, "%c ", letter);
		for (int i = 0; i < SL_MEMORY_KEY; i++)
			fprintf(out, "%02x", seen->key[i]);
		fprintf(out, " %lld", (long long)seen->last_ns);
		if (letter == 'g')
			fprintf(out, " %lld", (long long)seen->first_ns);
		putc('\n', out);
	}
}

static int put(const struct sl_alert_memory *m, FILE *out)
{
	int err;

	fputs(HEAD, out);
	put_kind(&m->kinds[SL_SEEN_GROUP], 'g', out);
	put_kind(&m->kinds[SL_SEEN_VALUE], 'v', out);
	fprintf(out, "end %zu\n", m->kinds[SL_SEEN_GROUP].n + m->kinds[SL_SEEN_VALUE].n);
	err = fflush(out) || fsync(fileno(out)) ? -errno : 0;
	return fclose(out) && !err ? -errno : err;
}

int sl_alert_memory_save(struct sl_alert_memory *m, const char *path)
{
	char name[PATH_MAX];
	FILE *out;
	int fd, err;

	if (!m->changed)
		return 0;
	if (snprintf(name, sizeof(name), "%s.new", path) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	out = fdopen(fd, "w");
	if (!out) {
		close(fd);
		return -ENOMEM;
	}
	err = put(m, out);
	if (!err && rename(name, path))
		err = -errno;
	if (err)
		unlink(name);
	else
		m->changed = false;
	return err;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool key_parse(const char *text, unsigned char *key)
{
	for (int i = 0; i < SL_MEMORY_KEY; i++) {
		int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);

		if (low < 0)
			return false;
		key[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool times_parse(const char *text, bool group, long long *last, long long *first)
{
	if (group)
		return sscanf(text, " %lld %lld", last, first) == 2 && *last >= 0 && *first >= 0;
	*first = 0;
	return sscanf(text, " %lld", last) == 1 && *last >= 0;
}

/* 0, -EINVAL or -ENOMEM. Beyond the room the oldest, which came first, go. */
static int take(struct sl_alert_memory *m, const char *line)
{
	bool group = line[0] == 'g';
	struct sl_seen_kind *kind = &m->kinds[group ? SL_SEEN_GROUP : SL_SEEN_VALUE];
	unsigned char key[SL_MEMORY_KEY];
	long long last, first;
	struct sl_seen *seen;

	if ((!group && line[0] != 'v') || line[1] != ' ' || !key_parse(line + 2, key) ||
	    !times_parse(line + 2 + 2 * SL_MEMORY_KEY, group, &last, &first) ||
	    sl_seen_find(kind, key))
		return -EINVAL;
	if (kind->n == kind->max)
		sl_seen_drop(kind, kind->oldest);
	seen = sl_seen_add(kind, key);
	if (!seen)
		return -ENOMEM;
	seen->last_ns = last;
	seen->first_ns = first;
	return 0;
}

static int take_all(struct sl_alert_memory *m, FILE *in)
{
	char line[LINE];
	size_t n = 0, said;
	int err = 0;

	if (!fgets(line, sizeof(line), in) || strcmp(line, HEAD))
		return -EINVAL;
	while (!err && fgets(line, sizeof(line), in)) {
		if (sscanf(line, "end %zu", &said) == 1)
			return said == n && !fgets(line, sizeof(line), in) ? 0 : -EINVAL;
		err = take(m, line);
		n++;
	}
	return err ? err : -EINVAL;
}

int sl_alert_memory_load(struct sl_alert_memory *m, const char *path)
{
	struct sl_alert_memory *fresh;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err;
	struct sl_alert_memory kept;
	FILE *in;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	in = fdopen(fd, "r");
	fresh = sl_alert_memory_new(m->kinds[SL_SEEN_VALUE].max, m->kinds[SL_SEEN_GROUP].max,
				    m->forget_ns);
	err = in && fresh ? take_all(fresh, in) : -ENOMEM;
	if (!err) {
		kept = *m;
		*m = *fresh;
		*fresh = kept;
	}
	sl_alert_memory_free(fresh);
	if (in)
		fclose(in);
	else
		close(fd);
	return err;
}
