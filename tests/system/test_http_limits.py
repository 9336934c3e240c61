"""HTTP as hostile as it comes, against the real daemon: what must be refused is, is never taken for a message, and costs nobody else
anything. Numbers are those of the project's list of hostile inputs."""
import gzip
import json
import selectors
import socket
import threading
import time

import pytest

from harness.client import RawConnection, WebhookSource, call
from harness.common import PATIENCE_S, SLOW, wait_for
from harness.relay import account

MIB = 1 << 20


@pytest.fixture
def request_of(source):
    """request_of(headers, body, line, after): the bytes of a request to the source, by default a valid one without length."""
    body = json.dumps(source.event("m1")).encode()

    def make(headers=(), body=body, line=None, host="Host: relay"):
        lines = [line or f"POST {source.target} HTTP/1.1"] + ([host] if host else []) + ["Content-Type: application/json"] + list(headers)
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    make.body = body
    make.length = f"Content-Length: {len(body)}"
    make.chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return make


def refused(relay, source, cases, statuses=(400,), may_keep=False):
    """Each case is answered with one of the statuses (or the connection is closed) and closed; none is stored; others are served."""
    wrong = {}
    for name, data in cases.items():
        with RawConnection(relay.port) as connection:
            connection.try_send(data)
            if name.endswith("..."):  # the server must not wait for more
                pass
            answers = connection.answers() if not may_keep else [connection.answer()]
            seen = [a.status for a in answers if a is not None]
            if len(seen) > 1 or not all(s in statuses for s in seen):
                wrong[name] = answers
    assert not wrong, wrong
    assert relay.status()["accepted"] == 0
    source.send("after")
    assert relay.status()["accepted"] == 1


def test_01_content_length_with_transfer_encoding(relay, source, request_of):
    refused(relay, source, {
        "both": request_of([request_of.length, "Transfer-Encoding: chunked"], request_of.chunked),
        "the other way round": request_of(["Transfer-Encoding: chunked", request_of.length], request_of.chunked),
        "smuggled": request_of(["Content-Length: 4", "Transfer-Encoding: chunked"], b"0\r\n\r\n" + request_of([request_of.length])),
    })


def test_02_lengths(relay, source, request_of):
    n = len(request_of.body)
    values = [f"+{n}", f"{n},{n}", f"0x{n:x}", f"-{n}", str(2**63), "9" * 40, f"{n}.0", f"{n} {n}", "", f"{n}\x0b", "1e3"]
    cases = {f"length {v!r}": request_of([f"Content-Length: {v}"]) for v in values}
    cases["twice equal"] = request_of([request_of.length, request_of.length])
    cases["twice different"] = request_of([request_of.length, "Content-Length: 1"])
    refused(relay, source, cases, (400, 411, 413))


def test_02_no_length(relay, source, request_of):
    """Without a length there is no body: an empty one is no message."""
    refused(relay, source, {"none": request_of([], b"")}, (400, 411), may_keep=True)


def test_03_transfer_encodings(relay, source, request_of):
    values = ["chunked, chunked", "xchunked", "chunked, gzip", "gzip", "gzip, chunked", "identity", "\x0bchunked", "chunked\x0b", "", "chunked;x=1", '"chunked"']
    cases = {f"{v!r}": request_of([f"Transfer-Encoding: {v}"], request_of.chunked) for v in values}
    cases["twice"] = request_of(["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], request_of.chunked)
    refused(relay, source, cases, (400, 415, 501))


def test_04_chunks(relay, source, request_of):
    body, n = request_of.body, len(request_of.body)
    last = b"0\r\n\r\n"
    bodies = {
        "overflow": b"FFFFFFFFFFFFFFFFF\r\n" + body, "sign": b"+%x\r\n%s\r\n" % (n, body) + last, "minus": b"-%x\r\n%s\r\n" % (n, body) + last,
        "0x": b"0x%x\r\n%s\r\n" % (n, body) + last, "underscore": b"%x_0\r\n%s\r\n" % (n >> 4, body) + last, "space before": b" %x\r\n%s\r\n" % (n, body) + last,
        "no CRLF after data": b"%x\r\n%s" % (n, body) + b"0\r\n\r\n ", "bare LF after size": b"%x\n%s\r\n" % (n, body) + last,
        "bare LF after data": b"%x\r\n%s\n" % (n, body) + last, "no size": b"\r\n%s\r\n" % body + last, "word": b"hello\r\n%s\r\n" % body + last,
        "huge extension": b"%x;%s\r\n%s\r\n" % (n, b"x" * 100_000, body) + last,
        "endless trailers": b"%x\r\n%s\r\n0\r\n" % (n, body) + b"a: b\r\n" * 100_000,
    }
    refused(relay, source, {name: request_of(["Transfer-Encoding: chunked"], data) for name, data in bodies.items()}, (400, 413, 431))


def test_04_good_chunks_are_taken(relay, source, request_of, desk):
    pieces = b"".join(b"1\r\n%c\r\n" % c for c in request_of.body)
    with RawConnection(relay.port) as connection:
        connection.send(request_of(["Transfer-Encoding: chunked"], pieces + b"0\r\n\r\n"))
        assert connection.answer().status == 200
        connection.send(request_of(["transfer-encoding: Chunked"], request_of.chunked))
        assert connection.answer().status == 200
    assert desk.wait_taken(1) == ["m1"]


def test_05_header_bytes(relay, source, request_of):
    good = request_of.length
    lines = {"bare LF": "X-A: 1\nX-B: 2", "bare CR": "X-A: 1\rX-B: 2", "NUL": "X-A: 1\x002", "NUL in name": "X\x00A: 1", "folded": "X-A: 1\r\n  2", "space before colon": "X-A : 1",
             "empty name": ": 1", "no colon": "X-A", "tab in name": "X\tA: 1", "bracket in name": "X(A): 1", "byte over 127 in name": "X\xe9: 1",
             "control in value": "X-A: a\x01b", "space first": " X-A: 1"}
    refused(relay, source, {name: request_of([line, good]) for name, line in lines.items()})
    refused_line = request_of([good]).replace(b"\r\n", b"\n")
    with RawConnection(relay.port) as connection:
        connection.try_send(refused_line)
        assert all(a.status == 400 for a in connection.answers())


def test_06_request_lines(relay, source, request_of):
    target, good = source.target, [request_of.length]
    lines = {"absolute form": f"POST http://relay{target} HTTP/1.1", "authority form": "POST relay:80 HTTP/1.1", "two spaces": f"POST  {target} HTTP/1.1",
             "two spaces after": f"POST {target}  HTTP/1.1", "HTTP/2.0": f"POST {target} HTTP/2.0", "HTTP/1.2": f"POST {target} HTTP/1.2", "HTTP/0.9": f"POST {target} HTTP/0.9",
             "lower case version": f"POST {target} http/1.1", "no version": f"POST {target}", "tab": f"POST\t{target}\tHTTP/1.1", "lower case method": f"post {target} HTTP/1.1",
             "unknown method": f"BREW {target} HTTP/1.1", "space at the end": f"POST {target} HTTP/1.1 ", "space in target": f"POST {target} x HTTP/1.1",
             "control in target": f"POST {target}\x01 HTTP/1.1", "fragment": f"POST {target}#x HTTP/1.1", "asterisk": "POST * HTTP/1.1", "dots": "POST /hooks/../hooks/acme/hook HTTP/1.1",
             "encoded slash": "POST /hooks/acme%2Fhook HTTP/1.1"}
    refused(relay, source, {name: request_of(good + ["Connection: close"], line=line) for name, line in lines.items()}, (400, 404, 405, 501, 505))


def test_06_long_target(relay, source, request_of):
    refused(relay, source, {"64 KiB": request_of([request_of.length], line=f"POST {source.target}?{'x' * 65536} HTTP/1.1")}, (414, 431, 400))


def test_06_http_1_0_closes(relay, source, request_of):
    with RawConnection(relay.port) as connection:
        connection.send(request_of([request_of.length], line=f"POST {source.target} HTTP/1.0"))
        assert connection.answer().status in (200, 505)
        assert connection.closed()


def test_07_hosts(relay, source, request_of):
    hosts = {"none": None, "two": "Host: relay\r\nHost: relay", "two different": "Host: relay\r\nHost: other", "userinfo": "Host: a@relay", "port junk": "Host: relay:8x",
             "port range": "Host: relay:99999", "space": "Host: re lay", "path": "Host: relay/x"}
    refused(relay, source, {name: request_of([request_of.length], host=host) for name, host in hosts.items()})


def test_08_many_and_large_headers(relay, source, request_of):
    good = request_of.length
    refused(relay, source, {"101 headers": request_of([good] + [f"X-{i}: 1" for i in range(101)]), "one of 64 KiB": request_of([good, "X-A: " + "x" * 65536]),
                            "a MiB": request_of([good] + [f"X-{i}: {'x' * 10000}" for i in range(100)])}, (431,))


def test_09_bodies_over_the_limit(relay, source, request_of):
    """4 MiB exactly is read (and is no message), one byte more is not read: declared or not."""
    padded = lambda size: (lambda head: head + b" " * (size - len(head)))(json.dumps(source.event("big")).encode())
    with RawConnection(relay.port) as connection:
        connection.send(request_of([f"Content-Length: {4 * MIB}"], padded(4 * MIB)))
        assert connection.answer().status == 200
    for headers, body in (([f"Content-Length: {4 * MIB + 1}"], b""), ([f"Content-Length: {1 << 40}"], b""),
                          (["Transfer-Encoding: chunked"], b"%x\r\n" % (5 * MIB) + b" " * (5 * MIB)),
                          (["Transfer-Encoding: chunked"], b"100000\r\n" + b" " * MIB + b"\r\n" + b"400000\r\n" + b" " * (4 * MIB))):
        with RawConnection(relay.port) as connection:
            connection.try_send(request_of(headers, body))
            answers = connection.answers()
            assert [a.status for a in answers] == [413] or (body and not answers), headers
    assert relay.status()["accepted"] == 1


def test_10_short_and_long_bodies(relay, source, request_of):
    n = len(request_of.body)
    with RawConnection(relay.port) as connection:
        connection.send(request_of([f"Content-Length: {n + 10}"])).finish()
        assert all(a.status in (400, 408) for a in connection.answers())
    with RawConnection(relay.port) as connection:  # the rest is no request: it must not become one, nor a message
        connection.send(request_of([f"Content-Length: {n}"]) + b"rest")
        assert connection.answer().status == 200
        connection.finish()
        assert all(a.status == 400 for a in connection.answers())
    wait_for(lambda: relay.status()["accepted"] == 1, "one message")


def test_11_expect(relay, source, request_of):
    n = len(request_of.body)
    with RawConnection(relay.port) as connection:
        connection.send(request_of([request_of.length, "Expect: 100-continue"], b""))
        assert connection.answer().status == 100
        connection.send(request_of.body)
        assert connection.answer().status == 200
    with RawConnection(relay.port) as connection:  # refused by its head: the body is not asked for
        connection.send(request_of([f"Content-Length: {100 * MIB}", "Expect: 100-continue"], b""))
        assert connection.answer().status == 413
    with RawConnection(relay.port) as connection:
        connection.send(request_of([f"Content-Length: {n}", "Expect: the-unexpected"], b""))
        assert connection.answer().status == 417


def test_12_pipelining(relay, source):
    """A thousand requests in one go: each answered, in order."""
    count = 1000 // SLOW
    requests = []
    for i in range(count):
        if i % 10 == 9:
            requests.append(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
        else:
            requests.append(source.raw(source.event(f"m{i}", f"c{i % 7}")))
    with RawConnection(relay.port) as connection:
        threading.Thread(target=connection.try_send, args=(b"".join(requests),), daemon=True).start()
        statuses = [connection.answer().status for _ in range(count)]
    assert statuses == [200] * count
    keys = [m["text"].split(" ")[0] for m in relay.messages()]
    assert keys == [f"m{i}" for i in range(count) if i % 10 != 9], "taken in the order they were sent"


def ended(connections, count):
    """Waits until so many of them are closed or reset by the relay; answers are read away."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.sock.setblocking(False)
            selector.register(connection.sock, selectors.EVENT_READ)
        found, deadline = 0, time.monotonic() + PATIENCE_S
        while found < count:
            assert time.monotonic() < deadline, f"{found} of {count} have ended"
            for key, _ in selector.select(1):
                try:
                    if key.fileobj.recv(65536):
                        continue
                except OSError:
                    pass
                found += 1
                selector.unregister(key.fileobj)


def test_12_connections_without_a_request_make_room(make_relay, desk):
    """128 descriptors, a quarter of them for connections: whoever comes is served, and who was served stays, whatever others hold open."""
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow("connections_full")
    relay.wrapper = ["prlimit", "--nofile=128:128"]
    relay.start()
    kept, new = WebhookSource(relay, "acme"), WebhookSource(relay, "acme")
    kept.send("m0")
    connection = kept.local.connection.sock
    hold = [b"", b"POST /hooks/acme/hook HTTP/1.1\r\nHost: relay\r\nX-A: ",
            b"POST /hooks/acme/hook HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"]
    held = [RawConnection(port).try_send(hold[i % 3]) for i in range(200) for port in (relay.port, relay.admin_port)]
    try:
        ended(held[0::2], 200 - 32)
        ended(held[1::2], 200 - 8)
        for i in range(20):
            kept.send(f"k{i}")
            new.send(f"n{i}")
            new.hang_up()
            assert relay.api("GET", "/api/v1/status", where="socket").status == 200
        assert kept.local.connection.sock is connection
        desk.wait_taken(41)
    finally:
        for each in held:
            each.sock.close()


def test_12_requests_that_are_never_whole_have_64_mib(relay, source, desk):
    """Forty bodies of 4 MiB that stop one byte short: those that do not fit are ended, and others are served."""
    relay.allow("connections_full")
    head = f"POST {source.target} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\nContent-Length: {4 * MIB}\r\n\r\n".encode()
    body, held = b" " * (4 * MIB - 1), [RawConnection(relay.port) for _ in range(40)]
    try:
        for each in held:
            each.try_send(head + body)
        source.send("m0")
        ended(held, 25)
        source.send("m1")
        desk.wait_taken(2)
    finally:
        for each in held:
            each.sock.close()


def test_13_slow_and_idle_connections_do_not_hold_others_up(relay, source, desk):
    idle = [RawConnection(relay.port) for _ in range(500)]
    slow = [RawConnection(relay.port).send(b"POST /hooks/acme/hook HTTP/1.1\r\nHost: relay\r\nX-A: ") for _ in range(200)]
    bodies = [RawConnection(relay.port).send(b"POST /hooks/acme/hook HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
              for _ in range(200)]
    try:
        took = []
        for i in range(20):
            began = time.monotonic()
            source.send(f"m{i}")
            took.append(time.monotonic() - began)
        assert sorted(took)[15] < 1 * SLOW
        desk.wait_taken(20)
    finally:
        for connection in idle + slow + bodies:
            connection.sock.close()


@pytest.mark.release_only
def test_13_slow_header_is_dropped(relay, source):
    """One byte every now and then is not progress: the head has ten seconds."""
    with RawConnection(relay.port, timeout_s=40) as connection:
        connection.send(b"POST /hooks/acme/hook HTTP/1.1\r\nHost: relay\r\nX-A: ")
        ended = threading.Event()

        def drip():
            while not ended.wait(0.5):
                connection.try_send(b"x")
        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        try:
            answers = connection.answers()
        finally:
            ended.set()
            thread.join()
        assert time.monotonic() - began < 20
        assert [a.status for a in answers] in ([408], [])


def test_13_client_that_does_not_read_holds_nobody_up(relay, source, desk):
    """Answers pile up in front of a closed window; the others are served."""
    with RawConnection(relay.port) as connection:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sock.settimeout(0.2)
        connection.try_send(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n" * 50_000)
        for i in range(5):
            source.send(f"m{i}")
    desk.wait_taken(5)


def test_14_compressed_bodies_are_415(relay, source, request_of):
    packed = gzip.compress(request_of.body)
    bomb = gzip.compress(b" " * (10 * MIB))
    refused(relay, source, {name: request_of([f"Content-Length: {len(data)}", f"Content-Encoding: {kind}", "Connection: close"], data) for name, kind, data in (
        ("gzip", "gzip", packed), ("bomb", "gzip", bomb), ("nested", "gzip, gzip", gzip.compress(packed)), ("cut", "gzip", packed[:20]), ("deflate", "deflate", packed),
        ("br", "br", packed), ("unknown", "x-none", packed))}, (415,))


def test_19_20_answers_to_clients_that_have_gone_are_harmless(relay, source, request_of, desk):
    for _ in range(50):
        with RawConnection(relay.port) as connection:
            connection.send(request_of([request_of.length]))
    wait_for(lambda: relay.status()["accepted"] == 1, "stored once")
    source.send("after")
    assert desk.wait_taken(2) == ["m1", "after"]
    assert call(relay.port, "GET", "/healthz").status == 200
