/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Libraries that few commands of `sluice` need. To load and relocate them, and what they need
 * themselves, costs every start 5 to 6 ms, so `sluice` is linked without them: what it calls of
 * them is undefined and weak (Makefile, LATE), and bound when it is first called. Whoever is about
 * to call asks for the library first; without that the call is one of address 0.
 *
 * Other programs are linked with them, and asking costs nothing there.
 */
#ifndef SLUICE_LATE_H
#define SLUICE_LATE_H

struct sl_diag;

enum sl_late {
	SL_LATE_XML, SL_LATE_DNS, SL_LATE_TLS, SL_LATE_HTTP, SL_LATE_CRYPT, SL_LATE_IDN,
	SL_LATE_CURSES,
};

/* Loads a library for good, once. 0, or -EINVAL with the reason in diag. */
int sl_late_need(enum sl_late library, struct sl_diag *diag);

#endif
