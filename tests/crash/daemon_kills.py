"""kill -9 at system calls of the real daemon, threads and all: strace kills it at the n-th call of that name of one of its threads, under
traffic; started again without pause. Harness and checker are kill_loop.py's."""
import collections
import os
import re
import tempfile
import threading
import time

from call_kills import drop_last_commit
from harness.checker import check
from harness.common import wait_for
from harness.scripted import Answer
from kill_loop import Loop

REACH_S = 6  # what was not reached by then is killed all the same, and not counted

Point = collections.namedtuple("Point", "call number")


class CallLoop(Loop):
    """Killed at these points, one after the other."""

    def __init__(self, directory, points, desk="webhook", order="conversation", seed=1, tamper=False, reach_s=REACH_S):
        super().__init__(directory, desk, order, len(points), seed)
        self.points, self.tamper, self.reach_s = points, tamper, reach_s
        if tamper:  # nothing is settled meanwhile: the last commit is of messages that were acknowledged
            self.desk.script = lambda request: Answer(503)
        self.reached = collections.Counter()  # by call

    def strike(self):
        self.relay.kill()
        for point in self.points:
            self.relay.wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={point.call}", "-e",
                                  f"inject={point.call}:signal=KILL:when={point.number}"]
            self.relay.start(wait=False)
            self.reached[point.call] += self._died()
            if self.tamper:
                drop_last_commit(self.relay.database)
        self.relay.wrapper = []
        self.relay.start()

    def _died(self):
        """Waits for it; whether strace killed it."""
        process = self.relay.process
        ended = threading.Event()
        watch = threading.Thread(target=lambda: (process.wait(), ended.set()), daemon=True)
        watch.start()
        reached = ended.wait(self.reach_s)
        assert not reached or process.returncode in (-9, 137), f"it ended by itself, status {process.returncode}:\n" + "\n".join(self.relay.lines[-20:])
        self.relay.kill()
        # Whatever it began before this moment may come again after it, and nothing of it is at work any more.
        self.relay.outages[-1][1] = time.monotonic()
        watch.join()
        return reached


class ListLoop(Loop):
    """Nobody is killed: which calls are made, and how often at most by one thread."""

    def strike(self):
        trace = os.path.join(self.relay.directory, "trace")
        self.relay.stop()
        self.relay.wrapper = ["strace", "-f", "-qq", "-o", trace]
        self.relay.start()
        before = self.crowd.acked()
        wait_for(lambda: self.crowd.acked() - before >= self.kills, "messages answered")
        self.relay.kill()
        made = collections.Counter()
        with open(trace, errors="replace") as file:
            for thread, call in re.findall(r"^(\d+) +(\w+)\(", file.read(), re.M):
                made[thread, call] += 1
        self.most = {call: max(n for (_, c), n in made.items() if c == call) for _, call in made}
        self.relay.wrapper = []
        self.relay.start()


# What begins and ends a program, and what touches neither file nor socket nor another thread.
NOT_KILLED = {"execve", "exit", "exit_group", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "set_tid_address", "set_robust_list", "rseq",
              "prlimit64", "sysinfo", "rt_sigaction", "rt_sigprocmask", "getpid", "geteuid", "access", "readlink", "sched_yield"}


def play(loop):
    """(the checker's report, the loop)"""
    try:
        return check(loop.run())
    finally:
        loop.end()


def calls_of(desk, messages=100):
    """{call: how often at most one thread makes it while so many messages are answered}"""
    with tempfile.TemporaryDirectory(prefix="tributary-calls-") as directory:
        loop = ListLoop(directory, desk, kills=messages)
        report = play(loop)
        assert report.good, str(report)
        return {call: n for call, n in loop.most.items() if call not in NOT_KILLED}


def points_of(calls, growth=1.5):
    """The first, second, third call of each name, then further and further apart."""
    found = []
    for call, most in sorted(calls.items()):
        n = 1.0
        while n <= most:
            if not found or found[-1] != Point(call, int(n)):
                found.append(Point(call, int(n)))
            n = max(n + 1, n * growth)
    return found


def kill_at(points, desk, order, seed, **more):
    """One history; (report, {call: kills})"""
    with tempfile.TemporaryDirectory(prefix="tributary-daemon-") as directory:
        loop = CallLoop(directory, points, desk, order, seed, **more)
        return play(loop), loop.reached
