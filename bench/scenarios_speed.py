"""Scenarios of how fast: the machine's limits, taking in, carrying through, to which desk. A scenario gets the report and a lab of its own."""
import lab as labs
import limits
from drive import CONNECTIONS, LANES, check_answers, check_sum, drained_rate, generate, through
from lab import Sink
from relay import TELEGRAM_SECRET, WEBHOOK_SOURCE, Relay, Sandbox, cpu_since, telegram_source

SLOW_MS = 20  # the slow desk
SLOW_CONCURRENCY = 1024
HOT_CONCURRENCY, HOT_RATE, OTHERS_RATE = 64, 4000, 1000
BODY = 64 * 1024


def machine(report, lab):
    """The limits of this machine, for the ratios, and that generator and sink are not among them."""
    nginx = limits.nginx_rate(lab, 3)
    report.add("machine", "nginx `return 200`, the same POSTs, 64 connections", nginx["rate"], "/s", key="nginx")
    sink = Sink(lab)
    for connections in (1, CONNECTIONS):
        load = lab.generate(sink.port, seconds=2, connections=connections, lanes=LANES, secret=labs.SOURCE_SECRET, run=connections,
                            first_lane=connections * LANES)
        check_answers(load, "generator to sink")
        sink.expect(load["counts"])
        report.add("machine", f"bare keep-alive client straight into the sink, {connections} connection{'s' if connections > 1 else ''}", load["rate"], "/s",
                   book=sink.report(), key="bare" if connections > 1 else None)
        report.run("machine", f"straight to the sink, {connections}", load, seconds=load["seconds"])
    report.run("machine", "straight, as the sink saw it", book=sink.report())
    sink.close()
    straight_to_intercom(report, lab)
    flush = limits.flush_probe(lab.dir)
    report.add("machine", "append of 64 rows of 400 bytes and fdatasync", flush["rows_per_s"], "rows/s", key="flushed")
    report.add("machine", "  one of them, p99", flush["flush_ms"]["p99"], "ms")
    report.details["machine"] = {"nginx": nginx, "flush": flush}


def straight_to_intercom(report, lab):
    sink = Sink(lab, desk="intercom")
    sink.begin_conversations(CONNECTIONS)
    load = lab.generate(sink.port, seconds=2, connections=CONNECTIONS, lanes=CONNECTIONS, shape="intercom", secret="bench-token",
                        after=sink.begun)
    check_answers(load, "generator to Intercom sink")
    sink.expect(load["counts"])
    book = sink.report()
    sink.close()
    report.add("machine", "bare keep-alive client straight into the Intercom sink, 64 connections", load["rate"], "/s", book=book, key="bare intercom")
    report.run("machine", "straight to the Intercom sink", load, book, seconds=load["seconds"])


def take_in(report, lab, name, loads, source=WEBHOOK_SOURCE):
    """Durable answers, nothing delivered meanwhile (the account is inactive); then a restart with the account active, and the drain."""
    sink = Sink(lab)
    relay = Relay(lab, name)
    relay.configure(sink, active=False, source=source)
    relay.start()
    found = []
    for number, options in enumerate(loads):
        cpu = relay.cpu()
        load = generate(lab, relay, run=number, after=found[-1]["counts"] if found else None, **options)
        check_answers(load, name)
        report.run("ingest", f"{name}, {options['connections']} at a time", load, cpu=cpu_since(relay, cpu), seconds=load["seconds"],
                   memory=relay.memory_mib())
        found.append(load)
    early = sink.report()["received"]
    if early:
        report.trouble("ingest", f"{early} messages were delivered while the account was inactive")
    relay.stop()
    relay.configure(sink, source=source)
    relay.start()
    cpu = relay.cpu()
    sink.expect(found[-1]["counts"])
    accepted = sum(load["answered"] for load in found)
    book = sink.wait_for(accepted)
    report.run("ingest", f"{name}, drained", book=book, cpu=cpu_since(relay, cpu), seconds=(book["last_ns"] - book["first_ns"]) / 1e9,
               memory=relay.memory_mib())
    check_sum(report, "ingest", relay, accepted)
    relay.stop()
    sink.close()
    return found, book


def ingest(report, lab):
    """(a) Durable answers over 1, 64 and 512 connections, signed webhooks; 64 with Telegram's updates; what waits is drained after."""
    seconds = 10 if report.options.long else 2
    before = limits.nginx_rate(lab, 2)["rate"]
    loads = [{"connections": n, "seconds": seconds} for n in (1, CONNECTIONS, 512)]
    (one, many, most), book = take_in(report, lab, "webhooks", loads)
    after = limits.nginx_rate(lab, 2)["rate"]
    report.add("ingest", "durable answers, 1 connection", one["rate"], "/s", book=book)
    report.add("ingest", "durable answers, 64 connections", many["rate"], "/s", book=book, key="ingest")
    report.add("ingest", "  over 64, of nginx' rate just before and after", many["rate"] / ((before + after) / 2), "", 0.35)
    report.ratio("ingest", "  over 64, of rows appended and flushed in groups of 64", many["rate"], "flushed")
    report.add("ingest", "  over 64, answered within, p99", many["latency_us"]["p99"] / 1e3, "ms", 5, better="less")
    report.add("ingest", "durable answers, 512 connections", most["rate"], "/s", book=book)
    report.add("ingest", "  over 512, of the rate over 64", most["rate"] / many["rate"], "", 0.8)
    report.add("ingest", "waiting messages drained after a restart", drained_rate(book), "/s", book=book)
    sandbox = Sandbox(lab)
    loads = [{"connections": CONNECTIONS, "seconds": seconds, "shape": "telegram", "secret": TELEGRAM_SECRET}]
    (telegram,), book = take_in(report, lab, "telegram", loads, telegram_source(sandbox.telegram))
    sandbox.close()
    report.add("ingest", "durable answers to Telegram's updates, 64 connections", telegram["rate"], "/s", book=book)


def delivery(report, lab):
    """(b) End to end at 1 to 100,000 lanes, to a desk that answers at once and to one that takes 20 ms."""
    more = 5 if report.options.long else 1
    for lanes, count, key in ((1, 4000, None), (64, 40000, None), (1000, 100000, "delivery"), (10000, 100000, None), (100000, 120000, None)):
        rate, book = through(report, lab, "delivery", f"{lanes:,} lanes, 0 ms", count * more, lanes=lanes)
        target = {1: 1500, 1000: 20000}.get(lanes)
        report.add("delivery", f"end to end, {lanes:,} lane{'s' if lanes > 1 else ''}, desk of 0 ms", rate, "/s", target, book=book, key=key)
        if lanes == 1000:
            report.ratio("delivery", "  at 1,000 lanes, of the bare client's rate", rate, "bare")
        if lanes > 1000:
            report.ratio("delivery", f"  at {lanes:,} lanes, of the rate at 1,000", rate, "delivery", 0.8)
    for lanes, count in ((1, 100), (64, 5000), (1000, 40000), (10000, 80000), (100000, 120000)):
        rate, book = through(report, lab, "delivery", f"{lanes:,} lanes, {SLOW_MS} ms", count * more, lanes=lanes, sink={"delay_ms": SLOW_MS},
                             delivery={"concurrency": SLOW_CONCURRENCY})
        report.add("delivery", f"end to end, {lanes:,} lane{'s' if lanes > 1 else ''}, desk of {SLOW_MS} ms, concurrency {SLOW_CONCURRENCY:,}",
                   rate, "/s", book=book)
        if lanes == 10000:
            report.ratio("delivery", "  20 ms at 10,000 lanes, of 0 ms at 1,000", rate, "delivery", 0.6)


def intercom(report, lab):
    """(c) The Intercom path: contact and conversation of each lane are made first, then replies are measured."""
    count = 500000 if report.options.long else 50000
    sink = Sink(lab, desk="intercom")
    relay = Relay(lab, "intercom")
    relay.configure(sink)
    relay.start()
    begun = generate(lab, relay, count=LANES)
    sink.wait_for(begun["answered"])
    sink.split()
    cpu, sink_cpu_s = relay.cpu(), sink.report()["cpu_s"]
    load = generate(lab, relay, count=count, run=1, after=begun["counts"])
    sink.expect(load["counts"])
    book = sink.wait_for(begun["answered"] + load["answered"])
    used, seconds = cpu_since(relay, cpu), (book["last_ns"] - load["first_send_ns"]) / 1e9
    check_answers(load, "intercom")
    check_sum(report, "intercom", relay, begun["answered"] + load["answered"])
    book["cpu_s"] -= sink_cpu_s
    report.run("intercom", "replies, 1,000 lanes", load, book, used, seconds, relay.memory_mib())
    relay.stop()
    sink.close()
    report.add("intercom", "end to end to Intercom, 1,000 lanes, each a reply", load["answered"] / seconds, "/s", 10000, book=book)
    report.ratio("intercom", "  of the bare client's rate", load["answered"] / seconds, "bare intercom")


def tls(report, lab):
    """(k) TLS to the desk (the sink speaks it itself, with OpenSSL)."""
    rate, book = through(report, lab, "tls", "1,000 lanes, 0 ms", 500000 if report.options.long else 50000, sink={"tls": True})
    report.add("tls", "end to end, 1,000 lanes, TLS to the desk", rate, "/s", book=book)
    report.ratio("tls", "  TLS, of the rate without it", rate, "delivery", 0.6)


def bodies(report, lab):
    """(j) Messages of 64 KiB."""
    rate, book = through(report, lab, "bodies", "64 KiB each, 1,000 lanes", 50000 if report.options.long else 5000, pad=BODY)
    report.add("bodies", "end to end, 64 KiB each, 1,000 lanes, desk of 0 ms", rate, "/s", book=book)
    report.add("bodies", "  that is", rate * BODY / 2**20, "MiB/s")


def hot(report, lab):
    """(i) One hot account among many: what the others' messages wait, before and while it has more than the relay may have in flight."""
    count, seconds = (10000, 20) if report.options.long else (10000, 5)
    sink = Sink(lab, delay_ms=SLOW_MS)
    relay = Relay(lab, "hot")
    relay.configure(sink, accounts=count, others=[("hot", True)], delivery={"concurrency": HOT_CONCURRENCY})
    relay.start()
    others = {"lanes": count, "accounts": count, "connections": 16}
    begun = generate(lab, relay, count=count, **others)
    sink.wait_for(begun["answered"])
    sink.split(count)
    calm = generate(lab, relay, seconds=seconds, rate=OTHERS_RATE, run=1, after=begun["counts"], **others)
    before = sink.wait_for(begun["answered"] + calm["answered"])
    report.run("hot", "the others alone", calm, before, seconds=calm["seconds"])
    sink.split(count)
    flood = lab.launch(relay.port, account="hot", first_lane=count, lanes=LANES, connections=CONNECTIONS, seconds=seconds, rate=HOT_RATE, run=2,
                       secret=labs.SOURCE_SECRET)
    crowd = generate(lab, relay, seconds=seconds, rate=OTHERS_RATE, run=3, after=calm["counts"], **others)
    flood = flood()
    sink.expect(crowd["counts"], flood["counts"])
    accepted = sum(load["answered"] for load in (begun, calm, crowd, flood))
    book = sink.wait_for(accepted)
    for load in (begun, calm, crowd, flood):
        check_answers(load, "hot")
    check_sum(report, "hot", relay, accepted)
    report.run("hot", "the others beside it", crowd, book, seconds=crowd["seconds"], memory=relay.memory_mib())
    report.run("hot", "the hot one", flood, book, seconds=flood["seconds"], arrived="latency_above_us")
    relay.stop()
    sink.close()
    was, became = (b["latency_us"]["p99"] / 1e3 for b in (before, book))
    report.add("hot", f"{count:,} accounts at {OTHERS_RATE:,}/s, desk of {SLOW_MS} ms, concurrency {HOT_CONCURRENCY}, arrived, p99", was, "ms", book=book)
    report.add("hot", f"  beside one with {HOT_RATE:,}/s, p99", became, "ms", 2 * was, better="less", book=book)


SCENARIOS = (machine, ingest, delivery, intercom, tls, bodies, hot)
