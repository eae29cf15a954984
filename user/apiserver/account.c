// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Where the server is, whom to trust, and the token, which the kubelet writes anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#define TOKEN_MAX (64u << 10)
#define TOKEN_AGE_MS 60000

/* ---- the token ---- */

static int read_all(int fd, char *text, size_t max, size_t *len)
{
	ssize_t n;

	for (*len = 0; *len < max; *len += (size_t)n) {
		n = read(fd, text + *len, max - *len);
		if (n <= 0)
			return n ? -errno : 0;
	}
	return -EFBIG;
}

/* It becomes part of a header: nothing but printable characters. */
static bool is_token(const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return *text;
}

static int read_token(const char *path, char **out, const char **why)
{
	char *text = malloc(TOKEN_MAX + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	struct stat stat;
	size_t len = 0;

	if (!text || fd < 0)
		err = text ? -errno : -ENOMEM;
	else if (fstat(fd, &stat))
		err = -errno;
	else
		err = S_ISREG(stat.st_mode) ? read_all(fd, text, TOKEN_MAX, &len) : -EINVAL;
	if (fd >= 0)
		close(fd);
	*why = err ? strerror(-err) : NULL;
	if (!err) {
		while (len && strchr("\r\n", text[len - 1]) && text[len - 1])
			len--;
		text[len] = '\0';
		if (strlen(text) != len || !is_token(text))
			*why = "it holds no token";
	}
	if (!*why)
		*out = text;
	else
		free(text);
	return *why ? -EINVAL : 0;
}

void sl_account_refresh(struct sl_api_account *account, __u64 now)
{
	const char *why;
	char *token;

	if (now && now < account->read_at)
		return;
	account->read_at = (now ? now : sl_api_now()) + TOKEN_AGE_MS;
	if (read_token(account->token_file, &token, &why)) {
		snprintf(account->why, sizeof(account->why), "the token file %s: %s",
			 account->token_file, why);
		return;
	}
	*account->why = '\0';
	if (account->token && strcmp(account->token, token))
		account->rotations++;
	free(account->token);
	account->token = token;
}

/* ---- the server ---- */

static int own_cluster(char **out, struct sl_diag *diag)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	bool v6 = host && strchr(host, ':');

	if (!host || !*host)
		return sl_error(diag, NULL, "KUBERNETES_SERVICE_HOST is not set: `in-cluster` is for "
				"a pod of the cluster; elsewhere name server, ca and token");
	return asprintf(out, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "",
			port && *port ? port : "443") < 0 ? -ENOMEM : 0;
}

/* https alone: the token would be everybody's. Of it only scheme, host and port. */
static int check_server(char *server, struct sl_diag *diag)
{
	size_t len = strlen(server);

	while (len && server[len - 1] == '/')
		server[--len] = '\0';
	if (strncmp(server, "https://", 8) || !server[8])
		return sl_error(diag, NULL, "server \"%s\": https://HOST[:PORT] is wanted (without "
				"TLS the token would be everybody's)", server);
	for (const char *c = server + 8; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("/?#@\\\"", *c))
			return sl_error(diag, NULL, "server \"%s\": of https://HOST[:PORT] nothing more "
					"is wanted", server);
	return 0;
}

static char *or_default(const char *given, const char *name)
{
	char *text;

	if (given)
		return strdup(given);
	return asprintf(&text, SL_API_ACCOUNT "/%s", name) < 0 ? NULL : text;
}

int sl_account_open(struct sl_api_account *account, const struct sl_api_config *config,
		    struct sl_diag *diag)
{
	int err = 0;

	account->in_cluster = !config->server;
	if (config->server)
		account->server = strdup(config->server);
	else
		err = own_cluster(&account->server, diag);
	account->ca = or_default(config->ca, "ca.crt");
	account->token_file = or_default(config->token, "token");
	if (!err && (!account->server || !account->ca || !account->token_file))
		err = -ENOMEM;
	return err ? err : check_server(account->server, diag);
}

void sl_account_close(struct sl_api_account *account)
{
	if (account->token)
		explicit_bzero(account->token, strlen(account->token));
	free(account->token);
	free(account->server);
	free(account->ca);
	free(account->token_file);
}
