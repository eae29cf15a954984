// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Where metrics are served, from an option or from YAML. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "metrics.h"
#include "policy/text.h"
#include "policy/yaml.h"
#include "sinks/options.h"

#define PORT 9477

static const char *const keys[] = {"listen", "cert", "key", "users", "mode", "insecure", NULL};

struct reader {
	struct sl_metrics_listen listen;
	unsigned seen;
};

static bool set_address(const struct sl_option *o, struct sl_metrics_listen *l)
{
	struct sl_option at = *o;

	if (!strncmp(o->value, "unix:", 5)) {
		at.value += 5;
		if (strlen(at.value) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
			sl_error(o->diag, o->pos, "'%.80s' is too long for a socket's path",
				 at.value);
			return false;
		}
		return sl_option_path(&at, &l->path);
	}
	if (!strncmp(o->value, "loopback", 8)) {
		l->host = strdup("127.0.0.1");
		l->port = PORT;
		at.value += 8;
		if (!*at.value)
			return l->host;
		at.key = "port";
		at.value += *at.value == ':';
		return sl_option_number(&at, 1, 65535, &l->port);
	}
	return sl_option_address(o, PORT, &l->host, &l->port);
}

static bool set_switch(const struct sl_option *o, bool *out)
{
	bool yes = !strcmp(o->value, "yes") || !strcmp(o->value, "true");

	if (!yes && strcmp(o->value, "no") && strcmp(o->value, "false"))
		return sl_error(o->diag, o->pos, "%s: '%.80s': it is yes or no", o->key,
				o->value), false;
	*out = yes;
	return true;
}

static bool set_value(struct sl_metrics_listen *l, int key, const struct sl_option *o)
{
	switch (key) {
	case 0: return set_address(o, l);
	case 1: return sl_option_path(o, &l->certificate);
	case 2: return sl_option_path(o, &l->key);
	case 3: return sl_option_path(o, &l->users);
	case 4: return sl_option_mode(o, &l->mode);
	case 5: return set_switch(o, &l->insecure);
	}
	return false;
}

static int set(void *context, const char *key, const char *value, const struct sl_pos *pos,
	       struct sl_diag *diag)
{
	struct sl_option o = {.key = key, .value = value, .pos = pos, .diag = diag};
	struct reader *r = context;
	const char *nearest;
	int i;

	for (i = 0; keys[i] && strcmp(keys[i], key); i++)
		;
	if (!keys[i]) {
		nearest = sl_nearest(key, strlen(key), keys);
		return sl_error(diag, pos, "unknown key '%.80s' of metrics%s%s%s", key,
				nearest ? "; did you mean '" : "", nearest ? nearest : "",
				nearest ? "'?" : "");
	}
	if (r->seen & 1u << i)
		return sl_error(diag, pos, "%s stands twice", key);
	r->seen |= 1u << i;
	return set_value(&r->listen, i, &o) ? 0 : -EINVAL;
}

static bool is_loopback(const char *host)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, host, &a4) == 1)
		return ntohl(a4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &a6) == 1 && IN6_IS_ADDR_LOOPBACK(&a6);
}

static int finish(struct reader *r, const struct sl_pos *pos, struct sl_metrics_listen *out,
		  struct sl_diag *diag)
{
	struct sl_metrics_listen *l = &r->listen;
	int err = 0;

	if (!l->host && !l->path)
		err = sl_error(diag, pos,
			       "where to listen? loopback:9477 or unix:/run/sluice/metrics");
	else if (!l->certificate != !l->key)
		err = sl_error(diag, pos, "TLS needs both cert and key");
	else if (l->host && r->seen & 1u << 4)
		err = sl_error(diag, pos, "mode: only a unix socket has one");
	else if (l->host && !is_loopback(l->host) && !l->insecure && (!l->certificate || !l->users))
		err = sl_error(diag, pos,
			       "'%s' is not loopback: who can reach it reads what is denied "
			       "to whom; add cert, key and users, or insecure=yes",
			       l->host);
	if (!err && !l->mode)
		l->mode = 0660;
	if (err)
		sl_metrics_listen_free(l);
	else
		*out = *l;
	return err;
}

int sl_metrics_parse(const char *spec, const struct sl_pos *pos, struct sl_metrics_listen *out,
		     struct sl_diag *diag)
{
	size_t head = strcspn(spec, ",");
	struct reader r = {};
	char *address = strndup(spec, head);
	int err = address ? set(&r, "listen", address, pos, diag) : -ENOMEM;

	free(address);
	if (!err && spec[head])
		err = sl_options_text(spec + head + 1, pos, set, &r, diag);
	if (!err)
		return finish(&r, pos, out, diag);
	sl_metrics_listen_free(&r.listen);
	return err;
}

int sl_metrics_parse_yaml(struct sl_yaml *yaml, struct sl_metrics_listen *out,
			  struct sl_diag *diag)
{
	struct sl_pos pos = yaml->pos;
	char found[128], *spec;
	struct reader r = {};
	int err;

	if (yaml->type == SL_YAML_SCALAR && !sl_yaml_is_null(yaml)) {
		spec = sl_options_scalar(yaml);
		err = spec ? sl_metrics_parse(spec, &pos, out, diag) : -ENOMEM;
		free(spec);
		return err;
	}
	if (yaml->type != SL_YAML_MAP) {
		sl_error(diag, &pos,
			 "an address (`loopback:9477`) or a mapping is wanted: found %s",
			 sl_yaml_describe(yaml, found, sizeof(found)));
		sl_yaml_skip(yaml);
		return -EINVAL;
	}
	err = sl_options_yaml(yaml, set, &r, diag);
	if (!err)
		return finish(&r, &pos, out, diag);
	sl_metrics_listen_free(&r.listen);
	return err;
}

void sl_metrics_listen_free(struct sl_metrics_listen *l)
{
	free(l->path);
	free(l->host);
	free(l->certificate);
	free(l->key);
	free(l->users);
	*l = (struct sl_metrics_listen){};
}
