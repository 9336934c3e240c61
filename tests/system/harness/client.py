"""HTTP from outside: a plain client (TCP or Unix socket), raw bytes for what no client would send, and senders like the platforms'."""
import http.client
import json
import socket
import threading
import time

from .common import PATIENCE_S, sign, text_of


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


def call(where, method, target, body=None, headers=None, timeout_s=None):
    """One request on a connection of its own. `where`: a port, or the path of a Unix socket."""
    timeout_s = timeout_s or PATIENCE_S
    connection = (UnixConnection(where, timeout_s) if isinstance(where, str)
                  else http.client.HTTPConnection("127.0.0.1", where, timeout=timeout_s))
    try:
        return exchange(connection, method, target, body, headers)
    finally:
        connection.close()


def exchange(connection, method, target, body=None, headers=None):
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


class RawConnection:
    """Bytes as they are; answers are split, nothing else is understood."""

    def __init__(self, port, timeout_s=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s or PATIENCE_S)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)
        return self

    def try_send(self, data):
        """Sends what the peer takes; it may refuse in the middle."""
        try:
            self.sock.sendall(data)
        except OSError:
            pass
        return self

    def finish(self):
        """No more from us; the peer's side stays open."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def _more(self):
        try:
            more = self.sock.recv(65536)
        except ConnectionResetError:
            more = b""
        self.data += more
        return more

    def answer(self):
        """The next whole answer, or None when the peer closed before one came."""
        while b"\r\n\r\n" not in self.data:
            if not self._more():
                return None
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {l.split(":", 1)[0].lower(): l.split(":", 1)[1].strip() for l in lines[1:]}
        length = int(headers.get("content-length", 0))
        status = int(lines[0].split(" ")[1])
        if status == 100:
            length = 0
        while len(self.data) < length:
            if not self._more():
                return None
        body, self.data = self.data[:length], self.data[length:]
        return Reply(status, headers, body)

    def answers(self):
        """All answers until the peer closes."""
        found = []
        while True:
            one = self.answer()
            if one is None:
                return found
            found.append(one)

    def closed(self):
        """True once the peer closes, without more bytes."""
        return self._more() == b""


class Sent:
    """One message of a sender and how it went."""

    def __init__(self, key, lane, event):
        self.key, self.lane, self.event = key, lane, event
        self.first_try = self.acked = None
        self.tries = 0

    @property
    def text(self):
        return self.event["text"]


class WebhookSource:
    """A sender for a signed-webhook source. `send` tries once; `deliver` goes on as platforms do, until 2xx."""

    def __init__(self, relay, account, source="hook", secret=None):
        self.relay, self.account, self.source, self.secret = relay, account, source, secret
        self.local = threading.local()
        self.lock = threading.Lock()
        self.sent = []

    @property
    def target(self):
        return f"/hooks/{self.account}/{self.source}"

    def signed(self, body, message_id=None, timestamp=None):
        message_id = message_id or "evt_" + str(abs(hash(body)))
        timestamp = str(int(time.time())) if timestamp is None else str(timestamp)
        headers = {"Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": timestamp}
        if self.secret:
            headers["webhook-signature"] = sign(self.secret, message_id, timestamp, body)
        return headers

    def event(self, key, conversation="c1", words="good day", **more):
        return {"id": key, "conversation": conversation, "sender": {"id": "u-" + conversation, "name": "Ada"}, "text": text_of(key, words), **more}

    def raw(self, event, extra=""):
        """The bytes of a valid request, for connections that play with them."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        headers = self.signed(body)
        head = f"POST {self.target} HTTP/1.1\r\nHost: relay\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + extra
        return head.encode() + b"\r\n" + body

    def post(self, event, headers=None, method="POST"):
        """One request, on this thread's kept connection; the answer."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        headers = {**self.signed(body), **(headers or {})}
        headers = {k: v for k, v in headers.items() if v is not None}
        connection = getattr(self.local, "connection", None)
        if connection is None or connection.start != self.relay.starts:  # it went with the process before
            connection = self.local.connection = http.client.HTTPConnection("127.0.0.1", self.relay.port, timeout=PATIENCE_S)
            connection.start = self.relay.starts
        try:
            return exchange(connection, method, self.target, body, headers)
        except BaseException:
            connection.close()
            raise

    def hang_up(self):
        """Closes this thread's connection."""
        connection = getattr(self.local, "connection", None)
        if connection is not None:
            connection.close()
            self.local.connection = None

    def send(self, key, conversation="c1", **more):
        """A message that must be taken at once."""
        answer = self.deliver(key, conversation, tries=1, **more)
        assert answer.acked, f"{key} was not answered 2xx"
        return answer

    def deliver(self, key, conversation="c1", lane=None, tries=None, stop=None, **more):
        """Tries until the answer is 2xx, at most `tries` times, or until `stop` (an Event) is set."""
        one = Sent(key, lane or conversation, self.event(key, conversation, **more))
        with self.lock:
            self.sent.append(one)
        pause = threading.Event()
        deadline = time.monotonic() + 5 * PATIENCE_S
        while tries is None or one.tries < tries:
            one.tries += 1
            one.first_try = one.first_try or time.monotonic()
            try:
                answer = self.post(one.event)
                if 200 <= answer.status < 300:
                    one.acked = time.monotonic()
                    break
                assert answer.status in (408, 429, 500, 502, 503), f"{one.key}: {answer}"
            except (OSError, http.client.HTTPException):
                pass
            if stop is not None and stop.is_set():
                break
            assert time.monotonic() < deadline, f"{one.key} was never answered 2xx"
            pause.wait(0.02)  # a platform's pause between tries, in small
        return one


    def flood(self, count, conversation="c1", prefix="m"):
        """Many messages, one after the other on one connection, in their order; all must be taken."""
        listed = []
        for i in range(count):
            key = f"{prefix}{i:05d}"
            listed.append(Sent(key, conversation, self.event(key, conversation)))
        with RawConnection(self.relay.port, timeout_s=5 * PATIENCE_S) as connection:
            data = b"".join(self.raw(one.event) for one in listed)
            thread = threading.Thread(target=connection.try_send, args=(data,), daemon=True)
            began = time.monotonic()
            thread.start()
            for i, one in enumerate(listed):
                answer = connection.answer()
                assert answer is not None and answer.status == 200, f"{one.key}: {answer}"
                one.tries, one.first_try, one.acked = 1, began + i * 1e-9, time.monotonic()
            thread.join()
        with self.lock:
            self.sent += listed
        return listed


class Crowd:
    """Senders side by side, one thread per lane, each sending its messages one after the other until every one is taken."""

    def __init__(self, source, lanes, per_lane, prefix="", conversation_of=None, **more):
        self.source, self.failures = source, []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(f"{prefix}{lane}", per_lane, more), daemon=True) for lane in range(lanes)]
        for thread in self.threads:
            thread.start()

    def _run(self, lane, per_lane, more):
        try:
            for serial in range(per_lane):
                self.source.deliver(f"{lane}-{serial:05d}", f"conv{lane}", stop=self.stop, **more)
                if self.stop.is_set():
                    return
        except BaseException as trouble:
            self.failures.append(trouble)
        finally:
            self.source.hang_up()

    def done(self):
        return not any(t.is_alive() for t in self.threads)

    def acked(self):
        with self.source.lock:
            return sum(1 for s in self.source.sent if s.acked)

    def tries(self):
        with self.source.lock:
            return sum(s.tries for s in self.source.sent)

    def join(self, timeout_s=None):
        deadline = time.monotonic() + (timeout_s or 5 * PATIENCE_S)
        for thread in self.threads:
            thread.join(max(0, deadline - time.monotonic()))
        assert self.done(), "senders still busy"
        if self.failures:
            raise self.failures[0]
