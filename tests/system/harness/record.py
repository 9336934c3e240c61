"""Histories for the checker, from what the harness recorded."""
import threading

from .checker import Arrival, History, Sent, Stored, check
from .common import PATIENCE_S, key_of


def sent_of(source, lane_of=None):
    with source.lock:
        return [Sent(s.key, lane_of(s) if lane_of else s.lane, s.text, s.first_try, s.acked) for s in source.sent if s.first_try is not None]


def arrivals_of(desk, lane_of=lambda body: body["conversation"]):
    return [Arrival(r.notes["key"], lane_of(r.notes["body"]), r.notes["body"]["text"], r.start, r.end, r.status, r.notes["webhook_id"],
                    applied=r.status is not None and 200 <= r.status < 300) for r in desk.posts()]


def stored_of(relay, lane_of=lambda item: item["conversation"]):
    return [Stored(key_of(i["text"]), i["state"], lane_of(i), i["text"]) for i in relay.messages(direction="inbound")]


class Sampler:
    """Asks for the status again and again while a test runs; keeps every sample (A11)."""

    def __init__(self, relay):
        self.relay, self.samples, self.stop = relay, [], threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stop.wait(0.01):
            try:
                self.samples.append(self.relay.status())
            except (OSError, AssertionError, ValueError):
                continue  # being killed or restarted

    def end(self):
        self.stop.set()
        self.thread.join(PATIENCE_S)
        return self.samples


def webhook_history(relay, source, desk, lane="conversation", **more):
    """Everything of a run with a signed-webhook source and desk, after its end."""
    by = (lambda d: d["conversation"]) if lane == "conversation" else (lambda d: d["account"])
    lane_of = None if lane == "conversation" else (lambda s: source.account)
    sent = sent_of(source, (lambda s: s.event["conversation"]) if lane == "conversation" else lane_of)
    texts = [("log", "\n".join(relay.lines))]
    return History(kills=relay.outages, sent=sent, arrivals=arrivals_of(desk, by), stored=stored_of(relay, by), public_texts=texts,
                   canaries=relay.leaks("\n".join(relay.lines)), **more)


def assert_good(history):
    report = check(history)
    assert report.good, "\n" + str(report)
    return report
