"""Peers for loop_media.py that are fast enough for files by the gigabyte: a Telegram that gives updates and files, an Intercom that takes
uploads, a signed webhook for texts. Each in a process of its own; a thread for each connection.

File number n is BASE with n in its first 18 bytes, so that neither side needs to keep or to hash 10 GiB: 18 bytes are 24 letters of base64,
and what stands behind them is the same in every file. That it is the same is compared, byte for byte.
"""
import base64
import json
import multiprocessing
import os
import random
import re
import socket
import threading
import time

TOKEN = "123456789:AAkanarieTelegramToken_0123456789abcd"
HEAD, HEAD64 = 18, 24
PRIORITY = 10
FIRST = ["chrt", "--fifo", str(PRIORITY)]  # a program after these words goes before all others of the machine


def go_first():
    """So does this process."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))


class Content:
    def __init__(self, size):
        self.tail = random.Random(1).randbytes(size - HEAD)
        self.tail64 = base64.b64encode(self.tail)
        self.size = size

    @staticmethod
    def head(number):
        return b"%PDF-1.7" + number.to_bytes(HEAD - 8, "big")

    def number(self, text):
        """Which file this base64 is, -1: none, or not whole. `text` is a memoryview."""
        if len(text) != HEAD64 + len(self.tail64) or text[HEAD64:] != self.tail64:
            return -1
        head = base64.b64decode(bytes(text[:HEAD64]))
        return int.from_bytes(head[8:], "big") if head.startswith(b"%PDF-1.7") else -1


class Peer:
    """serve() runs in its own process; what it counts is in shared memory or comes by report()."""

    def __init__(self, nice):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.here, self.there = multiprocessing.Pipe()
        self.lock = threading.Lock()
        self.process = multiprocessing.Process(target=self.serve, args=(nice,), daemon=True)

    def start(self):
        self.process.start()
        self.listener.close()
        return self

    def serve(self, nice):
        os.nice(nice)
        threading.Thread(target=self.accept, daemon=True).start()
        while self.there.recv() == "report":
            with self.lock:
                self.there.send(self.report())

    def ask(self):
        self.here.send("report")
        return self.here.recv()

    def stop(self):
        self.here.send("stop")
        self.process.join(10)

    def accept(self):
        while True:
            sock, _ = self.listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.connection, args=(sock,), daemon=True).start()

    def connection(self, sock):
        data = bytearray()
        try:
            while True:
                while (end := data.find(b"\r\n\r\n")) < 0:
                    if not (more := sock.recv(1 << 18)):
                        return
                    data += more
                head = bytes(data[:end])
                method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
                found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
                length = int(found.group(1)) if found else 0
                body = bytearray(length)
                have = min(length, len(data) - end - 4)
                body[:have] = data[end + 4:end + 4 + have]
                data = data[end + 4 + have:]
                view = memoryview(body)
                while have < length:
                    if not (n := sock.recv_into(view[have:])):
                        return
                    have += n
                status, *parts = self.answer(method, target, body)
                size = sum(len(part) for part in parts)
                sock.sendall(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, size)
                             + (parts[0] if parts else b"") if method != "HEAD" else b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
                for part in parts[1:]:
                    sock.sendall(part)
        except OSError:
            return
        finally:
            sock.close()


def told(value):
    return json.dumps(value).encode()


class Telegram(Peer):
    """`messages` updates, each with a file, over `chats` conversations; given a hundred at a time. Its files come over a line of `line` bytes a second."""

    def __init__(self, messages, chats, content, nice, line=float("inf")):
        self.messages, self.chats, self.content, self.line = messages, chats, content, line
        self.through_at = 0.0
        self.fetched, self.from_us = 0, time.time()
        self.begun = multiprocessing.Event()
        super().__init__(nice)

    def report(self):
        return {"fetched": self.fetched}

    def fetch(self, number):
        with self.lock:
            self.fetched += 1
            self.through_at = through_at = max(self.through_at, time.monotonic()) + self.content.size / self.line
        threading.Event().wait(through_at - time.monotonic())
        return 200, self.content.head(number), self.content.tail

    def update(self, number):
        chat = number % self.chats + 1
        person = {"id": chat, "first_name": "Ada"}
        return {"update_id": 5000 + number, "message": {
            "message_id": number + 1, "date": int(self.from_us), "from": {**person, "is_bot": False}, "chat": {**person, "type": "private"},
            "caption": f"file {number}", "document": {"file_id": f"F{number}", "file_unique_id": f"U{number}", "file_name": f"{number}.pdf",
                                                      "mime_type": "application/pdf", "file_size": self.content.size}}}

    def answer(self, method, target, body):
        path = target.partition("?")[0].split("/")
        if path[1] == "file":
            return self.fetch(int(path[-1]))
        name = path[-1].lower()
        asked = json.loads(body) if body else {}
        if name == "getfile":
            number = asked["file_id"][1:]
            return 200, told({"ok": True, "result": {"file_id": asked["file_id"], "file_unique_id": "u", "file_size": self.content.size, "file_path": f"documents/{number}"}})
        if name == "getupdates":
            offset = max(0, int(asked.get("offset") or 0) - 5000)
            if offset >= self.messages or not self.begun.is_set():
                self.begun.wait(min(float(asked.get("timeout") or 0), 1))
                return 200, told({"ok": True, "result": []})
            return 200, told({"ok": True, "result": [self.update(n) for n in range(offset, min(offset + 100, self.messages))]})
        if name == "getwebhookinfo":
            return 200, told({"ok": True, "result": {"url": "", "has_custom_certificate": False, "pending_update_count": 0}})
        if name == "getme":
            return 200, told({"ok": True, "result": {"id": int(TOKEN.split(":")[0]), "is_bot": True, "first_name": "Bot", "username": "bot"}})
        return 200, told({"ok": True, "result": True})


class Intercom(Peer):
    """Keeps who said what, and which files came whole, in order of arrival."""

    def __init__(self, content, nice, wanted):
        self.content, self.wanted = content, wanted
        self.through = multiprocessing.Event()  # so many messages came, and so many files
        self.words, self.files, self.odd, self.ids = [], [], [], 0
        super().__init__(nice)

    def report(self):
        return {"words": self.words, "files": self.files, "odd": self.odd}

    def new_id(self):
        with self.lock:
            self.ids += 1
            return self.ids

    def take(self, conversation, body):
        """The request without the bytes of its files, which are looked at where they lie."""
        view, lean, at, files = memoryview(body), bytearray(), 0, []
        for found in re.finditer(rb'"data":"', body):
            if found.end() < at:
                continue
            end = body.index(b'"', found.end())
            files.append(self.content.number(view[found.end():end]))
            lean += view[at:found.end()]
            at = end
        lean += view[at:]
        view.release()
        said = json.loads(lean)
        with self.lock:
            self.words.append((conversation, said["body"]))
            self.files += [(conversation, number) for number in files]
            if -1 in files or len(files) != len(said.get("attachment_files", ())):
                self.odd.append(f"a file that is not as it was sent, of {said['body']!r}")
            if min(len(self.words), len(self.files)) >= self.wanted:
                self.through.set()
        return said

    def answer(self, method, target, body):
        path = target.partition("?")[0].strip("/").split("/")
        if path[0] == "contacts" and method == "GET":
            return 404, told({"type": "error.list", "errors": [{"code": "not_found", "message": "User Not Found"}]})
        if path[0] == "contacts":
            return 200, told({"type": "contact", "id": path[1] if len(path) > 1 else f"{self.new_id():024x}", "role": "user", **json.loads(body)})
        if path == ["me"]:
            return 200, told({"type": "admin", "id": "1", "app": {"id_code": "abc", "region": "US"}})
        if path == ["conversations"]:
            said = self.take(None, body)
            conversation = str(self.new_id())
            with self.lock:
                self.words[self.words.index((None, said["body"]))] = (conversation, said["body"])
            return 200, told({"type": "user_message", "id": str(self.new_id()), "created_at": said["created_at"], "body": said["body"],
                              "message_type": "inapp", "conversation_id": conversation})
        if path == ["conversations", "search"]:
            return 200, told({"type": "conversation.list", "conversations": [], "total_count": 0, "pages": {"type": "pages", "page": 1, "total_pages": 1}})
        said = self.take(path[1], body)
        part = {"type": "conversation_part", "id": str(self.new_id()), "part_type": "comment", "body": said["body"], "created_at": said["created_at"],
                "author": {"type": "user", "id": said["intercom_user_id"]}, "attachments": []}
        return 200, told({"type": "conversation", "id": path[1], "conversation_parts": {"type": "conversation_part.list", "conversation_parts": [part], "total_count": 1}})


class Texts(Peer):
    """The signed webhook of the text-only account: when each message came, on the monotonic clock, which all processes share."""

    def __init__(self, first):
        self.came, self.first = {}, first
        super().__init__(0)

    def serve(self, nice):
        if self.first:
            go_first()
        super().serve(nice)

    def report(self):
        return self.came

    def answer(self, method, target, body):
        if method == "POST":
            now = time.monotonic()
            found = re.search(rb'"text":"text (\d+)"', body)
            with self.lock:
                self.came.setdefault(int(found.group(1)), now)
        return (200,)
