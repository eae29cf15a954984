// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One match: sets and names of users replaced, all else copied. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define PASSWD_BYTES_MAX (1u << 20)

static int copy_array(void *to, const void *from, size_t n, size_t size)
{
	void *copy;

	if (!n)
		return 0;
	copy = reallocarray(NULL, n, size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, from, n * size);
	*(void **)to = copy;
	return 0;
}

static struct sl_host *append_host(struct sl_match *dst, size_t *cap, const struct sl_host *src)
{
	struct sl_host *host = sl_array_grow(dst->hosts, dst->n_hosts, cap, sizeof(*host));

	if (!host)
		return NULL;
	dst->hosts = host;
	host += dst->n_hosts++;
	*host = (struct sl_host){.kind = src->kind, .cidr = src->cidr, .pos = src->pos};
	return host;
}

static int append_name(struct sl_match *dst, size_t *cap, const struct sl_host *src)
{
	struct sl_host *host = append_host(dst, cap, src);

	if (!host)
		return -ENOMEM;
	host->text = src->text ? strdup(src->text) : NULL;
	return src->text && !host->text ? -ENOMEM : 0;
}

static void fail_empty(struct sl_resolver *r, const struct sl_host *host)
{
	const char *why = sl_builtin_why_empty(r, host->text);

	sl_fail(r, &host->pos,
		"set \"@%s\" has nothing in it%s%s: if that is meant, "
		"write \"empty: ok\" beside the rule",
		host->text, why ? " here, " : "", why ? why : "");
}

static int resolve_set(struct sl_resolver *r, const struct sl_frame *frame,
		       const struct sl_host *src, bool empty_ok, struct sl_match *dst, size_t *cap)
{
	struct sl_set_ref ref;
	struct sl_host *host;
	int err = sl_set_find(r, frame, src, &ref);

	if (err || !ref.known)
		return err;
	if (!ref.n_cidrs) {
		if (!empty_ok)
			fail_empty(r, src);
		return 0;
	}
	for (size_t i = 0; !ref.set && i < ref.n_cidrs; i++) {
		host = append_host(dst, cap, src);
		if (!host)
			return -ENOMEM;
		host->kind = SL_HOST_CIDR;
		host->cidr = ref.cidrs[i];
	}
	if (!ref.set)
		return 0;
	host = append_host(dst, cap, src);
	if (!host)
		return -ENOMEM;
	host->set = ref.set;
	host->text = strdup(ref.set->name);
	return host->text ? 0 : -ENOMEM;
}

static int resolve_hosts(struct sl_resolver *r, const struct sl_frame *frame,
			 const struct sl_match *src, bool empty_ok, struct sl_match *dst)
{
	size_t cap = src->n_hosts;
	int err = 0;

	/* most matches have one */
	dst->hosts = cap ? reallocarray(NULL, cap, sizeof(*dst->hosts)) : NULL;
	if (cap && !dst->hosts)
		return -ENOMEM;
	for (size_t i = 0; !err && i < src->n_hosts; i++) {
		const struct sl_host *host = &src->hosts[i];

		if (host->kind == SL_HOST_SET)
			err = resolve_set(r, frame, host, empty_ok, dst, &cap);
		else
			err = append_name(dst, &cap, host);
	}
	return err;
}

/* getpwnam_r with as much room as the entry needs. 0, -ENOENT or -errno. */
static int find_user(const char *name, uid_t *uid)
{
	struct passwd entry, *found = NULL;
	size_t size = 1024;
	char *buf = NULL, *grown;
	int err = ERANGE;

	while (err == ERANGE && size <= PASSWD_BYTES_MAX) {
		size *= 2;
		grown = realloc(buf, size);
		if (!grown) {
			err = ENOMEM;
			break;
		}
		buf = grown;
		do
			err = getpwnam_r(name, &entry, buf, size, &found);
		while (err == EINTR);
	}
	if (!err && found)
		*uid = entry.pw_uid;
	free(buf);
	/* getpwnam(3): several errors mean no such user. */
	if (!found && (!err || err == ESRCH || err == EBADF || err == EPERM))
		err = ENOENT;
	return -err;
}

/* The options' function looks at the target; without one the uid is the host's. */
static void resolve_inner_uid(struct sl_resolver *r, struct sl_uid *uid)
{
	__u32 number = uid->number;
	const char *why;

	if (r->options->host_uid &&
	    r->options->host_uid(r->options->host_uid_context, uid->number, &number, &why)) {
		sl_fail(r, &uid->pos, "uid: {container: %u} is no uid of the host: %s", uid->number,
			why);
		return;
	}
	*uid = (struct sl_uid){.number = number, .pos = uid->pos};
}

static int resolve_uids(struct sl_resolver *r, struct sl_match *dst)
{
	for (size_t i = 0; i < dst->n_uids; i++) {
		struct sl_uid *uid = &dst->uids[i];
		uid_t number;
		int err;

		if (uid->kind == SL_UID_NUMBER)
			continue;
		if (uid->kind == SL_UID_CONTAINER) {
			resolve_inner_uid(r, uid);
			continue;
		}
		err = find_user(uid->name, &number);
		if (err == -ENOMEM)
			return err;
		if (err == -ENOENT)
			sl_fail(r, &uid->pos, "no user \"%s\" on this host: `getent passwd` lists "
				"those that there are; a number needs no entry", uid->name);
		else if (err)
			sl_fail(r, &uid->pos, "cannot look up user \"%s\": %s", uid->name,
				strerror(-err));
		if (err)
			continue;
		free(uid->name);
		*uid = (struct sl_uid){.number = number, .pos = uid->pos};
	}
	return 0;
}

/* Before anything can fail, names are dst's own: it can be cleared. */
static int copy_uids(const struct sl_match *src, struct sl_match *dst)
{
	if (src->n_uids) {
		dst->uids = calloc(src->n_uids, sizeof(*dst->uids));
		if (!dst->uids)
			return -ENOMEM;
	}
	for (size_t i = 0; i < src->n_uids; i++) {
		struct sl_uid *uid = &dst->uids[dst->n_uids++];

		*uid = src->uids[i];
		uid->name = uid->name ? strdup(uid->name) : NULL;
		if (src->uids[i].name && !uid->name)
			return -ENOMEM;
	}
	return 0;
}

int sl_match_resolve(struct sl_resolver *r, const struct sl_frame *frame,
		     const struct sl_match *src, bool empty_ok, struct sl_match *dst)
{
	int err;

	*dst = (struct sl_match){
		.has_icmp = src->has_icmp,
		.icmp_type = src->icmp_type,
		.icmp_code = src->icmp_code,
		.pos = src->pos,
	};
	err = copy_array(&dst->ports, src->ports, src->n_ports, sizeof(*src->ports));
	if (err)
		return err;
	dst->n_ports = src->n_ports;
	err = copy_array(&dst->protocols, src->protocols, src->n_protocols,
			 sizeof(*src->protocols));
	if (err)
		return err;
	dst->n_protocols = src->n_protocols;
	err = copy_uids(src, dst);
	if (!err)
		err = resolve_uids(r, dst);
	return err ? err : resolve_hosts(r, frame, src, empty_ok, dst);
}
