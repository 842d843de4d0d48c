"""What came later into the standards: shapes give their bytes back, checks and statuses are heeded."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.crc import mcrf4xx
from device_drivers.date_time import DateTime
from device_drivers.decoded import PLAIN
from device_drivers.decoding import DECODERS
from device_drivers.decoding_streams import numbered_observation, observation
from device_drivers.elapsed_time import EPOCH_1900, ElapsedTime, EpochSeconds
from device_drivers.medfloat import MedFloat
from device_drivers.quantities.continuous_glucose import CgmFeature, CgmMeasurement, SessionStart, records
from device_drivers.quantities.enhanced_blood_pressure import EnhancedBloodPressure, EnhancedFlag
from device_drivers.quantities.health_sensor import (
    Assembler,
    NumericValue,
    Observation,
    ObservationFlag,
    Segment,
    segmented,
)
from device_drivers.quantities.oximetry import PlxContinuous
from device_drivers.quantities.user_data import ChangeIncrement, UserControl, UserIndex, UserOpCode
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Failure, GlucoseContext, OximetryContext, Remark, SensorContext
from wire_format.nomenclature import Quantity, Term

byte, word, count = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
small = st.builds(MedFloat, word, st.just(2))
large = st.builds(MedFloat, count, st.just(4))
SHAPES = (EnhancedBloodPressure, PlxContinuous, CgmMeasurement, CgmFeature, SessionStart, ElapsedTime)
OTHERS = (Segment, Observation, UserControl, ChangeIncrement, UserIndex)
AT = ElapsedTime(0x22, 849_000_000, 6, 0)


@pytest.mark.parametrize("shape", SHAPES + OTHERS)
@given(data=st.binary(max_size=60))
def test_a_shape_is_malformed_or_the_same_again(shape: type[EnhancedBloodPressure], data: bytes) -> None:
    try:
        found = shape.from_bytes(data)
    except MalformedPacket:
        return
    assert shape.from_bytes(bytes(found)) == found


@given(st.data())
def test_an_enhanced_pressure_survives(data: st.DataObject) -> None:
    flags = data.draw(byte)
    fields = {
        "time_stamp": (EnhancedFlag.TIME_STAMP, count),
        "pulse_rate": (EnhancedFlag.PULSE_RATE, small),
        "user_id": (EnhancedFlag.USER_ID, byte),
        "status": (EnhancedFlag.STATUS, word),
        "user_facing_time": (EnhancedFlag.USER_FACING_TIME, count),
    }
    said = {name: data.draw(of) for name, (flag, of) in fields.items() if flags & flag}
    one = EnhancedBloodPressure(flags, data.draw(small), data.draw(small), data.draw(small), **said)
    assert EnhancedBloodPressure.from_bytes(bytes(one)) == one


@given(word, st.tuples(*[st.none() | byte] * 3), st.none() | small, st.booleans())
def test_a_continuous_glucose_survives(
    offset: int, octets: tuple[int | None, int | None, int | None], trend: MedFloat | None, checked: bool
) -> None:
    warning, calibration, status = octets
    flags = sum(
        bit for bit, part in ((32, warning), (64, calibration), (128, status), (1, trend)) if part is not None
    )
    one = CgmMeasurement(flags, MedFloat(98, 2), offset, warning, calibration, status, trend, checked=checked)
    assert CgmMeasurement.from_bytes(bytes(one)) == one
    assert list(records(bytes(one) * 2)) == [bytes(one)] * 2


def test_the_check_is_the_one_of_the_catalogue() -> None:
    assert mcrf4xx(b"123456789") == 0x6F91


def test_a_wrong_check_or_size_is_found() -> None:
    right = bytes(CgmMeasurement(0, MedFloat(98, 2), 5, checked=True))
    for wrong in (right[:-1] + b"\0", right[:-1], right + b"\0", b"\x02\0", b""):
        with pytest.raises(MalformedPacket):
            CgmMeasurement.from_bytes(wrong)
    start = bytes(SessionStart(DateTime.of(dt.datetime(2026, 11, 24, 7, 0)), 32, 0, checked=True))  # noqa: DTZ001 - a device clock has no zone
    assert SessionStart.from_bytes(start).checked
    with pytest.raises(MalformedPacket, match="CRC"):
        SessionStart.from_bytes(start[:-1] + bytes([start[-1] ^ 1]))
    feature = (1 << 12).to_bytes(3, "little") + b"\x59"
    with pytest.raises(MalformedPacket, match="CRC"):
        CgmFeature.from_bytes(feature + b"\0\0")
    assert CgmFeature.from_bytes(feature + mcrf4xx(feature).to_bytes(2, "little")).checked


@pytest.mark.parametrize(
    ("zone", "daylight", "minutes"),
    [(32, 0, 480), (4, 4, 120), (-128, 0, None), (4, 255, None), (-20, 0, -300)],
)
def test_a_session_says_its_zone_or_that_it_does_not_know(
    zone: int, daylight: int, minutes: int | None
) -> None:
    start = SessionStart(DateTime(bytes(7)), zone, daylight)
    assert (start.zone_minutes, start.unknown, start.stated) == (minutes, True, None)
    assert start.text == "0000-00-00T00:00:00"


@pytest.mark.parametrize(
    ("flags", "unknown", "zone", "stated"),
    [
        (0x22, False, 0, dt.datetime(2000, 1, 1, 0, 16, 40)),  # noqa: DTZ001 - as above
        (0x26, False, 0, dt.datetime(2000, 1, 1, 0, 1, 40)),  # noqa: DTZ001 - as above
        (0x2A, False, 0, dt.datetime(2000, 1, 1, 0, 0, 1)),  # noqa: DTZ001 - as above
        (0x2E, False, 0, dt.datetime(2000, 1, 1, 0, 0, 0, 100_000)),  # noqa: DTZ001 - as above
        (0x30, False, 480, dt.datetime(2000, 1, 1, 0, 16, 40)),  # noqa: DTZ001 - as above
        (0x20, False, None, dt.datetime(2000, 1, 1, 0, 16, 40)),  # noqa: DTZ001 - as above
        (0x02, True, 0, dt.datetime(2000, 1, 1, 0, 16, 40)),  # noqa: DTZ001 - as above
        (0x23, True, 0, None),
    ],
)
def test_elapsed_time_dates_what_it_can(
    flags: int, unknown: bool, zone: int | None, stated: dt.datetime | None
) -> None:
    one = ElapsedTime(flags, 1000, 6, 32)
    assert (one.unknown, one.zone_minutes, one.stated) == (unknown, zone, stated)
    assert ElapsedTime(0x30, 1000, 6, 100).zone_minutes is None
    assert ElapsedTime(0x22, (1 << 48) - 1, 6, 0).stated is None
    assert ElapsedTime.from_bytes(bytes.fromhex(one.text)) == one


def test_seconds_since_1900_and_what_the_user_saw() -> None:
    never = EpochSeconds(0, EPOCH_1900)
    assert (never.unknown, never.zone_minutes, never.text) == (True, 0, "1900-01-01T00:00:00")
    local = EnhancedBloodPressure.from_bytes(bytes.fromhex("20780050006400a3020000")).stamp
    assert local is not None
    assert (local.zone_minutes, local.stated) == (None, dt.datetime(1900, 1, 1, 0, 11, 15))  # noqa: DTZ001 - as above
    assert bytes(local) == bytes.fromhex("a3020000")
    assert EnhancedBloodPressure.from_bytes(bytes.fromhex("00780050006400")).stamp is None


@pytest.mark.parametrize(
    ("status", "provisional", "failure", "remarks"),
    [
        ("2001", False, None, ()),  # ongoing, fully qualified
        ("4000", True, None, (Remark.EARLY_ESTIMATE,)),
        ("0002", False, None, (Remark.STORED_RECORD,)),
        ("0004", True, None, ()),  # a demonstration
        ("0020", True, Failure.NO_RESULT, ()),  # unavailable
        ("0040", False, None, (Remark.QUESTIONABLE,)),
        ("0080", True, Failure.NO_RESULT, ()),  # invalid
    ],
)
def test_a_stream_heeds_its_status(
    status: str, provisional: bool, failure: Failure | None, remarks: tuple[Remark, ...]
) -> None:
    found = DECODERS["2A5F"](bytes.fromhex("0462004800" + status), PLAIN)
    assert (found.provisional, found.failure, found.remarks) == (provisional, failure, remarks)
    assert isinstance(found.context, OximetryContext)
    assert found.context.continuous
    assert found.context.test_data == (status == "0004")
    if failure:
        assert {c.absent for c in found.components} == {Absent.UNSUCCESSFUL}


def test_a_stream_without_a_number_is_provisional() -> None:
    found = DECODERS["2A5F"](bytes.fromhex("10ff07ff070500"), PLAIN)
    assert [c.term for c in found.components][-1] is Term.PULSE_AMPLITUDE_INDEX
    assert not found.provisional  # the amplitude is a value
    assert DECODERS["2A5F"](bytes.fromhex("00ff07ff07"), PLAIN).provisional


def test_continuous_glucose_is_of_tissue_and_names_its_gaps() -> None:
    found = DECODERS["2AA7"](
        bytes(CgmMeasurement(0x03, MedFloat(98, 2), 5, trend=MedFloat(1, 2), quality=MedFloat(90, 2))), PLAIN
    )
    assert found.quantity is Quantity.CONTINUOUS_GLUCOSE
    assert [(c.term, c.value) for c in found.components] == [
        (Term.GLUCOSE, 98),
        (Term.GLUCOSE_TREND, 1),
        (Term.GLUCOSE_QUALITY, 90),
    ]
    assert isinstance(found.context, GlucoseContext)
    assert (found.context.annunciation_bits, found.sequence) == (None, 5)
    empty = DECODERS["2AA7"](
        bytes(CgmMeasurement(0x82, MedFloat(0x7FF, 2), 5, status=8, quality=MedFloat(0, 2))), PLAIN
    )
    assert (empty.failure, empty.components[0].absent) == (Failure.NO_RESULT, Absent.NOT_A_NUMBER)


def numeric(kind: int, unit: int, value: MedFloat, **said: object) -> Observation:
    flags = ObservationFlag.TYPE | ObservationFlag.TIME
    return Observation(1, flags, kind, (NumericValue(kind, unit, value),), AT, **said)  # type: ignore[arg-type]  # a builder of examples


PRESSURE = Observation(
    7,
    ObservationFlag.TYPE | ObservationFlag.TIME | ObservationFlag.STATUS | ObservationFlag.PATIENT,
    150020,
    tuple(
        NumericValue(kind, unit, MedFloat(value, 4))
        for kind, unit, value in ((150021, 3872, 120), (150022, 3872, 80), (149546, 2720, 72))
    ),
    AT,
    status=1,
    patient=2,
)


@given(
    flags=st.integers(0, 0x1FF),
    counts=st.booleans(),
    duration=large,
    codes=st.lists(count, max_size=3).map(tuple),
    value=large,
)
def test_an_observation_survives(
    flags: int, counts: bool, duration: MedFloat, codes: tuple[int, ...], value: MedFloat
) -> None:
    has = ObservationFlag(flags | ObservationFlag.TYPE)
    one = Observation(
        1,
        int(has),
        150456,
        (NumericValue(150456, 544, value),),
        AT if ObservationFlag.TIME in has else None,
        duration if ObservationFlag.DURATION in has else None,
        3 if ObservationFlag.STATUS in has else None,
        4 if ObservationFlag.OBJECT_ID in has else None,
        5 if ObservationFlag.PATIENT in has else None,
        codes if ObservationFlag.SUPPLEMENTAL in has else (),
        codes if ObservationFlag.DERIVED_FROM in has else (),
        codes if ObservationFlag.HAS_MEMBER in has else (),
        length_counts_itself=counts,
    )
    assert Observation.from_bytes(bytes(one)) == one


def test_generic_observations_become_what_they_are() -> None:
    found = observation(bytes(PRESSURE), PLAIN)
    assert (found.quantity, found.user, found.stamp) == (Quantity.BLOOD_PRESSURE, 2, AT)
    assert [c.value for c in found.components] == [120, 80, 72]
    assert found.context == SensorContext(kind=150020, status_bits=1)
    saturation = bytes(numeric(150456, 544, MedFloat(97, 4)))
    assert numbered_observation(b"\x07\0\0\0" + saturation, PLAIN).position == 7
    (packet,) = segmented(saturation, 100)
    assert DECODERS["2B8B"](packet, PLAIN).quantity is Quantity.PULSE_OXIMETRY
    sugar = observation(bytes(numeric(160368, 4722, MedFloat.of(Decimal("6.1"), 4))), PLAIN)
    assert isinstance(sugar.context, GlucoseContext)
    assert (sugar.quantity, sugar.components[0].value) == (Quantity.GLUCOSE, Decimal("6.1"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x02\x04\0\0\0", "class 2 .discrete."),
        (b"\x55\x04\0\0\0", "class 85 .reserved."),
        (b"\x01\x09\0\0\0", "says 9"),
        (b"\x01\x04\0\x02\0", "without type"),
        (b"\x01\x04\0\x01\x02", "TLV"),
        (b"\x07\x09\0\x01\0\x04\x4a\x02\0\0", "no component"),
        (b"\x07\x0e\0\x01\0\x04\x4a\x02\0\x01\x05\x4a\x02\0\x02", "kind 2"),
        (bytes(numeric(99, 544, MedFloat(1, 4))), "type 99"),
        (bytes(numeric(150456, 3872, MedFloat(1, 4))), "unit 3872"),
        (bytes(numeric(188764, 1731, MedFloat(1, 4))), "type 188764 is not known"),
    ],
)
def test_what_is_not_decoded_says_why(data: bytes, said: str) -> None:
    with pytest.raises(MalformedPacket, match=said):
        observation(data, PLAIN)
    with pytest.raises(MalformedPacket, match="several"):
        DECODERS["2BDD"](b"\x01" + data, PLAIN)


@given(data=st.binary(min_size=1, max_size=200), most=st.integers(4, 30), start=st.integers(0, 63))
def test_segments_join_and_a_gap_is_found(data: bytes, most: int, start: int) -> None:
    packets = segmented(data, most, start)
    one = Assembler()
    if len(packets) > 64:
        return
    wholes = [one.take(packet) for packet in packets]
    assert wholes == [None] * (len(packets) - 1) + [data]
    assert one.give_up() == packets
    if len(packets) > 2:
        gap = Assembler()
        gap.take(packets[0])
        assert gap.take(packets[0]) is None
        with pytest.raises(MalformedPacket, match="did not come"):
            gap.take(packets[2])
        assert gap.give_up() == packets[:1]


def test_a_control_point_names_its_parts() -> None:
    assert bytes(UserControl.consent(1, 3752)) == bytes.fromhex("0201a80e")
    registered = UserControl.from_bytes(bytes.fromhex("20010103"))
    assert (registered.user, registered.code, registered.request) == (3, None, UserOpCode.REGISTER)
    assert UserControl.from_bytes(bytes.fromhex("01a80e")).code == 3752
    assert UserControl.from_bytes(b"\x03").result is None
    with pytest.raises(MalformedPacket):
        UserControl.from_bytes(bytes.fromhex("0201a8"))
    assert UserIndex.from_bytes(b"\xff").unknown
