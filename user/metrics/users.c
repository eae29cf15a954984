// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Basic authentication against `name:hash` lines, hashes as of crypt(5). */
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define TOKENS 5.0	/* attempts at once, and a second */

const char *sl_users_wrong(const char *text, unsigned *line)
{
	size_t len;

	for (*line = 1; *text; text += len + !!text[len], (*line)++) {
		const char *colon;

		len = strcspn(text, "\n");
		if (!len || *text == '#')
			continue;
		colon = memchr(text, ':', len);
		if (!colon || colon == text)
			return "NAME:HASH is wanted";
		/* what crypt(5) calls strong: $6$, $5$, $y$, $2b$, $7$, $gy$ */
		if (colon[1] != '$')
			return "the hash is none of crypt(5)'s; make one by `openssl passwd -6`";
	}
	return NULL;
}

/* The time it takes says nothing about where they differ. */
static bool same(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), i;
	unsigned char differ = n != m;

	for (i = 0; i < n && i < m; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return !differ;
}

/* The hash of a name's line, owned; NULL: there is none. */
static char *hash_of(const char *text, const char *name)
{
	size_t n = strlen(name), len;

	for (; *text; text += len + !!text[len]) {
		len = strcspn(text, "\n");
		if (len > n && *text != '#' && !memcmp(text, name, n) && text[n] == ':')
			return strndup(text + n + 1, len - n - 1);
	}
	return NULL;
}

static bool may_try(struct sl_users *u, __u64 now_ms)
{
	u->tokens += (double)(now_ms - u->at_ms) / 1000 * TOKENS;
	u->at_ms = now_ms;
	if (u->tokens > TOKENS)
		u->tokens = TOKENS;
	if (u->tokens < 1)
		return false;
	u->tokens--;
	return true;
}

static void remember(struct sl_users *u, const char *name, const char *password)
{
	free(u->name);
	free(u->password);
	u->name = strdup(name);
	u->password = strdup(password);
}

enum sl_user_verdict sl_users_check(struct sl_users *u, const char *name, const char *password,
				    __u64 now_ms)
{
	struct crypt_data *data;
	char *hash, *made = NULL;
	bool right = false;

	/* so a scraper that is known is served while others guess */
	if (u->name && u->password && same(u->name, name) && same(u->password, password))
		return SL_USER_RIGHT;
	if (!may_try(u, now_ms))
		return SL_USER_BUSY;
	hash = hash_of(u->text, name);
	data = calloc(1, sizeof(*data));
	/* an unknown name takes as long as a known one */
	if (data)
		made = crypt_r(password, hash ? hash : "$6$none$", data);
	if (hash && made && made[0] == '$')
		right = same(made, hash);
	if (right)
		remember(u, name, password);
	free(hash);
	free(data);
	return right ? SL_USER_RIGHT : SL_USER_WRONG;
}
