"""The checker: reads what senders, desk, store and log recorded and finds what the promise forbids (codes A1 to A13).

It knows nothing of the daemon: plain records in, anomalies out. Times are seconds of one monotonic clock. A message is known by its
key; keys are unique in a history.
"""
from collections import namedtuple
from dataclasses import dataclass, field

MEANING = {
    "A1": "lost: acknowledged, and neither at the desk nor in the store",
    "A2": "phantom: at the desk, never sent",
    "A3": "altered: another text than was sent",
    "A4": "reordered within a lane",
    "A5": "doubled although success was on record, or a key or a look-up could have told",
    "A6": "doubled after a recorded doubt (a desk without key and look-up): counted; without a record it is A5",
    "A7": "skipped ahead: the next message tried before the one before was settled",
    "A8": "stuck: not settled though all faults have ended",
    "A9": "two requests of one lane at the desk at the same time",
    "A10": "acknowledged before it was stored",
    "A11": "the sum was broken at a sampled moment",
    "A12": "a secret or a text in a log, metric or trace",
    "A13": "the same event stored twice",
}

Anomaly = namedtuple("Anomaly", "code key what")


@dataclass
class Sent:
    """A message as its sender saw it."""
    key: str
    lane: str
    text: str
    first_try: float
    acked: float = None  # when it was answered 2xx; None: never


@dataclass
class Arrival:
    """A request at the desk that carried a message."""
    key: str
    lane: str
    text: str
    start: float
    end: float = None        # None: until the end of the history
    status: int = None       # what was answered; None: nothing
    identity: str = None     # the idempotency key of the request (webhook-id); None: the desk has no keys
    applied: bool = True     # the desk took it


@dataclass
class Stored:
    """A message of the store, in its order of acceptance."""
    key: str
    state: str               # pending, delivered, skipped, discarded
    lane: str = None
    text: str = None
    settled: float = None    # when, if known


@dataclass
class History:
    sent: list = field(default_factory=list)
    arrivals: list = field(default_factory=list)   # in order of arrival
    stored: list = None                            # None: not looked at
    shown: list = None       # of a desk without keys: its threads, each the keys that an agent sees, in order; None: the desk has keys
    drained: bool = True     # faults have ended and the bound has passed: nothing may be pending
    kills: list = field(default_factory=list)      # [killed, ready again]: a success at the desk around it may not be on record
    doubts: set = field(default_factory=set)       # keys recorded as in doubt and sent again (desk without key and look-up)
    retried_by_hand: set = field(default_factory=set)
    trace: list = field(default_factory=list)      # ("stored" | "acked", key) in order
    sums: list = field(default_factory=list)       # sampled status objects
    public_texts: list = field(default_factory=list)   # (name, text): logs, metrics, traces
    canaries: list = field(default_factory=list)

    def died_between(self, first, later):
        return any(killed <= later and (ready is None or ready >= first) for killed, ready in self.kills)

    @property
    def seen(self):
        """All keys that agents see."""
        return [key for thread in self.shown or [] for key in thread]


@dataclass
class Report:
    anomalies: list
    counts: dict

    def of(self, code):
        return [a for a in self.anomalies if a.code == code]

    @property
    def good(self):
        return not [a for a in self.anomalies if a.code != "A6"]

    def __str__(self):
        lines = [f"{k}: {v}" for k, v in self.counts.items()]
        lines += [f"{a.code} {a.key or ''} ({MEANING[a.code]}): {a.what}" for a in self.anomalies[:30]]
        return "\n".join(lines)


def ok(status):
    return status is not None and 200 <= status < 300


def check(history):
    """A Report; `report.good` is what tests assert."""
    found = []
    for rule in RULES:
        found += rule(history)
    return Report(found, counts(history, found))


def counts(history, found):
    first = {}
    for a in history.arrivals:
        first.setdefault((a.key, a.identity), 0)
        first[(a.key, a.identity)] += 1
    return {"sent": len(history.sent), "acked": sum(1 for s in history.sent if s.acked is not None), "requests": len(history.arrivals),
            "repeated": sum(n - 1 for n in first.values()), "kills": len(history.kills),
            "lost": len([a for a in found if a.code == "A1"]), "doubled": len([a for a in found if a.code in ("A5", "A6", "A13")]),
            "reordered": len([a for a in found if a.code in ("A4", "A7")])}


def by_lane(history):
    lanes = {}
    for arrival in history.arrivals:
        lanes.setdefault(arrival.lane, []).append(arrival)
    return lanes


def lost(history):
    """A1. After a drain "in the store" means settled there with a reason or delivered; a delivered one must be at the desk."""
    taken = {a.key for a in history.arrivals if a.applied} | set(history.seen)
    stored = {s.key: s for s in history.stored or []}
    for sent in history.sent:
        if sent.acked is None:
            continue
        row = stored.get(sent.key)
        if sent.key not in taken and row is None:
            yield Anomaly("A1", sent.key, "gone")
        elif sent.key not in taken and row.state == "delivered":
            yield Anomaly("A1", sent.key, "recorded as delivered, but the desk has never seen it")
        elif history.stored is not None and row is None:
            yield Anomaly("A1", sent.key, "at the desk, but not in the store")
    if history.shown is not None:
        seen = set(history.seen)
        for row in stored.values():
            if row.state == "delivered" and row.key not in seen and row.key in taken:
                yield Anomaly("A1", row.key, "recorded as delivered, but no agent can see it")


def phantom(history):
    known = {s.key for s in history.sent}
    for key in dict.fromkeys([a.key for a in history.arrivals] + history.seen):
        if key not in known:
            yield Anomaly("A2", key, "nobody sent it")
    for row in history.stored or []:
        if row.key not in known:
            yield Anomaly("A2", row.key, "in the store, but nobody sent it")


def altered(history):
    texts = {s.key: s.text for s in history.sent}
    for a in history.arrivals:
        if a.key in texts and a.text != texts[a.key]:
            yield Anomaly("A3", a.key, f"{a.text!r} for {texts[a.key]!r}")
    for row in history.stored or []:
        if row.text is not None and row.key in texts and row.text != texts[row.key]:
            yield Anomaly("A3", row.key, f"in the store {row.text!r} for {texts[row.key]!r}")


def first_places(arrivals):
    places = {}
    for i, arrival in enumerate(arrivals):
        places.setdefault(arrival.key, i)
    return places


def reordered(history):
    """A4. The store's order must agree with the senders' clocks; first arrivals must follow the store's order (or the senders', when
    the store was not looked at). Two messages of a lane are ordered when one was acknowledged before the other was first tried."""
    sent = {s.key: s for s in history.sent}
    lane_of = {s.key: s.lane for s in history.sent}
    by_hand = history.retried_by_hand
    if history.stored is not None:
        lanes = {}
        for row in history.stored:
            if row.key in sent:
                lanes.setdefault(row.lane or lane_of[row.key], []).append(row.key)
        for keys in lanes.values():
            yield from against_clock([sent[k] for k in keys], "in the store")
    for lane, arrivals in by_lane(history).items():
        keys = [k for k in first_places(arrivals) if k in sent and k not in by_hand]
        if history.stored is None:
            yield from against_clock([sent[k] for k in keys], "at the desk")
            continue
        place = {row.key: i for i, row in enumerate(history.stored)}
        for before, after in zip(keys, keys[1:]):
            if before in place and after in place and place[before] > place[after]:
                yield Anomaly("A4", after, f"at the desk after {before}, in lane {lane}")
    if history.shown is not None:
        for thread in history.shown:
            yield from against_clock([sent[k] for k in dict.fromkeys(thread) if k in sent and k not in by_hand], "as agents see it")


def against_clock(listed, where):
    """Anything listed before something that was acknowledged before it was even tried."""
    earliest_ack = None
    for later in reversed(listed):
        if earliest_ack is not None and earliest_ack.acked < later.first_try:
            yield Anomaly("A4", later.key, f"{where} before {earliest_ack.key}, which was acknowledged first")
        if later.acked is not None and (earliest_ack is None or later.acked < earliest_ack.acked):
            earliest_ack = later


def doubled(history):
    """A5 and A6."""
    if history.shown is not None:
        seen = set()
        for key in history.seen:
            if key in seen:
                yield Anomaly("A6" if key in history.doubts else "A5", key, "an agent sees it twice")
            seen.add(key)
        return
    done = {}
    identities = {}
    for a in history.arrivals:
        before = identities.setdefault(a.key, a.identity)
        if a.identity != before and a.key not in history.retried_by_hand:
            yield Anomaly("A6" if a.key in history.doubts else "A5", a.key, f"came as {before} and as {a.identity}")
        if a.key in done and a.key not in history.retried_by_hand:
            if a.identity is None:
                yield Anomaly("A6" if a.key in history.doubts else "A5", a.key, "taken twice by a desk without keys")
            elif not history.died_between(done[a.key], a.start):
                yield Anomaly("A5", a.key, "sent again after it was answered 2xx, and the relay had not died between")
        if ok(a.status) or (a.identity is None and a.applied):
            done[a.key] = a.start


def skipped_ahead(history):
    """A7: in a lane, once the first request for n+1 started, n is never seen again, and n was settled."""
    settled_by_rule = {s.key for s in history.stored or [] if s.state in ("skipped", "discarded")}
    for lane, arrivals in by_lane(history).items():
        last = None
        closed = set()
        ended_well = {}
        for a in arrivals:
            if a.key in history.retried_by_hand:
                continue
            if a.key in closed:
                yield Anomaly("A7", a.key, f"tried again after a later message of lane {lane}")
            if last is not None and a.key != last:
                closed.add(last)
                if history.stored is not None and not ended_well.get(last) and last not in settled_by_rule and history.shown is None:
                    yield Anomaly("A7", a.key, f"tried though {last} was neither taken nor settled, in lane {lane}")
            last = a.key
            ended_well[a.key] = ended_well.get(a.key) or ok(a.status)


def stuck(history):
    if history.drained:
        for row in history.stored or []:
            if row.state == "pending":
                yield Anomaly("A8", row.key, "pending")


def overlapping(history):
    """A9. A request that the relay gave up on without an answer counts until its connection was closed."""
    for lane, arrivals in by_lane(history).items():
        open_until = open_key = open_start = None
        for a in sorted(arrivals, key=lambda a: a.start):
            if open_until is not None and a.start < open_until and not history.died_between(open_start, a.start):
                yield Anomaly("A9", a.key, f"began while {open_key} was at the desk, in lane {lane}")
            end = float("inf") if a.end is None else a.end
            if open_until is None or end > open_until:
                open_until, open_key, open_start = end, a.key, a.start


def early(history):
    stored = set()
    for what, key in history.trace:
        if what == "stored":
            stored.add(key)
        elif key not in stored:
            yield Anomaly("A10", key, "the answer left first")


def sums(history):
    for sample in history.sums:
        if sample["accepted"] != sample["delivered"] + sample["pending"] + sample["skipped"] + sample["discarded"]:
            yield Anomaly("A11", None, str({k: sample[k] for k in ("accepted", "delivered", "pending", "skipped", "discarded")}))


def told(history):
    for name, text in history.public_texts:
        for canary in history.canaries:
            if canary in text:
                yield Anomaly("A12", None, f"{canary!r} in {name}")


def stored_twice(history):
    seen = set()
    for row in history.stored or []:
        if row.key in seen:
            yield Anomaly("A13", row.key, "two rows")
        seen.add(row.key)


RULES = [lost, phantom, altered, reordered, doubled, skipped_ahead, stuck, overlapping, early, sums, told, stored_twice]
