"""RELIABILITY.md section 6, items 68 to 78: desks that cannot be reached, cannot be trusted, lie or change their mind. The number is in
each test's name; docs/hostile-inputs.md lists them with those that have other names."""
import gzip
import os
import shutil
import ssl
import subprocess
import threading
import time
import warnings

import pytest

from harness.client import WebhookSource
from harness.common import SLOW, VARIANT, wait_for
from harness.intercom import IS_CONTACT, IS_CREATE, IS_REPLY, TOKEN, errors
from harness.relay import account
from harness.scripted import Answer, Raw, Server
from test_intercom import build, line  # noqa: F401 (fixtures)

pytestmark = pytest.mark.timeout(180)


# 68: certificates

class Authority:
    """A private authority and what it signs; each certificate with its key in one file."""

    def __init__(self, where, name="a private authority"):
        self.where, self.file = str(where), os.path.join(where, "ca.pem")
        os.makedirs(where, exist_ok=True)
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", f"/CN={name}",
                 "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        with open(os.path.join(where, "ca.cnf"), "w") as file:
            file.write("[ca]\ndefault_ca=d\n[d]\ndir=.\ndatabase=index.txt\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
                       "copy_extensions=copy\n[p]\ncommonName=supplied\n")
        open(os.path.join(where, "index.txt"), "w").close()
        with open(os.path.join(where, "serial"), "w") as file:
            file.write("01\n")

    def run(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.where, check=True, capture_output=True)

    def sign(self, name, names="IP:127.0.0.1", start="20200101000000Z", end="20990101000000Z"):
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
                 "-addext", f"subjectAltName={names}")
        self.run("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", f"{name}.crt", "-startdate", start, "-enddate", end)
        return self.context(f"{name}.crt", f"{name}.key")

    def context(self, certificate, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.where, certificate), os.path.join(self.where, key))
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusting(make_relay, desk, authority):
    """A relay that trusts the authority by SSL_CERT_FILE; start() it."""
    desk.tls = authority.sign("good")
    relay = make_relay([account("acme", desk.config(), order="conversation")]).allow("desk_suspended", "attempt_.*")
    relay.environment["SSL_CERT_FILE"] = authority.file
    return relay


def test_68_private_authority_is_trusted_by_ssl_cert_file(trusting, desk):
    source = WebhookSource(trusting.start(), "acme")
    source.send("m0")
    trusting.wait_settled()
    assert desk.keys() == ["m0"] and not trusting.logged("desk_suspended")


def old_version(authority):
    context = authority.sign("old-version")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


UNTRUSTED = {"wrong name": lambda a, where: a.sign("wrong", names="DNS:desk.example.com,IP:127.0.0.2"),
             "expired": lambda a, where: a.sign("expired", end="20200102000000Z"),
             "not yet valid": lambda a, where: a.sign("future", start="20980101000000Z"),
             "self-signed": lambda a, where: Authority(where / "self").context("ca.pem", "ca.key"),
             "unknown authority": lambda a, where: Authority(where / "other", "another authority").sign("stranger"),
             "old version": lambda a, where: old_version(a)}


@pytest.mark.parametrize("name", UNTRUSTED)
def test_68_certificate_that_cannot_be_trusted_gets_nothing(trusting, desk, authority, tmp_path, name):
    """Nothing is written to who cannot show who he is; nothing is counted; the right certificate later ends it."""
    good, desk.tls = desk.tls, UNTRUSTED[name](authority, tmp_path)
    source = WebhookSource(trusting.start(), "acme")
    for i in range(4):
        source.send(f"m{i}", f"c{i % 2}")
    state = wait_for(lambda: next((d for d in trusting.status()["desks"] if d["state"] == "suspended"), None), "suspended")
    wait_for(lambda: desk.connections >= 3, "several tries")
    assert state["reason"] and not desk.journal
    assert {m["attempts"] for m in trusting.messages()} == {0} and trusting.status()["skipped"] == 0
    desk.tls = good
    trusting.wait_settled()
    assert sorted(desk.keys()) == ["m0", "m1", "m2", "m3"] and len(desk.posts()) == 4


def test_68_certificate_that_changes_mid_lane(trusting, desk, authority):
    """A good one, then one of another name, then a good one again: all once, in order, none to the stranger."""
    good, bad = desk.tls, authority.sign("stranger-mid-lane", names="DNS:elsewhere.example.com")
    source = WebhookSource(trusting.start(), "acme")
    for i in range(3):
        source.send(f"a{i}")
    trusting.wait_settled()
    taken = len(desk.journal)
    desk.tls = bad
    desk.refuse()  # cuts the connections that stand
    desk.listen()
    for i in range(3):
        source.send(f"b{i}")
    wait_for(lambda: [d["state"] for d in trusting.status()["desks"]] == ["suspended"], "suspended")
    assert len(desk.journal) == taken
    desk.tls = good
    trusting.wait_settled()
    assert desk.keys() == ["a0", "a1", "a2", "b0", "b1", "b2"] and len(desk.posts()) == 6


# 69: answers that are a burden

def test_69_compressed_bomb_is_not_unpacked(line, intercom):  # noqa: F811
    """Nothing compressed was asked for: what cannot be read is a lost answer, looked up before anything else."""
    line.relay.allow("desk_suspended", "attempt_.*")
    line.first()
    bomb = gzip.compress(bytes(64 << 20), 9)
    intercom.fault(IS_REPLY, Answer(200, bomb, [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]), apply=True)
    line.say("m1")
    line.say("m2")
    line.assert_once_in_order()
    if VARIANT == "release":
        with open(f"/proc/{line.relay.pid}/status") as file:
            assert int(next(l for l in file if l.startswith("VmHWM")).split()[1]) < 60 * 1024


def test_69_early_413_while_we_still_send(make_relay, desk):
    """The desk refuses by the head alone and closes: an answer that was given counts, and the lane goes on."""
    relay = make_relay([account("acme", desk.config())]).allow("message_skipped", "attempt_.*", "desk_suspended").start()
    source = WebhookSource(relay, "acme")
    desk.on_head = lambda method, target, headers: Answer(413, close=True) if int(headers.get("content-length", 0)) > 1_000_000 else None
    source.send("small0")
    source.send("large", words="x" * 3_000_000)
    source.send("small1")
    relay.wait_settled()
    assert desk.keys() == ["small0", "small1"]
    assert [(m["attempts"], m["reason"]) for m in relay.messages(state="skipped")] == [(1, "rejected")]


# 70: late answers

def test_70_late_answer_of_one_attempt_is_not_taken_for_the_next(make_relay, desk):
    """The first attempt's 200 comes while the second is on its way (and refused): it goes to nobody."""
    relay = make_relay([account("acme", desk.config())], delivery={"timeout": "1s"}).allow("desk_suspended", "attempt_.*").start()
    source = WebhookSource(relay, "acme")
    late = threading.Event()
    pieces = [Raw(b"HTTP/1.1 200 OK\r\nContent-Le", close=False), Answer(503, after=late), Answer(200)]
    desk.next_actions += pieces
    source.send("m0")
    source.send("m1")
    desk.wait_requests(lambda journal: sum(r.method == "POST" for r in journal) >= 2, "the second attempt", 60 * SLOW)
    late.set()
    relay.wait_settled(60 * SLOW)
    assert desk.keys() == ["m0", "m1"]
    assert len({r.notes["webhook_id"] for r in desk.posts() if r.notes["key"] == "m0"}) == 1


# 71: what an answer may say

@pytest.mark.parametrize("status", [402, 406, 409, 411, 414, 418, 423, 424, 426, 428, 431, 451, 499])
def test_71_other_refusals_are_skipped_at_once(source, relay, desk, status):
    relay.allow("message_skipped", "attempt_.*")
    desk.next_actions.append(Answer(status))
    source.send("bad")
    source.send("good")
    relay.wait_settled()
    assert desk.keys() == ["good"] and len(desk.posts()) == 2
    assert [(m["attempts"], m["reason"]) for m in relay.messages(state="skipped")] == [(1, "rejected")]


@pytest.mark.parametrize("status", [500, 501, 505, 507, 520, 529, 599, 600, 700, 999])
def test_71_failures_and_unknown_statuses_are_tried_again_and_counted(source, relay, desk, status):
    relay.allow("attempt_.*")
    desk.next_actions.append(Answer(status))
    source.send("m0")
    source.send("m1")
    relay.wait_settled()
    assert desk.keys() == ["m0", "m1"]
    assert len({r.notes["webhook_id"] for r in desk.posts() if r.notes["key"] == "m0"}) == 1


ODD = {"200 with an error inside": Answer(200, errors("server_error", "no")), "200 of another type": Answer(200, {"type": "admin", "id": "7"}),
       "201 without an id": Answer(201, {"type": "conversation"}), "202 and nothing": Answer(202), "204": Answer(204), "200 and null": Answer(200, b"null", [("Content-Type", "application/json")]),
       "an id that is a list": Answer(200, {"type": "conversation", "id": ["1"], "conversation_id": ["1"]}),
       "an id that leaves its place": Answer(200, {"type": "user_message", "id": "../../me", "conversation_id": "1/../../contacts?x="}),
       "an id of a MiB": Answer(200, {"type": "user_message", "id": "1" * (1 << 20), "conversation_id": "2" * (1 << 20)})}


@pytest.mark.parametrize("what", ["contact", "create", "reply"])
@pytest.mark.parametrize("name", ODD)
def test_71_success_that_says_something_else(line, intercom, what, name):  # noqa: F811
    """The desk took it and says nonsense: it is there once and the lane goes on."""
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    if what == "reply":
        line.first()
    intercom.fault({"contact": IS_CONTACT, "create": IS_CREATE, "reply": IS_REPLY}[what], ODD[name], apply=True)
    line.say("m1")
    line.say("m2")
    line.assert_once_in_order()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", ["contact", "create", "reply"])
def test_71_token_does_not_follow_a_redirect(line, intercom, what, status):  # noqa: F811
    line.relay.allow("desk_suspended", "attempt_.*", "message_.*")
    elsewhere = Server()
    try:
        if what == "reply":
            line.first()
        intercom.fault({"contact": IS_CONTACT, "create": IS_CREATE, "reply": IS_REPLY}[what], Answer(status, headers=[("Location", elsewhere.url + "/in")]))
        line.say("m1")
        line.say("m2")
        line.assert_once_in_order()
        assert not elsewhere.connections
    finally:
        elsewhere.stop()


@pytest.mark.parametrize("value", ["99999999999999999999", "31536000", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_71_huge_retry_after_is_an_hour_at_most(source, relay, desk, value):
    """And a person may end it at once."""
    relay.allow("desk_suspended")
    desk.next_actions.append(Answer(429, headers=[("Retry-After", value)]))
    source.send("m0")
    state = wait_for(lambda: next((d for d in relay.status()["desks"] if d["state"] == "suspended" and d["until"]), None), "suspended")
    until = time.mktime(time.strptime(state["until"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert time.time() < until <= time.time() + 3700
    assert relay.api("POST", "/api/v1/accounts/acme/desk/resume").status in (200, 202, 204)
    relay.wait_settled()
    assert desk.keys() == ["m0"]


# 53: credentials that change at the desk

def test_53_token_rotated_at_the_desk(line, intercom):  # noqa: F811
    """401: suspended with an alarm, a few probes and no more, nothing counted, nothing lost; the new token by reload, and it goes on."""
    line.relay.allow("desk_suspended", "alarm", "alarm_end")
    line.first()
    fresh = TOKEN + "-rotated"
    intercom.script = lambda r: Answer(401, errors("unauthorized", "Access Token Invalid")) if r.headers.get("authorization") != "Bearer " + fresh else swap(r)

    def swap(request):  # the scripted desk knows one token
        request.headers["authorization"] = "Bearer " + TOKEN
        return None
    for i in range(5):
        line.say(f"m{i}")
    wait_for(lambda: line.relay.status()["alarms"], "an alarm")
    asked = len(intercom.journal)
    time.sleep(1.5)  # what is measured: that little happens
    assert len(intercom.journal) - asked <= 3, "hammered"
    status = line.relay.status()
    assert [d["state"] for d in status["desks"]] == ["suspended"] and status["pending"] == 5
    line.relay.config["accounts"][0]["desk"]["token"] = fresh
    line.relay.write_config()
    line.relay.cli("reload", "--socket", line.relay.socket)
    line.assert_once_in_order()
    wait_for(lambda: not line.relay.status()["alarms"], "the alarm ends")
    assert all(m["attempts"] <= 1 for m in line.relay.messages())


# 78: the desk's own people

def test_78_conversation_deleted_between_two_messages_of_a_burst(line, intercom):  # noqa: F811
    """Again and again: each time a new one takes its place, nothing is lost and the order stays."""
    for i in range(4):
        line.say(f"a{i}")
        line.say(f"b{i}")
        line.settled()
        intercom.delete_conversation(list(intercom.conversations)[-1])
    line.assert_once_in_order()
    assert len(intercom.conversations) == 4 and len(intercom.contacts) == 1


def test_78_contact_archived_and_deleted_in_between(line, intercom):  # noqa: F811
    line.relay.allow("attempt_.*", "desk_suspended")
    line.say("m0")
    line.settled()
    contact = next(iter(intercom.contacts.values()))
    contact["archived"] = True
    line.say("m1")
    line.say("m2")
    line.assert_once_in_order()
