#!/usr/bin/python3
"""The relay for hours under a mixed load:  tests/soak/soak.py [--hours 1] [--rate 100] [--seed S] [--out build/soak]

Signed webhooks, Telegram and Intercom both ways, files, duplicates, forged requests, refused messages, accounts and sources by hand, people
who look (traffic.py); restarts, kills, clocks that are set, scarce memory, busy processors, a desk that is away, slow or wrong, reloads,
backups that are restored (strikes.py). Every few seconds the relay is measured (watch.py), and at the end it is judged

- whether what was measured stays flat, by slopes over each stretch and a stated bound (slopes.py),
- whether anything was lost, doubled or reordered; `verify`, the sum; what is left in the store's directory.

Ctrl-C ends it early, with all of that. Then the negative controls: the same relay that leaks on purpose must not be found flat. Exit status 0
when all is flat, nothing is amiss, and the control was found out. The report is OUT/report.json, the picture OUT/slopes.svg.
"""
import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), each) for each in (".", "../crash", "../system")]
import both_ways                                               # noqa: E402
import loop_media_kills as media                               # noqa: E402
import slopes                                                  # noqa: E402
from strikes import Strikes, schedule                          # noqa: E402
from traffic import Files, Hooks, Spare, Talk, WallClock       # noqa: E402
from watch import Visitors, Watch, write_json                  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
NEVER = ("bug", "forbidden_transition", "out_of_memory", "store_damaged", "lane_held")


class Soak:
    def __init__(self, directory, seconds, rate, seed, every_s=None, chats=40, pace_s=3.0):
        self.seconds, self.chance = seconds, random.Random(seed)
        self.bodies_s, self.dedupe_s = max(5, int(seconds / 30)), max(300, int(seconds / 12))
        self.clock = WallClock()
        store = os.path.join(directory, "relay")
        os.mkdir(store)
        self.talk = Talk(store, seed, pace_s, chats)
        self.relay = self.talk.relay
        self.hooks = Hooks(self.relay, rate, self.clock, random.Random(seed + 1))
        self.files = Files(self.relay, seed + 2)
        self.relay.config["accounts"] += [self.hooks.account(), self.files.config()]
        self.relay.config["delivery"]["timeout"] = "20s"
        self.relay.config["retention"] = {"bodies": f"{self.bodies_s}s", "dedupe": f"{self.dedupe_s}s"}
        self.relay.write_config()
        self.spare = Spare(self.relay, self.hooks.desk.url + "/in")
        self.strikes = Strikes(self.relay, self.talk, self.hooks, self.spare, self.clock, directory, random.Random(seed + 3), scale=min(1.0, seconds / 900))
        self.watch = Watch(self.relay, self.hooks, [self.files], every_s or max(1, min(5, seconds / 200)))
        self.visitors = Visitors(self.relay, self.hooks, max(2, min(10, seconds / 60)))
        self.plan = schedule(seconds, random.Random(seed + 4), max(8, seconds / 48))
        self.over = threading.Event()

    # ---- its course

    def run(self, strikes=True):
        self.talk.begin()
        self.talk.talk()
        self.hooks.begin()
        self.files.begin()
        self.watch.start()
        self.visitors.start()
        for at, name in self.plan if strikes else []:
            if not self.wait_until(at):
                break
            self.strike(name)
        self.wait_until(self.seconds)

    def wait_until(self, at):
        """False when it shall end early, or has failed."""
        while (left := at - self.watch.now_s) > 0:
            if self.over.wait(min(left, 1)):
                return False
            if not self.relay.running:
                raise AssertionError("the daemon ended by itself:\n" + "\n".join(self.relay.lines[-30:]))
            if self.hooks.failures:
                raise self.hooks.failures[0]
        return not self.over.is_set()

    def strike(self, name):
        self.watch.striking, self.watch.striking_restart = True, name in ("kill", "stop")
        try:
            said = self.strikes.strike(name, round(self.watch.now_s, 1))
        finally:
            self.watch.calm_at = self.watch.now_s + 10 * self.strikes.scale
            self.watch.striking = self.watch.striking_restart = False
        print(f"{self.watch.now_s:6.0f} s  {name}" + (f": {said}" if said else ""), flush=True)

    # ---- its end

    def drain(self):
        """All that is said is heard, and nothing waits."""
        self.watch.load = False
        self.visitors.end()
        self.hooks.end()
        self.files.hush()
        self.talk.hush()
        self.watch.striking_restart = True
        self.relay.stop()   # what no notification told of is searched for after a start
        self.relay.start()
        self.watch.striking_restart = False
        self.talk.wait_all(900)
        self.files.drain()
        self.relay.wait_settled(300)
        self.hooks.settle()   # what was refused last
        self.relay.wait_settled(300)
        self.spare.clear()
        self.watch.end()

    def judge(self):
        """{what is wrong: how often}, and figures."""
        faults, counts = collections.Counter(), {}
        anomalies, counts["hook"] = self.hooks.judge(self.watch.sums)
        for each in anomalies:
            faults[f"hook {each.code}"] += 1
        record = self.talk.record()
        counts["talk"] = {"in": len(record.came), "answers": len(record.said), "sent": len(record.sent), "files": len(record.files),
                          "told as perhaps twice": sum(record.twice.values())}
        talk = collections.Counter(both_ways.judge(record))
        talk.update(self.talk.files_lost(record))
        counts["talk"]["resent"], counts["talk"]["files resent"] = talk.pop("resent", 0), talk.pop("files resent", 0)
        faults.update({"talk " + what: count for what, count in talk.items() if count})
        outcome = self.files.outcome()
        faults.update({"files " + what: len(whose) for what, whose in media.judge(outcome).items()})
        counts["files"] = {"texts": sum(map(len, outcome.sent.values())), "files": len(outcome.given), **self.files.counts}
        details = [str(a) for a in anomalies[:20]] + [f"{what}: {whose[:5]}" for what, whose in media.judge(outcome).items()]
        return +faults, counts, details + self.talk.traces(record)[:10]

    def leftovers(self):
        """What lies beside the store: files of which no row tells, neither as kept nor as to be removed with the next look, are nobody's."""
        kept = {row[0] for row in self.relay.query("SELECT hash FROM files WHERE state = 1 UNION SELECT hash FROM avatars WHERE hash IS NOT NULL")}
        dropped = {row[0] for row in self.relay.query("SELECT hash FROM dropped")}
        there = {name for _, _, names in os.walk(self.relay.database + ".files") for name in names}
        return {"kept files": len(kept), "to be removed": len(dropped - kept), "of them not there": len(kept - there), "nobody's files": len(there - kept - dropped),
                "accounts that were removed": self.relay.query("SELECT count(*) FROM accounts WHERE name LIKE '%#%'")[0][0]}

    def log_of(self):
        events = collections.Counter(f"{e.get('level')} {e.get('event')}" for e in self.relay.events)
        size = sum(len(line) + 1 for line in self.relay.lines)
        found = [e for e in self.relay.events if e.get("event") in NEVER]
        never = [str(each) for each in found + self.relay.junk] + [f"in the log: {each}" for each in self.relay.leaks("\n".join(self.relay.lines))]
        return {"lines": len(self.relay.lines), "bytes": size, "events": dict(events.most_common())}, never[:10]

    def end(self):
        self.talk.end()
        self.hooks.desk.stop()
        trouble = self.hooks.desk.trouble + self.files.stop()
        self.strikes.end()
        return trouble


def play(options, directory):
    """(the report, whether it is good)"""
    soak = Soak(directory, options.hours * 3600, options.rate, options.seed)
    before = signal.signal(signal.SIGINT, lambda *_: soak.over.set())
    wrong = []
    report = {"seed": options.seed, "hours": options.hours, "rate": options.rate, "load": os.getloadavg()}
    try:
        soak.run()
        report["ran_s"] = round(soak.watch.now_s)
        soak.drain()
        status = soak.relay.check_sum()
        soak.relay.verify()
        faults, report["counts"], details = soak.judge()
        wrong += [f"{count} {what}" for what, count in faults.items()] + details
        left = report["leftovers"] = soak.leftovers()
        wrong += [f"{left[what]} {what}" for what in ("nobody's files", "of them not there") if left[what]]
        report["status"] = {k: status[k] for k in ("accepted", "delivered", "pending", "skipped", "discarded")}
        soak.relay.stop()
    except AssertionError as failed:
        wrong.append(str(failed))
    finally:
        soak.watch.over.set()
        soak.visitors.over.set()
        soak.talk.may_answer.set()
        wrong += soak.end()[:20]
        signal.signal(signal.SIGINT, before)
    report["log"], never = soak.log_of()
    wrong += never
    settle_s = soak.dedupe_s * 1.4   # all that is kept for a time has been kept for that time, in memory, too
    warm_up_s = options.warm_up or settle_s
    found = slopes.findings(soak.watch.samples, warm_up_s, settle_s)
    report.update(strikes=soak.strikes.done, not_done=soak.strikes.undone, wrong=wrong, findings=[each._asdict() for each in found],
                  unjudged=slopes.unjudged(found), short=[each._asdict() for each in slopes.short_lives(soak.watch.samples, found)])
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "samples.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(json.dumps(sample) + "\n" for sample in soak.watch.samples)
    with open(os.path.join(options.out, "slopes.svg"), "w", encoding="utf-8") as file:
        file.write(slopes.picture(soak.watch.samples, soak.strikes.done, found))
    return report, found, not wrong


def control(options, directory):
    """A relay that leaks memory and descriptors, for a short time without strikes: what of it was found flat."""
    library = os.path.join(directory, "leak.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(ROOT, "tests/soak/leak.c")], check=True)
    soak = Soak(directory, options.control, min(options.rate, 50), options.seed, every_s=0.5, chats=10)
    before = soak.relay.environment.get("LD_PRELOAD")
    soak.relay.environment["LD_PRELOAD"] = library + (":" + before if before else "")
    try:
        soak.run(strikes=False)
    finally:
        for part in (soak.visitors, soak.watch):
            part.over.set()
        soak.hooks.over.set()
        soak.files.over.set()
        soak.talk.each = 0
        soak.talk.may_answer.set()
        for thread in soak.talk.threads:
            thread.join(30)
        if soak.relay.process is not None:
            soak.relay.kill()
        soak.end()
    found = slopes.findings(soak.watch.samples, options.control / 4, options.control / 4, {name: slopes.RULES[name] for name in ("anonymous", "descriptors")})
    print("\n".join(slopes.line_of(each) for each in found))
    return [name for name in ("anonymous", "descriptors") if not any(each.name == name and not each.flat for each in found)]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--hours", type=float, default=1)
    parser.add_argument("--rate", type=float, default=100, help="signed webhooks a second; chats and files come on top")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--warm-up", type=float, help="seconds of each life of the daemon that are not judged, nor is a life of less than twice that; "
                        "1.4 times retention.dedupe, seven minutes in an hour's run")
    parser.add_argument("--control", type=float, default=60, help="seconds of the negative control; 0: none")
    parser.add_argument("--out", default=os.path.join(ROOT, "build/soak"))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tributary-soak-") as directory:
        report, found, good = play(options, directory)
    print("\n".join(slopes.line_of(each) for each in found))
    print("\n".join(report["wrong"][:40]) if report["wrong"] else "nothing lost, doubled or reordered; verify and the sum hold")
    print(json.dumps({key: report.get(key) for key in ("counts", "status", "leftovers")}))
    print(f"log: {report['log']['lines']} lines, {report['log']['bytes']} bytes")
    for short in report["short"]:
        print("{name:12} {begin:6.0f}..{end:6.0f} s, too short for a slope: at most {most:.2f} of {allowed:.2f} {unit}".format(**short)
              + (": well" if short["well"] else ": TOO MUCH"))
    steep = [each for each in found if not each.flat]
    good = good and not steep and not report["unjudged"] and all(short["well"] for short in report["short"])
    if report["unjudged"]:
        print("not judged, the run was too short: " + ", ".join(report["unjudged"]))
    if options.control:
        with tempfile.TemporaryDirectory(prefix="tributary-soak-") as directory:
            missed = control(options, directory)
        print("control, a relay that leaks: " + ("NOT found: " + ", ".join(missed) if missed else "found out"))
        good, report["control"] = good and not missed, "missed" if missed else "found out"
    report["good"] = good
    write_json(os.path.join(options.out, "report.json"), report)
    print("GOOD" if good else "BAD", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
