// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One request of a client: who may ask for what, and how it is answered. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "audit/json.h"
#include "daemon.h"
#include "server.h"

static const struct operation {
	const char *name;
	sl_op *run;
	bool of_users; /* anybody who may connect, for what is his; else root alone */
} operations[] = {
	{"hello", sl_op_hello, true},	 {"status", sl_op_status, true},
	{"rules", sl_op_rules, true},	 {"monitor", sl_op_monitor, true},
	{"attach", sl_op_attach, false}, {"detach", sl_op_detach, false},
	{"apply", sl_op_apply, false},	 {"container", sl_op_container, false},
	{"cni", sl_op_cni, false},
	{"run", sl_op_run, true},
};

void sl_answer(struct sl_caller *client, json_t *body)
{
	json_t *answer = json_pack("{s:i, s:b}", "sluice", SL_CONTROL_VERSION, "ok", 1);

	if (answer && body && !json_object_update(answer, body)) {
		sl_caller_send(client, answer);
	} else {
		json_decref(answer);
		client->gone = true;
	}
	json_decref(body);
}

static json_t *error_json(const char *code, const char *text)
{
	return json_pack("{s:i, s:b, s:s, s:o}", "sluice", SL_CONTROL_VERSION, "ok", 0, "code",
			 code, "error", sl_json_text(text));
}

void sl_answer_error(struct sl_caller *client, const char *code, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	sl_caller_send(client, error_json(code, text));
}

void sl_answer_diag(struct sl_caller *client, const char *code, const struct sl_diag *diag, int err)
{
	const char *first = NULL;
	json_t *answer;

	for (size_t i = 0; i < diag->n && !first; i++)
		if (diag->entries[i].severity == SL_ERROR)
			first = diag->entries[i].message;
	answer = error_json(code, first ? first : strerror(-err));
	if (answer) {
		json_object_set_new(answer, "errors", sl_json_diag(diag, SL_ERROR));
		json_object_set_new(answer, "warnings", sl_json_diag(diag, SL_WARNING));
	}
	sl_caller_send(client, answer);
}

static const struct operation *find(const char *name)
{
	for (size_t i = 0; name && i < sizeof(operations) / sizeof(*operations); i++)
		if (!strcmp(operations[i].name, name))
			return &operations[i];
	return NULL;
}

static void run(struct sl_caller *client, const json_t *request)
{
	json_t *version = json_object_get(request, "sluice"),
	       *name = json_object_get(request, "op");
	const struct operation *op;

	if (!json_is_integer(version)) {
		sl_answer_error(client, "request",
				"a request is one object in a line, as "
				"{\"sluice\": %d, \"op\": \"hello\"}",
				SL_CONTROL_VERSION);
		return;
	}
	if (json_integer_value(version) != SL_CONTROL_VERSION) {
		sl_answer_error(client, "version",
				"version %lld of the control protocol; this "
				"sluiced (%s) speaks %d",
				(long long)json_integer_value(version), SLUICE_VERSION,
				SL_CONTROL_VERSION);
		return;
	}
	op = find(json_string_value(name));
	if (!op)
		sl_answer_error(client, "operation", "no operation \"%.40s\"",
				json_is_string(name) ? json_string_value(name) : "");
	else if (!op->of_users && !sl_caller_is_root(client))
		sl_answer_error(client, "denied", "only root may ask for %s", op->name);
	else
		op->run(client, request);
}

void sl_caller_request(struct sl_caller *client, const char *line, size_t len)
{
	json_error_t error;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);

	if (json_is_object(request))
		run(client, request);
	else
		sl_answer_error(client, "request", "no JSON object in one line: %s",
				request ? "it is another value" : error.text);
	json_decref(request);
}
