// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Questions to a runtime, one at a time: the list of its sandboxes, then the status of each that
 * is not known. gRPC is a POST on HTTP/2 with its status in the trailer (gRPC over HTTP2,
 * github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md); libcurl speaks it without TLS and without
 * asking first ("prior knowledge").
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cri.h"
#include "http/body.h"
#include "http/multi.h"
#include "policy/text.h"

#define TIMEOUT_MS 5000L
#define GRPC_NOT_FOUND 5
#define GRPC_UNIMPLEMENTED 12
#define NO_STATUS (-1L)

enum phase { IDLE, LISTING, ASKING };

struct sl_cri {
	char *socket; /* owned */
	struct sl_multi multi;
	CURL *easy;
	struct curl_slist *headers; /* owned */
	bool done; /* a question is over, in this turn */
	enum phase phase;
	const char *version;	/* that is asked */
	bool answered, toggled; /* this version has; the other was tried for this question */
	bool again, anew, again_anew;
	char *request; /* owned */
	struct sl_body body;
	long grpc_status;
	char grpc_message[160];
	struct sl_cri_pods asked; /* being made */
	size_t next;
	struct sl_cri_pods pods; /* of the last whole answer */
	bool known;
	char error[256];
};

static const char *const versions[] = {"v1", "v1alpha2"};
static const char empty_frame[5]; /* a message without fields: every sandbox */

/* ---- what curl calls ---- */

/* In the header of an answer without a body, in the trailer of one with: both come here. */
static size_t on_header(char *data, size_t size, size_t n, void *context)
{
	static const char status[] = "grpc-status:", message[] = "grpc-message:";
	size_t len = size * n, head = sizeof(message) - 1;
	struct sl_cri *cri = context;
	char number[16];

	if (len > sizeof(status) - 1 && !strncasecmp(data, status, sizeof(status) - 1)) {
		snprintf(number, sizeof(number), "%.*s", (int)(len - sizeof(status) + 1),
			 data + sizeof(status) - 1);
		cri->grpc_status = strtol(number, NULL, 10);
	} else if (len > head && !strncasecmp(data, message, head)) {
		while (head < len && data[head] == ' ')
			head++;
		while (len > head && (data[len - 1] == '\n' || data[len - 1] == '\r'))
			len--;
		snprintf(cri->grpc_message, sizeof(cri->grpc_message), "%.*s", (int)(len - head),
			 data + head);
	}
	return size * n;
}

/* ---- one question ---- */

static void fail(struct sl_cri *cri, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What was known goes on. */
static void fail(struct sl_cri *cri, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(cri->error, sizeof(cri->error), format, args);
	va_end(args);
	sl_cri_pods_free(&cri->asked);
	cri->phase = IDLE;
}

/* request: with its frame; copied. */
static int post(struct sl_cri *cri, const char *method, const void *request, size_t len)
{
	char url[128];
	CURLMcode code;

	free(cri->request);
	cri->request = malloc(len);
	if (!cri->request)
		return -ENOMEM;
	memcpy(cri->request, request, len);
	sl_body_begin(&cri->body);
	cri->grpc_status = NO_STATUS;
	cri->grpc_message[0] = 0;
	snprintf(url, sizeof(url), "http://runtime/runtime.%s.RuntimeService/%s", cri->version,
		 method);
	curl_easy_setopt(cri->easy, CURLOPT_URL, url);
	curl_easy_setopt(cri->easy, CURLOPT_POSTFIELDS, cri->request);
	curl_easy_setopt(cri->easy, CURLOPT_POSTFIELDSIZE, (long)len);
	code = curl_multi_add_handle(cri->multi.curl, cri->easy);
	return code == CURLM_OK ? 0 : -ENOMEM;
}

static void list(struct sl_cri *cri)
{
	cri->phase = LISTING;
	if (post(cri, "ListPodSandbox", empty_frame, sizeof(empty_frame)))
		fail(cri, "out of memory");
}

static void begin(struct sl_cri *cri, bool anew)
{
	cri->anew = anew;
	cri->again = cri->again_anew = cri->toggled = false;
	list(cri);
}

/* The next one that is not known; all are: the answer is whole. True then. */
static bool ask_next(struct sl_cri *cri)
{
	size_t len;
	void *request;

	cri->phase = ASKING;
	while (cri->next < cri->asked.n && cri->asked.list[cri->next].known)
		cri->next++;
	if (cri->next == cri->asked.n) {
		sl_cri_pods_free(&cri->pods);
		cri->pods = cri->asked;
		cri->asked = (struct sl_cri_pods){};
		cri->known = true;
		cri->error[0] = 0;
		cri->phase = IDLE;
		return true;
	}
	request = sl_cri_status_request(cri->asked.list[cri->next].id, &len);
	if (!request || post(cri, "PodSandboxStatus", request, len))
		fail(cri, "out of memory");
	free(request);
	return cri->phase == IDLE;
}

/* What a sandbox is on does not change while it is ready. */
static void take_over(struct sl_cri *cri)
{
	for (size_t i = 0; i < cri->asked.n && !cri->anew; i++)
		for (size_t k = 0; k < cri->pods.n; k++) {
			struct sl_cri_pod *to = &cri->asked.list[i], *from = &cri->pods.list[k];

			if (strcmp(to->id, from->id) || !from->known)
				continue;
			to->known = true;
			to->host_network = from->host_network;
			to->addresses = json_incref(from->addresses);
			to->netns = from->netns ? strdup(from->netns) : NULL;
		}
}

static void drop_next(struct sl_cri *cri)
{
	sl_cri_pod_free(&cri->asked.list[cri->next]);
	cri->asked.list[cri->next] = cri->asked.list[--cri->asked.n];
}

/* True: all is answered, or has failed. */
static bool on_message(struct sl_cri *cri, const void *message, size_t len)
{
	const char *why = "";
	int err;

	if (cri->phase == IDLE)
		return true; /* nothing was asked */
	if (cri->phase == LISTING) {
		err = sl_cri_read_list(message, len, &cri->asked, &why);
		if (!err) {
			cri->next = 0;
			take_over(cri);
		}
	} else {
		err = sl_cri_read_status(message, len, &cri->asked.list[cri->next], &why);
		if (err == -ENOENT) {
			drop_next(cri);
			err = 0;
		}
	}
	if (!err)
		return ask_next(cri);
	fail(cri, "%s: %s", cri->socket, err == -EBADMSG ? why : strerror(-err));
	return true;
}

/* A runtime that speaks the other version only says so. */
static bool on_refused(struct sl_cri *cri)
{
	if (cri->grpc_status == GRPC_UNIMPLEMENTED && cri->phase == LISTING && !cri->toggled) {
		cri->toggled = true;
		cri->answered = false;
		cri->version = cri->version == versions[0] ? versions[1] : versions[0];
		list(cri);
		return cri->phase == IDLE;
	}
	if (cri->grpc_status == GRPC_NOT_FOUND && cri->phase == ASKING) {
		drop_next(cri); /* it has ended meanwhile */
		return ask_next(cri);
	}
	if (cri->grpc_status == GRPC_UNIMPLEMENTED)
		fail(cri,
		     "%s: it has no CRI, of v1 or v1alpha2: is the plugin disabled "
		     "(disabled_plugins in containerd's config.toml)?",
		     cri->socket);
	else
		fail(cri, "%s: the runtime refuses: %s (gRPC status %ld)", cri->socket,
		     cri->grpc_message[0] ? cri->grpc_message : "it does not say why",
		     cri->grpc_status);
	return true;
}

static bool read_answer(struct sl_cri *cri, CURLcode code)
{
	const void *message;
	const char *why;
	long http = 0;
	size_t len;

	curl_easy_getinfo(cri->easy, CURLINFO_RESPONSE_CODE, &http);
	if (cri->body.too_long)
		fail(cri, "%s: an answer of more than %u MiB", cri->socket, SL_CRI_REPLY_MAX >> 20);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		fail(cri, "%s: no answer in %ld s", cri->socket, TIMEOUT_MS / 1000);
	else if (code != CURLE_OK)
		fail(cri, "%s: %s: is the runtime there (\"cri\" in sluiced.yaml)?", cri->socket,
		     curl_easy_strerror(code));
	else if (http != 200)
		fail(cri, "%s: it answers with HTTP status %ld: it is no gRPC server", cri->socket,
		     http);
	else if (cri->grpc_status == NO_STATUS)
		fail(cri, "%s: an answer without a gRPC status", cri->socket);
	else if (cri->grpc_status)
		return on_refused(cri);
	else if (sl_cri_unframe(cri->body.bytes, cri->body.n, &message, &len, &why))
		fail(cri, "%s: %s", cri->socket, why);
	else {
		cri->answered = true;
		return on_message(cri, message, len);
	}
	return true;
}

static void on_done(void *context, CURL *easy, CURLcode code)
{
	struct sl_cri *cri = context;

	(void)easy;
	cri->done |= read_answer(cri, code);
}

/* ---- work ---- */

void sl_cri_ask(struct sl_cri *cri, bool anew)
{
	if (cri->phase == IDLE) {
		begin(cri, anew);
		return;
	}
	cri->again = true;
	cri->again_anew |= anew;
}

int sl_cri_fd(const struct sl_cri *cri)
{
	return cri->multi.epoll;
}

int sl_cri_timeout(const struct sl_cri *cri)
{
	return sl_multi_timeout(&cri->multi);
}

bool sl_cri_work(struct sl_cri *cri)
{
	cri->done = false;
	sl_multi_work(&cri->multi, on_done, cri);
	if (cri->phase == IDLE && cri->again)
		begin(cri, cri->again_anew);
	return cri->done;
}

const struct sl_cri_pods *sl_cri_pods(const struct sl_cri *cri)
{
	return cri->known ? &cri->pods : NULL;
}

const char *sl_cri_error(const struct sl_cri *cri)
{
	return cri->error[0] ? cri->error : NULL;
}

const char *sl_cri_version(const struct sl_cri *cri)
{
	return cri->answered ? cri->version : NULL;
}

/* ---- life ---- */

static int set_up(struct sl_cri *cri)
{
	CURL *easy = cri->easy;

	cri->headers = curl_slist_append(NULL, "Content-Type: application/grpc");
	/* without it gRPC's servers refuse; `Expect` would wait for an answer to it */
	if (!cri->headers || !curl_slist_append(cri->headers, "TE: trailers") ||
	    !curl_slist_append(cri->headers, "Expect:"))
		return -ENOMEM;
	curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, cri->socket);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, cri->headers);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
	/* libcurl 7.88 loses a connection of that kind on which gRPC's server has sent frames
	 * meanwhile (CURLE_HTTP2); a new one on this socket costs less than the question */
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, sl_body_write);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &cri->body);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, cri);
	return 0;
}

int sl_cri_open(const char *socket, struct sl_cri **out)
{
	struct sl_cri *cri = calloc(1, sizeof(*cri));
	int err;

	if (!cri)
		return -ENOMEM;
	*cri = (struct sl_cri){.socket = strdup(socket), .version = versions[0],
			       .body.max = SL_CRI_REPLY_MAX};
	err = sl_multi_open(&cri->multi);
	cri->easy = err ? NULL : curl_easy_init();
	if (!err)
		err = cri->socket && cri->easy ? set_up(cri) : -ENOMEM;
	if (err)
		sl_cri_close(cri);
	else
		*out = cri;
	return err;
}

void sl_cri_close(struct sl_cri *cri)
{
	if (!cri)
		return;
	if (cri->easy)
		curl_multi_remove_handle(cri->multi.curl, cri->easy);
	curl_easy_cleanup(cri->easy);
	sl_multi_close(&cri->multi);
	curl_slist_free_all(cri->headers);
	sl_cri_pods_free(&cri->asked);
	sl_cri_pods_free(&cri->pods);
	free(cri->request);
	sl_body_free(&cri->body);
	free(cri->socket);
	free(cri);
}
