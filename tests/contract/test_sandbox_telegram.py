"""The Telegram stand-in: methods, polling, webhook delivery; every answer and every update held to the description."""
import http.server
import json
import threading
import time

import pytest

from sandbox_process import Sandbox, http_call
from telegram_contract import TelegramContract, Types

TOKEN = "123456:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"
TYPES = Types()


class Bot:
    """Calls methods; every answer must be one that the description allows."""

    def __init__(self, sandbox, token=TOKEN):
        self.sandbox, self.token = sandbox, token

    def call(self, method, status=200, headers=None, body=None, query="", **parameters):
        body = body if body is not None else parameters or None
        answer = http_call(self.sandbox.telegram, "POST" if body else "GET", f"/bot{self.token}/{method}{query}", body, headers)
        assert answer.status == status, (method, answer.status, answer.body)
        value = answer.json()
        assert TYPES.answer(method, status, value) == []
        self.last = answer
        return value.get("result") if value["ok"] else value

    def updates(self, **parameters):
        found = self.call("getUpdates", **parameters)
        assert [TYPES.update(each) for each in found] == [[] for _ in found]
        return found

    def texts(self, **parameters):
        return [each["message"]["text"] for each in self.updates(**parameters)]


@pytest.fixture
def bot(sandbox):
    return Bot(sandbox)


class Webhook:
    """Takes updates; `answers` maps a text to the statuses of its first attempts, or to (status, headers[, body])."""

    def __init__(self, answers=None):
        webhook = self
        self.answers, self.seen, self.open, self.most_open = answers or {}, [], 0, 0
        self.more = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                update = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = update.get("message", {}).get("text")
                with webhook.more:
                    webhook.open += 1
                    webhook.most_open = max(webhook.open, webhook.most_open)
                webhook.gate.wait(10)
                with webhook.more:
                    todo = webhook.answers.get(text)
                    status = todo.pop(0) if todo else 200
                    webhook.open -= 1
                    webhook.seen.append((update, status, dict(self.headers), time.monotonic(), self.client_address[1]))
                    webhook.more.notify_all()
                if status is None:
                    self.close_connection = True
                    return
                status, headers, *body = status if isinstance(status, tuple) else (status, {})
                body = body[0] if body else b"{}"
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def wait(self, count, timeout_s=20):
        with self.more:
            assert self.more.wait_for(lambda: len(self.seen) >= count, timeout_s), f"{len(self.seen)} of {count} came"

    def texts(self):
        return [update["message"]["text"] for update, *_ in self.seen]


# ---- methods

def test_any_well_formed_token_is_a_bot(sandbox):
    me = Bot(sandbox).call("getMe")
    assert me["id"] == 123456 and me["is_bot"]
    assert Bot(sandbox, "7:short").call("getMe")["id"] == 7
    for token in ("abc", "12:", ":x", "12:a b", "0:x", "12:x:y"):
        answer = http_call(sandbox.telegram, "GET", f"/bot{token.replace(' ', '%20')}/getMe")
        assert (answer.status, answer.json()["ok"]) == (401, False)


def test_unknown_methods_and_paths(sandbox, bot):
    for path in (f"/bot{TOKEN}/doesNotExist", f"/bot{TOKEN}", "/getMe", f"/bot{TOKEN}/getMe/x"):
        answer = http_call(sandbox.telegram, "GET", path)
        assert answer.status in (401, 404) and answer.json()["ok"] is False
    answer = http_call(sandbox.telegram, "POST", f"/bot{TOKEN}/getMe", b"{broken", {"Content-Type": "application/json"})
    assert answer.status == 400


def test_parameters_as_json_form_and_query(sandbox, bot):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sandbox.say("hello", 5, TOKEN)
    bot.updates()
    for text, sent in (("a b&c", dict(chat_id=5, text="a b&c")), ("d+e ü", dict(body=b"chat_id=5&text=d%2Be+%C3%BC", headers=form)),
                       ("f g", dict(query="?chat_id=5&text=f+g"))):
        assert bot.call("sendMessage", **sent)["text"] == text
    assert [each["text"] for each in sandbox.journal(sandbox.telegram, "sent")] == ["a b&c", "d+e ü", "f g"]


def test_send_message_refusals(sandbox, bot):
    assert "chat not found" in bot.call("sendMessage", 400, chat_id=99, text="x")["description"]
    sandbox.say("hello", 5, TOKEN)
    assert "is empty" in bot.call("sendMessage", 400, chat_id=5, text=" ")["description"]
    assert "too long" in bot.call("sendMessage", 400, chat_id=5, text="x" * 4097)["description"]
    assert "too long" in bot.call("sendMessage", 400, chat_id=5, text="\U0001F600" * 2049)["description"]
    sandbox.control(sandbox.telegram, "POST", "telegram/block", {"token": TOKEN, "customer": 5})
    assert "blocked" in bot.call("sendMessage", 403, chat_id=5, text="x")["description"]
    sandbox.control(sandbox.telegram, "POST", "telegram/block", {"token": TOKEN, "customer": 5, "blocked": False})
    assert bot.call("sendMessage", chat_id=5, text="x" * 4096)
    kinds = [next(key for key in update if key != "update_id") for update in bot.updates()]
    assert kinds == ["message", "my_chat_member", "my_chat_member"]


def test_actions_and_buttons(sandbox, bot):
    sandbox.say("hello", 5, TOKEN)
    assert bot.call("sendChatAction", chat_id=5, action="typing") is True
    assert "query ID is invalid" in bot.call("answerCallbackQuery", 400, callback_query_id="4382bfdwdsb323b2d9")["description"]
    sandbox.control(sandbox.telegram, "POST", "telegram/press", {"token": TOKEN, "customer": 5, "label": "Refund", "data": "r:1"})
    press = bot.updates()[-1]["callback_query"]
    assert (press["data"], press["message"]["reply_markup"]["inline_keyboard"]) == ("r:1", [[{"text": "Refund", "callback_data": "r:1"}]])
    assert [each["answered"] for each in sandbox.journal(sandbox.telegram) if each["kind"] == "callback_query"] == [False]
    shown = lambda: sandbox.control(sandbox.telegram, "GET", "chat?chat=5")["messages"][-1]
    assert (shown()["text"], shown()["pressed"], shown()["answered"]) == ("Refund", True, False)
    assert bot.call("answerCallbackQuery", callback_query_id=press["id"]) is True
    assert shown()["answered"]
    assert [each["answered"] for each in sandbox.journal(sandbox.telegram) if each["kind"] == "callback_query"] == [True]


# ---- polling

def test_polling_confirms_by_offset(sandbox, bot):
    made = [sandbox.say(f"m{i}", 5, TOKEN) for i in range(5)]
    assert [each["update_id"] - made[0]["update_id"] for each in made] == [0, 1, 2, 3, 4]
    assert bot.texts(limit=2) == ["m0", "m1"]
    assert bot.texts() == ["m0", "m1", "m2", "m3", "m4"]
    assert bot.texts(offset=made[2]["update_id"]) == ["m2", "m3", "m4"]
    assert bot.texts() == ["m2", "m3", "m4"]
    assert bot.texts(offset=-1) == ["m4"]
    assert bot.texts(offset=made[4]["update_id"] + 1) == []
    assert [each["state"] for each in sandbox.journal(sandbox.telegram)] == ["confirmed"] * 5


def test_an_offset_of_another_time_confirms_nothing(sandbox, bot):
    first = sandbox.say("before", 5, TOKEN)
    bot.updates(offset=first["update_id"] + 1)
    sandbox.control(sandbox.telegram, "POST", "telegram/jump", {"token": TOKEN, "to": 1000})
    second = sandbox.say("after", 5, TOKEN)
    assert second["update_id"] == 1000
    assert bot.texts(offset=first["update_id"] + 1) == ["after"]
    assert bot.texts() == ["after"]


def test_long_poll_is_answered_by_the_next_update(sandbox, bot):
    found = []
    poll = threading.Thread(target=lambda: found.extend(bot.texts(timeout=20)))
    poll.start()
    deadline = time.monotonic() + 5
    while sandbox.control(sandbox.telegram, "GET", "status")["open"] == 0:
        assert time.monotonic() < deadline
    began = time.monotonic()
    sandbox.say("now", 5, TOKEN)
    poll.join(10)
    assert found == ["now"] and time.monotonic() - began < 2


def test_long_poll_ends_by_time(bot):
    began = time.monotonic()
    assert bot.updates(timeout=1) == []
    assert 0.9 < time.monotonic() - began < 5


def test_two_pollers_and_a_webhook_conflict(sandbox, bot):
    ends = []
    for other in (lambda: bot.updates(), lambda: bot.call("setWebhook", url="http://127.0.0.1:1/x")):
        poll = threading.Thread(target=lambda: ends.append(Bot(sandbox).call("getUpdates", 409, timeout=20)["description"]))
        poll.start()
        deadline = time.monotonic() + 5
        while sandbox.control(sandbox.telegram, "GET", "status")["open"] == 0:
            assert time.monotonic() < deadline
        other()
        poll.join(10)
    assert "other getUpdates" in ends[0] and "setWebhook" in ends[1]
    assert "webhook is active" in bot.call("getUpdates", 409)["description"]
    bot.call("deleteWebhook")
    assert bot.updates() == []


def test_allowed_updates(sandbox, bot):
    bot.updates(allowed_updates=["edited_message"])
    said = sandbox.say("unwanted", 5, TOKEN)
    assert said["update_id"] is None
    bot.updates(allowed_updates=[])
    made = sandbox.say("wanted", 5, TOKEN)
    sandbox.say("wanted, changed", 5, TOKEN, edit=made["message_id"])
    reaction = {"chat": {"id": 5, "type": "private"}, "message_id": 1, "date": 1, "old_reaction": [], "new_reaction": []}
    answer = sandbox.control(sandbox.telegram, "POST", "telegram/update", {"token": TOKEN, "update": {"message_reaction": reaction}})
    assert answer["update_id"] is None
    assert [list(each)[1] for each in bot.updates()] == ["message", "edited_message"]
    assert bot.updates(offset=-1)[0]["edited_message"]["text"] == "wanted, changed"


def test_raw_updates_get_an_id(sandbox, bot):
    message = {"message_id": 7, "date": 1, "chat": {"id": -100123, "type": "supergroup", "title": "T"}, "text": "raw"}
    made = sandbox.control(sandbox.telegram, "POST", "telegram/update", {"token": TOKEN, "update": {"update_id": 1, "message": message}})
    assert bot.updates() == [{"update_id": made["update_id"], "message": message}]
    answer = http_call(sandbox.telegram, "POST", "/sandbox/telegram/update", {"token": TOKEN, "update": {"a": {}, "b": {}}})
    assert answer.status == 400


# ---- webhooks

def test_webhook_settings(sandbox, bot):
    assert bot.call("getWebhookInfo")["url"] == ""
    assert bot.call("setWebhook", url="http://127.0.0.1:1/x", secret_token="s-e_C1", max_connections=7, allowed_updates=["message"])
    info = bot.call("getWebhookInfo")
    assert (info["url"], info["max_connections"], info["allowed_updates"]) == ("http://127.0.0.1:1/x", 7, ["message"])
    for bad in ({"url": "ftp://x"}, {"url": "http://x", "secret_token": "a b"}, {"url": "http://x", "secret_token": "x" * 257}):
        bot.call("setWebhook", 400, **bad)
    sandbox.say("dropped", 5, TOKEN)
    assert bot.call("setWebhook", url="", drop_pending_updates=True) is True
    assert bot.call("getWebhookInfo")["pending_update_count"] == 0
    assert sandbox.journal(sandbox.telegram)[0]["state"] == "dropped"
    assert bot.call("deleteWebhook") is True


def test_webhook_delivers_in_order_with_secret_and_keep_alive(sandbox, bot):
    with Webhook() as hook:
        bot.call("setWebhook", url=hook.url, secret_token="s3cret")
        for i in range(20):
            sandbox.say(f"m{i}", 5, TOKEN)
        hook.wait(20)
        assert hook.texts() == [f"m{i}" for i in range(20)]
        assert all(headers["X-Telegram-Bot-Api-Secret-Token"] == "s3cret" for _, _, headers, *_ in hook.seen)
        assert len({port for *_, port in hook.seen}) == 1
        assert [TYPES.update(update) for update, *_ in hook.seen] == [[]] * 20


def test_a_call_in_a_webhooks_answer_is_carried_out(sandbox, bot):
    say = {"method": "sendMessage", "chat_id": 5}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answers = {"json": [(200, {"Content-Type": "application/json"}, json.dumps({**say, "text": "by json"}).encode())],
               "form": [(200, form, b"method=sendMessage&chat_id=5&text=by+form")],
               "refused": [(503, {"Retry-After": "0"}, json.dumps({**say, "text": "not taken"}).encode())],
               "unknown": [(200, {}, b'{"method":"doesNotExist"}')], "bare": [(200, {}, b'{"method":7}')]}
    with Webhook(answers) as hook:
        bot.call("setWebhook", url=hook.url)
        for text in ("json", "form", "refused", "unknown", "bare", "last"):
            sandbox.say(text, 5, TOKEN)
        hook.wait(7)
    for _ in range(500):
        sent = sorted(each["text"] for each in sandbox.journal(sandbox.telegram, "sent"))
        if len(sent) >= 2:
            break
        time.sleep(0.01)  # the call is the stand-in's own: asks until it is noted
    assert sent == ["by form", "by json"]


def test_webhook_retries_hold_the_chat_and_not_the_others(sandbox, bot):
    with Webhook({"bad": [503, 500, None]}) as hook:
        bot.call("setWebhook", url=hook.url)
        sandbox.control(sandbox.telegram, "POST", "telegram/say", {"token": TOKEN, "say": [
            {"customer": 5, "text": "bad"}, {"customer": 5, "text": "behind"}, {"customer": 6, "text": "other"}]})
        hook.wait(6)
        assert [text for text in hook.texts() if text != "other"] == ["bad"] * 4 + ["behind"]
        assert hook.texts().index("other") < 4
        entry = sandbox.journal(sandbox.telegram)[0]
        assert entry["attempts"] == 4


def test_webhook_honours_retry_after(sandbox, bot):
    with Webhook({"later": [(503, {"Retry-After": "1"})]}) as hook:
        bot.call("setWebhook", url=hook.url)
        sandbox.say("later", 5, TOKEN)
        hook.wait(2)
        assert hook.seen[1][3] - hook.seen[0][3] >= 0.95
        assert "503" in bot.call("getWebhookInfo")["last_error_message"]


def test_what_is_said_meanwhile_does_not_shorten_the_wait(sandbox, bot):
    with Webhook({"later": [(503, {"Retry-After": "1"})]}) as hook:
        bot.call("setWebhook", url=hook.url)
        sandbox.say("later", 5, TOKEN)
        hook.wait(1)
        sandbox.say("behind", 5, TOKEN)
        hook.wait(3)
        assert hook.texts() == ["later", "later", "behind"] and hook.seen[1][3] - hook.seen[0][3] >= 0.95


def test_webhook_uses_no_more_connections_than_asked(sandbox, bot):
    with Webhook() as hook:
        hook.gate.clear()
        bot.call("setWebhook", url=hook.url, max_connections=3)
        for customer in range(1, 9):
            sandbox.say("x", customer, TOKEN)
        with hook.more:
            deadline = time.monotonic() + 10
        while hook.open < 3 and time.monotonic() < deadline:
            pass
        hook.gate.set()
        hook.wait(8)
        assert hook.most_open == 3


def test_webhook_taken_over_by_polling(sandbox, bot):
    with Webhook({"x": [503] * 1000}) as hook:
        bot.call("setWebhook", url=hook.url)
        made = sandbox.say("x", 5, TOKEN)
        hook.wait(1)
        bot.call("deleteWebhook")
        assert bot.texts() == ["x"]
        assert bot.updates(offset=made["update_id"] + 1) == []
        sandbox.say("y", 5, TOKEN)
        assert bot.texts() == ["y"]
        bot.call("setWebhook", url=hook.url)
        deadline = time.monotonic() + 10
        while "y" not in hook.texts():
            assert time.monotonic() < deadline


def test_chatting_customers_number_what_they_say():
    with Sandbox("--bot", TOKEN, "--customers", "3", "--rate", "200") as sandbox:
        bot, said, offset = Bot(sandbox), {}, 0
        deadline = time.monotonic() + 20
        while sum(map(len, said.values())) < 60:
            assert time.monotonic() < deadline
            for update in bot.updates(offset=offset, timeout=5):
                offset = update["update_id"] + 1
                said.setdefault(update["message"]["chat"]["id"], []).append(update["message"]["text"])
        assert len(said) == 3
        for texts in said.values():
            assert [text.split()[0] for text in texts] == [f"#{i + 1}" for i in range(len(texts))]


# ---- the watcher that system tests put between relay and sandbox

def test_contract_sees_good_and_bad_calls(sandbox):
    with TelegramContract(sandbox.telegram) as contract:
        sandbox.say("x", 5, TOKEN)
        http_call(contract.url, "POST", f"/bot{TOKEN}/getUpdates", {"timeout": 0, "allowed_updates": ["message"]})
        http_call(contract.url, "GET", f"/bot{TOKEN}/getUpdates?timeout=0&allowed_updates=%5B%22message%22%5D")
        http_call(contract.url, "POST", f"/bot{TOKEN}/setWebhook", {"url": "http://127.0.0.1:1/", "drop_pending_updates": False})
        contract.check()
        for method, parameters, breach in (("getUpdates", {"timeout": "5"}, "no Integer"), ("getUpdates", {"colour": 5}, "colour"),
                                           ("sendMessage", {"chat_id": 5}, "text: is missing"), ("sendWishes", {"x": 1}, "no such method"),
                                           ("getupdates", {"timeout": 0}, "is written"), ("setWebhook", {"url": True}, "no String")):
            contract.breaches.clear()
            http_call(contract.url, "POST", f"/bot{TOKEN}/{method}", parameters)
            with pytest.raises(AssertionError, match=breach):
                contract.check()


@pytest.mark.parametrize("update", [
    {"message": {}}, {"update_id": "5", "message": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}}},
    {"update_id": 5}, {"update_id": 5, "message": {"message_id": 1, "date": 1, "chat": {"id": 1}}},
    {"update_id": 5, "message": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "smell": "x"}},
])
def test_types_see_bad_updates(update):
    assert TYPES.update(update)
