// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "yaml.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdio.h>
#include <string.h>

#include "policy.h"
#include "text.h"

/* Events come in the order of the text, so the place moves on from the last one:
 * linear even if the whole text is one line. */
struct sl_pos sl_yaml_locate(struct sl_yaml *yaml, size_t offset)
{
	struct sl_pos pos = {yaml->pos.file, 0, 0};
	const char *newline;

	if (offset > yaml->len)
		offset = yaml->len;
	while (yaml->line_start > offset) {
		newline = memrchr(yaml->text, '\n', yaml->line_start - 1);
		yaml->line_start = newline ? (size_t)(newline - yaml->text) + 1 : 0;
		yaml->scanned = yaml->line_start;
		yaml->line--;
	}
	while (yaml->scanned < offset) {
		newline = memchr(yaml->text + yaml->scanned, '\n', offset - yaml->scanned);
		if (!newline) {
			yaml->scanned = offset;
			break;
		}
		yaml->scanned = yaml->line_start = (size_t)(newline - yaml->text) + 1;
		yaml->line++;
	}
	pos.line = yaml->line;
	pos.column = (unsigned)(offset - yaml->line_start) + 1;
	return pos;
}

void sl_yaml_stop(struct sl_yaml *yaml, int error)
{
	if (!yaml->error)
		yaml->error = error;
	yaml->type = SL_YAML_END;
}

static int start_parser(struct sl_yaml *yaml)
{
	struct fy_diag_cfg diag_cfg;
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_JSON_NONE};

	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag_cfg.level = FYET_WARNING;
	yaml->parser_diag = fy_diag_create(&diag_cfg);
	if (!yaml->parser_diag)
		return -ENOMEM;
	fy_diag_set_collect_errors(yaml->parser_diag, true);
	cfg.diag = yaml->parser_diag;
	yaml->parser = fy_parser_create(&cfg);
	if (!yaml->parser)
		return -ENOMEM;
	return fy_parser_set_string(yaml->parser, yaml->text, yaml->len) ? -ENOMEM : 0;
}

static void start(struct sl_yaml *yaml)
{
	int err = start_parser(yaml);

	if (err)
		sl_yaml_stop(yaml, err);
}

/* True if there is something to read. */
static bool prepare(struct sl_yaml *yaml, const char *text, size_t len, const char *file,
		    struct sl_diag *diag)
{
	memset(yaml, 0, sizeof(*yaml));
	yaml->diag = diag;
	yaml->text = text;
	yaml->len = len;
	yaml->line = 1;
	yaml->pos = (struct sl_pos){file, 1, 1};
	if (len > SL_POLICY_BYTES_MAX) {
		yaml->pos.line = yaml->pos.column = 0;
		sl_error(diag, &yaml->pos, "larger than 64 MiB; move addresses into set files");
		sl_yaml_stop(yaml, -EINVAL);
		return false;
	}
	sl_yaml_check(yaml);
	return !yaml->error && len;
}

void sl_yaml_open(struct sl_yaml *yaml, const char *text, size_t len, const char *file,
		  struct sl_diag *diag)
{
	if (!prepare(yaml, text, len, file, diag))
		return;
	sl_plain_open(yaml);
	if (!yaml->plain_text.on)
		start(yaml);
}

void sl_yaml_open_stream(struct sl_yaml *yaml, const char *text, size_t len, const char *file,
			 struct sl_diag *diag)
{
	bool any = prepare(yaml, text, len, file, diag);

	yaml->many = true;
	if (any)
		start(yaml);
}

void sl_yaml_replay(struct sl_yaml *yaml, const struct sl_yaml_event *events, size_t n,
		    struct sl_diag *diag)
{
	memset(yaml, 0, sizeof(*yaml));
	yaml->diag = diag;
	yaml->kept = events;
	yaml->n_kept = n;
}

static void free_event(struct sl_yaml *yaml)
{
	if (yaml->event)
		fy_parser_event_free(yaml->parser, yaml->event);
	yaml->event = NULL;
}

void sl_yaml_close(struct sl_yaml *yaml)
{
	free_event(yaml);
	if (yaml->parser)
		fy_parser_destroy(yaml->parser);
	if (yaml->parser_diag)
		fy_diag_destroy(yaml->parser_diag);
	yaml->parser = NULL;
	yaml->parser_diag = NULL;
	yaml->type = SL_YAML_END;
}

static size_t token_offset(struct fy_token *token)
{
	const struct fy_mark *mark = fy_token_start_mark(token);

	return mark ? mark->input_pos : 0;
}

/* Anchors and tags would let a text mean something else than it shows. */
static bool plain_node(struct sl_yaml *yaml, struct fy_token *anchor, struct fy_token *tag)
{
	struct sl_pos pos;
	size_t offset;

	if (!anchor && !tag)
		return true;
	offset = token_offset(anchor ? anchor : tag);
	if (offset >= yaml->len)
		offset = yaml->len - 1;
	while (offset && yaml->text[offset] != (anchor ? '&' : '!'))
		offset--;
	pos = sl_yaml_locate(yaml, offset);
	sl_error(yaml->diag, &pos, "%s: policies have none; if it is text, put it into quotes",
		 anchor ? "& begins an anchor in YAML" : "! begins a tag in YAML");
	sl_yaml_stop(yaml, -EINVAL);
	return false;
}

static void deeper(struct sl_yaml *yaml)
{
	unsigned most = yaml->many ? SL_YAML_STREAM_DEPTH_MAX : SL_YAML_DEPTH_MAX;

	if (++yaml->depth <= most)
		return;
	sl_error(yaml->diag, &yaml->pos, "nested deeper than %u levels", most);
	sl_yaml_stop(yaml, -EINVAL);
}

static void enter(struct sl_yaml *yaml, enum sl_yaml_type type, struct fy_token *anchor,
		  struct fy_token *tag)
{
	if (!plain_node(yaml, anchor, tag))
		return;
	yaml->type = type;
	deeper(yaml);
}

static void leave(struct sl_yaml *yaml, enum sl_yaml_type type)
{
	yaml->type = type;
	yaml->depth--;
}

static void scalar(struct sl_yaml *yaml)
{
	struct fy_token *token = yaml->event->scalar.value;
	enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;

	if (!plain_node(yaml, yaml->event->scalar.anchor, yaml->event->scalar.tag))
		return;
	yaml->type = SL_YAML_SCALAR;
	yaml->plain = style == FYSS_PLAIN;
	yaml->scalar_len = 0;
	yaml->scalar = token ? fy_token_get_text(token, &yaml->scalar_len) : "";
	/* libfyaml's mark is behind the quote. */
	if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && yaml->pos.column > 1)
		yaml->pos.column--;
	if (!yaml->scalar) {
		sl_yaml_stop(yaml, -ENOMEM);
	} else if (memchr(yaml->scalar, 0, yaml->scalar_len)) {
		sl_error(yaml->diag, &yaml->pos, "a NUL character (\\0) in a text");
		sl_yaml_stop(yaml, -EINVAL);
	}
}

/* Takes the event over; false if it is of no interest to a reader. */
static bool take(struct sl_yaml *yaml)
{
	struct fy_event *event = yaml->event;
	const struct fy_mark *mark = fy_event_start_mark(event);

	if (mark)
		yaml->pos = sl_yaml_locate(yaml, mark->input_pos);
	switch (event->type) {
	case FYET_DOCUMENT_START:
		if (++yaml->documents == 1 || yaml->many)
			return false;
		sl_error(yaml->diag, &yaml->pos, "a second document: a policy is one document");
		sl_yaml_stop(yaml, -EINVAL);
		break;
	case FYET_MAPPING_START:
		enter(yaml, SL_YAML_MAP, event->mapping_start.anchor, event->mapping_start.tag);
		break;
	case FYET_SEQUENCE_START:
		enter(yaml, SL_YAML_LIST, event->sequence_start.anchor, event->sequence_start.tag);
		break;
	case FYET_MAPPING_END:
		leave(yaml, SL_YAML_MAP_END);
		break;
	case FYET_SEQUENCE_END:
		leave(yaml, SL_YAML_LIST_END);
		break;
	case FYET_SCALAR:
		scalar(yaml);
		break;
	case FYET_ALIAS:
		sl_yaml_report_alias(yaml, mark && mark->input_pos ? mark->input_pos - 1 : 0);
		break;
	default:
		return false;
	}
	return true;
}

static void replay_next(struct sl_yaml *yaml)
{
	const struct sl_yaml_event *event = yaml->kept++;

	yaml->n_kept--;
	yaml->type = event->type;
	yaml->pos = event->pos;
	yaml->scalar = event->scalar;
	yaml->scalar_len = event->scalar_len;
	yaml->plain = event->plain;
	if (event->type == SL_YAML_MAP || event->type == SL_YAML_LIST)
		deeper(yaml);
	else if (event->type == SL_YAML_MAP_END || event->type == SL_YAML_LIST_END)
		yaml->depth--;
}

static void parser_next(struct sl_yaml *yaml)
{
	yaml->type = SL_YAML_END;
	if (yaml->error || !yaml->parser)
		return;
	do {
		free_event(yaml);
		yaml->event = fy_parser_parse(yaml->parser);
		if (!yaml->event) {
			sl_yaml_report(yaml);
			return;
		}
	} while (!take(yaml));
}

/* libfyaml reads from the beginning, what was given out once more; the last event, which is not
 * given out yet, is the next. */
static void leave_plain(struct sl_yaml *yaml)
{
	size_t given = yaml->plain_text.n_events;

	yaml->plain_text.on = false;
	yaml->depth = 0;
	yaml->pos = (struct sl_pos){yaml->pos.file, 1, 1};
	start(yaml);
	do {
		parser_next(yaml);
	} while (given-- && yaml->type != SL_YAML_END);
}

void sl_yaml_next(struct sl_yaml *yaml)
{
	yaml->type = SL_YAML_END;
	if (yaml->error)
		return;
	if (yaml->n_kept)
		replay_next(yaml);
	else if (!yaml->plain_text.on)
		parser_next(yaml);
	else if (!sl_plain_next(yaml))
		leave_plain(yaml);
}

void sl_yaml_skip(struct sl_yaml *yaml)
{
	unsigned depth = yaml->depth;

	if (yaml->type != SL_YAML_MAP && yaml->type != SL_YAML_LIST)
		return;
	do {
		sl_yaml_next(yaml);
	} while (yaml->type != SL_YAML_END && yaml->depth >= depth);
}

static bool is_one_of(const struct sl_yaml *yaml, const char *const *words)
{
	for (; *words; words++) {
		if (sl_text_is(yaml->scalar, yaml->scalar_len, *words))
			return true;
	}
	return false;
}

bool sl_yaml_is_null(const struct sl_yaml *yaml)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};

	/* asked of each text: most are longer than these */
	return yaml->type == SL_YAML_SCALAR && yaml->plain && yaml->scalar_len <= strlen("null") &&
	       is_one_of(yaml, nulls);
}

const char *sl_yaml_describe(const struct sl_yaml *yaml, char *buf, size_t size)
{
	static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE",
					    NULL};
	__u64 number;

	if (yaml->type == SL_YAML_MAP)
		return "a mapping";
	if (yaml->type == SL_YAML_LIST)
		return "a list";
	if (yaml->type != SL_YAML_SCALAR || sl_yaml_is_null(yaml))
		return "nothing";
	if (yaml->plain && is_one_of(yaml, bools))
		snprintf(buf, size, "the boolean %.*s", SL_Q(yaml->scalar, yaml->scalar_len));
	else if (yaml->plain &&
		 sl_text_number(yaml->scalar, yaml->scalar_len, ~0ull, &number))
		snprintf(buf, size, "the number %.*s", SL_Q(yaml->scalar, yaml->scalar_len));
	else
		snprintf(buf, size, "the text \"%.*s\"", SL_Q(yaml->scalar, yaml->scalar_len));
	return buf;
}
