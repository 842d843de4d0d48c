"""Decoders raise nothing but MalformedPacket, and every value object gives its bytes back."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.date_time import DateTime
from device_drivers.decoding import DECODERS, body_composition, glucose, join, with_context
from device_drivers.medfloat import MedFloat
from device_drivers.profile import Decode
from device_drivers.quantities.blood_pressure import BloodPressureFeature, BloodPressureMeasurement, Layout
from device_drivers.quantities.body import BodyCompositionMeasurement, WeightMeasurement, WeightScaleFeature
from device_drivers.quantities.current_time import CurrentTime
from device_drivers.quantities.glucose import GlucoseFeature, GlucoseMeasurement, GlucoseMeasurementContext
from device_drivers.quantities.oximetry import PlxSpotCheck
from device_drivers.quantities.record_access import RecordAccess
from device_drivers.quantities.temperature import TemperatureMeasurement
from wire_format.canonical import decode
from wire_format.codec import decode_items
from wire_format.errors import MalformedPacket, Rejected
from wire_format.measurement import Absent, Component, Failure, GlucoseContext, Remark
from wire_format.nomenclature import Term

BEURER = Layout(user_always=True, tail_order="big")
PARSERS: dict[str, Callable[[bytes], object]] = {
    "2A35": BloodPressureMeasurement.from_bytes,
    "2A35 with overrides": lambda data: BloodPressureMeasurement.from_bytes(data, BEURER),
    "2A49": BloodPressureFeature.from_bytes,
    "2A18": GlucoseMeasurement.from_bytes,
    "2A34": GlucoseMeasurementContext.from_bytes,
    "2A51": GlucoseFeature.from_bytes,
    "2A52": RecordAccess.from_bytes,
    "2A9D": WeightMeasurement.from_bytes,
    "2A9E": WeightScaleFeature.from_bytes,
    "2A9C": BodyCompositionMeasurement.from_bytes,
    "2A1C": TemperatureMeasurement.from_bytes,
    "2A5E": PlxSpotCheck.from_bytes,
    "2A2B": CurrentTime.from_bytes,
    "Date Time": DateTime,
    "SFLOAT or FLOAT": MedFloat.from_bytes,
}
FIXED_LENGTH = {"2A49": 2, "2A9E": 4, "2A51": 2}


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=40))
def test_parsing_any_bytes_gives_them_back_or_is_malformed(name: str, data: bytes) -> None:
    try:
        parsed = PARSERS[name](data)
    except MalformedPacket:
        return
    assert bytes(parsed) == data[: FIXED_LENGTH.get(name, len(data))]  # type: ignore[call-overload]
    assert PARSERS[name](bytes(parsed)) == parsed  # type: ignore[call-overload]


@pytest.mark.parametrize("source", DECODERS)
@given(data=st.binary(max_size=40))
def test_decoding_any_bytes_is_malformed_or_has_a_reason_for_each_gap(source: str, data: bytes) -> None:
    try:
        decoded = DECODERS[source](data, Decode())
    except MalformedPacket:
        return
    assert decoded.components
    assert all((c.value is None) != (c.absent is None) for c in decoded.components)


@given(data=st.binary(max_size=60))
def test_payloads_and_cbor_are_rejected_not_crashed(data: bytes) -> None:
    for read in (decode_items, decode):
        try:
            read(data)
        except Rejected:
            continue


@given(word=st.integers(0, 0xFFFF))
def test_sfloat_is_exact(word: int) -> None:
    one = MedFloat(word, 2)
    assert MedFloat.from_bytes(bytes(one)) == one
    if one.value is not None:
        mantissa = (word & 0xFFF) - (0x1000 if word & 0x800 else 0)
        exponent = (word >> 12) - (16 if word >> 15 else 0)
        assert one.value == Decimal(mantissa) * Decimal(10) ** exponent


@given(value=st.decimals(min_value=-2000, max_value=2000, places=1, allow_nan=False))
def test_a_number_that_fits_survives_encoding(value: Decimal) -> None:
    try:
        assert MedFloat.of(value).value == value
    except MalformedPacket:
        assert abs(value.scaleb(1)) > 2045


@given(moment=st.datetimes(min_value=dt.datetime(1582, 1, 1), max_value=dt.datetime(9999, 1, 1)))  # noqa: DTZ001
def test_a_moment_survives_its_seven_bytes(moment: dt.datetime) -> None:
    assert DateTime.of(moment).stated == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    ("data", "unknown", "stated"),
    [("000004110a0a0a", True, None), ("ea070d010a0a0a", False, None), ("ea0702 1e0a0a0a", False, None)],
)
def test_unknown_and_impossible_dates_are_said_to_be(data: str, unknown: bool, stated: None) -> None:
    stamp = DateTime(bytes.fromhex(data))
    assert (stamp.unknown, stamp.stated) == (unknown, stated)


def test_a_meal_mark_is_merged_and_a_foreign_context_is_refused() -> None:
    record = glucose(bytes.fromhex("1b0f00e807011e053a1b53016fb0f80000"), Decode())
    merged = with_context(record, bytes.fromhex("060f000211"))
    assert isinstance(merged.context, GlucoseContext)
    assert (merged.context.meal, merged.context.tester, merged.context.health) == ("postprandial", 1, 1)
    assert merged.components == record.components
    with pytest.raises(Rejected, match="Only a glucose record"):
        with_context(body_composition(bytes.fromhex("0000c200"), Decode()), bytes.fromhex("060f000211"))
    overrun = with_context(record, bytes.fromhex("080f00ffff32"))
    assert isinstance(overrun.context, GlucoseContext)
    assert (overrun.context.exercise_seconds, overrun.context.exercise_overrun) == (None, True)


@pytest.mark.parametrize(
    ("data", "absent"),
    [
        ("0a0900ea070b17080000fe07112000", Absent.ABOVE_RANGE),
        ("0a0900ea070b170800006fb0112000", Absent.ABOVE_RANGE),
        ("0a0900ea070b170800006fb0114000", Absent.BELOW_RANGE),
        ("020900ea070b17080000020811", Absent.BELOW_RANGE),
        ("020900ea070b17080000ff0711", Absent.NOT_A_NUMBER),
        ("020900ea070b17080000000811", Absent.NOT_AT_THIS_RESOLUTION),
        ("000900ea070b17080000", Absent.NOT_MEASURED),
    ],
)
def test_hi_lo_and_special_values_are_named(data: str, absent: Absent) -> None:
    decoded = glucose(bytes.fromhex(data), Decode())
    assert decoded.components[0].absent is absent
    outside = absent in {Absent.ABOVE_RANGE, Absent.BELOW_RANGE}
    assert (decoded.failure is None) == outside


@pytest.mark.parametrize("kind", ["1a", "4f"])
def test_control_solution_is_marked(kind: str) -> None:
    decoded = glucose(bytes.fromhex("020900ea070b170800006fb0" + kind), Decode())
    assert isinstance(decoded.context, GlucoseContext)
    assert decoded.context.control_solution


@pytest.mark.parametrize(
    ("status", "failure"),
    [("0002", Failure.INTERRUPTED), ("0200", Failure.DEVICE_FAULT), ("0004", Failure.DEVICE_FAULT)],
)
def test_a_meter_that_failed_says_so(status: str, failure: Failure) -> None:
    assert glucose(bytes.fromhex("0a0900ea070b170800006fb011" + status), Decode()).failure is failure


def test_mol_per_litre_becomes_mmol_exactly() -> None:
    decoded = glucose(bytes.fromhex("060900ea070b17080000" + "3dc011"), Decode())  # 61e-4 mol/L
    assert decoded.components[0].value == Decimal("6.1")


@pytest.mark.parametrize(
    ("source", "data", "failure", "remarks"),
    [
        ("2A35", "16ff07ff07ff07e80706170e230aff070000", Failure.NO_RESULT, ()),
        ("2A35", "e07c0056006100", None, (Remark.RESERVED_BITS,)),
        ("2A35", "107c0056006100c0ff", None, (Remark.RESERVED_BITS,)),
        ("2A35", "007c005600610001", None, (Remark.TRAILING_BYTES,)),
        ("2A35", "0056007c006100", None, (Remark.DIASTOLIC_NOT_BELOW_SYSTOLIC,)),
        ("2A35", "00ff0356006100", None, (Remark.IMPLAUSIBLE,)),
        ("2A35", "017c0056006100", None, (Remark.IMPLAUSIBLE,)),
        ("2A35", "01a5f06ef07ff0", None, ()),
        ("2A9D", "00ffff", Failure.NO_RESULT, ()),
        ("2A9D", "000100", None, (Remark.IMPLAUSIBLE,)),
        ("2A1C", "00ffff7f00", Failure.NO_RESULT, ()),
        ("2A1C", "04530d00fe0c", None, (Remark.RESERVED_BITS,)),
        ("2A5E", "2062004800", None, (Remark.RESERVED_BITS,)),
        ("2A5E", "0e620048000080000000050000", Failure.NO_RESULT, (Remark.TRAILING_BYTES,)),
        ("2A5E", "02620048000040", None, (Remark.QUESTIONABLE,)),
    ],
)
def test_bad_results_and_departures_are_said(
    source: str, data: str, failure: Failure | None, remarks: tuple[Remark, ...]
) -> None:
    decoded = DECODERS[source](bytes.fromhex(data), Decode())
    assert (decoded.failure, decoded.remarks) == (failure, remarks)


def test_a_zero_mean_pressure_is_absent_where_the_profile_says_so() -> None:
    data = bytes.fromhex("566a0047000000ea07080b121f00003f000000")
    overrides = Decode(user_always=True, tail_order="big", zero_is_absent=(Term.MEAN_ARTERIAL,))
    parts = {c.term: c for c in DECODERS["2A35"](data, overrides).components}
    assert parts[Term.MEAN_ARTERIAL].absent is Absent.NOT_MEASURED
    assert parts[Term.PULSE_RATE].value == 63


def test_a_composition_in_two_packets_is_one() -> None:
    first = body_composition(bytes.fromhex("0610c200ea070b18100000017d00"), Decode())
    assert first.more_follows
    second = body_composition(bytes.fromhex("0014ffff783e"), Decode())
    joined = join(first, second)
    found: dict[Term, Component] = {c.term: c for c in joined.components}
    assert found[Term.BODY_FAT].value == Decimal("19.4")
    assert found[Term.BODY_WEIGHT].value == Decimal("79.960")
    assert (joined.user, joined.more_follows, joined.failure) == (1, False, None)


def test_feature_words_are_named() -> None:
    assert BloodPressureFeature(0b101).names == ("body_movement", "irregular_pulse")
    with pytest.raises(MalformedPacket):
        GlucoseFeature.from_bytes(b"\1")
    with pytest.raises(MalformedPacket, match="fit"):
        MedFloat.of(Decimal(5000))
