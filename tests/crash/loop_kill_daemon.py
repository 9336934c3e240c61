#!/usr/bin/python3
"""kill -9 at system calls of the real daemon under traffic:  tests/crash/loop_kill_daemon.py [--growth F] [--seed S] [--calls A,B]

For each desk: which calls the daemon makes, then kills at the first, second, third ... of each name, further and further apart
(--growth). One line a desk, then the negative control: a disk that loses its last commit at each kill must be found out.
"""
import argparse
import collections
import concurrent.futures
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from daemon_kills import Point, calls_of, kill_at, points_of  # noqa: E402

CONFIGURATIONS = [("webhook", "conversation"), ("intercom", "account"), ("webhook", "account"), ("intercom", "conversation")]
GROUP = 30  # kills of one history
CONTROL = [Point("pwrite64", n) for n in (200, 211, 223, 236, 250, 265, 281, 298)]


def groups(points, chance):
    points = list(points)
    chance.shuffle(points)
    return [points[i:i + GROUP] for i in range(0, len(points), GROUP)]


def sweep(desk, order, options, chance):
    """(a line, whether all was well)"""
    calls = calls_of(desk)
    points = [p for p in points_of(calls, options.growth) if not options.calls or p.call in options.calls.split(",")]
    counts, reached, bad = collections.Counter(), collections.Counter(), []
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        jobs = [(group, pool.submit(kill_at, group, desk, order, chance.randrange(1 << 30))) for group in groups(points, chance)]
        for group, job in jobs:
            try:
                report, killed = job.result()
            except AssertionError as wrong:
                bad.append(f"{wrong}\n  the kills: {group}")
                continue
            counts.update(report.counts)
            reached.update(killed)
            if not report.good:
                bad.append(f"{report}\n  the kills: {group}")
    kinds = ", ".join(f"{call} {n}" for call, n in reached.most_common())
    print(f"kill the daemon, {desk} desk, order {order}: {sum(reached.values())} kill points ({kinds}), acked {counts['acked']}, lost {counts['lost']}, "
          f"doubled {counts['doubled']}, reordered {counts['reordered']}, requests repeated after a kill {counts['repeated']}", flush=True)
    for what in bad[:3]:
        print(what, flush=True)
    return sum(reached.values()), not bad


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--growth", type=float, default=1.3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--calls")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    print(f"kill the daemon: seed {options.seed}")
    began, points, good = time.monotonic(), 0, True
    for desk, order in CONFIGURATIONS:
        count, well = sweep(desk, order, options, chance)
        points, good = points + count, good and well and count > 0
    report, _ = kill_at(CONTROL, "webhook", "conversation", 1, tamper=True)
    found = bool(report.of("A1"))
    print("control, a disk that loses the last commit at each kill: " + (f"found out (lost {report.counts['lost']})" if found else "NOT found"))
    print(f"kill the daemon: {points} kill points in {time.monotonic() - began:.0f} s, " + ("good" if good and found else "BAD"), flush=True)
    return 0 if good and found else 1


if __name__ == "__main__":
    sys.exit(main())
