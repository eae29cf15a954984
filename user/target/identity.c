// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Who the command runs as. The drop itself is in privileges.c. */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cap-ng.h>

#include "target/identity.h"

#define MAX_GROUPS 65536 /* NGROUPS_MAX of the kernel, limits.h */

static int no_memory(struct sl_diag *diag)
{
	sl_error(diag, NULL, "out of memory");
	return -ENOMEM;
}

/* Decimal digits only. 2^32 - 1 means "leave as it is" to the kernel, so it is
 * no id. */
static bool parse_id(const char *text, unsigned *id)
{
	unsigned long long value = 0;

	if (!*text || strlen(text) > 10)
		return false;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9')
			return false;
		value = value * 10 + (unsigned)(*c - '0');
	}
	if (value >= UINT_MAX)
		return false;
	*id = (unsigned)value;
	return true;
}

static int take_caller(struct sl_identity *out, struct sl_diag *diag)
{
	struct sl_identity id = {.source = SL_IDENTITY_CALLER, .uid = getuid(), .gid = getgid()};
	int n = getgroups(0, NULL);

	if (n > 0) {
		id.groups = calloc((size_t)n, sizeof(*id.groups));
		if (!id.groups)
			return no_memory(diag);
		n = getgroups(n, id.groups);
	}
	if (n < 0) {
		n = -errno;
		free(id.groups);
		sl_error(diag, NULL, "the caller's groups: %s", strerror(-n));
		return n;
	}
	id.n_groups = (size_t)n;
	*out = id;
	return 0;
}

static int load_groups(const char *name, struct sl_identity *id, struct sl_diag *diag)
{
	int room = 32, n = room;
	gid_t *groups;

	for (;;) {
		groups = calloc((size_t)room, sizeof(*groups));
		if (!groups)
			return no_memory(diag);
		if (getgrouplist(name, id->gid, groups, &n) >= 0)
			break;
		free(groups);
		room = n > room ? n : room * 2;
		if (room > MAX_GROUPS) {
			sl_error(diag, NULL, "user \"%s\" is in too many groups", name);
			return -E2BIG;
		}
		n = room;
	}
	id->groups = groups;
	id->n_groups = (size_t)n;
	return 0;
}

static int set_names(struct sl_identity *id, const char *name, const char *home,
		     struct sl_diag *diag)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", id->uid);
	id->name = strdup(name ? name : number);
	id->home = strdup(home && *home ? home : "/");
	return id->name && id->home ? 0 : no_memory(diag);
}

/* Completes what is known (source, uid and maybe gid are set) from its passwd entry. */
static int complete(const struct sl_identity *known, const struct passwd *pw, bool has_gid, bool only_gid,
		    struct sl_identity *out, struct sl_diag *diag)
{
	struct sl_identity id = *known;
	int err;

	if (!has_gid)
		id.gid = pw->pw_gid;
	err = set_names(&id, pw ? pw->pw_name : NULL, pw ? pw->pw_dir : NULL, diag);
	if (!err && pw && !only_gid)
		err = load_groups(id.name, &id, diag); /* NOLINT(clang-analyzer-unix.Malloc) */
	if (err) {
		sl_identity_free(&id);
		return err;
	}
	*out = id;
	return 0;
}

/* The user who called sudo: SUDO_USER's entry if it fits the uid (two names may
 * share one), else the uid's. */
static const struct passwd *sudo_passwd(uid_t uid)
{
	const char *name = getenv("SUDO_USER");
	const struct passwd *pw = name ? getpwnam(name) : NULL;

	return pw && pw->pw_uid == uid ? pw : getpwuid(uid);
}

static int take_sudo(const char *uid_text, struct sl_identity *out, struct sl_diag *diag)
{
	struct sl_identity id = {.source = SL_IDENTITY_SUDO};
	const char *gid_text = getenv("SUDO_GID");
	const struct passwd *pw;

	if (!parse_id(uid_text, &id.uid)) {
		sl_error(diag, NULL, "SUDO_UID=\"%s\" is not a user number; unset it or say --user",
			 uid_text);
		return -EINVAL;
	}
	if (gid_text && !parse_id(gid_text, &id.gid)) {
		sl_error(diag, NULL,
			 "SUDO_GID=\"%s\" is not a group number; unset it or say --user", gid_text);
		return -EINVAL;
	}
	pw = sudo_passwd(id.uid);
	if (!pw && !gid_text) {
		sl_error(diag, NULL,
			 "SUDO_UID=%u has no passwd entry and SUDO_GID is not set; "
			 "say --user UID:GROUP",
			 id.uid);
		return -ENOENT;
	}
	return complete(&id, pw, gid_text, false, out, diag);
}

static int parse_group(const char *text, gid_t *gid, struct sl_diag *diag)
{
	const struct group *gr;

	if (parse_id(text, gid))
		return 0;
	gr = *text ? getgrnam(text) : NULL;
	if (!gr) {
		sl_error(diag, NULL, "--user: no group \"%s\" on this host: `getent group` lists "
			 "those that there are; a number needs no entry", text);
		return -ENOENT;
	}
	*gid = gr->gr_gid;
	return 0;
}

static int take_user(const char *user, struct sl_identity *out, struct sl_diag *diag)
{
	struct sl_identity id = {.source = SL_IDENTITY_USER};
	const char *colon = strchr(user, ':');
	const struct passwd *pw;
	char name[256];
	int err;

	if (snprintf(name, sizeof(name), "%.*s", (int)(colon ? colon - user : INT_MAX), user) >=
		    (int)sizeof(name) ||
	    !*name) {
		sl_error(diag, NULL, "--user \"%s\": wanted NAME, UID, NAME:GROUP or UID:GROUP",
			 user);
		return -EINVAL;
	}
	if (colon) {
		err = parse_group(colon + 1, &id.gid, diag);
		if (err)
			return err;
	}
	if (parse_id(name, &id.uid)) {
		pw = getpwuid(id.uid);
	} else {
		pw = getpwnam(name);
		if (!pw) {
			sl_error(diag, NULL, "--user: no user \"%s\" on this host: `getent passwd` lists "
				 "those that there are; UID:GID needs no entry", name);
			return -ENOENT;
		}
		id.uid = pw->pw_uid;
	}
	if (!pw && !colon) {
		sl_error(diag, NULL,
			 "--user: uid %u has no passwd entry; give its group too: "
			 "--user %u:GROUP",
			 id.uid, id.uid);
		return -ENOENT;
	}
	return complete(&id, pw, colon, colon, out, diag);
}

int sl_identity_resolve(const char *user, bool keep_privileges, struct sl_identity *out,
			struct sl_diag *diag)
{
	const char *sudo_uid = getenv("SUDO_UID");

	if (user)
		return take_user(user, out, diag);
	if (sudo_uid && !keep_privileges && getuid() == 0 && geteuid() == 0)
		return take_sudo(sudo_uid, out, diag);
	return take_caller(out, diag);
}

void sl_identity_free(struct sl_identity *id)
{
	if (!id)
		return;
	free(id->groups);
	free(id->name);
	free(id->home);
	*id = (struct sl_identity){0};
}

int sl_identity_check_caller(struct sl_diag *diag)
{
	static const struct {
		unsigned cap;
		const char *name;
	} needed[] = {
		{CAP_BPF, "CAP_BPF"},		  /* load the programs */
		{CAP_NET_ADMIN, "CAP_NET_ADMIN"}, /* attach them */
		{CAP_PERFMON, "CAP_PERFMON"},	  /* verifier: bounded pointers */
		{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, /* private mounts */
		{CAP_SETUID, "CAP_SETUID"},
		{CAP_SETGID, "CAP_SETGID"},
		{CAP_SETPCAP, "CAP_SETPCAP"}, /* empty the bounding set */
		{CAP_KILL, "CAP_KILL"},	      /* signals to another uid */
	};
	char missing[256] = "";
	size_t len = 0;

	if (capng_get_caps_process()) {
		sl_error(diag, NULL, "cannot read this process's capabilities");
		return -EPERM;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!capng_have_capability(CAPNG_EFFECTIVE, needed[i].cap))
			len += (size_t)snprintf(missing + len, sizeof(missing) - len, " %s",
						needed[i].name);
	if (!len)
		return 0;
	sl_error(diag, NULL,
		 "`sluice run` needs root (sudo) to attach its programs and to drop "
		 "what the command must not have; missing:%s. `sluice check`, `explain` and `test` "
		 "need no privilege",
		 missing);
	return -EPERM;
}
