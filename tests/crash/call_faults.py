"""Calls of the network that fail: strace is attached to a thread of the running daemon and lets its n-th call of a name fail, once or from
then on, while a few messages come in and go out; then it lets go, and all must come to rest. Harness and checker are those of the
system tests."""
import collections
import glob
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from harness.checker import Arrival, History, Sent, check      # noqa: E402
from harness.client import WebhookSource                      # noqa: E402
from harness.common import PATIENCE_S, key_of, wait_for       # noqa: E402
from harness.desk import ScriptedDesk                         # noqa: E402
from harness.intercom import ScriptedIntercom                 # noqa: E402
from harness.record import arrivals_of, sent_of, stored_of    # noqa: E402
from harness.relay import Relay, account                      # noqa: E402
from harness.telegram import ScriptedTelegram                 # noqa: E402

Fault = collections.namedtuple("Fault", "thread call error stays")  # stays: from then on

HOLD_S = 0.4           # how long a fault that stays is looked at
SPIN_PER_S = 1500      # failing calls a second: more is a loop without a pause
IDLE_CPU = 0.25        # share of a core when nothing is to be done
MESSAGES, LANES = 4, 2
DELIVERY = {"settle": "50ms", "retry_base": "20ms", "retry_cap": "100ms", "max_attempts": 1000, "timeout": "5s"}
NEVER = 60             # calls that fail before it is believed that the end is not in sight


class Gone(Exception):
    """The daemon is about to end."""


def thread_of(relay, name):
    for path in glob.glob(f"/proc/{relay.pid}/task/*/comm"):
        try:
            with open(path) as file:
                if file.read().strip() == name:
                    return path.split("/")[-2]
        except OSError:
            break
    raise Gone(f"no thread {name}")


class Tracer:
    """strace on the running daemon, for one fault."""

    def __init__(self, relay, fault, number):
        self.trace = os.path.join(relay.directory, "faults")
        when = f"{number}+" if fault.stays else str(number)
        self.process = subprocess.Popen(["strace", "-yy", "-o", self.trace, "-e", f"trace={fault.call}", "-e", f"inject={fault.call}:error={fault.error}:when={when}",
                                         "-p", thread_of(relay, fault.thread)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        said = self.process.stderr.readline()
        if b"attached" not in said:
            self.leave()
            raise Gone(said)

    def hits(self):
        with open(self.trace, errors="replace") as file:
            return file.read().count("(INJECTED)")

    def at(self):
        """What the last call that failed was made on; an eventfd if any was: what is written about that fails, too."""
        with open(self.trace, errors="replace") as file:
            found = re.findall(r"\(\d+<(?:anon_inode:\[?)?([a-zA-Z0-9]+).*\(INJECTED\)", file.read())
        return "eventfd" if "eventfd" in found else found[-1] if found else "?"

    def leave(self):
        """The daemon goes on without it; how often a call failed."""
        self.process.send_signal(signal.SIGTERM)
        self.process.stderr.read()
        self.process.wait(PATIENCE_S)
        self.process.stderr.close()
        self.last = self.at()
        return self.hits()


class Bench:
    """A daemon with its desk and its platform, taken through many faults."""

    def __init__(self, directory, desk="webhook", platform="webhook", kept=False):
        """`kept`: connections are used again; else each request has one of its own."""
        self.desk_kind, self.platform, self.kept = desk, platform, kept
        self.desk = ScriptedDesk() if desk == "webhook" else ScriptedIntercom()
        self.telegram = ScriptedTelegram() if platform == "telegram" else None
        if not kept:
            self.desk.script = self._close_after
        sources = [self.telegram.config()] if self.telegram else None
        where = {"url": f"http://localhost:{self.desk.port}/in"} if desk == "webhook" else {}  # a name, to be looked up
        self.relay = Relay(directory, [account("acme", self.desk.config(**where), sources, order="conversation")], delivery=DELIVERY).allow(".*")
        self.source = WebhookSource(self.relay, "acme")
        self.pushed = []        # Sent, of a Telegram that is polled
        self.serial = 0
        self.ends = []          # (fault, n, how): the daemon ended by itself
        self.trouble = []
        self.tracer = None      # the last one
        self.relay.start()

    def _close_after(self, request):
        answer = self.desk.respond(request)
        answer.close = True
        return answer

    # The platform's side

    def send(self):
        """A few messages; each sender goes on until its own is taken. The threads and the messages' keys."""
        self.serial += 1
        if self.telegram:
            keys = [f"f{self.serial:04d}-{i}" for i in range(MESSAGES)]
            now = time.monotonic()
            self.telegram.push(*[self.telegram.message(key, chat=70 + i % LANES) for i, key in enumerate(keys)])
            self.pushed += [Sent(key, str(70 + i % LANES), None, now, now) for i, key in enumerate(keys)]
            return [], keys

        def lane(number):
            for i in range(MESSAGES // LANES):
                self.source.deliver(f"f{self.serial:04d}-{number}-{i}", f"conv{number}")
                if not self.kept:
                    self.source.hang_up()
            self.source.hang_up()
        threads = [threading.Thread(target=lane, args=(number,), daemon=True) for number in range(LANES)]
        for thread in threads:
            thread.start()
        return threads, [f"f{self.serial:04d}-{number}-{i}" for number in range(LANES) for i in range(MESSAGES // LANES)]

    def taken(self, keys):
        return set(keys) <= set(self.desk.keys())

    # One fault

    def cpu_s(self):
        with open(f"/proc/{self.relay.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def strike(self, fault, number):
        """True when a call failed."""
        tracer = self._tracer(fault, number)
        began = time.monotonic()
        threads, keys = self.send()
        if fault.stays:
            self._wait(lambda: tracer.hits() or self._well(threads, keys), "a call that fails", fault, number)
            before, since = tracer.hits(), time.monotonic()
            self._wait(lambda: time.monotonic() - since > HOLD_S or not before, "time", fault, number)
            rate = (tracer.hits() - before) / HOLD_S
            if rate > SPIN_PER_S:
                self.trouble.append(f"{fault} from {number} on: {rate:.0f} failing calls a second")
        else:
            self._wait(lambda: self._well(threads, keys), "messages at the desk", fault, number)
        hits = tracer.leave()
        while not self._well(threads, keys):
            self._come_back(fault, number, tracer)
            self._wait(lambda: self._well(threads, keys), "messages at the desk when the fault was over", fault, number)
        self._come_back(fault, number, tracer)
        # What the desk answered while calls failed may not have been heard.
        self.relay.outages.append([began, time.monotonic()])
        return hits > 0

    def _tracer(self, fault, number):
        try:
            self.tracer = Tracer(self.relay, fault, number)
        except Gone:  # the last call that failed was fatal, though all messages had come through
            wait_for(lambda: not self.relay.running, "the end of the daemon")
            self._come_back(fault, number - 1, self.tracer)
            self.tracer = Tracer(self.relay, fault, number)
        return self.tracer

    def _well(self, threads, keys):
        """All came through, and the last answers were heard: nothing is pending."""
        return not any(t.is_alive() for t in threads) and self.taken(keys) and self._settled()

    def _settled(self):
        try:
            return self.relay.status()["pending"] == 0
        except OSError:  # it is about to end
            return False

    def _wait(self, condition, what, fault, number):
        wait_for(lambda: condition() or not self.relay.running, f"{what} ({fault}, {number})", 3 * PATIENCE_S)

    def _come_back(self, fault, number, tracer):
        """A daemon that ended by itself is started again."""
        if self.relay.running:
            return
        status = self.relay.wait_end()
        self.ends.append((fault, number, status, tracer.last))
        self.relay.start()

    def sweep(self, fault):
        """For n = 1, 2, 3 ... until nothing fails; how many n."""
        number = 1
        while self.strike(fault, number):
            number += 1
            if number > NEVER:
                self.trouble.append(f"{fault}: no end of it")
                break
        self._rest(fault)
        return number - 1

    def sweep_start(self, call, error):
        """The n-th such call of any thread fails while the daemon starts, for each n: it says why and ends, or is well."""
        threads, keys = self.send()
        self._wait(lambda: self._well(threads, keys), "messages at the desk", call, 0)
        self.relay.stop()
        trace = os.path.join(self.relay.directory, "faults")
        for number in range(1, NEVER):
            self.relay.wrapper = ["strace", "-f", "-qq", "-o", trace, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
            self.relay.start(wait=False)
            start = self.relay.starts
            self._wait(lambda: any(e["_start"] == start and e["event"] == "ready" for e in self.relay.logged("ready")), "a start", call, number)
            if self.relay.running:
                self.relay.kill()
            else:
                self.ends.append((Fault("start", call, error, False), number, self.relay.wait_end(), "start"))
            with open(trace, errors="replace") as file:
                if "(INJECTED)" not in file.read():
                    break
        self.relay.wrapper = []
        self.relay.start()
        return number - 1

    def _rest(self, fault):
        """Nothing is pending, and the daemon sleeps."""
        self.relay.wait_settled()
        before, since = self.cpu_s(), time.monotonic()
        wait_for(lambda: time.monotonic() - since > HOLD_S, "time")
        used = (self.cpu_s() - before) / (time.monotonic() - since)
        if used > IDLE_CPU:
            self.trouble.append(f"{fault}: {used:.0%} of a core with nothing to do")

    # The end

    def history(self):
        lane_of = lambda item: item["conversation"]
        sent = self.pushed if self.telegram else sent_of(self.source)
        stored = stored_of(self.relay, lane_of)
        for one in self.pushed:
            one.text = next((s.text for s in stored if s.key == one.key), None)
        history = History(sent=sent, kills=self.relay.outages, stored=stored)
        if self.desk_kind == "webhook":
            history.arrivals = arrivals_of(self.desk)
        else:
            lane = {s.key: s.lane for s in sent}
            history.arrivals = [Arrival(r.notes["key"], lane.get(r.notes["key"], "?"), r.json["body"], r.start, r.end, r.status, applied=False)
                                for r in self.desk.writes()]
            history.shown = [[key_of(body) for body, _ in thread] for thread in self.desk.threads_of().values()]
        return history

    def judge(self):
        """The checker's report; the store is verified, and the daemon stops in order."""
        self.relay.wait_settled()
        self.relay.verify()
        self.relay.check_sum()
        report = check(self.history())
        self.relay.stop()
        return report

    def end(self):
        if self.relay.process is not None:
            self.relay.kill()
        for server in (self.desk, self.telegram):
            if server:
                server.stop()
