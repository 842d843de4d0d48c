"""Readings of an invented cuff, with their identity as the product makes it, and the keys of both sides."""

import datetime as dt
from decimal import Decimal
from functools import cache
from uuid import UUID

from wire_format.identity import device_id, stated_id
from wire_format.keys import BridgeKeys, GatewayKeys
from wire_format.measurement import (
    ClockTrust,
    Component,
    DeviceIdentity,
    DeviceTime,
    Instant,
    Measurement,
    Provenance,
    RawPacket,
)
from wire_format.nomenclature import Quantity, Term, Unit

NOON = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
BOOT = UUID(int=7)
CUFF = DeviceIdentity(
    device_id=device_id("Example", "BP-1", "SN1", None), maker="Example", model="BP-1", serial="SN1"
)


@cache
def bridge_keys() -> BridgeKeys:
    return BridgeKeys.generate()


@cache
def gateway_keys() -> GatewayKeys:
    return GatewayKeys.generate()


def pressure(systolic: int, *, at: dt.datetime = NOON, user: int | None = None) -> Measurement:
    components = (
        Component(term=Term.SYSTOLIC, unit=Unit.MMHG, value=Decimal(systolic)),
        Component(term=Term.DIASTOLIC, unit=Unit.MMHG, value=Decimal(80)),
    )
    stated = at.replace(tzinfo=None)
    return Measurement(
        measurement_id=stated_id(CUFF.device_id, Quantity.BLOOD_PRESSURE, stated, user, components),
        quantity=Quantity.BLOOD_PRESSURE,
        device=CUFF,
        components=components,
        user=user,
        time=DeviceTime(
            received_at=NOON,
            received_uncertainty_ms=50,
            boot_id=BOOT,
            monotonic_ns=5_000_000_000,
            stated=stated,
            trust=ClockTrust.COMPARED,
            measured=Instant(utc=at, uncertainty_ms=2_000),
        ),
        provenance=Provenance(
            gateway="gw-1",
            software="0.1.0",
            driver="gatt_push",
            profile="standard/blood_pressure",
            profile_hash="00",
            visit=1,
            ordinal=0,
            raw=(RawPacket(source="2A35", data=bytes([systolic])),),
        ),
    )
