/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the files of this folder share. */
#ifndef SLUICE_APISERVER_INTERNAL_H
#define SLUICE_APISERVER_INTERNAL_H

#include <curl/curl.h>

#include "api.h"
#include "http/body.h"
#include "http/multi.h"
#include "kubernetes/store.h"

struct sl_api;

/* Milliseconds of a clock that only goes on. */
__u64 sl_api_now(void);

/* ---- trouble.c ---- */

struct sl_api_state {
	enum sl_api_trouble trouble;
	char why[256];		/* and what to do; printable */
	__s64 since_s;		/* Unix time of the first of a row; 0: none */
	unsigned tries;		/* in a row */
	__u64 said;		/* on stderr, at that time; 0: never */
	__u64 failures[SL_API_TROUBLES]; /* since the start */
};

/* ---- account.c ---- */

struct sl_api_account {
	char *server, *ca, *token_file; /* owned */
	bool in_cluster;
	char *token;		/* owned; NULL: none was read yet */
	__u64 read_at;		/* when it is to be read again */
	unsigned long rotations;
	char why[256];		/* why the file could not be read; empty: it was */
};

int sl_account_open(struct sl_api_account *account, const struct sl_api_config *config,
		    struct sl_diag *diag);
/* Reads the token again if it is time, or if `now` is 0. */
void sl_account_refresh(struct sl_api_account *account, __u64 now);
void sl_account_close(struct sl_api_account *account);

/* ---- http.c ---- */

struct sl_api_request {
	struct sl_api *api;
	CURL *easy;			/* owned; kept from one request to the next */
	struct curl_slist *headers;	/* owned */
	char *body;			/* to be sent; owned */
	bool active;
	__u64 began, answered;		/* answered: when its head was whole; 0: not yet */
	long status;			/* 0: none */
	struct sl_body answer;		/* what came; of a watch the rest of a line */
	enum sl_api_trouble trouble;	/* found by the reader */
	const char *reason;		/* static: of it */
	char error[CURL_ERROR_SIZE];
	/* NULL: it is collected in answer. 0: go on; else the transfer ends. */
	int (*take)(void *context, const char *bytes, size_t n);
	/* It is over. code is libcurl's word. May start the next. */
	void (*done)(void *context, CURLcode code);
	void *context;
};

/* For sl_multi_work. */
void sl_api_request_done(void *context, CURL *easy, CURLcode code);

/* request is zeroed. See done and context. */
void sl_request_open(struct sl_api_request *request, struct sl_api *api,
		     void (*done)(void *context, CURLcode code), void *context);
/* path is put behind the server's address. seconds: 0: as long as it wants. 0, or -errno
 * with reason and trouble. */
int sl_request_get(struct sl_api_request *request, const char *path, unsigned seconds);
/* type: of the body, which is taken. */
int sl_request_patch(struct sl_api_request *request, const char *path, const char *type,
		     char *body, unsigned seconds);
void sl_request_stop(struct sl_api_request *request);
void sl_request_free(struct sl_api_request *request);

/* Its head has not come for longer than one waits: sl_request_stop, and try again. */
bool sl_request_is_late(const struct sl_api_request *request, __u64 now);

/* What went wrong, if anything: of libcurl, the reader or the status. */
enum sl_api_trouble sl_request_trouble(const struct sl_api_request *request, CURLcode code);

/* ---- trouble.c ---- */

/* Notes it, says it once on stderr, and returns after how many ms to try again. what: "list
 * pods". */
__u64 sl_trouble_note(struct sl_api *api, struct sl_api_state *state,
		      const struct sl_api_request *request, CURLcode code, const char *what);
void sl_trouble_over(struct sl_api *api, struct sl_api_state *state, const char *what);

/* ---- follow.c, event.c ---- */

struct sl_api_resource {
	enum sl_kube_kind kind;
	const char *path;	/* below the server, without a namespace */
	const char *plural;
};

enum sl_follow_state { SL_FOLLOW_WAIT, SL_FOLLOW_LIST, SL_FOLLOW_WATCH };

struct sl_follow {
	struct sl_api *api;
	const struct sl_api_resource *what;
	struct sl_api_request request;
	enum sl_follow_state state;
	bool wanted;		/* the server has it, and we ask for it */
	bool synced;		/* one list was taken whole */
	bool absent;		/* the server has no such kind: it counts as empty */
	bool list_next;		/* and not the watch */
	bool node_only;		/* pods: of this node */
	bool wide;		/* the last list was of all nodes */
	char *version;		/* resourceVersion to go on from; owned */
	char *more;		/* `continue` of the list; owned; NULL: its first page */
	unsigned page;		/* objects of the next one */
	__u64 again;		/* when to begin */
	unsigned long seen;	/* events of this watch */
	struct sl_api_state trouble;
	__u64 events, lists, expired, bookmarks;
};

extern const struct sl_api_resource sl_api_resources[SL_KUBE_KINDS];

void sl_follow_open(struct sl_follow *follow, struct sl_api *api,
		    const struct sl_api_resource *what);
void sl_follow_close(struct sl_follow *follow);
/* Begins what is due. */
void sl_follow_work(struct sl_follow *follow, __u64 now);
/* From here on: not asked for, and none of it is known. */
void sl_follow_want(struct sl_follow *follow, bool wanted);
/* The server names no such kind: if it has none either, there are no such objects. */
void sl_follow_missing(struct sl_follow *follow);
/* Lists again, and keeps what it has until then. */
void sl_follow_restart(struct sl_follow *follow);

/* Bytes of a watch. */
int sl_event_take(void *context, const char *bytes, size_t n);
/* An object's metadata.resourceVersion, NULL: none that can be one. */
const char *sl_event_version(const json_t *object);

/* ---- discover.c ---- */

struct sl_discovery {
	struct sl_api_request request;
	struct sl_api_state trouble;
	bool known;		/* asked once, and answered */
	bool has_slices;
	unsigned lacking;	/* answers in a row without our own kinds */
	__u64 counted, again;
};

void sl_discovery_open(struct sl_api *api);
void sl_discovery_work(struct sl_api *api, __u64 now);
void sl_discovery_close(struct sl_discovery *discovery);

/* ---- conditions.c ---- */

#define SL_STATUS_MESSAGE 300

/* What the elements of `nodes` say together, of the text that there is now. */
struct sl_status_sum {
	unsigned ok, failed;
	json_int_t pods;
	const char *name, *why; /* of a node where it failed */
	const char *partly;	/* a clause that is not in force on a node where the rest is; NULL: none */
	unsigned before;	/* nodes whose name is before ours: who writes */
	bool among;
};

/* The element of a list whose key has the value; NULL: none. */
const json_t *sl_status_find(const json_t *list, const char *key, const char *value);
void sl_status_add_up(const struct sl_api *api, const struct sl_stored *own,
		      struct sl_status_sum *sum);
/* What should stand there. *news: it is another than does. */
json_t *sl_status_conditions(const struct sl_stored *own, const struct sl_status_sum *sum,
			     bool *news);

/* ---- report.c ---- */

struct sl_report;

/* 0 or -ENOMEM. */
int sl_report_open(struct sl_api *api);
void sl_report_work(struct sl_api *api, __u64 now);
void sl_report_close(struct sl_api *api);
json_t *sl_report_json(const struct sl_api *api);
void sl_report_numbers(const struct sl_api *api, struct sl_api_numbers *out);

/* ---- api.c ---- */

struct sl_api {
	struct sl_kube_source source;	/* first */
	struct sl_api_account account;
	struct sl_multi multi;
	struct sl_store *store;
	struct sl_discovery discovery;
	struct sl_follow follows[SL_KUBE_KINDS];
	struct sl_report *report;	/* NULL: none */
	char *node;			/* owned */
	const char *namespace;		/* that this runs in, of the environment; NULL: not known */
	unsigned page;
	__u64 complete_at;		/* since when all is known; 0: it is not */
	__u64 told_version;		/* of the store, when source.version was last changed */
	__u64 tell_at;			/* 0: nothing to tell */
	__u64 narrow_at;		/* pods of other nodes are dropped then; 0: they are wanted */
	bool complete, partial, told_partial;
	bool ending;			/* our namespace is being deleted */
	__s64 ending_s;			/* Unix time since which nothing is asked any more; 0: not yet */
};

/*
 * An object of the kind, as it came: is it our own namespace, and is that being deleted? With
 * `kubectl delete -k` the definitions of our objects go as well, and with them each policy, which nobody
 * has asked for. So what is known then is the last that counts.
 */
void sl_api_look(struct sl_api *api, enum sl_kube_kind kind, const json_t *object, bool deleted);

/* Every kind is known, as far as the server has it. */
bool sl_api_complete(const struct sl_api *api);

#endif
