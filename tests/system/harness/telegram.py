"""A scripted Telegram Bot API: one or several bots, webhook registration, long polling with Telegram's meaning of an offset, a sender
of webhooks, files in both directions, edits and deletions.

Files: `photo`, `document` and `voice` make updates whose files `getFile` then knows. `asked_for` and `fetched` hold what getFile and
the fetch of the bytes answer the next times, by file_id: lists of actions (scripted.py), None = the ordinary answer."""
import hashlib
import http.client
import json
import threading
import time
import urllib.parse

from . import multipart
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
        self.files = {}             # file_id: bytes
        self.paths = {}             # file_path: file_id
        self.asked_for, self.fetched = {}, {}
        self.profile_photos = {}    # user_id: a picture's list of sizes
        self.asked_photos = []      # what getUserProfilePhotos answers the next times
        self.shown = {}             # (chat, message_id): {"text", "file": (method, name, type, bytes) or None}; what was deleted is gone
        self.sent = []              # the same, with "chat" and "message_id", in the order in which they came
        self.max_download = 20 << 20
        self.https_only = True      # as the real one: where webhooks may lead
        super().__init__(port)

    def config(self, **more):
        return {"name": "bot", "platform": "telegram", "token": self.token, "api_url": self.url, **more}

    # Methods

    def respond(self, request):
        parts = request.path.split("/")
        if request.path.startswith(f"/file/bot{self.token}/"):
            return self.give_file(request, request.path.split("/", 3)[3])
        if len(parts) != 3 or parts[1] != "bot" + self.token:
            self.trouble.append(f"{request!r}: path")
            return wrong(401, "Unauthorized")
        parameters = dict(request.query)
        kind = request.headers.get("content-type", "")
        uploads = {}
        if request.body and kind.startswith("application/json"):
            parameters.update(request.json)
        elif kind.startswith("multipart/"):
            texts, uploads = multipart.read(kind, request.body)
            parameters.update(texts)
        elif request.body:
            parameters.update(urllib.parse.parse_qsl(request.body.decode()))
        request.notes.update(method=parts[2].lower(), parameters=parameters, uploads=uploads)
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
        if url and self.https_only and not url.startswith("https://"):
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

    # Files

    def next_of(self, actions, file_id):
        return actions[file_id].pop(0) if actions.get(file_id) else None

    def get_file(self, request, parameters):
        file_id = parameters.get("file_id")
        action = self.next_of(self.asked_for, file_id)
        if action is not None:
            return action
        if file_id not in self.files:
            return wrong(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        data = self.files[file_id]
        if len(data) > self.max_download:
            return wrong(400, "Bad Request: file is too big")
        path = f"documents/file_{len(self.paths)}.bin"
        self.paths[path] = file_id
        return ok({"file_id": file_id, "file_unique_id": hashlib.sha256(data).hexdigest()[:16], "file_size": len(data), "file_path": path})

    def give_file(self, request, path):
        file_id = self.paths.get(path)
        request.notes.update(method="file", file_id=file_id)
        if request.method != "GET" or request.headers.get("authorization") or request.headers.get("cookie"):
            self.trouble.append(f"{request!r}: a file is fetched with GET and nothing else")
        action = self.next_of(self.fetched, file_id)
        if action is not None:
            return action
        if file_id is None:
            return wrong(404, "Not Found")
        return Answer(200, self.files[file_id], [("Content-Type", "application/octet-stream")])

    def get_user_profile_photos(self, request, parameters):
        """Of the customer's pictures the first, in the sizes that Telegram makes of it."""
        if set(parameters) - {"user_id", "offset", "limit"} or not isinstance(parameters.get("user_id"), int) or parameters.get("limit") != 1:
            self.trouble.append(f"{request!r}: {parameters}")
        if self.asked_photos:
            return self.asked_photos.pop(0)
        sizes = self.profile_photos.get(parameters["user_id"])
        return ok({"total_count": 3 if sizes else 0, "photos": [sizes] if sizes else []})

    # What the bot sends

    def answer_message(self, chat, message_id):
        shown = self.shown[chat, message_id]
        said = {"text": shown["text"]} if shown["file"] is None else {"caption": shown["text"], "document": {"file_id": "x", "file_unique_id": "y"}}
        return ok({"message_id": message_id, "date": int(time.time()), "chat": {"id": chat, "type": "private"}, **said})

    def send(self, request, parameters):
        method = request.notes["method"].removeprefix("send")
        file = None
        if method != "message":
            if method not in request.notes["uploads"] or len(request.notes["uploads"]) != 1:
                self.trouble.append(f"{request!r}: no upload under {method!r}")
                return wrong(400, f"Bad Request: there is no {method} in the request")
            file = (method, *request.notes["uploads"][method])
        chat = int(parameters["chat_id"])
        message_id, self.next_message = self.next_message, self.next_message + 1
        self.shown[chat, message_id] = {"text": parameters.get("text" if file is None else "caption", ""), "file": file}
        self.sent.append({"chat": chat, "message_id": message_id, **self.shown[chat, message_id]})
        return self.answer_message(chat, message_id)

    def edit(self, request, parameters):
        chat, message_id = int(parameters["chat_id"]), int(parameters["message_id"])
        caption = request.notes["method"] == "editmessagecaption"
        shown = self.shown.get((chat, message_id))
        if shown is None:
            return wrong(400, "Bad Request: message to edit not found")
        if caption != (shown["file"] is not None):
            return wrong(400, f"Bad Request: there is no {'caption' if caption else 'text'} in the message to edit")
        shown["text"] = parameters.get("caption" if caption else "text", "")
        return self.answer_message(chat, message_id)

    def delete_message(self, request, parameters):
        if self.shown.pop((int(parameters["chat_id"]), int(parameters["message_id"])), None) is None:
            return wrong(400, "Bad Request: message to delete not found")
        return ok(True)

    METHODS = {"getme": get_me, "getwebhookinfo": get_webhook_info, "setwebhook": set_webhook, "deletewebhook": delete_webhook,
               "getupdates": get_updates, "getfile": get_file, "getuserprofilephotos": get_user_profile_photos, "deletemessage": delete_message, "editmessagetext": edit, "editmessagecaption": edit,
               **dict.fromkeys(("sendmessage", "sendphoto", "senddocument", "sendvoice", "sendaudio", "sendvideo", "sendanimation"), send)}

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

    def keep(self, data):
        """The file_id of a file that getFile will know."""
        with self.lock:
            file_id = f"BQACAgIAAxkB{len(self.files):06}kanarie"
            self.files[file_id] = data
            return file_id

    def of_file(self, key, member, chat=77, words=None, **more):
        """An update with a file; `words`: its caption."""
        update = self.message(key, chat, **more)
        del update["message"]["text"]
        update["message"].update(member)
        if words is not None:
            update["message"]["caption"] = text_of(key, words)
        return update

    def photo(self, key, data, **more):
        """The smaller size is another file, which nobody should want."""
        sizes = [{"file_id": self.keep(b"the smaller one"), "file_unique_id": "s", "width": 90, "height": 60, "file_size": 15},
                 {"file_id": self.keep(data), "file_unique_id": "l", "width": 1280, "height": 853, "file_size": len(data)}]
        return self.of_file(key, {"photo": sizes}, **more)

    def show_profile_photo(self, user, data, unique):
        """The customer has this picture now; None: none that the bot may see. The file_id of the size that is to be fetched."""
        sizes = data and [{"file_id": self.keep(b"the smaller one"), "file_unique_id": unique + "-a", "width": 160, "height": 160, "file_size": 15},
                          {"file_id": self.keep(data), "file_unique_id": unique + "-b", "width": 320, "height": 320, "file_size": len(data)},
                          {"file_id": self.keep(b"the larger one"), "file_unique_id": unique + "-c", "width": 640, "height": 640, "file_size": 14}]
        with self.lock:
            self.profile_photos[user] = sizes
        return sizes and sizes[1]["file_id"]

    def document(self, key, data, name="a.pdf", mime="application/pdf", size=None, **more):
        file = {"file_id": self.keep(data), "file_unique_id": "d", "file_name": name, "mime_type": mime, "file_size": len(data) if size is None else size}
        return self.of_file(key, {"document": file}, **more)

    def voice(self, key, data, **more):
        return self.of_file(key, {"voice": {"file_id": self.keep(data), "file_unique_id": "v", "duration": 3, "mime_type": "audio/ogg", "file_size": len(data)}}, **more)

    @staticmethod
    def file_id_of(update):
        """Of the file that is to be fetched."""
        message = update["message"]
        return message["photo"][-1]["file_id"] if "photo" in message else next(message[k]["file_id"] for k in ("document", "voice") if k in message)

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
