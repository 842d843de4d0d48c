"""How long the hospital takes to store what arrived, on a real database file, beside the disk's own time."""

from functools import partial
from pathlib import Path

import pytest

from tests.bench.figures import Probe, section, show, timed
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import blood_pressure
from wire_format.envelope import Sealed

HOURS_6 = 360
"""Minutes between readings: four a day, so that the fourteen days that rules look at hold 56."""


def envelopes(home: SealingHome, count: int, readings: int) -> list[Sealed]:
    """Envelopes of so many readings each, the newest reading first."""
    made = []
    for number in range(count):
        first = number * readings
        each = (blood_pressure("130", minutes=-HOURS_6 * n) for n in range(first, first + readings))
        made.append(home.seal([item for m in each for item in told(m)]))
    return made


@pytest.mark.parametrize(("count", "readings"), [(100, 1), (10, 50)])
def test_open_to_stored(tmp_path: Path, count: int, readings: int) -> None:
    """One message of the inbox: opened, decoded, stored, folded, judged, and its receipt due."""
    probe, desk, home = Probe(tmp_path), BridgeDesk(tmp_path), SealingHome()
    times = []
    for one in envelopes(home, count, readings):
        desk.store.intake.accept(home.topic, one.data, desk.now)
        (message,) = desk.store.intake.waiting(2)
        times.append(probe.beside(partial(desk.ingest.take, message)))
    stored = len(desk.readings())
    desk.close()
    probe.close()
    assert stored == count * readings
    section(f"At the hospital: {readings} reading(s) an envelope")
    disk = show("probe: write and fsync 4 KiB", probe.times)
    show("opened -> stored, an envelope", times, against=disk)
    show("the same, a reading", [t / readings for t in times], against=disk)


@pytest.mark.parametrize("size", [1, 50])
def test_inbox(tmp_path: Path, size: int) -> None:
    """Bytes of the broker committed to the inbox, so many messages in one transaction."""
    probe, desk, home = Probe(tmp_path), BridgeDesk(tmp_path), SealingHome()
    (one,) = envelopes(home, 1, 1)
    batch = [(home.topic, one.data)] * size
    times = []
    for _ in range(50):
        probe()
        times.append(timed(partial(desk.store.intake.accept_all, batch, desk.now)))
    desk.close()
    probe.close()
    section(f"The inbox: {size} message(s) a transaction")
    disk = show("probe: write and fsync 4 KiB", probe.times)
    show("committed, before the broker is told; a message", [t / size for t in times], against=disk)
