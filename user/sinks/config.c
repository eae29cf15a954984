// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a sink is to be, from an option or from YAML. */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "options.h"
#include "policy/text.h"
#include "policy/yaml.h"
#include "sink.h"

#define QUEUE 8192
#define QUEUE_MAX 1048576	/* about 1 KiB each */
#define KEEP 7
#define CONSUMERS 64
#define JOURNALD_SOCKET "/run/systemd/journal/socket"
#define SYSLOG_SOCKET "/dev/log"

enum key { KEY_FILE, KEY_STDOUT, KEY_JOURNALD, KEY_SYSLOG, KEY_UNIX,	/* as enum sl_sink_kind */
	   KEY_FORMAT, KEY_QUEUE, KEY_ROTATE, KEY_EVERY, KEY_KEEP, KEY_MODE, KEY_GROUP,
	   KEY_CONSUMERS, KEY_FACILITY, KEY_N };

static const char *const keys[KEY_N + 1] = {
	"file", "stdout", "journald", "syslog", "unix", "format", "queue", "rotate", "every",
	"keep", "mode", "group", "consumers", "facility", NULL,
};

#define OF(kind) (1u << (kind))
#define ANY 0x1fu

/* Which kinds have a key. */
static const unsigned allowed[KEY_N] = {
	[KEY_FORMAT] = ANY, [KEY_QUEUE] = ANY,
	[KEY_ROTATE] = OF(SL_SINK_FILE), [KEY_EVERY] = OF(SL_SINK_FILE),
	[KEY_KEEP] = OF(SL_SINK_FILE),
	[KEY_MODE] = OF(SL_SINK_FILE) | OF(SL_SINK_UNIX),
	[KEY_GROUP] = OF(SL_SINK_FILE) | OF(SL_SINK_UNIX),
	[KEY_CONSUMERS] = OF(SL_SINK_UNIX), [KEY_FACILITY] = OF(SL_SINK_SYSLOG),
};

/* RFC 5424, table 1. */
static const char *const facilities[] = {
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
	"authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2",
	"local3", "local4", "local5", "local6", "local7", NULL,
};

struct reader {
	struct sl_sink_config config;
	char *address;		/* of the kind */
	bool has_kind;
	unsigned seen;		/* keys */
};

static int find_key(const char *key)
{
	for (int i = 0; i < KEY_N; i++)
		if (!strcmp(keys[i], key))
			return i;
	return -1;
}

static bool set_facility(const struct sl_option *o, unsigned *out)
{
	const char *nearest;

	for (unsigned i = 0; facilities[i]; i++)
		if (!strcmp(facilities[i], o->value)) {
			*out = i;
			return true;
		}
	nearest = sl_nearest(o->value, strlen(o->value), facilities);
	sl_error(o->diag, o->pos, "facility: '%.80s' is none%s%s%s", o->value,
		 nearest ? "; did you mean " : "; daemon, auth and local0 to local7 are some",
		 nearest ? nearest : "", nearest ? "?" : "");
	return false;
}

static bool set_group(const struct sl_option *o, gid_t *out)
{
	struct group *group = getgrnam(o->value);

	if (group)
		*out = group->gr_gid;
	else
		sl_error(o->diag, o->pos, "group: there is no group '%.80s'", o->value);
	return group;
}

static bool set_format(const struct sl_option *o, enum sl_sink_format *out)
{
	bool ocsf = !strcmp(o->value, "ocsf");

	if (!ocsf && strcmp(o->value, "json"))
		return sl_error(o->diag, o->pos, "format: '%.80s': it is json or ocsf", o->value),
		       false;
	*out = ocsf ? SL_SINK_OCSF : SL_SINK_NATIVE;
	return true;
}

static bool set_option(struct sl_sink_config *c, enum key key, const struct sl_option *o)
{
	switch (key) {
	case KEY_FORMAT: return set_format(o, &c->format);
	case KEY_QUEUE: return sl_option_number(o, 16, QUEUE_MAX, &c->queue);
	case KEY_ROTATE: return sl_option_bytes(o, 4096, &c->rotate_bytes);
	case KEY_EVERY: return sl_option_seconds(o, 60, &c->rotate_s);
	case KEY_KEEP: return sl_option_number(o, 1, 1000, &c->keep);
	case KEY_MODE: return sl_option_mode(o, &c->mode);
	case KEY_GROUP: return set_group(o, &c->group);
	case KEY_CONSUMERS: return sl_option_number(o, 1, 1024, &c->consumers);
	case KEY_FACILITY: return set_facility(o, &c->facility);
	default: return false;
	}
}

static int set_kind(struct reader *r, enum key key, const struct sl_option *o)
{
	if (r->has_kind)
		return sl_error(o->diag, o->pos, "'%s' and '%s': a sink is of one kind", keys[
				r->config.kind], o->key);
	r->has_kind = true;
	r->config.kind = (enum sl_sink_kind)key;
	r->address = strdup(o->value);
	return r->address ? 0 : -ENOMEM;
}

static int unknown_key(const struct sl_option *o)
{
	const char *nearest = sl_nearest(o->key, strlen(o->key), keys);

	return sl_error(o->diag, o->pos, "unknown key '%.80s' of a sink%s%s%s", o->key,
			nearest ? "; did you mean '" : "", nearest ? nearest : "",
			nearest ? "'?" : "");
}

static int set(void *context, const char *key, const char *value, const struct sl_pos *pos,
	       struct sl_diag *diag)
{
	struct sl_option o = {.key = key, .value = value, .pos = pos, .diag = diag};
	struct reader *r = context;
	int index = find_key(key);

	if (index < 0)
		return unknown_key(&o);
	if (r->seen & 1u << index)
		return sl_error(diag, pos, "%s stands twice", key);
	r->seen |= 1u << index;
	if (index <= KEY_UNIX)
		return set_kind(r, (enum key)index, &o);
	return set_option(&r->config, (enum key)index, &o) ? 0 : -EINVAL;
}

/* ---- when all keys are known ---- */

static int set_syslog(struct reader *r, const struct sl_option *o)
{
	struct sl_sink_config *c = &r->config;
	struct sl_option tail = *o;
	bool udp = !strncmp(o->value, "udp:", 4), tcp = !strncmp(o->value, "tcp:", 4);

	if (!udp && !tcp) {
		tail.value = *o->value ? o->value : SYSLOG_SOCKET;
		return sl_option_path(&tail, &c->path) ? 0 : -EINVAL;
	}
	tail.value += 4;
	c->transport = udp ? SL_SYSLOG_UDP : SL_SYSLOG_TCP;
	return sl_option_address(&tail, 0, &c->host, &c->port) ? 0 : -EINVAL;
}

static int set_address(struct reader *r, const struct sl_pos *pos, struct sl_diag *diag)
{
	struct sl_sink_config *c = &r->config;
	struct sl_option o = {.key = keys[c->kind], .value = r->address, .pos = pos, .diag = diag};

	switch (c->kind) {
	case SL_SINK_STDOUT:
		return *r->address ? sl_error(diag, pos, "stdout: '%.80s': it has no address",
					      r->address) : 0;
	case SL_SINK_SYSLOG:
		return set_syslog(r, &o);
	case SL_SINK_JOURNALD:
		if (!*o.value)
			o.value = JOURNALD_SOCKET;
		break;
	default:
		break;
	}
	if (!sl_option_path(&o, &c->path))
		return -EINVAL;
	if (c->kind != SL_SINK_FILE &&
	    strlen(c->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return sl_error(diag, pos, "%s: '%.80s' is too long for a socket's path", o.key,
				c->path);
	return 0;
}

static int check_keys(const struct reader *r, const struct sl_pos *pos, struct sl_diag *diag)
{
	int err = 0;

	for (int i = KEY_FORMAT; i < KEY_N; i++)
		if (r->seen & 1u << i && !(allowed[i] & OF(r->config.kind)))
			err = sl_error(diag, pos, "%s: a sink '%s' has no such key", keys[i],
				       keys[r->config.kind]);
	if (!err && r->seen & OF(KEY_KEEP) && !r->config.rotate_bytes && !r->config.rotate_s)
		err = sl_error(diag, pos,
			       "keep: nothing rotates; add rotate (a size) or every (a time)");
	return err;
}

static int finish(struct reader *r, const struct sl_pos *pos, struct sl_sink_config *out,
		  struct sl_diag *diag)
{
	struct sl_sink_config *c = &r->config;
	int err = 0;

	if (!r->has_kind)
		err = sl_error(diag, pos,
			       "what kind of sink? file, stdout, journald, syslog or unix");
	if (!err)
		err = check_keys(r, pos, diag);
	if (!err)
		err = set_address(r, pos, diag);
	if (!err && !(r->seen & OF(KEY_MODE)))
		c->mode = c->kind == SL_SINK_UNIX ? 0660 : 0640;
	if (!err && asprintf(&c->spec, "%s%s%s", keys[c->kind], *r->address ? ":" : "",
			     r->address) < 0) {
		c->spec = NULL;
		err = -ENOMEM;
	}
	free(r->address);
	if (err)
		sl_sink_config_free(c);
	else
		*out = *c;
	return err;
}

static struct reader start(void)
{
	return (struct reader){.config = {.queue = QUEUE, .keep = KEEP, .group = (gid_t)-1,
					  .consumers = CONSUMERS, .facility = 3}};
}

static int give_up(struct reader *r, int err)
{
	free(r->address);
	sl_sink_config_free(&r->config);
	return err;
}

int sl_sink_parse(const char *spec, const struct sl_pos *pos, struct sl_sink_config *out,
		  struct sl_diag *diag)
{
	size_t head = strcspn(spec, ","), kind = strcspn(spec, ":,");
	struct reader r = start();
	char *word = strndup(spec, head);
	int index, err;

	if (!word)
		return -ENOMEM;
	word[kind] = 0;
	index = find_key(word);
	if (index < 0 || index > KEY_UNIX)
		err = sl_error(diag, pos,
			       "'%.80s' is no kind of sink: file, stdout, journald, syslog "
			       "and unix are",
			       word);
	else
		err = set(&r, word, kind < head ? word + kind + 1 : "", pos, diag);
	free(word);
	if (!err && spec[head])
		err = sl_options_text(spec + head + 1, pos, set, &r, diag);
	return err ? give_up(&r, err) : finish(&r, pos, out, diag);
}

int sl_sink_parse_yaml(struct sl_yaml *yaml, struct sl_sink_config *out, struct sl_diag *diag)
{
	struct sl_pos pos = yaml->pos;
	struct reader r = start();
	char found[128], *spec;
	int err;

	if (yaml->type == SL_YAML_SCALAR && !sl_yaml_is_null(yaml)) {
		spec = sl_options_scalar(yaml);
		err = spec ? sl_sink_parse(spec, &pos, out, diag) : -ENOMEM;
		free(spec);
		return err;
	}
	if (yaml->type != SL_YAML_MAP) {
		sl_error(diag, &pos,
			 "a sink is wanted (`{file: /var/log/sluice/audit.jsonl}`): found %s",
			 sl_yaml_describe(yaml, found, sizeof(found)));
		sl_yaml_skip(yaml);
		return -EINVAL;
	}
	err = sl_options_yaml(yaml, set, &r, diag);
	return err ? give_up(&r, err) : finish(&r, &pos, out, diag);
}

int sl_sinks_parse_yaml(struct sl_yaml *yaml, struct sl_sink_config **out, size_t *n,
			struct sl_diag *diag)
{
	struct sl_sink_config *list = NULL, *added, one;
	char found[128];
	size_t count = 0;
	int err = 0, wrong;

	if (yaml->type != SL_YAML_LIST) {
		sl_error(diag, &yaml->pos, "a list of sinks is wanted: found %s",
			 sl_yaml_describe(yaml, found, sizeof(found)));
		sl_yaml_skip(yaml);
		return -EINVAL;
	}
	for (sl_yaml_next(yaml); yaml->type != SL_YAML_LIST_END && yaml->type != SL_YAML_END;
	     sl_yaml_next(yaml)) {
		wrong = sl_sink_parse_yaml(yaml, &one, diag);
		added = wrong ? NULL : SL_ADD(list, count);
		if (added)
			*added = one;
		else if (!wrong)
			sl_sink_config_free(&one);
		err = err ? err : wrong ? wrong : added ? 0 : -ENOMEM;
	}
	err = yaml->error ? yaml->error : err;
	if (err) {
		while (count)
			sl_sink_config_free(&list[--count]);
		free(list);
		return err;
	}
	*out = list;
	*n = count;
	return 0;
}

void sl_sink_config_free(struct sl_sink_config *c)
{
	free(c->spec);
	free(c->path);
	free(c->host);
	c->spec = c->path = c->host = NULL;
}
