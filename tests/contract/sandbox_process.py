"""The real tributary-sandbox as a context manager, and a small HTTP client for it."""
import http.client
import json
import os
import signal
import subprocess
import urllib.parse

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BIN = os.environ.get("TRIBUTARY_SANDBOX_BIN", os.path.join(ROOT, "build", "tributary-sandbox"))


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers}

    def json(self):
        return json.loads(self.body)


def http_call(base, method, target, body=None, headers=None, timeout_s=30):
    """One request on a connection of its own. `body`: bytes as they are, anything else as JSON."""
    parts = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    given = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        given.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, target, body, given)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


class Sandbox:
    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        self.process = subprocess.Popen([BIN, "--quiet", *self.options], stdout=subprocess.PIPE, text=True)
        self.ready = json.loads(self.process.stdout.readline() or "{}")
        assert self.ready.get("event") == "ready", f"{BIN} did not start"
        self.telegram, self.intercom = self.ready["telegram"], self.ready["intercom"]
        return self

    def __exit__(self, *exc):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=20)
        self.process.stdout.close()
        if exc[0] is None:
            assert status == 0, f"the sandbox ended with {status}"

    def control(self, base, method, path, body=None):
        answer = http_call(base, method, f"/sandbox/{path}", body)
        assert answer.status in (200, 201), (answer.status, answer.body)
        return answer.json()

    def fault(self, base, **spec):
        return self.control(base, "POST", "faults", spec)["id"]

    def say(self, text, customer=None, token=None, **more):
        given = {"text": text, "customer": customer, "token": token, **more}
        return self.control(self.telegram, "POST", "telegram/say", {k: v for k, v in given.items() if v is not None})

    def journal(self, base, of=None):
        items, after = [], 0
        while after is not None:
            page = self.control(base, "GET", f"journal?after={after}&limit=1000" + (f"&of={of}" if of else ""))
            items += page["items"]
            after = page["next"]
        return items
