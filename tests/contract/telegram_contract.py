"""Holds calls of Telegram's Bot API, their answers and updates to the description (telegram-10.1.json). For system tests:

    from telegram_contract import TelegramContract
    with TelegramContract(sandbox.telegram) as contract:
        ...the relay with api_url: contract.url...
    contract.check()

Requests below /sandbox/ pass unseen."""
import email.parser
import email.policy
import json
import os
import re
import urllib.parse

from proxy import Proxy

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "telegram-10.1.json")
PLAIN = {"Integer": int, "String": str, "Float": (int, float), "Boolean": bool, "True": bool}


class Types:
    def __init__(self, path=FILE):
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        self.methods, self.types = document["methods"], document["types"]

    def value(self, kinds, value, where):
        """What is wrong with a value that is to be of one of `kinds`."""
        tries = [self.one(kind, value, where) for kind in kinds]
        return [] if any(not each for each in tries) else min(tries, key=len)

    def one(self, kind, value, where):
        if kind.startswith("Array of "):
            if not isinstance(value, list):
                return [f"{where}: not a list"]
            return [w for i, each in enumerate(value) for w in self.one(kind.removeprefix("Array of "), each, f"{where}[{i}]")]
        if kind in PLAIN:
            good = isinstance(value, PLAIN[kind]) and isinstance(value, bool) == (kind in ("Boolean", "True"))
            return [] if good else [f"{where}: {value!r} is no {kind}"]
        if kind not in self.types:
            return [] if isinstance(value, dict) else [f"{where}: not an object"]  # a type that the description at hand leaves out
        entry = self.types[kind]
        if entry.get("subtypes"):
            return self.value(entry["subtypes"], value, where)
        return self.members(entry["fields"], value, where)

    def members(self, fields, value, where):
        if not isinstance(value, dict):
            return [f"{where}: not an object"]
        known = {field["name"]: field for field in fields}
        wrong = [f"{where}.{name}: no such member" for name in value if name not in known]
        for name, field in known.items():
            if name in value:
                wrong += self.value(field["types"], value[name], f"{where}.{name}")
            elif field["required"]:
                wrong.append(f"{where}.{name}: is missing")
        return wrong

    def update(self, update):
        wrong = self.one("Update", update, "update")
        kinds = [name for name in update if name != "update_id"]
        return wrong + ([f"update: {kinds} instead of one kind"] if len(kinds) != 1 else [])

    def call(self, method, parameters):
        found = [name for name in self.methods if name.lower() == method.lower()]
        if not found:
            return [f"{method}: no such method"]
        if method not in self.methods:
            return [f"{method}: is written {found[0]}"]
        return self.members(self.methods[method].get("fields", []), parameters, method)

    def answer(self, method, status, answer):
        where = f"{method} -> {status}"
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            return [f"{where}: no ok"]
        if not answer["ok"]:
            wrong = [] if answer.get("error_code") == status and isinstance(answer.get("description"), str) else [
                f"{where}: error_code and description are to say what is wrong"]
            if "parameters" in answer:
                wrong += self.one("ResponseParameters", answer["parameters"], f"{where}.parameters")
            return wrong
        if status != 200 or "result" not in answer:
            return [f"{where}: ok without a result, or not 200"]
        return self.value(self.methods[method]["returns"], answer["result"], f"{where}.result")


def parts_of(kind, body):
    """{name: text, or {} for a file} of a body in multipart/form-data."""
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    assert message.is_multipart() and not message.defects, f"{kind}: {message.defects}"
    found = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        assert name and name not in found, f"a part without a name of its own: {name}"
        found[name] = {} if part.get_filename() is not None else part.get_payload(decode=True).decode()
    return found


def parameters_of(types, method, target, headers, body):
    """The parameters of a call as JSON values, wherever they stand."""
    query = target.partition("?")[2]
    kind = headers.get("content-type", "").split(";")[0]
    if body and kind == "application/json":
        return json.loads(body)
    texts = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    if body and kind == "multipart/form-data":
        texts.update(parts_of(headers["content-type"], body))
    elif body:
        texts.update(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
    plain = {field["name"]: field["types"] for field in types.methods.get(method, {}).get("fields", [])}
    return {name: text if "String" in plain.get(name, ()) or isinstance(text, dict) else json.loads(text) for name, text in texts.items()}


class TelegramContract(Proxy):
    def __init__(self, upstream):
        super().__init__(upstream)
        self.types = Types()
        self.requests, self.breaches = [], []

    @staticmethod
    def method_of(target):
        match = re.fullmatch(r"/bot\d+:[A-Za-z0-9_-]+/(\w+)", target.partition("?")[0])
        return match and match.group(1)

    def on_request(self, method, target, headers, body):
        name = self.method_of(target)
        if target.startswith(("/sandbox/", "/file/")):
            return
        if not name:
            self.breaches.append(f"{method} {re.sub(r'/bot[^/]+', '/bot<token>', target)}: not a call")
            return
        parameters = parameters_of(self.types, name, target, headers, body)
        self.requests.append((name, parameters))
        self.breaches += self.types.call(name, parameters)

    def on_answer(self, method, target, status, headers, body):
        name = self.method_of(target)
        if name and name in self.types.methods:
            self.breaches += self.types.answer(name, status, json.loads(body))

    def check(self):
        assert not self.trouble, self.trouble
        assert not self.breaches, "\n".join(self.breaches)
