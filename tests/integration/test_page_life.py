"""What people do with items at the page: each step, both languages, wrong forms, and who was first."""

import datetime as dt
import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_bridge.access.model import DataType, Role
from cloud_bridge.alerts import Act, Actor, AlertState, Move, Outcome
from cloud_bridge.duty import Duty
from cloud_bridge.rules.base import HOME
from tests.doubles.bridge_desk import told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.page_visitor import Visitor, visitor

STEPS = ("I have seen it", "I am working on it", "Resolved", "Hand on: physician")


def first(one: Visitor, subject: str = "patient-1") -> object:
    found = one.desk.store.alerts.open_alerts()
    return next(a.alert_id for a in found if a.finding.subject.startswith(subject))


def section(page: str, alert: object) -> str:
    """What the page says of one item."""
    return next(part for part in page.split('<section class="item')[1:] if f"/alerts/{alert}" in part)


async def buttons(one: Visitor, alert: object) -> list[str]:
    """What can be done with an item: in the inbox, and on its own page."""
    both = section(await one.inbox(), alert), section((await one.http.get(f"/alerts/{alert}")).text, alert)
    return [found for part in both for found in re.findall(r"<button[^>]*>([^<]+)</button>", part)]


async def test_an_item_is_seen_worked_on_and_resolved(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        alert = first(one)
        assert await buttons(one, alert) == list(STEPS)
        await one.move(alert, "acknowledge")
        assert await buttons(one, alert) == list(STEPS[1:])
        works = await one.move(alert, "begin", name="nurse-8")
        assert await buttons(one, alert) == list(STEPS[2:])
        assert "nurse-8 works on it, since 24 Nov 2026, " in section(works.text, alert)
        done = await one.move(alert, "resolve", outcome="admitted", note="  by   ambulance ")
        assert done.url.path == "/resolved"
        assert "Resolved in the last 14 days: 1" in done.text
        lines = re.findall(r"<tr><td[^>]*>[^<]+</td><td>([^<]+)</td><td>([^<]+)</td></tr>", done.text)
        assert lines == [
            ("Raised", "by itself"),
            ("Found again, confirmed", "by itself"),
            ("Seen", "nurse-7"),
            ("Being worked on", "nurse-8"),
            ("Resolved: admitted · by ambulance", "nurse-7"),
        ]
        assert str(alert) not in await one.inbox()
        assert one.told == [True, True, True]
        chinese = (await one.http.get("/resolved?lang=zh-Hans")).text
        for words in ("已入院", "处理中", "最近 14 天已解决", "重度升高"):
            assert words in chinese
        one.later(days=15)
        await one.enter()
        assert "None." in (await one.http.get("/resolved?lang=en")).text


async def test_an_items_own_page_keeps_a_form_that_is_being_filled_in(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        alert = first(one)
        page = (await one.http.get(f"/alerts/{alert}")).text
        assert 'http-equiv="refresh"' in await one.inbox()
        assert 'http-equiv="refresh"' not in page
        assert "Patient 1" in page
        assert "· open" in page
        await one.move(alert, "resolve", outcome="called")
        page = (await one.http.get(f"/alerts/{alert}")).text
        assert ("<form" in page, "· resolved" in page) == (False, True)
        home = (await one.http.get(f"/alerts/{first(one, HOME)}")).text
        assert "Someone in home gw-1" in home
        for wrong in ("nonsense", "00000000-0000-0000-0000-000000000001"):
            assert (await one.http.get(f"/alerts/{wrong}")).status_code == 404
        one.http.cookies.clear()
        assert (await one.http.get(f"/alerts/{alert}")).status_code == 403


async def test_whoever_is_second_reads_who_was_first(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        alert = first(one)
        assert (await one.move(alert, "resolve", outcome="false_alarm", name="{nurse}")).status_code == 200
        second = await one.move(alert, "resolve", outcome="called", name="nurse-9")
        assert second.status_code == 409
        told = "Nothing was changed: {nurse} was first, 24 Nov 2026, 16:30. It is resolved (false alarm)."
        assert told in html.unescape(second.text)
        one.http.headers["accept-language"] = "zh"
        second = await one.move(alert, "begin", name="nurse-9")
        assert "已于 2026年11月24日 16:30 先处理" in second.text
        other = first(one, "patient-2")
        for _ in range(2):  # pressed twice: no news, and no fault of theirs
            assert (await one.move(other, "acknowledge")).status_code == 200
        assert (await one.move(other, "acknowledge", name="nurse-9")).status_code == 409


async def test_what_is_withdrawn_meanwhile_is_said_to_be(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        alert = first(one)
        with one.desk.store.intake.transaction() as transaction:
            known = next(a for a in transaction.alerts_of("patient-1") if a.alert_id == alert)
            gone = replace(known, state=AlertState.WITHDRAWN, revision=known.revision + 1)
            transaction.save_alert(gone, "withdrawn", one.desk.now)
        answer = await one.move(alert, "escalate")
        assert (answer.status_code, "it is withdrawn by now" in answer.text) == (409, True)


async def test_handing_on_asks_the_next_role_and_there_the_buttons_end(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        alert = first(one)
        page = (await one.move(alert, "escalate", note="please look")).text
        assert "Asked now: physician" in section(page, alert)
        assert await buttons(one, alert) == list(STEPS[:3])
        assert (await one.move(alert, "escalate")).status_code == 422
        now = one.desk.store.alerts.alert(alert)  # type: ignore[arg-type]  # its id
        assert now is not None
        assert (now.state, now.escalation) == (AlertState.OPEN, 1)
        one.http.headers["accept-language"] = "zh"
        assert "当前负责\uff1a医生" in section(await one.inbox(), alert)


@pytest.mark.parametrize(
    ("step", "fields", "status", "says"),
    [
        ("resolve", {"outcome": ""}, 422, "say what came of it"),
        ("resolve", {"outcome": "cured"}, 422, "say what came of it"),
        ("resolve", {"outcome": "repaired"}, 422, "no such step"),
        ("resolve", {"outcome": "called", "csrf": "forged"}, 403, "too old"),
        ("resolve", {"outcome": "called", "note": "x" * 501}, 422, "a shorter remark"),
        ("resolve", {"outcome": "called", "note": "a\x00b"}, 422, "a shorter remark"),
        ("begin", {"name": ""}, 422, "write your name"),
        ("begin", {"name": "a\x1bb"}, 422, "write your name"),
        ("escalate", {"name": " "}, 422, "write your name"),
        ("withdraw", {}, 404, ""),
        ("reopen", {}, 404, ""),
    ],
)
async def test_a_wrong_step_changes_nothing_and_says_so(
    tmp_path: Path, step: str, fields: dict[str, str], status: int, says: str
) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        before = one.desk.everything(), one.desk.table("alert_history")
        answer = await one.move(first(one), step, **fields)
        assert (answer.status_code, says in answer.text) == (status, True)
        assert (one.desk.everything(), one.desk.table("alert_history")) == before


async def test_a_reason_with_braces_is_shown_as_it_was_written(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        page = await one.move(first(one), "resolve", outcome="called", note="<b>{0} {name}</b>")
        assert "&lt;b&gt;{0} {name}&lt;/b&gt;" in page.text


# --- a page that was open while something happened ---


async def asking(one: Visitor, address: str, alert: object) -> str:
    found = re.search(r'name="asking" value="([^"]*)"', section((await one.http.get(address)).text, alert))
    assert found is not None
    return found[1]


async def test_a_stale_page_does_not_answer_for_the_next_role(tmp_path: Path) -> None:
    async with visitor(tmp_path) as one:
        await one.enter()
        alert = first(one)
        shown = {page: await asking(one, page, alert) for page in ("/", f"/alerts/{alert}")}
        assert set(shown.values()) == {"0.0"}
        one.desk.wake(one.desk.now + dt.timedelta(minutes=20))  # the physician is asked by now
        before = one.desk.everything(), one.desk.table("alert_history")
        for step in ("acknowledge", "begin", "escalate"):
            answer = await one.move(alert, step, asking=shown["/"])
            assert answer.status_code == 409
            assert "Nothing was changed: since this page was opened something happened" in answer.text
            assert "the item asks anew (physician)" in answer.text
            assert f'href="/alerts/{alert}"' in answer.text
        assert (one.desk.everything(), one.desk.table("alert_history")) == before
        one.http.headers["accept-language"] = "zh"
        assert "该事项已重新提请处理" in (await one.move(alert, "begin", asking="0.0")).text
        # What the role before has finished is finished; and what is shown now is answered.
        assert (await one.move(alert, "begin", asking=await asking(one, "/", alert))).status_code == 200
        assert (await one.move(alert, "resolve", outcome="called", asking="0.0")).status_code == 200


async def test_a_second_reading_does_not_make_a_page_stale(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None) as one:
        home = SealingHome()
        one.desk.receive(home, home.seal(told(blood_pressure("192", "124"))))
        await one.enter()
        alert = first(one)
        shown = await asking(one, "/", alert)
        one.desk.receive(home, home.seal(told(blood_pressure("188", "122", minutes=4))))
        assert (await one.move(alert, "acknowledge", asking=shown)).status_code == 200
        # A new episode does: whoever saw it before is asked again, and is told so.
        one.later(hours=20)
        one.desk.receive(home, home.seal(told(blood_pressure("199", "122", minutes=20 * 60))))
        page = await one.inbox() if await one.enter() else ""
        assert "2 episodes in this item" in page
        assert "Earlier and other episodes" in page
        assert (await one.move(alert, "begin", asking=shown)).status_code == 409
        assert (await one.move(alert, "acknowledge", asking="1.0")).status_code == 200


# --- nobody is on duty ---


@pytest.mark.parametrize(
    ("hour", "says"),
    [(3, "on duty until 24 Nov 2026, 08:00."), (9, None), (20, "until 25 Nov 2026, 08:00.")],
)
async def test_the_page_says_when_nobody_is_on_duty(tmp_path: Path, hour: int, says: str | None) -> None:
    day = (dt.time(8), dt.time(17))
    duty = Duty(hours=(day,) * 7, emergency="120")
    async with visitor(tmp_path, filled=None, duty=duty, zone=dt.UTC) as one:
        one.desk.now = one.desk.now.replace(hour=hour)
        page = (await one.enter()).text
        assert ('id="off-duty"' in page) is (says is not None)
        assert (says or "Who needs me now?") in page


# --- with accounts ---


async def test_resolved_items_are_shown_to_those_who_may_see_them(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        now = one.desk.now
        for alert in one.desk.store.alerts.open_alerts():
            act = Act(Move.RESOLVE, Actor.PERSON, now, "n0", Outcome.CALLED)
            assert one.desk.store.alerts.move(alert.alert_id, act).held
        one.hire("n1", Role.NURSE)
        one.hire("i1", Role.INSTALLER)
        one.consent("nurse", DataType.ALERTS)
        await one.sign_in("n1")
        page = (await one.http.get("/resolved")).text
        assert "Patient 1" in page
        assert "192/124" not in page
        assert "Why is not shown: no consent for it." in page
        assert "Patient 2" not in page
        assert "Someone in home gw-1" in page
        one.consent("nurse", *DataType)
        assert "192/124" in (await one.http.get("/resolved")).text
        one.later(minutes=1)
        await one.sign_in("i1")
        assert "Resolved in the last 14 days: 0" in (await one.http.get("/resolved")).text


async def test_each_step_is_on_record_with_its_name(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.consent("nurse", DataType.ALERTS)
        await one.sign_in("n1")
        alert, home = first(one), first(one, HOME)
        for step in ("acknowledge", "begin", "resolve"):
            await one.move(alert, step, outcome="called", name="somebody else")
        await one.move(home, "begin")
        _, *said = [e.reason for e, _ in one.desk.store.access.entries() if e.reason]  # the account first
        steps = [f"{step} {alert}" for step in ("acknowledge", "begin", "resolve")]
        assert said == ["password and code", *steps, f"begin {home}"]
        (done,) = one.desk.store.alerts.resolved(one.desk.now)
        assert (done.moved_by, done.acknowledged_by) == ("n1", "n1")
