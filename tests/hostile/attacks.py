#!/usr/bin/python3
"""Clients that mean no good:  attacks.py KIND HOST PORT TARGET SECONDS COUNT [FROM]   (started by network.py, in a network of its own)

`hold`: COUNT connections that send what KIND says and never read; each that the server closes is opened again. `storm`: one connection
after the other, or one request after the other, as fast as they go, side by side on COUNT connections. Prints a JSON object: how many
connections and requests there were, and what was answered.
"""
import collections
import json
import os
import select
import selectors
import socket
import struct
import sys
import time

RATE = 2000  # new connections a second
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) * 6
RESET = struct.pack("ii", 1, 0)


def get(target):
    return f"GET {target} HTTP/1.1\r\nHost: relay\r\n\r\n".encode()


def post(target, length, body=b""):
    return (f"POST {target} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\nwebhook-id: evt_forged\r\n"
            f"webhook-timestamp: {int(time.time())}\r\nwebhook-signature: v1,{'A' * 43}=\r\nContent-Length: {length}\r\n\r\n").encode() + body


def forged(target):
    return post(target, 200, b'{"id":"forged"}' + b" " * 185)


# What is sent at first on each connection, by kind.
HOLDS = {
    "idle": lambda target: b"",
    "half-head": lambda target: get(target)[:-2] + b"X-A: ",
    "big-bodies": lambda target: post(target, 4 << 20, b" " * ((4 << 20) - 1)),
    "zero-window": lambda target: get(target) * 100,
    "pipelined-health": lambda target: get("/healthz") * 10_000,
    "pipelined-forged": lambda target: forged(target) * 1_000,
}


class Holder:
    """COUNT connections, opened again when they end."""

    def __init__(self, kind, where, target, count):
        self.where, self.count = where, count
        self.first = memoryview(HOLDS[kind](target))
        self.deaf = kind in ("zero-window", "pipelined-health", "pipelined-forged")
        self.small_window = kind == "zero-window"
        self.address = None
        self.epoll, self.counts = select.epoll(), collections.Counter()
        self.open = {}  # descriptor: [socket, bytes sent]
        self.waits_for = select.EPOLLRDHUP | (0 if self.deaf else select.EPOLLIN)

    def connect(self):
        sock = socket.socket()
        sock.setblocking(False)
        if self.address:
            sock.bind((self.address, 0))
        if self.small_window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect_ex(self.where)
        self.counts["opened"] += 1
        self.open[sock.fileno()] = [sock, 0]
        self.epoll.register(sock, self.waits_for | select.EPOLLOUT)

    def step(self, fd, events):
        sock, sent = held = self.open[fd]
        trouble = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if trouble:
            raise OSError(trouble, os.strerror(trouble))
        if events & select.EPOLLIN:
            data = sock.recv(4096)
            self.counts[data[:12].decode("latin-1")] += 1
        if events & (select.EPOLLRDHUP | select.EPOLLHUP):
            raise ConnectionError("closed")
        if events & select.EPOLLOUT and sent < len(self.first):
            held[1] += sock.send(self.first[sent:sent + (1 << 18)])
        if held[1] == len(self.first):
            self.epoll.modify(sock, self.waits_for)

    def end(self, fd, why):
        self.counts["ended: " + why] += 1
        self.open.pop(fd)[0].close()

    def run(self, seconds):
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            allowed = int((now - began) * RATE) - self.counts["opened"]
            for _ in range(max(0, min(allowed, self.count - len(self.open)))):
                self.connect()
            for fd, events in self.epoll.poll(0.005):
                try:
                    self.step(fd, events)
                except BlockingIOError:
                    pass
                except OSError as trouble:
                    self.end(fd, trouble.strerror or str(trouble))
        self.counts["held at the end"] = len(self.open)


class Storm:
    """As fast as they go: `bytes` on a connection each, which is then reset or read to its end; or requests on kept connections."""

    def __init__(self, kind, where, target, count):
        self.kind, self.where, self.count = kind, where, count
        self.bytes = {"rst": b"", "rst-in-head": b"POST /hooks/", "tls": HELLO, "garbage": os.urandom(512), "forged": forged(target)}[kind]
        self.counts = collections.Counter()
        self.selector = selectors.DefaultSelector()

    def open(self):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self.where)
        self.counts["opened"] += 1
        self.selector.register(sock, selectors.EVENT_WRITE)

    def end(self, sock, reset):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.selector.unregister(sock)
        sock.close()
        self.open()

    def step(self, sock, events):
        if events & selectors.EVENT_WRITE:
            if self.bytes:
                sock.send(self.bytes)
            if self.kind.startswith("rst"):
                self.end(sock, True)
            else:
                self.selector.modify(sock, selectors.EVENT_READ)
            return
        data = sock.recv(65536)
        if data:
            self.counts[data[:12].decode("latin-1")] += 1
        if not data or self.kind != "forged":
            self.end(sock, True)
        else:
            self.selector.modify(sock, selectors.EVENT_WRITE)

    def run(self, seconds):
        end = time.monotonic() + seconds
        for _ in range(self.count):
            self.open()
        while time.monotonic() < end:
            for key, events in self.selector.select(0.1):
                try:
                    self.step(key.fileobj, events)
                except BlockingIOError:
                    pass
                except OSError as trouble:
                    self.counts["ended " + type(trouble).__name__] += 1
                    self.end(key.fileobj, True)


def main():
    kind, host, port, target, seconds, count, *address = sys.argv[1:]
    attack = (Holder if kind in HOLDS else Storm)(kind, (host, int(port)), target, int(count))
    attack.address = address[0] if address else None
    attack.run(float(seconds))
    print(json.dumps(attack.counts))
    sys.stdout.flush()
    if kind in HOLDS:
        sys.stdin.read()  # they are held until the caller says
    os._exit(0)


if __name__ == "__main__":
    main()
