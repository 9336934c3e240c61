"""`tributary why` and the lanes of the API, against a running relay. Each screen in full: tests/unit/test_why.c."""
import json
import threading

from harness.client import WebhookSource
from harness.common import CANARY, wait_for
from harness.relay import account
from harness.scripted import Answer


def screen(relay, what):
    """The screen; none is larger than a terminal of 24 lines and 80 columns, and none shows a message's text."""
    text = relay.cli("why", what).stdout
    assert len(text.splitlines()) <= 24 and all(len(line) <= 80 for line in text.splitlines()), text
    assert CANARY not in text
    return text


def lanes(relay, **query):
    """All of them, page by page."""
    items, after = [], None
    while True:
        page = relay.get("/api/v1/lanes", after=after, **query)
        items += page["items"]
        after = page["next"]
        if after is None:
            return items


def wait_lane(relay, **wanted):
    return wait_for(lambda: next((lane for lane in lanes(relay) if all(lane[k] == v for k, v in wanted.items())), None), f"a lane with {wanted}")


def test_why_of_what_waits_in_each_way(make_relay, make_desk):
    desk, down = make_desk(), make_desk()
    desk.script = lambda request: Answer(500, body=b"out of cheese") if request.method == "POST" and request.notes.get("key") == "m0" else None
    relay = make_relay([account("acme", desk.config(), order="conversation", on_failure="hold"), account("down", down.config()),
                        account("idle", desk.config(), active=False), account("calm", desk.config())],
                       delivery={"retry_base": "60s", "retry_cap": "60s", "max_attempts": 2}).start()
    relay.allow("desk_suspended", "message_held")
    acme = WebhookSource(relay, "acme")
    assert "calm: nothing waits, and nothing was delivered lately" in screen(relay, "calm")
    WebhookSource(relay, "calm").send("k0", "c1")
    wait_for(lambda: "calm: nothing waits; the last message was delivered at 20" in screen(relay, "calm"), "delivered")
    assert "nothing waits; the last message was delivered" in screen(relay, "calm/hook/c1")
    acme.send("m0", "c1")
    acme.send("m1", "c1")
    head = wait_lane(relay, account="acme", state="waiting", waits_for="backoff")["head"]["id"]
    waiting = screen(relay, "acme/hook/c1")
    assert "2 messages wait" in waiting and "out of cheese" in waiting and f"tributary retry {head}" in waiting and "1 more in the same lane" in waiting
    relay.cli("retry", head)
    wait_lane(relay, account="acme", state="held", waits_for="person")
    wait_for(lambda: "attempts: 2" in screen(relay, "acme"), "held after two attempts")
    assert "held for a person" in screen(relay, "acme")
    relay.cli("discard", head)
    wait_for(lambda: "nothing waits" in screen(relay, "acme"), "released")
    down.script = lambda request: Answer(401)
    down.scriptable = lambda request: True
    relay.allow("alarm", "alarm_end")
    WebhookSource(relay, "down").send("d0")
    wait_lane(relay, account="down", state="suspended", waits_for="desk")
    suspended = screen(relay, "down")
    assert "answered 401" in suspended and "tributary desk resume down" in suspended and "correct it at" in suspended
    checked = relay.cli("desk", "check", "down", check=False)
    assert "down: suspended: answered 401; tributary why down says what helps" in checked.stdout
    assert "suspended" not in relay.cli("desk", "check", "calm", check=False).stdout
    assert "suspended" not in json.loads(relay.cli("desk", "check", "down", "--json", check=False).stdout)
    WebhookSource(relay, "idle").send("i0")
    inactive = screen(relay, "idle")
    assert "stopped (account)" in inactive and "tributary account activate idle" in inactive
    for what, words, status in (("nobody", "no account", 1), ("acme/nix/c1", "no source", 1), ("acme/hook/never", "no conversation", 1),
                                ("acme/hook", "ACCOUNT/SOURCE/CONVERSATION", 2), ("acme/hook/", "ACCOUNT/SOURCE/CONVERSATION", 2)):
        done = relay.cli("why", what, check=False)
        assert done.returncode == status and words in done.stderr and done.stdout == "", done
    down.script = None
    relay.cli("desk", "resume", "down")
    relay.cli("account", "activate", "idle")
    relay.wait_settled()


def test_a_conversation_whose_order_rule_was_changed(make_relay, desk):
    """What holds up is told first: the messages from before the change, in the lane of the conversation."""
    desk.script = lambda request: Answer(500) if request.method == "POST" else None
    relay = make_relay([account("acme", desk.config(), order="conversation")], delivery={"retry_base": "60s", "retry_cap": "60s"}).start()
    source = WebhookSource(relay, "acme")
    source.send("m0", "c1")
    head = wait_lane(relay, account="acme", state="waiting")["head"]["id"]
    relay.config["accounts"][0]["order"] = "account"
    relay.write_config()
    relay.cli("reload")
    source.send("m1", "c1")
    wait_lane(relay, account="acme", state="behind")
    text = " ".join(screen(relay, "acme/hook/c1").split())
    assert "acme/hook/c1: 1 message waits, the oldest for" in text and "and 1 more behind it in the account's one lane." in text, text
    assert "first waiting (backoff)" in text and f"head message {head} of hook/c1" in text and f"tributary retry {head}" in text, text
    desk.script = None
    relay.cli("retry", head)
    relay.wait_settled()


def test_a_conversation_in_the_lane_of_its_account(make_relay, desk):
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    relay = make_relay([account("acme", desk.config())]).start()
    source = WebhookSource(relay, "acme")
    for i in range(5):
        source.send(f"m{i}", f"c{i % 2}/with a slash")
    wait_lane(relay, state="sending", waits_for="answer")
    assert "2 messages of it wait behind 1 of others" in screen(relay, "acme/hook/c1/with a slash").replace("\n         ", "")
    told = json.loads(relay.cli("why", "acme/hook/c1/with a slash", "--json").stdout)
    assert told["in_line"]["before"] == 1 and told["in_line"]["own"] == 2 and told["lane"]["kind"] == "account"
    assert told["lane"]["head"]["attempt_since"] and told["conversation"] == "c1/with a slash"
    one = relay.get(f"/api/v1/lanes/{told['lane']['id']}")
    assert one["waiting"] == 5 and one["direction"] == "inbound" and one["can"][0]["command"].startswith("tributary discard ")
    gate.set()
    relay.wait_settled()
    assert relay.api("GET", f"/api/v1/lanes/{told['lane']['id']}").status == 404


def test_lanes_page_by_page_of_one_account_and_state(make_relay, desk):
    relay = make_relay([account("acme", desk.config(), order="conversation", active=False), account("other", desk.config(), active=False)]).start()
    acme, other = WebhookSource(relay, "acme"), WebhookSource(relay, "other")
    for i in range(7):
        acme.send(f"m{i}", f"c{i}")
        other.send(f"o{i}", f"c{i}")
    assert [lane["conversation"] for lane in lanes(relay, account="acme", limit=3)] == [f"c{i}" for i in range(7)]
    assert [(lane["kind"], lane["waiting"]) for lane in lanes(relay, account="other")] == [("account", 7)]
    assert len(lanes(relay, limit=1)) == 8 == len(lanes(relay, state="stopped", limit=2)) and lanes(relay, state="held") == []
    page = relay.get("/api/v1/lanes", account="acme", limit=3)
    for lane in page["items"]:      # what is settled between two pages moves nothing
        relay.cli("discard", lane["head"]["id"])
    acme.send("m7", "c7")
    rest = relay.get("/api/v1/lanes", account="acme", limit=10, after=page["next"])
    assert [lane["conversation"] for lane in rest["items"]] == [f"c{i}" for i in range(3, 8)] and rest["next"] is None
    assert [lane["conversation"] for lane in lanes(relay, account="acme", source="hook", conversation="c5")] == ["c5"]
    assert [lane["kind"] for lane in lanes(relay, account="other", source="hook", conversation="c5")] == ["account"]
    for query in ("state=lost", "account=nobody", "conversation=c5", "source=hook", "account=acme&source=hook&conversation=x", "after=zz", "limit=0"):
        assert relay.api("GET", "/api/v1/lanes?" + query).status in (400, 404), query


def test_a_lane_behind_a_changed_order_rule(make_relay, desk):
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    relay = make_relay([account("acme", desk.config())]).start()
    source = WebhookSource(relay, "acme")
    source.send("m0")
    wait_lane(relay, kind="account", state="sending")
    relay.config["accounts"][0]["order"] = "conversation"
    relay.write_config()
    relay.cli("reload")
    source.send("m1", "c2")
    wait_lane(relay, kind="conversation", state="behind", waits_for="order")
    assert "The order rule was changed" in screen(relay, "acme/hook/c2") and "1 sending, 1 behind" in screen(relay, "acme")
    gate.set()
    relay.wait_settled()
    assert desk.keys() == ["m0", "m1"]
