#!/usr/bin/python3
"""Calls of the network that fail, in the real daemon:  tests/crash/loop_call_faults.py [CALL...]

connect, send, receive, accept and what goes with them: the n-th such call of a thread fails, once and from then on, for every n until a
clean pass, while messages come in (webhooks, or Telegram polled) and go out (signed webhook, Intercom). Nothing may be lost, nothing
doubled at a desk with key or look-up; the daemon goes on when it is over, and neither spins nor sleeps for ever. Where it ends by
itself, it does so by the decisions listed here, and the next start loses nothing. One line for each sweep; then the negative controls.
"""
import argparse
import concurrent.futures
import itertools
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from call_faults import Bench, Fault  # noqa: E402

RELAY = {"socket": ("EMFILE", "ENFILE", "ENOBUFS"), "connect": ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EADDRNOTAVAIL", "ENOMEM"),
         "sendto": ("EPIPE", "ECONNRESET", "ENOBUFS"), "recvfrom": ("ECONNRESET", "ETIMEDOUT", "ENOMEM"), "getsockopt": ("ENOBUFS",),
         "getpeername": ("ENOTCONN",), "getsockname": ("ENOBUFS",), "setsockopt": ("ENOPROTOOPT",), "poll": ("ENOMEM",), "epoll_ctl": ("ENOMEM",),
         "epoll_wait": ("ENOMEM",), "read": ("ENOMEM",)}
INTAKE = {"accept4": ("EMFILE", "ENFILE", "ECONNABORTED", "ENOMEM"), "read": ("ECONNRESET", "ETIMEDOUT"), "write": ("EPIPE", "ECONNRESET", "ENOBUFS"),
          "ioctl": ("ENOTTY",), "epoll_ctl": ("ENOSPC",), "epoll_wait": ("ENOMEM",)}
DESK = {call: RELAY[call][:2] for call in ("socket", "connect", "sendto", "recvfrom")}
START = {"socket": "EMFILE", "bind": "EADDRINUSE", "listen": "ENOBUFS", "epoll_create1": "EMFILE", "eventfd2": "EMFILE", "pipe2": "EMFILE",
         "epoll_ctl": "ENOMEM", "setsockopt": "ENOBUFS", "clone3": "EAGAIN"}

# desk, platform, connections used again, what fails in which thread
SETS = [("webhook", "webhook", False, {"relay": RELAY, "intake": INTAKE, "committer": {"write": ("EPIPE",)}}),
        ("webhook", "webhook", True, {"relay": {"sendto": ("EPIPE",), "recvfrom": ("ECONNRESET",)}, "intake": {"read": ("ECONNRESET",), "write": ("EPIPE",)}}),
        ("intercom", "webhook", False, {"relay": DESK}),
        ("webhook", "telegram", False, {"relay": DESK})]
# These do not stay: no kernel interrupts for ever, one takes the aborted connection out of the line, and TCP on Linux has no ENOBUFS
# (libuv takes it as EAGAIN and tries again as soon as the socket is writable, which it is).
ONCE = {("accept4", "ECONNABORTED"), ("write", "ENOBUFS")}
EINTR = [("webhook", "webhook", False, Fault(thread, "epoll_wait", "EINTR", False)) for thread in ("relay", "intake")]

ABORTED = -6
# libuv and net/loop end the process where the kernel cannot do what a loop stands on: watch a descriptor, wait, wake a thread. The next start
# takes up what the store has.
DECIDED = ("epoll_ctl", "epoll_wait", "ioctl")


def is_decided(end):
    fault, _, status, at = end
    if fault.thread == "start":
        return status in (1, ABORTED, 128 - ABORTED)
    return status == ABORTED and (fault.call in DECIDED or at == "eventfd")


def jobs():
    for desk, platform, kept, threads in SETS:
        for thread, errors in threads.items():
            for call, stays in itertools.product(errors, (False, True)):
                for error in errors[call]:
                    if stays and (call, error) in ONCE:
                        continue
                    yield desk, platform, kept, Fault(thread, call, error, stays)
    yield from EINTR
    for call, error in START.items():
        yield "webhook", "webhook", False, Fault("start", call, error, False)


def sweep(desk, platform, kept, fault):
    """(how many n, times it ended by itself, [what was wrong])"""
    with tempfile.TemporaryDirectory(prefix="tributary-faults-") as directory:
        bench = Bench(directory, desk, platform, kept)
        try:
            count = bench.sweep_start(fault.call, fault.error) if fault.thread == "start" else bench.sweep(fault)
            report = bench.judge()
            trouble = bench.trouble + [str(a) for a in report.anomalies] + [f"ended by itself: {e}" for e in bench.ends if not is_decided(e)] + bench.desk.trouble
            return count, len(bench.ends), report.counts, trouble
        except (AssertionError, OSError) as wrong:
            return 0, len(bench.ends), {}, [f"{wrong}"]
        finally:
            bench.end()


def forgetful_intercom():
    """A desk that does not show what it took: a lost answer must end as a doubled message."""
    with tempfile.TemporaryDirectory(prefix="tributary-faults-") as directory:
        bench = Bench(directory, "intercom", "webhook")
        shown = bench.desk.shown_conversation
        bench.desk.shown_conversation = lambda conversation, parts=None: shown(conversation, parts if parts is not None else [])
        try:
            bench.sweep(Fault("relay", "recvfrom", "ECONNRESET", False))
            return len(bench.judge().of("A5"))
        finally:
            bench.end()


def endless_eintr():
    """What no kernel does: libcurl tries again at once, for ever."""
    return sum("failing calls a second" in what for what in sweep("webhook", "webhook", False, Fault("relay", "poll", "EINTR", True))[3])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("calls", nargs="*")
    options = parser.parse_args()
    unknown = set(options.calls) - {job[3].call for job in jobs()}
    if unknown:
        parser.error(f"nothing lets {' '.join(sorted(unknown))} fail")
    began, strikes, good = time.monotonic(), 0, True
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        todo = [job for job in jobs() if not options.calls or job[3].call in options.calls]
        for (desk, platform, kept, fault), (count, ends, counts, trouble) in zip(todo, pool.map(sweep, *zip(*todo))):
            strikes, good = strikes + count, good and not trouble
            print(f"{fault.thread} {fault.call} {fault.error} {'from then on' if fault.stays else 'once'}, {platform} to {desk}{' (kept)' if kept else ''}: "
                  f"{count} n, ended by itself {ends}, acked {counts.get('acked', 0)}, lost {counts.get('lost', 0)}, doubled {counts.get('doubled', 0)}, "
                  f"reordered {counts.get('reordered', 0)}" + ("" if not trouble else ": BAD"), flush=True)
            for what in trouble[:5]:
                print("  " + what)
    for what, control in (("a desk that does not show what it took", forgetful_intercom), ("a call that is tried again without a pause", endless_eintr)):
        found = control()
        good = good and found > 0
        print(f"control, {what}: " + (f"found out ({found})" if found else "NOT found"), flush=True)
    print(f"calls that fail: {strikes} in {time.monotonic() - began:.0f} s, " + ("good" if good else "BAD"), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
