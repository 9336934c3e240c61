#!/usr/bin/python3
"""The real daemon on a disk that errs:  tests/crash/loop_disk_errors.py [--rounds N] [--seed S] [--kinds ext4,xfs,btrfs]

On ext4, XFS and btrfs over a disk whose reads and writes are made to fail (small_disk.py). In each round messages flow, and then
  once     one write fails: it ends, or goes on where that was of nothing that it needs
  passing  writes fail until the process ends, which it must; it comes back on what the page cache still holds (rule S1)
  5s       the same, and the disk goes on failing for 5 s while it is started again and again
  full     the file system is filled: no 2xx, /readyz 503, delivering goes on (but on btrfs); emptied again, all is well without a webhook
  read     killed, and reads fail at the start: it says why and ends; then they do not
  ever     reads and writes fail, each start says why and ends, until the disk is mended
After each round the file system is mounted anew, so that only what is on the disk counts. At the end all is drained and judged:
nothing lost, doubled or reordered. Then the negative control: a plain SQLite program that restarts after the error without dropping
the cache loses what it acknowledged, and with the cache dropped nothing (one that goes on loses it on ext4). Needs root and script/deps crash; says so where it cannot run, and fails.
"""
import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))
from harness.checker import Arrival, History, check          # noqa: E402
from harness.client import Crowd, WebhookSource, call        # noqa: E402
from harness.common import wait_for                          # noqa: E402
from harness.desk import ScriptedDesk                        # noqa: E402
from harness.record import arrivals_of, sent_of, stored_of   # noqa: E402
from harness.relay import Relay, account                     # noqa: E402
from small_disk import SmallDisk, missing, mount_apart       # noqa: E402

ROUNDS = ("once", "passing", "5s", "full", "read", "ever")
STARTS = 5  # on a disk that fails for ever


class Life:
    """A daemon whose store lies on the disk, a crowd that sends until it is told yes, a desk that keeps a journal."""

    def __init__(self, disk, directory, seed):
        self.disk, self.chance = disk, random.Random(seed)
        self.desk = ScriptedDesk()
        self.relay = Relay(directory, [account("acme", self.desk.config(), order="conversation")], store=f"sqlite:{disk.path}/t.db",
                           delivery={"settle": "100ms", "retry_base": "20ms", "retry_cap": "200ms", "max_attempts": 100}).allow(".*")
        self.relay.database = f"{disk.path}/t.db"
        self.source = WebhookSource(self.relay, "acme")
        self.notes, self.crowds = [], 0

    def more(self, count):
        start = self.crowd.acked()
        wait_for(lambda: self.crowd.acked() - start >= count, "more messages answered", poll_s=0.02)

    def end_of_process(self, what):
        began = time.monotonic()
        status = self.relay.wait_end()
        assert status > 0, f"{what}: exit status {status}"
        assert self.relay.logged("fatal"), f"{what}: no sentence"
        self.relay.outages.append([began, None])

    def start(self):
        """Again; a file system that went read-only over the error is mounted anew first, as an operator would."""
        with open("/proc/mounts") as mounts:
            read_only = any(l.split()[1] == self.disk.path and "ro" in l.split()[3].split(",") for l in mounts)
        if read_only or not self.is_writable():
            self.disk.remount()
            self.notes.append("remounted")
        self.relay.start()

    def is_writable(self):
        try:
            with open(os.path.join(self.disk.path, "probe"), "w") as file:
                os.fsync(file.fileno())
            return True
        except OSError:
            return False

    def cannot_start(self):
        self.relay.start(wait=False)
        wait_for(lambda: not self.relay.running or self.ready(), "an end, or ready")
        if self.relay.running:  # what it reads was not on the disk: it fails at its first write
            self.end_of_process("started on a failing disk")
            return
        assert self.relay.wait_end() == 1
        assert self.relay.logged("cannot_start") or self.relay.logged("fatal")

    def ready(self):
        return any(e["_start"] == self.relay.starts for e in self.relay.logged("ready"))

    def once(self):
        self.disk.fail("once")
        wait_for(lambda: not os.path.exists(self.disk.flag("once")), "a write that fails", poll_s=0.01)
        start = self.crowd.acked()
        wait_for(lambda: not self.relay.running or self.crowd.acked() - start >= 50, "an end, or more messages answered", poll_s=0.02)
        if not self.relay.running:
            self.end_of_process("one write failed")
            self.start()
            self.more(self.chance.randrange(5, 60))
        self.relay.kill()

    def ever(self):
        for what in ("write", "read"):
            self.disk.fail(what)
        self.end_of_process("reads and writes fail")
        for _ in range(STARTS):
            self.cannot_start()
        self.disk.heal()
        self.start()
        self.more(self.chance.randrange(5, 60))
        self.relay.kill()

    def passing(self):
        self.disk.fail("write")
        self.end_of_process("writes fail")
        self.disk.heal()
        self.start()
        self.more(self.chance.randrange(5, 60))
        self.relay.kill()

    def for_5s(self):
        self.disk.fail("write")
        self.end_of_process("writes fail")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            self.cannot_start()
        self.disk.heal()
        self.start()
        self.more(self.chance.randrange(5, 60))
        self.relay.kill()

    def read(self):
        self.relay.kill()
        self.disk.remount()
        self.disk.fail("read")
        self.cannot_start()
        self.disk.heal()
        self.start()
        self.more(10)
        self.relay.kill()

    def full(self):
        filler = os.path.join(self.disk.path, "filler")
        with open(filler, "wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass
        answer = lambda: call(self.relay.admin_port, "GET", "/readyz").status
        wait_for(lambda: answer() == 503, "/readyz says that nothing is taken")
        assert self.relay.running
        self.relay.check_sum()
        self.crowd.stop.set()  # nobody sends: it must find out by itself
        self.crowd.join()
        if self.disk.kind != "btrfs":  # which writes nothing in place: outcomes wait in memory until there is room
            self.relay.wait_settled()
        os.unlink(filler)
        wait_for(lambda: answer() == 200 and not self.relay.status()["alarms"], "well again, though nobody sends")
        self.send()
        self.more(20)
        self.relay.kill()

    def send(self):
        self.crowds += 1
        self.crowd = Crowd(self.source, 6, 100_000, prefix=f"{self.crowds}-")

    def run(self, rounds):
        for what in rounds:
            self.relay.start()
            self.send()
            self.more(self.chance.randrange(20, 200))
            {"once": self.once, "passing": self.passing, "5s": self.for_5s, "full": self.full, "read": self.read, "ever": self.ever}[what]()
            self.crowd.stop.set()
            self.crowd.join()
            self.disk.remount()
        self.relay.start()
        self.relay.wait_settled()
        self.relay.check_sum()
        self.relay.cli("verify", "--deep", "--socket", self.relay.socket)
        lane = lambda s: s.event["conversation"]
        history = History(sent=sent_of(self.source, lane), kills=self.relay.outages, stored=stored_of(self.relay, lambda i: i["conversation"]),
                          arrivals=arrivals_of(self.desk, lambda b: b["conversation"]))
        self.relay.stop()
        return check(history)

    def end(self):
        if self.relay.process is not None:
            self.relay.kill()
        self.desk.stop()


def loop(kind, rounds, seed):
    with tempfile.TemporaryDirectory(prefix="tributary-disk-") as directory, SmallDisk(directory, kind) as disk:
        life = Life(disk, directory, seed)
        try:
            report = life.run(rounds)
        finally:
            life.end()
    print(f"disk errors, {kind}: {len(rounds)} rounds, acked {report.counts['acked']}, lost {report.counts['lost']}, doubled {report.counts['doubled']}, "
          f"reordered {report.counts['reordered']}" + (f"; read-only after the error {life.notes.count('remounted')} times" if life.notes else ""), flush=True)
    if not report.good:
        print(report)
    return report.good


# The negative control

class Writer:
    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "disk_writer.py"), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.process.stdout.readline()

    def put(self, number):
        try:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().strip() == "yes"
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def evict(path):
    """As the store does it at its start."""
    for suffix in ("", "-wal"):
        fd = os.open(path + suffix, os.O_RDWR)
        os.fdatasync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def lost_by_a_plain_program(kind, how):
    """(acknowledged, lost): 20 commits, one while writes fail, 15 more by the same process or by the next one."""
    with tempfile.TemporaryDirectory(prefix="tributary-disk-") as directory, SmallDisk(directory, kind) as disk:
        path = os.path.join(disk.path, "t.db")
        writer = Writer(path)
        try:
            acked = [n for n in range(20) if writer.put(n)]
            disk.fail("write")
            acked += [20] if writer.put(20) else []
            disk.heal()
            if how != "goes on":
                writer.kill()
                if how == "restarts, cache dropped":
                    evict(path)
                writer = Writer(path)
            acked += [n for n in range(21, 36) if writer.put(n)]
        finally:
            writer.kill()
        disk.remount()
        connection = sqlite3.connect(path)
        rows = {row[0] for row in connection.execute("SELECT number FROM rows")}
        connection.close()
    return len(acked), len(set(acked) - rows)


def control(kind):
    found = {how: lost_by_a_plain_program(kind, how) for how in ("goes on", "restarts", "restarts, cache dropped")}
    for how, (acked, lost) in found.items():
        print(f"control, {kind}: a program that {how} after the error: acked {acked}, lost {lost}", flush=True)
    return found["restarts"][1] > 0 and found["restarts, cache dropped"][1] == 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--kinds", default="ext4,xfs,btrfs")
    options = parser.parse_args()
    good = True
    if os.geteuid() == 0:
        mount_apart()
    for kind in options.kinds.split(","):
        why = missing(kind)
        if why:
            print(f"disk errors, {kind}: NOT RUN: {why}")
            good = False
            continue
        print(f"disk errors, {kind}: seed {options.seed}")
        rounds = [ROUNDS[i % len(ROUNDS)] for i in range(options.rounds)]
        good = loop(kind, rounds, options.seed) and good
        if not control(kind):
            print(f"control, {kind}: NOT found")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
