"""Two published packages on the same packets, in an environment of their own (`.venv-bench`).

Reads [[id, characteristic, hex], ...] from standard input; prints what each package says of each packet, by
the names of `bench_others`, and its own times: the process times itself inside.
"""

import json
import logging
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from bluetooth_sig import BluetoothSIGTranslator
from labmcp_ble_health import driver

Values = dict[str, float | str | None]

# For each characteristic: the name in captures, and where each package says it.
NAMES: Final[Mapping[str, Mapping[str, tuple[str | None, str | None]]]] = {
    "0x2A35": {
        "sys": ("systolic", "systolic"),
        "dia": ("diastolic", "diastolic"),
        "map": ("mean_arterial", "mean_arterial_pressure"),
        "pulse": ("pulse_rate_bpm", "optional_fields.pulse_rate"),
    },
    "0x2A18": {"mg_dl": (None, "glucose_concentration")},
    "0x2A9D": {
        "kg": ("weight", "weight"),
        "bmi": ("bmi_kg_m2", "bmi"),
        "height": ("height", "height"),
    },
    "0x2A9C": {
        "fat_pct": (None, "body_fat_percentage"),
        "bmr_kj": (None, "basal_metabolism"),
        "muscle_pct": (None, "muscle_percentage"),
        "soft_lean": (None, "soft_lean_mass"),
        "water": (None, "body_water_mass"),
        "ohm": (None, "impedance"),
        "weight": (None, "weight"),
        "height": (None, "height"),
    },
    "0x2A1C": {"value": ("value", "temperature")},
    "0x2A5E": {"spo2": ("spo2_pct", "spo2"), "pr": ("pulse_rate_bpm", "pulse_rate")},
}
LAB: Final[Mapping[str, Callable[[bytes], object]]] = {
    "0x2A35": driver.parse_blood_pressure_measurement,
    "0x2A9D": driver.parse_weight_measurement,
    "0x2A1C": driver.parse_temperature_measurement,
    "0x2A5E": driver.parse_plx_spot_check,
}


def said(value: object) -> float | str | None:
    """Return a number, the name of a special value, or None for nothing."""
    if isinstance(value, driver.MedFloat):
        return value.special if value.value is None else value.value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}INF"
    return value if isinstance(value, int | float) else None


def found(packet: object, where: str) -> object:
    """Return what stands at a dotted name."""
    for part in where.split("."):
        packet = getattr(packet, part, None)
    return packet


def answer(decode: Callable[[bytes], object], data: bytes, names: Mapping[str, str | None]) -> Values | None:
    """Return what a package says of a packet; None if it refuses it."""
    try:
        packet = decode(data)
    except Exception:  # noqa: BLE001 - whatever it raises, it refuses
        return None
    return {name: said(found(packet, where)) for name, where in names.items() if where is not None}


def microseconds(decode: Callable[[bytes], object], data: bytes, rounds: int) -> float:
    """Return the median time of one decoding."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        with suppress(Exception):  # refusing is part of the work
            decode(data)
        times.append((time.perf_counter_ns() - began) / 1000)
    return statistics.median(times)


def run(packets: list[tuple[str, str, str]], rounds: int) -> dict[str, Any]:
    """Return, for each package and packet, what it says and how long it takes."""
    translator = BluetoothSIGTranslator()
    report: dict[str, Any] = {"labmcp-ble-health": {}, "bluetooth-sig": {}}
    for name, characteristic, text in packets:
        data, names = bytes.fromhex(text), NAMES[characteristic]
        uuid = characteristic.removeprefix("0x")
        doors: list[tuple[str, int, Callable[[bytes], object] | None]] = [
            ("labmcp-ble-health", 0, LAB.get(characteristic)),
            ("bluetooth-sig", 1, lambda d, u=uuid: translator.parse_characteristic(u, d)),
        ]
        for package, column, decode in doors:
            if decode is not None:
                values = answer(decode, data, {key: both[column] for key, both in names.items()})
                report[package][name] = {"values": values, "us": microseconds(decode, data, rounds)}
    return report


if __name__ == "__main__":
    logging.disable()  # one of them logs each packet that it refuses
    print(json.dumps(run(json.load(sys.stdin), int(sys.argv[1]))))  # noqa: T201 - the answer
