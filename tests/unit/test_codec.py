"""Payload codec, identity and units, over whole values."""

import datetime as dt
from decimal import Decimal
from uuid import UUID

import pytest

from wire_format import topics
from wire_format.canonical import decode, encode
from wire_format.codec import UnknownItem, decode_items, encode_items
from wire_format.errors import MalformedPacket, Misconfigured, Rejected
from wire_format.identity import content_hash, device_id, record_id, stated_id
from wire_format.measurement import (
    Absent,
    BloodPressureContext,
    ClockTrust,
    Component,
    DeviceIdentity,
    DeviceTime,
    Instant,
    Measurement,
    Provenance,
    RawPacket,
    RecordKey,
)
from wire_format.nomenclature import Quantity, Term, Unit
from wire_format.statements import Assignment, Redating
from wire_format.status import Presence, Status, decode_status, encode_status
from wire_format.units import convert

NOW = dt.datetime(2026, 11, 24, 8, 0, 1, 250000, tzinfo=dt.UTC)
BOOT = UUID(int=7)
CUFF = DeviceIdentity(
    device_id=device_id("Example", "BP-1", "SN1", None), maker="Example", model="BP-1", serial="SN1"
)


def reading(systolic: str = "128") -> Measurement:
    components = (
        Component(term=Term.SYSTOLIC, unit=Unit.MMHG, value=Decimal(systolic)),
        Component(term=Term.DIASTOLIC, unit=Unit.MMHG, value=Decimal("82.0")),
        Component(term=Term.MEAN_ARTERIAL, unit=Unit.MMHG, absent=Absent.NOT_A_NUMBER),
    )
    stated = dt.datetime(2026, 11, 24, 9, 0, 0)  # noqa: DTZ001 - a device clock has no zone
    return Measurement(
        measurement_id=stated_id(CUFF.device_id, Quantity.BLOOD_PRESSURE, stated, 1, components),
        quantity=Quantity.BLOOD_PRESSURE,
        device=CUFF,
        components=components,
        context=BloodPressureContext(movement=False, irregular_pulse=True),
        user=1,
        time=DeviceTime(
            received_at=NOW,
            received_uncertainty_ms=50,
            boot_id=BOOT,
            monotonic_ns=5_000_000_000,
            stated=stated,
            trust=ClockTrust.STATED,
            zone_offset_minutes=60,
            measured=Instant(utc=NOW, uncertainty_ms=60_000),
        ),
        provenance=Provenance(
            gateway="gw-1",
            software="0.1.0",
            driver="gatt_push",
            profile="standard/blood_pressure",
            profile_hash="00",
            visit=1,
            ordinal=0,
            raw=(RawPacket(source="2A35", data=bytes.fromhex("00")),),
        ),
    )


def test_items_come_back_equal_and_exact() -> None:
    one = reading()
    assignment = Assignment(
        statement_id=UUID(int=1),
        measurement_id=one.measurement_id,
        person="p-1",
        author="gw-1",
        stated_at=NOW,
        reason="the device is this person's",
    )
    items = (one, assignment, UnknownItem("from_the_future", {"x": [1, "y"]}))
    data = encode_items(items)
    back = decode_items(data)
    assert back == items
    assert encode_items(back) == data
    assert str(back[0].components[1].value) == "82.0"  # the scale survives


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        encode({"v": 1}),
        encode({"v": 2, "items": []}),
        encode({"v": True, "items": []}),
        encode({"v": 1, "items": {}}),
        encode({"v": 1, "items": [["measurement", {}]]}),
        encode({"v": 1, "items": ["measurement"]}),
        encode({"v": 1, "items": [["nul\0", 1]]}),
        encode({"v": 1, "items": [["x" * 65, 1]]}),
        encode({"v": 1, "items": [["x", 1]] * 201}),
        encode({"v": 1, "items": []}) + b"\0",
        bytes.fromhex("a2617601656974656d739fff"),  # indefinite length
    ],
)
def test_anything_else_is_rejected(data: bytes) -> None:
    with pytest.raises(Rejected):
        decode_items(data)


def test_a_field_outside_of_the_schema_is_rejected() -> None:
    payload = decode(encode_items([reading()]))
    payload["items"][0][1]["patient_name"] = "nobody"
    with pytest.raises(Rejected, match="patient_name"):
        decode_items(encode(payload))


def test_duplicate_keys_are_refused() -> None:
    with pytest.raises(MalformedPacket):
        decode(bytes.fromhex("a2617601617602"))


def test_identity_ignores_how_we_came_to_read_it_and_knows_a_revision() -> None:
    one = reading()
    again = one.model_copy(
        update={"time": one.time.model_copy(update={"received_at": NOW + dt.timedelta(days=1)})}
    )
    assert content_hash(one) == content_hash(again)
    assert content_hash(one) != content_hash(reading("129"))
    assert one.measurement_id != reading("129").measurement_id
    key = RecordKey(sequence=15, base_time="2024-01-30T05:58:27")
    assert record_id(CUFF.device_id, Quantity.GLUCOSE, key) == record_id(
        CUFF.device_id, Quantity.GLUCOSE, key
    )
    assert record_id(CUFF.device_id, Quantity.GLUCOSE, key) != record_id(
        CUFF.device_id, Quantity.GLUCOSE, RecordKey(sequence=15, base_time="2025-01-30T05:58:27")
    )


def test_the_published_identity_never_changes() -> None:
    """A changed namespace or encoding would file every stored reading twice."""
    assert str(device_id("Example", "BP-1", "SN1", None)) == "d77b43df-0d4a-51e3-8c24-fc37ac83391e"
    assert str(reading().measurement_id) == "6a8f7514-8155-56dc-915d-7a2a16adab95"


def test_a_component_has_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="either"):
        Component(term=Term.SYSTOLIC, unit=Unit.MMHG)
    with pytest.raises(ValueError, match="either"):
        Component(term=Term.SYSTOLIC, unit=Unit.MMHG, value=Decimal(1), absent=Absent.NOT_A_NUMBER)
    with pytest.raises(ValueError, match="finite"):
        Component(term=Term.SYSTOLIC, unit=Unit.MMHG, value=Decimal("NaN"))


def test_a_redating_has_one_subject() -> None:
    moment = Instant(utc=NOW, uncertainty_ms=10)
    about = {
        "statement_id": UUID(int=1),
        "moment": moment,
        "author": "gw-1",
        "stated_at": NOW,
        "reason": "ntp",
    }
    with pytest.raises(ValueError, match="one measurement"):
        Redating.model_validate(about)
    with pytest.raises(ValueError, match="one measurement"):
        Redating.model_validate(about | {"measurement_id": UUID(int=2), "boot_id": BOOT, "monotonic_ns": 1})
    assert decode_items(encode_items([Redating.model_validate(about | {"boot_id": BOOT, "monotonic_ns": 1})]))


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        ("70", Unit.MG_PER_DL, Unit.MMOL_PER_L, "3.885521437"),
        ("16", Unit.KPA, Unit.MMHG, "120.00992"),
        ("150", Unit.POUND, Unit.KG, "68.0388555"),
        ("98.6", Unit.FAHRENHEIT, Unit.CELSIUS, "37"),
        ("70", Unit.INCH, Unit.METRE, "1.778"),
        ("72.5", Unit.KG, Unit.KG, "72.5"),
    ],
)
def test_conversion(value: str, unit: Unit, to: Unit, expected: str) -> None:
    assert round(convert(Decimal(value), unit, to), 9) == Decimal(expected)


def test_an_unknown_pair_of_units_raises() -> None:
    with pytest.raises(Rejected, match=r"kg to mm\[Hg\]"):
        convert(Decimal(1), Unit.KG, Unit.MMHG)


def test_topics_round_trip_and_refuse() -> None:
    topic = topics.Topic("hospital-1", "gw-1", topics.Channel.UP)
    assert str(topic) == "kiteline/1/hospital-1/gw-1/up"
    assert topics.parse(str(topic)) == topic
    assert topics.subscription("hospital-1", topics.Channel.UP) == "kiteline/1/hospital-1/+/up"
    for bad in ("a/b", "", "+", "#", "-x", "x" * 65, "名"):
        with pytest.raises(Misconfigured):
            topics.Topic("s", bad, topics.Channel.UP)
    for bad in ("kiteline/1/s/g/x", "kiteline/2/s/g/up", "kiteline/1/s/+/up", "kiteline/1/s/g/up/x"):
        with pytest.raises(Rejected):
            topics.parse(bad)


def test_status_round_trip() -> None:
    status = Status(presence=Presence.ONLINE, software="0.1.0", since=NOW, waiting=3)
    assert decode_status(encode_status(status)) == status
    with pytest.raises(Rejected):
        decode_status(encode({"presence": "online", "blood_pressure": 120}))
