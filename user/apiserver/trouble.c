// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What went wrong, what to do, and how long to wait before the next attempt. */
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "internal.h"

#define DELAY_MIN_MS 500
#define DELAY_MAX_MS 30000
#define SAY_MS 60000
#define MESSAGE_MAX 150

const char *const sl_api_trouble_words[SL_API_TROUBLES] = {
	[SL_API_FINE] = "none",
	[SL_API_UNREACHABLE] = "unreachable",
	[SL_API_CERTIFICATE] = "certificate",
	[SL_API_TOKEN] = "token",
	[SL_API_RIGHTS] = "rights",
	[SL_API_MISSING] = "missing",
	[SL_API_BUSY] = "busy",
	[SL_API_REFUSED] = "refused",
	[SL_API_CUT] = "cut",
	[SL_API_SLOW] = "slow",
	[SL_API_GARBAGE] = "garbage",
	[SL_API_MEMORY] = "memory",
};

/* ---- what it was ---- */

static enum sl_api_trouble of_code(const struct sl_api_request *request, CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return SL_API_CERTIFICATE;
	case CURLE_OPERATION_TIMEDOUT:
		return request->answered ? SL_API_SLOW : SL_API_UNREACHABLE;
	case CURLE_OUT_OF_MEMORY:
		return SL_API_MEMORY;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
		return SL_API_UNREACHABLE;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_BAD_CONTENT_ENCODING:
		return SL_API_GARBAGE;
	default:
		return SL_API_CUT;
	}
}

static enum sl_api_trouble of_status(long status)
{
	if (status == 200 || status == 201)
		return SL_API_FINE;
	if (status == 401)
		return SL_API_TOKEN;
	if (status == 403)
		return SL_API_RIGHTS;
	if (status == 404)
		return SL_API_MISSING;
	return status == 429 || status >= 500 ? SL_API_BUSY : SL_API_REFUSED;
}

enum sl_api_trouble sl_request_trouble(const struct sl_api_request *request, CURLcode code)
{
	if (request->trouble)
		return request->trouble;
	return code ? of_code(request, code) : of_status(request->status);
}

/* ---- in words ---- */

/* The message of a Status, printable and short; empty if there is none. */
static void read_message(const struct sl_api_request *request, char out[MESSAGE_MAX + 1])
{
	const struct sl_body *body = &request->answer;
	json_t *status = body->n ? json_loadb(body->bytes, body->n, 0, NULL) : NULL;
	const char *text = json_string_value(json_object_get(status, "message"));

	snprintf(out, MESSAGE_MAX + 1, "%s", text ? text : "");
	for (char *c = out; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	json_decref(status);
}

static void describe(const struct sl_api *api, const struct sl_api_request *request,
		     CURLcode code, const char *what, struct sl_api_state *state)
{
	const struct sl_api_account *account = &api->account;
	const char *error = *request->error ? request->error : curl_easy_strerror(code);
	char message[MESSAGE_MAX + 1];

	read_message(request, message);
#define SAY(...) snprintf(state->why, sizeof(state->why), __VA_ARGS__)
	switch (state->trouble) {
	case SL_API_CERTIFICATE:
		SAY("%s: the certificate of %s is not of %s (%.60s): is that its CA, and this its "
		    "name?", what, account->server, account->ca, error);
		break;
	case SL_API_TOKEN:
		if (*account->why)
			SAY("%s: %.200s", what, account->why);
		else
			SAY("%s: the server does not know the token in %s (401): is it of this "
			    "cluster, and not over? The file is read again every minute", what,
			    account->token_file);
		break;
	case SL_API_RIGHTS:
		SAY("%s: not allowed (403): apply the rights in deploy/kubernetes. %s", what, message);
		break;
	case SL_API_MISSING:
		SAY("%s: the server has no such kind (404): apply the CRDs in deploy/kubernetes. %s",
		    what, message);
		break;
	case SL_API_UNREACHABLE:
		SAY("%s: %s cannot be reached: %.120s", what, account->server, error);
		break;
	case SL_API_CUT:
	case SL_API_SLOW:
		SAY("%s: the answer of %s ended before its end: %.100s", what, account->server, error);
		break;
	case SL_API_GARBAGE:
		SAY("%s: what %s answers is no answer: %.100s", what, account->server,
		    request->reason ? request->reason : error);
		break;
	case SL_API_MEMORY:
		SAY("%s: no memory", what);
		break;
	default:
		SAY("%s: HTTP status %ld of %s. %s", what, request->status, account->server, message);
	}
#undef SAY
}

/* Half of the delay is by chance: nodes that failed together do not come back together. */
static __u64 delay_of(unsigned tries)
{
	__u64 delay = (__u64)DELAY_MIN_MS << (tries < 10 ? tries : 10);
	__u32 chance = 0;

	if (delay > DELAY_MAX_MS)
		delay = DELAY_MAX_MS;
	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
		chance = 0;
	return delay / 2 + chance % (delay / 2 + 1);
}

static __u64 wanted_delay(const struct sl_api_request *request)
{
	curl_off_t seconds = 0;

	if (request->easy && request->status)
		curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &seconds);
	return seconds <= 0 ? 0 : seconds > DELAY_MAX_MS / 1000 ? DELAY_MAX_MS :
		(__u64)seconds * 1000;
}

__u64 sl_trouble_note(struct sl_api *api, struct sl_api_state *state,
		      const struct sl_api_request *request, CURLcode code, const char *what)
{
	__u64 delay = delay_of(state->tries++), wanted = wanted_delay(request);
	enum sl_api_trouble before = state->trouble;
	char said[sizeof(state->why)];
	__u64 now = sl_api_now();

	memcpy(said, state->why, sizeof(said));
	state->trouble = sl_request_trouble(request, code);
	if (!state->trouble) /* an end that should not be one */
		state->trouble = SL_API_CUT;
	state->failures[state->trouble]++;
	if (!state->since_s)
		state->since_s = time(NULL);
	if (state->trouble == SL_API_TOKEN)
		sl_account_refresh(&api->account, 0);
	describe(api, request, code, what, state);
	/* another trouble is said at once, another text of the same now and then */
	if (before != state->trouble || (strcmp(said, state->why) && now > state->said + SAY_MS)) {
		fprintf(stderr, "sluiced: kubernetes: %s; what is known stays in force\n", state->why);
		state->said = now;
	}
	return delay > wanted ? delay : wanted;
}

void sl_trouble_over(struct sl_api *api, struct sl_api_state *state, const char *what)
{
	(void)api;
	state->tries = 0;
	if (!state->trouble)
		return;
	fprintf(stderr, "sluiced: kubernetes: %s: works again\n", what);
	state->trouble = SL_API_FINE;
	state->since_s = 0;
	*state->why = '\0';
}
