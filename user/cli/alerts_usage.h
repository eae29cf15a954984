/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What `sluice help` says of `sluice alerts`, which is a program of its own. */
#ifndef SLUICE_CLI_ALERTS_USAGE_H
#define SLUICE_CLI_ALERTS_USAGE_H

#define SL_ALERTS_SUMMARY "look for what is wrong in the events: scans, beacons, losses"

#define SL_ALERTS_USAGE \
	"usage: sluice alerts [--rules FILE] --events FILE [--memory FILE] [-o json]\n" \
	"       sluice alerts [--rules FILE] (--follow FILE [--from-start] | --socket PATH | -)\n" \
	"                     [--memory FILE]\n" \
	"       sluice alerts [--rules FILE] --check\n" \
	"\n" \
	"Rules over records as docs/events.md has them. It holds no capability.\n" \
	"\n" \
	"      --rules FILE      instead of /etc/sluice/alerts.yaml\n" \
	"      --events FILE     a complete file (- is standard input): prints the alerts\n" \
	"      --follow FILE     a file that is written to and rotated, from its end on\n" \
	"      --from-start      from its beginning\n" \
	"      --socket PATH     a unix socket that gives one record a line\n" \
	"      -                 standard input, as it comes\n" \
	"      --memory FILE     what first-seen rules remember, instead of the rules' own\n" \
	"      --check           only say what is wrong with the rules\n" \
	"  -o, --output FORMAT   text or json\n" \
	"\n" \
	"Exits 0 when a signal or the end of its input ends it; with --events, if there are no\n" \
	"alerts; with --check, if the rules are right. Else 1, and 2 for wrong usage.\n" \
	"\n" \
	"example: sluice alerts --rules deploy/alerts/default.yaml --events agent.jsonl\n"

#endif
