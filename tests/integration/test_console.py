"""The inbox page: who may come in, what it says in both languages, and what wrong input does (nothing)."""

import errno
import re
import socket
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from uuid import UUID

import pytest
from babel.messages.extract import extract

from cloud_bridge.access.model import Action, DataType, Role
from cloud_bridge.alerts import GIVEN_BACK, AlertState, Outcome
from cloud_bridge.api.session import COOKIE
from cloud_bridge.console.language import chosen, language
from cloud_bridge.console.life import ASKED, HAPPENED, HEARS, OUTCOME_WORDS, STATES
from cloud_bridge.console.people import ACTIONS, KINDS, ROLES
from cloud_bridge.page_links import PageLinks
from cloud_bridge.rules.care import CareRole
from cloud_bridge.store.base import ClaimedDelivery, Told
from tests.doubles.bridge_desk import BridgeDesk, care, told
from tests.doubles.bridge_home import GATEWAY, SealingHome
from tests.doubles.bridge_readings import weight
from tests.doubles.discharge_desk import HOUR
from tests.doubles.discharge_plans import DEFAULTS, MADE, plan
from tests.doubles.page_visitor import HOST, fill_other_programmes, visitor
from tests.doubles.served_page import served
from wire_format.measurement import Failure, Remark
from wire_format.nomenclature import Quantity
from wire_format.status import Presence, Status

# --- coming in ---


async def test_a_link_opens_the_page_once(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        token = one.links.make()
        answer = await one.http.get(f"/enter?token={token}", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await one.http.get("/")).status_code == 200
        one.http.cookies.clear()
        again = await one.http.get(f"/enter?token={token}")
        assert again.status_code == 403
        assert "cloud-bridge link" in again.text


@pytest.mark.parametrize("accounts", [True, False])
async def test_a_reading_of_any_quantity_has_a_name_on_the_page(tmp_path: Path, accounts: bool) -> None:
    async with visitor(tmp_path, accounts=accounts) as one:
        home = SealingHome(outbox=2)
        for minute, quantity in enumerate(Quantity):
            m = weight(f"{700 + minute}.5", minutes=minute).model_copy(update={"quantity": quantity})
            one.desk.receive(home, home.seal(told(m, "p-1")))
        if accounts:
            one.consent("nurse", *DataType)
            one.hire("n1", Role.NURSE)
            await one.sign_in("n1")
        page = await one.http.get("/") if accounts else await one.enter()
        assert page.status_code == 200
        for minute, quantity in enumerate(Quantity):  # a pressure without its parts shows nothing
            assert (f"{700 + minute}.5" in page.text) == (quantity is not Quantity.BLOOD_PRESSURE)


@pytest.mark.parametrize("path", ["/", "/?lang=en"])
async def test_nobody_comes_in_without_a_link(tmp_path: Path, path: str) -> None:
    async with visitor(tmp_path) as one:
        for cookie in (None, "guessed"):
            if cookie:
                one.http.cookies.set(COOKIE, cookie, domain="127.0.0.1")
            answer = await one.http.get(path)
            assert answer.status_code == 403
            assert "Patient" not in answer.text
        for token in ("", "x", "../../etc/passwd"):
            assert (await one.http.get("/enter", params={"token": token})).status_code == 403
        post = await one.http.post(f"/alerts/{UUID(int=1)}/acknowledge", data={"csrf": "x", "name": "y"})
        assert post.status_code == 403


async def test_a_session_ends(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        assert (await one.enter()).status_code == 200
        one.later(hours=13)
        assert (await one.http.get("/")).status_code == 403


def test_only_loopback_is_listened_on(tmp_path: Path) -> None:
    """127.0.0.2 is another address of this machine: whoever listens on all of them would answer there."""
    desk = BridgeDesk(tmp_path)
    with served(desk, links=PageLinks(tmp_path / "links")) as url:
        port = int(url.rpartition(":")[2])
        with socket.socket() as stranger:
            assert stranger.connect_ex(("127.0.0.2", port)) == errno.ECONNREFUSED
    desk.close()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "kiteline.example:8600", ""])
async def test_another_name_for_loopback_is_refused(tmp_path: Path, host: str) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        answer = await one.http.get("/", headers={"host": host})
        assert answer.status_code == 421
        assert "Patient" not in answer.text


async def test_every_answer_is_locked_down(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        for path in ("/", "/health", "/page.css", "/enter", "/nowhere"):
            headers = (await one.http.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert headers["referrer-policy"] == "same-origin"
        assert (await one.http.get("/health")).json() == {"status": "ok"}
        for path in ("/docs", "/openapi.json", "/redoc"):
            assert (await one.http.get(path)).status_code == 404


# --- acknowledging ---


async def test_seen_is_seen_once_and_the_home_is_told(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        first = one.desk.store.alerts.open_alerts()[0]
        page = await one.acknowledge(first.alert_id, name="  Nurse   Seven ")
        assert page.status_code == 200
        assert "Seen. The home is told as soon as its gateway is connected." in page.text
        now = one.desk.store.alerts.alert(first.alert_id)
        assert now is not None
        assert (now.state, now.acknowledged_by) == (AlertState.ACKNOWLEDGED, "Nurse Seven")
        assert one.told == [True]
        await one.acknowledge(first.alert_id)
        assert one.told == [True]
        assert len(one.desk.store.outgoing.messages_due(10, one.desk.now)) == 1
        # The name is remembered, so that the next one is one press.
        assert 'value="Nurse Seven"' in await one.inbox() or 'value="nurse-7"' in await one.inbox()


async def test_that_the_home_was_told_is_said_when_it_was(tmp_path: Path) -> None:
    """Not before the broker has the message, nor while nobody knows that the gateway is connected."""
    was, will = "Seen. The home was told.", "Seen. The home is told as soon as its gateway is connected."
    async with visitor(tmp_path) as one:
        await one.enter()
        desk = one.desk
        for alert in desk.store.alerts.open_alerts():
            await one.acknowledge(alert.alert_id)

        def says(which: Presence) -> None:
            said = Status(presence=which, software="0.1.0", since=desk.now)
            desk.store.presence.note([Told(GATEWAY, said, kept=False)], desk.now)

        says(Presence.ONLINE)
        page = await one.inbox()
        assert (was in page, will in page) == (False, True)
        for due in desk.store.outgoing.messages_due(10, desk.now):
            desk.store.outgoing.message_published(due)
        page = await one.inbox()
        assert (was in page, will in page) == (True, False)
        says(Presence.LOST)
        page = await one.inbox()
        assert (was in page, will in page) == (False, True)
        assert "待家中网关联网后告知。" in (await one.http.get("/?lang=zh-Hans")).text


@pytest.mark.parametrize("came", [False, True])
async def test_where_no_gateway_is_nobody_at_home_is_told(tmp_path: Path, came: bool) -> None:
    """A patient went home before their gateway did, and the first visit was not made."""
    async with visitor(tmp_path) as one:
        desk = one.desk
        desk.now = MADE + HOUR
        done = desk.store.discharges.take(plan(), DEFAULTS, "test", desk.now)
        desk.wake(MADE + 100 * HOUR)
        await one.enter()
        (alert,) = [a for a in desk.store.alerts.open_alerts() if a.finding.rule == "FIRST-VISIT"]
        if came:
            who = replace(care("9"), patient=plan().patient)
            desk.store.registry.enrol_person(GATEWAY, "p-9", str(done.patient), who)
        queued = len(desk.store.outgoing.messages_due(10, desk.now))
        page = await one.acknowledge(alert.alert_id)
        told = len(desk.store.outgoing.messages_due(10, desk.now)) - queued
        nobody = "Seen. Nobody at home is told: no gateway is there yet."
        assert (told, nobody in page.text) == ((1, False) if came else (0, True))


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"csrf": "forged"}, 403, "too old"),
        ({"csrf": ""}, 403, "too old"),
        ({"name": "   "}, 422, "write your name"),
        ({"name": "x" * 65}, 422, "write your name"),
    ],
)
async def test_a_wrong_form_changes_nothing_and_says_so(
    tmp_path: Path, changes: dict[str, str], status: int, says: str
) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        before = one.desk.everything()
        answer = await one.acknowledge(one.desk.store.alerts.open_alerts()[0].alert_id, **changes)
        assert answer.status_code == status
        assert says in answer.text
        assert one.desk.everything() == before


@pytest.mark.parametrize("alert", [UUID(int=1), "nonsense", "%00"])
async def test_an_item_that_is_not_there(tmp_path: Path, alert: object) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        answer = await one.acknowledge(alert)
        assert answer.status_code == 404
        assert "no such item" in answer.text


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
async def test_another_sites_form_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        alert = one.desk.store.alerts.open_alerts()[0].alert_id
        form = {"csrf": await one.csrf(), "name": "n"}
        answer = await one.http.post(f"/alerts/{alert}/acknowledge", data=form, headers=headers)
        assert answer.status_code == 403
        assert one.told == []
        own = await one.http.post(
            f"/alerts/{alert}/acknowledge", data=form, headers={"origin": f"http://{HOST}"}
        )
        assert own.status_code == 200


# --- what it says ---


async def test_it_is_a_queue_of_people(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        page = await one.inbox()
        titles = re.findall(r"<h3[^>]*>([^<]+)", page)
        assert titles == ["Patient 1", "Patient 2", "Someone in home gw-1 "]
        assert "Severe, confirmed by a second reading: 192/124 mmHg" in page
        assert "Who was it?" in page
        # The device's own digits in its own unit, and what is unknown said to be unknown.
        assert "17.6/10.9 kPa, pulse 72" in page
        assert "time unknown" in page
        assert "clock ahead" in page
        assert page.count("<circle") == 30
        one.later(hours=1)
        assert "overdue" in await one.inbox()


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_it_shows_every_programme_what_came_late_and_what_was_refused(
    tmp_path: Path, language: str
) -> None:
    async with visitor(tmp_path, filled=None) as one:
        fill_other_programmes(one.desk)
        page = (await one.enter(language)).text
        said = {
            "en": (
                "Very low glucose: 2.6 mmol/L (&lt;3.0)",
                "Very low glucose: LO mg/dL (&lt;54); 2 episodes in this item",
                "Earlier and other episodes",
                "Weight rose by 3.0 kg within 2 days, to 83.0 kg (received late)",
                "received late</span>",
                "not used by rules: control solution",
                "not used by rules: implausible",
                "<td>glucose</td><td>LO mg/dL</td>",
                "<td>weight</td><td>83.0 kg</td>",
            ),
            "zh": (
                "血糖过低\uff1aLO mg/dL",
                "本条共 2 次发作",
                "体重 2 天内增加 3.0 kg",
                "延迟收到",
                "未用于规则\uff1a质控液",
            ),
        }[language]
        assert [sentence for sentence in said if sentence not in page] == []
        assert "<svg" not in page  # there is no blood pressure to draw
        assert len(re.findall(r'<section class="item ', page)) == 2


async def test_an_empty_inbox_says_so(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None) as one:
        await one.enter()
        assert "Nobody waits." in await one.inbox()


async def test_what_the_hospital_did_not_take_is_said(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        claimed: list[ClaimedDelivery] = one.desk.store.deliveries.claim_deliveries(one.desk.now, 1)
        one.desk.store.deliveries.mark_failed(claimed[0], "refused <b>it</b>", None)
        page = await one.inbox()
        assert "Not delivered to the hospital&#39;s system: 1." in page
        assert "refused &lt;b&gt;it&lt;/b&gt;" in page


async def test_what_was_refused_is_delivered_again_from_the_page(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        (claimed,) = one.desk.store.deliveries.claim_deliveries(one.desk.now, 1)
        one.desk.store.deliveries.mark_failed(claimed, "unknown patient", None)
        page = await one.inbox()
        assert "A work order for fhir" in page
        fields = dict(re.findall(r'name="(kind|subject|destination)" value="([^"]+)"', page))
        form = {"csrf": await one.csrf(), **fields}
        assert (await one.http.post("/dead-letters/retry", data={**form, "csrf": "x"})).status_code == 403
        wrong = await one.http.post("/dead-letters/retry", data={**form, "subject": "nobody"})
        assert wrong.status_code == 404
        answer = await one.http.post("/dead-letters/retry", data=form)
        assert "Not delivered" not in answer.text
        assert one.desk.store.alerts.dead_letters() == []
        again = await one.http.post("/dead-letters/retry", data=form)
        assert "waits already" in again.text
        one.http.cookies.clear()
        assert (await one.http.post("/dead-letters/retry", data=form)).status_code == 403


async def test_it_speaks_chinese(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        page = (await one.enter("zh-CN,zh;q=0.9,en;q=0.5")).text
        assert '<html lang="zh-Hans">' in page
        assert "重度升高" in page
        assert "我已看到" in page
        page = (await one.http.get("/?lang=en")).text
        assert '<html lang="en">' in page
        assert '<html lang="en">' in await one.inbox()


def test_languages_are_chosen_as_asked() -> None:
    for asked, accepted, expected in [
        ("zh-Hans", "en", "zh-Hans"),
        ("xx", "en", "en"),
        (None, "zh-TW", "zh-Hans"),
        (None, "de, fr;q=0.5", "en"),
        (None, "", "en"),
    ]:
        assert chosen(asked, accepted).tag == expected


def test_every_sentence_has_its_chinese() -> None:
    folder = files("cloud_bridge")
    sentences: set[str] = set()
    for part in ("console/templates", "console", "api"):
        for path in (Path(str(folder)) / part).glob("*"):
            if path.suffix == ".py":
                with path.open("rb") as file:
                    sentences |= {str(m) for _, m, *_ in extract("python", file, keywords={"say": None})}
            elif path.suffix == ".html":
                found = re.findall(r"""say\((["'])(.+?)\1""", path.read_text())
                sentences |= {text for _, text in found}
    sentences |= {"Severe", "High", "Routine", "confirmed", "not yet confirmed by a second reading"}
    sentences |= {*ROLES.values(), *KINDS.values(), *ACTIONS.values()}
    sentences |= {
        *OUTCOME_WORDS.values(),
        *STATES.values(),
        *ASKED.values(),
        *HAPPENED.values(),
        GIVEN_BACK,
        *HEARS.values(),
    }
    assert (set(OUTCOME_WORDS), set(STATES), set(ASKED)) == (set(Outcome), set(AlertState), set(CareRole))
    assert (set(ROLES), set(KINDS), set(ACTIONS)) == (set(Role), set(DataType), set(Action))
    sentences |= {one.value.replace("_", " ") for one in (*Remark, *Failure)}
    assert len(sentences) > 100
    chinese = language("zh-Hans").sentences
    assert sorted(s for s in sentences if s not in chinese) == []
