"""What is measured of the relay each few seconds while it soaks, and who else looks at it meanwhile: the API, the metrics, followers that
come and go, `why`."""
import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time

from harness.relay import BINARY

OWN_FILES = re.compile(r"tributary\.(yaml|db|db-wal|db-shm|db\.(lock|ballast|files|lane-trouble))|admin\.sock|offset|spare.*\.secret|restored")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def memory_of(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        found = dict(re.findall(r"^(\w+): +(\d+) kB", file.read(), re.M))
    return {"rss": int(found["Rss"]) << 10, "pss": int(found["Pss"]) << 10, "anonymous": int(found["Anonymous"]) << 10}


def process_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return {"cpu_s": (int(fields[11]) + int(fields[12])) * TICK_S, "threads": int(fields[17]), "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


def size_of(path):
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def files_of(relay):
    """The store's own files, what lies in its directory for kept files, and how many others there are."""
    count = size = 0
    for directory, _, names in os.walk(relay.database + ".files"):
        count += len(names)
        size += sum(size_of(os.path.join(directory, name)) for name in names)
    others = [name for name in os.listdir(relay.directory) if not OWN_FILES.fullmatch(name)]
    return {"database": size_of(relay.database), "log": size_of(relay.database + "-wal"), "files_bytes": size, "files_count": count, "others": len(others)}


def used_of(relay):
    """Bytes of the database that are in use; the others are free pages, which it will use next."""
    [[pages, free, size]] = relay.query("SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size")
    return (pages - free) * size


def percentile(took, share):
    return round(took[min(len(took) - 1, int(len(took) * share))] * 1000, 2) if took else None


class Watch(threading.Thread):
    """Samples until end(), and looks at the sum; measures until there is no more `load`. `calm_at`: when the last strike is forgotten."""

    def __init__(self, relay, hooks, others, every_s):
        super().__init__(daemon=True)
        self.relay, self.hooks, self.others, self.every_s = relay, hooks, others, every_s
        self.over, self.began = threading.Event(), time.monotonic()
        self.samples, self.sums, self.trouble = [], [], []
        self.calm_at, self.load = 0.0, True
        self.striking = self.striking_restart = False
        self.before = None   # (start, cpu seconds, accepted) at the last sample

    @property
    def now_s(self):
        return time.monotonic() - self.began

    def run(self):
        while not self.over.wait(self.every_s):
            for each in (self.hooks, *self.others):
                each.collect()
            took = self.hooks.latency()
            if self.relay.running and not self.striking_restart:
                try:
                    self.sample(took)
                except (OSError, AssertionError, ValueError, KeyError, sqlite3.Error):
                    continue  # being killed, stopped or frozen

    def sample(self, took):
        start, pid = self.relay.starts, self.relay.pid
        process = process_of(pid)
        status = self.relay.status()
        sample = {"t": round(self.now_s, 1), "start": start, "calm": not self.striking and self.now_s >= self.calm_at,
                  **memory_of(pid), **process, **files_of(self.relay), "used": used_of(self.relay), "waiting": status["pending"], "oldest_s": status["oldest_pending_s"], "accepted": status["accepted"],
                  "p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99), "alarms": [a["name"] for a in status["alarms"]],
                  "log_lines": len(self.relay.lines)}
        if self.before and self.before[0] == start and status["accepted"] > self.before[2]:
            sample["cpu_us"] = round((process["cpu_s"] - self.before[1]) * 1e6 / (status["accepted"] - self.before[2]), 1)
        self.before = (start, process["cpu_s"], status["accepted"])
        if self.relay.starts == start:
            self.samples += [sample] if self.load else []
            self.sums.append({k: status[k] for k in ("accepted", "delivered", "pending", "skipped", "discarded")})

    def end(self):
        self.over.set()
        self.join()


class Visitors(threading.Thread):
    """Those who look: a follower that comes and goes, sometimes without a word, metrics, `why`, lists; and who settles refused messages."""

    def __init__(self, relay, hooks, every_s):
        super().__init__(daemon=True)
        self.relay, self.hooks, self.every_s, self.over = relay, hooks, every_s, threading.Event()
        self.visits, self.followed = 0, 0

    def run(self):
        while not self.over.wait(self.every_s):
            try:
                self.visit()
            except (OSError, AssertionError, ValueError, subprocess.TimeoutExpired):
                continue  # being killed or stopped
            self.visits += 1

    def visit(self):
        follower = subprocess.Popen([BINARY, "messages", "--follow", "--json"], cwd=self.relay.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL)
        try:
            self.relay.metrics()
            self.relay.get("/api/v1/lanes", limit=100)
            self.relay.get("/api/v1/messages", limit=100)
            self.relay.cli("why", self.hooks.name, check=False)
            self.relay.cli("status", check=False)
            self.hooks.settle()
            self.over.wait(self.every_s)
        finally:
            follower.send_signal(signal.SIGINT if self.visits % 2 else signal.SIGKILL)
            self.followed += follower.communicate()[0].count(b"\n")

    def end(self):
        self.over.set()
        self.join()


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
