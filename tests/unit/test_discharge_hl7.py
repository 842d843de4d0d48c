"""A discharge plan from an ADT^A03: what is read, what is refused with ERR, and what an answer looks like."""

import datetime as dt
from dataclasses import replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.connectors.base import Identifier
from cloud_bridge.connectors.hl7_segments import escaped, unescaped
from cloud_bridge.discharge.hl7_answer import acknowledgement
from cloud_bridge.discharge.hl7_fields import Fields, Hl7Fault, moment, parse
from cloud_bridge.discharge.hl7_plan import MessageRefusedError, header_of, plan_of
from cloud_bridge.discharge.plan import DischargePlan, Fault, PlanRefusedError
from tests.doubles.discharge_messages import a03
from tests.doubles.discharge_plans import BASE, MADE, TERMS, plan

pytestmark = pytest.mark.no_cover  # about discharge plans, which have no floor

NOW = MADE + dt.timedelta(hours=1)
DOCTOR = Identifier(f"{BASE}/staff", "doctor-7")


def fields_of(message: bytes) -> Fields:
    fields = parse(message)
    assert isinstance(fields, Fields), fields
    return fields


def read(message: bytes) -> DischargePlan:
    fields = fields_of(message)
    return plan_of(fields, header_of(fields, TERMS, "P"), TERMS, NOW)


def test_an_a03_is_read() -> None:
    made = read(a03())
    assert made.patient == Identifier(f"{BASE}/patient", "42")
    assert made.stay == Identifier(f"{BASE}/stay", "stay-1")
    assert (made.stated_at, made.discharged_at) == (MADE, dt.datetime(2026, 11, 24, 2, 0, tzinfo=dt.UTC))
    assert (made.physician, made.author) == (Identifier(f"{BASE}/staff", "physician-1"), "physician-1")
    assert (made.family_doctor, made.family_organization) == (DOCTOR, None)
    assert (made.programmes, made.care, made.language) == (("hypertension",), None, "zh-Hans")
    # The plan of the same stay by FHIR is the same plan.
    assert made.plan_id == plan().plan_id


def test_what_an_a03_cannot_say_stays_as_fhir_said_it() -> None:
    said = plan()
    after = read(a03()).after(said)
    assert (after.care, after.family_organization) == (said.care, said.family_organization)
    assert after.digest == said.digest
    # It says neither in which programmes, nor that a plan which is over goes on.
    both = replace(said, programmes=("hypertension", "diabetes"), over=True, author="physician-2")
    after = read(a03()).after(both)
    assert (after.programmes, after.over, after.author) == (both.programmes, True, "physician-2")
    # Of two messages the later one says it.
    first, later = read(a03()), read(a03(changes=(("doctor-7", "doctor-8"),)))
    assert later.after(first).family_doctor == Identifier(f"{BASE}/staff", "doctor-8")
    assert read(a03(diagnosis="")).after(first).programmes == ("hypertension",)


def test_the_family_doctor_of_older_versions_and_of_a_practice() -> None:
    role = "ROL|1|AD|PP|doctor-7^^^^^^^^STAFF"
    older = a03(changes=((role, "PD1|||Practice^^^^^STAFF^^^^practice-7|doctor-8^^^^^^^^STAFF"),))
    assert read(older).family_doctor == Identifier(f"{BASE}/staff", "doctor-8")
    deleted = a03(changes=((role, "ROL|1|DE|PP|doctor-7^^^^^^^^STAFF"),))
    assert read(deleted).family_doctor is None
    both = a03(changes=((role, f"{role}\rPD1||||doctor-8^^^^^^^^STAFF"),))
    with pytest.raises(PlanRefusedError, match="it names more than one"):
        read(both)
    nurse = a03(changes=((role, "ROL|1|AD|AT|doctor-9^^^^^^^^ELSEWHERE"),))
    assert read(nurse).family_doctor is None


def test_diagnoses_name_programmes_only_as_the_site_says_and_when_final() -> None:
    assert read(a03(diagnosis="DG1|1||J45^Asthma^I10|||F")).programmes == ()
    assert read(a03(diagnosis="DG1|1||I10^Hypertension^I10|||A")).programmes == ()
    assert read(a03(diagnosis="DG1|1||I10^Hypertension^I10")).programmes == ("hypertension",)
    other = f"DG1|1||1^x^LOCAL^HTN-HOME^y^{BASE}/orders|||F"
    assert read(a03(diagnosis=other)).programmes == ("hypertension",)


def test_goals_and_orders_in_an_a03_are_remarked_and_not_read() -> None:
    made = read(a03(more=("OBX|1|NM|8480-6^Systolic^LN||130|mm[Hg]", "RXE|1|x")))
    assert made.care is None
    assert [one.partition(":")[0] for one in made.remarks] == ["OBX", "RXE"]


@pytest.mark.parametrize(
    ("change", "where", "code"),
    [
        (("42^^^HOSP^MR", "42^^^OTHER^MR"), "PID-3", "204"),
        (("42^^^HOSP^MR", "42^^^HOSP^MR~43^^^HOSP^MR"), "PID-3", "204"),
        (("42^^^HOSP^MR", '""^^^HOSP^MR'), "PID-3", "204"),
        (("stay-1^^^VISITS", ""), "PV1-19", "101"),
        (("stay-1^^^VISITS", "stay-1^^^OTHER"), "PV1-19", "101"),
        (("20261124100000+0800", ""), "PV1-45", "101"),
        (("20261124100000+0800", "20261124"), "PV1-45", "101"),
        (("20261124100000+0800", "20261341100000"), "PV1-45", "101"),
        (("20261124100000+0800", "20271124100000"), "PV1-45", "102"),
        (("doctor-7^^^^^^^^STAFF", "doctor-7^^^^^^^^NOBODY"), "ROL-4", "204"),
        (("|zh-CN", "|zh-CN|||||||||||||||Y"), "PID-30", "103"),
    ],
)
def test_what_decides_and_is_not_understood_is_refused(
    change: tuple[str, str], where: str, code: str
) -> None:
    with pytest.raises(PlanRefusedError) as refused:
        read(a03(changes=(change,)))
    assert not isinstance(refused.value, MessageRefusedError)
    (fault,) = refused.value.faults
    assert isinstance(fault, Hl7Fault)
    assert (fault.where, fault.code) == (where, code)


@pytest.mark.parametrize(
    ("change", "where", "code"),
    [
        (("ADT^A03^ADT_A03", "ORU^R01"), "MSH-9", "200"),
        (("ADT^A03^ADT_A03", "ADT^A01"), "MSH-9", "201"),
        (("|A1|P|2.5", "|A1|P|3.0"), "MSH-12", "203"),
        (("|A1|P|2.5", "|A1|T|2.5"), "MSH-11", "202"),
        (("|A1|P|2.5", "||P|2.5"), "MSH-10", "101"),
        (("|A1|P|2.5", f"|{'A' * 200}|P|2.5"), "MSH-10", "102"),
        (("20261124023000+0000||", "soon||"), "MSH-7", "102"),
    ],
)
def test_what_is_not_for_us_is_refused_as_a_whole(change: tuple[str, str], where: str, code: str) -> None:
    with pytest.raises(MessageRefusedError) as refused:
        read(a03(changes=(change,)))
    (fault,) = refused.value.faults
    assert isinstance(fault, Hl7Fault)
    assert (fault.where, fault.code) == (where, code)


def test_a_time_without_zone_is_of_the_sender_and_else_of_the_site() -> None:
    local = ("20261124100000+0800", "20261124100000")
    # MSH-7 has a zone (+0000): what has none is of it.
    assert read(a03(changes=((local[0], "20261124020000"),))).discharged_at == dt.datetime(
        2026, 11, 24, 2, tzinfo=dt.UTC
    )
    assert moment("202611241000", ZoneInfo("Asia/Shanghai")) == dt.datetime(2026, 11, 24, 2, tzinfo=dt.UTC)
    assert moment("20261124100000.123-0130", dt.UTC) == dt.datetime(2026, 11, 24, 11, 30, tzinfo=dt.UTC)
    assert moment("", dt.UTC) is None
    sender_at = ("20261124023000+0000||", "20261124103000+0800||")
    made = read(a03(changes=(local, sender_at)))
    assert made.discharged_at == dt.datetime(2026, 11, 24, 2, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize("charset", ["", "UTF-8", "UNICODE UTF-8", "GB 18030-2000"])
def test_characters_are_read_as_the_message_says(charset: str) -> None:
    encoding = "gb18030" if charset.startswith("GB") else "utf-8"
    text = a03(changes=(("UNICODE UTF-8", charset), ("Essential hypertension", "高血压"))).decode()
    assert fields_of(text.encode(encoding)).text("DG1", 3, 2) == "高血压"


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "MSH"),
        (b"hello", "MSH"),
        (b"MSH", "MSH"),
        (b"MSH|^~\\&", "MSH"),
        (a03().replace(b"MSH|^~\\&", b"MSH|^*\\&"), "MSH-2"),
        (a03(changes=(("UNICODE UTF-8", "KLINGON"),)), "MSH-18"),
        (a03().replace(b"Essential", b"\xff\xfe"), "MSH-18"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, where: str) -> None:
    fault = parse(data)
    assert isinstance(fault, Hl7Fault)
    assert fault.where == where


@settings(max_examples=300)
@given(st.data())
def test_damaged_messages_are_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    message = bytearray(a03())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(message) - 1))
        message[place] = data.draw(st.sampled_from(b"|^~\\&\r\n\x00A9\xff"))
    if data.draw(st.booleans()):
        del message[data.draw(st.integers(0, len(message) - 1)) :]
    fields = parse(bytes(message))
    if isinstance(fields, Hl7Fault):
        return
    try:
        plan_of(fields, header_of(fields, TERMS, "P"), TERMS, NOW)
    except PlanRefusedError as error:
        answer = acknowledgement("AE", fields, NOW, faults=error.faults)
        assert hl7.parse(answer.decode()).segment("MSA")[1][0] == "AE"


@given(st.text())
def test_what_is_escaped_comes_back(text: str) -> None:
    assert unescaped(escaped(text)) == text


def test_what_is_no_known_sequence_stays() -> None:
    assert unescaped("\\H\\bold\\N\\ \\X41\\ \\") == "\\H\\bold\\N\\ A \\"


def test_an_answer_names_the_message_and_says_each_fault_in_words() -> None:
    fields = fields_of(a03())
    faults = [Hl7Fault("PID-3", "write one | of them", "204"), Fault("Encounter", "write discharge.nurse")]
    answer = hl7.parse(acknowledgement("AE", fields, NOW, faults=faults, remarks=["OBX: not read"]).decode())
    assert str(answer.segment("MSH")[9]) == "ACK^A03^ACK"
    assert [str(answer.segment("MSA")[n]) for n in (1, 2)] == ["AE", "A1"]
    errors = answer.segments("ERR")
    assert [str(one[2]) for one in errors] == ["PID^1^3", "", ""]
    assert [str(one[4]) for one in errors] == ["E", "E", "W"]
    assert str(errors[0][3]) == "204^Unknown key identifier^HL70357"
    assert answer.unescape(str(errors[0][8])) == "PID-3: write one | of them"
    assert (str(answer.segment("MSH")[5]), str(answer.segment("MSH")[6])) == ("HIS", "HOSP")
    ids = [acknowledgement("AA", fields, NOW + dt.timedelta(seconds=n)) for n in range(3)]
    assert all(one != another for one, another in pairwise(ids))
