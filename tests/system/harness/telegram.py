"""A scripted Telegram Bot API: one or several bots, webhook registration, long polling with Telegram's meaning of an offset, and a
sender of webhooks."""
import http.client
import json
import threading
import time
import urllib.parse

from .client import exchange
from .common import PATIENCE_S, text_of
from .scripted import Answer, Server

TOKEN = "123456789:AAkanarieTelegramToken_0123456789abcd"


def ok(result):
    return Answer(200, {"ok": True, "result": result})


def wrong(code, description, **parameters):
    more = {"parameters": parameters} if parameters else {}
    return Answer(code, {"ok": False, "error_code": code, "description": description, **more})


class ScriptedTelegram(Server):
    def __init__(self, port=0, token=TOKEN):
        self.token = token
        self.bot_id = int(token.split(":")[0])
        self.webhook = {"url": "", "secret": None, "max_connections": 40, "allowed_updates": None}
        self.queue = []             # updates that are not confirmed, in order
        self.forgotten = []         # updates that a confirmation took away, in order
        self.next_update = 5001
        self.next_message = 1
        self.arrived = threading.Event()
        self.max_hold_s = 50
        super().__init__(port)

    def config(self, **more):
        return {"name": "bot", "platform": "telegram", "token": self.token, "api_url": self.url, **more}

    # Methods

    def respond(self, request):
        parts = request.path.split("/")
        if len(parts) != 3 or parts[1] != "bot" + self.token:
            self.trouble.append(f"{request!r}: path")
            return wrong(401, "Unauthorized")
        parameters = dict(request.query)
        kind = request.headers.get("content-type", "")
        if request.body and kind.startswith("application/json"):
            parameters.update(request.json)
        elif request.body:
            parameters.update(urllib.parse.parse_qsl(request.body.decode()))
        request.notes.update(method=parts[2].lower(), parameters=parameters)
        handler = self.METHODS.get(parts[2].lower())
        if handler is None:
            self.trouble.append(f"{request!r}: unknown method")
            return wrong(404, "Not Found: method not found")
        return handler(self, request, parameters)

    def get_me(self, request, parameters):
        return ok({"id": self.bot_id, "is_bot": True, "first_name": "Bot", "username": "test_bot"})

    def get_webhook_info(self, request, parameters):
        return ok({"url": self.webhook["url"], "has_custom_certificate": False, "pending_update_count": len(self.queue),
                   "max_connections": self.webhook["max_connections"], "allowed_updates": self.webhook["allowed_updates"] or []})

    def set_webhook(self, request, parameters):
        url = parameters.get("url", "")
        if url and not url.startswith("https://"):
            return wrong(400, "Bad Request: bad webhook: HTTPS url must be provided for webhook")
        allowed = parameters.get("allowed_updates")
        self.webhook = {"url": url, "secret": parameters.get("secret_token"), "max_connections": int(parameters.get("max_connections", 40)),
                        "allowed_updates": json.loads(allowed) if isinstance(allowed, str) else allowed}
        return ok(True)

    def delete_webhook(self, request, parameters):
        if str(parameters.get("drop_pending_updates", "false")).lower() == "true":
            self.trouble.append("deleteWebhook drops pending updates")
        self.webhook = {**self.webhook, "url": ""}
        return ok(True)

    def get_updates(self, request, parameters):
        if self.webhook["url"]:
            return wrong(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first")
        offset = int(parameters.get("offset") or 0)
        limit = int(parameters.get("limit") or 100)
        if offset < 0:
            self.trouble.append("a negative offset forgets updates")
        # An offset confirms everything below it: Telegram forgets those for good.
        self.forgotten += [u for u in self.queue if u["update_id"] < offset]
        self.queue = [u for u in self.queue if u["update_id"] >= offset]
        if self.queue:
            return ok(self.queue[:limit])
        hold_s = min(float(parameters.get("timeout") or 0), self.max_hold_s)
        if hold_s <= 0:
            return ok([])
        return LongPoll(hold_s, limit, offset)

    METHODS = {"getme": get_me, "getwebhookinfo": get_webhook_info, "setwebhook": set_webhook, "deletewebhook": delete_webhook,
               "getupdates": get_updates}

    def _act(self, sock, request, action):
        if isinstance(action, LongPoll):
            poll, due = action, time.monotonic() + action.hold_s
            while True:
                with self.lock:
                    given = [u for u in self.queue if u["update_id"] >= poll.offset][:poll.limit]
                    event = self.arrived = threading.Event()
                if given or time.monotonic() >= due:
                    break
                if not self._hold(sock, Answer(after=AnyOf(event, due))):
                    return False
            request.notes["given"] = [u["update_id"] for u in given]
            action = ok(given)
        return super()._act(sock, request, action)

    # For tests

    def message(self, key, chat=77, words="good day", **more):
        """An update with a private text message. `raw_text` replaces the text as a whole; other fields go into the message."""
        text = more.pop("raw_text", None) or text_of(key, words)
        with self.lock:
            update, message = self.next_update, self.next_message
            self.next_update += 1
            self.next_message += 1
        return {"update_id": update, "message": {"message_id": message, "date": int(time.time()) - 60, "text": text,
                                                 "from": {"id": chat, "is_bot": False, "first_name": "Ada", "last_name": "L."},
                                                 "chat": {"id": chat, "type": "private", "first_name": "Ada"}, **more}}

    def push(self, *updates):
        """Puts updates where getUpdates finds them."""
        with self.lock:
            self.queue += updates
            self.arrived.set()
            self.lock.notify_all()

    def post(self, relay, account, update, source="bot", secret=None, headers=None):
        """One webhook with this update; the answer. The secret is the registered one unless given ("" = none)."""
        secret = self.webhook["secret"] if secret is None else secret
        sent = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate", **(headers or {})}
        if secret:
            sent["X-Telegram-Bot-Api-Secret-Token"] = secret
        sent = {k: v for k, v in sent.items() if v is not None}
        connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=PATIENCE_S)
        try:
            body = update if isinstance(update, bytes) else json.dumps(update).encode()
            return exchange(connection, "POST", f"/hooks/{account}/{source}", body, sent)
        finally:
            connection.close()

    def calls(self, method):
        with self.lock:
            return [r for r in self.journal if r.notes.get("method") == method.lower()]

    def wait_calls(self, method, count=1, timeout_s=None):
        self.wait_requests(lambda journal: sum(1 for r in journal if r.notes.get("method") == method.lower()) >= count,
                           f"{count} calls of {method}", timeout_s)
        return self.calls(method)

    def wait_registered(self, url=None, timeout_s=None):
        self.wait_requests(lambda _: self.webhook["url"] == url if url else self.webhook["url"], "a registered webhook", timeout_s)
        return self.webhook

    def wait_confirmed(self, update_id, timeout_s=None):
        self.wait_requests(lambda _: any(u["update_id"] == update_id for u in self.forgotten), f"update {update_id} confirmed", timeout_s)


class LongPoll:
    def __init__(self, hold_s, limit, offset):
        self.hold_s, self.limit, self.offset = hold_s, limit, offset


class AnyOf:
    def __init__(self, event, due):
        self.event, self.due = event, due

    def is_set(self):
        return self.event.is_set() or time.monotonic() >= self.due
