"""The inbox page in a real browser: by keyboard alone, in both languages, on a phone, well to be read."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from cloud_bridge.access.model import Account, DataType, Role
from cloud_bridge.alerts import Outcome
from cloud_bridge.page_links import PageLinks
from tests.doubles.alarm_storm import alarming, enrolled
from tests.doubles.bridge_desk import AGREED, OFFERED, BridgeDesk
from tests.doubles.chromium import CHROMIUM, DRIVER, PHONE, WIDE
from tests.doubles.page_visitor import PASSWORD, credentials, filled_desk
from tests.doubles.served_page import served

if CHROMIUM is None or DRIVER is None:
    pytest.skip("SKIPPED PART: Chromium is not installed", allow_module_level=True)

LUMINANCE = """
const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
const lum = (c) => { const [r, g, b] = rgb(c).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const back = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (rgb(c)[3] !== 0) return c; } return 'rgb(255, 255, 255)'; };
const seen = [...document.querySelectorAll('body *')].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length
    && !e.closest('svg') && !e.closest('.skip'));
return seen.map(e => { const [a, b] = [lum(getComputedStyle(e).color), lum(back(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.trim().slice(0, 40)]; });
"""


@dataclass
class Open:
    """A browser in front of a filled inbox."""

    browser: webdriver.Chrome
    desk: BridgeDesk
    address: str
    told: list[bool]

    def text(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "body").text

    def until(self, shown: Callable[[], object]) -> None:
        """Wait until that is so, on a page that is there as a whole.

        What is looked at may belong to the page just left, or to one of which only the beginning came.
        """

        def so(browser: webdriver.Chrome) -> bool:
            whole = browser.execute_script("return document.readyState === 'complete'")  # type: ignore[no-untyped-call]  # selenium's
            return bool(shown()) and bool(whole)

        gone = (NoSuchElementException, StaleElementReferenceException)
        WebDriverWait(self.browser, 20, ignored_exceptions=gone).until(so)

    def until_said(self, words: str) -> None:
        self.until(lambda: words in self.text())

    def until_at(self, end: str) -> None:
        self.until(lambda: self.browser.current_url.endswith(end))

    def focused(self) -> WebElement:
        return self.browser.switch_to.active_element

    def tab_to(self, tag: str) -> WebElement:
        for _ in range(40):
            self.focused().send_keys(Keys.TAB)
            if self.focused().tag_name == tag:
                return self.focused()
        raise AssertionError(f"no {tag} can be reached by keyboard")


@pytest.fixture
def page(tmp_path: Path, browser: webdriver.Chrome) -> Iterator[Open]:
    links = PageLinks(tmp_path / "links")
    with _opened(tmp_path, links, browser, accounts=False) as one:
        one.browser.get(f"{one.address}/enter?token={links.make()}")
        # After a redirect the driver may come back before the whole page is there.
        one.until_at("/")
        yield one


@pytest.fixture
def door(tmp_path: Path, browser: webdriver.Chrome) -> Iterator[Open]:
    """The page where people sign in, with a nurse's and an auditor's account."""
    with _opened(tmp_path, PageLinks(tmp_path / "links"), browser, accounts=True) as one:
        access, now = one.desk.store.access, one.desk.now
        for name, role in (("n1", Role.NURSE), ("a1", Role.AUDITOR), ("p1", Role.PATIENT)):
            own = frozenset({"patient-1"} if role is Role.PATIENT else ())
            access.add_account(Account(name, role, "1", patients=own), credentials(), now)
        for data in (DataType.ALERTS, DataType.BLOOD_PRESSURE):
            access.give_consent("patient-1", "nurse", data, text_version="1", by="p1", now=now)
        one.browser.get(one.address)
        yield one


@contextmanager
def _opened(tmp_path: Path, links: PageLinks, browser: webdriver.Chrome, *, accounts: bool) -> Iterator[Open]:
    desk, told = filled_desk(tmp_path), list[bool]()
    by_link = None if accounts else links
    with closing(desk), served(desk, links=by_link, acknowledged=lambda: told.append(True)) as address:
        yield Open(browser, desk, address, told)


def test_seen_by_keyboard_alone(page: Open) -> None:
    assert "Patient 1" in page.text()
    assert page.browser.title == "Inbox: 3 waiting"
    name = page.tab_to("input")
    name.send_keys("nurse-7", Keys.TAB)
    button = page.focused()
    assert (button.tag_name, button.text) == ("button", "I have seen it")
    assert button.value_of_css_property("outline-style") != "none"
    button.send_keys(Keys.ENTER)
    page.until_said("Seen. The home is told as soon as its gateway is connected.")
    assert page.told == [True]
    assert page.browser.title == "Inbox: 2 waiting"
    seen = [a for a in page.desk.store.alerts.open_alerts() if a.acknowledged_by == "nurse-7"]
    assert len(seen) == 1


def test_worked_on_and_resolved_by_keyboard_alone(page: Open) -> None:
    page.tab_to("input").send_keys("nurse-7", Keys.TAB, Keys.TAB)
    assert page.focused().text == "I am working on it"
    assert page.focused().value_of_css_property("outline-style") != "none"
    page.focused().send_keys(Keys.ENTER)
    page.until_said("nurse-7 works on it")
    seen = page.browser.find_element(By.ID, "seen")
    ends = next(a for a in seen.find_elements(By.XPATH, "..//a") if a.text.startswith("Done with it"))
    ends.send_keys(Keys.ENTER)
    page.until(lambda: "/alerts/" in page.browser.current_url)
    _legible(page)
    page.tab_to("select").send_keys("admitted", Keys.TAB)
    page.focused().send_keys("by ambulance", Keys.TAB)
    assert page.focused().text == "Resolved"
    page.focused().send_keys(Keys.ENTER)
    page.until_at("/resolved")
    assert "Resolved: admitted" in page.text()
    page.tab_to("summary").send_keys(Keys.ENTER)
    assert "Resolved: admitted · by ambulance" in page.text()
    _legible(page)
    (done,) = page.desk.store.alerts.resolved(page.desk.now)
    assert (done.acknowledged_by, done.outcome) == ("nurse-7", Outcome.ADMITTED)


@pytest.mark.parametrize("language", ["en", "zh-Hans"])
def test_an_item_can_be_read_on_a_phone(page: Open, language: str) -> None:
    page.browser.set_window_size(*PHONE)
    alert = page.desk.store.alerts.open_alerts()[0].alert_id
    page.browser.get(f"{page.address}/alerts/{alert}?lang={language}")
    assert page.browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
    _legible(page)


def _sign_in(page: Open, name: str) -> None:
    """By keyboard alone: the fields come one after the other."""
    field = page.tab_to("input")
    code = pyotp.TOTP(credentials().secret).at(page.desk.now)
    field.send_keys(name, Keys.TAB)
    page.focused().send_keys(PASSWORD, Keys.TAB)
    page.focused().send_keys(code, Keys.TAB)
    assert (page.focused().tag_name, page.focused().get_attribute("type")) == ("button", "submit")
    assert page.focused().value_of_css_property("outline-style") != "none"
    page.focused().send_keys(Keys.ENTER)
    page.until(lambda: not page.browser.current_url.endswith("/sign-in"))


def test_signed_in_by_keyboard_alone(door: Open) -> None:
    assert door.browser.current_url.endswith("/sign-in")
    _sign_in(door, "n1")
    assert "Signed in: n1 (nurse)" in door.text()
    assert "Patient 1" in door.text()
    assert "Not shown, for want of consent: glucose" in door.text()
    button = next(b for b in door.browser.find_elements(By.TAG_NAME, "button") if "seen" in b.text)
    button.send_keys(Keys.ENTER)
    door.until_said("Seen. The home is told as soon as its gateway is connected.")
    assert [a.acknowledged_by for a in door.desk.store.alerts.open_alerts()].count("n1") == 1
    out = next(b for b in door.browser.find_elements(By.TAG_NAME, "button") if b.text == "Sign out")
    out.send_keys(Keys.ENTER)
    door.until_at("/sign-in")


@pytest.mark.parametrize("language", ["en", "zh-Hans"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_whoever_signs_in_can_read_everything(door: Open, language: str, size: tuple[int, int]) -> None:
    door.browser.set_window_size(*size)
    door.browser.get(f"{door.address}/sign-in?lang={language}")
    assert door.browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
    _legible(door)
    for element, words in (("name", "n1"), ("password", "x"), ("code", "000000")):
        door.browser.find_element(By.ID, element).send_keys(words)
    door.browser.find_element(By.ID, "code").send_keys(Keys.ENTER)
    door.until(lambda: door.browser.find_elements(By.ID, "wrong"))
    assert door.browser.find_element(By.ID, "wrong").text.startswith("!")  # not by colour alone
    _legible(door)
    _sign_in(door, "a1")
    door.browser.get(f"{door.address}/audit")
    _legible(door)


def test_a_patients_page_can_be_read(door: Open) -> None:
    _sign_in(door, "p1")
    door.browser.get(f"{door.address}/mine")
    assert "holds until withdrawn" in door.text()
    _legible(door)


@pytest.mark.parametrize("language", ["en", "zh-Hans"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_patient_lets_somebody_read_by_keyboard_alone(
    door: Open, language: str, size: tuple[int, int]
) -> None:
    door.browser.set_window_size(*size)
    _sign_in(door, "p1")
    door.browser.get(f"{door.address}/mine?lang={language}")
    while door.tab_to("summary").find_elements(By.XPATH, "following-sibling::form") == []:
        pass
    door.focused().send_keys(Keys.ENTER)
    asked = {text.language: text.content.decode() for text in AGREED[OFFERED]}
    assert asked[language] in door.text()
    _legible(door)
    door.tab_to("input").send_keys(Keys.ARROW_DOWN)  # not the nurse, the physician
    for chosen in ("blood_pressure", "alerts"):
        while door.tab_to("input").get_attribute("value") != chosen:
            pass
        door.focused().send_keys(Keys.SPACE)
    door.tab_to("button").send_keys(Keys.ENTER)
    access = door.desk.store.access
    door.until(lambda: len(access.consents("patient-1")) == 4)
    new = [one for one in access.consents("patient-1") if one.to == "physician"]
    assert {one.data for one in new} == {DataType.BLOOD_PRESSURE, DataType.ALERTS}
    assert {(one.given_by, one.text_version, one.valid_until) for one in new} == {("p1", OFFERED, None)}


def _legible(page: Open) -> None:
    """Contrast, width, sizes: as of the inbox."""
    ratios = page.browser.execute_script(LUMINANCE)  # type: ignore[no-untyped-call]  # selenium's
    assert len(ratios) > 5
    assert [(ratio, text) for ratio, text in ratios if ratio < 7] == []
    width = page.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")  # type: ignore[no-untyped-call]  # selenium's
    assert width[0] <= width[1]
    small = page.browser.execute_script(  # type: ignore[no-untyped-call]  # selenium's
        "return [...document.querySelectorAll('button, select, summary, input:not([type=hidden])')]"
        ".filter(e => e.getClientRects().length)"
        ".map(e => e.closest('.choice') || e)"  # what is pressed is the whole line
        ".map(e => e.getBoundingClientRect().height).filter(h => h < 44)"
    )
    assert small == []


def test_the_first_stop_is_the_way_past_the_header(page: Open) -> None:
    body = page.browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert page.focused().text == "Skip to the inbox"
    page.focused().send_keys(Keys.ENTER)
    assert page.browser.current_url.endswith("#main")


@pytest.mark.parametrize("language", ["en", "zh-Hans"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_everything_can_be_read(page: Open, language: str, size: tuple[int, int]) -> None:
    page.browser.set_window_size(*size)
    page.browser.get(f"{page.address}/?lang={language}")
    assert page.browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
    page.browser.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    ratios = page.browser.execute_script(LUMINANCE)  # type: ignore[no-untyped-call]  # selenium's
    assert len(ratios) > 40
    assert [(ratio, text) for ratio, text in ratios if ratio < 7] == []
    width = page.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")  # type: ignore[no-untyped-call]  # selenium's
    assert width[0] <= width[1]
    small = page.browser.execute_script(  # type: ignore[no-untyped-call]  # selenium's
        "return [...document.querySelectorAll('button, select, summary, input:not([type=hidden])')]"
        ".filter(e => e.getClientRects().length)"
        ".map(e => e.getBoundingClientRect().height).filter(h => h < 44)"
    )
    assert small == []
    assert page.browser.execute_script("return parseFloat(getComputedStyle(document.body).fontSize)") >= 18  # type: ignore[no-untyped-call]  # selenium's


def test_nothing_is_loaded_from_elsewhere_and_nothing_fails(page: Open) -> None:
    loaded = page.browser.execute_script(  # type: ignore[no-untyped-call]  # selenium's
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert all(name.startswith(page.address) for name in loaded)
    errors = [line for line in page.browser.get_log("browser") if line["level"] == "SEVERE"]
    assert [line for line in errors if "favicon" not in line["message"]] == []


def test_pages_are_turned_by_keyboard_alone(page: Open) -> None:
    page.desk.store.intake.accept_all(alarming(enrolled(page.desk, 50)), page.desk.now)
    while page.desk.ingest.drain():
        pass
    page.browser.get(f"{page.address}/?lang=en")
    _turn(page, "next", "page 2 of 2")
    _turn(page, "prev", "page 1 of 2")
    page.browser.set_window_size(*PHONE)
    page.browser.get(f"{page.address}/?lang=zh-Hans")
    _turn(page, "next", "第 2 页")
    _legible(page)


def _turn(page: Open, rel: str, said: str) -> None:
    """Go to a link by the tabulator, and press it."""
    for _ in range(30):
        page.focused().send_keys(Keys.TAB)
        if page.focused().get_attribute("rel") == rel:
            break
    assert page.focused().value_of_css_property("outline-style") != "none"
    assert page.focused().rect["height"] >= 44
    page.focused().send_keys(Keys.ENTER)
    page.until_said(said)
    assert "53" in page.browser.title


def test_severity_is_said_in_words_and_shape(page: Open) -> None:
    levels = page.browser.find_elements(By.CLASS_NAME, "level")
    assert [level.text.split(" ·")[0] for level in levels] == ["▲ Severe"] * 3
    picture = page.browser.find_element(By.TAG_NAME, "svg")
    assert "29 readings" in (picture.get_attribute("aria-label") or "")
