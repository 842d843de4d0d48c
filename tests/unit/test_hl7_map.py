"""Orders as HL7 v2.6: structure by a second implementation, each field that a receiver needs by value."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import hl7
import pytest
from hl7apy.parser import parse_message

from cloud_bridge.alerts import AlertState
from cloud_bridge.connectors.hl7_map import (
    Message,
    Routing,
    alert_message,
    reading_messages,
    withdrawal,
)
from cloud_bridge.connectors.hl7_segments import composed, escaped, segment, timestamp
from cloud_bridge.rules.base import Reading, Severity
from tests.doubles.bridge_orders import CARE, alert_order, order
from tests.doubles.bridge_readings import blood_pressure, reading
from wire_format.measurement import Absent, Component, GlucoseContext, Specimen
from wire_format.nomenclature import Quantity, Term, Unit

NOW = dt.datetime(2026, 11, 24, 8, 30, 0, 120_000, tzinfo=dt.UTC)
ROUTING = Routing("FOLLOWUP", "WARD", "T")


def one(reading: Reading, revision: int = 1) -> Message:
    return reading_messages(order(reading, revision=revision), ROUTING, NOW)[-1]


def lines(message: Message, kind: str) -> list[list[str]]:
    """The fields of every segment of a kind, the name first."""
    return [line.split("|") for line in message.text.split("\r") if line.startswith(kind)]


def of(quantity: Quantity, *parts: Component, context: GlucoseContext | None = None) -> Reading:
    changed = {"quantity": quantity, "components": parts, "context": context}
    m = blood_pressure("120").model_copy(update=changed)
    return Reading(m, "patient-1", m.time.measured)


def test_a_blood_pressure_is_a_valid_oru_r01() -> None:
    message = one(reading("142", "91"))
    parsed = parse_message(message.text)
    assert parsed.validate()
    assert parsed.msh.msh_9.to_er7() == "ORU^R01^ORU_R01"


@pytest.mark.parametrize("quantity", Quantity)
def test_every_quantity_is_a_message(quantity: Quantity) -> None:
    part = Component(term=Term.PULSE_RATE, unit=Unit.PER_MINUTE, value=Decimal(70))
    assert lines(one(of(quantity, part)), "OBX")


def test_every_value_of_a_blood_pressure() -> None:
    message = one(reading("142", "91"))
    (msh,) = lines(message, "MSH")
    assert msh[2] == "KITELINE^DCA632FFFE010203^EUI-64"
    assert msh[4:7] == ["FOLLOWUP", "WARD", "20261124083000.120+0000"]
    assert (msh[9], msh[10], msh[11]) == (message.control_id, "T", "2.6")
    assert (msh[14], msh[15], msh[17]) == ("NE", "AL", "UNICODE UTF-8")
    assert msh[20] == "IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
    (pid,) = lines(message, "PID")
    assert pid[3] == "42^^^&https://hospital.example/id/patient&URI^PI"
    (obr,) = lines(message, "OBR")
    assert obr[3].startswith(str(reading("142", "91").id))
    assert obr[4] == "182777000^monitoring of patient^SCT"
    assert obr[7] == timestamp(reading("142", "91").measurement.time.received_at)
    found = [(x[2], x[3], x[4], x[5], x[6], x[11]) for x in lines(message, "OBX")]
    assert found == [
        ("", "528391^MDC_DEV_SPEC_PROFILE_BP^MDC", "1.0.0.0", "", "", "X"),
        ("", "150020^MDC_PRESS_BLD_NONINV^MDC", "1.0.0.1", "", "", "X"),
        ("NM", "150021^MDC_PRESS_BLD_NONINV_SYS^MDC", "1.0.0.1.1", "142", "mm[Hg]^mm[Hg]^UCUM", "R"),
        ("NM", "150022^MDC_PRESS_BLD_NONINV_DIA^MDC", "1.0.0.1.2", "91", "mm[Hg]^mm[Hg]^UCUM", "R"),
        ("NM", "149546^MDC_PULS_RATE_NON_INV^MDC", "1.0.0.2", "72", "/min^/min^UCUM", "R"),
    ]
    assert lines(message, "OBX")[0][18] == "C0495FFFFE000001^^C0495FFFFE000001^EUI-64"


@pytest.mark.parametrize(
    ("unit", "value", "specimen", "code"),
    [
        (
            Unit.MMOL_PER_L,
            "6.30",
            Specimen.CAPILLARY_WHOLE_BLOOD,
            "160184^MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD",
        ),
        (Unit.MG_PER_DL, "113", None, "160368^MDC_CONC_GLU_UNDETERMINED_PLASMA"),
    ],
)
def test_glucose_keeps_unit_digits_and_specimen(
    unit: Unit, value: str, specimen: Specimen | None, code: str
) -> None:
    part = Component(term=Term.GLUCOSE, unit=unit, value=value)  # type: ignore[arg-type]  # pydantic reads text
    (_, obx) = lines(one(of(Quantity.GLUCOSE, part, context=GlucoseContext(specimen=specimen))), "OBX")
    assert (obx[3], obx[5], obx[6]) == (f"{code}^MDC", value, f"{unit.value}^{unit.value}^UCUM")


@pytest.mark.parametrize(
    ("absent", "flag"), [(Absent.ABOVE_RANGE, ">"), (Absent.BELOW_RANGE, "<"), (Absent.NOT_A_NUMBER, "")]
)
def test_what_has_no_value_has_none_here(absent: Absent, flag: str) -> None:
    part = Component(term=Term.BODY_WEIGHT, unit=Unit.KG, absent=absent)
    (_, obx) = lines(one(of(Quantity.BODY_WEIGHT, part)), "OBX")
    assert (obx[5], obx[8], obx[11]) == ("", flag, "X")


def test_terms_without_a_code_of_the_standard_say_so() -> None:
    parts = [
        Component(term=Term.MUSCLE_MASS, unit=Unit.KG, value="30.1"),  # type: ignore[arg-type]  # as above
        Component(term=Term.BODY_FAT, unit=Unit.PERCENT, value="21.5"),  # type: ignore[arg-type]  # as above
    ]
    _, muscle, fat = lines(one(of(Quantity.BODY_COMPOSITION, *parts)), "OBX")
    assert muscle[3] == "muscle_mass^muscle_mass^L"
    assert fat[3] == "188748^MDC_BODY_FAT^MDC"


def test_a_revision_takes_the_old_one_back_first() -> None:
    messages = reading_messages(order(reading("142"), revision=3), ROUTING, NOW)
    back, new = messages
    assert [x[11] for x in lines(back, "OBX")] == ["D"]
    assert lines(back, "OBR")[0][3] == str(reading("142").id)
    assert lines(new, "OBX")[2][11] == "C"
    assert len({m.control_id for m in messages}) == 2
    assert "42" not in lines(back, "PID")[0]
    assert withdrawal(reading("142").id, 3, ROUTING, NOW + dt.timedelta(days=1)).control_id == back.control_id


def test_an_unknown_moment_is_not_said() -> None:
    message = one(replace(reading("142", minutes=None), measured=None))
    assert len(lines(message, "OBR")[0]) < 8 or lines(message, "OBR")[0][7] == ""
    assert all(len(x) < 15 or x[14] == "" for x in lines(message, "OBX"))


@pytest.mark.parametrize(
    ("state", "revision", "facets"),
    [
        (AlertState.OPEN, 1, ["start", "active", "enabled"]),
        (AlertState.OPEN, 2, ["update", "active", "enabled"]),
        (AlertState.ACKNOWLEDGED, 3, ["update", "active", "alert-acknowledged"]),
        (AlertState.IN_PROGRESS, 3, ["update", "active", "alert-acknowledged"]),
        (AlertState.RESOLVED, 4, ["end", "inactive", "enabled"]),
        (AlertState.WITHDRAWN, 5, ["end", "inactive", "enabled"]),
    ],
)
def test_an_alert_in_each_state(state: AlertState, revision: int, facets: list[str]) -> None:
    message = alert_message(alert_order(state=state, revision=revision), ROUTING, NOW)
    parsed = hl7.parse(message.text)
    assert str(parsed.segment("MSH")[9]) == "ORU^R40^ORU_R40"
    rows = lines(message, "OBX")
    assert [x[4] for x in rows] == [f"1.0.0.0.{n}" for n in range(1, 8)]
    assert [x[5] for x in rows[2:5]] == facets
    assert (rows[0][5], rows[0][8]) == ("Severe. Call now.", "A~PH~SP")
    assert lines(message, "OBR")[0][29] == str(UUID(int=77))


def test_an_alert_that_asks_for_no_work_says_its_reason_alone() -> None:
    message = alert_message(replace(alert_order(), work=None), ROUTING, NOW)
    assert lines(message, "OBX")[0][5] == "Severe"


def test_the_priority_is_the_severity() -> None:
    whole = alert_order()
    for severity, code in ((Severity.HIGH, "PM"), (Severity.ROUTINE, "PL")):
        finding = replace(whole.alert.finding, severity=severity)
        changed = replace(whole, alert=replace(whole.alert, finding=finding))
        assert lines(alert_message(changed, ROUTING, NOW), "OBX")[5][5] == code
    late = alert_message(replace(whole, alert=replace(whole.alert, late=True)), ROUTING, NOW)
    assert [lines(late, "OBX")[5][5], lines(late, "OBX")[0][8]] == ["PL", "A~PL~SP"]  # it pages nobody


def test_what_would_break_a_segment_is_escaped() -> None:
    nasty = "a|b^c&d~e\\f\rg\nh"
    assert escaped(nasty) == "a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\X0D\\g\\X0A\\h"
    assert composed("x", "", "") == "x"
    whole = replace(
        alert_order(), reason=nasty, care=replace(CARE, patient=replace(CARE.patient, value="4|2"))
    )
    message = alert_message(whole, ROUTING, NOW)
    parsed = hl7.parse(message.text)
    assert [str(s[0]) for s in parsed][:3] == ["MSH", "PID", "OBR"]
    assert len(parsed) == 10
    assert "4\\F\\2" in message.text


def test_fields_stand_at_their_numbers() -> None:
    assert segment("OBX", {1: "1", 4: "x"}) == "OBX|1|||x\r"
    assert segment("MSH", {2: "^~\\&", 4: "x"}) == "MSH|^~\\&||x\r"
