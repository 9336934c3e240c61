"""What the world may send to `listen`, and mean by it: lines 15 to 36 of the list of hostile inputs (docs/hostile-inputs.md says which
test is which line's). One relay for all tests of this file; each looks at what it added."""
import base64
import hashlib
import hmac
import json
import socket
import struct
import time

import pytest

from harness.client import RawConnection, WebhookSource, call
from harness.common import CANARY, SLOW, make_secret, sign, text_of, wait_for
from harness.desk import ScriptedDesk
from harness.relay import Relay, account, webhook_source
from harness.telegram import ScriptedTelegram

PUBLIC = "https://relay.example.test"
TOKENS = {"acme": "123456789:AAkanarieTelegramToken_0123456789abcd", "zenith": "987654321:AAkanarieOtherTelegramToken_abcdefghij"}


class Rig:
    """A relay with two accounts, each with a signed source, an open one and a bot."""

    def __init__(self, directory):
        self.desk = ScriptedDesk()
        self.bots = {name: ScriptedTelegram(token=token) for name, token in TOKENS.items()}
        self.secrets = {name: make_secret() for name in TOKENS}
        accounts = [account(name, self.desk.config(), [webhook_source("site", self.secrets[name]), webhook_source("open"), self.bots[name].config()],
                            order="conversation") for name in TOKENS]
        self.relay = Relay(directory, accounts, public_url=PUBLIC).allow("alarm", "alarm_end", "same_key_other_event").start()
        for name, bot in self.bots.items():
            bot.wait_registered(f"{PUBLIC}/hooks/{name}/bot")
        self.site = WebhookSource(self.relay, "acme", "site", self.secrets["acme"])
        self.open = WebhookSource(self.relay, "acme", "open")
        self.bot = self.bots["acme"]

    def accepted(self):
        return self.relay.status()["accepted"]

    def telegram(self, update, **more):
        return self.bot.post(self.relay, "acme", update, **more)

    def raw_telegram(self, update):
        body = json.dumps(update).encode()
        head = (f"POST /hooks/acme/bot HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                f"X-Telegram-Bot-Api-Secret-Token: {self.bot.webhook['secret']}\r\n\r\n")
        return head.encode() + body

    def texts(self, **filters):
        return [m["text"] for m in self.relay.messages(**filters)]

    def alarms(self, name):
        return [(a["subject"], a["text"]) for a in self.relay.status()["alarms"] if a["name"] == name]

    def counted(self, answer, platform="webhook"):
        return self.relay.metrics()[f'tributary_webhooks_total{{platform="{platform}",answer="{answer}"}}']


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("hostile"))
    yield rig
    try:
        rig.relay.wait_settled()
        rig.relay.verify()
    finally:
        rig.relay.finish()
        rig.desk.stop()
        for bot in rig.bots.values():
            bot.stop()
    assert not rig.desk.trouble, rig.desk.trouble[:5]


@pytest.fixture
def nothing_stored(rig):
    """What the test sends leaves nothing in the store."""
    before = rig.accepted()
    yield
    assert rig.accepted() == before


# HTTP, the rest

HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)


@pytest.mark.parametrize("data", [HELLO, b"\x80\x2e\x01\x00\x02" + bytes(40), bytes([0x16, 3, 1, 0, 1, 1]) * 50_000, b"\x15\x03\x03\x00\x02\x01\x00"], ids=["hello", "SSLv2", "record flood", "alert"])
def test_15_tls_at_our_port_is_no_http(rig, nothing_stored, data):
    """TLS is a proxy's work; whoever speaks it to us is told so in HTTP, and others are served."""
    with RawConnection(rig.relay.port) as connection:
        connection.try_send(data)
        assert [a.status for a in connection.answers()] in ([400], [])
    assert call(rig.relay.port, "GET", "/healthz").status == 200


FORWARDED = {"X-Forwarded-For": "203.0.113.66", "X-Real-IP": "203.0.113.66", "Forwarded": "for=203.0.113.66;host=evil.example;proto=https", "X-Forwarded-Host": "evil.example",
             "X-Forwarded-Proto": "https", "True-Client-IP": "203.0.113.66", "CF-Connecting-IP": "203.0.113.66", "X-Original-URL": "/hooks/zenith/open", "X-Rewrite-URL": "/hooks/zenith/open"}


def test_16_forwarded_headers_are_ignored(rig):
    """They neither lead a request elsewhere nor come into the log, from one who may send or from one who may not."""
    event = rig.site.event("l16-a")
    assert rig.site.post(event, FORWARDED).status == 200
    assert rig.site.post(event, {**FORWARDED, "webhook-signature": "v1,AAAA"}).status == 401
    message = next(m for m in rig.relay.messages() if m["text"] == event["text"])
    assert (message["account"], message["source"]) == ("acme", "site")
    log = "\n".join(rig.relay.lines)
    assert "203.0.113.66" not in log and "evil.example" not in log


@pytest.mark.parametrize("preamble", [b"PROXY TCP4 203.0.113.66 127.0.0.1 4000 80\r\n", b"PROXY UNKNOWN\r\n", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x42\x7f\x00\x00\x01\x0f\xa0\x00\x50"],
                         ids=["v1", "v1 unknown", "v2"])
def test_16_proxy_protocol_is_refused(rig, nothing_stored, preamble):
    with RawConnection(rig.relay.port) as connection:
        connection.try_send(preamble + rig.open.raw(rig.open.event("l16-proxy")))
        assert all(a.status == 400 for a in connection.answers())


@pytest.mark.parametrize("query", ["hub.mode=subscribe&hub.verify_token=guess&hub.challenge=%3Cscript%3Ealert(1)%3C/script%3E", "hub.challenge=12345", "crc_token=12345", "challenge=<b>x</b>".replace("<", "%3C"),
                                   "validationToken=echo-me", "hub.challenge=" + "9" * 4000], ids=["meta", "no token", "crc", "html", "graph", "huge"])
def test_17_a_handshake_that_no_platform_here_has_echoes_nothing(rig, query):
    for source in ("site", "open", "bot"):
        answer = call(rig.relay.port, "GET", f"/hooks/acme/{source}?{query}")
        assert answer.status == 405 and answer.headers["allow"] == "POST"
        assert answer.headers["content-type"] == "application/problem+json"
        for echo in (b"script", b"12345", b"<b>", b"echo-me", b"99999"):
            assert echo not in answer.body


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "PURGE"])
def test_18_other_methods_are_405_and_told_what_is_allowed(rig, nothing_stored, method):
    event = rig.open.event("l18")
    answer = call(rig.relay.port, method, "/hooks/acme/open", json.dumps(event).encode(), {"Content-Type": "application/json", "X-Kanarie": "trace-me"})
    assert answer.status == 405 and answer.headers["allow"] == "POST"
    assert b"trace-me" not in answer.body
    answer = call(rig.relay.port, "POST" if method in ("GET", "HEAD") else method, "/healthz")
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


def test_18_connect_opens_no_tunnel(rig, nothing_stored):
    with RawConnection(rig.relay.port) as connection:
        connection.send(f"CONNECT 127.0.0.1:{rig.relay.admin_port} HTTP/1.1\r\nHost: 127.0.0.1:{rig.relay.admin_port}\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert [a.status for a in connection.answers()] == [405]


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_18_method_overrides_are_ignored(rig, header):
    for method in ("GET", "DELETE", "TRACE"):
        event = rig.open.event(f"l18-{header}-{method}")
        assert rig.open.post(event, {header: method}).status == 200
        assert event["text"] in rig.texts()


def test_18_a_flood_of_options_costs_nobody_else_anything(rig):
    flood = b"OPTIONS /hooks/acme/open HTTP/1.1\r\nHost: relay\r\n\r\n"
    for i in range(300 // SLOW):  # each is the last of its connection
        with RawConnection(rig.relay.port) as connection:
            connection.try_send(flood * 3)
            assert [a.status for a in connection.answers()] == [405]
        if i % 50 == 0:
            assert rig.open.post(rig.open.event(f"l18-flood-{i}")).status == 200


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("platform", ["webhook", "telegram"])
def test_19_client_gone_before_our_200_event_is_kept_once(rig, platform, ending):
    """It sends the whole request and leaves at once; the retry is answered 200 and adds nothing."""
    before, count = rig.accepted(), 10
    for i in range(count):
        key = f"l19-{platform}-{ending}-{i}"
        event = rig.open.event(key) if platform == "webhook" else rig.bot.message(key)
        with RawConnection(rig.relay.port) as connection:
            if ending == "reset":
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.send(rig.open.raw(event) if platform == "webhook" else rig.raw_telegram(event))
        answer = rig.open.post(event) if platform == "webhook" else rig.telegram(event)
        assert answer.status == 200
    wait_for(lambda: rig.accepted() == before + count, "each stored once")
    assert rig.accepted() == before + count


@pytest.mark.parametrize("platform", ["webhook", "telegram"])
def test_20_our_200_is_written_but_a_reset_arrives_event_is_kept_once(rig, platform):
    """Stored and answered; the client resets without having read the answer, then sends again."""
    for i in range(5):
        before = rig.accepted()
        key = f"l20-{platform}-{i}"
        event = rig.open.event(key) if platform == "webhook" else rig.bot.message(key)
        with RawConnection(rig.relay.port) as connection:
            connection.send(rig.open.raw(event) if platform == "webhook" else rig.raw_telegram(event))
            wait_for(lambda: rig.accepted() == before + 1, "stored")
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        answer = rig.open.post(event) if platform == "webhook" else rig.telegram(event)
        assert answer.status == 200 and rig.accepted() == before + 1


# Signatures

def signature_variants(rig, body, good):
    secret, at, right = rig.secrets["acme"], good["webhook-timestamp"], good["webhook-signature"]
    digest = base64.b64decode(right[3:])
    key = base64.b64decode(secret[6:])
    mac = lambda data, how=hashlib.sha256, k=key: "v1," + base64.b64encode(hmac.new(k, data, how).digest()).decode()
    signed = f"evt_21.{at}.".encode() + body
    return {
        "missing": None, "empty": "", "only a version": "v1,", "only a version and blanks": "v1,    ", "cut by one": right[:-1], "cut to half": right[:25], "longer by one": right + "A",
        "twice in one": right + right[3:], "no padding": right.rstrip("="), "lower case": "v1," + right[3:].lower(), "upper case": "v1," + right[3:].upper(), "version in capitals": "V1" + right[2:],
        "other version": "v2" + right[2:], "asymmetric version": "v1a" + right[2:], "no version": right[3:], "hexadecimal": "v1," + digest.hex(), "hexadecimal with sha256=": "sha256=" + digest.hex(),
        "base64 of hexadecimal": "v1," + base64.b64encode(digest.hex().encode()).decode(), "blank inside": right[:20] + " " + right[20:], "comma list": "v1,AAAA," + right[3:],
        "right for the body alone": mac(body), "right for id and body": mac(b"evt_21." + body), "right with SHA-1": mac(signed, hashlib.sha1), "right with SHA-512": mac(signed, hashlib.sha512),
        "right with the secret's text as key": mac(signed, k=secret.encode()), "right with an empty key": mac(signed, k=b""), "right for another account": sign(rig.secrets["zenith"], "evt_21", at, body),
        "right for another id": sign(secret, "evt_22", at, body), "right for another time": sign(secret, "evt_21", str(int(at) - 1), body),
        "right for another body": sign(secret, "evt_21", at, body + b" "), "zeros": "v1," + base64.b64encode(bytes(32)).decode(), "many wrong ones": " ".join(["v1," + "A" * 44] * 100),
    }


def test_21_every_wrong_signature_is_401(rig, nothing_stored):
    body = json.dumps(rig.site.event("l21")).encode()
    good = rig.site.signed(body, "evt_21")
    before = rig.counted("forged")
    variants = signature_variants(rig, body, good)
    wrong = {name: answer for name, answer in ((n, rig.site.post(body, {**good, "webhook-signature": v})) for n, v in variants.items()) if answer.status != 401}
    assert not wrong, wrong
    assert rig.counted("forged") == before + len(variants)
    for headers in ([("webhook-signature", good["webhook-signature"])] * 2, [("webhook-signature", "v1,AAAA"), ("webhook-signature", good["webhook-signature"])]):
        lines = "".join(f"{k}: {v}\r\n" for k, v in [(k, v) for k, v in good.items() if k != "webhook-signature"] + headers)
        with RawConnection(rig.relay.port) as connection:
            connection.send(f"POST {rig.site.target} HTTP/1.1\r\nHost: relay\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body)
            assert connection.answer().status == 401, "two headers: which one counts could be seen differently"


def test_21_a_signature_right_for_another_account_or_source_is_401(rig, nothing_stored):
    body = json.dumps(rig.site.event("l21-b")).encode()
    for target in ("/hooks/zenith/site", "/hooks/acme/bot", "/hooks/zenith/bot"):
        assert call(rig.relay.port, "POST", target, body, rig.site.signed(body)).status == 401, target
    update = rig.bot.message("l21-c")
    assert rig.bot.post(rig.relay, "zenith", update).status == 401, "the secret of another account's bot"


def test_21_every_wrong_telegram_secret_is_401(rig, nothing_stored):
    right, update = rig.bot.webhook["secret"], rig.bot.message("l21-d")
    for name, secret in {"missing": "", "cut": right[:-1], "longer": right + "x", "other case": right.swapcase(), "twice": right + right, "first half": right[:len(right) // 2], "reversed": right[::-1],
                         "quoted": f'"{right}"', "the bot's token": TOKENS["acme"], "another bot's": rig.bots["zenith"].webhook["secret"], "huge": "x" * 8000}.items():
        assert rig.telegram(update, secret=secret).status == 401, name
    for change in ({"Authorization": "Bearer " + right}, {"X-Telegram-Bot-Api-Secret": right}):
        assert rig.telegram(update, secret="", headers=change).status == 401, change
    body = json.dumps({**update, "secret_token": right}).encode()
    assert call(rig.relay.port, "POST", f"/hooks/acme/bot?secret_token={right}", body, {"Content-Type": "application/json"}).status == 401, "in the URL or the body it is none"
    with RawConnection(rig.relay.port) as connection:
        connection.send(rig.raw_telegram(update).replace(b"\r\n\r\n", f"\r\nX-Telegram-Bot-Api-Secret-Token: {right}\r\n\r\n".encode(), 1))
        assert connection.answer().status == 401, "two headers"


SPELLINGS = {
    "emoji escaped": lambda e: json.dumps(e, ensure_ascii=True), "emoji as it is": lambda e: json.dumps(e, ensure_ascii=False), "slash escaped": lambda e: json.dumps(e).replace("/", "\\/"),
    "keys in another order": lambda e: json.dumps(dict(reversed(e.items()))), "with blanks": lambda e: json.dumps(e, indent=7), "without blanks": lambda e: json.dumps(e, separators=(",", ":")),
    "letters escaped": lambda e: json.dumps(e).replace("good", "\\u0067\\u006F\\u006fd"), "line ends": lambda e: json.dumps(e, indent=1).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_22_the_raw_bytes_decide(rig, spelling):
    """Signed over another spelling of the same JSON: 401. Signed over these bytes: taken, and the text is what was meant."""
    event = rig.site.event("l22-" + spelling.replace(" ", "-"), words="good 😀 a/b")
    body = SPELLINGS[spelling](event).encode()
    for other in SPELLINGS.values():
        if other(event).encode() != body:
            signed = rig.site.signed(other(event).encode(), "evt_22")
            assert rig.site.post(body, signed).status == 401
    assert rig.site.post(body).status == 200
    assert event["text"] in rig.texts()


# Time

@pytest.mark.parametrize("stamp", [None, "", " ", "now", "0", "-1", "-{now}", "{now}.0", "{now}e0", "0x{now:x}", "+{now}", "{now}000", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
                                   "18446744073709551616", "9" * 400, "1{now}", "{old}", "{future}", "１２３"], ids=str)
def test_23_timestamps_out_of_the_window_are_401(rig, stamp):
    """Each rightly signed, as far as it can be; among them one in milliseconds, as a sender of the wrong unit would write it."""
    body = json.dumps(rig.site.event("l23")).encode()
    now, before = int(time.time()), rig.accepted()
    value = None if stamp is None else stamp.replace("{now:x}", f"{now:x}").replace("{now}", str(now)).replace("{old}", str(now - 310)).replace("{future}", str(now + 330))
    headers = {"webhook-timestamp": None if value is None else value.encode(), "webhook-id": "evt_23", "webhook-signature": sign(rig.site.secret, "evt_23", value or "", body)}
    assert rig.site.post(body, headers).status == 401
    assert rig.accepted() == before
    assert rig.site.post(rig.site.event("l23-right")).status == 200  # so that they are not many in a row


def test_23_a_wrong_clock_raises_an_alarm_until_a_message_is_taken(rig):
    """Ten minutes off, ours or theirs: nothing gets in, and it is said who is how far off. Forged ones raise nothing."""
    source = WebhookSource(rig.relay, "zenith", "site", rig.secrets["zenith"])
    untimely = rig.counted("untimely")

    def post(key, offset_s, secret=None):
        body = json.dumps(source.event(key)).encode()
        stamp = str(int(time.time()) + offset_s)
        headers = {**source.signed(body, "evt_" + key, stamp), "webhook-signature": sign(secret or source.secret, "evt_" + key, stamp, body)}
        return source.post(body, headers)
    for i in range(20):
        assert post(f"l23-f{i}", -600, make_secret()).status == 401
    assert not rig.alarms("webhook_clock")
    for i in range(6):
        answer = post(f"l23-c{i}", -600)
        assert answer.status == 401 and "clock" in answer.json["detail"]
    (subject, text), = rig.alarms("webhook_clock")
    assert subject == "zenith/site" and any(f" {n} s behind this machine's clock" in text for n in range(600, 605))
    assert rig.relay.metrics()['tributary_alarm{name="webhook_clock"}'] == 1
    assert rig.counted("untimely") == untimely + 6
    rig.relay.wait_event("alarm", lambda e: e["name"] == "webhook_clock")  # the log follows the board
    assert [e["subject"] for e in rig.relay.logged("alarm") if e["name"] == "webhook_clock"] == ["zenith/site"], "said once"
    assert post("l23-good", 0).status == 200
    assert not rig.alarms("webhook_clock")
    rig.relay.wait_event("alarm_end", lambda e: e["name"] == "webhook_clock")


def test_24_replay_of_a_valid_request(rig):
    """Inside the window: 200, dropped as a duplicate. Outside: 401. An old body signed anew is a duplicate too."""
    event = rig.site.event("l24")
    body = json.dumps(event).encode()
    now = int(time.time())
    captured = rig.site.signed(body, "evt_24", now - 200)
    before = rig.accepted()
    for _ in range(5):
        assert rig.site.post(body, captured).status == 200
    assert rig.accepted() == before + 1
    assert rig.site.post(body, rig.site.signed(body, "evt_24", now - 301)).status == 401
    assert rig.site.post(body).status == 200
    assert rig.accepted() == before + 1
    update = rig.bot.message("l24-t")  # Telegram signs nothing: its update_id alone tells
    for _ in range(5):
        assert rig.telegram(update).status == 200
    assert rig.accepted() == before + 2


# Secrets that change

def reload(rig):
    rig.relay.write_config()
    rig.relay.cli("reload", "--socket", rig.relay.socket)


def source_config(rig, account_name, source):
    return next(s for a in rig.relay.config["accounts"] if a["name"] == account_name for s in a["sources"] if s["name"] == source)


def test_25_a_webhook_secret_is_rotated_without_a_gap(rig):
    """The sender signs with both while it changes; we know one at a time, and one right signature suffices."""
    old, new = rig.secrets["zenith"], make_secret()
    source = WebhookSource(rig.relay, "zenith", "site", old)

    def post(key, *secrets):
        body = json.dumps(source.event(key)).encode()
        headers = source.signed(body, "evt_" + key)
        return source.post(body, {**headers, "webhook-signature": " ".join(sign(s, "evt_" + key, headers["webhook-timestamp"], body) for s in secrets)}).status
    assert post("l25-a", old) == 200 and post("l25-b", new) == 401
    assert post("l25-c", new, old) == 200, "overlap, before our change"
    source_config(rig, "zenith", "site")["secret"] = rig.secrets["zenith"] = new
    reload(rig)
    assert post("l25-d", new, old) == 200, "overlap, after our change"
    assert post("l25-e", new) == 200 and post("l25-f", old) == 401


def test_25_a_telegram_secret_is_rotated(rig):
    """It is registered with Telegram at once; what Telegram still signs with the old one is refused, so that it sends it again."""
    bot, old = rig.bots["zenith"], rig.bots["zenith"].webhook["secret"]
    source_config(rig, "zenith", "bot")["secret"] = "kanarie-rotated-secret"
    reload(rig)
    wait_for(lambda: bot.webhook["secret"] == "kanarie-rotated-secret", "the new secret is registered")
    assert bot.webhook["url"] == f"{PUBLIC}/hooks/zenith/bot"
    update = bot.message("l25-t")
    assert bot.post(rig.relay, "zenith", update, secret=old).status == 401
    assert bot.post(rig.relay, "zenith", update).status == 200
    assert text_of("l25-t") in rig.texts()


# What the JSON may be

HEAD = '{"id":"%s","conversation":"c26","sender":{"id":"1","name":"n"},"text":"%s ' + CANARY
ODD = {  # name: (what follows in the text, what follows the text, how it may end)
    "a key twice": ('"', ',"text":"x"', 400), "a key twice, escaped": ('"', ',"\\u0074ext":"x"', 400), "id twice": ('"', ',"id":"other"', 400),
    "nest of 100,000 unread": ('"', ',"x":' + "[" * 100_000 + "]" * 100_000, 200), "nest of objects": ('"', ',"x":' + '{"a":' * 50_000 + "1" + "}" * 50_000, 200),
    "nest unclosed": ('"', ',"x":' + "[" * 100_000, 400), "1e400": ('"', ',"x":1e400', 400), "1e308": ('"', ',"x":1e308', 200), "a number of 10,000 digits": ('"', ',"x":' + "9" * 10_000, (200, 400)),
    "-0": ('"', ',"x":-0', 200), "leading zero": ('"', ',"x":01', 400), "NaN": ('"', ',"x":NaN', 400), "Infinity": ('"', ',"x":-Infinity', 400), "hexadecimal": ('"', ',"x":0x1', 400),
    "lone high surrogate": ('\\ud800"', "", 400), "lone low surrogate": ('\\udc00"', "", 400), "surrogates swapped": ('\\udc00\\ud800"', "", 400), "a good pair": ('\\ud83d\\ude00"', "", 200),
    "invalid UTF-8": ('\xff"', "", 400), "overlong": ('\xc0\xaf"', "", 400), "a surrogate in UTF-8": ('\xed\xa0\u0080"', "", 400), "beyond Unicode": ('\xf4\u0090\u0080\u0080"', "", 400), "cut sequence": ('\xe2\u0082"', "", 400),
    "NUL escaped": ('\\u0000end"', "", 400), "NUL raw": ('\0end"', "", 400), "a control raw": ('\x01"', "", 400), "a line end raw": ('\n"', "", 400), "noncharacter": ('\\uffff"', "", 200),
    "comment": ('"', ',/* x */"x":1', 400), "trailing comma": ('"', ",", 400), "trailing words": ('"', None, 400), "single quotes": ('"', ",'x':1", 400),
}


def odd_body(key, name, head=HEAD):
    """(bytes, how it may end, the text when it is taken)"""
    in_text, behind, expected = ODD[name]
    body = head % (key, key) + in_text + ("} x" if behind is None else behind + "}")
    end = {"a good pair": "😀", "noncharacter": "\uffff"}.get(name, "")
    return body.encode("latin-1"), expected if isinstance(expected, tuple) else (expected,), f"{key} {CANARY}{end}"


@pytest.mark.parametrize("name", ODD)
def test_26_odd_json_to_a_signed_source_is_refused_or_taken_whole(rig, name):
    before = rig.accepted()
    body, expected, text = odd_body("l26-" + name.replace(" ", "-"), name)
    status = rig.site.post(body).status
    assert status in expected
    assert rig.accepted() == before + (status == 200)
    assert (text in rig.texts(conversation="c26")) == (status == 200)


UPDATE = '{"update_id":%s,"message":{"message_id":1,"date":1700000000,"chat":{"id":26,"type":"private","first_name":"A"},"from":{"id":26,"is_bot":false,"first_name":"A"},"text":"%s ' + CANARY
TELEGRAM_MAY_DIFFER = {  # Telegram's own JSON is not ours to be strict about: what is odd is taken, and kept as it came
    "a key twice": 200, "a key twice, escaped": 200, "id twice": 200, "NUL escaped": 200}


@pytest.mark.parametrize("name", ODD)
def test_26_odd_json_to_telegram_is_refused_or_taken_whole(rig, name):
    """Taken with its text to the last character; where a key stands twice, the event is kept byte by byte beside it."""
    before, number = rig.accepted(), 26_000_000 + list(ODD).index(name)
    in_text, behind, expected = ODD[name]
    behind = ',"chat":{"id":27,"type":"private"}' if name == "id twice" else behind
    key = "l26-t-" + name.replace(" ", "-")
    body = (UPDATE % (number, key) + in_text + ("} x" if behind is None else behind + "}}")).encode("latin-1")
    status = rig.telegram(body).status
    expected = TELEGRAM_MAY_DIFFER.get(name, expected)
    assert status in (expected if isinstance(expected, tuple) else (expected,))
    assert rig.accepted() == before + (status == 200)
    if status == 200:
        text = f"{key} {CANARY}" + {"a good pair": "😀", "noncharacter": "\uffff", "NUL escaped": "\ufffdend"}.get(name, "")
        assert text in rig.texts(conversation="26")
    if "twice" in name:
        kept, = rig.relay.query("SELECT raw FROM messages WHERE text LIKE ?", key + " %")[0]
        assert kept is not None and kept.encode() == body


@pytest.mark.parametrize("kind", ["BOM", "UTF-16", "UTF-32", "two documents", "a list", "a number", "a word", "nothing but blanks", "concatenated", "multipart", "form"])
def test_26_what_is_no_json_object_of_utf_8_is_400(rig, nothing_stored, kind):
    for post, text in ((rig.site.post, json.dumps(rig.site.event("l26-x"))), (rig.telegram, json.dumps(rig.bot.message("l26-y")))):
        body = {"BOM": b"\xef\xbb\xbf" + text.encode(), "UTF-16": text.encode("utf-16"), "UTF-32": text.encode("utf-32-be"), "two documents": (text + "\n" + text).encode(), "a list": b"[" + text.encode() + b"]",
                "a number": b"1", "a word": b"hello", "nothing but blanks": b" \n ", "concatenated": (text + text).encode(), "multipart": b"--x\r\n\r\n" + text.encode() + b"\r\n--x--", "form": b"payload=" + text.encode()}[kind]
        assert post(body).status == 400


# Batches, ids, kinds

def test_27_a_batch_is_refused_whole(rig, nothing_stored):
    """Both platforms here send one event per request: a list of a thousand is none of them, whether all are good or one is bad."""
    good = [rig.site.event(f"l27-{i}") for i in range(1000)]
    updates = [rig.bot.message(f"l27-t{i}") for i in range(1000)]
    for batch in (good, good[:500] + [{"bad": 1}] + good[500:], {"events": good}, [good[0]]):
        assert rig.site.post(json.dumps(batch).encode()).status == 400
    for batch in (updates, updates[:500] + [{"bad": 1}] + updates[500:], {"ok": True, "result": updates}, [updates[0]]):
        assert rig.telegram(json.dumps(batch).encode()).status == 400


def test_28_same_id_with_other_content_and_same_content_with_other_ids(rig):
    """To a signed source the id alone tells: the first one stays. Other ids are other messages, whatever they say."""
    before = rig.accepted()
    first = rig.site.event("l28", "c28", words="first")
    assert rig.site.post(first).status == 200
    assert rig.site.post({**first, "text": text_of("l28", "second"), "conversation": "other"}).status == 200
    assert rig.accepted() == before + 1 and text_of("l28", "second") not in rig.texts()
    for i in range(3):
        assert rig.site.post(json.dumps({**first, "id": f"l28-{i}"}).encode()).status == 200
    assert rig.accepted() == before + 4 and rig.texts(conversation="c28").count(first["text"]) == 4


IDS = {"0": "0", "1": "1", "-1": "-1", "2^53": str(2**53), "2^53+1": str(2**53 + 1), "2^63-1": str(2**63 - 1), "-2^63": str(-2**63)}
NO_IDS = {"2^63": str(2**63), "2^64": str(2**64), "a text": '"28"', "a fraction": "28.5", "an exponent": "28e0", "true": "true", "null": "null", "a list": "[28]", "-0": "-0", "an object": "{}"}


@pytest.mark.parametrize("name", IDS)
def test_28_whole_numbers_are_told_apart_to_the_last_bit(rig, name):
    before = rig.accepted()
    update = json.dumps(rig.bot.message("l28-u" + name))
    number = json.loads(update)["update_id"]
    body = update.replace(f'"update_id": {number}', f'"update_id": {IDS[name]}').replace('"id": 77', f'"id": {IDS[name]}').encode()
    for _ in range(2):
        assert rig.telegram(body).status == 200
    assert rig.accepted() == before + 1
    assert [m["conversation"] for m in rig.relay.messages(conversation=IDS[name]) if m["text"] == text_of("l28-u" + name)] == [IDS[name]]


@pytest.mark.parametrize("name", NO_IDS)
def test_28_what_is_no_whole_number_is_400(rig, nothing_stored, name):
    update = json.dumps(rig.bot.message("l28-n"))
    number = json.loads(update)["update_id"]
    if name != "-0":  # a zero all the same
        assert rig.telegram(update.replace(f'"update_id": {number}', f'"update_id": {NO_IDS[name]}').encode()).status == 400
        assert rig.telegram(update.replace('"id": 77', f'"id": {NO_IDS[name]}').encode()).status == 400
    for field in ("id", "conversation"):
        if name != "a text":  # there an id is one
            event = json.dumps({**rig.site.event("l28-n"), field: "@@"}).replace('"@@"', NO_IDS[name])
            assert rig.site.post(event.encode()).status == 400


def test_29_equal_ids_of_two_accounts_are_two_messages(rig):
    before = rig.accepted()
    update = rig.bot.message("l29")
    for name in ("acme", "zenith"):
        event = WebhookSource(rig.relay, name, "open").event("l29-same")
        assert WebhookSource(rig.relay, name, "open").post(event).status == 200
        assert rig.bots[name].post(rig.relay, name, update).status == 200
    assert rig.accepted() == before + 4
    assert sorted(m["account"] for m in rig.relay.messages() if m["text"] in (text_of("l29"), text_of("l29-same"))) == ["acme", "acme", "zenith", "zenith"]


def test_30_what_refers_to_a_message_never_seen_is_taken_in_order(rig):
    """Edited, quoted, a button under one, a reaction, a message that was deleted: readable lines in the order in which they came."""
    chat = {"id": 3030, "type": "private", "first_name": "Ada"}
    sender = {"id": 3030, "is_bot": False, "first_name": "Ada"}
    update = lambda number, kind, content: {"update_id": 30_000_000 + number, kind: content}
    told = {"message_id": 990, "date": 1700000000, "chat": chat, "from": sender}
    listed = [
        update(1, "edited_message", {**told, "edit_date": 1700000100, "text": text_of("l30-edited")}),
        update(2, "message", {**told, "message_id": 991, "text": text_of("l30-quoting"), "reply_to_message": {**told, "message_id": 7, "text": "long gone"}}),
        update(3, "callback_query", {"id": "1", "from": sender, "message": {"message_id": 8, "date": 0, "chat": chat}, "data": "l30-button", "chat_instance": "x"}),
        update(4, "message_reaction", {"chat": chat, "message_id": 9, "date": 1700000000, "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": "x"}]}),
        update(5, "deleted_business_messages", {"business_connection_id": "b", "chat": chat, "message_ids": [10, 11]}),
        update(6, "message", {**told, "message_id": 992, "text": text_of("l30-last")}),
    ]
    for one in listed:
        assert rig.telegram(one).status == 200
    texts = rig.texts(conversation="3030")
    assert len(texts) == 5
    for text, part in zip(texts, ("(edited) l30-edited", "l30-quoting", "l30-button", "(reacted to a message: x)", "l30-last")):
        assert part in text
    assert rig.texts(conversation="3030:business:b") == ["(deleted 2 messages)"]
    wait_for(lambda: all(m["state"] == "delivered" for m in rig.relay.messages(conversation="3030")), "all delivered")
    assert [r.notes["body"]["text"] for r in rig.desk.posts() if r.notes["body"]["conversation"] == "3030"] == texts


def test_31_unknown_kinds_are_200_and_counted(rig):
    """A later API: never an error, which Telegram would repeat for ever. It is kept as it came, and sent to nobody."""
    before, sent = rig.accepted(), len(rig.desk.posts())
    for i, content in enumerate(({"id": "q"}, {}, [], None, 7, "text", {"chat": "x"}, {"chat": {"id": "x"}})):
        assert rig.telegram({"update_id": 31_000_000 + i, "brand_new_kind": content}).status == 200
    assert rig.telegram({"update_id": 31_000_100}).status == 200
    assert rig.accepted() == before + 9
    assert rig.relay.query("SELECT count(*) FROM messages WHERE state = 3 AND reason = 7 AND raw IS NOT NULL AND raw LIKE '%310%'") == [(9,)]
    assert rig.telegram({"update_id": 31_000_200, "brand_new_kind": {"chat": {"id": 3131, "type": "private"}, "date": 1700000000, "what": "l31"}}).status == 200
    assert rig.texts(conversation="3131") == ["(Telegram: brand_new_kind)"]
    kept, = rig.relay.query("SELECT raw FROM messages WHERE text = '(Telegram: brand_new_kind)' ORDER BY id DESC")[0]
    assert "l31" in kept, "stored as it came"
    assert [m["reason"] for m in rig.relay.messages(conversation="3131")] == ["unknown_kind"] and len(rig.desk.posts()) == sent
    assert rig.telegram({**rig.bot.message("l31-fields"), "api_version": "99.0"}).status == 200
    assert rig.site.post(rig.site.event("l31-more", version=7, extension={"a": [1]})).status == 200, "fields of a later version are no error"


TEXTS = {"right to left": "\u202egnp.exe\u202c", "zero width": "a\u200b\u200d\u2060b", "a grapheme of 100 KiB": "e" + "\u0301" * 51_200, "script": "<script>alert(1)</script><img src=x onerror=alert(1)>", "Markdown": "**a** [x](javascript:y) `c`",
         "formula": "=cmd|' /C calc'!A0", "terminal": "\x1b]0;x\x07\x1b[2J\u009b2J", "log": '"}\n{"event":"ready","level":"error"}', "SQL": "'; DROP TABLE messages; --", "format": "%s%n%08x{}{0}"}


@pytest.mark.parametrize("name", TEXTS)
def test_34_texts_arrive_as_they_were_sent(rig, name):
    event = rig.site.event("l34-" + name.replace(" ", "-"), "c34", words=TEXTS[name])
    assert rig.site.post(event).status == 200
    wait_for(lambda: [r for r in rig.desk.posts() if r.notes["body"]["text"] == event["text"]], "delivered unchanged")
    assert event["text"] in rig.texts(conversation="c34")


# What it leaves in log and metrics

def test_45_nothing_that_a_stranger_writes_reaches_the_log(rig):
    """In every place of a request that a stranger fills; and no line of the log holds a control of any kind."""
    evil = f'{CANARY}"}}%0d%0a{{"event":"forged"}}'
    raw = f'{CANARY}\x1b[2J\u009b2J'
    known = len(rig.relay.logged("forged"))
    for target in (f"/hooks/{evil}/open", f"/hooks/acme/{evil}", f"/hooks/acme/open?{CANARY}=%1b[2J", f"/{evil}"):
        target = target.replace('"', "%22").replace("{", "%7b").replace("}", "%7d")
        for method in ("POST", "GET"):
            call(rig.relay.port, method, target, b"{}", {"Content-Type": "application/json"})
    for name in ("User-Agent", "Referer", "Cookie", "X-Request-Id", "X-Forwarded-For", "Accept-Language", "Origin", "webhook-id", "webhook-timestamp", "webhook-signature", "Content-Type", "Authorization", "X-Telegram-Bot-Api-Secret-Token"):
        body = json.dumps(rig.site.event("l45")).encode()
        for target in ("/hooks/acme/site", "/hooks/acme/open", "/hooks/acme/bot"):
            call(rig.relay.port, "POST", target, body, {"Content-Type": "application/json", name: f"{CANARY} \u0085{{}}".encode("latin-1")})
    for field in ("id", "conversation"):
        rig.open.post(json.dumps({**rig.open.event("l45"), field: raw}).encode())
    rig.open.post(json.dumps({**rig.open.event("l45-name"), "sender": {"id": CANARY, "name": raw}, "attachments": [{"url": "https://x/" + CANARY, "name": raw, "kind": CANARY, "mime": raw}]}).encode())
    rig.open.post(f"{{{raw}".encode())
    rig.telegram({"update_id": 45_000_000, CANARY: {"chat": {"id": 45, "title": raw}}})
    rig.telegram({"update_id": 45_000_000, "message": {"message_id": 9, "chat": {"id": 45, "title": raw}, "text": raw, "from": {"id": 1, "first_name": raw}}})  # a key known, another event: a warning
    wait_for(lambda: rig.relay.logged("same_key_other_event"), "the warning")
    log = "\n".join(rig.relay.lines)
    assert CANARY not in log and len(rig.relay.logged("forged")) == known
    assert not [c for c in log if ord(c) < 0x20 and c != "\n" or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029\u202e"]


def test_48_labels_of_metrics_are_fixed(rig):
    """Whatever a stranger makes up, no series is added."""
    before = set(rig.relay.metrics())
    for i in range(100):
        word = f"kanarie{i}"
        call(rig.relay.port, "POST", f"/hooks/{word}/{word}", b"{}", {"Content-Type": "application/" + word, "User-Agent": word})
        rig.open.post(json.dumps({**rig.open.event(f"l48-{i}", word), "sender": {"id": word, "name": word}, "platform": word, "direction": word}).encode())
        rig.telegram({"update_id": 48_000_000 + i, word: {"chat": {"id": 48, "type": word}}})
        call(rig.relay.port, "GET", "/" + word)
    assert set(rig.relay.metrics()) - before <= {'tributary_alarm{name="webhook_clock"}'}
    assert "kanarie" not in call(rig.relay.admin_port, "GET", "/metrics").body.decode()
