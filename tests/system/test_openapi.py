"""docs/openapi.yaml against the program: it lists exactly the routes of the code, and every answer of a running relay fits it."""
import copy
import os
import re

import jsonschema
import pytest
import yaml

from harness.client import WebhookSource, call
from harness.common import wait_for
from harness.relay import TOKEN, account, webhook_source

ROOT = os.path.join(os.path.dirname(__file__), "../..")

with open(os.path.join(ROOT, "docs/openapi.yaml")) as file:
    DOCUMENT = yaml.safe_load(file)


def to_json_schema(node):
    """OpenAPI 3.0 says nullable where JSON Schema has a type null."""
    if isinstance(node, list):
        return [to_json_schema(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    made = {key: to_json_schema(inner) for key, inner in node.items()}
    if made.pop("nullable", False) is True:
        made["type"] = [made["type"], "null"]
    return made


SCHEMAS = {"components": {"schemas": to_json_schema(copy.deepcopy(DOCUMENT["components"]["schemas"]))}}


def fits(answer, schema):
    jsonschema.Draft7Validator({**SCHEMAS, **to_json_schema(schema)}).validate(answer.json)


def documented():
    return {(method.upper(), path): operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
            if method in ("get", "post", "patch", "put", "delete")}


def response_of(operation, status):
    response = operation["responses"].get(str(status), operation["responses"].get("default"))
    assert response is not None, f"status {status} is not documented"
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    return response


def check(answer, method, path):
    """The answer's status, type and body are documented for this operation."""
    content = response_of(documented()[method, path], answer.status)["content"]
    kind = answer.headers["content-type"].split(";")[0]
    assert kind in content, f"{method} {path} answers {answer.status} with {kind}, documented are {list(content)}"
    if kind.endswith("json"):
        fits(answer, content[kind]["schema"])
    return answer


def test_the_document_lists_exactly_the_routes_of_the_code():
    with open(os.path.join(ROOT, "src/admin/route.c")) as source:
        routes = set(re.findall(r'^    \{"([A-Z]+)", "(/[^"]*)", ', source.read(), re.M))
    assert len(routes) > 10
    assert routes == set(documented())


def test_queries_of_the_document_are_those_of_the_code():
    with open(os.path.join(ROOT, "src/admin/route.c")) as source:
        for method, path, query in re.findall(r'^    \{"([A-Z]+)", "(/[^"]*)", \w+,\s+"([^"]*)"', source.read(), re.M):
            names = []
            for parameter in documented()[method, path].get("parameters", []):
                if "$ref" in parameter:
                    parameter = DOCUMENT["components"]["parameters"][parameter["$ref"].rsplit("/", 1)[1]]
                names += [parameter["name"]] if parameter["in"] == "query" else []
            assert sorted(names) == sorted(query.split()), path


def test_references_of_the_document_lead_somewhere():
    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                _, kind, group, name = node["$ref"].split("/")
                assert name in DOCUMENT[kind][group], node["$ref"]
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)
    walk(DOCUMENT)
    for name, schema in SCHEMAS["components"]["schemas"].items():
        jsonschema.Draft7Validator.check_schema(schema)


@pytest.fixture
def relay(make_relay, make_desk):
    desk = make_desk()
    relay = make_relay([account("acme", desk.config()), account("other", make_desk().config(), active=False)])
    return relay.start()


# What changes definitions goes to an account made by hand, and what it removes is made anew.
BODIES = {
    ("PATCH", "/api/v1/accounts"): {"active": True, "accounts": ["acme"]},
    ("PATCH", "/api/v1/accounts/{account}"): {"active": True},
    ("PATCH", "/api/v1/accounts/{account}/sources/{source}"): {"secret": "none"},
    ("PATCH", "/api/v1/accounts/{account}/desk"): {"rate": "100/s"},
}


def by_hand(relay, desk, method, path):
    """The path's values and the body for an operation on a definition."""
    name = "made-" + str(len(relay.get("/api/v1/accounts")["items"]))
    definition = account(name, desk.config(), sources=[webhook_source("hook"), webhook_source("more")])
    if (method, path) == ("POST", "/api/v1/accounts"):
        return {}, definition
    assert relay.api("POST", "/api/v1/accounts", definition).status == 201
    bodies = {("POST", "/api/v1/accounts/{account}/sources"): webhook_source("third"), ("PUT", "/api/v1/accounts/{account}/desk"): desk.config()}
    return {"account": name, "source": "hook"}, bodies.get((method, path), BODIES.get((method, path)))


def test_every_documented_operation_answers_as_documented(relay, make_desk):
    WebhookSource(relay, "acme").send("hello")
    WebhookSource(relay, "other").send("waits")
    WebhookSource(relay, "other").send("waits behind it")
    wait_for(lambda: relay.status()["delivered"] == 1, "one delivered")
    waiting = relay.messages(account="other")[0]["id"]
    delivered = relay.messages(account="acme")[0]["id"]
    values = {"account": "acme", "source": "hook", "id": delivered}
    desk = make_desk()
    lane = relay.get("/api/v1/lanes", account="other")["items"][0]["id"]
    for (method, path), operation in sorted(documented().items(), key=lambda o: o[0], reverse=True):
        here = {**values, "id": lane if "/lanes/" in path else waiting if method == "POST" else delivered}
        body = BODIES.get((method, path))
        if path.startswith("/api/v1/accounts") and method != "GET" and not path.endswith(("/resume", "/retry", "/check")) and (method, path) not in list(BODIES)[:2]:
            more, body = by_hand(relay, desk, method, path)
            here = {**here, **more}
        query = "?" + "&".join(f"{p['name']}={p['schema']['enum'][0]}" for p in operation.get("parameters", []) if p.get("required"))
        target = re.sub(r"\{(\w+)\}", lambda m: here[m.group(1)], path) + query.rstrip("?")
        # Live events do not end; test_events.py reads them.
        answer = check(relay.api("HEAD" if path.endswith("/events") else method, target, body), method, path)
        assert answer.status in (200, 201, 202), f"{method} {target}: {answer}"
        if operation.get("security") != []:
            assert check(relay.api(method, target, token=None), method, path).status == 401
        if "{" in path:
            missing = re.sub(r"\{(\w+)\}", "987654321", path)
            assert check(relay.api(method, missing, body), method, path).status == 404


def test_mistakes_of_a_definition_are_answered_as_documented(relay):
    assert check(relay.api("POST", "/api/v1/accounts", {"name": "A", "colour": "red"}), "POST", "/api/v1/accounts").status == 422
    assert check(relay.api("DELETE", "/api/v1/accounts/acme"), "DELETE", "/api/v1/accounts/{account}").status == 409


def test_pages_join_to_the_whole_list(relay):
    source = WebhookSource(relay, "acme")
    for i in range(7):
        source.send(f"text {i}")
    relay.wait_settled()
    ids, after = [], None
    while True:
        page = check(relay.api("GET", "/api/v1/messages?limit=3" + (f"&after={after}" if after else "")), "GET", "/api/v1/messages").json
        assert len(page["items"]) <= 3
        ids += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert ids == [item["id"] for item in relay.messages()] and len(ids) == 7
    assert ids == sorted(ids, key=int)


def test_the_page_needs_no_token_and_shows_nothing_without(relay):
    page = call(relay.admin_port, "GET", "/")
    assert page.status == 200 and b"Tributary" in page.body
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in re.findall(rb'(?:href|src)="([^"]+)"', page.body):
        assert call(relay.admin_port, "GET", "/" + name.decode()).status == 200, name
    assert TOKEN.encode() not in page.body
