"""Patients let somebody read on their own page: what they agreed to is the text that the page showed."""

import datetime as dt
import re
from pathlib import Path

import pytest

from cloud_bridge.access.consent import READERS
from cloud_bridge.access.model import Action, DataType, Role
from cloud_bridge.access.texts import wordings
from cloud_bridge.console.people import KINDS
from cloud_bridge.store.access import SqlAccess
from cloud_bridge.store.sql import SqlStore
from tests.doubles.bridge_desk import AGREED, OFFERED, BridgeDesk, sealer
from tests.doubles.clinic import CLINIC, TO
from tests.doubles.databases import Databases
from tests.doubles.edge_readings import bridge_keys
from tests.doubles.page_visitor import Visitor, visitor
from wire_format.keys import Kem

BOTH = ["alerts", "blood_pressure"]


async def form(one: Visitor, **changes: object) -> dict[str, object]:
    """Fill in the form of the patient's page as it is shown now."""
    page = (await one.http.get("/mine")).text
    (text,) = re.findall(r'name="text" value="([0-9a-f]{64})"', page)
    return {"patient": "patient-1", "to": "nurse", "data": BOTH, "text": text, **changes}


async def send(one: Visitor, **changes: object) -> tuple[int, str]:
    answer = await one.http.post("/mine/give", data={"csrf": await one.csrf(), **await form(one, **changes)})
    return answer.status_code, answer.text


def held(one: Visitor) -> list[tuple[str, str]]:
    return [
        (c.to, c.data.value) for c in one.desk.store.access.consents("patient-1") if c.holds(one.desk.now)
    ]


async def test_what_is_given_lets_read_until_its_last_day_and_is_withdrawn_again(tmp_path: Path) -> None:
    async with visitor(tmp_path, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        await one.sign_in("p1")
        status, page = await send(one, until="2026-11-26")
        assert (status, page.count("holds until 27 Nov 2026, 00:00")) == (200, 2)
        given = one.desk.store.access.consents("patient-1")
        assert {(c.given_by, c.text_version, c.texts) for c in given} == {
            ("p1", OFFERED, wordings(AGREED[OFFERED]))
        }
        assert {c.valid_until for c in given} == {dt.datetime(2026, 11, 26, 16, tzinfo=dt.UTC)}  # in Shanghai
        said = [
            (e.account, e.data, e.allowed, e.reason)
            for e, _ in one.desk.store.access.entries(action=Action.CONSENT)
        ]
        assert said == [("p1", DataType(kind), True, "gave: nurse") for kind in ("blood_pressure", "alerts")]
        await one.sign_in("n1")
        assert "192/124 mmHg" in await one.inbox()
        one.later(minutes=1)  # a code opens once
        await one.sign_in("p1")
        await one.send("/mine/withdraw", patient="patient-1", to="nurse", data="blood_pressure")
        assert held(one) == [("nurse", "alerts")]
        one.later(days=2)
        assert held(one) == [("nurse", "alerts")]
        one.later(hours=8)
        assert held(one) == []


async def test_pressed_twice_is_given_once_and_another_last_day_is_another_consent(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        await one.sign_in("p1")
        for until in ("", "", "2026-12-31"):
            assert (await send(one, until=until))[0] == 200
        assert len(one.desk.store.access.consents("patient-1")) == 4
        # Withdrawn, it can be given again.
        await one.send("/mine/withdraw", patient="patient-1", to="nurse", data="alerts")
        assert ("nurse", "alerts") not in held(one)
        await send(one)
        assert ("nurse", "alerts") in held(one)


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"data": []}, 400, "choose what may be read"),
        ({"data": ["alerts", "diary"]}, 400, "choose what may be read"),
        ({"until": "2026-11-23"}, 400, "choose today or a later day"),
        ({"until": "0001-01-01"}, 400, "choose today or a later day"),
        ({"until": "9999-12-31"}, 400, "choose today or a later day"),
        ({"until": "soon"}, 400, "choose today or a later day"),
        ({"to": "installer"}, 409, "has changed"),
        ({"to": "organization:elsewhere"}, 409, "has changed"),
        ({"to": ""}, 409, "has changed"),
        ({"text": "0" * 64}, 409, "has changed"),
        ({"patient": "patient-2"}, 403, "may not do that"),
        ({"patient": "p" * 65}, 403, "may not do that"),
        ({"csrf": "x"}, 403, ""),
    ],
)
async def test_a_wrong_form_records_no_consent(
    tmp_path: Path, changes: dict[str, object], status: int, said: str
) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        await one.sign_in("p1")
        answered, text = await send(one, **changes)
        assert (answered, said in text) == (status, True)
        access = one.desk.store.access
        assert access.consents("patient-1") == access.consents("patient-2") == []


async def test_only_patients_themselves_give(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("d1", Role.DELEGATE, "home", "patient-1")
        one.consent("delegate", *DataType)
        await one.sign_in("d1")
        assert "/mine/give" not in (await one.http.get("/mine")).text
        sent = {"csrf": await one.csrf(), "patient": "patient-1", "to": "nurse", "data": BOTH}
        assert (await one.http.post("/mine/give", data=sent)).status_code == 403
        assert {to for to, _ in held(one)} == {"delegate"}
        (no,) = [e for e, _ in one.desk.store.access.entries(action=Action.CONSENT)]
        assert (no.account, no.patient, no.allowed) == ("d1", "patient-1", False)


async def test_the_text_is_shown_in_the_readers_language_with_all_that_can_be_chosen(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        await one.sign_in("p1")
        for tag, title in (("en", "Let somebody read"), ("zh-Hans", "允许他人查看")):
            page = (await one.http.get("/mine", params={"lang": tag})).text
            (text,) = [text for text in AGREED[OFFERED] if text.language == tag]
            assert f'<p class="text" lang="{tag}">{text.content.decode()}</p>' in page
            assert title in page
        chosen = re.findall(r'type="(radio|checkbox)" name="(to|data)" value="([^"]+)"', page)
        assert [value for _, name, value in chosen if name == "to"] == [role.value for role in READERS]
        assert [value for _, name, value in chosen if name == "data"] == [kind.value for kind in KINDS]


def test_organizations_are_those_that_the_site_or_the_patient_names(tmp_path: Path) -> None:
    desk = BridgeDesk(tmp_path)
    desk.close()
    store = SqlStore(
        Databases.of(tmp_path),
        sealer,
        (CLINIC,),
        consent_needed={CLINIC: TO},
        texts=AGREED,
        offered=OFFERED,
    )
    try:
        key = bridge_keys().opening.public
        store.sharing.add_organization("keyed", key, key.kem, desk.now)
        assert key.kem in Kem
        store.access.give_consent(
            "patient-2", "organization:other", DataType.ALERTS, text_version="1", by="x", now=desk.now
        )
        organizations = {
            patient: offer.recipients[len(READERS) :]
            for patient in ("patient-1", "patient-2")
            if (offer := store.access.offer(patient)) is not None
        }
        assert organizations == {
            "patient-1": (TO, "organization:keyed"),
            "patient-2": (TO, "organization:keyed", "organization:other"),
        }
        assert SqlAccess(store.engine, AGREED).offer("patient-1") is None
    finally:
        store.close()


async def test_a_text_that_changed_while_it_was_read_is_not_agreed_to(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        await one.sign_in("p1")
        sent = {"csrf": await one.csrf(), **await form(one)}
        one.desk.store.access._offered = "1"  # noqa: SLF001 - the bridge was started again with another text
        answer = await one.http.post("/mine/give", data=sent)
        assert (answer.status_code, "read it anew" in answer.text) == (409, True)
        assert (await send(one))[0] == 200
        assert {c.text_version for c in one.desk.store.access.consents("patient-1")} == {"1"}


async def test_other_words_under_a_version_that_was_agreed_to_are_refused_in_words(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        await one.sign_in("p1")
        assert (await send(one))[0] == 200
        access = one.desk.store.access
        access._texts = AGREED | {OFFERED: AGREED["1"]}  # noqa: SLF001 - somebody changed the file
        status, page = await send(one, to="physician")
        assert (status, "Tell the hospital" in page) == (409, True)
        assert {c.to for c in access.consents("patient-1")} == {"nurse"}
