"""The page where people sign in: who sees and does what, emergencies, and what is on record."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from starlette.routing import Mount

from cloud_bridge.access.audit import review_of
from cloud_bridge.access.engine import Engine
from cloud_bridge.access.matrix import question
from cloud_bridge.access.model import Action, DataType, Role
from cloud_bridge.api.session import COOKIE
from cloud_bridge.console.people import KINDS
from cloud_bridge.rules.base import HOME
from cloud_bridge.store.access import SqlAccess
from cloud_bridge.store.base import ClaimedDelivery
from cloud_bridge.store.engine import open_engine
from tests.doubles.databases import Databases
from tests.doubles.page_visitor import Visitor, csrf_of, visitor

ALL = tuple(DataType)
DENIED = "Your account may not do that"


def alert_of(one: Visitor, subject: str) -> UUID:
    found = one.desk.store.alerts.open_alerts()
    return next(a.alert_id for a in found if a.finding.subject.startswith(subject))


def said(one: Visitor) -> list[tuple[str, Action, str | None, DataType | None, bool]]:
    """What is on record."""
    return [(e.account, e.action, e.patient, e.data, e.allowed) for e, _ in one.desk.store.access.entries()]


# --- who sees and does what: every route, every role ---

PUBLIC = {
    ("GET", "/health"),
    ("GET", "/page.css"),
    ("GET", "/inbox.js"),
    ("GET", "/enter"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
}
WHOEVER_IS_IN = {("GET", "/"), ("GET", "/resolved"), ("POST", "/sign-out")}
ASKED = {
    ("GET", "/audit"): Action.READ_AUDIT,
    ("POST", "/audit/review"): Action.REVIEW,
    ("GET", "/mine"): Action.SEE_READERS,
    ("POST", "/mine/give"): Action.CONSENT,
    ("POST", "/mine/withdraw"): Action.CONSENT,
    ("POST", "/dead-letters/retry"): Action.RETRY_DELIVERY,
    ("GET", "/alerts/{alert_id}"): Action.READ,
    ("POST", "/alerts/{alert_id}/acknowledge"): Action.ACKNOWLEDGE,
    ("POST", "/alerts/{alert_id}/begin"): Action.ACKNOWLEDGE,
    ("POST", "/alerts/{alert_id}/escalate"): Action.ACKNOWLEDGE,
    ("POST", "/alerts/{alert_id}/resolve"): Action.ACKNOWLEDGE,
    ("POST", "/break-glass"): Action.BREAK_GLASS,
}
FORMS = {
    "/alerts/{alert_id}/resolve": {"outcome": "called"},
    "/audit/review": {"number": "99", "remark": "looked into"},
    "/mine/give": {"patient": "patient-1"},
    "/mine/withdraw": {"patient": "patient-1", "to": "installer", "data": "glucose"},
    "/dead-letters/retry": {"kind": "alert", "subject": str(UUID(int=1)), "destination": "fhir"},
    "/break-glass": {"number": "1", "reason": "unconscious, brought in"},
}
ENGINE = Engine()


async def test_no_route_is_without_its_rule(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        routes = {
            (method, route.path)  # type: ignore[attr-defined]  # a route
            for route in one.app.routes
            if not isinstance(
                route, Mount
            )  # the interface for programs: tests/integration/test_api_matrix.py
            for method in route.methods  # type: ignore[attr-defined]  # a route
            if method != "HEAD"
        }
        assert routes == PUBLIC | WHOEVER_IS_IN | set(ASKED)
        for method, path in sorted(set(ASKED) | WHOEVER_IS_IN):
            path = path.replace("{alert_id}", str(alert_of(one, "patient-1")))  # noqa: PLW2901 - filled in
            answer = await one.http.request(method, path, data={"csrf": ""}, follow_redirects=False)
            assert (answer.status_code, "Patient" in answer.text) == (303 if method == "GET" else 403, False)


@pytest.mark.parametrize("team", [False, True], ids=["stranger", "team"])
@pytest.mark.parametrize("consent", [False, True], ids=["nothing-agreed", "agreed"])
@pytest.mark.parametrize("own", [False, True], ids=["others", "own"])
async def test_every_role_at_every_route(tmp_path: Path, *, team: bool, consent: bool, own: bool) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        for role in Role:
            one.hire(role.value, role, "1" if team else "elsewhere", *(["patient-1"] if own else []))
            if consent:
                one.consent(role.value, *ALL)

        def allowed(role: Role, action: Action, data: DataType | None = None) -> bool:
            return ENGINE.decide(question(role, action, data, team=team, consent=consent, own=own)).allowed

        inside: dict[Role, tuple[httpx.Cookies, str]] = {}
        for role in Role:
            one.http.cookies = httpx.Cookies()
            page = (await one.sign_in(role.value)).text
            inside[role] = one.http.cookies, csrf_of(page)
            expect_page(page, partial(allowed, role))
        alert, unknown = alert_of(one, "patient-1"), alert_of(one, HOME)
        for role, (cookies, csrf) in inside.items():
            one.http.cookies = cookies
            for (method, path), action in ASKED.items():
                form = {"csrf": csrf, **FORMS.get(path, {})}
                where = path.replace("{alert_id}", str(alert))
                of_alerts = action in {Action.READ, Action.ACKNOWLEDGE, Action.SEE_READERS}
                data = DataType.ALERTS if of_alerts else None
                answer = await one.http.request(method, where, data=form, follow_redirects=False)
                assert (answer.status_code != 403) is allowed(role, action, data), (role, path)
            home = await one.http.post(f"/alerts/{unknown}/acknowledge", data={"csrf": csrf})
            assert (home.status_code != 403) is allowed(role, Action.TRIAGE), role
            assert ("Opened in an emergency" in await one.inbox()) is allowed(role, Action.BREAK_GLASS)
        assert one.desk.store.access.broken_at() is None


def expect_page(page: str, allowed: Callable[..., bool]) -> None:
    shown = allowed(Action.READ, DataType.ALERTS)
    assert ("Patient 1" in page) is shown
    assert ("192/124" in page) is shown
    assert ("Patient 2" in page) is False
    assert ("Someone in home gw-1" in page) is allowed(Action.TRIAGE)
    assert ("<circle" in page) is (shown and allowed(Action.READ, DataType.BLOOD_PRESSURE))
    assert ("Emergency: open a patient" in page) is allowed(Action.BREAK_GLASS)
    assert ('href="/audit"' in page) is allowed(Action.READ_AUDIT)
    buttons = page.count("I have seen it</button>")
    acts = allowed(Action.ACKNOWLEDGE, DataType.ALERTS)
    assert (buttons > 0) is (acts or allowed(Action.TRIAGE))


# --- what is shown, and what is on record ---


async def test_kinds_without_consent_are_named_and_not_shown(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.consent("nurse", DataType.ALERTS)
        page = (await one.sign_in("n1")).text
        assert "Patient 1" in page
        assert "Not shown, for want of consent: blood pressure, glucose" in page
        for value in ("192", "124", "188", "17.6", "<circle"):
            assert value not in page
        assert "Why is not shown" in page
        reads = [entry for entry in said(one) if entry[1] is Action.READ]
        assert reads == [("n1", Action.READ, "patient-1", DataType.ALERTS, True)]
        one.consent("nurse", DataType.BLOOD_PRESSURE)
        page = await one.inbox()
        assert "192/124 mmHg" in page
        assert "Not shown, for want of consent: glucose, weight and body composition" in page
        assert said(one)[-1] == ("n1", Action.READ, "patient-1", DataType.BLOOD_PRESSURE, True)


async def test_withdrawn_and_switched_off_while_signed_in(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        access = one.desk.store.access
        one.hire("n1", Role.NURSE)
        one.consent("nurse", *ALL)
        await one.sign_in("n1")
        alert, csrf = alert_of(one, "patient-1"), await one.csrf()
        assert "Patient 1" in await one.inbox()
        access.withdraw_consent("patient-1", "nurse", DataType.ALERTS, by="patient-1", now=one.desk.now)
        assert "Patient 1" not in await one.inbox()
        denied = await one.http.post(f"/alerts/{alert}/acknowledge", data={"csrf": csrf})
        assert (denied.status_code, DENIED in denied.text) == (403, True)
        assert one.told == []
        assert said(one)[-1] == ("n1", Action.ACKNOWLEDGE, "patient-1", DataType.ALERTS, False)
        access.set_active("n1", active=False, now=one.desk.now)
        gone = await one.http.post(f"/alerts/{alert}/acknowledge", data={"csrf": csrf})
        assert "not signed in any more" in gone.text
        access.set_active("n1", active=True, now=one.desk.now)
        assert (await one.http.get("/")).url.path == "/sign-in"


async def test_a_withdrawal_by_another_process_stops_the_next_read(tmp_path: Path) -> None:
    """Nothing of a consent is remembered between two reads: the promised 5 s are for what is under way."""
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.consent("nurse", *ALL)
        await one.sign_in("n1")
        inbox = await one.inbox()
        item = f"/alerts/{alert_of(one, 'patient-1')}"
        assert "192/124 mmHg" in inbox
        engine = open_engine(Databases.of(tmp_path))
        gone = SqlAccess(engine).withdraw_consent(
            "patient-1", "nurse", DataType.ALERTS, by="patient-1", now=one.desk.now
        )
        assert gone == 1
        assert "Patient 1" not in await one.inbox()
        denied = await one.http.get(item)
        assert (denied.status_code, "192/124" in denied.text) == (403, False)
        engine.dispose()


async def test_seen_is_by_the_account_whatever_the_form_says(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.consent("nurse", *ALL)
        await one.sign_in("n1")
        assert "Your name or staff number" not in await one.inbox()
        alert = alert_of(one, "patient-1")
        before = one.desk.everything()
        assert (await one.acknowledge(alert, csrf="forged")).status_code == 403
        assert one.desk.everything() == before
        await one.acknowledge(alert, name="somebody else")
        now = one.desk.store.alerts.alert(alert)
        assert now is not None
        assert (now.acknowledged_by, one.told) == ("n1", [True])
        assert (await one.acknowledge(UUID(int=1))).status_code == 404


async def test_what_was_refused_is_shown_to_those_who_may_deliver_it_again(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        claimed: list[ClaimedDelivery] = one.desk.store.deliveries.claim_deliveries(one.desk.now, 1)
        one.desk.store.deliveries.mark_failed(claimed[0], "unknown patient", None)
        for role in (Role.PHYSICIAN, Role.NURSE):
            one.hire(role.value, role)
            page = (await one.sign_in(role.value)).text
            assert ("unknown patient" in page) is (role is Role.NURSE)
        fields = dict(re.findall(r'name="(kind|subject|destination)" value="([^"]+)"', page))
        await one.send("/dead-letters/retry", **fields)
        assert one.desk.store.alerts.dead_letters() == []
        assert said(one)[-1][:2] == ("nurse", Action.RETRY_DELIVERY)


# --- emergencies ---


async def test_a_broken_glass_opens_one_patient_for_an_hour_to_one_session(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("d1", Role.PHYSICIAN, "elsewhere")
        await one.sign_in("d1")
        assert "Patient 1" not in await one.inbox()
        for fields, status in (
            ({"number": "1", "reason": "urgent"}, 403),
            ({"number": "1", "reason": "x" * 501}, 422),
            ({"number": "10", "reason": "unconscious, brought in"}, 404),
            ({"number": "patient-1", "reason": "unconscious, brought in"}, 404),
            ({"number": "%", "reason": "unconscious, brought in"}, 404),
            ({"number": "1", "reason": "unconscious, brought in", "csrf": "x"}, 403),
        ):
            answer = await one.send("/break-glass", **fields)
            assert (answer.status_code, "Patient 1" in answer.text) == (status, False)
        page = (await one.send("/break-glass", number=" 1 ", reason="unconscious, brought in")).text
        assert "Opened in an emergency, on record: 1" in page
        assert "open until 24 Nov 2026, 17:30" in page
        assert "192/124 mmHg" in page
        assert "<circle" in page
        assert "Patient 2" not in page
        alert = alert_of(one, "patient-1")
        assert (await one.acknowledge(alert)).status_code == 403
        assert ("d1", Action.READ, "patient-1", DataType.BLOOD_PRESSURE, True) in said(one)
        key = one.http.cookies[COOKIE]
        one.later(minutes=15)
        one.http.cookies.clear()
        assert "Patient 1" not in (await one.sign_in("d1")).text  # another session of the same account
        one.http.cookies.clear()
        one.http.cookies.set(COOKIE, key, domain="127.0.0.1", path="/")
        assert "Patient 1" in await one.inbox()


async def test_a_broken_glass_is_whole_again_after_an_hour(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("d1", Role.PHYSICIAN, "elsewhere")
        await one.sign_in("d1")
        await one.send("/break-glass", number="1", reason="unconscious, brought in")
        for minutes, open_still in ((20, True), (20, True), (19, True), (1, False)):
            one.later(minutes=minutes)
            assert ("Patient 1" in await one.inbox()) is open_still
        one.desk.store.access.set_active("d1", active=False, now=one.desk.now)
        assert (await one.http.get("/")).url.path == "/sign-in"


async def test_an_emergency_is_looked_into_by_an_auditor(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("d1", Role.PHYSICIAN, "elsewhere")
        one.hire("a1", Role.AUDITOR, "hospital")
        await one.sign_in("d1")
        await one.send("/break-glass", number="1", reason="unconscious <b>brought in</b>")
        await one.sign_in("a1")
        page = (await one.http.get("/audit")).text
        assert "Emergencies: 1" in page
        assert "unconscious &lt;b&gt;brought in&lt;/b&gt;" in page
        ((entry, review),) = one.desk.store.access.emergencies(10)
        assert review is None
        for fields, status in (
            ({"number": str(entry.number), "remark": " "}, 422),
            ({"number": str(entry.number), "remark": "x" * 501}, 422),
            ({"number": "1000", "remark": "asked"}, 404),
            ({"number": str(entry.number + 1), "remark": "asked"}, 404),
            ({"number": "x", "remark": "asked"}, 404),
        ):
            assert (await one.send("/audit/review", **fields)).status_code == status
        page = (
            await one.send("/audit/review", number=str(entry.number), remark="asked: 1: it was right")
        ).text
        assert "a1: asked: 1: it was right" in page
        assert "Mark as reviewed" not in page
        ((_, review),) = one.desk.store.access.emergencies(10)
        assert review is not None
        assert (review.account, review.reason) == ("a1", review_of(entry.number, "asked: 1: it was right"))


# --- the record, and a patient's own page ---


async def test_an_auditor_sees_who_read_and_whether_the_chain_is_whole(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.hire("a1", Role.AUDITOR, "hospital")
        for patient in ("patient-1", "patient-2"):
            one.consent("nurse", *ALL, patient=patient)
        await one.sign_in("n1")
        await one.sign_in("a1")
        page = (await one.http.get("/audit")).text
        assert "The chain is whole" in page
        assert {"patient-1", "patient-2"} <= set(re.findall(r"<td>(patient-\d)</td>", page))
        for asked in ("2", "patient-2"):
            page = (await one.http.get("/audit", params={"patient": asked})).text
            assert set(re.findall(r"<td>(patient-\d)</td>", page)) == {"patient-2"}
        assert "Newest entries: 0" in (await one.http.get("/audit?patient=nobody")).text
        with one.desk.store.engine.begin() as connection:
            connection.execute(text("UPDATE audit SET account = 'x' WHERE number = 2"))
        assert "The chain is broken at entry 2" in (await one.http.get("/audit")).text


async def test_a_patient_sees_their_readers_and_withdraws_by_one_act(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        for patient in ("patient-1", "patient-2"):
            one.consent("nurse", DataType.ALERTS, DataType.BLOOD_PRESSURE, patient=patient)
        one.consent("nurse", DataType.ALERTS)
        await one.sign_in("n1")
        await one.sign_in("p1")
        page = (await one.http.get("/mine")).text
        assert "<td>n1</td><td>nurse</td><td>read: blood pressure</td>" in page
        assert "Patient 2" not in page
        assert "patient-2" not in page
        foreign = {"patient": "patient-2", "to": "nurse", "data": "alerts"}
        assert (await one.send("/mine/withdraw", **foreign)).status_code == 403
        long = await one.send("/mine/withdraw", patient="p" * 65, to="nurse", data="alerts")
        assert long.status_code == 403
        for fields in ({"to": "nurse", "data": "nonsense"}, {"to": "nobody", "data": "alerts"}):
            answer = await one.send("/mine/withdraw", patient="patient-1", **fields)
            assert (answer.status_code, "no such consent" in answer.text) == (404, True)
        page = (await one.send("/mine/withdraw", patient="patient-1", to="nurse", data="alerts")).text
        assert page.count("<p>withdrawn ") == 2  # both that were given for this
        assert page.count("Withdraw: ") == 1
        one.later(minutes=1)
        await one.sign_in("n1")
        titles = re.findall(r"<h3[^>]*>([^<]+)", await one.inbox())
        assert titles == ["Patient 2", "Someone in home gw-1 "]
        consents = one.desk.store.access.consents("patient-1")
        assert {one.withdrawn_by for one in consents if one.data is DataType.ALERTS} == {"p1"}


async def test_a_delegate_sees_readers_but_withdraws_nothing(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("daughter", Role.DELEGATE, "home", "patient-1")
        one.consent("delegate", DataType.ALERTS)
        await one.sign_in("daughter")
        page = (await one.http.get("/mine")).text
        assert "holds until withdrawn" in page
        assert "Withdraw: " not in page
        answer = await one.send("/mine/withdraw", patient="patient-1", to="delegate", data="alerts")
        assert answer.status_code == 403
        assert [c.withdrawn_at for c in one.desk.store.access.consents("patient-1")] == [None]


async def test_pages_speak_chinese(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        one.hire("a1", Role.AUDITOR, "hospital")
        one.consent("nurse", *ALL)
        one.http.headers["accept-language"] = "zh-CN"
        assert "身份验证器" in (await one.http.get("/sign-in")).text
        page = (await one.sign_in("p1")).text
        assert all(word in page for word in ("已登录", "p1", "患者"))
        assert "谁看过我的数据" in (await one.http.get("/mine")).text
        await one.sign_in("a1")
        assert "记录链完整" in (await one.http.get("/audit")).text
        english = (await one.http.get("/audit?lang=en")).text
        assert '<html lang="en">' in english
        assert 'href="/audit?lang=zh-Hans"' in english
        assert KINDS[DataType.ALERTS] == "alerts"
