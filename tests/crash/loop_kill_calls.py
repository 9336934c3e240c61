#!/usr/bin/python3
"""kill -9 at every system call of accept, deliver, settle, checkpoint, migrate, start and stop, in one thread:
tests/crash/loop_kill_calls.py [--stride N] [NAME...]

One line for each scenario: kill points by call, what was acknowledged in all its histories, lost, doubled, reordered, and stores that
were not whole (`wrong`). Then the negative controls, relays that break their promise, which must be found out. Exit status 0: nothing
was lost, doubled or reordered, and each control was found.
"""
import argparse
import sys
import time

from call_kills import drop_last_commit, is_found, scenarios, sweep

CONTROLS = [("a relay that answers before its commit", "accept", "lost", {"early": True}),
            ("a disk that lost the last commit of an accept", "accept", "lost", {"tamper": drop_last_commit}),
            ("a disk that lost the last commit of an outcome", "deliver-intercom-one-lane", "doubled", {"tamper": drop_last_commit})]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--stride", type=int, default=1, help="only each N-th of the kill points")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    unknown = set(options.names) - set(scenarios())
    if unknown:
        parser.error(f"there is no {' '.join(sorted(unknown))}")
    began, points, good = time.monotonic(), 0, True
    for name, stride in scenarios().items():
        if options.names and name not in options.names:
            continue
        result = sweep(name, stride * options.stride)
        points += sum(result.points.values())
        good = good and not result.bad
        print(result.line("kill " + name), flush=True)
        for kill, why in result.bad[:5]:
            print(f"  killed at {kill.call} {kill.number}: {why}")
    for what, name, code, broken in CONTROLS:
        found, result = is_found(name, code, options.stride, **broken)
        good = good and found
        print(f"control, {what}: " + (f"found out ({code} {result.counts[code]})" if found else "NOT found"), flush=True)
    print(f"kill at system calls, one thread: {points} kill points in {time.monotonic() - began:.0f} s, " + ("good" if good else "BAD"), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
