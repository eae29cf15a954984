# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the Open Cybersecurity Schema Framework 1.3 says of the events that we write: attributes with
their types, `!` in front of those that must be there, `1` of those of which one must, captions of the
enumerations. An attribute of a profile stands with that profile's name."""
import re

TIME_DT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ENDPOINT = {"ip": "1text", "name": "1text", "hostname": "1text", "port": "port", "mac": "text"}
OBJECTS = {
    "metadata": {"version": "!text", "product": "!product", "profiles": "texts", "sequence": "int"},
    "product": {"name": "text", "vendor_name": "!text", "version": "text"},
    "endpoint": ENDPOINT,
    "connection": {"direction_id": "!int", "direction": "text", "protocol_name": "text",
                   "protocol_num": "int", "protocol_ver_id": "int"},
    "traffic": {"bytes_out": "int", "bytes_in": "int"},
    "actor": {"process": "1process"},
    "process": {"pid": "int", "name": "text", "user": "user"},
    "user": {"uid": "1text", "name": "1text"},
    "policy": {"name": "1text", "uid": "1text", "version": "text"},
    "rule": {"name": "1text", "uid": "1text"},
    "query": {"hostname": "!text", "type": "text"},
}
BASE = {
    "activity_id": "!int", "activity_name": "text", "category_uid": "!int", "category_name": "text",
    "class_uid": "!int", "class_name": "text", "type_uid": "!int", "severity_id": "!int",
    "metadata": "!metadata", "time": "!int", "count": "int", "duration": "int",
    "status_detail": "text", "unmapped": "any", "time_dt": "datetime:dt", "actor": "host:actor",
}
DECISION = {
    "action_id": "security_control:int", "action": "security_control:text",
    "disposition_id": "security_control:int", "disposition": "security_control:text",
    "policy": "security_control:policy", "firewall_rule": "security_control:rule",
}
NETWORK = {**BASE, **DECISION, "src_endpoint": "1endpoint", "dst_endpoint": "1endpoint",
           "connection_info": "connection", "traffic": "traffic"}
CLASSES = {0: BASE, 4001: NETWORK, 4003: {**NETWORK, "query": "query"}}
ACTIVITIES = {0: {99: None}, 4001: {1: "Open", 2: "Close", 5: "Refuse"}, 4003: {1: "Query"}}
CAPTIONS = {"action": {1: "Allowed", 2: "Denied"},
            "disposition": {1: "Allowed", 2: "Blocked", 17: "Logged"},
            "direction": {0: "Unknown", 1: "Inbound", 2: "Outbound"}}
NAMES = {0: ("Base Event", 0), 4001: ("Network Activity", 4), 4003: ("DNS Activity", 4)}


def check_value(kind, value, where):
    if kind in OBJECTS:
        check_object(OBJECTS[kind], value, where, ())
        return
    if kind == "any":
        return
    good = {"text": lambda: isinstance(value, str), "int": lambda: type(value) is int,
            "port": lambda: type(value) is int and 0 <= value <= 65535,
            "texts": lambda: all(isinstance(v, str) for v in value),
            "dt": lambda: TIME_DT.fullmatch(value)}[kind]
    assert good(), (where, value)


def check_object(attributes, found, where, profiles):
    assert isinstance(found, dict), (where, found)
    one_of = [name for name, kind in attributes.items() if kind[0] == "1"]
    assert not one_of or any(name in found for name in one_of), (where, "none of", one_of, found)
    for name, kind in attributes.items():
        assert name in found or kind[0] != "!", (where, "lacks", name, found)
    for name, value in found.items():
        assert name in attributes, (where, "has no attribute", name)
        profile, _, kind = attributes[name].rpartition(":")
        assert not profile or profile in profiles, (where, name, "is of the profile", profile)
        check_value(kind.lstrip("!1"), value, f"{where}.{name}")
    for name, captions in CAPTIONS.items():
        if name in found:
            assert captions[found[name + "_id"]] == found[name], (where, found)


def check(event):
    """An AssertionError says what is wrong with it."""
    number, activity = event["class_uid"], event["activity_id"]
    check_object(CLASSES[number], event, NAMES[number][0], event["metadata"]["profiles"])
    assert (event["class_name"], event["category_uid"]) == NAMES[number], event
    caption = ACTIVITIES[number][activity]
    assert caption in (None, event["activity_name"]), event
    assert event["type_uid"] == number * 100 + activity and event["severity_id"] in range(7), event
    assert event["metadata"]["version"] == "1.3.0"
