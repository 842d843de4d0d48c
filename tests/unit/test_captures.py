"""Every published packet decodes as its publication says, key by key."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from device_drivers.date_time import DateTime
from device_drivers.decoding import weight
from device_drivers.elapsed_time import EPOCH_2000, ElapsedTime, EpochSeconds
from device_drivers.medfloat import MedFloat
from device_drivers.profile import Decode
from device_drivers.quantities.blood_pressure import BloodPressureMeasurement, Layout
from device_drivers.quantities.body import BodyCompositionMeasurement, WeightMeasurement
from device_drivers.quantities.continuous_glucose import CgmMeasurement
from device_drivers.quantities.current_time import CurrentTime
from device_drivers.quantities.enhanced_blood_pressure import EnhancedBloodPressure
from device_drivers.quantities.glucose import GlucoseMeasurement, GlucoseMeasurementContext
from device_drivers.quantities.oximetry import PlxContinuous, PlxSpotCheck
from device_drivers.quantities.record_access import RecordAccess
from device_drivers.quantities.temperature import TemperatureMeasurement
from device_drivers.quantities.user_data import UserControl, UserOpCode
from tests.bench import bench_decoding
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Component
from wire_format.nomenclature import Term, Unit

CAPTURES = json.loads((Path(__file__).parents[1] / "captures" / "standard.json").read_text())
SPECIAL = {
    Absent.NOT_A_NUMBER: "NaN",
    Absent.ABOVE_RANGE: "+INF",
    Absent.BELOW_RANGE: "-INF",
    Absent.NOT_AT_THIS_RESOLUTION: "NRes",
}
Said = dict[str, Any]


def number(value: MedFloat | None) -> object:
    if value is None:
        return None
    return SPECIAL[value.absent] if value.absent else value.value


def stamp(value: DateTime | None) -> str | None:
    return value.text if value else None


def status(bits: int | None, packet: BloodPressureMeasurement) -> Said | None:
    if bits is None:
        return None
    c = packet.context
    ranges = {"within": 0, "above": 1, "below": 2, "reserved": 3}
    return {
        "raw": bits,
        "movement": c.movement,
        "cuff_loose": c.cuff_loose,
        "irregular": c.irregular_pulse,
        "pulse_range": ranges[c.pulse_range or ""],
        "position": c.improper_position,
    }


def bp(data: bytes, args: Said) -> Said:
    beurer = args.get("quirk") == "beurer_be"
    layout = Layout(user_always=True, tail_order="big") if beurer else Layout()
    p = BloodPressureMeasurement.from_bytes(data, layout)
    assert bytes(p) == data
    return {
        "unit": "kPa" if p.unit is Unit.KPA else "mmHg",
        "sys": number(p.systolic),
        "cuff": number(p.systolic),
        "dia": number(p.diastolic),
        "map": number(p.mean_arterial),
        "ts": stamp(p.time_stamp),
        "pulse": number(p.pulse_rate),
        "user": p.user_id,
        "status": status(p.status, p),
        "trailing": len(p.trailing),
    }


def gls(data: bytes, _: Said) -> Said:
    p = GlucoseMeasurement.from_bytes(data)
    assert bytes(p) == data
    return {
        "flags": p.flags,
        "seq": p.sequence,
        "base": stamp(p.base_time),
        "offset_min": p.offset_minutes,
        "unit": "mol/L" if p.flags & 4 else "kg/L",
        "raw_value": number(p.concentration),
        "mg_dl": p.component.value if p.component.unit is Unit.MG_PER_DL else None,
        "type": (p.type_location or 0) & 15,
        "loc": p.location,
        "status": p.sensor_status,
        "context": p.context_follows,
        "trailing": len(p.trailing),
    }


def glc(data: bytes, _: Said) -> Said:
    p = GlucoseMeasurementContext.from_bytes(data)
    assert bytes(p) == data
    both = p.tester_health or 0
    return {
        "flags": p.flags,
        "seq": p.sequence,
        "ext": p.extended_flags,
        "carb_id": p.carbohydrate and p.carbohydrate[0],
        "carb_kg": p.carbohydrate and p.carbohydrate[1].value,
        "meal": p.meal_code,
        "tester": both & 15,
        "health": both >> 4,
        "ex_s": p.exercise and p.exercise[0],
        "ex_pct": p.exercise and p.exercise[1],
        "med_id": p.medication and p.medication[0],
        "med_unit": "L" if p.flags & 32 else "kg",
        "med": p.medication and p.medication[1].value,
        "hba1c": number(p.hba1c),
        "trailing": len(p.trailing),
    }


def racp(data: bytes, _: Said) -> Said:
    p = RecordAccess.from_bytes(data)
    assert bytes(p) == data
    return {"op": p.op_code, "operator": p.operator, "req": p.request, "result": p.result, "count": p.count}


def values(components: tuple[Component, ...]) -> dict[Term, object]:
    return {c.term: "unsuccessful" if c.absent is Absent.UNSUCCESSFUL else c.value for c in components}


def wss(data: bytes, args: Said) -> Said:
    p = WeightMeasurement.from_bytes(data)
    assert bytes(p) == data
    coarse = Decode(mass_resolution=Decimal("0.05")) if "quirk" in args else Decode()
    found = values(weight(data, coarse).components)
    return {
        "kg": found[Term.BODY_WEIGHT],
        "weight": found[Term.BODY_WEIGHT],
        "ts": stamp(p.time_stamp),
        "user": p.user_id,
        "bmi": found.get(Term.BODY_MASS_INDEX) or 0,  # 0 on the wire is "not measured"
        "height": found.get(Term.BODY_HEIGHT) or 0,
        "trailing": len(p.trailing),
    }


def bcs(data: bytes, _: Said) -> Said:
    p = BodyCompositionMeasurement.from_bytes(data)
    assert bytes(p) == data
    found = values(p.components(zero_absent=False))
    return {
        "fat_pct": found[Term.BODY_FAT],
        "bmr_kj": found.get(Term.BASAL_METABOLISM),
        "muscle_pct": found.get(Term.MUSCLE_PERCENTAGE),
        "soft_lean": found.get(Term.SOFT_LEAN_MASS),
        "water": found.get(Term.BODY_WATER_MASS),
        "ohm": found.get(Term.IMPEDANCE),
        "mass_unit": "lb" if p.imperial else "kg",
        "weight": found.get(Term.BODY_WEIGHT),
        "height": found.get(Term.BODY_HEIGHT),
        "multi": p.more_follows,
        "trailing": len(p.trailing),
    }


def hts(data: bytes, _: Said) -> Said:
    p = TemperatureMeasurement.from_bytes(data)
    assert bytes(p) == data
    unit = "C" if p.unit is Unit.CELSIUS else "F"
    said = {"unit": unit, "value": number(p.temperature), "ts": stamp(p.time_stamp), "type": p.kind}
    return said | {"trailing": len(p.trailing)}


def plxs(data: bytes, _: Said) -> Said:
    p = PlxSpotCheck.from_bytes(data)
    assert bytes(p) == data
    return {"spo2": number(p.saturation), "pr": number(p.pulse_rate), "trailing": len(p.trailing)}


def cts(data: bytes, _: Said) -> Said:
    p = CurrentTime.from_bytes(data)
    assert bytes(p) == data
    return {
        "ts": stamp(p.date_time),
        "dow": p.day_of_week,
        "frac256": p.fractions,
        "reason": p.adjust_reason,
    }


def ebp(data: bytes, _: Said) -> Said:
    p = EnhancedBloodPressure.from_bytes(data)
    assert bytes(p) == data
    facing = EpochSeconds(p.user_facing_time or 0, EPOCH_2000, local=True)
    found = {"raw": p.status, "movement": p.context.movement, "cuff_loose": p.context.cuff_loose}
    return {
        "unit": "kPa" if p.unit is Unit.KPA else "mmHg",
        "sys": number(p.systolic),
        "dia": number(p.diastolic),
        "map": number(p.mean_arterial),
        "ts_utc": p.stamp and p.stamp.text,
        "pulse": number(p.pulse_rate),
        "user": p.user_id,
        "status": found,
        "user_facing": facing.text,
        "trailing": len(p.trailing),
    }


def plxc(data: bytes, _: Said) -> Said:
    p = PlxContinuous.from_bytes(data)
    assert bytes(p) == data
    both = {name: pair and [number(n) for n in pair] for name, pair in (("fast", p.fast), ("slow", p.slow))}
    saturation, pulse = p.normal
    return {"spo2": number(saturation), "pr": number(pulse), **both, "trailing": len(p.trailing)}


def cgm(data: bytes, _: Said) -> Said:
    p = CgmMeasurement.from_bytes(data)
    assert bytes(p) == data
    return {
        "size": len(data),
        "flags": p.flags,
        "value": number(p.concentration),
        "offset_min": p.offset_minutes,
        "warning": p.warning,
        "caltemp": p.calibration,
        "status": p.status,
        "trend": number(p.trend),
        "quality": number(p.quality),
        "crc_ok": p.checked,
    }


def ucp(data: bytes, _: Said) -> Said:
    p = UserControl.from_bytes(data)
    assert bytes(p) == data
    ops = {UserOpCode.CONSENT: "consent", UserOpCode.RESPONSE: "response"}
    return {
        "op": ops[UserOpCode(p.op_code)],
        "user": p.user,
        "code": p.code,
        "req": p.request,
        "result": p.result,
    }


def elapsed(data: bytes, _: Said) -> Said:
    p = ElapsedTime.from_bytes(data)
    assert bytes(p) == data
    return {
        "utc": p.utc,
        "tick": p.ticks,
        "tz_used": p.zone_used,
        "current_timeline": p.current_timeline,
        "src": p.source,
        "time": p.stated and p.stated.isoformat(),
    }


def medfloat(data: bytes, _: Said) -> Said:
    p = MedFloat.from_bytes(data)
    assert bytes(p) == data
    return {"value": number(p)}


DECODERS: dict[str, Callable[[bytes, Said], Said]] = {
    "bp": bp,
    "icp": bp,
    "gls": gls,
    "glc": glc,
    "racp": racp,
    "wss": wss,
    "bcs": bcs,
    "hts": hts,
    "plxs": plxs,
    "cts": cts,
    "ebp": ebp,
    "plxc": plxc,
    "cgm": cgm,
    "ucp": ucp,
    "ghs_elapsed": elapsed,
    "sf1": medfloat,
    "f321": medfloat,
}


def exact(value: object) -> object:
    """A float of the JSON file as the decimal that was written there."""
    return Decimal(str(value)) if isinstance(value, float) else value


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: c["id"])
def test_a_published_packet_decodes_as_published(capture: Said) -> None:
    decode = DECODERS[capture["decoder"]]
    data, expect = bytes.fromhex(capture["hex"]), capture["expect"]
    if expect.get("error"):
        with pytest.raises(MalformedPacket):
            decode(data, capture.get("args", {}))
        return
    found = decode(data, capture.get("args", {}))
    for key, value in expect.items():
        if isinstance(value, dict):
            assert {k: found[key][k] for k in value} == value
        else:
            assert found[key] == exact(value), key


def test_the_collection_is_complete() -> None:
    assert len(CAPTURES) == 51


def test_every_published_packet_is_measured_too() -> None:
    assert set(bench_decoding.packets()) == set(bench_decoding.DECODERS)
    assert set(bench_decoding.run(1)) == set(bench_decoding.DECODERS)
