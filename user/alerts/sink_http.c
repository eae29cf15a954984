// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Alertmanager and webhook: one request at a time for each, tried again until it is taken.
 * No redirects, no proxies of the environment, and of the answer only its status counts.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "alert_text.h"
#include "policy/text.h"
#include "resolve/resolve.h"
#include "sink_internal.h"

#define BATCH 64		/* alerts in a request to an Alertmanager */
#define DELAY_MIN_MS 500
#define DELAY_MAX_MS 300000
#define ANSWER_MAX (64u << 10)
#define SECRET_MAX 4096

/* ---- opening ---- */

static int read_secret(const char *path, char **out, struct sl_diag *diag)
{
	size_t len;
	int err;

	if (!path)
		return 0;
	err = sl_file_read(path, SECRET_MAX, NULL, out, &len, diag);
	if (err)
		return err;
	(*out)[strcspn(*out, "\r\n")] = 0;	/* sl_file_read ends it with a NUL */
	return **out ? 0 : sl_error(diag, NULL, "%s is empty", path);
}

static size_t take_answer(char *bytes, size_t size, size_t n, void *context)
{
	struct sl_sink *sink = context;

	sink->received += size * n;
	return sink->received > ANSWER_MAX ? 0 : size * n;
}

static char *url_of(const struct sl_sink *sink)
{
	const char *url = sink->config->url;
	size_t len = strlen(url);
	char *whole;

	if (sink->config->kind == SL_SINK_WEBHOOK)
		return strdup(url);
	while (len && url[len - 1] == '/')
		len--;
	return asprintf(&whole, "%.*s/api/v2/alerts", (int)len, url) < 0 ? NULL : whole;
}

static int set_options(struct sl_sink *sink, const char *url)
{
	CURL *easy = sink->easy;
	CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, url);

#define SET(option, value) (code = code ? code : curl_easy_setopt(easy, option, value))
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_TIMEOUT_MS, (long)sink->config->timeout_s * 1000);
	SET(CURLOPT_USERAGENT, "sluice-alerts/" SLUICE_VERSION);
	SET(CURLOPT_WRITEFUNCTION, take_answer);
	SET(CURLOPT_WRITEDATA, sink);
	if (sink->config->ca)
		SET(CURLOPT_CAINFO, sink->config->ca);
#undef SET
	return code ? -EINVAL : 0;
}

static int add_header(struct curl_slist **list, const char *text)
{
	struct curl_slist *longer = curl_slist_append(*list, text);

	if (!longer)
		return -ENOMEM;
	*list = longer;
	return 0;
}

static int add_bearer(struct sl_sink *sink)
{
	char *text;
	int err;

	if (!sink->bearer)
		return 0;
	if (asprintf(&text, "Authorization: Bearer %s", sink->bearer) < 0)
		return -ENOMEM;
	err = add_header(&sink->lasting, text);
	free(text);
	return err;
}

int sl_http_open(struct sl_sink *sink, struct sl_diag *diag)
{
	char *url = url_of(sink);
	int err = url ? 0 : -ENOMEM;

	if (!err)
		err = read_secret(sink->config->token, &sink->bearer, diag);
	if (!err)
		err = read_secret(sink->config->secret, &sink->secret, diag);
	if (!err) {
		sink->easy = curl_easy_init();
		err = sink->easy ? set_options(sink, url) : -ENOMEM;
	}
	if (!err)
		err = add_header(&sink->lasting, "Content-Type: application/json");
	if (!err)
		err = add_header(&sink->lasting, "Expect:");
	if (!err)
		err = add_bearer(sink);
	free(url);
	return err;
}

static void end_request(struct sl_sink *sink)
{
	if (sink->active)
		curl_multi_remove_handle(sink->multi, sink->easy);
	sink->active = false;
	sink->under_way = 0;
	curl_slist_free_all(sink->headers);
	sink->headers = NULL;
	free(sink->body);
	sink->body = NULL;
}

void sl_http_close(struct sl_sink *sink)
{
	end_request(sink);
	if (sink->easy)
		curl_easy_cleanup(sink->easy);
	curl_slist_free_all(sink->lasting);
	free(sink->bearer);
	free(sink->secret);
}

/* ---- a request ---- */

/* X-Sluice-Signature: sha256=HEX of HMAC-SHA256 (RFC 2104) over the body. */
static int sign(struct sl_sink *sink)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	char text[32 + 2 * EVP_MAX_MD_SIZE] = "X-Sluice-Signature: sha256=";
	unsigned len = 0;

	if (!sink->secret)
		return 0;
	if (!HMAC(EVP_sha256(), sink->secret, (int)strlen(sink->secret),
		  (const unsigned char *)sink->body, strlen(sink->body), mac, &len))
		return -ENOMEM;
	for (unsigned i = 0; i < len; i++)
		sprintf(text + strlen(text), "%02x", mac[i]);
	return add_header(&sink->headers, text);
}

static int make_request(struct sl_sink *sink)
{
	size_t n = sink->config->kind == SL_SINK_WEBHOOK ? 1 : sink->n < BATCH ? sink->n : BATCH;
	int err = 0;

	if (sink->config->kind == SL_SINK_WEBHOOK)
		sink->body = sl_json_ascii(sink->queue[0].json);
	else
		sink->body = sl_alertmanager_body(sink, n);
	if (!sink->body)
		return -ENOMEM;
	for (struct curl_slist *at = sink->lasting; at && !err; at = at->next)
		err = add_header(&sink->headers, at->data);
	if (!err)
		err = sign(sink);
	if (err)
		return err;
	sink->received = 0;
	curl_easy_setopt(sink->easy, CURLOPT_HTTPHEADER, sink->headers);
	curl_easy_setopt(sink->easy, CURLOPT_POSTFIELDS, sink->body);
	curl_easy_setopt(sink->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(sink->body));
	if (curl_multi_add_handle(sink->multi, sink->easy))
		return -ENOMEM;
	sink->active = true;
	sink->under_way = n;
	return 0;
}

void sl_alert_http_run(struct sl_sink *sink, __s64 now_ms)
{
	if (sink->active || !sink->n || now_ms < sink->again_ms)
		return;
	if (!make_request(sink))
		return;
	end_request(sink);
	sink->again_ms = now_ms + DELAY_MIN_MS;
	sl_sink_trouble(sink, "out of memory");
}

/* ---- its answer ---- */

/* Half of the delay is by chance: many that failed together do not come back together. */
static __s64 delay_of(const struct sl_sink *sink, curl_off_t retry_after)
{
	__s64 delay = DELAY_MIN_MS << (sink->tries < 10 ? sink->tries : 10);
	__u32 chance = 0;

	if (delay > DELAY_MAX_MS)
		delay = DELAY_MAX_MS;
	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
		chance = 0;
	delay = delay / 2 + chance % (delay / 2 + 1);
	if (retry_after * 1000 > delay)
		delay = retry_after * 1000 < DELAY_MAX_MS ? retry_after * 1000 : DELAY_MAX_MS;
	return delay;
}

static bool is_passing(long status)
{
	return status >= 500 || status == 408 || status == 425 || status == 429;
}

static void failed(struct sl_sink *sink, CURLcode code, long status, __s64 now_ms)
{
	curl_off_t retry_after = 0;
	__s64 delay;

	if (!code)
		curl_easy_getinfo(sink->easy, CURLINFO_RETRY_AFTER, &retry_after);
	delay = delay_of(sink, retry_after);
	sink->tries++;
	sink->again_ms = now_ms + delay;
	if (code)
		sl_sink_trouble(sink, "%s; again in %lld ms", curl_easy_strerror(code),
				(long long)delay);
	else
		sl_sink_trouble(sink, "HTTP status %ld; again in %lld ms", status,
				(long long)delay);
}

void sl_http_done(struct sl_sink *sink, CURLcode code, __s64 now_ms)
{
	size_t n = sink->under_way;
	long status = 0;

	curl_easy_getinfo(sink->easy, CURLINFO_RESPONSE_CODE, &status);
	/* An answer that is longer than we read is one all the same. */
	if (code == CURLE_WRITE_ERROR && status >= 200)
		code = CURLE_OK;
	if (code || is_passing(status)) {
		failed(sink, code, status, now_ms);
		end_request(sink);
		return;
	}
	if (status >= 200 && status < 300) {
		if (sink->tries)
			fprintf(stderr, "sluice alerts: %s: works again after %u failure%s\n",
				sl_sink_name(sink), sink->tries, SL_S(sink->tries));
		sink->sent += n;
	} else {
		sink->dropped += n;
		sl_sink_trouble(sink, "HTTP status %ld: %zu alert%s not taken, and dropped",
				status, n, SL_S(n));
	}
	sink->tries = 0;
	sink->again_ms = now_ms;
	end_request(sink);
	sl_sink_pop(sink, n);
}
