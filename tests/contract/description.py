"""Intercom's description as something to hold requests and answers to: Description().request(...), .answer(...) give lists of what
is wrong, as sentences. OpenAPI 3.0 is turned into JSON Schema 2020-12 (nullable above all)."""
import os
import re
import urllib.parse

import jsonschema
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(HERE, "intercom-2.16.yaml")

FORMATS = jsonschema.FormatChecker(formats=("email", "uuid"))


@FORMATS.checks("uri")
def is_uri(value):
    return not isinstance(value, str) or re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+", value) is not None


# Formats that stand in the description for what they are not: Unix seconds called date-time, and names of types called uri.
NOT_MEANT = {("type", "uri"), ("url", "uri")}


def converted(node, name=None):
    if isinstance(node, list):
        return [converted(each) for each in node]
    if not isinstance(node, dict):
        return node
    result = {key: value for key, value in node.items() if key not in ("nullable", "properties")}
    if (name, result.get("format")) in NOT_MEANT or result.get("format") in ("date-time", "timestamp"):
        result.pop("format")
    if isinstance(node.get("properties"), dict):
        result["properties"] = {key: converted(value, key) for key, value in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in result:
            result[key] = converted(result[key])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in result:
            result[key] = [converted(each) for each in result[key]]
    return {"anyOf": [result, {"type": "null"}]} if node.get("nullable") is True else result


class Description:
    def __init__(self, path=FILE):
        with open(path, encoding="utf-8") as file:
            self.document = yaml.load(file, Loader=yaml.CSafeLoader)
        schemas = self.document["components"]["schemas"]
        self.root = {"components": {"schemas": {name: converted(schema) for name, schema in schemas.items()}}}
        self.resolver = jsonschema.RefResolver.from_schema(self.root)
        self.in_examples = set(self.document["x-in-examples"])

    # ---- finding

    def operation(self, method, path):
        """(template, operation, path parameters), or None. Of two that fit, the one with fewer parameters."""
        best = None
        for template, methods in self.document["paths"].items():
            names = re.findall(r"{(\w+)}", template)
            pattern = re.sub(r"{\w+}", "([^/]+)", template)
            match = re.fullmatch(pattern, path)
            if match and method.lower() in methods and (best is None or len(names) < len(best[2])):
                values = dict(zip(names, map(urllib.parse.unquote, match.groups())))
                best = (template, methods[method.lower()], values)
        return best

    # ---- checking

    def check(self, schema, value, where):
        validator = jsonschema.Draft202012Validator(schema, resolver=self.resolver, format_checker=FORMATS)
        found = []
        for error in validator.iter_errors(value):
            place = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in error.absolute_path)
            said = error.message if len(error.message) <= 200 else f"{error.message[:100]} ... {error.message[-80:]}"
            found.append(f"{where}{place}: {said}")
        return found

    def resolved(self, schema):
        while isinstance(schema, dict) and "$ref" in schema:
            schema = self.resolver.resolve(schema["$ref"])[1]
        return schema

    def members(self, schema, seen=()):
        """The members that a schema knows: {name: [schemas]}, or None when it takes any."""
        schema = self.resolved(schema)
        found = {}
        if schema.get("additionalProperties") not in (None, False):
            return None
        for name, each in schema.get("properties", {}).items():
            found.setdefault(name, []).append(each)
        for key in ("allOf", "anyOf", "oneOf"):
            for part in schema.get(key, ()):
                more = self.members(part)
                if more is None:
                    return None
                for name, each in more.items():
                    found.setdefault(name, []).extend(each)
        if not found and "properties" not in schema and schema.get("type") == "object":
            return None
        return found

    def items(self, schema):
        schema = self.resolved(schema)
        if "items" in schema:
            yield schema["items"]
        for key in ("allOf", "anyOf", "oneOf"):
            for part in schema.get(key, ()):
                yield from self.items(part)

    def unknown(self, schemas, value, where, allowed=frozenset()):
        """Members that no schema names: validators take them silently, the real server would too, and a slip of the pen stays."""
        if isinstance(value, list):
            inner = [each for schema in schemas for each in self.items(schema)]
            return [w for i, each in enumerate(value) for w in (self.unknown(inner, each, f"{where}[{i}]", allowed) if inner else ())]
        if not isinstance(value, dict):
            return []
        known, found = {}, []
        for schema in schemas:
            members = self.members(schema)
            if members is None:
                return []
            for name, each in members.items():
                known.setdefault(name, []).extend(each)
        if not known:
            return []
        for name, each in value.items():
            if name in known:
                found += self.unknown(known[name], each, f"{where}.{name}", allowed)
            elif name not in allowed:
                found.append(f"{where}.{name}: the description knows no such member")
        return found

    def request(self, method, target, headers, body):
        """What is wrong with a request. `headers` with lower-case names; `body` is what the JSON says, None without a body."""
        path, _, query = target.partition("?")
        where = f"{method} {path}"
        found = self.operation(method, path)
        if not found:
            return [f"{where}: the description has no such operation"]
        template, operation, values = found
        wrong = []
        if not re.fullmatch(r"Bearer \S+", headers.get("authorization", "")):
            wrong.append(f"{where}: no bearer token")
        if "application/json" not in headers.get("accept", ""):
            wrong.append(f"{where}: Accept does not say application/json")
        if "intercom-version" not in headers:
            wrong.append(f"{where}: no Intercom-Version")
        else:
            wrong += self.check(converted(self.document["components"]["schemas"]["intercom_version"]), headers["intercom-version"],
                                f"{where} Intercom-Version")
        wrong += self.parameters(where, operation, values, query)
        return wrong + self.request_body(where, operation, headers, body)

    def parameters(self, where, operation, values, query):
        wrong = []
        given = urllib.parse.parse_qs(query, keep_blank_values=True)
        known = {each["name"]: each for each in operation.get("parameters", ())}
        for name, texts in given.items():
            if known.get(name, {}).get("in") != "query":
                wrong.append(f"{where}: the description knows no query parameter {name}")
            elif len(texts) > 1:
                wrong.append(f"{where}: query parameter {name} is given twice")
        for name, parameter in known.items():
            text = values.get(name) if parameter["in"] == "path" else given.get(name, [None])[0] if parameter["in"] == "query" else None
            if text is None:
                continue
            kind = parameter["schema"].get("type")
            if kind == "integer" and not re.fullmatch(r"\d+", text):
                wrong.append(f"{where}: {name} is not an integer")
            if kind == "boolean" and text not in ("true", "false"):
                wrong.append(f"{where}: {name} is not true or false")
        return wrong

    def request_body(self, where, operation, headers, body):
        described = operation.get("requestBody")
        if not described:
            return [f"{where}: a body where none belongs"] if body is not None else []
        if body is None:
            return [f"{where}: the body is missing"] if described.get("required") else []
        wrong = []
        if headers.get("content-type", "").split(";")[0].strip() != "application/json":
            wrong.append(f"{where}: Content-Type is not application/json")
        schema = converted(described["content"]["application/json"]["schema"])
        return wrong + self.check(schema, body, f"{where} body") + self.unknown([schema], body, f"{where} body")

    def answer(self, method, path, status, headers, body):
        """What is wrong with an answer. A status that the description does not name must carry an error list."""
        where = f"{method} {path} -> {status}"
        found = self.operation(method, path.partition("?")[0])
        responses = found[1]["responses"] if found else {}
        wrong = []
        if headers.get("content-type", "").split(";")[0] != "application/json":
            wrong.append(f"{where}: Content-Type is not application/json")
        if str(status) in responses:
            schema = converted(responses[str(status)]["content"]["application/json"]["schema"])
        elif status >= 400:
            schema = {"$ref": "#/components/schemas/error"}
        else:
            return [f"{where}: the description has no such status"]
        return wrong + self.check(schema, body, where) + self.unknown([schema], body, where, self.in_examples)
