"""The scripted signed-webhook desk: verifies every request to the letter and keeps a journal of what it took."""
import re
import time

from .common import key_of, make_secret, sign
from .scripted import Answer, Server

FIELDS = {"id": str, "account": str, "source": str, "platform": str, "direction": str, "conversation": str, "sender": dict, "text": str,
          "attachments": list, "sent_at": str, "received_at": str, "late": bool}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class ScriptedDesk(Server):
    def __init__(self, port=0):
        self.secret = make_secret()
        self.skew_s = 60  # how far the sender's clock may be from ours
        super().__init__(port)

    def config(self, **more):
        return {"platform": "webhook", "url": self.url + "/in", "secret": self.secret, **more}

    def scriptable(self, request):
        return request.method == "POST"

    def respond(self, request):
        if request.method == "HEAD":
            return Answer(200)
        return Answer(200)

    def _action(self, request):
        if request.method == "POST":
            self.check(request)
        return super()._action(request)

    def check(self, request):
        """Whether the request is what INTERFACE.md says; anything else is trouble."""
        complain = lambda what: self.trouble.append(f"{request!r}: {what}")
        headers = request.headers
        if request.path != "/in":
            complain("path")
        if not headers.get("content-type", "").startswith("application/json"):
            complain("content type " + headers.get("content-type", "absent"))
        message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not re.fullmatch(r"msg_[A-Za-z0-9]+_[0-9]+", message_id):
            complain(f"webhook-id {message_id!r}")
        if not stamp.isdigit() or abs(int(stamp) - time.time()) > self.skew_s:
            complain(f"webhook-timestamp {stamp!r}")
        if sign(self.secret, message_id, stamp, request.body) not in headers.get("webhook-signature", "").split(" "):
            complain("signature")
        body = request.json
        if sorted(body) != sorted(FIELDS):
            complain(f"fields {sorted(body)}")
        for name, kind in FIELDS.items():
            if not isinstance(body.get(name), kind):
                complain(f"{name} is {type(body.get(name)).__name__}")
        if sorted(body.get("sender", {})) != ["id", "name"]:
            complain("sender")
        for name in ("sent_at", "received_at"):
            if not TIME.fullmatch(str(body.get(name))):
                complain(f"{name} is {body.get(name)}")
        request.notes.update(webhook_id=message_id, key=key_of(body.get("text", "")), body=body)

    def posts(self):
        return self.requests("POST")

    def keys(self):
        """Which messages were answered 2xx, in that order."""
        return [r.notes["key"] for r in self.posts() if r.status is not None and 200 <= r.status < 300]

    def wait_taken(self, count, timeout_s=None):
        """Waits until so many different messages were answered 2xx."""
        self.wait_requests(lambda journal: len({r.notes["key"] for r in journal
                                                if r.method == "POST" and r.status is not None and 200 <= r.status < 300}) >= count,
                           f"{count} messages taken by the desk", timeout_s)
        return self.keys()
