// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a runtime's answers say. They are not trusted to be whole, small or text. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cri.h"
#include "http/json.h"
#include "policy/text.h"
#include "user/cri/cri.pb-c.h" /* made of cri.proto */

#define FRAME 5		    /* a byte that tells compression, four of the length */
#define READY 0		    /* PodSandboxState */
#define NODE 2		    /* NamespaceMode */
#define INFO_MAX (4u << 20) /* bytes of a runtime's own JSON */

/* ---- memory: two bytes of a message can be a hundred in memory ---- */

struct budget {
	size_t left;
};

static void *take(void *context, size_t size)
{
	struct budget *budget = context;

	if (size > budget->left)
		return NULL;
	budget->left -= size;
	return malloc(size ? size : 1);
}

static void give_back(void *context, void *memory)
{
	(void)context;
	free(memory);
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *type, const void *message,
				size_t len)
{
	struct budget budget = {SL_CRI_MEMORY_MAX};
	ProtobufCAllocator allocator = {take, give_back, &budget};

	return protobuf_c_message_unpack(type, &allocator, len, message);
}

/* ---- texts ---- */

/* Owned; NULL: no memory, or it is none (NUL, not UTF-8, too long). */
static char *text_of(const ProtobufCBinaryData *bytes, size_t max)
{
	size_t at = 0;
	__u32 ignored;
	int n;

	if (bytes->len > max || memchr(bytes->data ? bytes->data : (void *)"", 0, bytes->len))
		return NULL;
	while (at < bytes->len) {
		n = sl_utf8_decode((const char *)bytes->data + at, bytes->len - at, &ignored);
		if (n < 0)
			return NULL;
		at += (size_t)n;
	}
	return strndup(bytes->data ? (const char *)bytes->data : "", bytes->len);
}

static char *name_of(const ProtobufCBinaryData *bytes)
{
	return bytes->len ? text_of(bytes, SL_CRI_TEXT_MAX) : NULL;
}

static json_t *texts_of(Sl__Cri__Pair *const *pairs, size_t n)
{
	json_t *texts = json_object();

	for (size_t i = 0; texts && i < n; i++) {
		char *key = name_of(&pairs[i]->key);
		char *value = text_of(&pairs[i]->value, SL_CRI_TEXT_MAX);

		if (!key || !value || json_object_set_new(texts, key, json_string(value))) {
			json_decref(texts);
			texts = NULL;
		}
		free(key);
		free(value);
	}
	return texts;
}

/* ---- a pod ---- */

void sl_cri_pod_free(struct sl_cri_pod *pod)
{
	free(pod->id);
	free(pod->name);
	free(pod->namespace);
	free(pod->uid);
	free(pod->application);
	free(pod->netns);
	json_decref(pod->labels);
	json_decref(pod->addresses);
	*pod = (struct sl_cri_pod){};
}

void sl_cri_pods_free(struct sl_cri_pods *pods)
{
	for (size_t i = 0; i < pods->n; i++)
		sl_cri_pod_free(&pods->list[i]);
	free(pods->list);
	*pods = (struct sl_cri_pods){};
}

/* false: it is there, and cannot be had: without it the pod would be open. */
static bool read_application(const Sl__Cri__Sandbox *sandbox, char **text)
{
	for (size_t i = 0; i < sandbox->n_annotations; i++) {
		const Sl__Cri__Pair *pair = sandbox->annotations[i];

		if (pair->key.len != strlen(SL_CRI_APPLICATION) ||
		    memcmp(pair->key.data, SL_CRI_APPLICATION, pair->key.len))
			continue;
		if (*text)
			return false;
		*text = text_of(&pair->value, SL_CRI_APPLICATION_MAX);
		if (!*text)
			return false;
	}
	return true;
}

static bool read_pod(const Sl__Cri__Sandbox *sandbox, struct sl_cri_pod *pod)
{
	const Sl__Cri__Metadata *m = sandbox->metadata;

	*pod = (struct sl_cri_pod){
		.id = name_of(&sandbox->id),
		.name = m ? name_of(&m->name) : NULL,
		.namespace = m ? name_of(&m->namespace_) : NULL,
		.uid = m ? name_of(&m->uid) : NULL,
		.labels = texts_of(sandbox->labels, sandbox->n_labels),
		.created_s = sandbox->created_at / 1000000000,
	};
	return pod->id && pod->name && pod->namespace && pod->uid && pod->labels &&
	       read_application(sandbox, &pod->application);
}

/* A pod is restarted in a new sandbox, and one of a StatefulSet has its predecessor's name. */
static bool is_same(const struct sl_cri_pod *a, const struct sl_cri_pod *b)
{
	return !strcmp(a->uid, b->uid) ||
	       (!strcmp(a->name, b->name) && !strcmp(a->namespace, b->namespace));
}

static int add_pod(struct sl_cri_pods *pods, struct sl_cri_pod *pod)
{
	struct sl_cri_pod *slot;

	for (size_t i = 0; i < pods->n;) {
		if (!is_same(&pods->list[i], pod)) {
			i++;
			continue;
		}
		if (pods->list[i].created_s > pod->created_s) {
			sl_cri_pod_free(pod);
			return 0;
		}
		sl_cri_pod_free(&pods->list[i]);
		pods->list[i] = pods->list[--pods->n];
	}
	slot = SL_ADD(pods->list, pods->n);
	if (!slot)
		return -ENOMEM;
	*slot = *pod;
	return 0;
}

static int add_pods(const Sl__Cri__Sandboxes *sandboxes, struct sl_cri_pods *pods)
{
	struct sl_cri_pod pod;
	int err = 0;

	for (size_t i = 0; i < sandboxes->n_items && !err; i++) {
		if (sandboxes->items[i]->state != READY)
			continue;
		if (read_pod(sandboxes->items[i], &pod)) {
			err = add_pod(pods, &pod);
		} else {
			pods->unreadable++;
			err = 0;
			sl_cri_pod_free(&pod);
			continue;
		}
		if (err)
			sl_cri_pod_free(&pod);
	}
	return err;
}

int sl_cri_read_list(const void *message, size_t len, struct sl_cri_pods *out, const char **why)
{
	Sl__Cri__Sandboxes *sandboxes =
		(Sl__Cri__Sandboxes *)unpack(&sl__cri__sandboxes__descriptor, message, len);
	struct sl_cri_pods pods = {};
	int err;

	*why = "its list of pods is no such message, or takes too much memory";
	if (!sandboxes)
		return -EBADMSG;
	if (sandboxes->n_items > SL_CRI_PODS_MAX) {
		*why = "it lists more than 4096 sandboxes";
		err = -EBADMSG;
	} else {
		err = add_pods(sandboxes, &pods);
	}
	sl__cri__sandboxes__free_unpacked(sandboxes, NULL);
	if (err)
		sl_cri_pods_free(&pods);
	else
		*out = pods;
	return err;
}

/* ---- its status ---- */

static int add_address(json_t *list, const ProtobufCBinaryData *bytes)
{
	char *text = name_of(bytes);
	int err = text ? json_array_append_new(list, json_string(text)) : -1;

	free(text);
	return bytes->len && err ? -EBADMSG : 0;
}

static json_t *addresses_of(const Sl__Cri__Network *network)
{
	json_t *list = json_array();
	int err = list ? 0 : -ENOMEM;

	if (!err && network)
		err = add_address(list, &network->ip);
	for (size_t i = 0; network && i < network->n_additional && !err; i++)
		err = add_address(list, &network->additional[i]->ip);
	if (!err)
		return list;
	json_decref(list);
	return NULL;
}

static char *copy_text(const json_t *text)
{
	return json_is_string(text) && json_string_length(text) <= SL_CRI_TEXT_MAX
		       ? strdup(json_string_value(text))
		       : NULL;
}

/* containerd and CRI-O put what they know into a text of JSON by the name of `info`; neither
 * promises what is in it. */
static void read_info(const Sl__Cri__Pair *pair, struct sl_cri_pod *pod)
{
	json_t *info, *space, *linux_part;
	size_t i;

	if (pair->key.len != 4 || memcmp(pair->key.data, "info", 4) || pair->value.len > INFO_MAX ||
	    !pair->value.len)
		return;
	info = sl_json_read((const char *)pair->value.data, pair->value.len, NULL);
	linux_part = json_object_get(json_object_get(info, "runtimeSpec"), "linux");
	json_array_foreach(json_object_get(linux_part, "namespaces"), i, space)
	{
		const char *type = json_string_value(json_object_get(space, "type"));

		if (type && !strcmp(type, "network") && !pod->netns)
			pod->netns = copy_text(json_object_get(space, "path"));
	}
	json_decref(info);
}

static bool is_on_node(const Sl__Cri__Status *status)
{
	const Sl__Cri__Namespaces *spaces = status->on_linux ? status->on_linux->namespaces : NULL;

	return spaces && spaces->options && spaces->options->network == NODE;
}

int sl_cri_read_status(const void *message, size_t len, struct sl_cri_pod *pod, const char **why)
{
	Sl__Cri__StatusReply *reply =
		(Sl__Cri__StatusReply *)unpack(&sl__cri__status_reply__descriptor, message, len);
	const Sl__Cri__Status *status = reply ? reply->status : NULL;
	json_t *addresses = NULL;
	int err = 0;

	*why = "the status of a pod is no such message, or takes too much memory";
	if (!status)
		err = -EBADMSG;
	else if (status->state != READY)
		err = -ENOENT;
	else if (status->id.len != strlen(pod->id) ||
		 memcmp(status->id.data, pod->id, status->id.len)) {
		*why = "it answers with another pod's status";
		err = -EBADMSG;
	} else if (!(addresses = addresses_of(status->network))) {
		*why = "an address of a pod is no text";
		err = -EBADMSG;
	}
	if (!err) {
		json_decref(pod->addresses);
		pod->addresses = addresses;
		pod->host_network = is_on_node(status);
		pod->known = true;
		for (size_t i = 0; i < reply->n_info; i++)
			read_info(reply->info[i], pod);
	}
	if (reply)
		sl__cri__status_reply__free_unpacked(reply, NULL);
	return err;
}

/* ---- frames ---- */

int sl_cri_unframe(const void *reply, size_t len, const void **message, size_t *message_len,
		   const char **why)
{
	const unsigned char *at = reply;
	__u32 size;

	*why = "its answer is cut short";
	if (len < FRAME)
		return -EBADMSG;
	memcpy(&size, at + 1, sizeof(size));
	size = be32toh(size);
	if (at[0]) {
		*why = "its answer is compressed, which was not asked for";
		return -EBADMSG;
	}
	if (len - FRAME != size) {
		*why = len - FRAME < size ? *why : "more follows its answer";
		return -EBADMSG;
	}
	*message = at + FRAME;
	*message_len = size;
	return 0;
}

void *sl_cri_status_request(const char *id, size_t *len)
{
	Sl__Cri__StatusRequest request = SL__CRI__STATUS_REQUEST__INIT;
	unsigned char *frame;
	__be32 size;

	request.id = (ProtobufCBinaryData){strlen(id), (unsigned char *)(uintptr_t)id};
	request.verbose = true;
	*len = FRAME + sl__cri__status_request__get_packed_size(&request);
	frame = calloc(1, *len);
	if (!frame)
		return NULL;
	size = htobe32((__u32)(*len - FRAME));
	memcpy(frame + 1, &size, sizeof(size));
	sl__cri__status_request__pack(&request, frame + FRAME);
	return frame;
}
