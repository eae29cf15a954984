// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The reader of include/sluice_table.h over a table in user space. */
#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include "compile.h"

typedef const struct sl_table *sl_table_ref;
typedef const struct sl_table *sl_table_map;

static inline sl_table_map sl_table_open(sl_table_ref table)
{
	return table;
}

static inline const __u64 *sl_table_page(sl_table_map table, __u32 i)
{
	i -= i % SL_PAGE_WORDS;
	return i < table->n_words && table->n_words - i >= SL_PAGE_WORDS ? table->words + i : NULL;
}

#include "sluice_reader.h"

bool sl_table_judge(const struct sl_table *table, struct sl_question *question,
		    struct sl_answer *answer)
{
	const __u64 *head = sl_table_page(table, 0);
	struct sl_place p;
	__u64 class;

	sl_answer_none(answer);
	if (!head)
		return false;
	p = sl_place_begin(head);
	if (sl_answer_inbound(head, question->inbound, answer))
		return true;
	return !sl_verdict_class(table, table, &p, head, question, &class) &&
	       !sl_verdict_answer(table, table, &p, head, class, question, answer);
}

/* ---- names ---- */

static void deny(struct sl_answer *answer)
{
	*answer = (struct sl_answer){.deny = 1, .reason = SL_REASON_NO_POLICY, .rule = SL_NONE,
				     .decision = SL_NONE};
}

bool sl_names_question(const struct sl_compiled *compiled, const char *name, __u64 now_ns,
		       struct sl_answer *answer)
{
	const struct sl_pattern *pattern = sl_names_find(compiled, name);
	const struct sl_connection question = {.now_ns = now_ns, .view = SL_VIEW_QUESTION};
	const struct sl_table *t = &compiled->table;
	__u64 flags, until, id = SL_NONE;
	struct sl_answer a;

	deny(answer);
	deny(&a);
	if (!sl_table_word(t, SL_H_FLAGS, &flags))
		return false;
	a.flags = flags;
	if (pattern && sl_table_class_decide(t, pattern->class, &question, &id, &until))
		return false;
	if (id != SL_NONE && sl_answer_decision(t, &a, (__u32)id))
		return false;
	if (id == SL_NONE) {
		a.deny = !(flags & SL_F_QUERIES_ANY);
		a.reason = SL_REASON_DNS_RESOLVER;
	}
	if (a.deny)
		a.reason = SL_REASON_DNS_NAME; /* as the kernel's event has it */
	*answer = a;
	return true;
}

/* One owner's part of a verdict: its decision is the answer if it comes before what is
 * there. As the kernel does (bpf/names.bpf.h). */
static bool ask_owner(const struct sl_compiled *compiled, const struct sl_question *q, __u32 view,
		      const char *owner, struct sl_answer *a)
{
	const struct sl_pattern *pattern = sl_names_find(compiled, owner);
	const struct sl_connection c = {.now_ns = q->now_ns, .view = view,
					.key = (__u32)q->protocol << 16 | q->key};
	const struct sl_table *t = &compiled->table;
	__u64 id, until;

	if (!pattern)
		return true;
	if (sl_table_class_decide(t, pattern->class, &c, &id, &until))
		return false;
	if (id >= a->decision)
		return true;
	if (sl_answer_decision(t, a, (__u32)id))
		return false;
	if (until && (!a->deadline_ns || until < a->deadline_ns))
		a->deadline_ns = until;
	return true;
}

bool sl_names_connection(const struct sl_compiled *compiled, struct sl_question *question,
			 const char *const owners[], size_t n_owners, struct sl_answer *answer)
{
	const struct sl_table *t = &compiled->table;
	__u32 view;
	size_t i;

	if (!sl_table_judge(t, question, answer))
		return false;
	if (question->inbound)
		return true;
	if (sl_table_view(t, t, question, answer->flags, &view)) {
		deny(answer);
		return false;
	}
	for (i = 0; i < n_owners; i++)
		if (!ask_owner(compiled, question, view, owners[i], answer)) {
			deny(answer);
			return false;
		}
	return true;
}

void sl_question_address(struct sl_question *question, const struct sl_cidr *address)
{
	__u64 high, low;
	__u32 v4;

	question->family = address->family;
	if (address->family == 4) {
		memcpy(&v4, address->addr, 4);
		question->address_high = 0;
		question->address_low = ntohl(v4);
		return;
	}
	memcpy(&high, address->addr, 8);
	memcpy(&low, address->addr + 8, 8);
	question->address_high = be64toh(high);
	question->address_low = be64toh(low);
}
