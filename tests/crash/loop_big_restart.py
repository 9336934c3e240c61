#!/usr/bin/python3
"""A million messages wait, kill -9, and a start:  tests/crash/loop_big_restart.py [--count N] [--lanes N] [--drain N] [--directory DIR]

The desk is down while the generator of the benchmark sends; the relay is killed and started again. What is measured: the time from the
start of the process to the first webhook answered 200, and that of `tributary verify`. Then the desk comes up, and some of what waited
is delivered under the eyes of the benchmark's sink. Exit status 0: all that was acknowledged is there, in order, and both times are
what they must be.
"""
import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../../bench"), os.path.join(HERE, "../system")]
import lab as labs                       # noqa: E402
from relay import RELAY, Relay           # noqa: E402
from harness.common import sign          # noqa: E402

ANSWER_S, VERIFY_S, PATIENCE_S = 2, 60, 300


def post(relay, serial):
    """One signed webhook; its status, 0 when nobody listens."""
    body = json.dumps({"id": f"after-{serial}", "conversation": "after", "sender": {"id": "a", "name": "Ada"}, "text": "good day"}).encode()
    stamp = str(int(time.time()))
    headers = {"Content-Type": "application/json", "webhook-id": f"after-{serial}", "webhook-timestamp": stamp,
               "webhook-signature": sign(labs.SOURCE_SECRET, f"after-{serial}", stamp, body)}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{relay.port}/hooks/bench/in", body, headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def kill(relay):
    os.killpg(relay.child.pid, signal.SIGKILL)
    relay.child.wait()
    relay.lab.children.remove(relay.child)


def start(relay):
    """Seconds from the start of the process to the first 200."""
    with open(relay.log, "wb") as log:
        began = time.monotonic()
        relay.child = relay.lab.start([RELAY, "serve", "-c", relay.config], stdout=subprocess.DEVNULL, stderr=log, cwd=relay.dir)
    labs.wait_until("a webhook answered 200", lambda: relay.child.poll() is None and post(relay, 1) == 200, PATIENCE_S, pause_s=0.001)
    return time.monotonic() - began


def verify(relay):
    began = time.monotonic()
    done = subprocess.run([RELAY, "verify", "--socket", os.path.join(relay.dir, "admin.sock")], capture_output=True, text=True, timeout=PATIENCE_S)
    return time.monotonic() - began, done.returncode == 0, (done.stdout + done.stderr).strip()


def counts(relay):
    """(accepted, pending), from the file: the status gives up after two seconds where the machine is busy."""
    connection = sqlite3.connect(f"file:{relay.dir}/tributary.db?mode=ro", uri=True)
    try:
        return connection.execute("SELECT accepted, (SELECT count(*) FROM line) FROM totals").fetchone()
    finally:
        connection.close()


def run(lab, options):
    trouble = []
    desk_port = labs.free_port()
    relay = Relay(lab, "big")
    relay.configure(desk_port)
    relay.start()
    load = lab.generate(relay.port, count=options.count, connections=64, lanes=options.lanes, secret=labs.SOURCE_SECRET, patience=60)
    if load["answered"] != options.count:
        trouble.append(f"only {load['answered']} of {options.count} messages were answered")
    kill(relay)
    answer_s = start(relay)
    verify_s, verified, said = verify(relay)
    accepted, waiting = counts(relay)
    if not verified:
        trouble.append("verify: " + said)
    if not accepted == waiting == load["answered"] + 1:
        trouble.append(f"{load['answered']} and one more were acknowledged, the store says {accepted} accepted, {waiting} pending")
    if answer_s > ANSWER_S or verify_s > VERIFY_S:
        trouble.append("too slow")
    drained = drain(lab, relay, desk_port, load, options.drain, trouble)
    relay.stop()
    print(f"kill -9 with {waiting - 1} waiting in {options.lanes} lanes: first webhook answered after {answer_s:.2f} s (wanted {ANSWER_S}), sum proven in "
          f"{verify_s:.2f} s (wanted {VERIFY_S}); acked {load['answered']}, {drained} of them delivered then in order; "
          + ("good" if not trouble else "BAD"), flush=True)
    return trouble


def drain(lab, relay, port, load, wanted, trouble):
    """The desk comes up; how many different messages came of those that waited."""
    sink = labs.Sink(lab, port=port)
    book = sink.wait_for(min(wanted, load["answered"]), idle_s=60)  # the longest pause of a desk that is down is 30 s
    sink.close()
    if book["received"] < min(wanted, load["answered"]):
        trouble.append(f"only {book['received']} came to the desk")
    wrong = {name: book[name] for name in ("lost", "duplicated", "reordered") if book[name]}  # lost: holes within a lane
    if wrong:
        trouble.append(f"the desk saw {wrong}")
    return book["received"]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--lanes", type=int, default=20_000)
    parser.add_argument("--drain", type=int, default=100_000)
    parser.add_argument("--directory", help="where the store lies meanwhile")
    options = parser.parse_args()
    with labs.Lab(options.directory) as lab:
        trouble = run(lab, options)
    for line in trouble:
        print("  " + line)
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
