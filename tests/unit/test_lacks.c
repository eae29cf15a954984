// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a command's programs are loaded without, from the policy's text. A part that the policy
 * uses must never be among it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "compile/compile.h"
#include "kernel/lacks.h"
#include "resolve/resolve.h"

#define ALL (SL_LACKS_FRAGMENTS | SL_LACKS_BANDWIDTH | SL_LACKS_FLOW_LIMIT | SL_LACKS_UIDS | \
	     SL_LACKS_CHANGE | SL_LACKS_AUDIT | SL_LACKS_DROP | SL_LACKS_SNI | \
	     SL_LACKS_FORWARDER | SL_LACKS_RANGES6)
#define HEAD "sluice: 1\nname: lacks\n"
#define RULES "rules:\n  - deny: '@metadata'\n  - allow: '@loopback'\n"
#define DNS "dns: {resolvers: [192.0.2.53]}\n"

static __u32 lacks(const char *text)
{
	static const struct sl_environment nothing;
	struct sl_resolve_options resolve = {.env = &nothing, .trust_clock = true,
					     .now_s = 1700000000};
	struct sl_compile_options options = {.generation = 1};
	struct sl_policy *parsed = NULL, *resolved = NULL;
	struct sl_compiled compiled;
	struct sl_diag diag = {};
	__u32 result;

	if (sl_policy_parse(text, strlen(text), "p.yaml", SL_PARSE_POLICY, &parsed, &diag) ||
	    sl_resolve(parsed, NULL, &resolve, &resolved, &diag) ||
	    sl_compile(resolved, &options, &compiled, &diag)) {
		sl_diag_print(&diag, stderr);
		fail_msg("does not compile:\n%s", text);
	}
	result = sl_lacks_of(&compiled.table);
	sl_compiled_free(&compiled);
	sl_policy_free(resolved);
	sl_policy_free(parsed);
	sl_diag_free(&diag);
	return result;
}

static void what_a_policy_uses_is_loaded(void **state)
{
	static const struct {
		const char *text;
		__u32 used;
	} cases[] = {
		{HEAD RULES, 0},
		{HEAD "fragments: first-decides\n" RULES, SL_LACKS_FRAGMENTS},
		{HEAD "limits: {bandwidth: {out: 1MB/s}}\n" RULES, SL_LACKS_BANDWIDTH},
		{HEAD "limits: {bandwidth: {in: 1MB/s}}\n" RULES, SL_LACKS_BANDWIDTH},
		{HEAD "limits: {connections: 10/s}\n" RULES, SL_LACKS_FLOW_LIMIT},
		{HEAD RULES "  - allow: {to: any, ports: 443, protocol: tcp, uid: 1000}\n",
		 SL_LACKS_UIDS},
		{HEAD RULES "  - {allow: 192.0.2.1, expires: '2030-01-01T00:00:00Z'}\n",
		 SL_LACKS_CHANGE},
		{HEAD "mode: audit\n" RULES, SL_LACKS_AUDIT},
		{HEAD "on_deny: drop\n" RULES, SL_LACKS_DROP},
		{HEAD DNS RULES "  - allow: '*.example:443'\n", 0},
		{HEAD DNS RULES "  - {allow: 'a.example:443', sni: verify}\n", SL_LACKS_SNI},
		{HEAD DNS RULES "  - {allow: 'a.example:443', sni: observe}\n", SL_LACKS_SNI},
		{HEAD "dns: {mode: forward, resolvers: [192.0.2.53]}\n" RULES
		 "  - allow: '*.example:443'\n", SL_LACKS_FORWARDER},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (lacks(cases[i].text) != (ALL & ~cases[i].used))
			fail_msg("%#x instead of %#x:\n%s", lacks(cases[i].text),
				 ALL & ~cases[i].used, cases[i].text);
}

/* Each prefix that stands alone is a range, and so is what lies behind it. */
static __u32 lacks_with(int prefixes)
{
	char text[16384] = HEAD "rules:\n";
	int i;

	for (i = 0; i < prefixes; i++)
		sprintf(text + strlen(text), "  - allow: '2001:db8:0:%x::/64'\n", 2 * i);
	return lacks(text);
}

static void few_ranges_of_ipv6_are_searched_without_levels(void **state)
{
	(void)state;
	assert_true(lacks_with(SL_FEW_GROUPS6 * SL_V6_BLOCK / 2 - 8) & SL_LACKS_RANGES6);
	assert_false(lacks_with(SL_FEW_GROUPS6 * SL_V6_BLOCK / 2 + 1) & SL_LACKS_RANGES6);
}

static void a_program_for_both_directions_drops_nothing_silently(void **state)
{
	(void)state;
	assert_true(sl_never_silent(lacks(HEAD RULES)));
	assert_false(sl_never_silent(lacks(HEAD "on_deny: drop\n" RULES)));
	assert_false(sl_never_silent(lacks(HEAD "limits: {bandwidth: {in: 1MB/s}}\n" RULES)));
	assert_false(sl_never_silent(lacks(HEAD DNS RULES
					   "  - {allow: 'a.example:443', sni: verify}\n")));
	assert_false(sl_never_silent(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_policy_uses_is_loaded),
		cmocka_unit_test(few_ranges_of_ipv6_are_searched_without_levels),
		cmocka_unit_test(a_program_for_both_directions_drops_nothing_silently),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
