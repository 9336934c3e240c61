"""What the relay tells of itself: the log, metrics, status; and what it never tells."""
import json
import os
import re
import stat
import subprocess
import time

from harness.client import RawConnection, WebhookSource, call
from harness.common import CANARY, SLOW, make_secret, text_of, wait_for
from harness.relay import BINARY, TOKEN, account, prefix, webhook_source
from harness.scripted import Answer


def test_log_lines_are_json_with_time_level_and_event(source, relay, desk):
    source.send("m0")
    desk.wait_taken(1)
    relay.wait_settled()
    relay.restart()
    relay.check_log()
    for event in relay.events:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]), event
        assert event["level"] in ("debug", "info", "warn", "error") and re.fullmatch(r"[a-z0-9_]+", event["event"]), event
    assert len(relay.logged("ready")) == 2


def test_ready_means_that_webhooks_are_answered(make_relay, desk):
    for i in range(3):
        relay = make_relay([account("acme", desk.config())]).start()
        assert WebhookSource(relay, "acme").post(WebhookSource(relay, "acme").event(f"m{i}")).status == 200
        assert call(relay.admin_port, "GET", "/readyz").status == 200


def test_skip_is_one_error_that_names_the_message_and_not_its_text(source, relay, desk):
    relay.allow("message_skipped", "attempt_.*")
    desk.next_actions.append(Answer(422, {"error": "bad text: " + text_of("m0")}))
    source.send("m0")
    source.send("m1")
    relay.wait_settled()
    relay.wait_event("message_skipped")
    errors = [e for e in relay.events if e["level"] == "error"]
    assert len(errors) == 1
    assert relay.messages(state="skipped")[0]["id"] in json.dumps(errors[0])
    assert CANARY not in "\n".join(relay.lines), "what the desk echoes is text too"


def test_names_from_outside_cannot_forge_log_lines(make_relay, desk):
    """Line breaks, quotes and terminal sequences in every field that a stranger fills."""
    relay = make_relay([account("acme", desk.config())]).allow("message_.*", "attempt_.*").start()
    source = WebhookSource(relay, "acme")
    evil = 'x"}\n{"event":"ready","level":"error"}\x1b[2J\u2028'
    for i, status in enumerate((422, 200)):
        desk.next_actions.append(Answer(status, (evil * 3).encode(), headers=[("X-Request-Id", "a\tb")]))
        event = source.event(f"m{i}", "c", sender=None)
        event.update(id=f"m{i}", sender={"id": "u1", "name": evil})
        assert source.post(event).status == 200
        relay.wait_settled()
    with RawConnection(relay.port) as connection:
        connection.try_send(f"GET /hooks/%0a%1b[2J/{CANARY} HTTP/1.1\r\nHost: relay\r\nUser-Agent: \x1b[2J\r\n\r\n".encode())
        connection.answers()
    relay.check_log()
    assert len(relay.logged("ready")) == 1


def test_nothing_public_shows_secrets_or_texts(make_relay, desk):
    secret = make_secret()
    relay = make_relay([account("acme", desk.config(), [webhook_source(secret=secret)])]).allow(".*").start()
    source = WebhookSource(relay, "acme", secret=secret)
    desk.next_actions += [Answer(500), Answer(503), Answer(401), Answer(422)]
    for i in range(4):
        source.send(f"m{i}")
    relay.wait_settled()
    texts = {"metrics": call(relay.admin_port, "GET", "/metrics").body.decode(), "readyz": call(relay.admin_port, "GET", "/readyz").body.decode(),
             "healthz": call(relay.port, "GET", "/healthz").body.decode(), "log": "\n".join(relay.lines)}
    for name, text in texts.items():
        assert not relay.leaks(text), name
    secrets = relay.secrets()
    for target in ("/api/v1/status", "/api/v1/accounts", "/api/v1/accounts/acme", "/api/v1/messages", "/api/v1/lanes", "/api/v1/accounts/acme/desk", "/api/v1/accounts/acme/sources"):
        text = relay.api("GET", target).body.decode()
        assert not [s for s in secrets if s in text], target
    for arguments in (["status"], ["account", "show", "acme"], ["messages"], ["check"]):
        where = ["-c", relay.path] if arguments == ["check"] else ["--socket", relay.socket]
        done = relay.cli(*arguments, *where, check=False)
        assert not [s for s in secrets if s in done.stdout + done.stderr], arguments


def test_admin_side_wants_the_token(relay):
    relay.allow("admin_wrong_tokens")
    # Ten wrong ones a minute are answered at once, further ones after a second.
    for token in (None, "", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        headers = {} if token is None else {"Authorization": "Bearer " + token}
        answer = call(relay.admin_port, "GET", "/api/v1/status", None, headers)
        assert answer.status == 401, (token, answer)
        assert answer.headers["content-type"].startswith("application/problem+json")
    for method, target in (("GET", "/api/v1/messages"), ("PATCH", "/api/v1/accounts/acme"), ("GET", "/api/v1/nothing")):
        assert call(relay.admin_port, method, target, b"{}" if method == "PATCH" else None).status == 401, target
    assert call(relay.admin_port, "GET", "/api/v1/status?token=" + TOKEN).status == 401, "a token in the URL is not one"
    began = time.monotonic()
    assert [call(relay.admin_port, "GET", "/api/v1/status", None, {"Authorization": "Bearer guess"}).status for _ in range(9)] == [401] * 9
    assert time.monotonic() - began >= 1, "guessing is slow"
    began = time.monotonic()
    assert relay.status() and time.monotonic() - began < 1 * SLOW, "who knows the token does not wait"
    assert relay.api("GET", "/api/v1/status", where="socket").status == 200, "the local socket needs none"
    assert call(relay.admin_port, "GET", "/metrics").status == 200
    assert TOKEN not in "\n".join(relay.lines)


def test_files_are_for_the_owner_only(relay, source):
    source.send("m0")
    for name in os.listdir(relay.directory):
        if name.startswith("tributary.db") or name == "admin.sock":
            mode = stat.S_IMODE(os.stat(os.path.join(relay.directory, name)).st_mode)
            assert mode == (0o700 if os.path.isdir(os.path.join(relay.directory, name)) else 0o600), f"{name}: {mode:o}"


def test_made_admin_token_is_kept_and_not_logged(make_relay, desk):
    relay = make_relay([account("acme", desk.config())])
    del relay.config["admin"]["token"]
    relay.write_config()
    relay.start()
    found = [os.path.join(relay.directory, n) for n in os.listdir(relay.directory) if "token" in n]
    assert len(found) == 1 and stat.S_IMODE(os.stat(found[0]).st_mode) == 0o600
    token = open(found[0]).read().strip()
    assert len(token) >= 32 and relay.api("GET", "/api/v1/status", token=token).status == 200
    assert token not in "\n".join(relay.lines) and any(os.path.basename(found[0]) in l for l in relay.lines), "its place is logged"
    relay.check_log()
    relay.stop()
    relay.start()
    assert open(found[0]).read().strip() == token
    relay.stop()


def test_secret_in_a_broken_configuration_is_not_shown(make_relay, desk):
    relay = make_relay([account("acme", desk.config(rate="much"))])
    for command in ("check", "serve"):
        done = subprocess.run(prefix() + [BINARY, command, "-c", relay.path], cwd=relay.directory, capture_output=True, text=True, timeout=60)
        assert done.returncode > 0 and "rate" in done.stdout + done.stderr
        assert not [s for s in relay.secrets() if s in done.stdout + done.stderr]


def test_metrics_agree_with_the_status(source, relay, desk):
    desk.next_actions.append(Answer(422))
    relay.allow("message_skipped", "attempt_.*")
    for i in range(5):
        source.send(f"m{i}")
    source.send("m0")
    relay.wait_settled()
    wait_for(lambda: relay.metrics()["tributary_delivery_seconds_count"] == 4, "counted: that follows the commit")
    metrics, status = relay.metrics(), relay.status()
    labels = '{platform="webhook",direction="inbound"}'
    for name in ("accepted", "delivered", "skipped", "discarded"):
        assert metrics.get(f"tributary_messages_{name}_total{labels}", 0) == status[name], name
    assert metrics[f"tributary_messages_duplicate_total{labels}"] == 1
    assert metrics["tributary_messages_pending"] == status["pending"] == 0
    assert metrics["tributary_delivery_seconds_count"] == 4


def test_each_alarm_has_its_metric():
    """Names of alarms are a fixed list: the metric shows each, 0 or not, and nothing from outside becomes one."""
    root = os.path.join(os.path.dirname(__file__), "../../src")
    used, listed = set(), None
    for directory, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(directory, name)) as file:
                text = file.read()
            used |= set(re.findall(r'\b(?:board|desk_begin)_alarm\((?:[^"();]|\([^()]*\))*"([a-z_]+)"', text))
            used |= set(re.findall(r'\btell\(s, "([a-z_]+)"', text)) if directory.endswith("store") else set()
            listed = re.search(r"board_alarm_names\[\] = \{(.*?)\}", text, re.S) or listed
    assert len(used) > 4 and used == set(re.findall(r'"([a-z_]+)"', listed.group(1)))


def test_the_status_of_a_bad_day(make_relay, make_desk, make_telegram):
    """Each name of INTERFACE.md, with what it means."""
    well, refuses, telegram = make_desk(), make_desk(), make_telegram()
    refuses.script = lambda request: Answer(401)
    telegram.script = lambda request: Answer(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
    relay = make_relay([account("acme", well.config()), account("off", well.config(), active=False),
                        account("sad", refuses.config(), sources=[webhook_source(), telegram.config(mode="polling")])])
    relay.allow("desk_suspended", "alarm.*").start()
    WebhookSource(relay, "acme").send("m0")
    WebhookSource(relay, "off").send("m1")
    WebhookSource(relay, "sad").send("m2")
    bad = wait_for(lambda: (lambda s: s if len(s["alarms"]) == 2 and s["delivered"] == 1 else None)(relay.status()), "two alarms")
    relay.check_sum(bad)
    assert (bad["accepted"], bad["pending"], bad["skipped"], bad["discarded"], bad["in_doubt"], bad["lanes_waiting"]) == (3, 2, 0, 0, 0, 2)
    assert 0 < bad["oldest_pending_s"] < 100
    assert [(a["name"], a["active"], a["pending"]) for a in bad["accounts"]] == [("acme", True, 0), ("off", False, 1), ("sad", True, 1)]
    desks = {d["account"]: d for d in bad["desks"]}
    assert {name: (d["platform"], d["state"]) for name, d in desks.items()} == {
        "acme": ("webhook", "ok"), "off": ("webhook", "ok"), "sad": ("webhook", "suspended")}
    assert "401" in desks["sad"]["reason"] and desks["sad"]["until"] and desks["acme"]["reason"] is None
    assert {a["name"] for a in bad["alarms"]} == {"desk_refuses", "source_refused"} and bad["alarms_total"] == 2
    bot = next(s for s in bad["sources"] if s["platform"] == "telegram")
    assert (bot["account"], bot["name"], bot["state"]) == ("sad", "bot", "refused") and "does not know this bot" in bot["text"]
    metrics = relay.metrics()
    assert metrics["tributary_desk_suspended"] == 1 and metrics['tributary_alarm{name="source_refused"}'] == 1
    assert metrics["tributary_messages_pending"] == 2 and metrics["tributary_oldest_pending_seconds"] > 0
