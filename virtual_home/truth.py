"""The truth and the record: what devices know that they measured, beside what the hospital has of it."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud_bridge.store.rows import load_measurement
from wire_format.measurement import Measurement


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
    """What of the ledger is not in the record, and what is there more than once or without having been."""

    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    invented: tuple[str, ...]
    misfiled: tuple[str, ...]


def compare(ledger: Iterable[dict[str, Any]], stored: Iterable[Stored], owners: dict[str, str]) -> Difference:
    """Compare packet by packet; `owners` says which device is whose (device key to patient)."""
    truth = {entry["packet"]: entry["device"] for entry in ledger}
    record = list(stored)
    times = Counter(one.packet for one in record)
    return Difference(
        lost=tuple(packet for packet in truth if packet not in times),
        doubled=tuple(packet for packet, number in times.items() if number > 1),
        invented=tuple(packet for packet in times if packet not in truth),
        misfiled=tuple(
            one.packet for one in record if one.packet in truth and one.patient != owners[truth[one.packet]]
        ),
    )


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
