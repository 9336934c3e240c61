"""A scripted HTTP server: raw sockets and a thread per connection, so that it can stall, cut, close and lie at any byte.

A server keeps a journal of all requests in order of arrival, with the times between which each was the server's. What it answers is
an action; the subclass gives the ordinary one, a test overrides it by `script` (a function of the request, None = the ordinary one)
or, for the next requests only, by `next_actions`.
"""
import json
import select
import socket
import struct
import threading
import time
import urllib.parse
from collections import deque

from .common import PATIENCE_S

REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 301: "Moved Permanently", 400: "Bad Request", 401: "Unauthorized",
           403: "Forbidden", 404: "Not Found", 409: "Conflict", 410: "Gone", 413: "Content Too Large", 422: "Unprocessable Content",
           429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


class Request:
    def __init__(self, connection, number, on_connection, method, target, headers, body):
        self.connection = connection        # which connection of the server, from 1
        self.number = number                # which request of the server, from 1
        self.on_connection = on_connection  # which request of its connection, from 1: 2 and more came on a reused one
        self.method, self.target = method, target
        split = urllib.parse.urlsplit(target)
        self.path = split.path
        self.query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        self.headers = headers              # names in lower case
        self.body = body
        self.start = time.monotonic()
        self.end = None                     # when the answer was given or the connection closed
        self.status = None                  # what was answered in full; None: nothing, or not in full
        self.notes = {}                     # the subclass's

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.number}: {self.method} {self.target} -> {self.status}>"


class Answer:
    """An answer, after `delay_s` or once `after` (an Event) is set; nothing when the client leaves before."""

    def __init__(self, status=200, body=b"", headers=(), delay_s=0, after=None, close=False):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers = [("Content-Type", "application/json"), *headers]
        self.status, self.body, self.headers, self.delay_s, self.after, self.close = status, body, list(headers), delay_s, after, close

    def head(self, length=None):
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unheard Of')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status != 204:
            lines.append(f"Content-Length: {len(self.body) if length is None else length}")
        if self.close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Drop:
    """Closes the connection without an answer; `reset`: with RST."""

    def __init__(self, reset=False):
        self.reset = reset


class Stall:
    """Never answers; ends when the client leaves or the server stops."""


class Raw:
    """These bytes, whatever they are; then the connection is closed, or kept until the client leaves."""

    def __init__(self, data, close=True, trickle_s=0):
        self.data, self.close, self.trickle_s = data, close, trickle_s


class Server:
    def __init__(self, port=0):
        self.lock = threading.Condition(threading.RLock())
        self.journal = []
        self.script = None
        self.next_actions = deque()
        self.tls = None     # an ssl.SSLContext: connections from now on speak TLS
        self.stopping = threading.Event()
        self.connections = 0
        self.sockets = set()
        self.threads = []
        self.trouble = []   # what the server found wrong with the requests; a test that ends with any fails
        self.port = port
        self.listener = None
        self.listen()

    # Life

    def listen(self):
        """Takes connections; again after `refuse`."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        listener.listen(1024)
        self.listener = listener
        self._spawn(self._accept, listener)

    def refuse(self):
        """Closes the door: connections are refused, those that exist are cut."""
        listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self.lock:
            for sock in list(self.sockets):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stop(self):
        self.stopping.set()
        self.refuse()
        for thread in self.threads:
            thread.join(PATIENCE_S)

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def _spawn(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self.lock:
            self.threads = [t for t in self.threads if t.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.sockets.add(sock)
                number = self.connections
            self._spawn(self._serve, sock, number)

    # One connection

    def _serve(self, sock, connection):
        data = b""
        count = 0
        request = None
        try:
            if self.tls is not None:
                sock.settimeout(PATIENCE_S)
                sock = self.tls.wrap_socket(sock, server_side=True)
                with self.lock:
                    self.sockets.add(sock)
            while not self.stopping.is_set():
                while b"\r\n\r\n" not in data:
                    more = sock.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ", 2)
                headers = {}
                for line in lines[1:]:
                    name, _, value = line.partition(":")
                    headers[name.strip().lower()] = value.strip()
                if headers.get("expect", "").lower() == "100-continue":
                    sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                early = self.on_head(method, target, headers)
                if early is not None:
                    self._act(sock, None, early)
                    return
                if "chunked" in headers.get("transfer-encoding", "").lower():
                    body, data = self._read_chunked(sock, data)
                else:
                    length = int(headers.get("content-length", 0))
                    while len(data) < length:
                        more = sock.recv(65536)
                        if not more:
                            return
                        data += more
                    body, data = data[:length], data[length:]
                count += 1
                with self.lock:
                    request = Request(connection, len(self.journal) + 1, count, method, target, headers, body)
                    self.journal.append(request)
                    action = self._action(request)
                    self.lock.notify_all()
                if not self._act(sock, request, action):
                    return
        except (OSError, ValueError):
            return
        finally:
            with self.lock:
                self.sockets.discard(sock)
                if request is not None and request.end is None:
                    request.end = time.monotonic()
                self.lock.notify_all()
            sock.close()

    @staticmethod
    def _read_chunked(sock, data):
        body = b""
        while True:
            while b"\r\n" not in data:
                data += sock.recv(65536)
            line, _, data = data.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            while len(data) < size + 2:
                data += sock.recv(65536)
            body += data[:size]
            data = data[size + 2:]
            if size == 0:
                return body, data

    def _action(self, request):
        """What the test wants, else the ordinary answer. Called under the lock."""
        try:
            if self.script is not None:
                action = self.script(request)
                if action is not None:
                    return action
            if self.next_actions and self.scriptable(request):
                action = self.next_actions.popleft()
                if callable(action):
                    action = action(request)
                if action is not None:
                    return action
            return self.respond(request)
        except Exception as trouble:  # a bug of the test or a request that makes no sense: shown at the end
            self.trouble.append(f"{request!r}: {type(trouble).__name__}: {trouble}")
            return Answer(500, {"scripted server": "error"})

    def _act(self, sock, request, action):
        """Carries the action out; False when the connection is done with."""
        if isinstance(action, Answer):
            if (action.delay_s or action.after is not None) and not self._hold(sock, action):
                return False
            end = time.monotonic()
            answer = action.head()
            if request is None or request.method != "HEAD":
                answer += action.body
            if request is not None:  # before the bytes leave: the next request may come at once
                with self.lock:
                    request.end, request.status = end, action.status
                    self.answered(request)
                    self.lock.notify_all()
            sock.sendall(answer)
            if action.close:
                self._linger(sock)
            return not action.close
        if isinstance(action, Drop):
            if action.reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if isinstance(action, Stall):
            self._hold(sock, Answer(after=self.stopping))
            return False
        if isinstance(action, Raw):
            if action.trickle_s:
                for byte in action.data:
                    sock.sendall(bytes([byte]))
                    if self.stopping.wait(action.trickle_s):
                        break
            else:
                if request is not None and action.close:  # before the bytes leave: the client may try again at once
                    with self.lock:
                        request.end = time.monotonic()
                sock.sendall(action.data)
            if action.close:
                self._linger(sock)
            else:
                self._hold(sock, Answer(after=self.stopping))
            return False
        raise TypeError(action)

    @staticmethod
    def _linger(sock):
        """Closes our side and waits for the client's, so that what was sent is not lost to a reset."""
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(5)
        while sock.recv(65536):
            pass

    def _hold(self, sock, answer):
        """Waits as the answer wants. False when the client left before."""
        due = time.monotonic() + answer.delay_s
        while True:
            left = due - time.monotonic()
            if left <= 0 and (answer.after is None or answer.after.is_set()):
                return True
            if self.stopping.is_set():
                return False
            wait_s = min(0.02, left) if left > 0 else 0.02
            readable, _, _ = select.select([sock], [], [], wait_s)
            if readable and sock.recv(1, socket.MSG_PEEK) == b"":
                return False

    # For subclasses

    def on_head(self, method, target, headers):
        """An action that answers before the body is read, or None."""
        return None

    def scriptable(self, request):
        """Whether `next_actions` are meant for this request."""
        return True

    def respond(self, request):
        return Answer(200)

    def answered(self, request):
        """An answer is about to leave. Called under the lock."""

    # For tests

    def wait_requests(self, wanted, what="requests", timeout_s=None):
        """Waits until `wanted(journal)` is true (or that many requests arrived); returns the journal."""
        check = (lambda journal: len(journal) >= wanted) if isinstance(wanted, int) else wanted
        timeout_s = PATIENCE_S if timeout_s is None else timeout_s
        with self.lock:
            if not self.lock.wait_for(lambda: check(self.journal), timeout_s):
                raise AssertionError(f"not within {timeout_s:g} s: {what}; seen: {self.journal[-20:]}")
            return list(self.journal)

    def requests(self, method=None, path=None):
        with self.lock:
            return [r for r in self.journal if (method is None or r.method == method) and (path is None or path in r.path)]
