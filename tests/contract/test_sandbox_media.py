"""Files at both stand-ins: customers' files as updates, getFile and the bytes, what bots upload, change and delete; attachments at the
desk, what is taken back there; and the faults of files. Every answer and update is held to the descriptions."""
import base64
import hashlib
import http.client
import http.server
import socket
import threading
import time
import urllib.parse

import pytest

from sandbox_process import http_call
from test_sandbox_agents import Webhook
from test_sandbox_intercom import ADMIN, Client
from test_sandbox_telegram import TOKEN, TYPES, Bot

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\x40\0\0\0\xf0\x08\2\0\0\0" + bytes(range(256))
OGG, GIF = b"OggS" + bytes(range(256)), b"GIF89a\x40\1\xf0\0" + bytes(100)
MP4 = b"\0\0\0\x20ftypisom" + bytes(100)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def bot(sandbox):
    return Bot(sandbox)


@pytest.fixture
def desk(sandbox):
    return Client(sandbox)


def send_file(sandbox, **said):
    return sandbox.control(sandbox.telegram, "POST", "telegram/file", {"token": TOKEN, "customer": 5, **said})


def file_of(message):
    """The file that a message carries, the largest of a photo."""
    [kind] = [each for each in ("photo", "animation", "voice", "audio", "video", "document") if each in message][:1]
    return kind, message[kind][-1] if kind == "photo" else message[kind]


def get(bot, file_id, status=200):
    path = bot.call("getFile", file_id=file_id)["file_path"]
    answer = http_call(bot.sandbox.telegram, "GET", f"/file/bot{TOKEN}/{path}")
    assert answer.status == status
    return answer.body


def form(bot, method, status=200, boundary="a.b-c", **fields):
    """A call in multipart/form-data; (name, bytes[, type]) is a file."""
    body = b""
    for name, value in fields.items():
        head, data = f'Content-Disposition: form-data; name="{name}"', str(value).encode()
        if isinstance(value, tuple):
            head, data = head + f'; filename="{value[0]}"\r\nContent-Type: {(*value, "application/octet-stream")[2]}', value[1]
        body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n"
    return bot.call(method, status, {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode())


def received(sandbox, chat=5):
    return sandbox.control(sandbox.telegram, "GET", f"telegram/received?chat={chat}")["items"]


# ---- customers' files

@pytest.mark.parametrize("mime, given, kind", [("image/png", None, "photo"), ("image/jpeg", "document", "document"), ("audio/ogg", None, "voice"),
                                               ("audio/mpeg", None, "audio"), ("video/mp4", None, "video"), ("image/gif", None, "animation"),
                                               ("application/pdf", None, "document"), ("", None, "document")])
def test_a_customers_file_is_an_update(sandbox, bot, mime, given, kind):
    made = send_file(sandbox, size=5000, mime=mime, file_name="what is it.x", caption="look", **({"as": given} if given else {}))
    [update] = bot.updates()
    message = update["message"]
    assert TYPES.update(update) == [] and message["caption"] == "look" and "text" not in message
    found, file = file_of(message)
    assert found == kind == made["file"]["kind"] and file["file_size"] == 5000 == made["file"]["size"]
    assert kind in ("photo", "voice") or (file["file_name"], file["mime_type"]) == ("what is it.x", mime or "application/octet-stream")
    data = get(bot, file["file_id"])
    assert sha256(data) == made["file"]["sha256"] and len(data) == 5000
    assert http_call(sandbox.telegram, "GET", made["file"]["url"]).body == data
    assert kind != "animation" or message["document"]["file_id"] == file["file_id"]


def test_a_file_in_the_body_is_kept_byte_for_byte(sandbox, bot):
    query = urllib.parse.urlencode({"token": TOKEN, "customer": 5, "mime": "image/png", "file_name": "ä b.png", "caption": "hier"})
    answer = http_call(sandbox.telegram, "POST", f"/sandbox/telegram/file?{query}", PNG, {"Content-Type": "application/octet-stream"})
    assert answer.status == 200 and answer.json()["file"]["sha256"] == sha256(PNG)
    [update] = bot.updates()
    small, large = update["message"]["photo"]
    assert (large["width"], large["height"], small["width"]) == (320, 240, 1)
    assert get(bot, large["file_id"]) == PNG and get(bot, small["file_id"])[:8] == PNG[:8]
    assert send_file(sandbox, data=base64.b64encode(OGG).decode(), mime="audio/ogg")["file"]["sha256"] == sha256(OGG)


def test_the_same_seed_makes_the_same_file(sandbox):
    one, two, other = (send_file(sandbox, size=100, seed=seed)["file"]["sha256"] for seed in (7, 7, 8))
    assert one == two != other


def test_an_album_is_several_updates(sandbox, bot):
    for i in range(3):
        send_file(sandbox, size=100, mime="image/jpeg", seed=i, album="987", caption="all three" if i == 0 else None)
    updates = bot.updates()
    assert [each["message"]["media_group_id"] for each in updates] == ["987"] * 3
    assert ["caption" in each["message"] for each in updates] == [True, False, False]


def test_what_is_no_file(sandbox):
    for said in ({}, {"size": 0}, {"size": 65 << 20}, {"data": "a?=="}, {"size": 5, "as": "sticker"}, {"size": 5, "customer": -3}):
        assert http_call(sandbox.telegram, "POST", "/sandbox/telegram/file", {"token": TOKEN, **said}).status == 400
    assert http_call(sandbox.telegram, "POST", "/sandbox/telegram/file", {"token": "no token", "size": 5}).status == 400
    assert http_call(sandbox.telegram, "GET", "/sandbox/files/0000").status == 404


def test_what_is_large(sandbox, bot):
    send_file(sandbox, size=20 << 20, told_size=-1)
    send_file(sandbox, size=(20 << 20) + 1)
    first, second = [file_of(each["message"])[1] for each in bot.updates()]
    assert "file_size" not in first and second["file_size"] == (20 << 20) + 1
    assert len(get(bot, first["file_id"])) == 20 << 20
    assert bot.call("getFile", 400, file_id=second["file_id"])["description"] == "Bad Request: file is too big"


def test_files_of_others_and_none(sandbox, bot):
    send_file(sandbox, size=100)
    file = file_of(bot.updates()[0]["message"])[1]
    path = bot.call("getFile", file_id=file["file_id"])["file_path"]
    for target in (f"/file/bot77:other/{path}", f"/file/bot{TOKEN}/{path}x", f"/file/bot{TOKEN}/documents"):
        assert http_call(sandbox.telegram, "GET", target).status == 404
    assert http_call(sandbox.telegram, "GET", f"/file/botbad/{path}").status == 401
    for file_id in ("", "AgAC", "BQAC0000000000000000000000ab", "x" * 300):
        bot.call("getFile", 400, file_id=file_id)
    sandbox.control(sandbox.telegram, "POST", "reset")
    bot.call("getFile", 400, file_id=file["file_id"])


def test_a_customers_picture(sandbox, bot):
    sandbox.say("hello", 5, TOKEN, name="Ada")
    found = bot.call("getUserProfilePhotos", user_id=5, limit=1)
    [sizes] = found["photos"]
    assert found["total_count"] == 1 and [each["width"] for each in sizes] == [160, 320]
    for size in sizes:
        data = get(bot, size["file_id"])
        assert len(data) == size["file_size"] and data.startswith(b"\x89PNG") and sha256(data).startswith(size["file_unique_id"])
    unique = lambda user: bot.call("getUserProfilePhotos", user_id=user)["photos"][0][1]["file_unique_id"]
    assert unique(5) == sizes[1]["file_unique_id"]
    sandbox.say("hello", 6, TOKEN, name="Ada")
    assert unique(6) != unique(5)
    sandbox.say("married", 5, TOKEN, name="Ada King")
    assert unique(5) != sizes[1]["file_unique_id"]
    for user in (7, -100200, ""):
        bot.call("getUserProfilePhotos", 400, user_id=user)


def test_an_edited_caption(sandbox, bot):
    made = send_file(sandbox, size=100, mime="image/png", caption="befor")
    sandbox.say("before", 5, TOKEN, edit=made["message_id"])
    update = bot.updates()[-1]
    assert update["edited_message"]["caption"] == "before" and "photo" in update["edited_message"]


# ---- what bots send

@pytest.mark.parametrize("method, data, kind", [
    ("sendPhoto", PNG, "photo"), ("sendDocument", PNG, "document"), ("sendVoice", OGG, "voice"), ("sendVoice", PNG, "document"),
    ("sendAudio", b"ID3" + bytes(50), "audio"), ("sendAudio", OGG, "document"), ("sendVideo", MP4, "video"), ("sendVideo", b"x", "document"),
    ("sendAnimation", GIF, "animation")])
def test_uploads(sandbox, bot, method, data, kind):
    sandbox.say("hello", 5, TOKEN)
    field = method.removeprefix("send").lower()
    message = form(bot, method, chat_id=5, caption="Grüße", **{field: ('a "b" \\ c.bin'.replace("\\", "\\\\").replace('"', '\\"'), data, "x/y")})
    found, file = file_of(message)
    assert (found, message["caption"], file["file_size"]) == (kind, "Grüße", len(data))
    [item] = received(sandbox)
    assert (item["text"], item["file"]["kind"], item["file"]["sha256"], item["file"]["name"]) == ("Grüße", kind, sha256(data), 'a "b" \\ c.bin')
    assert sandbox.journal(sandbox.telegram, "sent")[0]["file"]["sha256"] == sha256(data)
    again = bot.call(method, chat_id=5, **{field: file["file_id"]})
    assert "caption" not in again and received(sandbox)[1]["file"]["sha256"] == sha256(data)


def test_uploads_that_are_refused(sandbox, bot):
    sandbox.say("hello", 5, TOKEN)
    photo = lambda data: {"chat_id": 5, "photo": ("x.png", data)}
    words = lambda *args, **fields: form(bot, *args, **fields)["description"]
    assert "too big for a photo" in words("sendPhoto", 400, **photo(PNG + bytes(10 << 20)))
    assert words("sendPhoto", 400, **photo(b"no picture")) == "Bad Request: IMAGE_PROCESS_FAILED"
    assert words("sendPhoto", 400, **photo(PNG[:16] + b"\0\1\0\0" + PNG[20:])) == "Bad Request: PHOTO_INVALID_DIMENSIONS"
    assert words("sendPhoto", 400, **photo(b"")) == "Bad Request: file must be non-empty"
    assert words("sendPhoto", 400, chat_id=5) == "Bad Request: there is no photo in the request"
    assert words("sendPhoto", 400, chat_id=5, photo="AgACnone") == "Bad Request: wrong file identifier/HTTP URL specified"
    assert words("sendPhoto", 400, chat_id=5, photo="https://example.com/a.png") == "Bad Request: failed to get HTTP URL content"
    assert words("sendPhoto", 400, caption="x" * 1025, **photo(PNG)) == "Bad Request: message caption is too long"
    assert words("sendPhoto", 400, chat_id=6, photo=("x.png", PNG)) == "Bad Request: chat not found"
    assert words("sendDocument", 413, chat_id=5, document=("x", bytes((50 << 20) + 1))) == "Request Entity Too Large"
    assert form(bot, "sendDocument", chat_id=5, document=("x", bytes(50 << 20)))["document"]["file_size"] == 50 << 20
    assert form(bot, "sendPhoto", chat_id=5, photo="attach://it", it=("x.png", PNG))["photo"]
    assert len(received(sandbox)) == 2


HEAD = b'Content-Disposition: form-data; name="chat_id"\r\n\r\n5\r\n'


@pytest.mark.parametrize("type, body", [
    ("multipart/form-data", b"--x\r\n" + HEAD + b"--x--\r\n"), ("multipart/form-data; boundary=", b""), ("multipart/form-data; boundary=a@b", b"--a@b--"),
    ("multipart/form-data; boundary=x", b"before\r\n--x\r\n" + HEAD + b"--x--"), ("multipart/form-data; boundary=x", b"--x\r\n" + HEAD + b"--x--\r\nbehind"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + HEAD), ("multipart/form-data; boundary=x", b"--x\n" + HEAD + b"--x--"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\n5\r\n--x--"), ("multipart/form-data; boundary=x", b"--x\r\n" + HEAD + b"--x\r\n" + HEAD + b"--x--"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\"a\r\n\r\n5\r\n--x--"), ("multipart/form-data; boundary=x", b"--x\r\n\r\n5\r\n--x--"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + b"X: y\r\n" * 2000 + HEAD + b"--x--"),
    ("multipart/form-data; boundary=x", b"".join(b'--x\r\nContent-Disposition: form-data; name="n%d"\r\n\r\n5\r\n' % i for i in range(65)) + b"--x--"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Transfer-Encoding: base64\r\n" + HEAD + b"--x--")])
def test_forms_that_cannot_be_read(bot, type, body):
    assert "can't parse the form" in bot.call("sendMessage", 400, {"Content-Type": type}, body or b"\r\n")["description"]


def test_texts_in_a_form(sandbox, bot):
    sandbox.say("hello", 5, TOKEN)
    assert form(bot, "sendMessage", chat_id=5, text="--a.b-\r\n--a.b-d")["text"] == "--a.b-\r\n--a.b-d"


# ---- changed and deleted

def test_edits_and_deletions(sandbox, bot):
    asked = sandbox.say("hello", 5, TOKEN)
    text, photo = bot.call("sendMessage", chat_id=5, text="one"), form(bot, "sendPhoto", chat_id=5, caption="two", photo=("x.png", PNG))
    at = lambda message: {"chat_id": 5, "message_id": message["message_id"]}
    assert bot.call("editMessageText", **at(text), text="one!", entities=[{"type": "bold", "offset": 0, "length": 3}])["text"] == "one!"
    assert bot.call("editMessageCaption", **at(photo), caption="two!")["caption"] == "two!"
    for method, status, body, words in (
            ("editMessageText", 400, {**at(text), "text": "one!", "entities": [{"type": "bold", "offset": 0, "length": 3}]}, "message is not modified"),
            ("editMessageText", 400, {**at(photo), "text": "x"}, "there is no text in the message to edit"),
            ("editMessageCaption", 400, {**at(text), "caption": "x"}, "there is no caption"), ("editMessageText", 400, {**at(text), "text": " "}, "text is empty"),
            ("editMessageText", 400, {**at(asked), "text": "x"}, "message can't be edited"),
            ("editMessageText", 400, {"chat_id": 5, "message_id": 1, "text": "x"}, "message to edit not found"),
            ("deleteMessage", 400, {"chat_id": 5, "message_id": 1}, "message to delete not found"), ("deleteMessage", 400, {"chat_id": 9, "message_id": 1}, "chat not found")):
        assert words in bot.call(method, status, **body)["description"]
    assert [(each["text"], each["edited"]) for each in received(sandbox)] == [("one!", True), ("two!", True)]
    assert bot.call("deleteMessage", **at(text)) is True
    assert "not found" in bot.call("deleteMessage", 400, **at(text))["description"]
    assert [each["text"] for each in received(sandbox)] == ["two!"]
    changed = sandbox.journal(sandbox.telegram, "changed")
    assert [(each["kind"], each["message_id"], each["text"]) for each in changed] == [
        ("edit", text["message_id"], "one!"), ("edit", photo["message_id"], "two!"), ("delete", text["message_id"], "one!")]


# ---- faults of files

def fetch_raw(url, limit=1 << 20):
    """(status, headers, bytes, whole): what came before the connection was closed, at most `limit` bytes."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        try:
            data = answer.read(limit)
            return answer.status, answer, data, len(data) < limit and answer.isclosed()
        except http.client.IncompleteRead as part:
            return answer.status, answer, part.partial, False
    finally:
        connection.close()


@pytest.fixture(params=["telegram", "intercom"])
def one_file(request, sandbox):
    """(base, how to get its address, bytes) of a file at either stand-in."""
    if request.param == "telegram":
        made = send_file(sandbox, data=base64.b64encode(PNG).decode(), mime="image/png")
        bot = Bot(sandbox)
        return sandbox.telegram, lambda: f"{sandbox.telegram}/file/bot{TOKEN}/{bot.call('getFile', file_id=made['file']['file_id'])['file_path']}"
    client = Client(sandbox)
    conversation = client.conversation(client.contact())["conversation_id"]
    sandbox.control(sandbox.intercom, "POST", "inbox/reply", {"conversation": conversation, "attachment_files": [
        {"name": "a.png", "content_type": "image/png", "data": base64.b64encode(PNG).decode()}]})
    [part] = client.ask("GET", f"/conversations/{conversation}")["conversation_parts"]["conversation_parts"]
    return sandbox.intercom, lambda: part["attachments"][0]["url"]


def test_file_faults(sandbox, one_file):
    base, address = one_file
    fault = lambda name, **more: sandbox.fault(base, fault=name, count=1, **more)
    fault("file_404")
    assert fetch_raw(address())[0] == 404
    fault("file_truncated")
    status, answer, data, whole = fetch_raw(address())
    assert (status, data, whole) == (200, PNG[:len(PNG) // 2], False)
    fault("file_wrong_type")
    status, answer, data, whole = fetch_raw(address())
    assert status == 200 and data.startswith(b"<!doctype html>") and "html" not in answer.headers["Content-Type"]
    fault("file_slow", ms=400)
    began = time.monotonic()
    assert fetch_raw(address())[2] == PNG and 0.3 < time.monotonic() - began < 5
    fault("file_endless")
    status, answer, data, whole = fetch_raw(address(), 8 << 20)
    assert status == 200 and data == bytes(8 << 20) and "Content-Length" not in answer.headers
    fault("file_claims")
    status, answer, data, whole = fetch_raw(address(), 5 << 30)
    assert answer.headers["Content-Length"] == str(4 << 30) and data == PNG and not whole
    assert fetch_raw(address())[2] == PNG


def test_an_address_that_expires(sandbox, one_file):
    base, address = one_file
    gone = 404 if base == sandbox.telegram else 403
    sandbox.fault(base, fault="file_expires", count=1)
    sandbox.fault(base, fault="file_truncated", count=1)
    url = address()
    assert not fetch_raw(url)[3] and fetch_raw(url)[0] == gone
    if base == sandbox.telegram:
        assert fetch_raw(address())[2] == PNG


def test_getfile_fails_as_others_do(sandbox, bot):
    made = send_file(sandbox, size=10)["file"]
    for fault, status in (({"fault": "rate_limit", "retry_after": 3}, 429), ({"fault": "status", "status": 500}, 500)):
        sandbox.fault(sandbox.telegram, path="getFile", count=1, **fault)
        bot.call("getFile", status, file_id=made["file_id"])
    assert bot.call("getFile", file_id=made["file_id"])


# ---- attachments at the desk

def test_attachments_are_kept_and_given(sandbox, desk):
    contact = desk.contact()
    conversation = desk.conversation(contact)["conversation_id"]
    files = [{"name": "ä b.png", "content_type": "image/png", "data": base64.b64encode(PNG).decode()},
             {"name": "n", "content_type": "text/plain", "data": base64.b64encode(b"x").decode()}]
    [part] = desk.reply(conversation, contact, "two files", attachment_files=files)["conversation_parts"]["conversation_parts"]
    assert [(each["name"], each["content_type"], each["filesize"]) for each in part["attachments"]] == [("ä b.png", "image/png", len(PNG)), ("n", "text/plain", 1)]
    for each, data in zip(part["attachments"], (PNG, b"x")):
        assert each["url"].startswith(sandbox.intercom + "/files/")
        answer = http_call(sandbox.intercom, "GET", each["url"].removeprefix(sandbox.intercom))
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, data, each["content_type"])
        # The page of the inbox is of the same origin.
        assert (answer.headers["x-content-type-options"], answer.headers["content-security-policy"]) == ("nosniff", "default-src 'none'; sandbox")
        assert http_call(sandbox.intercom, "GET", each["url"].removeprefix(sandbox.intercom) + "0").status == 403
    assert sandbox.journal(sandbox.intercom)[-1]["attachments"] == part["attachments"]
    assert http_call(sandbox.intercom, "GET", "/files/1/x").status == 404


@pytest.mark.parametrize("file", [{"name": "a", "content_type": "a/b"}, {"name": "a", "content_type": "a/b", "data": "eA="}, {"name": "a", "content_type": "a/b", "data": ""},
                                  {"name": "a", "content_type": "a/b", "data": "e-A="}, {"name": "", "content_type": "a/b", "data": "eA=="},
                                  {"name": "a", "data": "eA=="}, {"name": "a", "content_type": "a/b", "data": "=eA="}, "x"])
def test_files_that_are_refused(desk, file):
    contact = desk.contact()
    conversation = desk.conversation(contact)["conversation_id"]
    desk.reply(conversation, contact, "x", 400, attachment_files=[file])
    assert desk.ask("GET", f"/conversations/{conversation}")["conversation_parts"]["total_count"] == 0


def test_addresses_are_fetched(sandbox, desk):
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            self.send_response(200 if self.path.startswith("/there") else 404)
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            self.wfile.write(PNG)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        conversation = desk.conversation(desk.contact(), attachment_urls=[f"{base}/there/a%20b.png?sig=1", f"{base}/not"])["conversation_id"]
        deadline = time.monotonic() + 10
        while True:
            first, second = desk.ask("GET", f"/conversations/{conversation}")["source"]["attachments"]
            if first["filesize"]:
                break
            assert time.monotonic() < deadline
        server.shutdown()
    assert (first["name"], first["content_type"], first["filesize"]) == ("a b.png", "image/png", len(PNG))
    assert http_call(sandbox.intercom, "GET", first["url"].removeprefix(sandbox.intercom)).body == PNG
    assert (second["url"], second["filesize"]) == (f"{base}/not", 0)


# ---- taken back and changed

def test_redaction(sandbox, desk):
    contact = desk.contact()
    conversation = desk.conversation(contact)["conversation_id"]
    part = sandbox.control(sandbox.intercom, "POST", "inbox/reply", {"conversation": conversation, "body": "oops", "attachment_files": [
        {"name": "a.png", "content_type": "image/png", "data": base64.b64encode(PNG).decode()}]})["id"]
    with Webhook() as webhook:
        sandbox.control(sandbox.intercom, "POST", "intercom/webhook", {"url": webhook.url, "client_secret": "s"})
        answer = desk.ask("POST", "/conversations/redact", {"type": "conversation_part", "conversation_id": conversation, "conversation_part_id": part})
        webhook.wait(2)
    [shown] = answer["conversation_parts"]["conversation_parts"]
    assert (shown["redacted"], shown["body"], shown["attachments"]) == (True, "<p><i>This message was deleted</i></p>", [])
    [told] = [each[0] for each in webhook.seen if each[0]["topic"] != "ping"]  # which is the first is open
    assert (told["topic"], told["data"]["item"]["id"]) == ("conversation_part.redacted", conversation)
    source = desk.ask("GET", f"/conversations/{conversation}")["source"]
    answer = desk.ask("POST", "/conversations/redact", {"type": "source", "conversation_id": conversation, "source_id": source["id"]})
    assert answer["source"]["redacted"] is True
    for body, status in (({"type": "conversation_part", "conversation_id": conversation, "conversation_part_id": "5"}, 404),
                         ({"type": "source", "conversation_id": "5", "source_id": source["id"]}, 404),
                         ({"type": "x", "conversation_id": conversation, "conversation_part_id": part}, 400), ({}, 400)):
        desk.ask("POST", "/conversations/redact", body, status)


def test_an_agent_takes_back_and_changes_on_the_page(sandbox, desk):
    conversation = desk.conversation(desk.contact())["conversation_id"]
    part = sandbox.control(sandbox.intercom, "POST", "inbox/reply", {"conversation": conversation, "body": "helo"})["id"]
    sandbox.control(sandbox.intercom, "POST", "inbox/edit", {"conversation": conversation, "part": part, "body": "hello"})
    [shown] = desk.ask("GET", f"/conversations/{conversation}")["conversation_parts"]["conversation_parts"]
    assert (shown["id"], shown["body"]) == (part, "<p>hello</p>")
    thread = lambda: sandbox.control(sandbox.intercom, "GET", f"inbox?conversation={conversation}")["thread"]["parts"][-1]
    assert thread()["mark"] == "edited"
    sandbox.control(sandbox.intercom, "POST", "inbox/redact", {"conversation": conversation, "part": part})
    assert thread()["mark"] == "redacted"
    assert [each["kind"] for each in sandbox.journal(sandbox.intercom)[-2:]] == ["edited", "redacted"]
    for what in ("edit", "redact"):
        assert http_call(sandbox.intercom, "POST", f"/sandbox/inbox/{what}", {"conversation": conversation, "part": part, "body": "x"}).status == 404


def test_a_contact_is_kept_current(sandbox, desk):
    contact = desk.contact(name="Ada")
    desk.ask("PUT", f"/contacts/{contact['id']}", {"custom_attributes": {"username": "ada"}}, 400)
    for name in ("username", "language"):
        desk.ask("POST", "/data_attributes", {"name": name, "model": "contact", "data_type": "string"})
    desk.ask("PUT", f"/contacts/{contact['id']}", {"name": "Ada L", "phone": "+1555", "custom_attributes": {"username": "ada"}})
    changed = desk.ask("PUT", f"/contacts/{contact['id']}", {"custom_attributes": {"language": "de"}, "language_override": "de"})
    assert (changed["name"], changed["phone"], changed["language_override"], changed["custom_attributes"]) == (
        "Ada L", "+1555", "de", {"username": "ada", "language": "de"})
    assert [each["kind"] for each in sandbox.journal(sandbox.intercom)] == ["contact", "contact_changed", "contact_changed"]
    conversation = desk.conversation(contact)["conversation_id"]
    shown = sandbox.control(sandbox.intercom, "GET", f"inbox?conversation={conversation}")["thread"]
    assert (shown["name"], shown["phone"], shown["attributes"]) == ("Ada L", "+1555", {"username": "ada", "language": "de"})


@pytest.mark.parametrize("fault", ["file_endless", "file_slow"])
@pytest.mark.parametrize("how", ["reset", "left", "end"])
def test_answers_that_come_bit_by_bit_can_be_cut(sandbox, bot, fault, how):
    """By a reset, by the client, or by the end of the stand-in (then the fixture looks at how it ended)."""
    made = send_file(sandbox, size=100_000)["file"]
    path = bot.call("getFile", file_id=made["file_id"])["file_path"]
    sandbox.fault(sandbox.telegram, fault=fault, count=1)
    parts = urllib.parse.urlsplit(sandbox.telegram)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
        client.sendall(f"GET /file/bot{TOKEN}/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        opened = lambda: sandbox.control(sandbox.telegram, "GET", "status")["open"]
        assert opened() == 1
        if how == "end":
            return
        if how == "reset":
            sandbox.control(sandbox.telegram, "POST", "reset")
    deadline = time.monotonic() + 10
    while opened():
        assert time.monotonic() < deadline
