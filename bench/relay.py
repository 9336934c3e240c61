"""The daemon as the benchmark runs it: its configuration, its start and end, what it says of itself and what the system says of it."""
import glob
import http.client
import json
import os
import re
import signal
import subprocess
import time

from lab import DESK_SECRET, ROOT, SOURCE_SECRET, Trouble, free_port, wait_until

RELAY = os.path.abspath(os.environ.get("TRIBUTARY_BIN") or os.path.join(ROOT, "build", "tributary"))
SANDBOX = os.path.join(os.path.dirname(RELAY), "tributary-sandbox")
CONFIG = """listen: 127.0.0.1:{port}
public_url: http://127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
  token: bench-token
  socket: {dir}/admin.sock
store: sqlite:{dir}/tributary.db
{more}accounts:
"""
ACCOUNT = """  - name: {name}
    active: {active}
    order: {order}
    sources:
      - {{name: in, {source}}}
    desk: {{{desk}}}
"""
WEBHOOK_SOURCE = f'platform: webhook, secret: "{SOURCE_SECRET}"'
TELEGRAM_SECRET = "bench-secret"


def telegram_source(api_url):
    return f'platform: telegram, token: "1234567:bench-token-of-thirty-five-letters", secret: {TELEGRAM_SECRET}, api_url: "{api_url}"'


def desk_text(desk, account):
    """`desk`: a Sink, or the port where one of signed webhooks will be."""
    url = f"http://127.0.0.1:{desk}" if isinstance(desk, int) else desk.url
    if not isinstance(desk, int) and desk.desk == "intercom":
        return f'platform: intercom, token: bench-token, api_url: "{url}"'
    return f'platform: webhook, url: "{url}/{account}", secret: "{DESK_SECRET}"'


class Sandbox:
    """Telegram's Bot API, where a bot's webhook is registered; updates come from the generator."""

    def __init__(self, lab):
        self.lab = lab
        self.child = lab.start([SANDBOX, "--retry-scale", "0.01"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.telegram = json.loads(self.child.stdout.readline())["telegram"]

    def close(self):
        self.lab.end(self.child)
        self.child.stdout.close()


class Relay:
    """The daemon, with a store and a configuration of its own."""

    def __init__(self, lab, name):
        self.lab = lab
        self.dir = lab.path(name)
        os.mkdir(self.dir, mode=0o700)
        self.port, self.admin_port = free_port(), free_port()
        self.config = os.path.join(self.dir, "tributary.yaml")
        self.log = os.path.join(self.dir, "log")
        self.child = None

    def configure(self, desk, accounts=1, active=True, order="conversation", source=WEBHOOK_SOURCE, others=(), **sections):
        """`others`: more accounts, name and whether they are active. `sections`: of the file, as delivery={"concurrency": 1024}."""
        names = ["bench"] if accounts == 1 else [f"bench-{i:06}" for i in range(accounts)]
        more = "".join(f"{section}: {json.dumps(keys)}\n" for section, keys in sections.items())
        self.environment = {**os.environ, "SSL_CERT_FILE": self.lab.certificate()[0]}
        with open(self.config, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(CONFIG.format(port=self.port, admin_port=self.admin_port, dir=self.dir, more=more))
            for name, is_active in [(name, active) for name in names] + list(others):
                file.write(ACCOUNT.format(name=name, active=str(is_active).lower(), order=order, source=source, desk=desk_text(desk, name)))

    def start(self, patience_s=60):
        """Returns the seconds until it was ready."""
        if not os.path.exists(RELAY):
            raise Trouble(f"{RELAY} is not there")
        began = time.monotonic()
        with open(self.log, "wb") as log:
            self.child = self.lab.start([RELAY, "serve", "-c", self.config], stdout=subprocess.DEVNULL, stderr=log, cwd=self.dir,
                                        env=self.environment)
        wait_until("relay ready", self.ready, patience_s, pause_s=0.005)
        return time.monotonic() - began

    def lines(self):
        with open(self.log, errors="replace") as log:
            return log.read().splitlines()

    def ready(self):
        if any(re.search(r'"event":\s*"ready"', line) for line in self.lines()):
            return True
        if self.child.poll() is not None:
            raise Trouble(f"the relay ended with {self.child.returncode}: " + " | ".join(self.lines()[-3:]))
        return False

    def complaints(self, expected=None):
        """Log lines at warning or error, but for those of one event."""
        return [line for line in self.lines() if re.search(r'"level":\s*"(warn|warning|error|fatal)"', line)
                and not (expected and f'"event":"{expected}"' in line)]

    def stop(self):
        self.lab.end(self.child)
        if self.child.returncode != 0:
            raise Trouble(f"the relay ended with {self.child.returncode}: " + " | ".join(self.lines()[-3:]))

    def kill(self):
        """As kill -9 does."""
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        self.lab.children.remove(self.child)

    def status(self):
        """The counts of GET /api/v1/status, {} where there is no such thing."""
        control = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            control.request("GET", "/api/v1/status", headers={"Authorization": "Bearer bench-token"})
            answer = control.getresponse()
            found = json.loads(answer.read()) if answer.status == 200 else {}
        except (OSError, ValueError):
            found = {}
        control.close()
        return {key: found[key] for key in ("accepted", "delivered", "pending", "skipped", "discarded", "in_doubt") if key in found}

    def memory_mib(self, what="VmRSS"):
        """Resident now; VmHWM: the most so far."""
        with open(f"/proc/{self.child.pid}/status") as file:
            return int(re.search(what + r":\s+(\d+) kB", file.read()).group(1)) / 1024

    def cpu(self):
        """Seconds of CPU so far, by name of the thread (the scheduler's count, nanoseconds exact)."""
        used = {}
        for task in glob.glob(f"/proc/{self.child.pid}/task/*"):
            try:
                with open(task + "/comm") as file:
                    name = file.read().strip()
                with open(task + "/schedstat") as file:
                    used[name] = used.get(name, 0) + int(file.read().split()[0]) / 1e9
            except OSError:  # a thread that has just ended
                pass
        return used


def cpu_since(relay, before):
    now = relay.cpu()
    return {name: now[name] - before.get(name, 0) for name in now}
