"""Scenarios of how much: what an idle relay costs, many accounts, a desk that is down, a table that grows, a restart with much waiting."""
import os
import sqlite3
import time

import lab as labs
import limits
from drive import LANES, check_answers, check_sum, drained_rate, generate
from lab import Sink, Trouble, free_port
from relay import Relay, cpu_since


def idle(report, lab):
    """(d) An empty store's memory; one message at a time with pauses: from the webhook's sending to its arrival at the desk."""
    sink = Sink(lab)
    relay = Relay(lab, "idle")
    relay.configure(sink)
    relay.start()
    time.sleep(1)
    memory = relay.memory_mib()
    flush = [limits.flush_probe(lab.dir)["flush_ms"]["p99"]]
    cpu = relay.cpu()
    load = generate(lab, relay, seconds=30 if report.options.long else 8, rate=100, connections=1, lanes=50)
    flush.append(limits.flush_probe(lab.dir)["flush_ms"]["p99"])
    sink.expect(load["counts"])
    book = sink.wait_for(load["answered"])
    check_answers(load, "idle")
    check_sum(report, "idle", relay, load["answered"])
    report.run("idle", "100/s over one connection", load, book, cpu_since(relay, cpu), seconds=load["seconds"], memory=relay.memory_mib())
    relay.stop()
    sink.close()
    report.add("idle", "resident memory, empty store", memory, "MiB", 40, better="less")
    report.add("idle", "webhook sent to arrived at the desk, p50", book["latency_us"]["p50"] / 1e3, "ms", 1.5, better="less", book=book)
    report.add("idle", "  p99 (wanted: 4 times p99 of a flush, and 2 ms)", book["latency_us"]["p99"] / 1e3, "ms", 2 * sum(flush) + 2, better="less")
    report.add("idle", "  p99 of one flush, just before and after", sum(flush) / 2, "ms")
    report.add("idle", "webhook answered, p50", load["latency_us"]["p50"] / 1e3, "ms")


def accounts(report, lab):
    """(e) What many accounts cost that do nothing: signed-webhook sources, all from the file."""
    seconds = 30 if report.options.long else 6
    for count in (10000, 100000, 1000000) if report.options.long else (10000, 100000):
        relay = Relay(lab, f"accounts-{count}")
        relay.configure(free_port(), accounts=count)
        ready = relay.start(patience_s=900)
        time.sleep(3)
        before, began = relay.cpu(), time.monotonic()
        time.sleep(seconds)
        used = cpu_since(relay, before)
        percent = sum(used.values()) / (time.monotonic() - began) * 100
        memory, most = relay.memory_mib(), relay.memory_mib("VmHWM")
        relay.stop()
        again = relay.start(patience_s=900)
        relay.stop()
        report.add("accounts", f"{count:,} idle accounts, of one core over {seconds} s", percent, "%", 0.2, better="less")
        report.add("accounts", f"  resident memory of {count:,}", memory, "MiB", {10000: 60, 1000000: 400}.get(count), better="less")
        report.add("accounts", "  first start, the file read and stored", ready, "s")
        report.add("accounts", "  start with the same file again", again, "s")
        report.details[f"accounts {count}"] = {"cpu_s_by_thread": used, "memory_mib": memory, "most_mib": most, "first_start_s": ready, "again_s": again}


def outage(report, lab):
    """(f) The desk is down while messages come; then it is back."""
    for count, lanes in ((1000000, 100000), (10000000, 100000)) if report.options.long else ((100000, 10000),):
        port = free_port()
        relay = Relay(lab, f"outage-{count}")
        relay.configure(port)
        relay.start()
        time.sleep(1)
        before = relay.memory_mib()
        cpu = relay.cpu()
        load = generate(lab, relay, count=count, lanes=lanes, patience=60)
        check_answers(load, "outage")
        after = relay.memory_mib()
        name = f"{count:,} waiting in {lanes:,} lanes"
        report.run("outage", name, load, cpu=cpu_since(relay, cpu), seconds=load["seconds"], memory=after)
        cpu, back_ns = relay.cpu(), time.monotonic_ns()
        sink = Sink(lab, port=port)
        sink.expect(load["counts"])
        book = sink.wait_for(load["answered"], idle_s=60)
        most = relay.memory_mib("VmHWM")
        check_sum(report, "outage", relay, load["answered"], "desk_suspended")
        report.run("outage", "  drained", book=book, cpu=cpu_since(relay, cpu), seconds=(book["last_ns"] - book["first_ns"]) / 1e9, memory=relay.memory_mib())
        relay.stop()
        sink.close()
        report.add("outage", f"memory grown by {name}", after - before, "MiB", 64, better="less")
        report.add("outage", "  by the end of the drain, at most", most - before, "MiB")
        report.add("outage", "  desk back to the first delivery", (book["first_ns"] - back_ns) / 1e9, "s")
        report.add("outage", "  drained after", drained_rate(book), "/s", book=book)
        report.ratio("outage", "  drained, of end to end at 1,000 lanes", drained_rate(book), "delivery", 0.8)


def count_rows(relay):
    """Rows, and how many of them retention has taken the text of."""
    with sqlite3.connect(f"file:{os.path.join(relay.dir, 'tributary.db')}?mode=ro", uri=True) as store:
        return store.execute("SELECT count(*), coalesce(sum(body_gone), 0) FROM messages").fetchone()


def until_retention_works(lab, relay, empty):
    """It begins every 30 s and goes a step with each group that is committed: so a little is sent until the first text is gone."""
    loads = [empty]
    while len(loads) < 300:
        with sqlite3.connect(f"file:{os.path.join(relay.dir, 'tributary.db')}?mode=ro", uri=True) as store:
            found = store.execute("SELECT body_gone FROM messages WHERE id > ? ORDER BY id LIMIT 1", (empty["answered"],)).fetchone()
        if found[0]:
            return loads[1:]
        loads.append(generate(lab, relay, account="still", count=200, run=1 + len(loads), after=loads[-1]["counts"]))
        time.sleep(0.2)
    raise Trouble("retention takes no text")


def growth(report, lab):
    """(g) Taking in with an empty table and with a full one, while retention removes old texts."""
    count, lanes, seconds = (10000000, 100000, 10) if report.options.long else (150000, 10000, 3)
    sink = Sink(lab)
    relay = Relay(lab, "growth")
    retention = {"bodies": "1s", "dedupe": "30d"}
    relay.configure(sink, others=[("still", False), ("later", False)], retention=retention)
    relay.start()
    cpu = relay.cpu()
    empty = generate(lab, relay, account="still", seconds=seconds)
    report.run("growth", "into an empty table", empty, cpu=cpu_since(relay, cpu), seconds=empty["seconds"], memory=relay.memory_mib())
    fill = generate(lab, relay, count=count, run=1, first_lane=LANES, lanes=lanes, patience=60)
    sink.wait_for(fill["answered"], idle_s=60)
    taken = [empty] + until_retention_works(lab, relay, empty)
    still = taken[-1]
    cpu = relay.cpu()
    full = generate(lab, relay, account="later", seconds=seconds, run=899, first_lane=LANES + lanes)  # with nothing waiting before it, as the first
    report.run("growth", f"beside {fill['answered']:,} more rows", full, cpu=cpu_since(relay, cpu), seconds=full["seconds"], memory=relay.memory_mib())
    taken += [fill, full]
    for load in taken:
        check_answers(load, "growth")
    relay.stop()
    rows, aged = count_rows(relay)
    relay.configure(sink, others=[("still", True), ("later", True)], retention=retention)
    relay.start()
    sink.expect(fill["counts"], still["counts"], full["counts"])
    accepted = sum(load["answered"] for load in taken)
    book = sink.wait_for(accepted, idle_s=60)
    check_sum(report, "growth", relay, accepted)
    report.run("growth", "all of it", book=book)
    relay.stop()
    sink.close()
    report.add("growth", "durable answers, empty table", empty["rate"], "/s", book=book)
    report.add("growth", f"durable answers beside {rows:,} rows, at the end {aged:,} without text", full["rate"], "/s", book=book)
    report.add("growth", "  beside them, of the empty table's", full["rate"] / empty["rate"], "", 0.85)


def restart(report, lab):
    """(h) kill -9 with many waiting: from the start of the process to the first 200 and to the first delivery."""
    count, lanes = (1000000, 100000) if report.options.long else (150000, 10000)
    sink = Sink(lab)
    relay = Relay(lab, "restart")
    relay.configure(sink, active=False)
    relay.start()
    load = generate(lab, relay, count=count, lanes=lanes, patience=60)
    check_answers(load, "restart")
    relay.kill()
    relay.configure(sink)
    sender = lab.launch(relay.port, count=1, connections=1, lanes=1, run=1, after=load["counts"], secret=labs.SOURCE_SECRET, patience=120)
    began_ns = time.monotonic_ns()
    ready = relay.start(patience_s=120)
    first = sender()
    sink.expect(load["counts"], first["counts"])
    book = sink.wait_for(load["answered"] + 1, idle_s=60)
    check_sum(report, "restart", relay, load["answered"] + 1)
    report.run("restart", f"{count:,} waiting", book=book, seconds=(book["last_ns"] - book["first_ns"]) / 1e9, memory=relay.memory_mib())
    relay.stop()
    sink.close()
    report.add("restart", f"kill -9 with {count:,} waiting in {lanes:,} lanes, to the first 200", (first["last_answer_ns"] - began_ns) / 1e9, "s", 2,
               better="less", book=book)
    report.add("restart", "  kill -9 to the first delivery", (book["first_ns"] - began_ns) / 1e9, "s", 2, better="less")
    report.add("restart", "  to the log line that it is ready", ready, "s")


SCENARIOS = (idle, accounts, outage, growth, restart)
