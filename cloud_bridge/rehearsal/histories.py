"""Histories to rehearse on: what devices showed, as readings that rules take, and what was true.

A history file is JSON lines. A reading: {"patient": "a", "at": "2026-01-05T07:10:00+08:00",
"quantity": "blood_pressure", "values": {"systolic": ["142", "mm[Hg]"], ...}, "fasting": false}; an episode:
{"patient": "a", "episode": "hypertension", "begins": "...", "ends": "..."}. A line {"patient": "a",
"stratum": "..."} says in which group a patient is counted.
"""

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from cloud_bridge.rehearsal.cohort import Episode, EpisodeKind, Shown, SimulatedPatient
from cloud_bridge.rules.base import Reading
from cloud_bridge.rules.refusals import refusal
from wire_format.errors import Misconfigured
from wire_format.identity import derived_id
from wire_format.measurement import (
    ClockTrust,
    Component,
    DeviceIdentity,
    DeviceTime,
    GlucoseContext,
    Instant,
    Meal,
    Measurement,
    Provenance,
    RawPacket,
)
from wire_format.nomenclature import Quantity, Term, Unit

UNCERTAIN_MS: Final = 1000
_BOOT: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class History:
    """One patient's readings in order, and what was true."""

    patient: str
    stratum: str
    readings: tuple[Reading, ...]
    episodes: tuple[Episode, ...]


def simulated(patient: SimulatedPatient) -> History:
    """Return a simulated patient as a history."""
    readings = tuple(_reading(patient.name, shown, n) for n, shown in enumerate(patient.shown))
    return History(patient.name, patient.stratum.value, readings, patient.episodes)


def _reading(patient: str, shown: Shown, number: int) -> Reading:
    """Return what a device showed as a stored reading of a device whose clock is right."""
    device = DeviceIdentity(
        device_id=derived_id("rehearsal_device", patient, shown.quantity),
        maker="rehearsal",
        model="rehearsal",
    )
    moment = Instant(utc=shown.at, uncertainty_ms=UNCERTAIN_MS)
    context = GlucoseContext(meal=Meal.FASTING) if shown.fasting else GlucoseContext()
    measurement = Measurement(
        measurement_id=derived_id("rehearsal", patient, number, shown.at),
        quantity=shown.quantity,
        device=device,
        components=tuple(Component(term=t, unit=u, value=v) for t, u, v in shown.values),
        context=context if shown.quantity is Quantity.GLUCOSE else None,
        time=DeviceTime(
            received_at=shown.at,
            received_uncertainty_ms=UNCERTAIN_MS,
            boot_id=_BOOT,
            monotonic_ns=0,
            trust=ClockTrust.COMPARED,
            measured=moment,
        ),
        provenance=Provenance(
            gateway="rehearsal",
            software="rehearsal",
            driver="rehearsal",
            profile="rehearsal",
            profile_hash="0" * 64,
            visit=0,
            ordinal=number,
            raw=(RawPacket(source="rehearsal", data=b""),),
        ),
    )
    return Reading(measurement, patient, moment)


# --- files ---


@dataclass
class _Lines:
    stratum: str = "unknown"
    shown: list[Shown] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)


def read_history(path: Path) -> list[History]:
    """Return the histories of a file; raises `Misconfigured` naming the line that is wrong."""
    people: dict[str, _Lines] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read: give a file of JSON lines.") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                _take(people, json.loads(line))
            except (ValueError, KeyError, TypeError, InvalidOperation) as error:
                raise Misconfigured(f"{path}, line {number}: {type(error).__name__}: {error}.") from error
    return list(_histories(people))


def _take(people: dict[str, _Lines], said: dict[str, Any]) -> None:
    one = people.setdefault(said["patient"], _Lines())
    if "stratum" in said:
        one.stratum = str(said["stratum"])
    if "episode" in said:
        one.episodes.append(Episode(EpisodeKind(said["episode"]), _at(said["begins"]), _at(said["ends"])))
    if "quantity" in said:
        values = tuple((Term(name), Unit(u), Decimal(v)) for name, (v, u) in said["values"].items())
        one.shown.append(
            Shown(_at(said["at"]), Quantity(said["quantity"]), values, fasting=bool(said.get("fasting")))
        )


def _at(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} says no zone: write +08:00 or Z behind it")
    return moment.astimezone(dt.UTC)


def _histories(people: dict[str, _Lines]) -> Iterator[History]:
    for name, one in people.items():
        shown = sorted(one.shown, key=lambda s: s.at)
        readings = tuple(_reading(name, s, n) for n, s in enumerate(shown))
        yield History(name, one.stratum, readings, tuple(sorted(one.episodes, key=lambda e: e.begins)))


def written(patient: str, stratum: str, readings: Iterable[Reading]) -> list[str]:
    """Return the lines of a file that tell of a patient: what rules stand on and has a time and numbers.

    What a device showed in place of a number (HI, LO), and whether it called the pulse irregular, has no
    place in the form.
    """
    lines: list[dict[str, Any]] = [{"patient": patient, "stratum": stratum}]
    for one in readings:
        m = one.measurement
        values = {c.term.value: [str(c.value), c.unit.value] for c in m.components if c.value is not None}
        if one.measured is None or not values or refusal(one) is not None:
            continue
        line = {"patient": patient, "at": one.measured.utc.isoformat(), "quantity": m.quantity.value}
        fasting = isinstance(m.context, GlucoseContext) and m.context.meal is Meal.FASTING
        lines.append({**line, "values": values, **({"fasting": True} if fasting else {})})
    return [json.dumps(line) for line in lines]
