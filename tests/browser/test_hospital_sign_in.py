"""The whole round trip by the hospital's account in a real browser: by keyboard, to another site and back.

The page is at 127.0.0.1 and the provider at localhost: to a browser these are two sites, and its rules for
cookies after another site's redirections hold.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import structlog
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cloud_bridge.access.model import Account, DataType, Role
from cloud_bridge.access.oidc import Local, Relying
from cloud_bridge.access.passwords import no_password
from cloud_bridge.access.provider import Provider, Secret
from cloud_bridge.api.hospital_sign_in import BACK
from cloud_bridge.api.room import Door
from tests.browser.test_inbox_page import Open, _legible
from tests.doubles.chromium import PHONE, WIDE
from tests.doubles.oidc_provider import CLIENT, SECRET, OidcProvider, running
from tests.doubles.page_visitor import filled_desk
from tests.doubles.served_page import served
from virtual_home.processes import free_port


@pytest.fixture
def hospital() -> Iterator[OidcProvider]:
    with running("localhost") as one:
        one.person = None  # a page asks
        one.people = {"n1": {"staff_number": "n1"}}
        yield one


@pytest.fixture
def door(tmp_path: Path, hospital: OidcProvider, browser: webdriver.Chrome) -> Iterator[Open]:
    with _served(tmp_path, hospital, browser) as one:
        one.browser.get(one.address)
        one.until_at("/sign-in")
        yield one


@contextmanager
def _served(folder: Path, hospital: OidcProvider, browser: webdriver.Chrome) -> Iterator[Open]:
    desk, port = filled_desk(folder), free_port()
    desk.store.access.add_account(Account("n1", Role.NURSE, "1"), no_password(), desk.now)
    for data in (DataType.ALERTS, DataType.BLOOD_PRESSURE):
        desk.store.access.give_consent("patient-1", "nurse", data, text_version="1", by="p1", now=desk.now)
    hospital.clock, hospital.redirect_uri = lambda: desk.now, f"http://127.0.0.1:{port}{BACK}"
    relying = Relying(
        hospital.issuer, CLIENT, hospital.redirect_uri, amr=("otp",), account_claim="staff_number"
    )
    provider = Provider(relying, Secret(SECRET), lambda: desk.now, structlog.get_logger())
    with closing(desk), served(desk, door=Door(provider, Local.ADMINISTRATORS), port=port) as address:
        yield Open(browser, desk, address, [])


def _to_the_hospital(door: Open) -> None:
    """Press the button by keyboard; whoever sits there is asked by the hospital who they are."""
    button = next(b for b in door.browser.find_elements(By.CLASS_NAME, "button"))
    while door.focused() != button:
        before = door.focused()
        door.focused().send_keys(Keys.TAB)
        assert door.focused() != before, "the button cannot be reached by keyboard"
    assert button.value_of_css_property("outline-style") != "none"
    button.send_keys(Keys.ENTER)
    door.until(lambda: door.browser.title == "Hospital")
    assert door.browser.current_url.startswith("http://localhost:")


def test_to_the_hospital_and_back_signed_in_or_not(door: Open) -> None:
    _a_stranger_reads_why(door)
    _everything_can_be_read(door)
    _a_nurse_comes_back_signed_in(door)


def _a_stranger_reads_why(door: Open) -> None:
    _to_the_hospital(door)
    door.browser.find_element(By.NAME, "person").send_keys("stranger", Keys.ENTER)
    door.until_said("no account here is bound to you")
    assert "subject-of-stranger" in door.text()
    assert door.browser.find_element(By.ID, "refused").text.startswith("!")  # not by colour alone
    _legible(door)


def _everything_can_be_read(door: Open) -> None:
    for language, size in (("en", PHONE), ("zh-Hans", WIDE), ("zh-Hans", PHONE)):
        door.browser.set_window_size(*size)
        door.browser.get(f"{door.address}/sign-in?lang={language}")
        assert door.browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
        door.tab_to("summary").send_keys(Keys.ENTER)
        _legible(door)
        box = door.browser.find_element(By.CLASS_NAME, "button")
        assert box.size["height"] >= 44
    door.browser.get(f"{door.address}/sign-in?lang=en")


def _a_nurse_comes_back_signed_in(door: Open) -> None:
    _to_the_hospital(door)
    door.browser.find_element(By.NAME, "person").send_keys("n1", Keys.ENTER)
    door.until_said("Signed in: n1 (nurse)")
    door.until_at(":" + door.address.rsplit(":", 1)[1] + "/")
    assert "Patient 1" in door.text()
    seen = next(b for b in door.browser.find_elements(By.TAG_NAME, "button") if "seen" in b.text)
    seen.send_keys(Keys.ENTER)
    door.until_said("Seen. The home is told as soon as its gateway is connected.")
    out = next(b for b in door.browser.find_elements(By.TAG_NAME, "button") if b.text == "Sign out")
    out.send_keys(Keys.ENTER)
    door.until_at("/sign-in")
    door.browser.back()
    door.browser.get(door.address)
    door.until_at("/sign-in")
