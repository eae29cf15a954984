/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The pods of this node, as its runtime knows them: containerd's and CRI-O's CRI, by gRPC on
 * HTTP/2 over a unix socket. Nothing here waits: the owner polls sl_cri_fd and calls sl_cri_work.
 * A reply is bounded in bytes, in pods and in the memory that it may take.
 *
 *   client.c  the questions and their answers
 *   read.c    what an answer says
 *   cri.proto which of it we read
 */
#ifndef SLUICE_CRI_CRI_H
#define SLUICE_CRI_CRI_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define SL_CRI_SOCKET "/run/containerd/containerd.sock"
#define SL_CRI_REPLY_MAX (16u << 20)  /* bytes of one reply ... */
#define SL_CRI_MEMORY_MAX (64u << 20) /* ... and of what it is in memory */
#define SL_CRI_PODS_MAX 4096
#define SL_CRI_TEXT_MAX 4096 /* bytes of a label, a name, a path */
#define SL_CRI_APPLICATION "sluice.dev/egress-policy" /* the annotation that is read ... */
#define SL_CRI_APPLICATION_MAX (64u << 10)	      /* ... and its bytes */

struct sl_cri_pod {
	char *id, *name, *namespace, *uid; /* owned */
	json_t *labels;			   /* owned; texts by their keys */
	char *application;		   /* the annotation; owned; NULL: none */
	__s64 created_s;		   /* Unix time */
	bool host_network;
	bool known;	   /* what follows, and host_network, was asked */
	json_t *addresses; /* owned; texts; [] on the node's network */
	char *netns;	   /* path of its network namespace; owned; NULL: not told */
};

struct sl_cri_pods {
	struct sl_cri_pod *list; /* owned; one of a namespace and name, and one of a uid */
	size_t n;
	size_t unreadable; /* left out, since a text in it is none */
};

void sl_cri_pod_free(struct sl_cri_pod *pod);
void sl_cri_pods_free(struct sl_cri_pods *pods);

/* ---- read.c: messages without gRPC's frame. 0, -EBADMSG with *why (static), or -ENOMEM;
 * outputs untouched on failure. ---- */

/* Sandboxes that are ready; of several of one pod the newest. */
int sl_cri_read_list(const void *message, size_t len, struct sl_cri_pods *out, const char **why);
/* The rest of what is known of a pod. -ENOENT: it is not ready (any more). */
int sl_cri_read_status(const void *message, size_t len, struct sl_cri_pod *pod, const char **why);
/* gRPC's frame: 5 bytes, then the message. */
int sl_cri_unframe(const void *reply, size_t len, const void **message, size_t *message_len,
		   const char **why);
/* The request for a status, with its frame; owned, NULL: no memory. */
void *sl_cri_status_request(const char *id, size_t *len);

/* ---- client.c ---- */

struct sl_cri;

/* 0, or -errno: no memory, no descriptors. The socket need not be there yet. */
int sl_cri_open(const char *socket, struct sl_cri **out);
void sl_cri_close(struct sl_cri *cri); /* NULL is fine */

/* Asks which pods there are, and what is not known of them; anew: of each again. While a
 * question is under way: once more behind it. */
void sl_cri_ask(struct sl_cri *cri, bool anew);

int sl_cri_fd(const struct sl_cri *cri);      /* to be polled for reading */
int sl_cri_timeout(const struct sl_cri *cri); /* milliseconds; -1: none */
/* True: the last question has been answered, or has failed: see below. */
bool sl_cri_work(struct sl_cri *cri);

/* The last whole answer, cri's until the next sl_cri_work; NULL: none yet. */
const struct sl_cri_pods *sl_cri_pods(const struct sl_cri *cri);
/* Why the last question has failed, and what to do; NULL: it has not. */
const char *sl_cri_error(const struct sl_cri *cri);
/* "v1", "v1alpha2": as it has answered; NULL: it has not. */
const char *sl_cri_version(const struct sl_cri *cri);

#endif
