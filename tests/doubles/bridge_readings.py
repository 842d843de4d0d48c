"""Readings for rules, stores and connectors: whole measurements, made short."""

import datetime as dt
from decimal import Decimal
from uuid import UUID, uuid5

from cloud_bridge.rules.base import Reading
from wire_format.identity import device_id, stated_id
from wire_format.measurement import (
    BloodPressureContext,
    ClockTrust,
    Component,
    DeviceIdentity,
    DeviceTime,
    Failure,
    Instant,
    Measurement,
    Provenance,
    RawPacket,
    Remark,
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
) -> Measurement:
    """A blood pressure `minutes` after NOW (None: nobody knows when)."""
    components = (
        Component(term=Term.SYSTOLIC, unit=unit, value=Decimal(systolic)),
        Component(term=Term.DIASTOLIC, unit=unit, value=Decimal(diastolic)),
        Component(term=Term.PULSE_RATE, unit=Unit.PER_MINUTE, value=Decimal(pulse)),
    )
    at = None if minutes is None else NOW + dt.timedelta(minutes=minutes)
    stated = None if at is None else (at + dt.timedelta(hours=8)).replace(tzinfo=None)
    identity = stated_id(
        CUFF.device_id,
        Quantity.BLOOD_PRESSURE,
        stated or NOW.replace(tzinfo=None),
        None,
        components,
    )
    return Measurement(
        measurement_id=identity,
        quantity=Quantity.BLOOD_PRESSURE,
        device=CUFF,
        components=components,
        context=BloodPressureContext(movement=False, cuff_loose=False, irregular_pulse=False, status_bits=0),
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
            profile="standard/blood_pressure",
            profile_hash="0" * 64,
            firmware="1.0",
            visit=1,
            ordinal=1,
            raw=(RawPacket(source="2A35", data=identity.bytes),),
        ),
    )


def reading(
    systolic: str, diastolic: str = "80", *, patient: str | None = "patient-1", **more: object
) -> Reading:
    """The same as a folded reading of a patient."""
    m = blood_pressure(systolic, diastolic, **more)  # type: ignore[arg-type]  # passed through by name
    statement = uuid5(BOOT, str(m.measurement_id))
    return Reading(m, patient, m.time.measured, (statement,))
