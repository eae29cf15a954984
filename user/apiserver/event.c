// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A watch: one JSON object a line, {type, object}. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "http/json.h"
#include "internal.h"

#define VERSION_MAX 128
#define LARGE (1u << 20) /* of a line: most are some thousand bytes */

static int wrong(struct sl_follow *f, enum sl_api_trouble trouble, const char *reason)
{
	f->request.trouble = trouble;
	f->request.reason = reason;
	return -EINVAL;
}

const char *sl_event_version(const json_t *object)
{
	const char *version = json_string_value(
		json_object_get(json_object_get(object, "metadata"), "resourceVersion"));

	return version && *version && strlen(version) <= VERSION_MAX ? version : NULL;
}

static int go_on_from(struct sl_follow *f, const json_t *object)
{
	const char *version = sl_event_version(object);
	char *copy = version ? strdup(version) : NULL;

	if (!version)
		return wrong(f, SL_API_GARBAGE, "an event without a resourceVersion");
	if (!copy)
		return wrong(f, SL_API_MEMORY, NULL);
	free(f->version);
	f->version = copy;
	return 0;
}

/* A Status in the stream: mostly a version that is too old. */
static int take_error(struct sl_follow *f, const json_t *status)
{
	json_int_t code = json_integer_value(json_object_get(status, "code"));

	f->list_next = true;
	if (code == 410)
		return wrong(f, SL_API_FINE, NULL);
	f->request.status = code >= 400 && code < 600 ? (long)code : 500;
	return wrong(f, code == 401 ? SL_API_TOKEN : SL_API_BUSY, NULL);
}

static bool is_of_kind(const struct sl_follow *f, const json_t *object)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));

	return kind && !strcmp(kind, sl_kube_kinds[f->what->kind].kind);
}

static int apply(struct sl_follow *f, const char *type, const json_t *object)
{
	struct sl_store *store = f->api->store;
	const char *why = NULL;
	int err;

	if (!strcmp(type, "BOOKMARK")) {
		f->bookmarks++;
		return 0;
	}
	sl_api_look(f->api, f->what->kind, object, !strcmp(type, "DELETED"));
	if (!strcmp(type, "DELETED"))
		err = sl_store_remove(store, f->what->kind, object, &why);
	else if (!strcmp(type, "ADDED") || !strcmp(type, "MODIFIED"))
		err = sl_store_put(store, f->what->kind, object, &why);
	else
		return wrong(f, SL_API_GARBAGE, "an event of a type that there is not");
	if (err)
		return wrong(f, err == -EINVAL ? SL_API_GARBAGE : SL_API_MEMORY, why);
	f->events++;
	return 0;
}

static int take_line(struct sl_follow *f, const char *line, size_t len)
{
	json_t *event = sl_json_read(line, len, NULL);
	const char *type = json_string_value(json_object_get(event, "type"));
	const json_t *object = json_object_get(event, "object");
	int err;

	if (!type || !json_is_object(object))
		err = wrong(f, SL_API_GARBAGE, "an event that is none");
	else if (!strcmp(type, "ERROR"))
		err = take_error(f, object);
	else if (!is_of_kind(f, object))
		err = wrong(f, SL_API_GARBAGE, "an event about another kind");
	else
		err = apply(f, type, object);
	if (!err)
		err = go_on_from(f, object);
	f->seen += !err;
	json_decref(event);
	if (len > LARGE) /* its JSON is up to seventy times that, in holes that nothing else fills */
		malloc_trim(0);
	return err;
}

/* The rest of a line, until its end comes. */
static int keep_rest(struct sl_follow *f, const char *bytes, size_t n)
{
	int err = sl_body_add(&f->request.answer, bytes, n);

	if (err == -EFBIG)
		return wrong(f, SL_API_GARBAGE, "an event of more than 16 MiB");
	return err ? wrong(f, SL_API_MEMORY, NULL) : 0;
}

int sl_event_take(void *context, const char *bytes, size_t n)
{
	struct sl_follow *f = context;
	struct sl_body *rest = &f->request.answer;
	const char *end = bytes + n, *at = bytes, *newline;
	int err = 0;

	while (!err && (newline = memchr(at, '\n', (size_t)(end - at)))) {
		if (rest->n) {
			err = keep_rest(f, at, (size_t)(newline - at));
			if (!err)
				err = take_line(f, rest->bytes, rest->n);
			sl_body_begin(rest);
		} else if (newline > at) {
			err = take_line(f, at, (size_t)(newline - at));
		}
		at = newline + 1;
	}
	return err || at == end ? err : keep_rest(f, at, (size_t)(end - at));
}
