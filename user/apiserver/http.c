// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Requests (user/http): no redirect, no proxy of the environment, no certificate authority but
 * the one that is named.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "internal.h"

#define CONNECT_MS 10000L
#define HEAD_MS 30000
#define SILENCE_S 30L		/* of an answer that is to be read whole */
#define ANSWER_MAX (16u << 20)	/* ten times what the server's store holds of one object */
#define DEAD_MS 30000		/* of a connection whose peer acknowledges nothing */

__u64 sl_api_now(void)
{
	return sl_multi_now();
}

/* A server that is gone without a word is noticed before its watch ends. */
static int on_connect(void *unused, curl_socket_t fd, curlsocktype purpose)
{
	int one = 1, idle = 20, every = 10, times = 3, dead = DEAD_MS;

	(void)unused;
	(void)purpose;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead, sizeof(dead));
	return CURL_SOCKOPT_OK;
}

/* ---- what comes ---- */

static int collect(struct sl_api_request *request, const char *bytes, size_t n)
{
	int err = sl_body_add(&request->answer, bytes, n);

	if (err)
		request->trouble = err == -EFBIG ? SL_API_GARBAGE : SL_API_MEMORY;
	if (err == -EFBIG)
		request->reason = "more than an answer may have";
	return err;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
	struct sl_api_request *request = context;
	int err;

	if (request->take && request->status == 200)
		err = request->take(request->context, bytes, size * n);
	else
		err = collect(request, bytes, size * n);
	return err ? CURL_WRITEFUNC_ERROR : size * n;
}

static size_t on_header(char *line, size_t size, size_t n, void *context)
{
	struct sl_api_request *request = context;

	if (size * n <= 2 && *line == '\r') { /* the head's end */
		curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &request->status);
		request->answered = request->status >= 200 ? sl_api_now() : 0;
	}
	return size * n;
}

/* ---- requests ---- */

static void forget(struct sl_api_request *request)
{
	curl_slist_free_all(request->headers);
	request->headers = NULL;
	free(request->body);
	request->body = NULL;
}

static int add_header(struct sl_api_request *request, const char *name, const char *value)
{
	struct curl_slist *longer;
	char *text;

	if (asprintf(&text, "%s: %s", name, value) < 0)
		return -ENOMEM;
	longer = curl_slist_append(request->headers, text);
	explicit_bzero(text, strlen(text)); /* one of them is the token */
	free(text);
	if (!longer)
		return -ENOMEM;
	request->headers = longer;
	return 0;
}

static int add_headers(struct sl_api_request *request, const char *type)
{
	const struct sl_api_account *account = &request->api->account;
	char *bearer = NULL;
	int err = add_header(request, "Accept", "application/json");

	if (!err && type)
		err = add_header(request, "Content-Type", type);
	if (!err)
		err = asprintf(&bearer, "Bearer %s", account->token) < 0 ? -ENOMEM : 0;
	if (!err)
		err = add_header(request, "Authorization", bearer);
	if (bearer)
		explicit_bzero(bearer, strlen(bearer));
	free(bearer);
	return err;
}

static CURLcode set_options(struct sl_api_request *request, const char *url, unsigned seconds)
{
	const struct sl_api_account *account = &request->api->account;
	CURL *easy = request->easy;
	CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, url);

#define SET(option, value) (code = code ? code : curl_easy_setopt(easy, option, value))
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_CAINFO, account->ca);
	SET(CURLOPT_CAPATH, NULL);	/* the system's would do as well, else */
	SET(CURLOPT_CA_CACHE_TIMEOUT, 0L); /* the file may be another one tomorrow */
	SET(CURLOPT_PIPEWAIT, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	SET(CURLOPT_SOCKOPTFUNCTION, on_connect);
	SET(CURLOPT_TIMEOUT_MS, (long)seconds * 1000);
	SET(CURLOPT_LOW_SPEED_LIMIT, request->take ? 0L : 1L);
	SET(CURLOPT_LOW_SPEED_TIME, request->take ? 0L : SILENCE_S);
	SET(CURLOPT_USERAGENT, "sluiced/" SLUICE_VERSION);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, request);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, request);
	SET(CURLOPT_ERRORBUFFER, request->error);
	SET(CURLOPT_PRIVATE, request);
	SET(CURLOPT_HTTPHEADER, request->headers);
#undef SET
	return code;
}

static int prepare(struct sl_api_request *request, const char *path, const char *type,
		   unsigned seconds)
{
	char *url = NULL;
	int err = add_headers(request, type);

	if (!request->easy)
		request->easy = curl_easy_init();
	if (!request->easy || (!err && asprintf(&url, "%s%s", request->api->account.server, path) < 0))
		err = -ENOMEM;
	if (!err)
		err = set_options(request, url, seconds) ? -ENOMEM : 0;
	free(url);
	return err;
}

static int start(struct sl_api_request *request, const char *path, const char *type, char *body,
		 unsigned seconds)
{
	int err;

	sl_request_stop(request);
	request->status = 0;
	request->answered = 0;
	request->trouble = SL_API_FINE;
	request->reason = NULL;
	request->error[0] = '\0';
	request->began = sl_api_now();
	sl_body_begin(&request->answer);
	request->body = body;
	if (!request->api->account.token) {
		request->trouble = SL_API_TOKEN;
		forget(request);
		return -ENOKEY;
	}
	err = prepare(request, path, type, seconds);
	if (!err && body) {
		curl_easy_setopt(request->easy, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(request->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)strlen(body));
		curl_easy_setopt(request->easy, CURLOPT_CUSTOMREQUEST, "PATCH");
	}
	if (!err && curl_multi_add_handle(request->api->multi.curl, request->easy))
		err = -ENOMEM;
	request->active = !err;
	if (err) {
		request->trouble = SL_API_MEMORY;
		forget(request);
	}
	return err;
}

void sl_request_open(struct sl_api_request *request, struct sl_api *api,
		     void (*done)(void *context, CURLcode code), void *context)
{
	request->api = api;
	request->answer.max = ANSWER_MAX;
	request->done = done;
	request->context = context;
}

int sl_request_get(struct sl_api_request *request, const char *path, unsigned seconds)
{
	return start(request, path, NULL, NULL, seconds);
}

int sl_request_patch(struct sl_api_request *request, const char *path, const char *type,
		     char *body, unsigned seconds)
{
	return start(request, path, type, body, seconds);
}

void sl_request_stop(struct sl_api_request *request)
{
	if (request->active)
		curl_multi_remove_handle(request->api->multi.curl, request->easy);
	request->active = false;
	forget(request);
}

void sl_request_free(struct sl_api_request *request)
{
	sl_request_stop(request);
	if (request->easy)
		curl_easy_cleanup(request->easy);
	request->easy = NULL;
	sl_body_free(&request->answer);
}

/* ---- work ---- */

void sl_api_request_done(void *context, CURL *easy, CURLcode code)
{
	struct sl_api_request *request;

	(void)context;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&request);
	if (!request->status)
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &request->status);
	request->active = false;
	forget(request);
	request->done(request->context, code);
}

/* A watch has no time-out of its own until its head has come. */
bool sl_request_is_late(const struct sl_api_request *request, __u64 now)
{
	return request->active && !request->answered && now > request->began + HEAD_MS;
}
