#!/usr/bin/python3
"""A hostile network:  tests/hostile/network.py [--only NAME ...] [--seconds 15] [--calm 5] [--rate 50] [--list]

The real daemon with a scripted desk, and two honest platforms that send it signed webhooks at a steady rate, over kept connections and
over new ones: one from this machine, one from the very address that the attackers come from, as if both were behind one proxy. Before,
while and after clients do their worst from a network of their own (a namespace; needs root), each webhook's way is timed from the moment when it
was to be sent until it is answered 2xx.

Exit status 0: in each scenario every honest webhook was answered, 99 of 100 within a second, also those over new connections alone; the
daemon's memory grew by at most its bound; descriptors and connections came back; what was answered came to the desk once, in its
order. And the controls were found out: a toy server without limits.
"""
import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))
from harness.checker import check                                # noqa: E402
from harness.client import Sent, WebhookSource, call             # noqa: E402
from harness.common import free_port, make_secret, wait_for      # noqa: E402
from harness.desk import ScriptedDesk                            # noqa: E402
from harness.record import webhook_history                       # noqa: E402
from harness.relay import TOKEN, Relay, account, webhook_source  # noqa: E402
from harness.telegram import ScriptedTelegram                    # noqa: E402

P99_S, FILES_SLACK, RETURN_S = 1.0, 2, 100
GROWTH_MIB = 256  # 16,384 connections of 5 KiB, and 80 MiB of unfinished requests in buffers that may be twice as large
FILE_BYTES = 15 << 20


# ---- what there is to do

def slow(mode, *options, count=2000, path="hook"):
    """slowhttptest, `count` connections, opened within a few seconds: those of its kind last for ten at most."""
    return lambda place: place.slowhttptest(mode, path, count, *options)


def attack(kind, count, path="hook", port="port", cut=False):
    return lambda place: place.attack(kind, count, path, port, cut)


def both(*attacks):
    return lambda place: [started for each in attacks for started in each(place)]


class Scenario:
    """`files`: the daemon's limit of descriptors, None = as many as there may be; `media`: it keeps a big file; `reach`: so many
    descriptors it must have had at least, or the attack did not take place."""

    def __init__(self, start, files=None, media=False, reach=0):
        self.start, self.files, self.media, self.reach = start, files, media, reach


SCENARIOS = {
    "nothing": Scenario(lambda place: []),
    "slow-heads": Scenario(slow("-H", "-i", "5", "-x", "24"), reach=1000),
    "slow-bodies": Scenario(slow("-B", "-i", "5", "-s", "65536", "-x", "24", "-f", "application/json"), reach=1000),
    "ranges": Scenario(slow("-R", "-a", "1", "-b", "3000")),
    "slow-reading": Scenario(slow("-X", "-w", "1", "-y", "512", "-z", "5", "-k", "3")),
    "ranges-of-a-file": Scenario(slow("-R", "-t", "GET", "-a", "1", "-b", "3000", path="media"), media=True),
    "slow-reading-of-a-file": Scenario(slow("-X", "-w", "1", "-y", "512", "-z", "5", "-k", "3", path="media"), media=True),
    "half-open": Scenario(attack("half-head", 5000, cut=True), reach=4000),
    "half-open-idle": Scenario(attack("idle", 5000, cut=True), reach=5000),
    "zero-window": Scenario(attack("zero-window", 2000, path="media"), media=True, reach=1900),
    "pipelined-health": Scenario(attack("pipelined-health", 500), reach=450),
    "pipelined-forged": Scenario(attack("pipelined-forged", 500), reach=450),
    "garbage": Scenario(attack("garbage", 100)),
    "tls": Scenario(attack("tls", 100)),
    "resets": Scenario(both(attack("rst", 50), attack("rst-in-head", 50))),
    "forged": Scenario(attack("forged", 100)),
    "big-bodies": Scenario(attack("big-bodies", 1000), reach=64),
    "idle-10000": Scenario(attack("idle", 10000), reach=9500),
    "idle-18000": Scenario(both(attack("idle", 9000), attack("idle", 9000)), reach=9500),
    "1024-files-idle": Scenario(attack("idle", 5000), files=1024, reach=512),
    "1024-files-slow-heads": Scenario(slow("-H", "-i", "5", "-x", "24"), files=1024, reach=512),
    "1024-files-slow-bodies": Scenario(slow("-B", "-i", "5", "-s", "65536", "-x", "24", "-f", "application/json"), files=1024),
    "256-files-half-heads": Scenario(attack("half-head", 2000), files=256),
    "1024-files-admin-idle": Scenario(attack("idle", 5000, port="admin_port"), files=1024),
    "1024-files-both-doors": Scenario(both(attack("half-head", 5000), attack("half-head", 2000, port="admin_port")), files=1024),
    "256-files-both-doors": Scenario(both(attack("half-head", 5000), attack("half-head", 2000, port="admin_port")), files=256),
}


# ---- a network for those who attack

class Network:
    """A namespace at the end of a cable: `here` is our end, `.2` honest people and attackers behind one proxy, `.3` those who vanish."""

    def __init__(self):
        number = os.getpid() % 60000
        net = f"10.{200 + number // 256 % 50}.{number % 256}"
        self.name, self.cable = f"tributary-net-{number}", f"tn{number}"
        self.here, self.there, self.vanishing = (f"{net}.{i}" for i in (1, 2, 3))

    def __enter__(self):
        inner = ["ip", "-n", self.name]
        for command in (["ip", "netns", "add", self.name], ["ip", "link", "add", self.cable, "type", "veth", "peer", "name", "cable", "netns", self.name],
                        ["ip", "addr", "add", self.here + "/24", "dev", self.cable], ["ip", "link", "set", self.cable, "up"],
                        inner + ["addr", "add", self.there + "/24", "dev", "cable"], inner + ["addr", "add", self.vanishing + "/24", "dev", "cable"],
                        inner + ["link", "set", "cable", "up"], inner + ["link", "set", "lo", "up"],
                        self.inside("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535")):
            subprocess.run(command, check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "link", "del", self.cable], check=False)
        subprocess.run(["ip", "netns", "del", self.name], check=False)

    def inside(self, *command):
        return ["ip", "netns", "exec", self.name, *command]

    def cut(self, on):
        """Nothing that comes from the vanishing address arrives any more."""
        subprocess.run(["ip", "-n", self.name, "rule", "add" if on else "del", "from", self.vanishing, "blackhole"], check=True)


# ---- those who attack

class Attacker:
    """A process."""

    def __init__(self, network, command, wanted=subprocess.DEVNULL):
        self.process = subprocess.Popen(network.inside(*command), stdin=subprocess.PIPE, stdout=wanted, stderr=subprocess.DEVNULL, text=True)
        self.said = None

    def wait(self, seconds):
        """Until it has done what it came for; connections may be held on."""
        if self.process.stdout:
            self.said = self.process.stdout.readline().strip()
        else:
            threading.Event().wait(seconds)

    def end(self):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


class Place:
    """Where a scenario happens."""

    def __init__(self, network, seconds, ports, paths):
        self.network, self.seconds, self.ports, self.paths = network, seconds, ports, paths
        self.cut = False

    def slowhttptest(self, mode, path, count, *options):
        url = f"http://{self.network.here}:{self.ports['port']}{self.paths[path]}"
        return [Attacker(self.network, ["slowhttptest", mode, "-c", str(count), "-r", str(count), "-l", str(self.seconds), "-p", "60", "-u", url, *options])]

    def attack(self, kind, count, path, port, cut):
        self.cut = cut
        where = [self.network.here, str(self.ports[port]), self.paths[path], str(self.seconds), str(count)]
        bind = [self.network.vanishing] if cut else []
        # Nicer than the others: it is not the machine that is under test.
        return [Attacker(self.network, ["nice", "-n", "10", "/usr/bin/python3", os.path.join(HERE, "attacks.py"), kind, *where, *bind], subprocess.PIPE)]


# ---- those who are honest

class Honest:
    """A process of honest.py."""

    def __init__(self, wrap, host, port, secret, prefix, rate):
        command = [*wrap, "/usr/bin/python3", os.path.join(HERE, "honest.py"), host, str(port), "acme", secret, prefix, str(rate)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self):
        out, _ = self.process.communicate(timeout=300)
        return [json.loads(line) for line in out.splitlines()]


class Asked(threading.Thread):
    """How long the admin side takes to answer on its Unix socket, asked ten times a second."""

    def __init__(self, relay):
        super().__init__(daemon=True)
        self.relay, self.over, self.took, self.failed = relay, threading.Event(), [], 0
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            began = time.monotonic()
            try:
                assert self.relay.api("GET", "/api/v1/status", where="socket").status == 200
                self.took.append(time.monotonic() - began)
            except (OSError, AssertionError):
                self.failed += 1

    def end(self):
        self.over.set()
        self.join()


class Watch(threading.Thread):
    """Memory, descriptors and processor time of a process."""

    def __init__(self, pid, desk_port):
        super().__init__(daemon=True)
        self.pid, self.desk_port, self.over = pid, desk_port, threading.Event()
        self.most_kib = self.most_files = 0
        self.start()

    def now(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            times = file.read().rpartition(")")[2].split()
        return rss, len(os.listdir(f"/proc/{self.pid}/fd")), (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def own_files(self):
        """Descriptors, connections to the desk left out: how many of these are kept is the desk's affair."""
        with open("/proc/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
        to_desk = {f"socket:[{row[9]}]" for row in rows if int(row[2].split(":")[1], 16) == self.desk_port}
        found = 0
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found += os.readlink(f"/proc/{self.pid}/fd/{fd}") not in to_desk
        return found

    def run(self):
        while not self.over.wait(0.05):
            rss, files, _ = self.now()
            self.most_kib, self.most_files = max(self.most_kib, rss), max(self.most_files, files)

    def end(self):
        self.over.set()
        self.join()


# ---- one scenario

def times_of(records, begin, end, kept=None):
    """(how many, half within, 99 % within, the longest) of what was to be sent in between; what was never answered took for ever."""
    took = sorted((r["acked"] or float("inf")) - r["at"] for r in records if begin <= r["at"] < end and kept in (None, r["kept"]))
    return (len(took), took[len(took) // 2], took[int(len(took) * 0.99)], took[-1]) if took else (0, 0.0, 0.0, 0.0)


def faults_of(records, begin, end):
    """What is wrong with how honest people were served."""
    found = []
    for name, kept in (("all", None), ("kept connections", True), ("new connections", False)):
        count, _, p99, _ = times_of(records, begin, end, kept)
        if not count or p99 > P99_S:
            found.append(f"99 % of {name} within {p99:.2f} s ({count})")
    unanswered = sum(1 for r in records if r["acked"] is None)
    return found + ([f"{unanswered} never answered"] if unanswered else [])


def shown(records, begin, end):
    text = ", ".join("%s %.0f/%.0f/%.0f ms" % ((name,) + tuple(1000 * t for t in times_of(records, begin, end, kept)[1:])) for name, kept in (("kept", True), ("new", False)))
    tries = [t for r in records if begin <= r["at"] < end for t in r["tries"] if t != 200]
    troubles = {str(t): tries.count(t) for t in sorted(set(tries), key=str)}
    return f"{text} ({times_of(records, begin, end)[0]})" + (f", again after {troubles}" if troubles else "")


def make_relay(directory, desk, telegram, secret, files):
    sources = [webhook_source(secret=secret)] + ([telegram.config(mode="polling")] if telegram else [])
    relay = Relay(directory, [account("acme", desk.config(), sources, order="conversation")], quota={"files": "none"})
    relay.config["listen"] = f"0.0.0.0:{relay.port}"
    relay.config["admin"]["listen"] = f"0.0.0.0:{relay.admin_port}"
    relay.config["public_url"] = "http://relay.example"
    relay.write_config()
    relay.wrapper = ["prlimit", f"--nofile={files}:{files}"] if files else []
    return relay.allow("accept_failed", "connections_full").start()


def keep_a_file(relay, desk, telegram):
    """The target of a link to a big file."""
    telegram.relay = relay
    telegram.push(telegram.document("file", os.urandom(FILE_BYTES), words="look"))
    desk.wait_taken(1, 60)
    url = desk.posts()[0].notes["body"]["attachments"][0]["url"]
    target = "/" + url.split("/", 3)[3]
    wait_for(lambda: call(relay.port, "HEAD", target).status == 200, "a kept file", 60)
    return target


def judge_record(relay, desk, records, secret):
    """What the checker of the promise finds, over all that was sent."""
    source = WebhookSource(relay, "acme", secret=secret)
    for record in records:
        one = Sent(record["key"], record["event"]["conversation"], record["event"])
        one.first_try, one.acked, one.tries = record["at"], record["acked"], len(record["tries"])
        source.sent.append(one)
    relay.wait_settled(60)
    history = webhook_history(relay, source, desk)
    history.arrivals = [a for a in history.arrivals if a.key != "file"]
    history.stored = [s for s in history.stored if s.key != "file"]
    return check(history)


def storm(network, scenario, place, watch, options):
    """(when it began, when it ended, what the attackers say)."""
    threading.Event().wait(options.calm)
    (rss, all_files, cpu), files = watch.now(), watch.own_files()
    watch.most_kib, watch.most_files = rss, all_files
    began = time.monotonic()
    attackers = scenario.start(place)
    try:
        for each in attackers:
            each.wait(options.seconds)
        if not attackers:
            threading.Event().wait(options.seconds)
        ended, after_cpu = time.monotonic(), watch.now()[2]
        if place.cut:
            network.cut(True)
    finally:
        for each in attackers:
            each.end()
    return {"began": began, "ended": ended, "rss": rss, "files": files, "cpu": (after_cpu - cpu) / (ended - began), "said": [each.said for each in attackers if each.said]}


def run(name, network, options):
    scenario, faults = SCENARIOS[name], []
    desk, telegram = ScriptedDesk(), ScriptedTelegram() if SCENARIOS[name].media else None
    secret = make_secret()
    with tempfile.TemporaryDirectory(prefix="tributary-net-") as directory, contextlib.ExitStack() as stack:
        for server in filter(None, (desk, telegram)):
            stack.callback(server.stop)
        relay = make_relay(directory, desk, telegram, secret, scenario.files)
        stack.callback(lambda: relay.process is not None and relay.kill())
        paths = {"hook": "/hooks/acme/hook", "media": keep_a_file(relay, desk, telegram) if telegram else None}
        place = Place(network, options.seconds, {"port": relay.port, "admin_port": relay.admin_port}, paths)
        honest = [Honest([], "127.0.0.1", relay.port, secret, "a", options.rate / 2),
                  Honest(network.inside(), network.here, relay.port, secret, "b", options.rate / 2)]
        stack.callback(lambda: [each.process.kill() for each in honest if each.process.poll() is None])
        watch, asked = Watch(relay.pid, desk.port), Asked(relay)
        start = time.monotonic()
        try:
            seen = storm(network, scenario, place, watch, options)
            asked.end()
            threading.Event().wait(options.calm)
            records = sum((each.end() for each in honest), [])
            try:
                wait_for(lambda: watch.own_files() <= seen["files"] + FILES_SLACK, "descriptors are back", RETURN_S, 0.2)
            except AssertionError:
                faults.append(f"{watch.own_files()} descriptors, {seen['files']} before")
            returned = time.monotonic() - seen["ended"]
        finally:
            if place.cut:
                network.cut(False)
            watch.end()
        report = judge_record(relay, desk, records, secret)
        rest_kib = watch.now()[0]
        verified = relay.cli("verify", "--socket", relay.socket, check=False).returncode
        relay.finish()
    grown = (watch.most_kib - seen["rss"]) / 1024
    faults += faults_of(records, seen["began"], seen["ended"])
    faults += [f"memory grew by {grown:.0f} MiB (bound {GROWTH_MIB})"] if grown > GROWTH_MIB else []
    faults += [f"no attack: {watch.most_files} descriptors at most"] if watch.most_files < scenario.reach else []
    faults += [str(report)] if not report.good else []
    faults += [f"verify: {verified}"] if verified else []
    took = sorted(asked.took)
    faults += [f"admin socket: {asked.failed} failed"] if asked.failed or not took else []
    print(f"{name}: {'GOOD' if not faults else 'BAD'}", *faults, sep="\n  FAULT " if faults else "")
    print(f"  half/99 %/longest: before {shown(records, start, seen['began'])}; meanwhile {shown(records, seen['began'], seen['ended'])}; "
          f"after {shown(records, seen['ended'], 1e18)}")
    print(f"  memory {seen['rss'] / 1024:.0f} MiB, +{grown:.0f} at most, +{(rest_kib - seen['rss']) / 1024:.0f} in the end; descriptors {seen['files']}, "
          f"{watch.most_files} at most, back after {returned:.0f} s; processor {100 * seen['cpu']:.0f} %; admin socket 99 % within "
          f"{1000 * took[int(len(took) * 0.99)] if took else 0:.0f} ms; attackers {' '.join(seen['said']) or 'as told'}", flush=True)
    return not faults


# ---- the control: a server without limits

TOY = """
import http.server, sys
class Toy(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 4096
http.server.ThreadingHTTPServer(('0.0.0.0', int(sys.argv[1])), Toy).serve_forever()
"""


def control(network, options):
    """A toy server with 1,024 descriptors and slow heads: the judge must find it out, and must find nothing while it is left alone."""
    port = free_port()
    toy = subprocess.Popen(["prlimit", "--nofile=1024:1024", "/usr/bin/python3", "-c", TOY, str(port)], stderr=subprocess.DEVNULL)
    attackers = []
    try:
        wait_for(lambda: not call_fails(port), "the toy server")
        place = Place(network, options.seconds, {"port": port}, {"hook": "/hooks/acme/hook"})
        honest = Honest([], "127.0.0.1", port, make_secret(), "a", options.rate / 2)
        start = time.monotonic()
        threading.Event().wait(options.calm)
        began = time.monotonic()
        attackers = slow("-H", "-i", "5", "-x", "24")(place)
        attackers[0].wait(options.seconds)
        ended = time.monotonic()
    finally:
        for each in attackers:
            each.end()
        toy.kill()
        toy.wait()
    records = honest.end()
    alone, found = faults_of([r for r in records if r["at"] < began - 1], start, began), faults_of(records, began, ended)
    good = bool(found) and not alone
    print(f"control, a toy server without limits: {'found out' if found else 'NOT FOUND OUT'} {found}; left alone {alone or 'good'}", flush=True)
    return good


def call_fails(port):
    try:
        call(port, "POST", "/", b"{}")
        return False
    except OSError:
        return True


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", nargs="*", help="scenarios, by name")
    parser.add_argument("--seconds", type=int, default=15, help="of each attack")
    parser.add_argument("--calm", type=int, default=5, help="seconds before and after it")
    parser.add_argument("--rate", type=float, default=50, help="honest webhooks a second")
    parser.add_argument("--list", action="store_true", help="the names of the scenarios")
    options = parser.parse_args()
    if options.list:
        print(*SCENARIOS, sep="\n")
        return 0
    if os.geteuid():
        print("did not run: a network namespace needs root")
        return 1
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bad = []
    with Network() as network:
        if not options.only:
            bad += [] if control(network, options) else ["control"]
        for name in options.only or SCENARIOS:
            bad += [] if run(name, network, options) else [name]
    print("GOOD" if not bad else "BAD: " + " ".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
