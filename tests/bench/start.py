# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What `sluice run -- true` adds to `true`: alone without and with names, and as a member of the
group that sluiced lets run commands."""
import os
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import startup  # noqa: E402

ALONE = (("run -- true", startup.POLICY), ("run -- true, with names", startup.NAMES_POLICY))
DAEMON = (("run -- true, through sluiced", "open"),
          ("run -- true, through sluiced, with names", "named"))


def rows(table, build, runs):
    os.environ["SLUICE_BUILD"] = str(build)
    for taken, names in ((startup.alone(build / "sluice", runs), ALONE),
                         (startup.of_sluiced(build / "sluice", runs), DAEMON)):
        clock = {key: [elapsed for elapsed, _ in times] for key, times in taken.items()}
        for name, key in names:
            values = {"sluice": clock[key], "true alone": clock[None]}
            table.add(name, "ms", values, paired=True)
            table.added(name, "ms", values, "true alone")
