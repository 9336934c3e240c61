"""A scripted Intercom: contacts, conversations and replies with state; any request can be answered otherwise, with or without
having been carried out. Files that customers sent are kept with their bytes; those of agents are given under addresses of this server.

Faults: `server.faults` is a list of (predicate(request), action, apply). The first match is used once. `apply=True` carries the
request out first: with Drop() that is an answer lost after the message was taken.
"""
import base64
import re
import secrets
import time
import urllib.parse

from .common import key_of
from .scripted import Answer, Server

TOKEN = "intercom-token-kanarie-abcdef"


def errors(code, message=""):
    return {"type": "error.list", "request_id": None, "errors": [{"code": code, "message": message}]}


def on(method, pattern):
    """A predicate for faults: this method, and a path that matches as a whole."""
    return lambda request: request.method == method and re.fullmatch(pattern, request.path) is not None


IS_REPLY = on("POST", r"/conversations/[^/]+/reply")
IS_CREATE = on("POST", r"/conversations")
IS_CONTACT = on("POST", r"/contacts")
IS_LOOKUP = lambda request: request.method == "GET" and request.path.startswith("/conversations/") or request.path == "/conversations/search" and b"updated_at" not in request.body


class ScriptedIntercom(Server):
    def __init__(self, port=0):
        self.contacts = {}       # id: contact
        self.conversations = {}  # id: {"id", "contact", "source", "parts": [...]}
        self.deleted = set()     # ids of conversations
        self.merged = {}         # id: the id that it became
        self.faults = []
        self.counter = 1000
        self.search_sees = True  # False: the search index lags behind
        self.rate_headers = {}
        self.attributes = {"telegram_username", "language"}  # what custom attributes of contacts there are
        self.agents_files = {}   # path: (type, bytes)
        self.files_fetched = []  # paths, in order
        super().__init__(port)

    def config(self, **more):
        return {"platform": "intercom", "token": TOKEN, "client_secret": "client-secret-kanarie", "api_url": self.url, **more}

    def fault(self, predicate, action, apply=False, times=1):
        with self.lock:
            self.faults += [(predicate, action, apply)] * times
        return self

    def _action(self, request):
        if request.body and request.method == "POST":
            try:
                body = request.json
                request.notes.update(body=body, key=key_of(body.get("body", "")))
            except ValueError:
                self.trouble.append(f"{request!r}: body is not JSON")
        for i, (predicate, action, apply) in enumerate(self.faults):
            if predicate(request):
                del self.faults[i]
                if apply:
                    self.respond(request)
                return action(request) if callable(action) else action
        return super()._action(request)

    # What the API says

    def respond(self, request):
        complain = lambda what: self.trouble.append(f"{request!r}: {what}")
        if request.path.startswith("/attachments/"):
            return self.give_file(request)
        if request.headers.get("authorization") != "Bearer " + TOKEN:
            complain("authorization")
            return Answer(401, errors("unauthorized"))
        if not re.fullmatch(r"2\.\d+", request.headers.get("intercom-version", "")):
            complain("no pinned Intercom-Version")
        if "application/json" not in request.headers.get("accept", ""):
            complain("Accept")
            return Answer(406, errors("media_type_not_acceptable"))
        if request.method in ("POST", "PUT") and request.body and not request.headers.get("content-type", "").startswith("application/json"):
            complain("Content-Type")
        for method, pattern, handler in self.ROUTES:
            found = re.fullmatch(pattern, request.path)
            if request.method == method and found:
                answer = handler(self, request, *found.groups())
                answer.headers += [("X-RateLimit-Limit", "167"), ("X-RateLimit-Remaining", "160"), ("X-RateLimit-Reset", str(int(time.time()) + 10))]
                return answer
        complain("unknown path")
        return Answer(404, errors("not_found"))

    def new_id(self):
        self.counter += 1
        return str(self.counter)

    def me(self, request):
        return Answer(200, {"type": "admin", "id": "1", "app": {"type": "app", "id_code": "abc123", "region": "US", "timezone": "UTC"}})

    def shown(self, contact):
        return {"type": "contact", "workspace_id": "abc123", **contact}

    def find_contact(self, request, external):
        external = urllib.parse.unquote(external)
        for contact in self.contacts.values():
            if contact["external_id"] == external and not contact["archived"]:
                if contact["id"] in self.merged:
                    return self.moved(contact["id"])
                return Answer(200, self.shown(contact))
        return Answer(404, errors("not_found", "User Not Found"))

    def moved(self, contact):
        return Answer(410, errors("contact_merged", "merged"), [("Link", f'</contacts/{self.merged[contact]}>; rel="canonical"')])

    def get_contact(self, request, contact):
        if contact in self.merged:
            return self.moved(contact)
        if contact not in self.contacts:
            return Answer(404, errors("not_found", "User Not Found"))
        return Answer(200, self.shown(self.contacts[contact]))

    def create_contact(self, request):
        body = request.json
        if not any(body.get(k) for k in ("email", "external_id", "role")):
            return Answer(400, errors("parameter_not_found"))
        for contact in self.contacts.values():
            if contact["external_id"] == body.get("external_id"):
                what = "An archived contact" if contact["archived"] else "A contact"
                return Answer(409, errors("conflict", f"{what} matching those details already exists with id={contact['id']}"))
        wrong = self.unknown_attributes(body)
        if wrong:
            return wrong
        contact = self.add_contact(body.get("external_id"), body.get("name"))
        contact.update({k: body[k] for k in ("phone", "custom_attributes") if k in body})
        return Answer(200, self.shown(contact))

    def unknown_attributes(self, body):
        for name in set(body.get("custom_attributes") or {}) - self.attributes:
            return Answer(400, errors("parameter_invalid", f"Custom attribute '{name}' does not exist"))
        return None

    def change_contact(self, request, contact):
        if contact in self.merged or contact not in self.contacts:
            return self.moved(contact) if contact in self.merged else Answer(404, errors("not_found", "User Not Found"))
        body = request.json
        wrong = self.unknown_attributes(body)
        if wrong:
            return wrong
        if not isinstance(body.get("avatar", ""), (str, type(None))):
            self.trouble.append(f"{request!r}: an avatar is a text, or null")
        kept = self.contacts[contact]
        if "avatar" in body:  # in answers it is an object
            kept["avatar"] = body["avatar"] and {"type": "avatar", "image_url": body["avatar"]}
        kept.update({k: body[k] for k in ("name", "phone") if k in body})
        kept.setdefault("custom_attributes", {}).update(body.get("custom_attributes") or {})
        return Answer(200, self.shown(kept))

    def create_attribute(self, request):
        self.attributes.add(request.json["name"])
        return Answer(200, {"type": "data_attribute", "id": len(self.attributes), **request.json})

    def add_contact(self, external_id, name="", archived=False):
        contact = {"id": secrets.token_hex(12), "external_id": external_id, "role": "user", "name": name, "archived": archived}
        self.contacts[contact["id"]] = contact
        return contact

    def unarchive(self, request, contact):
        if contact not in self.contacts:
            return Answer(404, errors("not_found"))
        self.contacts[contact]["archived"] = False
        return Answer(200, {"type": "contact", "id": contact, "external_id": self.contacts[contact]["external_id"], "archived": False})

    def user(self, contact):
        """None, or the answer that says what is wrong with a contact."""
        if contact in self.merged:
            return self.moved(contact)
        if contact not in self.contacts or self.contacts[contact]["archived"]:
            return Answer(404, errors("not_found", "User Not Found"))
        return None

    def create_conversation(self, request):
        body = request.json
        if set(body) - {"from", "body", "created_at", "attachment_urls"} or not body.get("body"):
            self.trouble.append(f"{request!r}: {sorted(body)}")
            return Answer(400, errors("parameter_invalid"))
        contact = body["from"]["id"]
        wrong = self.user(contact)
        if wrong:
            return wrong
        conversation, message = self.new_id(), self.new_id()
        created = body.get("created_at", int(time.time()))
        self.conversations[conversation] = {"id": conversation, "contact": contact, "parts": [], "made": time.time(), "changed": time.time(),
                                            "source": {"id": message, "body": body["body"], "created_at": created}}
        return Answer(200, {"type": "user_message", "id": message, "created_at": created, "body": body["body"], "message_type": "inapp",
                            "conversation_id": conversation})

    def reply(self, request, conversation):
        body = request.json
        if set(body) - {"message_type", "type", "intercom_user_id", "body", "created_at", "attachment_urls", "attachment_files"}:
            self.trouble.append(f"{request!r}: {sorted(body)}")
            return Answer(400, errors("parameter_invalid"))
        if conversation in self.deleted or conversation not in self.conversations:
            return Answer(404, errors("not_found", "Conversation not found"))
        wrong = self.user(body.get("intercom_user_id"))
        if wrong:
            return wrong
        part = {"type": "conversation_part", "id": self.new_id(), "part_type": "comment", "body": body["body"],
                "created_at": body.get("created_at", int(time.time())), "app_package_code": "tributary-test",
                "author": {"type": "user", "id": body["intercom_user_id"], "name": "", "email": None},
                "attachments": self.take_files(request, body)}
        self.conversations[conversation]["parts"].append(part)
        self.conversations[conversation]["changed"] = time.time()
        return Answer(200, self.shown_conversation(conversation, [part]))

    def take_files(self, request, body):
        """The attachments as parts show them; their bytes are kept by address."""
        found = [{"type": "upload", "name": url.rsplit("/", 1)[-1], "url": url, "content_type": "image/png", "filesize": 1} for url in body.get("attachment_urls", ())]
        for file in body.get("attachment_files", ()):
            if set(file) != {"name", "content_type", "data"} or not file["name"] or not file["content_type"]:
                self.trouble.append(f"{request!r}: attachment_files {sorted(file)}")
            found.append(self.attachment(base64.b64decode(file["data"], validate=True), file["name"], file["content_type"]))
        if len(found) > 10:
            self.trouble.append(f"{request!r}: {len(found)} attachments")
        return found

    def attachment(self, data, name="a.png", mime="image/png"):
        """A file of an agent's, as it stands in a part."""
        with self.lock:
            path = f"/attachments/{len(self.agents_files)}/{urllib.parse.quote(name)}"
            self.agents_files[path] = (mime, data)
        return {"type": "upload", "name": name, "url": f"{self.url}{path}?signature=kanarie", "content_type": mime, "filesize": len(data)}

    def give_file(self, request):
        if request.headers.get("authorization") or request.headers.get("cookie"):
            self.trouble.append(f"{request!r}: credentials with the address of a file")
        self.files_fetched.append(request.path)
        if request.path not in self.agents_files:
            return Answer(404)
        mime, data = self.agents_files[request.path]
        return Answer(200, data, [("Content-Type", mime)])

    def shown_conversation(self, conversation, parts=None):
        inner = self.conversations[conversation]
        parts = inner["parts"][-500:] if parts is None else parts  # as many as the real one shows
        contact = inner["contact"]
        return {"type": "conversation", "id": conversation, "created_at": inner["source"]["created_at"], "updated_at": int(inner["changed"]),
                "state": "open", "open": True,
                "source": {"type": "conversation", "id": inner["source"]["id"], "delivered_as": "customer_initiated", "body": inner["source"]["body"],
                           "author": {"type": "user", "id": contact, "name": "", "email": None}, "attachments": []},
                "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": contact}]},
                "conversation_parts": {"type": "conversation_part.list", "conversation_parts": parts, "total_count": len(parts)}}

    def get_conversation(self, request, conversation):
        if conversation in self.deleted or conversation not in self.conversations:
            return Answer(404, errors("not_found", "Conversation not found"))
        return Answer(200, self.shown_conversation(conversation))

    def search(self, request):
        """Only what the page describes: for a lost create contact and time, for conversations with news when they changed; in groups."""
        query = request.json["query"]
        found = [self.shown_conversation(c["id"], []) for c in self.conversations.values()
                 if c["id"] not in self.deleted and self.search_sees and self.fits(request, query, c)]
        return Answer(200, {"type": "conversation.list", "conversations": found, "total_count": len(found), "pages": {"type": "pages", "page": 1, "total_pages": 1}})

    def fits(self, request, query, inner):
        if query["operator"] in ("AND", "OR"):
            return (all if query["operator"] == "AND" else any)([self.fits(request, term, inner) for term in query["value"]])
        field, operator, value = query["field"], query["operator"], query["value"]
        if field == "contact_ids":
            return inner["contact"] == value
        if field == "source.body":
            return value in inner["source"]["body"]
        if field not in ("created_at", "updated_at"):
            self.trouble.append(f"{request!r}: field {field}")
            return False
        at = inner["source"]["created_at"] if field == "created_at" else int(inner["changed"])
        return at > int(value) if operator == ">" else at < int(value) if operator == "<" else at == int(value)

    def list_conversations(self, request):
        found = [self.shown_conversation(c, []) for c in self.conversations if c not in self.deleted] if self.search_sees else []
        return Answer(200, {"type": "conversation.list", "conversations": found[::-1], "total_count": len(found)})

    ROUTES = [("GET", r"/me", me), ("GET", r"/contacts/find_by_external_id/([^/]+)", find_contact), ("GET", r"/contacts/([^/]+)", get_contact),
              ("PUT", r"/contacts/([^/]+)", change_contact), ("POST", r"/data_attributes", create_attribute),
              ("POST", r"/contacts", create_contact), ("POST", r"/contacts/([^/]+)/unarchive", unarchive),
              ("POST", r"/conversations", create_conversation), ("POST", r"/conversations/search", search),
              ("GET", r"/conversations", list_conversations), ("POST", r"/conversations/([^/]+)/reply", reply),
              ("GET", r"/conversations/([^/]+)", get_conversation)]

    # For tests

    def files_of(self, external_id=None):
        """[(name, type, bytes)] of what customers' messages have as uploads, in the order an agent sees."""
        with self.lock:
            found = []
            for inner in self.conversations.values():
                if external_id in (None, self.contacts[inner["contact"]]["external_id"]):
                    for each in (a for part in inner["parts"] for a in part["attachments"] if part["author"]["type"] == "user"):
                        path = urllib.parse.urlsplit(each["url"]).path
                        found.append((each["name"], each["content_type"], self.agents_files.get(path, (None, None))[1]))
            return found

    def agent_says(self, conversation, html, *attachments):
        """The part's id."""
        with self.lock:
            now = int(time.time())
            part = {"type": "conversation_part", "id": self.new_id(), "part_type": "comment", "body": html, "created_at": now, "updated_at": now,
                    "author": {"type": "admin", "id": "5", "name": "Alex", "email": "a@example.com"}, "attachments": list(attachments), "redacted": False}
            self.conversations[conversation]["parts"].append(part)
            self.conversations[conversation]["changed"] = time.time()
            return part["id"]

    def change_part(self, conversation, part_id, **members):
        """`body`, or `redacted=True`."""
        with self.lock:
            part = next(p for p in self.conversations[conversation]["parts"] if p["id"] == part_id)
            part.update(members, updated_at=int(time.time()))
            if members.get("redacted"):
                part.update(body="<p><i>This message was deleted</i></p>", attachments=[])
            self.conversations[conversation]["changed"] = time.time()

    def delete_conversation(self, conversation):
        with self.lock:
            self.deleted.add(conversation)

    def merge_contact(self, source, target):
        with self.lock:
            self.merged[source] = target

    def threads_of(self):
        """{contact's external id: [(body, created_at) in the order an agent reads]}, over its conversations in order."""
        with self.lock:
            found = {}
            for inner in self.conversations.values():
                external = self.contacts[inner["contact"]]["external_id"]
                found.setdefault(external, []).extend([(inner["source"]["body"], inner["source"]["created_at"])]
                                                      + [(p["body"], p["created_at"]) for p in inner["parts"]])
            return found

    def bodies(self, external_id=None):
        return [body for external, thread in self.threads_of().items() if external_id in (None, external) for body, _ in thread]

    def keys(self, external_id=None):
        return [key_of(body) for body in self.bodies(external_id)]

    def wait_messages(self, count, timeout_s=None):
        self.wait_requests(lambda _: len(self.keys()) >= count, f"{count} messages in the inbox", timeout_s)
        return self.keys()

    def writes(self):
        return [r for r in self.requests("POST") if IS_REPLY(r) or IS_CREATE(r)]
