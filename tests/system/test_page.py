"""The status page in a real browser: the token out of the address, figures, alarms, and no script out of data."""
import pytest

from harness.client import WebhookSource
from harness.common import PATIENCE_S, wait_for
from harness.relay import TOKEN, account

webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/browser"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        browser = webdriver.Chrome(options=options)
    except Exception as error:
        pytest.skip(f"no browser: {error}")
    yield browser
    browser.quit()


def text_of(browser, name):
    return browser.find_element("id", name).text


@pytest.mark.release_only
def test_the_page_shows_the_relay(browser, make_relay, make_desk):
    relay = make_relay([account("acme", make_desk().config()), account("other", make_desk().config(), active=False)]).start()
    WebhookSource(relay, "acme").send("one")
    WebhookSource(relay, "other").send("two")
    browser.get(f"http://127.0.0.1:{relay.admin_port}/#{TOKEN}")
    wait_for(lambda: "acme" in text_of(browser, "accounts"), "the accounts are shown", PATIENCE_S)
    assert TOKEN not in browser.current_url
    wait_for(lambda: "Delivered\n1" in text_of(browser, "totals"), "the figures follow by themselves", PATIENCE_S)
    assert "Waiting\n1" in text_of(browser, "totals")
    assert "inactive" in text_of(browser, "accounts")
    assert "ok" in text_of(browser, "desks")
    browser.refresh()
    wait_for(lambda: "acme" in text_of(browser, "accounts"), "the token is kept for the tab", PATIENCE_S)
    complaints = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not complaints, complaints


@pytest.mark.release_only
def test_a_wrong_token_is_asked_for_again(browser, make_relay, make_desk):
    relay = make_relay([account("acme", make_desk().config())]).start()
    browser.get(f"http://127.0.0.1:{relay.admin_port}/#wrong")
    wait_for(lambda: "not the relay's" in text_of(browser, "state"), "the token is refused", PATIENCE_S)
    browser.find_element("id", "token").send_keys(TOKEN)
    browser.find_element("css selector", "#login button").click()
    wait_for(lambda: "acme" in text_of(browser, "accounts"), "the right one lets in", PATIENCE_S)
