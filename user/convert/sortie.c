// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Sortie's egress policy: {"mode": "allowlist" | "denylist", "rules": [{"cidr",
 * "port", "protocol"}]}. A port of 0 or none is every port, a protocol of "" or
 * none is TCP and UDP, and DNS is always allowed (Sortie's "Network Egress Rules").
 */
#include "sortie.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "policy/address.h"
#include "policy/text.h"

#define DNS_PORT 53
#define PATH_BYTES 64

#define INHERITS "so the application inherits its cluster's default, which does not stand " \
	"here: say \"mode\": \"allowlist\" or \"denylist\", or write a policy that allows " \
	"what the default allows (Sortie's chart: \"any:53\" and \"any:80,443/tcp\")"

struct reader {
	const struct sl_pos *pos;
	struct sl_diag *diag;
	struct sl_policy *policy;
	const char *prefix;	/* path of the object with mode and rules, with its dot */
	size_t i;		/* the rule that is read */
};

/* ---- messages ---- */

/* `egress_policy.rules[3].cidr`; key NULL: the rule itself. */
static const char *path_of(const struct reader *r, const char *key, char buf[PATH_BYTES])
{
	snprintf(buf, PATH_BYTES, "%srules[%zu]%s%s", r->prefix, r->i, key ? "." : "",
		 key ? key : "");
	return buf;
}

/* What a value is, for a message; buf of 128 bytes. */
static const char *describe(const json_t *value, char *buf)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list", [JSON_REAL] = "a fraction",
		[JSON_TRUE] = "true", [JSON_FALSE] = "false", [JSON_NULL] = "null",
	};

	if (json_is_string(value))
		snprintf(buf, 128, "\"%.80s\"", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(buf, 128, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		return names[json_typeof(value)];
	return buf;
}

static int wrong(const struct reader *r, const char *key, const json_t *value, const char *want)
{
	char path[PATH_BYTES], found[128];

	return sl_error(r->diag, r->pos, "%s: %s: found %s", path_of(r, key, path), want,
			describe(value, found));
}

/* Every key must be one of the words. Returns the number of those that are not. */
static int check_keys(const struct reader *r, const json_t *object, const char *path,
		      const char *const *words)
{
	const char *key, *near, *const *w;
	json_t *value;
	int n = 0;

	json_object_foreach((json_t *)object, key, value) {
		for (w = words; *w && strcmp(*w, key); w++)
			;
		if (*w)
			continue;
		near = sl_nearest(key, strlen(key), words);
		sl_error(r->diag, r->pos, "%s%sunknown key \"%.80s\"%s%s%s", path,
			 *path ? ": " : "", key, near ? ": is \"" : "", near ? near : "",
			 near ? "\" meant?" : "");
		n++;
	}
	return n;
}

/* ---- building ---- */

static int add_protocol(struct sl_match *match, int protocol)
{
	int *slot = SL_ADD(match->protocols, match->n_protocols);

	if (!slot)
		return -ENOMEM;
	*slot = protocol;
	return 0;
}

static int add_port(struct sl_match *match, __u16 port)
{
	struct sl_port_range *slot = SL_ADD(match->ports, match->n_ports);

	if (!slot)
		return -ENOMEM;
	*slot = (struct sl_port_range){port, port};
	return 0;
}

/* A rule with one match on one host, at the end of the policy; NULL: no memory. */
static struct sl_match *add_rule(struct sl_policy *policy, enum sl_action action,
				 struct sl_host host)
{
	struct sl_rule *rule = sl_policy_add_rule(policy, action);
	struct sl_match *match = rule ? rule->matches : NULL;
	struct sl_host *slot = match ? SL_ADD(match->hosts, match->n_hosts) : NULL;

	if (!slot)
		return NULL;
	*slot = host;
	return match;
}

static int add_dns(struct sl_policy *policy)
{
	struct sl_match *match =
		add_rule(policy, SL_ALLOW, (struct sl_host){.kind = SL_HOST_ANY});

	return match ? add_port(match, DNS_PORT) : -ENOMEM;
}

/* Ports without a protocol are TCP and UDP; without ports both must be named,
 * or the rule would hold for every protocol. */
static int add_cidr(struct sl_policy *policy, const struct sl_cidr *cidr, __u16 port,
		    int protocol)
{
	enum sl_action action = policy->default_action == SL_ALLOW ? SL_DENY : SL_ALLOW;
	struct sl_match *match = add_rule(policy, action,
					  (struct sl_host){.kind = SL_HOST_CIDR, .cidr = *cidr});
	int err = match ? 0 : -ENOMEM;

	if (!err && port)
		err = add_port(match, port);
	if (!err && protocol)
		err = add_protocol(match, protocol);
	if (!err && !protocol && !port)
		err = add_protocol(match, IPPROTO_TCP);
	if (!err && !protocol && !port)
		err = add_protocol(match, IPPROTO_UDP);
	return err;
}

/* ---- reading ---- */

/* The parser's words about a CIDR, with the path in front. */
static void relay(const struct reader *r, const struct sl_diag *from)
{
	char path[PATH_BYTES];

	path_of(r, "cidr", path);
	for (size_t i = 0; i < from->n; i++)
		if (from->entries[i].severity == SL_ERROR)
			sl_error(r->diag, r->pos, "%s: %s", path, from->entries[i].message);
		else
			sl_warn(r->diag, r->pos, "%s: %s", path, from->entries[i].message);
}

static int read_cidr(const struct reader *r, const json_t *rule, struct sl_cidr *cidr)
{
	const json_t *value = json_object_get(rule, "cidr");
	const char *text = json_string_value(value);
	struct sl_diag found = {};
	char path[PATH_BYTES];
	int err;

	if (!value)
		return sl_error(r->diag, r->pos, "%s: \"cidr\" is missing: which destination?",
				path_of(r, NULL, path));
	if (!text)
		return wrong(r, "cidr", value, "a CIDR as \"10.0.0.0/8\" is wanted");
	err = sl_cidr_read(text, strlen(text), NULL, cidr, &found);
	relay(r, &found);
	sl_diag_free(&found);
	if (!err && !strchr(text, '/'))
		err = sl_error(r->diag, r->pos, "%s: \"%.80s\" has no prefix length: write "
			       "\"%.80s/%d\" for the one address", path_of(r, "cidr", path), text,
			       text, cidr->family == 4 ? 32 : 128);
	return err;
}

static int read_port(const struct reader *r, const json_t *rule, __u16 *port)
{
	const json_t *value = json_object_get(rule, "port");

	*port = 0;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > 65535)
		return wrong(r, "port", value, "a number from 1 to 65535, or 0 for every port, "
			     "is wanted");
	*port = (__u16)json_integer_value(value);
	return 0;
}

static int read_protocol(const struct reader *r, const json_t *rule, int *protocol)
{
	const json_t *value = json_object_get(rule, "protocol");
	const char *text = json_string_value(value);

	*protocol = 0;
	if (!value || json_is_null(value) || (text && !*text))
		return 0;
	if (text && !strcmp(text, "TCP"))
		*protocol = IPPROTO_TCP;
	else if (text && !strcmp(text, "UDP"))
		*protocol = IPPROTO_UDP;
	else
		return wrong(r, "protocol", value, "\"TCP\", \"UDP\" or \"\" for both is wanted");
	return 0;
}

static int read_rule(struct reader *r, const json_t *rule)
{
	static const char *const keys[] = {"cidr", "port", "protocol", NULL};
	char path[PATH_BYTES];
	struct sl_cidr cidr;
	int protocol, faults;
	__u16 port;

	if (!json_is_object(rule))
		return wrong(r, NULL, rule, "a rule {\"cidr\", \"port\", \"protocol\"} is wanted");
	faults = check_keys(r, rule, path_of(r, NULL, path), keys);
	faults += !!read_cidr(r, rule, &cidr);
	faults += !!read_port(r, rule, &port);
	faults += !!read_protocol(r, rule, &protocol);
	return faults ? -EINVAL : add_cidr(r->policy, &cidr, port, protocol);
}

static int read_rules(struct reader *r, const json_t *rules)
{
	int err = 0, worst = 0;
	char found[128];

	if (!rules || json_is_null(rules))
		return 0;
	if (!json_is_array(rules))
		return sl_error(r->diag, r->pos, "%srules: a list is wanted: found %s", r->prefix,
				describe(rules, found));
	for (r->i = 0; r->i < json_array_size(rules) && worst != -ENOMEM; r->i++) {
		err = read_rule(r, json_array_get(rules, r->i));
		if (err)
			worst = err;
	}
	return worst;
}

static int read_mode(struct reader *r, const json_t *egress)
{
	const json_t *value = json_object_get(egress, "mode");
	const char *text = json_string_value(value);
	char found[128];

	if (!value || json_is_null(value) || (text && !*text))
		return sl_error(r->diag, r->pos, "%smode: is %s, " INHERITS, r->prefix,
				text ? "empty" : "missing");
	if (text && !strcmp(text, "denylist"))
		r->policy->default_action = SL_ALLOW;
	else if (!text || strcmp(text, "allowlist"))
		return sl_error(r->diag, r->pos, "%smode: \"allowlist\" or \"denylist\" is wanted: "
				"found %s", r->prefix, describe(value, found));
	return 0;
}

static int read_egress(struct reader *r, const json_t *egress)
{
	static const char *const keys[] = {"mode", "rules", NULL};
	char path[PATH_BYTES];
	int err, faults;

	snprintf(path, sizeof(path), "%.*s", (int)(*r->prefix ? strlen(r->prefix) - 1 : 0),
		 r->prefix);
	faults = check_keys(r, egress, path, keys);
	r->policy->default_action = SL_DENY;
	faults += !!read_mode(r, egress);
	err = add_dns(r->policy);
	if (!err)
		err = read_rules(r, json_object_get(egress, "rules"));
	if (err == -ENOMEM)
		return err;
	if (!err && !faults && r->policy->default_action == SL_ALLOW && r->policy->n_items == 1)
		sl_warn(r->diag, r->pos, "%srules: a denylist with no rules allows everything",
			r->prefix);
	return faults ? -EINVAL : err;
}

/* The object with mode and rules: NULL with an error in diag. */
static const json_t *find_egress(struct reader *r, const json_t *root)
{
	const json_t *egress = json_object_get(root, "egress_policy");
	char found[128];

	if (!json_is_object(root)) {
		sl_error(r->diag, r->pos, "an object with \"egress_policy\" is wanted: found %s",
			 describe(root, found));
		return NULL;
	}
	if (!json_object_get(root, "egress_policy")) {
		if (json_object_get(root, "mode") || json_object_get(root, "rules"))
			return root;
		sl_error(r->diag, r->pos, "there is no \"egress_policy\", " INHERITS);
		return NULL;
	}
	r->prefix = "egress_policy.";
	if (json_object_get(root, "mode") || json_object_get(root, "rules")) {
		sl_error(r->diag, r->pos, "\"mode\" and \"rules\" belong into \"egress_policy\", "
			 "not beside it");
		return NULL;
	}
	if (json_is_object(egress))
		return egress;
	if (json_is_null(egress))
		sl_error(r->diag, r->pos, "egress_policy: is null, " INHERITS);
	else
		sl_error(r->diag, r->pos, "egress_policy: an object is wanted: found %s",
			 describe(egress, found));
	return NULL;
}

/* The application's id, as a name of a policy: `-` for what a name may not hold. */
static int take_name(struct reader *r, const json_t *root, char **application)
{
	const json_t *id = json_object_get(root, "id");
	const char *text = json_string_value(id);
	char found[128];

	if (!id || json_is_null(id) || (text && !*text))
		return 0;
	if (!text)
		return sl_error(r->diag, r->pos, "id: a text is wanted: found %s",
				describe(id, found));
	*application = strdup(text);
	r->policy->name = strndup(text, SL_ID_MAX);
	if (!*application || !r->policy->name)
		return -ENOMEM;
	for (char *c = r->policy->name; *c; c++)
		if (!sl_text_name(c, 1, true))
			*c = '-';
	if (strcmp(text, r->policy->name))
		sl_warn(r->diag, r->pos, "id: \"%.80s\" is no name of a policy (1 to 63 of a-z A-Z "
			"0-9 . _ -): the policy is named %s", text, r->policy->name);
	return 0;
}

static int read_root(struct reader *r, const json_t *root, char **application)
{
	const json_t *egress = find_egress(r, root);
	int err;

	if (!egress)
		return -EINVAL;
	if (egress == root)
		return read_egress(r, egress);
	err = take_name(r, root, application);
	return err ? err : read_egress(r, egress);
}

int sl_sortie_read(const char *text, size_t len, const struct sl_pos *pos,
		   struct sl_sortie *out, struct sl_diag *diag)
{
	struct sl_sortie sortie = {.policy = calloc(1, sizeof(*sortie.policy))};
	struct reader r = {.pos = pos, .diag = diag, .policy = sortie.policy, .prefix = ""};
	json_error_t why;
	json_t *root;
	int err;

	if (!sortie.policy)
		return -ENOMEM;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (root) {
		err = read_root(&r, root, &sortie.application);
	} else {
		struct sl_pos at = {pos->file, why.line < 0 ? 0 : (unsigned)why.line,
				    why.column < 0 ? 0 : (unsigned)why.column};

		err = sl_error(diag, &at, "not JSON: %s", why.text);
	}
	json_decref(root);
	if (err)
		sl_sortie_free(&sortie);
	else
		*out = sortie;
	return err;
}

void sl_sortie_free(struct sl_sortie *sortie)
{
	sl_policy_free(sortie->policy);
	free(sortie->application);
	memset(sortie, 0, sizeof(*sortie));
}
