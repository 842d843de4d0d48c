"""The inbox hears of changes: a quiet banner in a real browser, and nothing moves under anybody's hands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cloud_bridge.alerts import Act, Actor, Move
from tests.browser.test_inbox_page import Open, _legible, _sign_in
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.chromium import PHONE
from tests.doubles.page_visitor import fill_a_day
from tests.doubles.served_page import served, staff


@pytest.fixture
def inbox(tmp_path: Path, browser: webdriver.Chrome) -> Iterator[Open]:
    """A nurse in front of the inbox; the desk is the store, in which others work too."""
    desk = BridgeDesk(tmp_path)
    fill_a_day(desk)
    with _signed_in(desk, browser) as one:
        one.until_said("Patient 1")
        yield one


@contextmanager
def _signed_in(desk: BridgeDesk, browser: webdriver.Chrome) -> Iterator[Open]:
    staff(desk)
    with served(desk) as address:
        one = Open(browser, desk, address, [])
        browser.get(address)
        _sign_in(one, "n1")
        yield one
    desk.close()


def works(desk: BridgeDesk, patient: str) -> None:
    """A colleague works on somebody's item, elsewhere."""
    alert = next(a for a in desk.store.alerts.open_alerts() if a.finding.subject == patient)
    desk.store.alerts.move(alert.alert_id, Act(Move.BEGIN, Actor.PERSON, desk.now, "n9"))


def test_a_change_is_said_quietly_and_shown_when_asked_for(inbox: Open) -> None:
    refresh = "return document.querySelectorAll('meta[http-equiv=refresh]').length"
    assert inbox.browser.execute_script(refresh) == 0  # type: ignore[no-untyped-call]  # selenium's
    inbox.browser.find_element(By.XPATH, "//summary[contains(., 'Emergency')]").click()
    field = inbox.browser.find_element(By.ID, "why")
    field.send_keys("half a sen")
    inbox.browser.execute_script("window.stays = true")  # type: ignore[no-untyped-call]  # selenium's
    works(inbox.desk, "patient-1")
    inbox.until_said("1 new or changed: show")
    works(inbox.desk, "patient-2")
    inbox.until_said("2 new or changed: show")
    inbox.focused().send_keys("tence")
    assert field.get_attribute("value") == "half a sentence"
    assert inbox.browser.execute_script("return window.stays") is True  # type: ignore[no-untyped-call]  # selenium's
    assert "n9 works on it" not in inbox.text()
    assert inbox.browser.title == "(2) Inbox: 3 waiting"
    banner = inbox.browser.find_element(By.ID, "live")
    assert (banner.get_attribute("aria-live"), banner.get_attribute("role")) == ("polite", "status")
    inbox.browser.find_element(By.TAG_NAME, "body").click()
    inbox.browser.execute_script("document.getElementById('main').focus()")  # type: ignore[no-untyped-call]  # selenium's
    link = inbox.tab_to("a")
    assert link.text == "2 new or changed: show"  # the first stop within the page
    assert link.value_of_css_property("outline-style") != "none"
    _legible(inbox)
    link.send_keys(Keys.ENTER)
    inbox.until_said("n9 works on it")
    assert inbox.browser.title == "Inbox: 1 waiting"
    assert inbox.browser.find_element(By.ID, "live").text == ""
    errors = [line for line in inbox.browser.get_log("browser") if line["level"] == "SEVERE"]
    assert [line for line in errors if "favicon" not in line["message"]] == []


def test_the_banner_speaks_chinese_and_fits_a_phone(inbox: Open) -> None:
    inbox.browser.set_window_size(*PHONE)
    inbox.browser.get(f"{inbox.address}/?lang=zh-Hans")
    works(inbox.desk, "patient-1")
    inbox.until_said("1 项新增或有变化")
    _legible(inbox)


def test_where_nobody_waits_new_items_appear_by_themselves(tmp_path: Path, browser: webdriver.Chrome) -> None:
    desk = BridgeDesk(tmp_path)
    with _signed_in(desk, browser) as one:
        one.until_said("Nobody waits")
        fill_a_day(desk)
        one.until_said("Patient 1")
        assert one.browser.current_url.endswith("/?renews=1")  # which keeps no session alive


def test_whoever_is_signed_out_leaves_the_page(inbox: Open) -> None:
    inbox.desk.store.access.set_active("n1", active=False, now=inbox.desk.now)
    inbox.until_at("/sign-in")
    assert "Patient 1" not in inbox.text()
