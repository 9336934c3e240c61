"""Accounts made, changed and removed by hand, by API and command line; the file against the hand; what the log says of it."""
import json
import re
import threading

import pytest

from harness.client import Crowd, WebhookSource
from harness.common import CANARY, SLOW, make_secret, wait_for
from harness.record import Sampler, assert_good, webhook_history
from harness.relay import TOKEN, account, webhook_source
from harness.scripted import Answer

BOT = "777000:kanarie-token-aaaaaaaaaaaaaaaaaaaaaaa"
OTHER_BOT = "888000:kanarie-token-bbbbbbbbbbbbbbbbbbbbbbb"


@pytest.fixture
def empty(make_relay):
    return make_relay([]).start()


def definition(name, desk, **more):
    return account(name, desk.config(), **more)


def made(answer, status=200):
    assert answer.status == status, answer
    return answer.json


def refused(answer, status, *parts):
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    for part in parts:
        assert part in answer.json["detail"], answer
    return answer.json


def reload(relay, **check):
    relay.write_config()
    return relay.cli("reload", "--socket", relay.socket, **check)


def test_account_made_by_hand_carries_messages_and_outlives_restarts(empty, desk):
    shown = made(empty.api("POST", "/api/v1/accounts", definition("acme", desk, order="conversation")), 201)
    assert (shown["name"], shown["active"], shown["order"], shown["defined_at"]) == ("acme", True, "conversation", None)
    assert desk.secret not in json.dumps(shown)
    source = WebhookSource(empty, "acme")
    source.send("m0")
    desk.wait_taken(1)
    empty.restart()
    source.send("m1")
    assert desk.wait_taken(2) == ["m0", "m1"]
    assert empty.get("/api/v1/accounts/acme")["order"] == "conversation"
    reload(empty)  # an account made by hand is no concern of the file's
    assert empty.get("/api/v1/accounts/acme")["active"]


def test_mistakes_are_told_key_by_key_as_in_the_file(empty, desk):
    wrong = {"name": "Acme!", "order": "both", "colour": "red", "active": "yes", "sources": [{"name": "bot", "platform": "telegraph"}, "hook"],
             "desk": {"platform": "webhook", "url": "nowhere", "token": "a b"}}
    problem = refused(empty.api("POST", "/api/v1/accounts", wrong), 422)
    told = {m["key"]: m["text"] for m in problem["mistakes"]}
    assert set(told) >= {"name", "order", "colour", "active", "sources.platform", "desk.url", "desk.token"}, told
    assert "account or conversation" in told["order"] and "there are telegram" in told["sources.platform"]
    assert "a b" not in json.dumps(problem)
    missing = refused(empty.api("POST", "/api/v1/accounts", {"name": "acme"}), 422)
    assert {m["key"] for m in missing["mistakes"]} == {"sources", "desk"}
    twice = empty.api("POST", "/api/v1/accounts", b'{"name":"a","name":"b"}')
    refused(twice, 422, "twice")
    deep = empty.api("POST", "/api/v1/accounts", b'{"name":' + b'[' * 5000 + b']' * 5000 + b'}')
    refused(deep, 422)
    for body in (b"", b"[]", b"{", b"nonsense", b'{"name":"acme"} {}', b"name: acme", b'\xef\xbb\xbf{}'):
        refused(empty.api("POST", "/api/v1/accounts", body), 400)
    for text in ("\x7f", "\x85", "\ufffe", "\U0001f600", "\x00", "a\nb: c", "${HOME}"):
        body = definition("acme", desk)
        body["desk"]["token"] = text
        answer = empty.api("POST", "/api/v1/accounts", body)
        if text == "${HOME}":
            made(answer, 201)  # plain text here
        else:
            refused(answer, 422)
    assert [a["name"] for a in empty.get("/api/v1/accounts")["items"]] == ["acme"]


def test_patch_changes_what_it_says_and_keeps_the_rest(empty, desk, make_desk):
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk, on_failure="hold")), 201)
    path = "/api/v1/accounts/acme"
    assert made(empty.api("PATCH", path, {"in_doubt": "hold"}))["on_failure"] == "hold"
    assert made(empty.api("PATCH", path, {"on_failure": None}))["on_failure"] == "skip"
    desk_now = made(empty.api("PATCH", path + "/desk", {"rate": "100/s"}))
    assert (desk_now["secret"], desk_now["rate_per_min"]) == ("set", 6000)
    source = WebhookSource(empty, "acme")
    source.send("m0")
    desk.wait_taken(1)  # signed with the secret that was not said again
    other = make_desk()
    made(empty.api("PUT", path + "/desk", other.config()))
    assert empty.get(path + "/desk")["rate_per_min"] is None
    source.send("m1")
    other.wait_taken(1)
    refused(empty.api("PATCH", path, {"name": "other"}), 422, "name: cannot be changed")
    refused(empty.api("PATCH", path, {"nme": "x"}), 422, "did you mean name")
    refused(empty.api("PATCH", path + "/desk", {"platform": "intercom"}), 422, "token")  # another platform begins anew
    refused(empty.api("PATCH", path, {}), 400)
    refused(empty.api("PATCH", path, {"active": "no"}), 400)
    refused(empty.api("PATCH", "/api/v1/accounts/nobody", {"order": "account"}), 404)


def test_sources_are_added_changed_and_removed(empty, desk):
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk)), 201)
    path = "/api/v1/accounts/acme/sources"
    secret = make_secret()
    assert made(empty.api("POST", path, webhook_source("second", secret)), 201)["secret"] == "set"
    refused(empty.api("POST", path, webhook_source("second")), 409, "already")
    refused(empty.api("DELETE", "/api/v1/accounts/acme/sources/nobody"), 404)
    WebhookSource(empty, "acme", "second", secret).send("m0")
    desk.wait_taken(1)
    unsigned = WebhookSource(empty, "acme", "second")
    assert unsigned.post(unsigned.event("x")).status == 401
    made(empty.api("PATCH", path + "/second", {"secret": "none"}))
    WebhookSource(empty, "acme", "second").send("m1")
    desk.wait_taken(2)
    refused(empty.api("PATCH", path + "/second", {"name": "third"}), 422, "cannot be changed")
    assert made(empty.api("DELETE", path + "/hook"))["removed"] == "hook"
    refused(empty.api("DELETE", path + "/second"), 409, "only source")
    assert [s["name"] for s in empty.get(path)["items"]] == ["second"]


def test_messages_of_a_removed_source_are_delivered_under_its_name(empty, desk):
    """RELIABILITY 51: nothing that was accepted is lost by a change of the configuration."""
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk, sources=[webhook_source("old"), webhook_source("new")])), 201)
    empty.set_active("acme", False)
    old, new = WebhookSource(empty, "acme", "old"), WebhookSource(empty, "acme", "new")
    old.send("m0")
    new.send("m1")
    old.send("m2")
    made(empty.api("DELETE", "/api/v1/accounts/acme/sources/old"))
    assert empty.messages()[0]["source"] == "old"
    empty.restart()
    empty.set_active("acme", True)
    assert desk.wait_taken(3) == ["m0", "m1", "m2"]
    assert [r.notes["body"]["source"] for r in desk.posts()] == ["old", "new", "old"]
    made(empty.api("POST", "/api/v1/accounts/acme/sources", webhook_source("old")), 201)
    old.send("m0")  # it is the same source again: known as a duplicate
    empty.wait_settled()
    assert empty.status()["accepted"] == 3


def test_removal_waits_for_messages_unless_they_are_discarded(empty, desk):
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk, order="conversation")), 201)
    source = WebhookSource(empty, "acme")
    source.send("m0")
    desk.wait_taken(1)
    empty.wait_settled()
    empty.set_active("acme", False)
    for i in range(1, 8):
        source.send(f"m{i}", conversation=f"c{i % 3}")
    refused(empty.api("DELETE", "/api/v1/accounts/acme"), 409, "pending")
    assert empty.get("/api/v1/accounts/acme")["pending"] == 7
    assert made(empty.api("DELETE", "/api/v1/accounts/acme?discard=true")) == {"removed": "acme", "discarded": 7}
    refused(empty.api("GET", "/api/v1/accounts/acme"), 404)
    assert source.post(source.event("late")).status == 404
    gone = empty.messages(state="discarded")
    assert [(m["reason"], m["account"]) for m in gone] == [("orphaned", None)] * 7
    empty.check_sum()
    empty.verify()
    assert empty.query("SELECT DISTINCT account FROM readable_messages") == [("acme#1",)]
    assert empty.query("SELECT count(*) FROM accounts WHERE desk_secret IS NOT NULL OR desk_url IS NOT NULL") == [(0,)]
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk)), 201)  # the name is free: another account
    source.send("m0")  # and this is its first
    desk.wait_taken(1)
    empty.wait_settled()
    assert empty.status()["accepted"] == 9
    assert len(empty.messages(account="acme")) == 1
    empty.restart()
    empty.verify()
    assert [a["name"] for a in empty.get("/api/v1/accounts")["items"]] == ["acme"]


def test_removal_ends_what_is_in_flight_first(empty, desk):
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk)), 201)
    gate = threading.Event()
    desk.script = lambda request: Answer(200, after=gate) if request.method == "POST" else None
    source = WebhookSource(empty, "acme")
    source.send("m0")
    source.send("m1")
    desk.wait_requests(1)
    answers = []
    removal = threading.Thread(target=lambda: answers.append(empty.api("DELETE", "/api/v1/accounts/acme?discard=true")))
    removal.start()
    wait_for(lambda: not empty.get("/api/v1/accounts/acme")["active"], "deactivated")
    assert removal.is_alive()
    desk.script = None
    gate.set()
    removal.join()
    assert made(answers[0])["removed"] == "acme"
    states = [m["state"] for m in empty.messages()]
    assert states == ["delivered", "discarded"] and len(desk.posts()) == 1
    empty.check_sum()


def test_skipped_message_of_a_removed_account_is_not_revived(empty, desk):
    empty.allow("message_skipped")
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk)), 201)
    desk.script = lambda request: Answer(400) if request.method == "POST" else None
    WebhookSource(empty, "acme").send("m0")
    wait_for(lambda: empty.status()["skipped"] == 1, "skipped")
    made(empty.api("DELETE", "/api/v1/accounts/acme"))
    message = empty.messages()[0]["id"]
    refused(empty.api("POST", f"/api/v1/messages/{message}/retry"), 409, "account", "removed", "discarded")
    assert empty.check_sum()["skipped"] == 1
    made(empty.api("POST", f"/api/v1/messages/{message}/discard"))
    assert empty.check_sum()["discarded"] == 1


def test_account_of_the_file_is_changed_there(relay, source, desk):
    for method, target, body in (("PATCH", "", {"order": "account"}), ("PATCH", "", {"active": True, "order": "account"}), ("DELETE", "", None),
                                 ("POST", "/sources", webhook_source("x")), ("PATCH", "/sources/hook", {"secret": "none"}),
                                 ("DELETE", "/sources/hook", None), ("PUT", "/desk", desk.config()), ("PATCH", "/desk", {"rate": "1/s"})):
        problem = refused(relay.api(method, "/api/v1/accounts/acme" + target, body), 409)
        assert f"defined in {relay.path}:" in problem["detail"], problem
    assert not relay.set_active("acme", False)["active"]
    refused(relay.api("POST", "/api/v1/accounts", definition("acme", desk)), 409, "already", relay.path)


def test_account_that_left_the_file_is_taken_up_by_hand(make_relay, make_desk):
    desk, other = make_desk(), make_desk()
    relay = make_relay([account("acme", desk.config()), account("zenith", other.config())]).start()
    kept = relay.config["accounts"]
    relay.config["accounts"] = kept[1:]
    reload(relay)
    shown = relay.get("/api/v1/accounts/acme")
    assert (shown["active"], shown["left_file"]) == (False, True)
    assert re.search(r"^acme +no +account +0 +left the file$", relay.cli("status").stdout, re.M)
    shown = relay.set_active("acme", True)
    assert (shown["active"], shown["left_file"], shown["defined_at"]) == (True, False, None)
    WebhookSource(relay, "acme").send("m0")
    desk.wait_taken(1)
    reload(relay)
    assert relay.get("/api/v1/accounts/acme")["active"]
    made(relay.api("PATCH", "/api/v1/accounts/acme/desk", {"rate": "100/s"}))
    relay.restart()
    assert relay.get("/api/v1/accounts/acme")["active"]
    relay.config["accounts"] = kept  # the file takes it over
    reload(relay)
    shown = relay.get("/api/v1/accounts/acme")
    assert shown["defined_at"].startswith(relay.path) and shown["desk"]["rate_per_min"] is None
    refused(relay.api("DELETE", "/api/v1/accounts/acme"), 409, "defined in")


def telegram_source(telegram, token=BOT, name="bot", **more):
    return {"name": name, "platform": "telegram", "token": token, "mode": "polling", "api_url": telegram.url, **more}


def test_one_bot_stands_in_one_source_file_and_hand(make_relay, make_desk, make_telegram):
    desk, telegram, second = make_desk(), make_telegram(token=BOT), make_telegram(token=OTHER_BOT)
    relay = make_relay([account("acme", desk.config(), sources=[telegram_source(telegram)])]).start()
    relay.allow("reload_refused", "source_trouble", "source_refused", "alarm", "alarm_end")
    refused(relay.api("POST", "/api/v1/accounts", account("hand", desk.config(), sources=[telegram_source(telegram)])), 409, "acme/bot", relay.path)
    made(relay.api("POST", "/api/v1/accounts", account("hand", desk.config())), 201)
    refused(relay.api("POST", "/api/v1/accounts/hand/sources", telegram_source(telegram)), 409, "acme/bot")
    twins = account("twins", desk.config(), sources=[telegram_source(second, OTHER_BOT), telegram_source(second, OTHER_BOT, "again")])
    refused(relay.api("POST", "/api/v1/accounts", twins), 422, "same bot")
    made(relay.api("POST", "/api/v1/accounts/hand/sources", telegram_source(second, OTHER_BOT)), 201)
    before = relay.config["accounts"]
    relay.config["accounts"] = before + [account("late", desk.config(), sources=[telegram_source(second, OTHER_BOT, "mine")])]
    done = reload(relay, check=False)
    assert done.returncode == 1 and "late/mine" in done.stderr and "hand/bot" in done.stderr and relay.path in done.stderr
    refused(relay.api("GET", "/api/v1/accounts/late"), 404)
    made(relay.api("DELETE", "/api/v1/accounts/hand/sources/bot"))
    reload(relay)
    assert relay.get("/api/v1/accounts/late")["sources"][0]["name"] == "mine"


def test_left_account_whose_bot_is_taken_is_not_taken_up(make_relay, make_desk, make_telegram):
    desk, telegram = make_desk(), make_telegram(token=BOT)
    relay = make_relay([account("acme", desk.config(), sources=[telegram_source(telegram)])]).start()
    relay.config["accounts"] = [account("renamed", desk.config(), sources=[telegram_source(telegram)])]
    reload(relay)
    refused(relay.api("PATCH", "/api/v1/accounts/acme", {"active": True}), 409, "renamed/bot")
    made(relay.api("DELETE", "/api/v1/accounts/acme"))


def test_a_start_is_refused_when_the_file_has_the_bot_of_an_account_made_by_hand(make_relay, make_desk, make_telegram):
    desk, telegram = make_desk(), make_telegram(token=BOT)
    relay = make_relay([]).start()
    made(relay.api("POST", "/api/v1/accounts", account("hand", desk.config(), sources=[telegram_source(telegram)])), 201)
    relay.stop()
    relay.allow("cannot_start")
    relay.config["accounts"] = [account("late", desk.config(), sources=[telegram_source(telegram)])]
    relay.write_config()
    relay.start(wait=False)
    assert relay.wait_end() == 1
    assert "hand/bot" in relay.logged("cannot_start")[0]["why"]


def test_many_are_switched_in_one_go(make_relay, desk):
    names = [f"a{i:04d}" for i in range(300)]
    relay = make_relay([account(n, desk.config()) for n in names]).start()
    assert "299 accounts were deactivated" in relay.cli("account", "deactivate", *names[1:], "--socket", relay.socket).stdout
    assert sum(a["active"] for a in relay.status()["accounts"]) == 1
    WebhookSource(relay, names[5]).send("m0")
    assert relay.get(f"/api/v1/accounts/{names[5]}")["pending"] == 1 and not desk.posts()
    assert "299 accounts were activated" in relay.cli("account", "activate", "--all", "--socket", relay.socket).stdout
    desk.wait_taken(1)
    for entry in relay.config["accounts"]:
        entry["active"] = False
    reload(relay)
    assert not any(a["active"] for a in relay.status()["accounts"])
    unknown = relay.cli("account", "activate", names[0], "nobody", "--socket", relay.socket, check=False)
    assert unknown.returncode == 1 and "nobody" in unknown.stderr
    assert not any(a["active"] for a in relay.status()["accounts"])
    assert relay.cli("account", "activate", "--socket", relay.socket, check=False).returncode == 2
    assert relay.cli("account", "activate", "--all", names[0], "--socket", relay.socket, check=False).returncode == 2


def all_accounts(relay):
    """By name, page by page."""
    found, page = {}, {"next": None}
    while not found or page["next"]:
        page = relay.get("/api/v1/accounts", limit=500, after=page["next"])
        found.update((a["name"], a) for a in page["items"])
    return found


def test_thousands_of_accounts_follow_the_file_and_the_hand(make_relay, desk):
    """More than are put into the store, or looked through, at once: at the start, at the next one, and by a reload that changes all kinds."""
    names = [f"a{i * 7919 % 2100:04d}" for i in range(2100)]  # not in their order
    relay = make_relay([account(n, desk.config()) for n in names]).start()

    def check(inactive, left, conversation=()):
        known, lines = all_accounts(relay), open(relay.path).read().splitlines()
        assert sorted(known) == sorted({*names, *left})
        assert {n for n, a in known.items() if not a["active"]} == {*inactive, *left}
        assert {n for n, a in known.items() if a["left_file"]} == set(left)
        assert {n for n, a in known.items() if a["order"] == "conversation"} == set(conversation)
        for n in names:
            place, line = known[n]["defined_at"].rsplit(":", 1)
            assert place == relay.path and lines[int(line) - 1] == f"- name: {n}", known[n]
    check([], [])
    relay.set_active(names[1500], False)
    relay.restart()
    check([names[1500]], [])
    inactive, left, entries = [names[1500], "first"], names[:20] + names[1000:1020], relay.config["accounts"]
    entries[1700]["order"] = "conversation"
    relay.config["accounts"] = [account("first", desk.config(), active=False)] + [e for e in entries if e["name"] not in left]
    conversation, names = [names[1700]], ["first"] + [n for n in names if n not in left]
    reload(relay)
    check(inactive, left, conversation)
    relay.restart()
    check(inactive, left, conversation)
    relay.config["accounts"] = entries
    relay.write_config()
    names = [e["name"] for e in entries]
    relay.restart()  # the same at a start
    check(inactive[:1], ["first"], conversation)
    WebhookSource(relay, names[0]).send("m0")
    desk.wait_taken(1)


def test_command_line_makes_changes_and_removes(empty, desk, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(desk.secret + "\n")
    on = ["--socket", empty.socket]
    done = empty.cli("account", "add", "acme", "--order", "conversation", "--source-name", "hook", "--source-platform", "webhook", "--source-secret", "none",
                     "--desk-platform", "webhook", "--desk-url", desk.url + "/in", "--desk-secret-file", str(secret), *on)
    assert "acme" in done.stdout and desk.secret not in done.stdout
    WebhookSource(empty, "acme").send("m0")
    desk.wait_taken(1)
    assert "conversation" in empty.cli("account", "show", "acme", *on).stdout
    empty.cli("account", "set", "acme", "--on-failure", "hold", *on)
    assert empty.get("/api/v1/accounts/acme")["on_failure"] == "hold"
    empty.cli("desk", "set", "acme", "--rate", "100/s", *on)
    empty.cli("source", "add", "acme", "more", "--platform", "webhook", "--secret", "none", *on)
    assert "more" in empty.cli("source", "list", "acme", *on).stdout
    empty.cli("source", "remove", "acme", "hook", *on)
    assert re.search(r"^acme +yes +conversation +0 +by hand$", empty.cli("status", *on).stdout, re.M)
    for names in (("remove", "acme", ".."), ("remove", "acme", "."), ("remove", "acme", "../../acme"), ("set", "acme", "..", "--platform", "webhook")):
        dots = empty.cli("source", *names, *on, check=False)  # a path that libcurl shortens is another one: the account's
        assert dots.returncode == 1 and "no source of that name" in dots.stderr, dots
    whole = tmp_path / "whole.json"
    whole.write_text(json.dumps({k: v for k, v in definition("zenith", desk).items() if k != "name"}))
    empty.cli("account", "add", "zenith", "--definition", str(whole), *on)
    seen = empty.cli("source", "set", "acme", "more", "--secret", make_secret(), *on, check=False)
    assert seen.returncode == 2 and "processes" in seen.stderr
    nothing = empty.cli("desk", "set", "acme", *on, check=False)
    assert nothing.returncode == 2
    odd = empty.cli("desk", "set", "acme", "--colour", "red", *on, check=False)
    assert odd.returncode == 2 and "--colour" in odd.stderr
    wrong = empty.cli("account", "set", "acme", "--order", "both", *on, check=False)
    assert wrong.returncode == 1 and "account or conversation" in wrong.stderr
    perhaps = empty.cli("account", "set", "acme", "--active", "perhaps", *on, check=False)
    assert perhaps.returncode == 1 and perhaps.stderr == "tributary: active is true or false.\n"
    several = empty.cli("account", "set", "acme", "--order", "both", "--on-failure", "weep", *on, check=False)
    assert [line[:line.index(": \"")] for line in several.stderr.splitlines()] == ["tributary: order", "tributary: on_failure"], several
    empty.set_active("acme", False)
    WebhookSource(empty, "acme", "more").send("m1")
    refusal = empty.cli("account", "remove", "acme", *on, check=False)
    assert refusal.returncode == 1 and "discard" in refusal.stderr
    assert "1 message was discarded" in empty.cli("account", "remove", "acme", "--discard", *on).stdout
    empty.cli("account", "remove", "zenith", *on)
    assert empty.get("/api/v1/accounts")["items"] == []


def test_every_change_by_hand_is_in_the_log(empty, desk):
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk)), 201)
    empty.set_active("acme", False)
    refused(empty.api("PATCH", "/api/v1/accounts/acme", {"order": "no"}), 422)
    empty.cli("account", "activate", "acme", "--socket", empty.socket)
    empty.api("POST", "/api/v1/accounts/acme/desk/resume")
    empty.api("POST", "/api/v1/messages/77/discard")
    empty.api("PATCH", "/api/v1/accounts/acme", {"active": True}, token="wrong")
    empty.get("/api/v1/accounts")
    empty.api("POST", f"/api/v1/messages/{CANARY}/retry")  # an operator's words reach no log
    empty.api("PATCH", f"/api/v1/accounts/{CANARY}", {CANARY: CANARY})
    empty.api("PATCH", "/api/v1/accounts/acme", {CANARY: CANARY})
    made(empty.api("DELETE", "/api/v1/accounts/acme?discard=true"))
    account_path = "/api/v1/accounts/{account}"
    seen = [tuple(e.get(k) for k in ("request", "account", "message", "said", "by", "status", "result")) for e in empty.logged("by_hand")]
    assert seen == [
        ("POST /api/v1/accounts", "acme", None, "name sources desk", "token", 201, "done"),
        ("PATCH " + account_path, "acme", None, "active=false", "token", 200, "done"),
        ("PATCH " + account_path, "acme", None, None, "token", 422, "refused"),
        ("PATCH " + account_path, "acme", None, "active=true", "socket", 200, "done"),
        ("POST " + account_path + "/desk/resume", "acme", None, None, "token", 200, "done"),
        ("POST /api/v1/messages/{id}/discard", None, 77, None, "token", 404, "refused"),
        ("POST /api/v1/messages/{id}/retry", None, None, None, "token", 404, "refused"),
        ("PATCH " + account_path, None, None, None, "token", 404, "refused"),
        ("PATCH " + account_path, "acme", None, None, "token", 422, "refused"),
        ("DELETE " + account_path, "acme", None, "discard=true", "token", 200, "done"),
    ]


def test_what_a_reload_cannot_change_is_said(relay):
    relay.allow("restart_needed")
    relay.config["delivery"]["max_attempts"] = 7
    relay.config["admin"]["token"] = "another-token-kanarie-0123456789"
    for _ in range(2):  # it is still so at the next reload
        done = reload(relay)
        assert "delivery.max_attempts" in done.stdout and "next start" in done.stdout and "admin.token" in done.stdout
    said = wait_for(lambda: (lambda lines: len(lines) >= 2 and lines)(relay.logged("restart_needed")), "both lines of the log")
    assert len(said) == 2 and said[0]["keys"] == "admin.token, delivery.max_attempts"
    del relay.config["delivery"]["max_attempts"]
    relay.config["admin"]["token"] = TOKEN
    assert "next start" not in reload(relay).stdout


@pytest.mark.timeout(240)
def test_reloads_and_changes_of_every_kind_while_messages_flow(make_relay, make_desk):
    """0 lost, 0 doubled, 0 reordered: a desk's token, address, rate and probe, a source added, removed and changed, switches, rules."""
    desk, other = make_desk(), make_desk()
    relay = make_relay([account("acme", desk.config(), order="conversation")], delivery={"max_attempts": 50, "retry_cap": "100ms"}).allow(".*").start()
    source = WebhookSource(relay, "acme")
    sampler = Sampler(relay)
    crowd = Crowd(source, lanes=6, per_lane=120)
    mine = relay.config["accounts"][0]
    extra = webhook_source("extra")
    changes = [
        lambda: mine["desk"].update(rate="5000/s"),
        lambda: mine["desk"].update(url=desk.url + "/in"),
        lambda: mine["desk"].update(probe="none"),
        lambda: mine["desk"].update(token="another-token"),  # a desk of its own: governor, suspension and guard anew
        lambda: mine["sources"].append(extra),
        lambda: mine.update(on_failure="hold"),
        lambda: mine.update(in_doubt="hold"),
        lambda: mine["sources"].remove(extra),
        lambda: mine.update(active=False),
        lambda: mine.update(active=True),
        lambda: mine["desk"].pop("token"),
        lambda: relay.config["accounts"].append(account("zenith", other.config())),
        lambda: relay.config["accounts"].pop(),
        lambda: relay.config["delivery"].update(max_attempts=60),
        lambda: mine["desk"].pop("rate"),
    ]
    for i, change in enumerate(changes):
        wait_for(lambda: crowd.acked() >= 40 * i or crowd.done(), "traffic")
        change()
        reload(relay)
    crowd.join()
    if not relay.get("/api/v1/accounts/acme")["active"]:
        relay.set_active("acme", True)
    relay.wait_settled(60 * SLOW)
    report = assert_good(webhook_history(relay, source, desk, sums=sampler.end()))
    assert report.counts["acked"] == 720
    relay.verify()


@pytest.mark.timeout(240)
def test_changes_by_hand_while_messages_flow(make_relay, make_desk):
    desk = make_desk()
    relay = make_relay([], delivery={"max_attempts": 50, "retry_cap": "100ms"}).allow(".*").start()
    made(relay.api("POST", "/api/v1/accounts", account("acme", desk.config(), order="conversation")), 201)
    source = WebhookSource(relay, "acme")
    sampler = Sampler(relay)
    crowd = Crowd(source, lanes=6, per_lane=80)
    path = "/api/v1/accounts/acme"
    for i, (method, target, body) in enumerate([
            ("PATCH", "/desk", {"rate": "5000/s"}), ("PATCH", "/desk", {"token": "another"}), ("POST", "/sources", webhook_source("extra")),
            ("PATCH", "", {"active": False}), ("PATCH", "/desk", {"token": None}), ("PATCH", "", {"active": True}),
            ("DELETE", "/sources/extra", None), ("PATCH", "/sources/hook", {"secret": "none"}), ("PATCH", "", {"in_doubt": "hold"})]):
        wait_for(lambda: crowd.acked() >= 50 * i or crowd.done(), "traffic")
        assert relay.api(method, path + target, body).status in (200, 201)
    crowd.join()
    relay.wait_settled(60 * SLOW)
    report = assert_good(webhook_history(relay, source, desk, sums=sampler.end()))
    assert report.counts["acked"] == 480
    relay.verify()


@pytest.mark.parametrize("kill_after", [0.0, 0.02, 0.05])
def test_removal_cut_by_kill_9_can_be_done_again(empty, desk, kill_after):
    empty.allow(".*")
    made(empty.api("POST", "/api/v1/accounts", definition("acme", desk, order="conversation", active=False)), 201)
    source = WebhookSource(empty, "acme")
    Crowd(source, lanes=20, per_lane=60).join()

    def remove():
        try:
            empty.api("DELETE", "/api/v1/accounts/acme?discard=true")
        except OSError:
            pass
    removal = threading.Thread(target=remove)
    removal.start()
    threading.Event().wait(kill_after)
    empty.kill()
    removal.join()
    empty.start()
    status = empty.check_sum()
    assert status["accepted"] == 1200 and not desk.posts()
    empty.verify()
    if empty.get("/api/v1/accounts")["items"]:
        assert not empty.get("/api/v1/accounts/acme")["active"]
        made(empty.api("DELETE", "/api/v1/accounts/acme?discard=true"))
    assert empty.check_sum()["discarded"] == 1200
    empty.verify()
