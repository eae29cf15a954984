/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The containers that run, as an engine names them: Docker's HTTP API (Engine API: GET
 * /containers/json, GET /events), which podman's service speaks too, over a unix socket. Nothing here
 * waits: the owner polls sl_engine_fd and calls sl_engine_work. Whoever answers there is root
 * already, and what he answers is bounded all the same.
 *
 *   client.c  the list and the stream of events, which says when to ask for it again
 *   read.c    what a list says
 */
#ifndef SLUICE_ENGINE_ENGINE_H
#define SLUICE_ENGINE_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SL_ENGINE_DOCKER "/run/docker.sock"
#define SL_ENGINE_PODMAN "/run/podman/podman.sock"

#define SL_ENGINE_REPLY_MAX (16u << 20) /* bytes of a list */
#define SL_ENGINE_LIST_MAX 16384	/* containers of it */
#define SL_ENGINE_TEXT_MAX 4096		/* bytes of a label */

struct sl_engine_container {
	char id[65];	/* 64 hexadecimal digits */
	char *name;	/* owned; without the slash that Docker writes before it */
	json_t *labels; /* owned; texts by their keys */
};

struct sl_engine_list {
	struct sl_engine_container *list; /* owned */
	size_t n;
	size_t unreadable; /* left out: no id or name as engines have them */
};

void sl_engine_list_free(struct sl_engine_list *list);

/* ---- read.c ---- */

/* 0; -EBADMSG with *why (static) or -ENOMEM, *out untouched. */
int sl_engine_read(const char *text, size_t len, struct sl_engine_list *out, const char **why);

/* ---- client.c ---- */

struct sl_engine;

/* 0, or -errno: no memory, no descriptors. The socket need not be there yet. */
int sl_engine_open(const char *socket, struct sl_engine **out);
void sl_engine_close(struct sl_engine *engine); /* NULL is fine */

/* Asks again, whatever was reported; while a question is under way: once more behind it. */
void sl_engine_ask(struct sl_engine *engine);

int sl_engine_fd(const struct sl_engine *engine);      /* to be polled for reading */
int sl_engine_timeout(const struct sl_engine *engine); /* milliseconds; -1: none */
/* True: a question has been answered, or has failed. */
bool sl_engine_work(struct sl_engine *engine);

const char *sl_engine_socket(const struct sl_engine *engine);
/* The last whole answer, engine's until the next sl_engine_work; NULL: none yet. */
const struct sl_engine_list *sl_engine_list(const struct sl_engine *engine);
/* The container of it with that id; NULL: none. */
const struct sl_engine_container *sl_engine_find(const struct sl_engine *engine, const char *id);
/* Why the last question has failed, and what to do; NULL: it has not. */
const char *sl_engine_error(const struct sl_engine *engine);

#endif
