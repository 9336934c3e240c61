#!/usr/bin/python3
"""Files by the gigabyte beside texts:  tests/crash/loop_media.py [--messages 10000] [--size 1048576] [--chats 100] [--rate 200] [--calm 10] [--line 25] [--apart]

Customers of a scripted Telegram send `messages` messages with a file each, over `chats` conversations, all at once; a scripted Intercom
takes them as uploads. Meanwhile another account gets `rate` texts a second over a signed webhook and hands them to another one; `calm`
seconds of that alone, and as many beside programs that only keep the processors busy, come first, for comparison. `line` is what the
files come over, in MiB a second; without it they come as fast as they can. Every file is compared byte for byte where it arrives.

With --apart the relay, who sends texts and who gets them go before the scripted Telegram and Intercom and the busy programs, by a real-time
policy (root), as if those had machines of their own: then what the files cost is what the relay itself does with them.

Exit status 0: no text and no file was lost, doubled or changed, each conversation's came in order, and the relay's memory grew by at
most 64 MiB. Whether the texts kept their pace (99 of 100 within 1.5 times what it was before) is printed, and counts with --strict.
"""
import argparse
import collections
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from harness.client import WebhookSource                        # noqa: E402
from harness.common import make_secret                          # noqa: E402
from harness.relay import Relay, account, webhook_source        # noqa: E402
from media_peers import FIRST, TOKEN, Content, Intercom, Telegram, Texts, go_first  # noqa: E402

GROWTH_KIB, SLOWER, LANES, SENDERS = 64 << 10, 1.5, 50, 2


def memory_kib(pid):
    """(what is in memory, what of it no file holds)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        found = dict(re.findall(r"(VmRSS|RssAnon):\s+(\d+)", file.read()))
    return int(found["VmRSS"]), int(found["RssAnon"])


class Memory(threading.Thread):
    """The most that the relay had in memory from now on."""

    def __init__(self, relay):
        super().__init__(daemon=True)
        self.relay, self.over = relay, threading.Event()
        self.before = self.most = memory_kib(relay.pid)
        self.start()

    def run(self):
        while not self.over.wait(0.05):
            self.most = tuple(map(max, self.most, memory_kib(self.relay.pid)))

    def end(self):
        self.over.set()
        self.join()
        return [most - before for most, before in zip(self.most, self.before)]


class Talk(multiprocessing.Process):
    """Texts at a rate, until end(), from a process that does nothing else: what it measures is not how busy this one is."""

    def __init__(self, relay, rate, first):
        super().__init__(daemon=True)
        self.source, self.rate, self.first, self.over = WebhookSource(relay, "texts"), rate, first, multiprocessing.Event()
        self.here, self.there = multiprocessing.Pipe()
        self.start()
        self.there.close()  # the child's alone: when it dies, end() hears of it

    def run(self):
        if self.first:
            go_first()
        sent = {}  # number: when the sending began
        threads = [threading.Thread(target=self.send, args=(i, time.monotonic(), sent), daemon=True) for i in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.there.send(sent)

    def send(self, mine, start, sent):
        pause = threading.Event()
        for number in range(mine, 1 << 60, SENDERS):
            pause.wait(max(0.0, start + number / self.rate - time.monotonic()))
            if self.over.is_set():
                return
            event = {"id": f"t{number}", "conversation": f"c{number % LANES}", "sender": {"id": "u", "name": "Ada"}, "text": f"text {number}"}
            sent[number] = time.monotonic()
            answer = self.source.post(event)
            assert answer.status == 200, answer

    def end(self):
        self.over.set()
        return self.here.recv()


def keep_busy(seconds):
    """As many programs as there are processors, as nice as the peers, that have nothing to do with the relay: what it costs texts that the machine is busy."""
    others = [subprocess.Popen(["nice", "-n", "10", "sha256sum", "/dev/zero"], stdout=subprocess.DEVNULL) for _ in range(os.cpu_count())]
    threading.Event().wait(seconds)
    for other in others:
        other.kill()
        other.wait()


def p99(sent, came, begin, end):
    took = sorted(came[n] - at for n, at in sent.items() if begin <= at < end and n in came)
    return (took[int(len(took) * 0.99)] * 1000, took[len(took) // 2] * 1000, len(took)) if took else (0.0, 0.0, 0)


def faults_of(messages, chats, report):
    """{what: how many} of texts and files at the desk."""
    faults, where = collections.Counter(), {}
    words = collections.defaultdict(list)
    for conversation, body in report["words"]:
        for number in re.findall(r"file (\d+)(?!\S)", body):
            words[conversation].append(int(number))
            where[int(number)] = conversation
    said = collections.Counter(number for each in words.values() for number in each)
    files = collections.Counter(number for _, number in report["files"] if number >= 0)
    faults["lost texts"] = sum(1 for n in range(messages) if not said[n])
    faults["doubled texts"] = sum(1 for n in said if said[n] > 1)
    faults["lost files"] = sum(1 for n in range(messages) if not files[n])
    faults["doubled files"] = sum(1 for n in files if files[n] > 1)
    faults["changed files"] = len(report["odd"])
    faults["reordered texts"] = sum(a > b for each in words.values() for a, b in zip(each, each[1:]))
    order = collections.defaultdict(list)
    for conversation, number in report["files"]:
        order[conversation].append(number)
        faults["misplaced files"] += number >= 0 and where.get(number) != conversation
    faults["reordered files"] = sum(a > b for each in order.values() for a, b in zip(each, each[1:]))
    assert len({n % chats for n in where}) <= chats
    return +faults


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--messages", type=int, default=10000)
    parser.add_argument("--size", type=int, default=1 << 20, help="bytes of a file")
    parser.add_argument("--chats", type=int, default=100)
    parser.add_argument("--rate", type=int, default=200, help="texts a second")
    parser.add_argument("--calm", type=int, default=10, help="seconds of texts alone")
    parser.add_argument("--line", type=float, default=float("inf"), help="MiB of files a second that the scripted Telegram gives at most")
    parser.add_argument("--apart", action="store_true", help="the texts' processes before those of the files' peers")
    parser.add_argument("--patience", type=int, default=1800, help="seconds for all of it")
    parser.add_argument("--strict", action="store_true", help="the pace of texts counts, too")
    options = parser.parse_args()
    content = Content(options.size)
    telegram, intercom, texts = Telegram(options.messages, options.chats, content, 10, options.line * (1 << 20)), Intercom(content, 10, options.messages), Texts(options.apart)
    for peer in (telegram, intercom, texts):
        peer.start()
    with tempfile.TemporaryDirectory(prefix="tributary-media-") as directory:
        source = {"name": "bot", "platform": "telegram", "mode": "polling", "token": TOKEN, "api_url": telegram.url}
        desk = {"platform": "intercom", "token": "workspace-token", "client_secret": "client-secret-kanarie", "api_url": intercom.url}
        signed = {"platform": "webhook", "url": texts.url + "/in", "secret": make_secret()}
        relay = Relay(directory, [account("files", desk, [source], order="conversation"), account("texts", signed, [webhook_source()], order="conversation")],
                      delivery={"timeout": "30s", "settle": "15s"}, quota={"files": "none"})
        relay.wrapper = FIRST if options.apart else []
        relay.start()
        try:
            talk = Talk(relay, options.rate, options.apart)
            threading.Event().wait(1)
            calm = time.monotonic()
            threading.Event().wait(options.calm)
            busy = time.monotonic()
            keep_busy(options.calm)
            memory, began = Memory(relay), time.monotonic()
            telegram.begun.set()
            if not intercom.through.wait(options.patience):
                print(f"not through within {options.patience} s", flush=True)
            ended = time.monotonic()
            grown, anonymous = memory.end()
            sent = talk.end()
            relay.wait_settled(60)
            came, report, fetched = texts.ask(), intercom.ask(), telegram.ask()["fetched"]
            verified = relay.cli("verify", "--socket", relay.socket, check=False)
            relay.stop()
        finally:
            if relay.process is not None:
                relay.kill()
            for peer in (telegram, intercom, texts):
                peer.stop()
        warnings = collections.Counter(e["event"] for e in relay.events if e.get("level") in ("warn", "error"))
    faults = faults_of(options.messages, options.chats, report)
    faults["lost short texts"] = len(set(sent) - set(came))
    (before, half_before, n_before), (meanwhile, half, n) = p99(sent, came, calm, busy), p99(sent, came, began, ended)
    beside, half_beside, n_beside = p99(sent, came, busy, began)
    took = ended - began
    print(f"{options.messages} messages with {options.size} bytes each over {options.chats} conversations: {took:.1f} s, "
          f"{options.messages * options.size / took / (1 << 20):.0f} MiB/s, {fetched} fetches, {len(report['words'])} messages at the desk")
    print(f"memory: {grown / 1024:.1f} MiB more than before at most ({anonymous / 1024:.1f} MiB of it held by no file)")
    print(f"texts of others: 99 % within {before:.1f} ms before ({n_before} of them, half within {half_before:.1f} ms), "
          f"{beside:.1f} ms while other programs keep the processors busy ({n_beside}, {half_beside:.1f} ms), "
          f"{meanwhile:.1f} ms meanwhile ({n}, {half:.1f} ms): {meanwhile / before if before else 0:.2f} and "
          f"{meanwhile / beside if beside else 0:.2f} times")
    print(f"faults: {json.dumps(+faults)}; warnings: {json.dumps(warnings)}; verify: {verified.returncode}")
    good = not +faults and verified.returncode == 0 and grown <= GROWTH_KIB and (not options.strict or meanwhile <= SLOWER * before)
    print("GOOD" if good else "BAD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
