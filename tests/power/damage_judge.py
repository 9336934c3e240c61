"""What must hold of a daemon that was started on damaged files. Knows nothing of how they were damaged.

Faults are sentences; none means that all is well, or that what is not was told."""
import collections
import re
from collections import namedtuple

from harness.checker import History, check
from harness.common import key_of
from power_judge import is_from_hook, keys_in

# What came of it: at the desk, before and after; rows of the store (power_judge.Row; None: it ended, or they cannot be read); what
# it told; its last words when it ended by itself; what no damage allows.
Found = namedtuple("Found", "arrivals bodies rows told last_words odd")

HOOK_CODES = ("A2", "A3", "A4")


def in_wrong_place(before, found):
    """At the desk: texts, conversations and orders that nobody sent."""
    hook = [a for a, body in zip(found.arrivals, found.bodies) if is_from_hook(body)]
    report = check(History(sent=before.sent, arrivals=hook, drained=False, kills=[[before.at, None]]))
    yield from (f"at the desk: {a.code} {a.key}: {a.what}" for a in report.anomalies if a.code in HOOK_CODES)
    lane = {one.key: one.lane for one in before.sent}
    yield from (f"at the desk: {a.key} in lane {a.lane}" for a in hook if lane.get(a.key, a.lane) != a.lane)
    identities = {}
    for arrival in found.arrivals:
        if identities.setdefault(arrival.key, arrival.identity) != arrival.identity and arrival.key in lane:
            yield f"at the desk: {arrival.key} as {identities[arrival.key]} and as {arrival.identity}"
    yield from in_wrong_chat(before, found)


def said_in(update):
    message = update["message"]
    return message.get("text") or message.get("caption")


def in_wrong_chat(before, found):
    said = {chat: {said_in(one.event) for one in sent} for chat, sent in before.chats.items()}
    order = {one.key: i for sent in before.chats.values() for i, one in enumerate(sent)}
    last = collections.defaultdict(lambda: -1)
    for body in found.bodies:
        if is_from_hook(body):
            continue
        chat = body["conversation"]
        for line in body["text"].split("\n"):
            if line and line not in said.get(chat, ()) and not re.fullmatch(r"\[.*\]|c\d+n\d+(p\d+)?\.pdf", line):
                yield f"at the desk: in chat {chat}: {line[:100]!r}"
        for key in keys_in(body["text"]):
            if order.get(key, -1) < last[chat]:
                yield f"at the desk: {key} after one that was sent later"
            last[chat] = max(last[chat], order.get(key, -1))


def missing(before, found):
    """Acknowledged, and not at the desk."""
    at_desk = {key for a, body in zip(found.arrivals, found.bodies) if a.applied for key in [a.key, *keys_in(body["text"])]}
    return [one.key for sent in (before.sent, *before.chats.values()) for one in sent if one.acked and one.key not in at_desk]


def not_a_beginning(before, found):
    """Of a damaged log: what is there must be what was accepted first, and that whole."""
    def texts(rows):
        return [key_of(row.text) for row in rows if row.source == "hook"]
    was, now = texts(before.rows), texts(found.rows)
    if now != was[:len(now)]:
        yield "the log's beginning is not what is left of it"
    left = set(now) | {key for row in found.rows for key in keys_in(row.text)}
    yield from (f"{key} is in the store, and not at the desk" for key in missing(before, found) if key in left)


def faults_of(before, found, kind):
    faults = list(found.odd) + list(in_wrong_place(before, found))
    if found.told or found.last_words:
        return faults
    if kind == "log" and found.rows is not None:
        return faults + list(not_a_beginning(before, found))
    return faults + [f"{key} is lost, and nothing tells" for key in missing(before, found)]
