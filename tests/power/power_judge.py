"""What must hold of a store that a power cut left, from what customers and desk had seen until then. Knows nothing of disks.

`until` is the moment of the cut on the clock of the record (s). Faults are sentences; none means all is well.
"""
import collections
import copy
from collections import namedtuple

from harness.checker import History, Stored, check
from harness.common import key_of
from loop_media_kills import KEY, Outcome, judge

DELIVERED, DISCARDED = "delivered", "discarded"

# A row of the store: of the source `source`, in the order of acceptance; text is None when its body has aged out.
Row = namedtuple("Row", "source conversation text state")
# What was seen until the cut; gone_ok: messages that the desk has may have aged out.
Seen = namedtuple("Seen", "sent chats arrivals bodies kills until gone_ok")


def seen_until(record, until):
    """A record cut short: nobody has seen what came after."""
    def cut_sent(sent):
        listed = [copy.copy(one) for one in sent if one.first_try is not None and one.first_try < until]
        for one in listed:
            one.acked = one.acked if one.acked is not None and one.acked < until else None
        return listed

    arrivals, bodies = [], []
    for arrival, body in zip(record.arrivals, record.bodies):
        if arrival.start >= until:
            continue
        arrival = copy.copy(arrival)
        if arrival.end is None or arrival.end >= until:
            arrival.end = arrival.status = None
            arrival.applied = False
        arrivals.append(arrival)
        bodies.append(body)
    kills = [[killed, ready] for killed, ready in record.kills if killed < until]
    return Seen(cut_sent(record.sent), {chat: cut_sent(sent) for chat, sent in record.chats.items()}, arrivals, bodies, kills, until, record.retention)


def keys_in(text):
    return KEY.findall(text or "")


def taken_of(seen):
    """Keys of all that the desk has answered 2xx."""
    return {key for arrival, body in zip(seen.arrivals, seen.bodies) if arrival.applied
            for key in ([arrival.key] if is_from_hook(body) else keys_in(body["text"]))}


def is_from_hook(body):
    return body["source"] == "hook"


def history_of(seen, rows, arrivals, drained=False, kills=()):
    """For the checker: the messages of the signed webhook. What may have aged out and has is left out."""
    stored = [Stored(key_of(row.text), row.state, row.conversation, row.text) for row in rows if row.source == "hook" and row.text is not None]
    gone = taken_of(seen) - {row.key for row in stored} if seen.gone_ok else set()
    return History(sent=[s for s in seen.sent if s.key not in gone], stored=stored, drained=drained, kills=[*seen.kills, *kills],
                   arrivals=[a for a in arrivals if a.key not in gone])


def unsettled(seen, rows):
    """A lane's message is on the disk as settled before the next one is tried. What follows a message has no words to tell it by."""
    rows_of = collections.defaultdict(list)
    for row in rows:
        rows_of[key_of(row.text)].append(row)
    state = {key: listed[0].state for key, listed in rows_of.items() if len(listed) == 1}
    lanes = collections.defaultdict(list)
    for arrival in seen.arrivals:
        lanes[arrival.lane].append(arrival)
    for lane, arrivals in lanes.items():
        for one, following in zip(arrivals, arrivals[1:]):
            if one.key and one.key != following.key and one.key in state and state[one.key] not in (DELIVERED, DISCARDED):
                yield f"{one.key} is {state[one.key]}, though {following.key} was tried after it in lane {lane}"


def faults_in_chats(seen, rows):
    """Texts and captions from Telegram: each accepted one once, in order."""
    taken = taken_of(seen) if seen.gone_ok else set()
    for chat, sent in seen.chats.items():
        stored = [key for row in rows if row.source == "bot" and row.conversation == chat and row.state != DISCARDED for key in keys_in(row.text)]
        times = collections.Counter(stored)
        known = {one.key for one in sent}
        yield from (f"{key} is stored {n} times" for key, n in times.items() if n > 1)
        yield from (f"{key} is stored, and nobody sent it" for key in times if key not in known)
        yield from (f"{one.key} is lost: acknowledged, and not in the store" for one in sent if one.acked and not times[one.key] and one.key not in taken)
        due = [one.key for one in sent if times[one.key]]
        yield from (f"{key} is stored in the place of {wanted}" for key, wanted in zip(dict.fromkeys(stored), due) if key != wanted)


def faults_at_start(seen, rows):
    """Of the store as the daemon found it."""
    report = check(history_of(seen, rows, [a for a, body in zip(seen.arrivals, seen.bodies) if is_from_hook(body)]))
    faults = [f"{a.code} {a.key}: {a.what}" for a in report.anomalies if a.code not in ("A6", "A8")]
    return faults + list(faults_in_chats(seen, rows)) + list(unsettled(seen, rows))


def outcome_of(seen, rows, arrivals, bodies, files, fetch):
    """Of what came from Telegram, as one sees it who drops what has an id that was there. `fetch(url)`: the sha256 of what it gives. What
    may have aged out since it was told is taken for whole."""
    texts, came, known = collections.defaultdict(list), [], set()
    for arrival, body in zip(arrivals, bodies):
        if is_from_hook(body) or not arrival.applied or arrival.identity in known:
            continue
        known.add(arrival.identity)
        texts[body["conversation"]] += keys_in(body["text"])
        for attachment in body["attachments"]:
            if attachment["url"]:  # else it follows
                may_be_gone = seen.gone_ok and arrival.start < seen.until
                key = attachment["name"].removesuffix(".pdf") if may_be_gone else files.get(fetch(attachment["url"]), (None, None))[1]
                came.append((body["conversation"], key))
    sent = {chat: [one.key for one in listed] for chat, listed in seen.chats.items()}
    said = {key for keys in sent.values() for key in keys}
    gone = taken_of(seen) if seen.gone_ok else set()  # a file that was to follow goes with the body of its message, where that ages out first
    return Outcome(sent, {key: chat for chat, key in files.values() if key in said - gone}, dict(texts), [one for one in came if one[1] not in gone])


def faults_when_drained(seen, rows, arrivals, bodies, files, fetch, outage):
    """After platforms have sent again what was not answered, and all was delivered. arrivals and bodies: those before the cut, too."""
    hook = [a for a, body in zip(arrivals, bodies) if is_from_hook(body)]
    report = check(history_of(seen, rows, hook, True, [outage]))
    faults = [f"{a.code} {a.key}: {a.what}" for a in report.anomalies if a.code != "A6"]
    wrong = judge(outcome_of(seen, rows, arrivals, bodies, files, fetch))
    return faults + [f"{what}: {', '.join(map(str, whose[:10]))}" for what, whose in wrong.items()]
