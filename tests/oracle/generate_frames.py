# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Episodes: a random policy and binding for a device, and the frames that cross it.

    episode = Episode(random.Random(seed))
    for step in episode.steps(count):       Attach or Frame, the first is an Attach

Conversations run beside each other; most frames are said as they should be, some are
mutated, some are noise; now and then the device gets a new policy or binding.
"""
import collections
import copy

import generate
import mutate
from conversations import World

Attach = collections.namedtuple("Attach", "document mac addresses")
Frame = collections.namedtuple("Frame", "direction data gso")

AT_ONCE = 6                 # conversations
MUTATED, NOISE, GSO, SWITCH = 0.30, 0.06, 0.03, 0.0015
GSO_MOST = 3000             # bytes: what a test run of a program takes is less than a page


def without_uids(node):
    """A device has no uids: the policy says the same without them."""
    if isinstance(node, dict):
        return {key: without_uids(value) for key, value in node.items() if key != "uid"}
    if isinstance(node, list):
        return [without_uids(item) for item in node]
    return node


class Episode:
    def __init__(self, rng):
        self.rng = rng
        policy = generate.RandomPolicy(rng, most_rules=rng.choice((3, 12, 40, 40, 150)),
                                       names=False)     # questions: dns_model.py
        self.document = without_uids(policy.document)
        self.world = World(rng, policy)
        self._set_switches()

    def _set_switches(self):
        rng = self.rng
        document = self.document
        document.pop("device", None)
        document["fragments"] = rng.choice(("deny", "first-decides", "first-decides"))
        document["mode"] = rng.choices(("enforce", "audit"), (9, 1))[0]
        device = {key: "deny" for key in ("arp", "nd", "dhcp") if rng.random() < 0.12}
        if device or rng.random() < 0.1:
            document["device"] = device

    def _attach(self):
        return Attach(copy.deepcopy(self.document), *self.world.binding())

    def _change(self):
        """A new policy for the same device: some rules gone, some turned around."""
        rng = self.rng
        document = self.document = copy.deepcopy(self.document)
        kind = rng.randrange(4)
        if kind == 0:
            document["default"] = rng.choice(("allow", "deny"))
            document["on_deny"] = rng.choice(("reject", "drop", "reject"))
        elif kind == 1:
            document["rules"] = [rule for rule in document["rules"] if rng.random() < 0.7]
        elif kind == 2:
            for rule in document["rules"]:
                if rng.random() < 0.5:
                    verdict, other = ("allow", "deny") if "allow" in rule else ("deny", "allow")
                    rule[other] = rule.pop(verdict)
        else:
            document["inbound"] = rng.choice(("replies", "allow"))
        if rng.random() < 0.5:
            self._set_switches()

    def steps(self, count):
        rng, world = self.rng, self.world
        attach = self._attach()
        yield attach
        talks = []
        made = 0
        while made < count:
            if rng.random() < SWITCH:
                self._change()
                attach = self._attach() if rng.random() < 0.4 else \
                    attach._replace(document=copy.deepcopy(self.document))
                yield attach
            while len(talks) < AT_ONCE:
                talk = world.conversation()
                if talk:
                    talks.append(iter(talk))
            place = rng.randrange(AT_ONCE)
            step = next(talks[place], None)
            if step is None:
                del talks[place]
                continue
            for frame in self._frames(*step):
                yield frame
                made += 1

    def _frames(self, direction, data):
        rng, world = self.rng, self.world
        chance = rng.random()
        if chance < MUTATED:
            done = mutate.mutate(rng, world, direction, data)
            if rng.random() < 0.3:
                done.append((direction, data))
        elif chance < MUTATED + NOISE:
            done = [(where, mutate.runnable(what))
                    for where, what in mutate.noise(rng, world, direction, data)]
        else:
            done = [(direction, data)]
        for step in done:
            world.note(step)
            gso = 0
            if rng.random() < GSO:
                gso = rng.choice((1, 536, 1448))
                if rng.random() < 0.3:
                    step = step[0], (step[1] + rng.randbytes(rng.randrange(1500)))[:GSO_MOST]
            yield Frame(*step, gso)
