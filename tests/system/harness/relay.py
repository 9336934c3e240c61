"""The real daemon: configuration, start, stop, kill, its log, its admin side."""
import array
import fcntl
import json
import os
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import termios
import threading
import time
import urllib.parse

import yaml

from . import client
from .common import CANARY, PATIENCE_S, SLOW, VARIANT, free_port, wait_for

BINARY = os.path.abspath(os.environ.get("TRIBUTARY_BIN", os.path.join(os.path.dirname(__file__), "../../../build/tributary")))
TOKEN = "admin-token-kanarie-0123456789abcdef"

# Short times, so that tests need not wait; a test gives others where they are the point.
DELIVERY = {"retry_base": "50ms", "retry_cap": "1s", "timeout": f"{5 * SLOW}s", "settle": "300ms", "shutdown": f"{2 * SLOW}s"}


def prefix():
    # See script/run-tests: gcc 12's thread sanitizer wants an address space without randomisation.
    return ["setarch", "-R"] if VARIANT == "tsan" and shutil.which("setarch") else []


class Relay:
    def __init__(self, directory, accounts, delivery=None, **top):
        self.directory = str(directory)
        self.path = os.path.join(self.directory, "tributary.yaml")
        self.socket = os.path.join(self.directory, "admin.sock")
        self.database = os.path.join(self.directory, "tributary.db")
        self.port, self.admin_port = free_port(), free_port()
        self.config = {"listen": f"127.0.0.1:{self.port}", "admin": {"listen": f"127.0.0.1:{self.admin_port}", "token": TOKEN, "socket": self.socket},
                       "store": "sqlite:" + self.database, "delivery": {**DELIVERY, **(delivery or {})}, "accounts": accounts, **top}
        self.process = None
        self.lock = threading.Condition()
        self.lines = []         # of all starts
        self.events = []        # the same, parsed
        self.junk = []          # lines that are no JSON object
        self.allowed = []       # names of warnings and errors that the test expects
        self.readers = []
        self.starts = 0
        self.outages = []       # [killed, ready again] on the monotonic clock
        self.wrapper = []       # a command around the daemon (strace)
        self.environment = {}
        self.write_config()

    # Configuration

    def write_config(self):
        with open(os.open(self.path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            yaml.safe_dump(self.config, file, sort_keys=False)
        os.rename(self.path + ".new", self.path)

    def secrets(self):
        """Every secret that the configuration holds: none may be seen in a log, an answer or a metric."""
        found = []

        def walk(value, name):
            if isinstance(value, dict):
                for key, inner in value.items():
                    walk(inner, key)
            elif isinstance(value, list):
                for inner in value:
                    walk(inner, name)
            elif name in ("token", "secret", "client_secret") and value != "none":
                found.append(str(value))
        walk(self.config, "")
        return found

    # Life

    def start(self, wait=True):
        assert self.process is None, "already running"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRIBUTARY_")}
        self.process = subprocess.Popen(prefix() + self.wrapper + [BINARY, "serve", "-c", self.path], cwd=self.directory,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                                        env={**environment, **self.environment})
        self.starts += 1
        reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        reader.start()
        self.readers.append(reader)
        if wait:
            self.wait_ready()
        return self

    def _read(self, pipe):
        """Read and noted under one lock: whoever holds it and finds the pipe empty has seen all that was written."""
        rest = b""
        while True:
            select.select([pipe], [], [])
            with self.lock:
                chunk = os.read(pipe.fileno(), 1 << 16)
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines + ([rest] if rest and not chunk else []):
                    self._note(line.decode("utf-8", "replace"))
                self.lock.notify_all()
            if not chunk:
                return

    def _note(self, line):
        try:
            event = json.loads(line)
            assert isinstance(event, dict)
        except (ValueError, AssertionError):
            event = None
        self.lines.append(line)
        if event is None:
            self.junk.append(line)
        else:
            event["_start"] = self.starts
            self.events.append(event)

    def _unread(self):
        count = array.array("i", [0])
        fcntl.ioctl(self.process.stderr, termios.FIONREAD, count)
        return count[0] > 0

    def wait_ready(self):
        start = self.starts
        self.wait_event("ready", lambda e: e["_start"] == start)
        if self.outages and self.outages[-1][1] is None:
            self.outages[-1][1] = time.monotonic()
        return self

    def wait_event(self, name, check=lambda e: True, timeout_s=None):
        """The first log line with that event that passes the check, also when it came before."""
        timeout_s = timeout_s or PATIENCE_S
        find = lambda: next((e for e in self.events if e.get("event") == name and check(e)), None)
        with self.lock:
            deadline = time.monotonic() + timeout_s
            while find() is None:
                gone = self.process is None or self.process.poll() is not None
                if gone or time.monotonic() > deadline:
                    why = "the daemon has ended" if gone else f"not within {timeout_s:g} s"
                    raise AssertionError(f"log event {name!r}: {why}; the log ends:\n" + "\n".join(self.lines[-30:]))
                self.lock.wait(0.1)
            return find()

    def logged(self, name):
        """What was written until now: of a change that was answered its line, too."""
        with self.lock:
            while self.process is not None and self._unread():
                self.lock.wait(0.01)
            return [e for e in self.events if e.get("event") == name]

    def _ended(self, timeout_s):
        """Waits for the process; its log is complete then."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self.process = None
            raise AssertionError(f"the daemon did not end within {timeout_s:g} s; its log ends:\n" + "\n".join(self.lines[-30:]))
        self.process = None
        for reader in self.readers:
            reader.join(PATIENCE_S)
        return status

    def _kill_group(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    @property
    def pid(self):
        """Of the daemon itself, also when it runs inside a wrapper."""
        if not self.wrapper:
            return self.process.pid
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            children = file.read().split()
        return int(children[0]) if children else self.process.pid  # prlimit and its like become the daemon

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait_end(self, timeout_s=None):
        """The exit status of a daemon that ends by itself."""
        return self._ended(timeout_s or PATIENCE_S)

    def stop(self, number=signal.SIGTERM):
        """The orderly end: within delivery.shutdown and a second, with exit status 0."""
        self.send_signal(number)
        status = self._ended(self.shutdown_s + 1 + (PATIENCE_S if VARIANT != "release" else 2))
        assert status == 0, f"exit status {status}; the log ends:\n" + "\n".join(self.lines[-30:])

    @property
    def shutdown_s(self):
        text = self.config["delivery"]["shutdown"]
        return float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1])

    def kill(self):
        """kill -9."""
        self.outages.append([time.monotonic(), None])
        self._kill_group()
        self.process = None
        for reader in self.readers:
            reader.join(PATIENCE_S)

    def restart(self):
        self.stop()
        return self.start()

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    # The admin side

    def api(self, method, target, body=None, headers=None, where=None, token=TOKEN):
        """Over TCP with the token, or with `where="socket"` without one."""
        headers = dict(headers or {})
        if where != "socket" and token:
            headers["Authorization"] = "Bearer " + token
        return client.call(self.socket if where == "socket" else self.admin_port, method, target, body, headers)

    def get(self, target, **query):
        query = {k: v for k, v in query.items() if v is not None}
        answer = self.api("GET", target + ("?" + urllib.parse.urlencode(query) if query else ""))
        assert answer.status == 200, f"GET {target}: {answer}"
        return answer.json

    def status(self):
        return self.get("/api/v1/status")

    def messages(self, **filters):
        """All of them, page by page."""
        items, after = [], None
        while True:
            page = self.get("/api/v1/messages", limit=1000, after=after, **filters)
            items += page["items"]
            after = page["next"]
            if after is None:
                return items

    def metrics(self):
        """{'name{labels}': value}"""
        answer = client.call(self.admin_port, "GET", "/metrics")
        assert answer.status == 200
        found = {}
        for line in answer.body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def cli(self, *arguments, check=True):
        done = subprocess.run(prefix() + [BINARY, *arguments], cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=3 * PATIENCE_S, env={k: v for k, v in os.environ.items() if not k.startswith("TRIBUTARY_")})
        if check:
            assert done.returncode == 0, f"tributary {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def set_active(self, account, active):
        answer = self.api("PATCH", f"/api/v1/accounts/{account}", {"active": active})
        assert answer.status == 200, f"PATCH active: {answer}"
        return answer.json

    def wait_settled(self, timeout_s=None):
        """Until nothing is pending."""
        return wait_for(lambda: (lambda s: s["pending"] == 0 and s)(self.status()), "nothing pending", timeout_s or 3 * PATIENCE_S)

    def wait_source(self, account, source):
        """Until it is shown as well: what it learned at the platform is in the store then."""
        wait_for(lambda: any((s["account"], s["name"], s["state"]) == (account, source, "well") for s in self.status()["sources"]), f"{account}/{source} is well")

    def check_sum(self, status=None):
        status = status or self.status()
        parts = {k: status[k] for k in ("accepted", "delivered", "pending", "skipped", "discarded")}
        assert all(isinstance(v, int) and v >= 0 for v in parts.values()), parts
        assert parts["accepted"] == parts["delivered"] + parts["pending"] + parts["skipped"] + parts["discarded"], parts
        return status

    def verify(self):
        """`tributary verify` of the running daemon."""
        return self.cli("verify", "--socket", self.socket)

    def query(self, sql, *values):
        """SQL on the store's file, reading only."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=PATIENCE_S)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    # The end

    def allow(self, *patterns):
        """Warnings and errors (by event name) that this test brings about."""
        self.allowed += patterns
        return self

    def unexpected(self):
        with self.lock:
            return [e for e in self.events if e.get("level") in ("warn", "warning", "error", "fatal")
                    and not any(re.fullmatch(p, str(e.get("event"))) for p in self.allowed)]

    def leaks(self, text):
        """Secrets and message texts in a text."""
        return [word for word in [CANARY, *self.secrets()] if word and word in text]

    def check_log(self):
        assert not self.junk, "lines on standard error that are no JSON object:\n" + "\n".join(self.junk)
        for event in self.events:
            missing = {"time", "level", "event"} - set(event)
            assert not missing, f"a log line without {missing}: {event}"
        found = self.leaks("\n".join(self.lines))
        assert not found, f"in the log: {found}"
        odd = self.unexpected()
        assert not odd, "unexpected warnings or errors:\n" + "\n".join(json.dumps(e) for e in odd)

    def finish(self):
        """What holds at the end of every test."""
        try:
            if self.process is not None:
                if self.process.poll() is not None:
                    raise AssertionError(f"the daemon ended by itself, status {self.process.returncode}:\n" + "\n".join(self.lines[-30:]))
                self.check_sum()
                self.stop()
        finally:
            if self.process is not None:
                self._kill_group()
                self.process = None
        self.check_log()


def account(name, desk, sources=None, **more):
    """One account of a configuration."""
    return {"name": name, **more, "sources": sources if sources is not None else [webhook_source()], "desk": desk}


def webhook_source(name="hook", secret="none"):
    return {"name": name, "platform": "webhook", "secret": secret}
