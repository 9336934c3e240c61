#!/usr/bin/python3
"""The benchmark:  script/bench [--only NAME]... [--seconds S] [--messages N] [--accounts N] [--json FILE] [--directory DIR]

Starts the relay, a generator, a sink that stands for the desk, and nginx, all on the loopback of this machine; measures; prints one table
and writes one JSON report (build/bench/report.json). Scenarios: machine, ingest, delivery, idle, accounts. docs/performance.md says what
each figure means. Ends with 1 when something could not be measured or a message was lost, repeated or out of order; a target that is not
met is shown, and is no failure, since targets belong to the machine they were set for.
"""
import argparse
import json
import os
import signal
import sys
import time

import lab as labs
import selftest
from lab import Nginx, Relay, Sink, Trouble

LANES = 1000
CONNECTIONS = 64
NOISE_PERCENT = 5  # of the machine, used by others during a scenario: more is said under the table


class Report:
    """Figures as they come, the table, the JSON file."""

    def __init__(self, options):
        self.options = options
        self.figures = []
        self.details = {}
        self.troubles = []
        self.others = {}  # percent of the machine that others used, by scenario

    def add(self, scenario, what, value, unit, target=None, better="more", sink=None):
        met = None if target is None else (value >= target if better == "more" else value <= target)
        self.figures.append({"scenario": scenario, "figure": what, "value": value, "unit": unit, "target": target, "better": better, "met": met})
        if sink:
            self.figures[-1].update({k: sink[k] for k in ("lost", "duplicated", "reordered")})
            wrong = {k: sink[k] for k in ("lost", "duplicated", "reordered", "unexpected", "malformed") if sink[k]}
            if wrong:
                self.troubles.append(f"{scenario}: {wrong}, the first lost: {sink['lost_first']}")

    def value(self, what):
        return next((f["value"] for f in self.figures if f["figure"] == what), None)

    def trouble(self, scenario, why):
        self.troubles.append(f"{scenario}: {why}")

    def table(self):
        rows = [("scenario", "figure", "value", "target", "", "lost", "twice", "late")]
        for f in self.figures:
            sign = ">=" if f["better"] == "more" else "<="
            rows.append((f["scenario"], f["figure"], f"{shown(f['value'])} {f['unit']}",
                         f"{sign} {shown(f['target'])}" if f["target"] is not None else "",
                         {True: "met", False: "missed", None: ""}[f["met"]],
                         *(str(f.get(k, "")) for k in ("lost", "duplicated", "reordered"))))
        width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        right = (2, 3, 5, 6, 7)
        lines = []
        for row in rows:
            cells = (row[i].rjust(width[i]) if i in right else row[i].ljust(width[i]) for i in range(len(row)))
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines[:1] + ["-" * max(map(len, lines))] + lines[1:])

    def write(self, path, machine, took_s):
        path = os.path.abspath(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as file:
            json.dump({"machine": machine, "options": vars(self.options), "took_s": round(took_s, 1),
                       "others_percent": self.others, "figures": self.figures,
                       "troubles": self.troubles, "details": self.details}, file, indent=1)
        os.replace(path + ".new", path)


def shown(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def say(text):
    print(f"bench: {text} ...", file=sys.stderr, flush=True)


def cpu_per_message(used, messages):
    return {name: round(s * 1e6 / messages, 2) for name, s in sorted(used.items(), key=lambda e: -e[1]) if s * 1e6 / messages >= 0.01}


def check_answers(load, what):
    if set(load["status"]) != {"200"} or load["broken"] or load["unanswered"]:
        raise Trouble(f"{what}: answers {load['status']}, {load['broken']} connections broken, {load['unanswered']} messages unanswered")


def check_sum(report, scenario, relay, accepted):
    """What the relay says of itself must agree with what was seen from outside."""
    wanted = {"accepted": accepted, "delivered": accepted, "pending": 0, "skipped": 0, "discarded": 0}
    status = {}
    for _ in range(40):  # the last verdict is committed a moment after its answer
        status = relay.status()
        if all(status.get(k, v) == v for k, v in wanted.items()):
            break
        time.sleep(0.05)
    else:
        report.trouble(scenario, f"status says {status}, the generator had {accepted} accepted")
    for line in relay.complaints()[:5]:
        report.trouble(scenario, f"the relay logged {line}")
    return status


def measure_nginx(lab, seconds):
    nginx = Nginx(lab)
    load = lab.generate(nginx.port, seconds=seconds, connections=CONNECTIONS, lanes=LANES, secret=labs.SOURCE_SECRET)
    nginx.close()
    check_answers(load, "nginx")
    return load


def machine(report, lab):
    """The limits of this machine, for the ratios, and that generator and sink are not among them."""
    seconds = min(report.options.seconds, 3)
    nginx = measure_nginx(lab, seconds)
    report.add("machine", "nginx `return 200`, the same POSTs, 64 connections", nginx["rate"], "/s")
    sink = Sink(lab)
    direct = lab.generate(sink.port, seconds=seconds, connections=CONNECTIONS, lanes=LANES, secret=labs.SOURCE_SECRET)
    sink.expect(direct["counts"])
    book = sink.report()
    sink.close()
    check_answers(direct, "generator to sink")
    report.add("machine", "generator straight into the sink", direct["rate"], "/s", sink=book)
    flush = labs.flush_probe(lab.dir)
    report.add("machine", "append of 64 rows and fdatasync", flush["flushes_per_s"], "/s")
    report.add("machine", "  one of them, p99", flush["flush_ms"]["p99"], "ms")
    report.details["machine"] = {"nginx": nginx, "generator_to_sink": direct, "sink": book, "flush": flush}


def ingest(report, lab):
    """Durable answers, nothing delivered meanwhile (the account is inactive); then a restart with the account active, and the drain."""
    sink = Sink(lab)
    relay = Relay(lab, "ingest")
    relay.configure(sink.port, active=False)
    relay.start()
    before = measure_nginx(lab, 2)
    cpu = relay.cpu()
    load = lab.generate(relay.port, seconds=report.options.seconds, connections=CONNECTIONS, lanes=LANES, secret=labs.SOURCE_SECRET)
    used = labs.cpu_since(relay, cpu)
    rss = relay.rss_mib()
    after = measure_nginx(lab, 2)
    check_answers(load, "ingest")
    early = sink.report()["received"]
    if early:
        report.trouble("ingest", f"{early} messages were delivered while the account was inactive")
    relay.stop()
    relay.configure(sink.port, active=True)
    restart = relay.start()
    cpu = relay.cpu()
    sink.expect(load["counts"])
    book = sink.wait_for(load["answered"])
    drain_used = labs.cpu_since(relay, cpu)
    status = check_sum(report, "ingest", relay, load["answered"])
    relay.stop()
    sink.close()
    nginx_rate = (before["rate"] + after["rate"]) / 2
    drained = book["received"] / max((book["last_ns"] - book["first_ns"]) / 1e9, 1e-9)
    report.add("ingest", "durable answers, 64 connections", load["rate"], "/s", 20000, sink=book)
    report.add("ingest", "  of nginx' rate just before and after", load["rate"] / nginx_rate, "", 0.2)
    report.add("ingest", "  answered within, p99", load["latency_us"]["p99"] / 1e3, "ms")
    report.add("ingest", "  CPU of the relay", sum(used.values()) * 1e6 / load["answered"], "us/msg")
    report.add("ingest", "waiting messages drained after a restart", drained, "/s")
    report.details["ingest"] = {"load": load, "nginx_before": before["rate"], "nginx_after": after["rate"], "rss_mib": rss,
                                "cpu_us_per_message": cpu_per_message(used, load["answered"]), "restart_s": restart, "sink": book,
                                "drain_cpu_us_per_message": cpu_per_message(drain_used, load["answered"]), "status": status}


def delivery(report, lab):
    """Generator, relay and sink at once: durable in, in order out, durably delivered; from the first send to the last arrival."""
    sink = Sink(lab)
    relay = Relay(lab, "delivery")
    relay.configure(sink.port)
    relay.start()
    cpu = relay.cpu()
    load = lab.generate(relay.port, count=report.options.messages, connections=CONNECTIONS, lanes=LANES, secret=labs.SOURCE_SECRET)
    sink.expect(load["counts"])
    book = sink.wait_for(load["answered"])
    used = labs.cpu_since(relay, cpu)
    rss = relay.rss_mib()
    status = check_sum(report, "delivery", relay, load["answered"])
    relay.stop()
    sink.close()
    check_answers(load, "delivery")
    seconds = (book["last_ns"] - load["first_send_ns"]) / 1e9
    report.add("delivery", "end to end, 1,000 lanes, desk of 0 ms", book["received"] / seconds, "/s", 8000, sink=book)
    report.add("delivery", "  CPU of the relay", sum(used.values()) * 1e6 / load["answered"], "us/msg")
    report.add("delivery", "  resident memory at the end", rss, "MiB")
    report.details["delivery"] = {"load": load, "seconds": seconds, "sink": book, "rss_mib": rss, "status": status,
                                  "cpu_us_per_message": cpu_per_message(used, load["answered"])}


def idle(report, lab):
    """An empty store's memory, then one message at a time with pauses: how long from the webhook's sending to its arrival at the desk."""
    sink = Sink(lab)
    relay = Relay(lab, "idle")
    relay.configure(sink.port)
    relay.start()
    time.sleep(1)
    rss = relay.rss_mib()
    load = lab.generate(relay.port, seconds=8, rate=50, connections=1, lanes=50, secret=labs.SOURCE_SECRET)
    sink.expect(load["counts"])
    book = sink.wait_for(load["answered"])
    status = check_sum(report, "idle", relay, load["answered"])
    relay.stop()
    sink.close()
    check_answers(load, "idle")
    report.add("idle", "resident memory, empty store", rss, "MiB", 40, better="less")
    report.add("idle", "webhook sent to arrived at the desk, p50", book["latency_us"]["p50"] / 1e3, "ms", 5, better="less", sink=book)
    report.add("idle", "  p99", book["latency_us"]["p99"] / 1e3, "ms")
    report.add("idle", "webhook answered, p50", load["latency_us"]["p50"] / 1e3, "ms")
    report.details["idle"] = {"load": load, "sink": book, "rss_mib": rss, "status": status}


def accounts(report, lab):
    """What many accounts cost that do nothing: signed-webhook sources, all from the file."""
    count = report.options.accounts
    sink = Sink(lab)
    relay = Relay(lab, "accounts")
    relay.configure(sink.port, accounts=count)
    ready = relay.start(patience_s=120)
    time.sleep(3)
    rss, before, began = relay.rss_mib(), relay.cpu(), time.monotonic()
    time.sleep(30)
    used = labs.cpu_since(relay, before)
    percent = sum(used.values()) / (time.monotonic() - began) * 100
    relay.stop()
    sink.close()
    report.add("accounts", f"{count:,} idle accounts, of one core over 30 s", percent, "%", 0.1, better="less")
    report.add("accounts", "  resident memory", rss, "MiB")
    report.add("accounts", "  first start, the file read and stored", ready, "s")
    report.details["accounts"] = {"count": count, "cpu_s_by_thread": used, "rss_mib": rss, "first_start_s": ready}


SCENARIOS = {f.__name__: f for f in (machine, ingest, delivery, idle, accounts)}


def arguments():
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="this scenario; may be repeated")
    parser.add_argument("--seconds", type=float, default=5, help="of ingest (5)")
    parser.add_argument("--messages", type=int, default=100000, help="of delivery (100000)")
    parser.add_argument("--accounts", type=int, default=100000, help="that do nothing (100000)")
    parser.add_argument("--json", default=os.path.join(labs.ROOT, "build", "bench", "report.json"), help="where the report goes")
    parser.add_argument("--directory", default=os.path.join(labs.ROOT, "build", "bench"), help="where the stores lie; its disk is measured")
    parser.add_argument("--priority", action="store_true", help="before other programs of the machine (nice -19; needs root)")
    return parser.parse_args()


def main():
    options = arguments()
    report = Report(options)
    host = labs.machine()
    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a shell's background jobs ignore it
        signal.signal(number, signal.default_int_handler)
    labs.sweep(options.directory)
    try:
        with labs.Lab(options.directory, options.priority) as lab:
            say("self-test of generator and sink")
            selftest.run(lab)
        for name in options.only or SCENARIOS:
            say(f"{name}: {SCENARIOS[name].__doc__.splitlines()[0]}")
            others = labs.Others()
            with labs.Lab(options.directory, options.priority) as lab:
                try:
                    SCENARIOS[name](report, lab)
                except (Trouble, OSError) as trouble:
                    report.trouble(name, str(trouble))
            report.others[name] = round(others.percent(), 1)
    except KeyboardInterrupt:
        print("bench: interrupted; everything is stopped", file=sys.stderr)
        return 130
    took = time.monotonic() - began
    report.write(options.json, host, took)
    print(f"{host['cpus']} x {host['cpu']}, {host['memory_mib']} MiB, Linux {host['kernel']}, commit {host['commit']}; all on the loopback, "
          f"load before {host['load_before']:.1f}; {took:.0f} s\n")
    print(report.table())
    noisy = {name: percent for name, percent in report.others.items() if percent > NOISE_PERCENT}
    if noisy:
        print("\nNOISY  other programs used the machine meanwhile: " + ", ".join(f"{n} {p:.0f} %" for n, p in noisy.items()))
    for trouble in report.troubles:
        print(f"\nWRONG  {trouble}")
    print(f"\nreport: {os.path.relpath(options.json)}")
    return 1 if report.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
