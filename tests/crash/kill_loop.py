#!/usr/bin/python3
"""kill -9 in a loop:  tests/crash/kill_loop.py [--desk webhook|intercom] [--order account|conversation] [--kills N] [--seed S]

Senders that go on until they get a 2xx, as platforms do, over several lanes; a desk that keeps a journal and fails now and then; the
relay is killed at random moments and started again. At the end everything drains, and the checker counts what was lost, doubled and
reordered. `tributary verify` must hold. Exit status 0 when nothing was.
"""
import argparse
import os
import random
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from harness.checker import Arrival, History, check          # noqa: E402
from harness.client import Crowd, WebhookSource              # noqa: E402
from harness.common import PATIENCE_S, key_of, wait_for  # noqa: E402
from harness.desk import ScriptedDesk                        # noqa: E402
from harness.intercom import IS_CREATE, IS_REPLY, ScriptedIntercom, errors  # noqa: E402
from harness.record import arrivals_of, sent_of, stored_of   # noqa: E402
from harness.relay import Relay, account                     # noqa: E402
from harness.scripted import Answer, Drop                    # noqa: E402


def webhook_faults(chance):
    ways = [lambda: Answer(500), lambda: Answer(503), lambda: Drop(), lambda: Answer(200, delay_s=0.02)]
    return lambda request: chance.choice(ways)() if request.method == "POST" and chance.random() < 0.05 else None


def intercom_faults(intercom, chance):
    """A share of the writes loses its answer, half of them after they were carried out."""
    ways = [lambda: Drop(), lambda: Answer(500, errors("server_error")), lambda: Answer(504)]

    def script(request):
        if not (IS_REPLY(request) or IS_CREATE(request)) or chance.random() >= 0.03:
            return None
        if chance.random() < 0.5:
            intercom.respond(request)
        return chance.choice(ways)()
    return script


class Loop:
    def __init__(self, directory, desk="webhook", order="conversation", kills=15, seed=1, lanes=6, per_lane=None):
        self.chance = random.Random(seed)
        self.kind, self.order, self.kills = desk, order, kills
        self.desk = ScriptedDesk() if desk == "webhook" else ScriptedIntercom()
        faults = random.Random(seed + 1)
        self.desk.script = webhook_faults(faults) if desk == "webhook" else intercom_faults(self.desk, faults)
        self.relay = Relay(directory, [account("acme", self.desk.config(), order=order)],
                           delivery={"settle": "100ms", "retry_base": "20ms", "retry_cap": "200ms", "max_attempts": 100}).allow(".*")
        self.source = WebhookSource(self.relay, "acme")
        self.lanes, self.per_lane = lanes, per_lane or 100_000

    def moment(self):
        """Waits for a random moment: some messages more sent or taken, then an instant."""
        target = self.chance.randrange(1, 40)
        if self.chance.random() < 0.5:
            start = self.crowd.acked()
            wait_for(lambda: self.crowd.acked() - start >= target or self.crowd.done(), "more messages answered", poll_s=0.01)
        else:
            start = len(self.desk.journal)
            self.desk.wait_requests(lambda journal: len(journal) - start >= target, "more requests at the desk")
        threading.Event().wait(self.chance.random() * 0.03)

    def strike(self):
        """All the kills, while the senders send. The relay runs before and afterwards."""
        for _ in range(self.kills):
            self.moment()
            self.relay.kill()
            self.relay.start()

    def run(self):
        self.relay.start()
        self.crowd = Crowd(self.source, self.lanes, self.per_lane)
        self.strike()
        self.crowd.stop.set()
        self.crowd.join()
        self.desk.script = None
        self.relay.wait_settled(6 * PATIENCE_S)
        self.relay.verify()
        self.relay.check_sum()
        history = self.history()
        self.relay.stop()
        return history

    def history(self):
        whole = self.order == "account"
        lane_of_sent = (lambda s: "acme") if whole else (lambda s: s.event["conversation"])
        history = History(sent=sent_of(self.source, lane_of_sent), kills=self.relay.outages,
                          stored=stored_of(self.relay, (lambda i: "acme") if whole else (lambda i: i["conversation"])),
                          public_texts=[("log", "\n".join(self.relay.lines))], canaries=self.relay.leaks("\n".join(self.relay.lines)))
        if self.kind == "webhook":
            history.arrivals = arrivals_of(self.desk, (lambda b: "acme") if whole else (lambda b: b["conversation"]))
        else:
            lane = {s.key: s.lane for s in history.sent}
            history.arrivals = [Arrival(r.notes["key"], lane.get(r.notes["key"], "?"), r.json["body"], r.start, r.end, r.status, applied=False)
                                for r in self.desk.writes()]
            history.shown = [[key_of(body) for body, _ in thread] for thread in self.desk.threads_of().values()]
        return history

    def end(self):
        if self.relay.process is not None:
            self.relay.kill()
        self.desk.stop()
        if self.desk.trouble:
            raise AssertionError("\n".join(self.desk.trouble[:20]))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--desk", choices=("webhook", "intercom"), default="webhook")
    parser.add_argument("--order", choices=("account", "conversation"), default="conversation")
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="tributary-kill-") as directory:
        loop = Loop(directory, options.desk, options.order, options.kills, options.seed)
        try:
            report = check(loop.run())
        finally:
            loop.end()
    print(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
