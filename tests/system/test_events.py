"""What happens, live: GET /api/v1/events and `messages --follow`; and what a platform and a desk say when they are asked."""
import http.client
import json
import signal
import socket
import subprocess
import threading

import jsonschema
import pytest

from harness.client import WebhookSource
from harness.common import PATIENCE_S, text_of, wait_for
from harness.relay import BINARY, TOKEN, account, prefix, webhook_source
from harness.scripted import Answer, Stall
from test_openapi import SCHEMAS


class Events:
    """A client of /api/v1/events, over TCP with the token or over the socket."""

    def __init__(self, relay, query="", where="tcp"):
        self.raw = b""
        self.list = []
        self.odd = []  # what docs/openapi.yaml does not say
        self.ended = False
        self.changed = threading.Condition()
        if where == "socket":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(relay.socket)
        else:
            self.socket = socket.create_connection(("127.0.0.1", relay.admin_port))
        self.socket.settimeout(3 * PATIENCE_S)
        token = f"Authorization: Bearer {TOKEN}\r\n" if where == "tcp" else ""
        self.socket.sendall(f"GET /api/v1/events{query} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n".encode())
        self.response = http.client.HTTPResponse(self.socket)
        self.response.begin()
        assert self.response.status == 200 and self.response.headers["content-type"] == "text/event-stream"
        assert self.response.readline() == b"retry: 2000\n"  # it listens now
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        fields = {}
        for line in self.response:
            self.raw += line
            line = line.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                data = json.loads(fields["data"])
                with self.changed:
                    self.list.append({"event": fields["event"], "id": fields.get("id"), **data})
                    self.odd += [str(e) for e in jsonschema.Draft7Validator({**SCHEMAS, "$ref": "#/components/schemas/Event"}).iter_errors(data)]
                    self.changed.notify_all()
                fields = {}
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, event, **members):
        """The first event of that name with these members."""
        find = lambda: next((e for e in self.list if e["event"] == event and all(e.get(k) == v for k, v in members.items())), None)
        with self.changed:
            assert self.changed.wait_for(find, 2 * PATIENCE_S), f"{event} {members} did not come, but: {self.list}"
            return find()

    def names(self):
        with self.changed:
            return [e["event"] for e in self.list]

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE_S)


@pytest.fixture
def listen():
    open_ones = []

    def start(*arguments, **more):
        open_ones.append(Events(*arguments, **more))
        return open_ones[-1]
    yield start
    for events in open_ones:
        if not events.ended:
            events.close()
        assert not events.odd


def test_what_becomes_of_a_message_comes_as_events(make_relay, desk, listen):
    relay = make_relay([account("acme", desk.config()), account("other", desk.config(), active=False)], delivery={"retry_base": "500ms"})
    relay.allow("message_skipped", "attempt_.*").start()
    events, of_other = listen(relay), listen(relay, "?account=other", where="socket")
    source = WebhookSource(relay, "acme")
    desk.next_actions += [Answer(500), Answer(200), Answer(422)]
    source.send("m0")
    first = relay.messages()[0]["id"]
    accepted = events.wait("message_accepted", message=first)
    assert (accepted["account"], accepted["source"], accepted["state"]) == ("acme", "hook", "pending")
    failed = events.wait("message_failed", message=first)
    assert failed["verdict"] == "retry" and failed["attempts"] == 1 and failed["next_attempt_at"]
    events.wait("lane_waits", message=first)
    assert events.wait("message_delivered", message=first)["attempts"] == 2
    source.send("m1")
    skipped = events.wait("message_skipped")
    assert skipped["reason"] == "rejected" and skipped["state"] == "skipped"
    relay.cli("retry", skipped["message"])
    events.wait("message_retried", message=skipped["message"])
    WebhookSource(relay, "other").send("m2")
    waiting = of_other.wait("message_accepted")["message"]
    relay.cli("discard", waiting)
    assert of_other.wait("message_discarded", message=waiting)["reason"] == "by_hand"
    relay.cli("account", "activate", "other")
    of_other.wait("account_activated", account="other")
    relay.cli("account", "deactivate", "other")
    of_other.wait("account_deactivated", account="other")
    relay.config["accounts"][0]["on_failure"] = "hold"
    relay.write_config()
    relay.cli("reload")
    events.wait("account_changed", account="acme")
    events.wait("reloaded")
    assert {e["account"] for e in of_other.list if e["event"] != "reloaded"} == {"other"}
    numbers = [int(e["id"]) for e in events.list]
    assert numbers == sorted(set(numbers))
    assert not relay.leaks((events.raw + of_other.raw).decode()), "a text or a secret in an event"


def test_an_outage_comes_as_events_to_each_account_of_the_desk(make_relay, desk, listen):
    relay = make_relay([account("acme", desk.config()), account("beta", desk.config())])
    relay.allow("desk_suspended", "alarm.*", "attempt_.*").start()
    events, of_beta = listen(relay), listen(relay, "?account=beta&types=desk_suspended,desk_resumed")
    desk.next_actions += [Answer(401)]
    WebhookSource(relay, "acme").send("m0")
    assert "401" in events.wait("desk_suspended")["reason"]
    assert events.wait("alarm")["name"] == "desk_refuses"
    events.wait("desk_resumed")
    events.wait("alarm_end", name="desk_refuses")
    of_beta.wait("desk_resumed", account="beta")
    relay.wait_settled()
    assert of_beta.names() == ["desk_suspended", "desk_resumed"]


def test_sources_tell_of_their_health(make_relay, desk, telegram, listen):
    relay = make_relay([account("acme", desk.config(), sources=[telegram.config(mode="polling")])]).allow("source_trouble").start()
    telegram.push(telegram.message("m0"))
    relay.wait_source("acme", "bot")
    events = listen(relay, "?types=source")
    telegram.next_actions.append(Answer(500, {"ok": False, "error_code": 500, "description": "bad day"}))
    telegram.push(telegram.message("m1"))  # ends the poll that is on its way
    events.wait("source", state="trouble", source="bot", account="acme")
    events.wait("source", state="well")


def test_a_stop_ends_streams_and_does_not_wait(make_relay, desk, listen):
    relay = make_relay([account("acme", desk.config())]).start()
    streams = [listen(relay) for _ in range(5)]
    relay.stop()
    for events in streams:
        events.thread.join(PATIENCE_S)
        assert events.ended


def test_pages_are_whole_while_messages_come(make_relay, desk):
    """Each message exactly once, in order, however many come between the pages."""
    relay = make_relay([account("acme", desk.config())]).start()
    source = WebhookSource(relay, "acme")
    for i in range(20):
        source.send(f"before {i}")
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            source.send(f"meanwhile {n}")
            n += 1
    writer = threading.Thread(target=write)
    writer.start()
    walks = []
    try:
        for _ in range(3):
            ids, after = [], None
            for _ in range(30):
                page = relay.get("/api/v1/messages", limit=5, after=after)
                ids += [m["id"] for m in page["items"]]
                after = page["next"]
                if after is None:
                    break
            walks.append(ids)
    finally:
        stop.set()
        writer.join()
    everything = [m["id"] for m in relay.messages()]
    for ids in walks:
        assert len(ids) >= 20 and ids == everything[:len(ids)]
    relay.wait_settled(6 * PATIENCE_S)


# The command line


class Follow:
    """`tributary messages --follow`, its lines as they come."""

    def __init__(self, relay, *arguments):
        self.process = subprocess.Popen(prefix() + [BINARY, "messages", "--follow", "--socket", relay.socket, *arguments], cwd=relay.directory,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.relay = relay

    def line(self):
        return self.process.stdout.readline()

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def follow():
    running = []

    def start(relay, *arguments):
        before = relay.status()["event_listeners"]
        running.append(Follow(relay, *arguments))
        wait_for(lambda: relay.status()["event_listeners"] > before or running[-1].process.poll() is not None, "it follows")
        return running[-1]
    yield start
    for one in running:
        one.process.kill()
        one.process.communicate()


def test_follow_shows_messages_as_they_come_and_change(make_relay, desk, follow):
    relay = make_relay([account("acme", desk.config()), account("other", desk.config())]).allow("message_skipped", "attempt_.*").start()
    source = WebhookSource(relay, "acme")
    table, skipped = follow(relay), follow(relay, "--state", "skipped", "--account", "acme", "--json")
    one = follow(relay, "--account", "acme", "--conversation", "c7")
    desk.next_actions += [Answer(200), Answer(422)]
    source.send("m0")
    lines = [table.line(), table.line()]
    assert "accepted" in lines[0] and "delivered" in lines[1] and all("acme/hook" in line and text_of("m0") in line for line in lines)
    source.send("m1", conversation="c7")
    shown = json.loads(skipped.line())
    assert shown["event"] == "message_skipped" and shown["message"]["state"] == "skipped" and text_of("m1") in shown["message"]["text"]
    assert "accepted" in (first := one.line()) and "c7" in first
    assert "skipped (rejected)" in one.line()
    assert [one.end(), skipped.end(signal.SIGTERM), table.end()] == [0, 0, 0]
    assert one.process.stderr.read() == ""


def test_follow_ends_when_nobody_reads(make_relay, desk, follow):
    relay = make_relay([account("acme", desk.config())]).start()
    idle, busy = follow(relay), follow(relay)
    idle.process.stdout.close()  # and nothing happens
    assert idle.process.wait(PATIENCE_S) == 0
    busy.process.stdout.close()
    WebhookSource(relay, "acme").send("m0")
    assert busy.process.wait(PATIENCE_S) == 0


def test_follow_says_that_the_relay_has_ended(make_relay, desk, follow):
    relay = make_relay([account("acme", desk.config())]).start()
    stopped, killed = follow(relay), None
    relay.stop()
    assert stopped.process.wait(PATIENCE_S) == 1 and "has ended" in stopped.process.stderr.read()
    relay.start()
    killed = follow(relay)
    relay.kill()
    assert killed.process.wait(PATIENCE_S) == 1 and "has ended" in killed.process.stderr.read()
    relay.start()
    for arguments, status, words in [(("--account", "nobody"), 1, "no account of that name"), (("--state", "lost"), 1, "state is"),
                                     (("--source", "hook"), 1, "source needs account"), (("--account", "acme", "--source", "nix"), 1, "no source of that name"),
                                     (("--direction", "sideways"), 1, "direction is inbound, reply or note"),
                                     (("--limit", "5"), 2, "without"), (("--q", "x"), 2, "without")]:
        done = follow(relay, *arguments)
        assert done.process.wait(PATIENCE_S) == status and words in done.process.stderr.read(), arguments
    relay.stop()
    none = subprocess.run(prefix() + [BINARY, "messages", "--follow", "--socket", relay.socket], capture_output=True, text=True, timeout=PATIENCE_S)
    assert none.returncode == 1 and "does not run" in none.stderr
    relay.start()


def test_source_and_desk_are_asked(make_relay, make_desk, telegram, intercom):
    hook = make_desk()
    relay = make_relay([account("acme", intercom.config(), sources=[telegram.config(mode="polling"), webhook_source()]),
                        account("other", hook.config())]).start()
    done = relay.cli("source", "check", "acme")
    assert "acme/bot: good: Telegram knows @" in done.stdout and "acme/hook: good: Nothing can be asked" in done.stdout
    assert "is polled" in done.stdout and "/hooks/acme/hook" in done.stdout
    checked = json.loads(relay.cli("source", "check", "acme", "bot", "--json").stdout)["items"]
    assert [c["ok"] for c in checked] == [True] and checked[0]["data"]["pending_updates"] >= 0
    assert "acme: good: Intercom takes the token" in relay.cli("desk", "check", "acme").stdout
    assert "other: good" in relay.cli("desk", "check", "other").stdout
    # Bad answers, and nobody: exit 1, and nothing of the relay changes
    intercom.next_actions.append(Answer(401, {"type": "error.list", "errors": [{"code": "unauthorized", "message": "Access Token Invalid"}]}))
    bad = relay.cli("desk", "check", "acme", check=False)
    assert bad.returncode == 1 and "acme: BAD: Intercom does not take the token" in bad.stdout and "Access Token Invalid" in bad.stdout
    hook.stop()
    gone = relay.cli("desk", "check", "other", check=False)
    assert gone.returncode == 1 and "cannot be reached" in gone.stdout
    assert all(d["state"] == "ok" for d in relay.status()["desks"]) and not relay.status()["alarms"]
    missing = relay.cli("source", "check", "acme", "nothing", check=False)
    assert missing.returncode == 1 and "no source of that name" in missing.stderr
    assert relay.cli("source", "check", "nobody", check=False).returncode == 1
    for text in (done.stdout, bad.stdout, gone.stdout, json.dumps(checked)):
        assert not relay.leaks(text)


def test_a_check_does_not_keep_the_relay_from_stopping(make_relay, make_desk):
    desk = make_desk()
    relay = make_relay([account("acme", desk.config())]).start()
    desk.script = lambda request: Stall() if request.method == "HEAD" else None
    asking = threading.Thread(target=lambda: relay.cli("desk", "check", "acme", check=False))
    asking.start()
    desk.wait_requests(1)
    relay.stop()
    asking.join(PATIENCE_S)
    assert not asking.is_alive()
