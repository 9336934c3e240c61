"""What the scenarios have in common: messages through a relay, from the first send to the last arrival, and the proof that all is there."""
import sys
import time

import lab as labs
from lab import Sink, Trouble
from relay import Relay, cpu_since

CONNECTIONS = 64
LANES = 1000


def say(text):
    print(f"bench: {text} ...", file=sys.stderr, flush=True)


def check_answers(load, what):
    if set(load["status"]) != {"200"} or load["broken"] or load["unanswered"]:
        raise Trouble(f"{what}: answers {load['status']}, {load['broken']} connections broken, {load['unanswered']} messages unanswered")


def check_sum(report, scenario, relay, accepted, expected_event=None):
    """What the relay says of itself must agree with what was seen from outside."""
    wanted = {"accepted": accepted, "delivered": accepted, "pending": 0, "skipped": 0, "discarded": 0}
    deadline = time.monotonic() + 5
    while True:  # the last verdict is committed a moment after its answer
        status = relay.status()
        if status and all(status.get(name, wanted[name]) == wanted[name] for name in wanted):
            break
        if time.monotonic() > deadline:
            report.trouble(scenario, f"status says {status}, the generator had {accepted} accepted")
            break
        time.sleep(0.05)
    for line in relay.complaints(expected_event)[:5]:
        report.trouble(scenario, f"the relay logged {line}")


def generate(lab, relay, **options):
    return lab.generate(relay.port, **{"connections": CONNECTIONS, "lanes": LANES, "secret": labs.SOURCE_SECRET, **options})


def drained_rate(book):
    return book["received"] / max((book["last_ns"] - book["first_ns"]) / 1e9, 1e-9)


def through(report, lab, scenario, name, count, sink=None, lanes=LANES, connections=CONNECTIONS, pad=None, source=None, load=None, **config):
    """Generator, relay and sink at once, durable in, in order out, durably delivered. Messages a second, from the first send to the last
    arrival, and the sink's report. `sink`, `load`: options of theirs; `config`: of the relay's file."""
    sink = Sink(lab, **(sink or {}))
    relay = Relay(lab, f"{scenario}-{name}".replace(" ", "-"))
    relay.configure(sink, **({"source": source} if source else {}), **config)
    relay.start()
    cpu = relay.cpu()
    load = generate(lab, relay, count=count, lanes=lanes, connections=min(connections, lanes), pad=pad, **(load or {}))
    sink.expect(load["counts"])
    book = sink.wait_for(load["answered"])
    used = cpu_since(relay, cpu)
    memory = relay.memory_mib()
    check_answers(load, name)
    check_sum(report, scenario, relay, load["answered"])
    relay.stop()
    sink.close()
    seconds = (book["last_ns"] - load["first_send_ns"]) / 1e9
    report.run(scenario, name, load, book, used, seconds, memory)
    return book["received"] / seconds, book
