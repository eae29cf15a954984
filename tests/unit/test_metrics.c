// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The text of metrics: labels, the bound on series, and where metrics are served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/http.h"
#include "metrics/metrics.h"
#include "policy/yaml.h"

static struct sl_metrics_target targets[64];
static char names[64][32];

static struct sl_metrics_snapshot some(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "vnet%zu", i);
		targets[i] = (struct sl_metrics_target){.kind = "device", .name = names[i],
							.policy = "agent", .attached = true,
							.has_meter = true};
	}
	return (struct sl_metrics_snapshot){.version = "1", .targets = targets, .n_targets = n};
}

static char *text_of(struct sl_metrics *m, const struct sl_metrics_snapshot *shot)
{
	size_t len;
	char *text = sl_metrics_text(m, shot, &len);

	assert_non_null(text);
	assert_int_equal(len, strlen(text));
	return text;
}

/* The value of a sample; -1: there is none. Each sample stands once. */
static long long value(const char *text, const char *sample)
{
	size_t len = strlen(sample);
	long long found = -1;

	for (const char *at = text; at && *at; at = strchr(at, '\n'), at += !!at)
		if (!strncmp(at, sample, len) && at[len] == ' ') {
			assert_true(found == -1);
			found = atoll(at + len + 1);
		}
	return found;
}

static size_t samples(const char *text)
{
	size_t n = 0;

	for (const char *at = text; at && *at; at = strchr(at, '\n'), at += !!at)
		n += *at != '#';
	return n;
}

static void test_families(void **state)
{
	struct sl_metrics_hit hits[] = {
		{"github", SL_REASON_RULE, 7, 0},
		{NULL, SL_REASON_DEFAULT, 3, 0},
		{"github", SL_REASON_RULE, 5, 0}}; /* an older generation's */
	struct sl_sink_stats sink = {.spec = "file:/a", .kind = "file", .lost = 4, .failing = true};
	struct sl_metrics_snapshot shot = some(2);
	struct sl_metrics *m = sl_metrics_new(0);
	char *text;

	targets[0].hits = hits;
	targets[0].n_hits = 3;
	targets[0].stats = (struct sl_stats){.decided = 15, .denied = 3, .lost = 2};
	targets[0].meter = (struct sl_meter){.tx_bytes = 100, .rx_frames = 9};
	targets[1].kind = "cgroup";
	targets[1].has_meter = false;
	shot.sinks = &sink;
	shot.n_sinks = 1;
	shot.config = (struct sl_metrics_config_state){.known = true, .failed = 1, .reloads = 2};
	text = text_of(m, &shot);
#define IS(sample, n) assert_int_equal(value(text, sample), n)
	IS("agent_network_connection_attempts_total{kind=\"device\",target=\"vnet0\"}", 15);
	IS("agent_network_blocked_connections_total{kind=\"device\",target=\"vnet0\"}", 3);
	IS("agent_vm_network_tx_bytes_total{kind=\"device\",target=\"vnet0\"}", 100);
	IS("agent_vm_network_rx_packets_total{kind=\"device\",target=\"vnet0\"}", 9);
	IS("agent_vm_network_rx_packets_total{kind=\"cgroup\",target=\"vnet1\"}", -1);
	IS("sluice_events_lost_total{kind=\"device\",target=\"vnet0\"}", 2);
	IS("sluice_decisions_total{kind=\"device\",target=\"vnet0\",policy=\"agent\",rule="
	   "\"github\","
	   "reason=\"rule\"}",
	   12);
	IS("sluice_decisions_total{kind=\"device\",target=\"vnet0\",policy=\"agent\",rule=\"\","
	   "reason=\"default\"}", 3);
	IS("sluice_sink_lost_total{sink=\"file:/a\",kind=\"file\"}", 4);
	IS("sluice_sink_failing{sink=\"file:/a\",kind=\"file\"}", 1);
	IS("sluice_sink_consumers{sink=\"file:/a\",kind=\"file\"}", -1);
	IS("sluice_config_ok", 0);
	IS("sluice_targets", 2);
	IS("sluice_metrics_series_folded", 0);
	assert_int_equal(value(text, "sluice_metrics_series") + 3, samples(text));
	free(text);
	sl_metrics_free(m);
}

static void test_labels_are_escaped(void **state)
{
	struct sl_metrics_snapshot shot = some(3);
	struct sl_metrics *m = sl_metrics_new(0);
	char cut[400], *text;

	targets[0].name = "a\"} 1\nevil_total{x=\"\\";
	targets[1].name = "b\xff\xc3(\xe2\x80\xae\xc3\xa4";
	memset(cut, 'c', sizeof(cut) - 1);
	cut[sizeof(cut) - 1] = 0;
	targets[2].name = cut;
	text = text_of(m, &shot);
	IS("sluice_target_attached{kind=\"device\",target=\"a\\\"} 1?evil_total{x=\\\"\\\\\"}", 1);
	IS("sluice_target_attached{kind=\"device\",target=\"b??\x28?\xc3\xa4\"}", 1);
	assert_null(strstr(text, "\nevil_total"));
	assert_null(memmem(text, strlen(text), cut, 201));
	assert_non_null(strstr(text, "cccc~"));
	free(text);
	sl_metrics_free(m);
}

#define AUDITED "sluice_audit_denied_total{kind=\"%s\",target=\"%s\"}"

/* The sum over all series of a counter grows by what was counted, whatever is folded. */
static void test_what_is_over_is_folded(void **state)
{
	struct sl_metrics_snapshot shot = some(64);
	struct sl_metrics *m = sl_metrics_new(400);	/* 64 targets have 64 * 18 */
	long long other, shown;
	char sample[128], *text;
	size_t own = 0;

	for (int i = 0; i < 64; i++)
		targets[i].stats.audit_denied = 10;
	text = text_of(m, &shot);
	assert_true(samples(text) <= 403 && samples(text) > 300);
	for (int i = 0; i < 64; i++) {
		snprintf(sample, sizeof(sample), AUDITED, "device", names[i]);
		own += value(text, sample) == 10;
	}
	snprintf(sample, sizeof(sample), AUDITED, "other", "other");
	other = value(text, sample);
	assert_true(own > 0 && own < 64 && other == 10 * (64 - (long long)own));
	assert_true(value(text, "sluice_metrics_series_folded") > 500);
	free(text);

	/* again, and with more: the same series are folded, and they add what is new */
	for (int i = 0; i < 64; i++)
		targets[i].stats.audit_denied = 13;
	text = text_of(m, &shot);
	assert_int_equal(value(text, sample), other / 10 * 13);
	free(text);

	/* a folded target leaves, and comes anew: `other` never runs backwards */
	shot.n_targets = 63;
	text = text_of(m, &shot);
	assert_int_equal(value(text, sample), other / 10 * 13);
	free(text);
	shot.n_targets = 64;
	targets[63].stats.audit_denied = 1;
	text = text_of(m, &shot);
	shown = value(text, sample);
	assert_true(shown == other / 10 * 13 || shown == other / 10 * 13 + 1);
	free(text);
	sl_metrics_free(m);
}

/* Targets come and go for ever: what is kept of them does not grow. */
static void test_churn_is_forgotten(void **state)
{
	struct sl_metrics *m = sl_metrics_new(1000);
	struct sl_metrics_snapshot shot;
	char *text;

	for (int round = 0; round < 500; round++) {
		shot = some(10);
		for (int i = 0; i < 10; i++)
			snprintf(names[i], sizeof(names[i]), "v%d-%d", round, i);
		text = text_of(m, &shot);
		assert_int_equal(value(text, "sluice_metrics_series_folded"), 0);
		free(text);
	}
	sl_metrics_free(m);
}

/* ---- where ---- */

static void test_listen(void **state)
{
	static const struct {
		const char *spec, *said;	/* NULL: it is right */
	} cases[] = {
		{"loopback", NULL},
		{"loopback:9999", NULL},
		{"127.0.0.1:1", NULL},
		{"[::1]:9477", NULL},
		{"unix:/run/sluice/metrics,mode=0600", NULL},
		{"192.0.2.1,cert=/c,key=/k,users=/u", NULL},
		{"0.0.0.0:9477,insecure=yes", NULL},
		{"0.0.0.0", "'0.0.0.0' is not loopback"},
		{"[::],cert=/c,key=/k", "'::' is not loopback"},
		{"loopback,cert=/c", "TLS needs both cert and key"},
		{"loopback:x", "port: 'x': a number"},
		{"localhost", "a numeric address"},
		{"loopback,mode=0600", "only a unix socket has one"},
		{"loopback,crt=/c", "unknown key 'crt' of metrics; did you mean 'cert'?"},
		{"loopback,insecure=maybe", "it is yes or no"},
		{"unix:run", "an absolute path"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_metrics_listen l;
		struct sl_diag diag = {};
		int err = sl_metrics_parse(cases[i].spec, NULL, &l, &diag);

		if (!!err != !!cases[i].said ||
		    (err && !strstr(diag.entries[0].message, cases[i].said)))
			fail_msg("%s: %s", cases[i].spec,
				 diag.n ? diag.entries[0].message : "taken");
		if (!err)
			sl_metrics_listen_free(&l);
		sl_diag_free(&diag);
	}
}

static void test_listen_yaml(void **state)
{
	static const char text[] = "listen: unix:/run/m\nmode: 0600\n";
	struct sl_metrics_listen l;
	struct sl_diag diag = {};
	struct sl_yaml yaml;

	sl_yaml_open(&yaml, text, strlen(text), "s.yaml", &diag);
	sl_yaml_next(&yaml);
	assert_int_equal(sl_metrics_parse_yaml(&yaml, &l, &diag), 0);
	assert_string_equal(l.path, "/run/m");
	assert_int_equal(l.mode, 0600);
	sl_metrics_listen_free(&l);
	sl_yaml_close(&yaml);
	sl_diag_free(&diag);
}

static void test_users(void **state)
{
	/* openssl passwd -6 -salt salt secret */
	static const char text[] =
		"# comment\nprometheus:$6$salt$egUxKNxDs8kPfh8iPMNcosMhb2eWah6d3R44JDm5Rj/j/XWR5E33"
		"QPd0YmHXoDHOIDR6kL5D3JcQcz0O8FHE00\n";
	struct sl_users u = {.text = text, .tokens = 5};
	unsigned line;

	assert_null(sl_users_wrong(text, &line));
	assert_non_null(sl_users_wrong("a:$6$x$y\nb:plain\n", &line));
	assert_int_equal(line, 2);
	assert_non_null(sl_users_wrong("nobody", &line));
	assert_int_equal(sl_users_check(&u, "prometheus", "wrong", 0), SL_USER_WRONG);
	assert_int_equal(sl_users_check(&u, "", "", 0), SL_USER_WRONG);
	assert_int_equal(sl_users_check(&u, "# comment\nprometheus", "secret", 0), SL_USER_WRONG);
	assert_int_equal(sl_users_check(&u, "prometheus", "secret", 0), SL_USER_RIGHT);
	/* guesses have an end; who is known is known */
	assert_int_equal(sl_users_check(&u, "prometheus", "x", 0), SL_USER_WRONG);
	assert_int_equal(sl_users_check(&u, "prometheus", "y", 0), SL_USER_BUSY);
	assert_int_equal(sl_users_check(&u, "prometheus", "secret", 0), SL_USER_RIGHT);
	assert_int_equal(sl_users_check(&u, "prometheus", "z", 1000), SL_USER_WRONG);
	free(u.name);
	free(u.password);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_labels_are_escaped),
		cmocka_unit_test(test_what_is_over_is_folded),
		cmocka_unit_test(test_churn_is_forgotten),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_listen_yaml),
		cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
