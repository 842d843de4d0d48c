"""Glucose meters that keep to the Glucose Service but for a clock, a ketone, or their numbers."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest

from device_drivers.catalogue import Catalogue
from device_drivers.clock_layouts import CLOCK_LAYOUTS
from device_drivers.clock_sync import compare_clock
from device_drivers.date_time import DateTime
from device_drivers.decoding import glucose, with_context
from device_drivers.driver import GatewayTime, RecordCursor
from device_drivers.link import LinkLost
from device_drivers.medfloat import MedFloat
from device_drivers.profile import Decode, SequenceStep, StepKind, long_uuid
from device_drivers.quantities.glucose import GlucoseMeasurement, GlucoseMeasurementContext
from device_drivers.quantities.record_access import report_all
from wire_format.errors import MalformedPacket, Misconfigured
from wire_format.measurement import Absent, GlucoseContext, Remark
from wire_format.nomenclature import Term, Unit
from wire_format.statements import Undecodable

from gatt_link import Kept, Packet, ScriptedDevice, visit_of
from visiting import MEASURED, NOW, measured, visited

PROFILES = Catalogue().profiles
CARESENS, DM30B = PROFILES["isens/caresens"], PROFILES["taidoc/dm30b"]
CONTOUR = PROFILES["ascensia/contour_next_one"]
ISENS_OLD, ISENS_NEW = long_uuid("FFF1"), "c4dea3bc-5a9d-11e9-8647-d663bd873d93"


def record(number: int, mg_dl: int, *, context: bool = False, minutes: int = 0) -> bytes:
    stamp = DateTime.of(MEASURED + dt.timedelta(minutes=minutes))
    value = MedFloat.of(Decimal(mg_dl).scaleb(-5))
    flags = 0x12 if context else 0x02
    return bytes(GlucoseMeasurement(flags, number, stamp, concentration=value, type_location=0x11))


def meal(number: int, code: int) -> bytes:
    return bytes(GlucoseMeasurementContext(0x02, number, meal_code=code))


Records = list[tuple[int, list[Packet]]]


# --- i-SENS: ketones, and a clock in one of two places ---


def caresens(records: Records, **changes: object) -> Callable[[], ScriptedDevice]:
    return lambda: ScriptedDevice(records=records, values={ISENS_NEW: b""}, **changes)  # type: ignore[arg-type]


def test_a_ketone_is_never_glucose() -> None:
    records: Records = [
        (1, [("2A18", record(1, 5, context=True)), ("2A34", meal(1, 6))]),
        (2, [("2A18", record(2, 104, context=True)), ("2A34", meal(2, 1))]),
    ]
    sink, ended, device = visited(CARESENS, caresens(records))
    assert ended is None
    ketone, sugar = measured(sink)
    assert [(c.term, c.value, c.unit) for c in ketone.components] == [
        (Term.KETONE, Decimal("0.5"), Unit.MMOL_PER_L)
    ]
    assert ketone.remarks == (Remark.STORED_RECORD,)
    assert isinstance(ketone.context, GlucoseContext)
    assert (ketone.context.meal, ketone.context.meal_code) == (None, 6)
    assert sugar.value(Term.GLUCOSE) == 104
    assert isinstance(device, ScriptedDevice)
    (clock,) = [data for name, data in device.written if name == ISENS_NEW]
    assert clock == bytes.fromhex("c0030100ea070b18100000")
    assert ISENS_NEW in device.handlers
    assert ISENS_OLD not in device.handlers


def test_a_ketone_without_a_value_says_why() -> None:
    high = bytes(GlucoseMeasurement(0x1A, 1, DateTime.of(MEASURED), None, MedFloat(0x7FE, 2), 0x11, 1 << 5))
    mol = bytes(GlucoseMeasurement(0x16, 1, DateTime.of(MEASURED), None, MedFloat.of(Decimal("0.005")), 0x11))
    for data, absent in ((high, Absent.ABOVE_RANGE), (mol, Absent.RESERVED_VALUE)):
        (part,) = with_context(glucose(data, Decode()), meal(1, 6), Decode(ketone_meal=6)).components
        assert (part.term, part.absent) == (Term.KETONE, absent)
    plain = with_context(glucose(high, Decode()), meal(1, 6))
    assert plain.components[0].term is Term.GLUCOSE
    assert Remark.RESERVED_BITS in plain.remarks


def test_a_record_whose_context_is_lost_is_left_for_the_next_visit() -> None:
    records: Records = [
        (1, [("2A18", record(1, 104))]),
        (2, [("2A18", record(2, 5, context=True)), ("2A34", meal(2, 6))]),
        (3, [("2A18", record(3, 110))]),
    ]
    # The answer to the count is the first packet: the link breaks before the context of record 2.
    sink, ended, _ = visited(CARESENS, caresens(records, break_after=3))
    assert isinstance(ended, LinkLost)
    assert [m.value(Term.GLUCOSE) for m in measured(sink)] == [104]
    assert sink.cursors[-1] == RecordCursor(sequence=1, count=3)
    again, ended, _ = visited(CARESENS, caresens(records), cursor=sink.cursors[-1])
    assert ended is None
    assert [(m.record and m.record.sequence, m.components[0].term) for m in measured(again)] == [
        (2, Term.KETONE),
        (3, Term.GLUCOSE),
    ]


def test_a_record_whose_context_never_comes_is_bytes_and_no_glucose() -> None:
    sink, ended, _ = visited(CARESENS, caresens([(1, [("2A18", record(1, 5, context=True))])]))
    assert ended is None
    assert measured(sink) == []
    (kept,) = [one for one in sink.readings if isinstance(one, Undecodable)]
    assert "glucose or a ketone" in kept.reason
    assert sink.cursors[-1] == RecordCursor(sequence=1, count=1)


def test_a_step_that_the_driver_does_not_know_is_named() -> None:
    odd = CARESENS.model_copy(update={"steps": (SequenceStep(do=StepKind.CONSENT),)})
    _, ended, _ = visited(odd, caresens([]))
    assert isinstance(ended, Misconfigured)
    assert "consent" in str(ended)


# --- TaiDoc: every measurement renumbers all ---


def test_records_that_are_renumbered_with_each_measurement_are_not_filed_twice() -> None:
    def dm30b(*values: int) -> Callable[[], ScriptedDevice]:
        newest_first: Records = [
            (number, [("2A18", record(number, mg_dl, minutes=len(values) - number))])
            for number, mg_dl in enumerate(values)
        ]
        return lambda: ScriptedDevice(records=newest_first)

    first, ended, device = visited(DM30B, dm30b(104, 98))
    assert ended is None
    assert isinstance(device, ScriptedDevice)
    assert [data for _, data in device.written] == [report_all()]
    second, _, _ = visited(DM30B, dm30b(131, 104, 98))
    old, new = ({m.measurement_id for m in measured(sink)} for sink in (first, second))
    assert (len(old), len(new), old < new) == (2, 3, True)
    assert all(m.record is None and m.time.stated for m in measured(second))
    assert second.cursors == [None]
    broken, ended, _ = visited(
        DM30B, lambda: ScriptedDevice(records=dm30b(131, 104)().records, break_after=1)
    )
    assert isinstance(ended, LinkLost)
    assert len(measured(broken)) == 1


# --- clocks that are written only ---


def test_a_contour_clock_is_written_in_utc_with_the_homes_zone() -> None:
    layout = CLOCK_LAYOUTS["contour"]
    local = dt.datetime(2026, 11, 23, 8, 5, 9)  # noqa: DTZ001 - a device clock has no zone
    assert layout.encode(local, 60).hex() == "01ea070b170705093c00"
    assert layout.decode(layout.encode(local, 60)).stated == local
    assert layout.decode(layout.encode(local, -300)).stated == local
    assert layout.decode(b"\x01" + bytes(9)).unknown
    last = DateTime.of(dt.datetime(9999, 12, 31))  # noqa: DTZ001 - as above
    for broken in (b"\x01", b"\x01" + bytes(last) + b"\xff\x7f"):
        with pytest.raises(MalformedPacket):
            layout.decode(broken)


def test_an_isens_clock_has_its_head() -> None:
    layout = CLOCK_LAYOUTS["isens"]
    local = dt.datetime(2018, 11, 29, 22, 45, 59)  # noqa: DTZ001 - a device clock has no zone
    assert layout.encode(local, 480).hex() == "c0030100e2070b1d162d3b"
    assert layout.decode(layout.encode(local, 480)).stated == local
    for broken in (b"\xc0\x03\x01\x01" + bytes(7), b"\xc0\x03\x01\x00" + bytes(6)):
        with pytest.raises(MalformedPacket):
            layout.decode(broken)


async def test_a_meter_without_its_clock_is_read_all_the_same() -> None:
    sink = Kept()
    visit = visit_of(CONTOUR, sink, lambda: GatewayTime(NOW, 50, 1))
    assert await compare_clock(ScriptedDevice(), visit) is None
    assert sink.readings == []
