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

static inline bool sl_table_word(sl_table_map table, __u32 i, __u64 *word)
{
	if (i >= table->n_words)
		return false;
	*word = table->words[i];
	return true;
}

#include "sluice_reader.h"

bool sl_table_judge(const struct sl_table *table, struct sl_question *question,
		    struct sl_answer *answer)
{
	return !sl_table_verdict(table, question, answer);
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
