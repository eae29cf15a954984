// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Two requests to an engine: the list of what runs, and the stream of events, of which each says
 * only that the list is another one. The stream comes first, so that nothing falls between them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "http/body.h"
#include "http/multi.h"

#define LIST_MS 5000L
#define CONNECT_MS 2000L
#define SETTLE_MS 20	    /* events come in rows: create, attach, start */
#define LATE_MS 2000	    /* dockerd says `die` before its list has it, and cleans up in between */
#define AGAIN_MIN_MS 250ull /* an engine that is away */
#define AGAIN_MAX_MS 30000ull
#define EVENTS                                                                               \
	"http://engine/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22"     \
	"%3A%5B%22start%22%2C%22rename%22%2C%22die%22%5D%7D"

struct sl_engine {
	char *socket; /* owned */
	struct sl_multi multi;
	CURL *list, *events;
	bool listing, follows; /* under way */
	bool again;	       /* behind the one that is under way */
	bool done;	       /* in this turn */
	__u64 list_at, events_at; /* to be begun; 0: not */
	__u64 late_at;		  /* the list once more, when nothing has happened for a while */
	__u64 wait;		  /* until the next attempt */
	struct sl_body body;
	struct sl_engine_list containers;
	bool known;
	char error[256];
};

static void fail(struct sl_engine *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What was known goes on. */
static void fail(struct sl_engine *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(e->error, sizeof(e->error), format, args);
	va_end(args);
}

/* ---- what comes ---- */

/* Which it is does not matter. */
static size_t on_event(char *data, size_t size, size_t n, void *context)
{
	struct sl_engine *e = context;

	(void)data;
	if (!e->list_at)
		e->list_at = sl_multi_now() + SETTLE_MS;
	e->late_at = sl_multi_now() + LATE_MS;
	return size * n;
}

static bool is_answered(CURL *easy)
{
	long status = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	return status == 200;
}

static size_t on_head(char *line, size_t size, size_t n, void *context)
{
	struct sl_engine *e = context;

	if (size * n <= 2 && *line == '\r' && is_answered(e->events)) {
		e->wait = 0; /* it is there: what happened before is in the list */
		on_event(NULL, size, n, e);
	}
	return size * n;
}

static void take_list(struct sl_engine *e, CURLcode code)
{
	struct sl_engine_list list;
	const char *why = NULL;
	long status = 0;
	int err;

	curl_easy_getinfo(e->list, CURLINFO_RESPONSE_CODE, &status);
	if (e->body.too_long) {
		fail(e, "%s: an answer of more than %u MiB", e->socket, SL_ENGINE_REPLY_MAX >> 20);
	} else if (code == CURLE_OPERATION_TIMEDOUT) {
		fail(e, "%s: no answer in %ld s", e->socket, LIST_MS / 1000);
	} else if (code != CURLE_OK) {
		fail(e, "%s: %s: is the engine there (\"sockets\" of \"runtimes\" in sluiced.yaml)?",
		     e->socket, curl_easy_strerror(code));
	} else if (status != 200) {
		fail(e, "%s: it answers with HTTP status %ld: is it Docker's API?", e->socket, status);
	} else {
		err = sl_engine_read(e->body.bytes, e->body.n, &list, &why);
		if (err) {
			fail(e, "%s: %s", e->socket, why ? why : strerror(-err));
			return;
		}
		sl_engine_list_free(&e->containers);
		e->containers = list;
		e->known = true;
		e->error[0] = 0;
	}
}

/* Every failure waits for longer, until the stream is there. */
static __u64 next_attempt(struct sl_engine *e)
{
	e->wait = e->wait ? e->wait * 2 : AGAIN_MIN_MS;
	e->wait = e->wait < AGAIN_MAX_MS ? e->wait : AGAIN_MAX_MS;
	return sl_multi_now() + e->wait;
}

static void on_done(void *context, CURL *easy, CURLcode code)
{
	struct sl_engine *e = context;

	if (easy == e->events) {
		e->follows = false;
		e->events_at = next_attempt(e);
		if (!e->list_at)
			e->list_at = sl_multi_now() + SETTLE_MS; /* which says why */
		return;
	}
	e->listing = false;
	e->done = true;
	take_list(e, code);
}

/* ---- work ---- */

/* at: when it is tried again, if it cannot be begun. */
static void begin(struct sl_engine *e, CURL *easy, bool *under_way, __u64 *at)
{
	CURLMcode code = curl_multi_add_handle(e->multi.curl, easy);

	*under_way = !code;
	if (!code)
		return;
	fail(e, "%s: %s", e->socket, curl_multi_strerror(code));
	*at = next_attempt(e);
}

static bool is_due(__u64 at, __u64 now)
{
	return at && now >= at;
}

static void begin_what_is_due(struct sl_engine *e)
{
	__u64 now = sl_multi_now();

	if (!e->follows && is_due(e->events_at, now)) {
		e->events_at = 0;
		begin(e, e->events, &e->follows, &e->events_at);
	}
	if (!e->listing && (e->again || is_due(e->list_at, now) || is_due(e->late_at, now))) {
		e->late_at = is_due(e->late_at, now) ? 0 : e->late_at;
		e->list_at = 0;
		e->again = false;
		sl_body_begin(&e->body);
		begin(e, e->list, &e->listing, &e->list_at);
	}
}

void sl_engine_ask(struct sl_engine *e)
{
	e->again = true;
}

int sl_engine_fd(const struct sl_engine *e)
{
	return e->multi.epoll;
}

static int until(__u64 at)
{
	__u64 now = sl_multi_now();

	return at > now ? (int)(at - now) : 0;
}

static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

int sl_engine_timeout(const struct sl_engine *e)
{
	int wait = sl_multi_timeout(&e->multi);

	if (!e->listing && (e->again || e->list_at))
		wait = sooner(wait, e->again ? 0 : until(e->list_at));
	if (!e->listing && e->late_at)
		wait = sooner(wait, until(e->late_at));
	if (!e->follows && e->events_at)
		wait = sooner(wait, until(e->events_at));
	return wait;
}

bool sl_engine_work(struct sl_engine *e)
{
	e->done = false;
	sl_multi_work(&e->multi, on_done, e);
	begin_what_is_due(e);
	return e->done;
}

/* ---- what is known ---- */

const char *sl_engine_socket(const struct sl_engine *e)
{
	return e->socket;
}

const struct sl_engine_list *sl_engine_list(const struct sl_engine *e)
{
	return e->known ? &e->containers : NULL;
}

const struct sl_engine_container *sl_engine_find(const struct sl_engine *e, const char *id)
{
	for (size_t i = 0; i < e->containers.n; i++)
		if (!strcmp(e->containers.list[i].id, id))
			return &e->containers.list[i];
	return NULL;
}

const char *sl_engine_error(const struct sl_engine *e)
{
	return e->error[0] ? e->error : NULL;
}

/* ---- life ---- */

static CURLcode set_up(struct sl_engine *e, CURL *easy, const char *url)
{
	CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, url);

#define SET(option, value) (code = code ? code : curl_easy_setopt(easy, option, value))
	SET(CURLOPT_UNIX_SOCKET_PATH, e->socket);
	SET(CURLOPT_PROTOCOLS_STR, "http");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, ""); /* whatever the environment says */
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	SET(CURLOPT_USERAGENT, "sluiced/" SLUICE_VERSION);
	SET(CURLOPT_WRITEDATA, e);
#undef SET
	return code;
}

static int set_up_both(struct sl_engine *e)
{
	CURLcode code = set_up(e, e->list, "http://engine/containers/json");

	code = code ? code : curl_easy_setopt(e->list, CURLOPT_WRITEFUNCTION, sl_body_write);
	code = code ? code : curl_easy_setopt(e->list, CURLOPT_WRITEDATA, &e->body);
	code = code ? code : curl_easy_setopt(e->list, CURLOPT_TIMEOUT_MS, LIST_MS);
	code = code ? code : set_up(e, e->events, EVENTS);
	code = code ? code : curl_easy_setopt(e->events, CURLOPT_WRITEFUNCTION, on_event);
	code = code ? code : curl_easy_setopt(e->events, CURLOPT_HEADERFUNCTION, on_head);
	code = code ? code : curl_easy_setopt(e->events, CURLOPT_HEADERDATA, e);
	return code ? -ENOMEM : 0;
}

int sl_engine_open(const char *socket, struct sl_engine **out)
{
	struct sl_engine *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	e->socket = strdup(socket);
	e->body.max = SL_ENGINE_REPLY_MAX;
	err = sl_multi_open(&e->multi);
	e->list = err ? NULL : curl_easy_init();
	e->events = err ? NULL : curl_easy_init();
	if (!err)
		err = e->socket && e->list && e->events ? set_up_both(e) : -ENOMEM;
	e->again = true;
	e->events_at = sl_multi_now();
	if (err)
		sl_engine_close(e);
	else
		*out = e;
	return err;
}

void sl_engine_close(struct sl_engine *e)
{
	if (!e)
		return;
	if (e->listing)
		curl_multi_remove_handle(e->multi.curl, e->list);
	if (e->follows)
		curl_multi_remove_handle(e->multi.curl, e->events);
	curl_easy_cleanup(e->list);
	curl_easy_cleanup(e->events);
	sl_multi_close(&e->multi);
	sl_engine_list_free(&e->containers);
	sl_body_free(&e->body);
	free(e->socket);
	free(e);
}
