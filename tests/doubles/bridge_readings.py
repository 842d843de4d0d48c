"""Readings for rules, stores and connectors: whole measurements, made short."""

import datetime as dt
from decimal import Decimal
from uuid import UUID, uuid5

from cloud_bridge.rules.base import Reading
from wire_format.identity import device_id, stated_id
from wire_format.measurement import (
    Absent,
    BloodPressureContext,
    BodyContext,
    ClockTrust,
    Component,
    DeviceIdentity,
    DeviceTime,
    Failure,
    GlucoseContext,
    Instant,
    Meal,
    Measurement,
    Provenance,
    RawPacket,
    Remark,
    Specimen,
)
from wire_format.nomenclature import Quantity, Term, Unit

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
BOOT = UUID(int=7)
CUFF = DeviceIdentity(
    device_id=device_id("Example", "BP-1", "BP-0001", None),
    maker="Example",
    model="BP-1",
    serial="BP-0001",
    address="C0:49:5F:00:00:01",
    system_id="c0495ffffe000001",
)
METER = DeviceIdentity(
    device_id=device_id("Example", "GL-1", "GL-0001", None),
    maker="Example",
    model="GL-1",
    serial="GL-0001",
    address="C0:49:5F:00:00:02",
    system_id="c0495ffffe000002",
)
SCALE = DeviceIdentity(
    device_id=device_id("Example", "WS-1", "WS-0001", None),
    maker="Example",
    model="WS-1",
    serial="WS-0001",
    address="C0:49:5F:00:00:03",
    system_id="c0495ffffe000003",
)


def blood_pressure(
    systolic: str,
    diastolic: str = "80",
    *,
    minutes: float | None = 0,
    unit: Unit = Unit.MMHG,
    remarks: tuple[Remark, ...] = (),
    failure: Failure | None = None,
    gateway: str = "gw-1",
    pulse: str = "72",
    irregular: bool | None = False,
    device: DeviceIdentity = CUFF,
) -> Measurement:
    """A blood pressure `minutes` after NOW (None: nobody knows when)."""
    components = (
        Component(term=Term.SYSTOLIC, unit=unit, value=Decimal(systolic)),
        Component(term=Term.DIASTOLIC, unit=unit, value=Decimal(diastolic)),
        Component(term=Term.PULSE_RATE, unit=Unit.PER_MINUTE, value=Decimal(pulse)),
    )
    return _measurement(
        Quantity.BLOOD_PRESSURE,
        device,
        components,
        BloodPressureContext(movement=False, cuff_loose=False, irregular_pulse=irregular, status_bits=0),
        minutes=minutes,
        remarks=remarks,
        failure=failure,
        gateway=gateway,
        source="2A35",
    )


def glucose(
    value: str | Absent,
    *,
    unit: Unit = Unit.MMOL_PER_L,
    minutes: float | None = 0,
    meal: Meal | None = None,
    specimen: Specimen = Specimen.CAPILLARY_WHOLE_BLOOD,
    control: bool = False,
    remarks: tuple[Remark, ...] = (),
    failure: Failure | None = None,
    gateway: str = "gw-1",
) -> Measurement:
    """A glucose value, or a meter's HI or LO, `minutes` after NOW."""
    number = None if isinstance(value, Absent) else Decimal(value)
    absent = value if isinstance(value, Absent) else None
    components = (Component(term=Term.GLUCOSE, unit=unit, value=number, absent=absent),)
    context = GlucoseContext(specimen=specimen, meal=meal, control_solution=control)
    return _measurement(
        Quantity.GLUCOSE,
        METER,
        components,
        context,
        minutes=minutes,
        remarks=remarks,
        failure=failure,
        gateway=gateway,
        source="2A18",
    )


def weight(
    value: str,
    *,
    unit: Unit = Unit.KG,
    minutes: float | None = 0,
    remarks: tuple[Remark, ...] = (),
    failure: Failure | None = None,
    gateway: str = "gw-1",
) -> Measurement:
    """A body weight `minutes` after NOW."""
    components = (Component(term=Term.BODY_WEIGHT, unit=unit, value=Decimal(value)),)
    return _measurement(
        Quantity.BODY_WEIGHT,
        SCALE,
        components,
        BodyContext(),
        minutes=minutes,
        remarks=remarks,
        failure=failure,
        gateway=gateway,
        source="2A9D",
    )


def _measurement(
    quantity: Quantity,
    device: DeviceIdentity,
    components: tuple[Component, ...],
    context: BloodPressureContext | GlucoseContext | BodyContext,
    *,
    minutes: float | None,
    remarks: tuple[Remark, ...],
    failure: Failure | None,
    gateway: str,
    source: str,
) -> Measurement:
    at = None if minutes is None else NOW + dt.timedelta(minutes=minutes)
    stated = None if at is None else (at + dt.timedelta(hours=8)).replace(tzinfo=None)
    identity = stated_id(device.device_id, quantity, stated or NOW.replace(tzinfo=None), None, components)
    return Measurement(
        measurement_id=identity,
        quantity=quantity,
        device=device,
        components=components,
        context=context,
        failure=failure,
        remarks=remarks,
        time=DeviceTime(
            received_at=at or NOW,
            received_uncertainty_ms=50,
            boot_id=BOOT,
            monotonic_ns=int((minutes or 0) * 60e9) + 10**12,
            stated=stated,
            zone_offset_minutes=480,
            trust=ClockTrust.STATED if at else ClockTrust.NONE,
            measured=None if at is None else Instant(utc=at, uncertainty_ms=1000),
        ),
        provenance=Provenance(
            gateway=gateway,
            software="0.1.0",
            driver="gatt_push",
            profile="standard/example",
            profile_hash="0" * 64,
            firmware="1.0",
            visit=1,
            ordinal=1,
            raw=(RawPacket(source=source, data=identity.bytes),),
        ),
    )


def reading(
    systolic: str, diastolic: str = "80", *, patient: str | None = "patient-1", **more: object
) -> Reading:
    """The same as a folded reading of a patient."""
    return owned(blood_pressure(systolic, diastolic, **more), patient)  # type: ignore[arg-type]  # passed through by name


def owned(m: Measurement, patient: str | None = "patient-1") -> Reading:
    """A measurement as a folded reading of a patient."""
    return Reading(m, patient, m.time.measured, (uuid5(BOOT, str(m.measurement_id)),))
