#!/usr/bin/python3
"""Shows that the benchmark's own counters can fail:  bench/selftest.py   (after `make bench`; bench/run.py does it first in each run)

The sink is given a loss, a repetition, a late message and an unexpected one and must name each; the generator is put before a server
that refuses, hangs up before and after taking a message, and must bring each message again, unchanged, in the order of its lane.
"""
import base64
import hashlib
import hmac
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from xml.etree import ElementTree

from lab import PROGRAMS, Lab, Sink, free_port
from lab import SOURCE_SECRET as SECRET
from plot import picture
from report import WRONG, Report


def mark(lane, serial, sent_ns=None):
    return f"tributary-bench {lane:07} {serial:09} {sent_ns or time.monotonic_ns():019}"


def send(sink, lane, serial, sent_ns=None):
    sink.ask("POST", "/", json.dumps({"id": "x", "text": mark(lane, serial, sent_ns), "late": False}))


def expect(what, found, **wanted):
    for key, value in wanted.items():
        assert found[key] == value, f"{what}: {key} is {found[key]!r}, not {value!r}"


def test_sink_counts_what_went_wrong(sink):
    for lane, serial in [(0, 1), (0, 2), (0, 2), (0, 4), (0, 3), (1, 1), (1, 3), (70000, 1), (70000, 1)]:
        send(sink, lane, serial)
    expect("before it is told", sink.report(), lost=1, lost_first=["1/2"], expected=None, duplicated=2, reordered=1, received=7,
           deliveries=9)
    sink.ask("POST", "/expect", "0 5\n1 2\n70000 1\n9 2\n")
    expect("after it is told", sink.report(), lost=4, lost_first=["0/5", "1/2", "9/1", "9/2"], expected=10, unexpected=1,
           duplicated=2, reordered=1)
    sink.ask("POST", "/", "no mark")
    sink.ask("HEAD", "/")
    expect("other requests", sink.report(), malformed=1, probes=1)
    sink.ask("POST", "/reset")
    expect("after a reset", sink.report(), lost=0, expected=None, received=0, duplicated=0, reordered=0, malformed=0)
    send(sink, 0, 700)
    expect("a gap", sink.report(), lost=699, reordered=0)
    began = time.monotonic()
    expect("waited in vain", sink.wait_for(2, idle_s=0.2), received=1, lost=699)
    assert 0.2 <= time.monotonic() - began < 5
    send(sink, 0, 700)
    expect("progress", json.loads(sink.ask("GET", "/progress")), received=1, deliveries=2)


def test_sink_measures_latency(sink):
    sink.ask("POST", "/reset")
    send(sink, 0, 1, time.monotonic_ns() - 50_000_000)
    latency = sink.report()["latency_us"]
    assert 50_000 <= latency["p50"] < 5_000_000, f"latency: {latency}"


def test_sink_delays(undelayed):
    sink = Sink(undelayed.lab, delay_ms=30)
    began = time.monotonic()
    send(sink, 0, 1)
    took = time.monotonic() - began
    gone = socket.create_connection(("127.0.0.1", sink.port))  # a client that does not wait
    gone.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    gone.close()
    send(sink, 0, 2)
    received = sink.report()["received"]
    sink.close()
    assert 0.03 <= took < 5 and received == 2, f"delay: {took} s, {received} received"


def test_sink_tells_lanes_apart(sink):
    sink.ask("POST", "/reset")
    sink.split(100)
    send(sink, 99, 1, time.monotonic_ns() - 50_000_000)
    send(sink, 100, 1, time.monotonic_ns() - 500_000_000)
    report = sink.report()
    sink.split()
    expect("counted anew", sink.report()["latency_us"], count=0)
    assert 50_000 <= report["latency_us"]["max"] < 500_000 <= report["latency_above_us"]["max"], report
    assert report["latency_us"]["count"] == report["latency_above_us"]["count"] == 1, report


def tls_client(sink):
    return ssl.create_default_context(cafile=sink.lab.certificate()[0])


def test_sink_speaks_tls(plain):
    sink = Sink(plain.lab, tls=True, delay_ms=1)
    for serial in (1, 2, 2):
        send(sink, 0, serial)
    sink.ask("POST", "/", json.dumps({"text": mark(0, 5) + "x" * 200_000}))
    expect("behind TLS", sink.report(), received=3, duplicated=1, lost=2)
    body = json.dumps({"text": mark(0, 6) + "x" * 10_000}).encode()
    with socket.create_connection(("127.0.0.1", sink.port)) as peer, tls_client(sink).wrap_socket(peer, server_hostname="127.0.0.1") as client:
        client.settimeout(5)
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)  # one record, more than is read at once
        assert client.recv(1000).startswith(b"HTTP/1.1 200"), "a record of 10 KB"
    with socket.create_connection(("127.0.0.1", sink.port)) as stranger:
        stranger.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        try:
            assert b"HTTP/" not in stranger.recv(1000), "it answers without TLS"
        except ConnectionResetError:
            pass
    sink.close()


def compact(value):
    return json.dumps(value, separators=(",", ":"))  # as the relay writes it


def said(contact, text):
    return compact({"from": {"type": "user", "id": contact}, "body": text, "created_at": 1700000000})


def replied(contact, text):
    return compact({"message_type": "comment", "type": "user", "intercom_user_id": contact, "body": text, "created_at": 1700000001})


def test_sink_speaks_intercom(plain):
    sink = Sink(plain.lab, desk="intercom")
    status, body, headers = sink.exchange("GET", "/contacts/find_by_external_id/webhook%3Abench%3Ac1")
    assert status == 404 and int(headers["X-RateLimit-Remaining"]) > 100000 and int(headers["X-RateLimit-Reset"]) > time.time(), body
    contact, conversation = sink.begin_conversations(2)
    found = json.loads(sink.ask("GET", "/contacts/find_by_external_id/webhook%3Abench%3Ac1"))
    expect("a contact", found, id=contact, external_id="webhook:bench:c1", type="contact")
    status, body, _ = sink.exchange("POST", "/contacts", compact({"external_id": "webhook:bench:c1"}))
    assert status == 409 and f" id={contact}" in json.loads(body)["errors"][0]["message"], body
    text = mark(1, 2) + " \"quoted\" \\ end"
    for number in (1, 2):
        answer = json.loads(sink.ask("POST", f"/conversations/{conversation}/reply", replied(contact, text)))
        (part,) = answer["conversation_parts"]["conversation_parts"]
        assert answer["id"] == conversation and part["body"] == text and part["author"]["id"] == contact and part["created_at"] == 1700000001
        assert answer["conversation_parts"]["total_count"] == number and answer["source"]["body"].startswith(mark(1, 1)[:30]), answer
    assert json.loads(sink.ask("GET", f"/conversations/{conversation}?display_as=plaintext"))["conversation_parts"] == answer["conversation_parts"]
    query = {"query": {"operator": "AND", "value": [{"field": "contact_ids", "operator": "=", "value": contact}]}}
    listed = json.loads(sink.ask("POST", "/conversations/search", compact(query)))
    assert [c["id"] for c in listed["conversations"]] == [conversation] and listed["total_count"] == 1, listed
    assert sink.exchange("GET", "/conversations/10000099?display_as=plaintext")[0] == 404
    assert sink.exchange("POST", "/conversations/10000099/reply", replied(contact, text))[0] == 404
    json.loads(sink.ask("GET", "/me"))
    expect("its book", sink.report(), received=3, duplicated=1, reordered=0, misplaced=0, malformed=0, lost=0)
    sink.ask("POST", f"/conversations/{conversation}/reply", replied(contact, mark(0, 3)))
    sink.ask("POST", f"/conversations/{conversation}/reply", replied("650000000000000010000000", mark(1, 3)))
    sink.exchange("POST", "/conversations", said("nobody", mark(0, 9)))
    sink.exchange("POST", "/tags", "{}")
    sink.ask("POST", "/expect", "0 2\n1 3\n")
    expect("what went wrong", sink.report(), misplaced=2, malformed=2, lost=1, lost_first=["0/2"], unexpected=1)
    sink.close()


def test_generator_replies_straight_to_intercom(plain):
    sink = Sink(plain.lab, desk="intercom")
    sink.begin_conversations(3)
    load = plain.lab.generate(sink.port, shape="intercom", secret="token", count=300, lanes=3, connections=3, after=sink.begun)
    sink.expect(load["counts"])
    expect("replies", sink.report(), received=303, expected=303, lost=0, duplicated=0, reordered=0, misplaced=0, malformed=0, unexpected=0)
    sink.close()


def test_generator_goes_on_where_it_was(sink):
    sink.ask("POST", "/reset")
    first = sink.lab.generate(sink.port, count=10, lanes=4, connections=2, first_lane=50, secret=SECRET)
    second = sink.lab.generate(sink.port, count=10, lanes=4, connections=2, first_lane=50, after=first["counts"], run=1, secret=SECRET)
    sink.expect(first["counts"], second["counts"])
    expect("both", sink.report(), received=20, expected=20, lost=0, duplicated=0, reordered=0)
    with open(second["counts"]) as file:
        lanes = {int(line.split()[0]): int(line.split()[1]) for line in file}
    assert sorted(lanes) == [50, 51, 52, 53] and sum(lanes.values()) == 20, lanes


def test_generator_waits_for_the_server(sink):
    """From the first attempt, which nobody took, to the answer: what a restart costs a sender."""
    sink.ask("POST", "/reset")
    port = free_port()
    generator = sink.lab.start([f"{PROGRAMS}/bench_load", f"--port={port}", "--count=1", "--connections=1", "--lanes=1"],
                               stdout=subprocess.PIPE)
    time.sleep(0.2)
    late = Sink(sink.lab, port=port)
    report = json.loads(generator.communicate(timeout=30)[0])
    sink.lab.children.remove(generator)
    expect("in the end", report, answered=1, unanswered=0)
    assert report["again"] > 0 and report["latency_us"]["max"] > 150_000, report
    expect("once", late.report(), received=1, duplicated=0)
    late.close()


def test_report_tells_what_is_wrong(sink):
    """Each counter of a run's book by itself makes the benchmark fail, and a target that is not met is shown as such."""
    sink.ask("POST", "/reset")
    book = sink.report()
    for counter in (None,) + WRONG:
        report = Report(None)
        report.run("x", "y", book={**book, "received": 7, **({counter: 1} if counter else {})})
        assert bool(report.troubles) == bool(counter), f"{counter}: {report.troubles}"
    for better, found in (("more", "met"), ("less", "NOT MET")):
        report.figures = []
        report.add("x", "y", 3, "/s", 2, better, {**book, "duplicated": 5})
        assert found in report.figure_table().split("\n")[2] and " 5 " in report.figure_table(), report.figure_table()
        ElementTree.fromstring(picture(report, {"commit": "c", "cpus": 2, "cpu": "<&>", "kernel": "k"}))


def test_generator_and_sink_count_what_they_use(sink):
    sink.ask("POST", "/reset")
    before = sink.report()["cpu_s"]
    load = sink.lab.generate(sink.port, count=3000, connections=8, lanes=8, secret=SECRET)
    assert load["cpu_us_per_message"] > 0.1 and sink.report()["cpu_s"] > before, load


class Flaky(threading.Thread):
    """A server that treats each third request badly and writes down what it took in."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []
        self.turn = 0
        self.lock = threading.Lock()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        stream = peer.makefile("rb")
        with peer, stream:
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    head += line
                body = stream.read(int(re.search(rb"(?i)content-length: (\d+)", head).group(1)))
                with self.lock:
                    self.turn += 1
                    kind = {0: "refuse", 3: "lose", 6: "take, then hang up", 9: "close"}.get(self.turn % 12, "take")
                    if kind not in ("refuse", "lose"):
                        self.requests.append((head.decode(), body.decode()))
                if kind in ("lose", "take, then hang up"):
                    return
                status = b"503 Busy" if kind == "refuse" else b"200 OK"
                close = b"Connection: close\r\n" if kind == "close" else b""
                peer.sendall(b"HTTP/1.1 " + status + b"\r\n" + close + b"Content-Length: 2\r\n\r\nok")
                if kind == "close":
                    return


def generate(*options):
    server = Flaky()
    server.start()
    run = subprocess.run([f"{PROGRAMS}/bench_load", f"--port={server.port}", "--count=200", "--lanes=7", "--connections=3",
                          *options], stdout=subprocess.PIPE, timeout=60)
    server.listener.close()
    report = json.loads(run.stdout)
    expect("generator", report, messages=200, answered=200, unanswered=0, malformed=0)
    assert run.returncode == 0 and report["again"] > 0 and report["broken"] > 0 and report["status"]["503"] > 0, report
    return server.requests


def check_order(requests):
    """Each lane's serials: in order, none missing; what is there twice is the same to the byte."""
    lanes, bodies = {}, {}
    for _, body in requests:
        lane, serial = re.search(r"tributary-bench (\d{7}) (\d{9}) \d{19}", body).groups()
        assert bodies.setdefault((lane, serial), body) == body, "a message changed when it was sent again"
        serials = lanes.setdefault(int(lane), [])
        if not serials or serials[-1] != int(serial):
            serials.append(int(serial))
    assert sorted(lanes) == list(range(7)) and sum(map(len, lanes.values())) == 200, "not every message came"
    assert all(s == list(range(1, len(s) + 1)) for s in lanes.values()), "a lane's order is broken"
    assert len(requests) > 200, "nothing was repeated, so nothing was shown"


def test_generator_signs_webhooks(_):
    requests = generate(f"--secret={SECRET}", "--account=acme", "--source=in", "--pad=300")
    check_order(requests)
    key = base64.b64decode(SECRET[len("whsec_"):])
    for head, body in requests:
        header = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        signed = f"{header['webhook-id']}.{header['webhook-timestamp']}.{body}".encode()
        want = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert header["webhook-signature"] == want, "wrong signature"
        assert abs(int(header["webhook-timestamp"]) - time.time()) < 60, "wrong timestamp"
        assert json.loads(body)["id"] == header["webhook-id"] and head.startswith("POST /hooks/acme/in HTTP/1.1")


def test_generator_sends_telegram_updates(_):
    requests = generate("--shape=telegram", "--secret=s3", "--accounts=5", "--rate=400")
    check_order(requests)
    ids = set()
    for head, body in requests:
        update = json.loads(body)
        ids.add(update["update_id"])
        lane = update["message"]["chat"]["id"] - 10**9
        assert f"POST /hooks/bench-{lane % 5:06}/in " in head and "X-Telegram-Bot-Api-Secret-Token: s3\r\n" in head
        assert update["message"]["text"].startswith(f"tributary-bench {lane:07} ")
    assert len(ids) == 200, "update_id is not one per message"


def run(lab):
    """Number of tests; raises AssertionError when one fails."""
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    sink = Sink(lab)
    for test in tests:
        test(sink)
    sink.close()
    return len(tests)


if __name__ == "__main__":
    try:
        with Lab() as here:
            print(f"{run(here)} passed, 0 failed")
    except AssertionError as error:
        sys.exit(f"selftest: {error}")
