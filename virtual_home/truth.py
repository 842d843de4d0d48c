"""The truth and the record: what devices know that they measured, beside what the hospital has of it."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud_bridge.store.rows import load_measurement
from virtual_home.scenario import DeviceEntry
from wire_format.measurement import Measurement

Packet = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """One reading of the record: its bytes as they came from the device, and whose it is."""

    packet: str
    patient: str | None
    measurement: Measurement


def stored_readings(database: Path) -> list[Stored]:
    """Return every reading of a bridge's record."""
    with closing(_open(database)) as connection:
        rows = connection.execute("SELECT body, patient FROM measurement").fetchall()
    found = [(load_measurement(body), patient) for body, patient in rows]
    return [Stored(m.provenance.raw[0].data.hex(), patient, m) for m, patient in found]


def count(database: Path, query: str) -> int:
    """Return one number that a query asks of a bridge's record."""
    with closing(_open(database)) as connection:
        number: int = connection.execute(query).fetchone()[0]
        return number


def deliver_all_again(database: Path) -> None:
    """Want every delivery once more, as after a backup of the hospital's system was restored."""
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("UPDATE delivery SET wanted = wanted + 1")


def idle(database: Path) -> bool:
    """Tell whether the bridge has nothing left to take in, to receipt or to deliver."""
    waiting = (
        "SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM envelope WHERE receipt_due)"
        " + (SELECT count(*) FROM delivery WHERE delivered < wanted AND NOT dead)"
        " + (SELECT count(*) FROM downlink WHERE NOT published)"
    )
    return count(database, waiting) == 0


@dataclass(frozen=True, slots=True)
class Difference:
    """What of the ledger is not in the record, and what is there more than once or without having been.

    Each is a pair of device and packet: two devices may well say the same.
    """

    lost: tuple[Packet, ...]
    doubled: tuple[Packet, ...]
    invented: tuple[Packet, ...]
    misfiled: tuple[Packet, ...]


def compare(
    ledger: Iterable[dict[str, Any]], stored: Iterable[Stored], devices: Iterable[DeviceEntry]
) -> Difference:
    """Compare packet by packet of each device; who owns it is known as `patient-<person>`."""
    owned = {device.key: device for device in devices}
    truth = {(owned[e["device"]].serial, e["packet"]): owned[e["device"]] for e in ledger}
    record = list(stored)
    times = Counter((one.measurement.device.serial, one.packet) for one in record)
    return Difference(
        lost=tuple(
            (device.key, packet) for (serial, packet), device in truth.items() if not times[serial, packet]
        ),
        doubled=tuple(what for what, number in times.items() if number > 1),
        invented=tuple(what for what in times if what not in truth),
        misfiled=tuple(
            what for what, patient in _filed(record) if what in truth and patient != _patient(truth[what])
        ),
    )


def _filed(record: Iterable[Stored]) -> Iterator[tuple[Packet, str | None]]:
    return (((one.measurement.device.serial, one.packet), one.patient) for one in record)


def _patient(device: DeviceEntry) -> str:
    return f"patient-{device.person}"


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
