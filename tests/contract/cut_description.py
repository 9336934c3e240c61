#!/usr/bin/python3
"""Cuts the published descriptions down to what the relay and the sandbox use:

    tests/contract/cut_description.py intercom PUBLISHED.yaml > tests/contract/intercom-2.16.yaml
    tests/contract/cut_description.py telegram PUBLISHED.json > tests/contract/telegram-10.1.json

Left out: other paths and methods, and texts and examples for people. Corrected, and nothing else:
  - intercom: create_conversation_request.from.id says `format: uuid` beside a length of exactly 24; nothing can be both
  - intercom: request bodies that the operations cannot do without are marked required
test_cut.py holds the committed files to what this makes of the published ones.
"""
import json
import sys

import yaml

INTERCOM = {
    "/me": ["get"],
    "/admins": ["get"],
    "/contacts": ["get", "post"],
    "/contacts/find_by_external_id/{external_id}": ["get"],
    "/contacts/merge": ["post"],
    "/contacts/search": ["post"],
    "/contacts/{contact_id}": ["get", "put", "delete"],
    "/contacts/{contact_id}/archive": ["post"],
    "/contacts/{contact_id}/unarchive": ["post"],
    "/conversations": ["get", "post"],
    "/conversations/deleted": ["get"],
    "/conversations/redact": ["post"],
    "/conversations/search": ["post"],
    "/conversations/{conversation_id}": ["get", "put", "delete"],
    "/conversations/{conversation_id}/reply": ["post"],
    "/conversations/{conversation_id}/parts": ["post"],
    "/conversations/{conversation_id}/tags": ["post"],
    "/tags": ["get", "post"],
    "/data_attributes": ["post"],
}
BODY_NEEDED = ("post", "put")
NO_BODY = ("/contacts/{contact_id}/archive", "/contacts/{contact_id}/unarchive")

TELEGRAM = ["getMe", "getUpdates", "setWebhook", "deleteWebhook", "getWebhookInfo", "sendMessage", "sendPhoto",
            "sendDocument", "sendVoice", "sendAudio", "sendVideo", "sendAnimation", "editMessageText", "editMessageCaption",
            "deleteMessage", "sendChatAction", "answerCallbackQuery", "getFile", "getUserProfilePhotos"]

INTERCOM_HEAD = """\
# Made by tests/contract/cut_description.py; not to be edited.
# A cut of Intercom's OpenAPI description, version 2.16: github.com/intercom/Intercom-OpenAPI,
# descriptions/2.16/api.intercom.io.yaml at commit 8889625a7b931d8649e18726e7f872ff073520fc (2026-08-21).
# What was left out and what was corrected stands in that script.
#
# MIT License, Copyright (c) 2022 Intercom, Inc.
#
# Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
# files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
# modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software
# is furnished to do so, subject to the following conditions:
#
# The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
#
# THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
# OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
# LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
# CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
TELEGRAM_ORIGIN = ("Made by tests/contract/cut_description.py; not to be edited. A cut of PaulSonOfLars/telegram-bot-api-spec for Bot API "
                   "10.1 (2026-06-11). MIT License, Copyright (c) 2020 Paul Larsen; the licence's text is that in intercom-2.16.yaml.")


def without_texts(node, is_map_of_names=False):
    """A copy without what is written for people. `properties` and the like map names to schemas: a property may be called
    "description" or "example" and stays."""
    if isinstance(node, list):
        return [without_texts(each) for each in node]
    if not isinstance(node, dict):
        return node
    result = {}
    for key, value in node.items():
        if not is_map_of_names and (key in ("description", "example", "examples", "summary", "operationId", "tags", "title")
                                    or key.startswith("x-")):
            continue
        names = key in ("properties", "schemas", "responses", "headers", "paths", "securitySchemes") and not is_map_of_names
        result[key] = without_texts(value, names)
    return result


def look_up(document, ref):
    node = document
    for part in ref.removeprefix("#/").split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def example_members(node, found):
    """Names that objects of the examples have: what an answer may hold although no schema names it."""
    if isinstance(node, dict):
        for key, value in node.items():
            found.add(key)
            example_members(value, found)
    elif isinstance(node, list):
        for each in node:
            example_members(each, found)


def cut_intercom(published):
    paths, in_examples = {}, set()
    for path, methods in INTERCOM.items():
        paths[path] = {}
        for method in methods:
            operation = published["paths"][path][method]
            for response in operation["responses"].values():
                for media in response.get("content", {}).values():
                    example_members(media.get("example"), in_examples)
                    for each in media.get("examples", {}).values():
                        example_members(each.get("value"), in_examples)
            operation = without_texts(operation)
            for response in operation["responses"].values():
                response["description"] = ""  # OpenAPI demands one
            if method in BODY_NEEDED and path not in NO_BODY:
                operation["requestBody"]["required"] = True
            paths[path][method] = operation
    schemas, todo = {}, list(references(paths))
    while todo:
        ref = todo.pop()
        name = ref.removeprefix("#/components/schemas/")
        if name in schemas:
            continue
        schemas[name] = without_texts(look_up(published, ref))
        todo += references(schemas[name])
    contact = schemas["create_conversation_request"]["properties"]["from"]["properties"]["id"]
    assert contact.pop("format") == "uuid", "the description has been corrected: this script need not do so any more"
    return {
        "openapi": published["openapi"],
        "info": {key: published["info"][key] for key in ("title", "version", "license")},
        "security": published["security"],
        "paths": paths,
        "components": {"securitySchemes": without_texts(published["components"]["securitySchemes"], True),
                       "schemas": dict(sorted(schemas.items()))},
        "x-in-examples": sorted(in_examples),
    }


def cut_telegram(published):
    def lean(entry):
        fields = [{key: field[key] for key in ("name", "types", "required")} for field in entry.get("fields", [])]
        return {key: value for key, value in (("fields", fields), ("returns", entry.get("returns")),
                                              ("subtypes", entry.get("subtypes"))) if value is not None}
    return {
        "origin": TELEGRAM_ORIGIN,
        "version": published["version"],
        "methods": {name: lean(published["methods"][name]) for name in TELEGRAM},
        "types": {name: lean(entry) for name, entry in sorted(published["types"].items())},
    }


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def intercom_text(published):
    return INTERCOM_HEAD + yaml.dump(cut_intercom(published), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=130)


def telegram_text(published):
    cut = cut_telegram(published)
    lines = ["{"]
    for key in ("origin", "version"):
        lines.append(f"{json.dumps(key)}: {json.dumps(cut[key])},")
    for group in ("methods", "types"):
        lines.append(f'"{group}": {{')
        lines.append(",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in cut[group].items()))
        lines.append("}," if group == "methods" else "}")
    return "\n".join(lines) + "\n}\n"


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("intercom", "telegram"):
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8") as file:
        if sys.argv[1] == "intercom":
            sys.stdout.write(intercom_text(yaml.load(file, Loader=yaml.CSafeLoader)))
        else:
            sys.stdout.write(telegram_text(json.load(file)))


if __name__ == "__main__":
    main()
