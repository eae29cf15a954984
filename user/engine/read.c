// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* [{"Id", "Names": ["/NAME"], "Labels": {}}], as GET /containers/json answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "container/container.h"
#include "engine.h"
#include "http/json.h"

static void free_one(struct sl_engine_container *c)
{
	free(c->name);
	json_decref(c->labels);
}

void sl_engine_list_free(struct sl_engine_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free_one(&list->list[i]);
	free(list->list);
	*list = (struct sl_engine_list){};
}

/* Of several the one that is no link's (/OTHER/ALIAS). */
static const char *name_of(const json_t *names)
{
	const char *text;
	json_t *one;
	size_t i;

	json_array_foreach((json_t *)names, i, one)
	{
		text = json_string_value(one);
		if (text && *text == '/')
			text++;
		if (text && *text && !strchr(text, '/') && strlen(text) <= SL_CONTAINER_TEXT_MAX)
			return text;
	}
	return NULL;
}

static json_t *labels_of(const json_t *from)
{
	json_t *labels = json_object(), *value;
	const char *key;

	/* the iterator's casts are jansson's own */
	json_object_foreach((json_t *)from, key, value)
	{
		if (labels && json_is_string(value) && json_string_length(value) <= SL_ENGINE_TEXT_MAX &&
		    strlen(key) <= SL_ENGINE_TEXT_MAX)
			json_object_set(labels, key, value);
	}
	return labels;
}

static bool is_id(const char *text)
{
	return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* 1: it is one; 0: it cannot be read; -ENOMEM. */
static int read_one(const json_t *one, struct sl_engine_container *out)
{
	const char *id = json_string_value(json_object_get(one, "Id"));
	const char *name = name_of(json_object_get(one, "Names"));

	if (!is_id(id) || !name)
		return 0;
	memcpy(out->id, id, sizeof(out->id));
	out->name = strdup(name);
	out->labels = labels_of(json_object_get(one, "Labels"));
	if (out->name && out->labels)
		return 1;
	free_one(out);
	return -ENOMEM;
}

int sl_engine_read(const char *text, size_t len, struct sl_engine_list *out, const char **why)
{
	json_t *answer = sl_json_read(text, len, NULL), *one;
	struct sl_engine_list list = {};
	size_t n = json_array_size(answer), i;
	int err = 0, read;

	if (!json_is_array(answer))
		*why = "its answer is no list of containers: is it Docker's API?";
	else if (n > SL_ENGINE_LIST_MAX)
		*why = "more containers than sluiced takes";
	if (!json_is_array(answer) || n > SL_ENGINE_LIST_MAX) {
		json_decref(answer);
		return -EBADMSG;
	}
	list.list = calloc(n + 1, sizeof(*list.list));
	if (!list.list)
		err = -ENOMEM;
	json_array_foreach(answer, i, one)
	{
		read = err ? 0 : read_one(one, &list.list[list.n]);
		list.n += read > 0;
		list.unreadable += !read;
		err = read < 0 ? read : err;
	}
	json_decref(answer);
	if (err)
		sl_engine_list_free(&list);
	else
		*out = list;
	return err;
}
