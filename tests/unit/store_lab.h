/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Objects as texts, put into a store and taken out of it, and a pod's policy there. After cmocka.h. */
#ifndef SLUICE_TEST_STORE_LAB_H
#define SLUICE_TEST_STORE_LAB_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kubernetes/json_tree.h"
#include "kubernetes/store.h"

static inline json_t *json_of(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!json)
		fail_msg("%s: %s", text, error.text);
	return json;
}

static inline int put(struct sl_store *store, enum sl_kube_kind kind, const char *text)
{
	json_t *json = json_of(text);
	const char *why;
	int err = sl_store_put(store, kind, json, &why);

	assert_true(err != -EINVAL || why);
	json_decref(json);
	return err;
}

static inline int drop(struct sl_store *store, enum sl_kube_kind kind, const char *text)
{
	json_t *json = json_of(text);
	const char *why;
	int err = sl_store_remove(store, kind, json, &why);

	json_decref(json);
	return err;
}

/* ---- texts ---- */

#define NAMESPACE "{'metadata':{'name':'shop','labels':{'tier':'prod'}}}"
#define POD(name, app, ip)                                                                   \
	"{'metadata':{'name':'" name "','namespace':'shop','labels':{'app':'" app "'},"      \
	"'managedFields':[{'manager':'kubelet'}]},"                                          \
	"'spec':{'containers':[{'name':'c','image':'i','ports':[{'name':'sql',"              \
	"'containerPort':5432}]}]},"                                                         \
	"'status':{'phase':'Running','podIP':'" ip "','hostIP':'192.168.0.1'}}"
#define NETPOL(name, egress)                                                                 \
	"{'metadata':{'name':'" name "','namespace':'shop'},'spec':{'podSelector':{},"       \
	"'policyTypes':['Egress'],'egress':" egress "}}"
#define OWN(name, rules)                                                                     \
	"{'metadata':{'name':'" name "','namespace':'shop','generation':3},'spec':"          \
	"{'podSelector':{'matchLabels':{'app':'cart'}},'rules':" rules "}}"
#define SERVICE(name, ip)                                                                    \
	"{'metadata':{'name':'" name "','namespace':'shop'},'spec':{'clusterIP':'" ip "',"   \
	"'ports':[{'port':5432}]}}"
#define SLICE(name, service, ip)                                                             \
	"{'metadata':{'name':'" name "','namespace':'shop','labels':"                        \
	"{'kubernetes.io/service-name':'" service "'}},'addressType':'IPv4',"                \
	"'ports':[{'port':5432}],'endpoints':[{'addresses':['" ip "']}]}"

/* The texts above, with the quotes of JSON. */
static inline const char *quoted(const char *text)
{
	static char buf[4][4096];
	static unsigned turn;
	char *to = buf[turn++ % 4];

	snprintf(to, sizeof(buf[0]), "%s", text);
	for (char *c = to; *c; c++)
		if (*c == '\'')
			*c = '"';
	return to;
}

#define PUT(store, kind, text) assert_int_equal(put(store, kind, quoted(text)), 0)
#define DROP(store, kind, text) assert_int_equal(drop(store, kind, quoted(text)), 0)

/* What is printed for a pod, or the errors; owned by the caller. */
static inline char *policy_of(struct sl_kube *kube, const char *pod)
{
	struct sl_diag diag = {}, *before = kube->diag;
	struct sl_policy *policy;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	kube->diag = &diag;
	if (sl_kube_policy(kube, "shop", pod, &policy)) {
		sl_diag_print(&diag, out);
	} else {
		sl_policy_print(policy, out);
		sl_policy_free(policy);
	}
	fclose(out);
	kube->diag = before;
	sl_diag_free(&diag);
	return text;
}

static inline void expect_policy(struct sl_store *store, const char *pod, const char *part,
				 bool there)
{
	char *text = policy_of(sl_store_objects(store), pod);

	if (!strstr(text, part) == there)
		fail_msg("\"%s\" is %sin: %s", part, there ? "not " : "", text);
	free(text);
}

#endif
