"""The same bytes, the same content: what is one is stored once, in whatever order it comes."""

import datetime as dt
from itertools import permutations
from pathlib import Path

import pytest

from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from wire_format.identity import content_hash, derived_id
from wire_format.measurement import Measurement, RawPacket

MINUTE = dt.timedelta(minutes=1)


def clockless(number: int, minutes: int, raw: bytes = b"same bytes") -> Measurement:
    """A reading of a cuff without clock, `minutes` after NOW."""
    m = blood_pressure("192", "124", minutes=None)
    return m.model_copy(
        update={
            "measurement_id": derived_id("test", number),
            "provenance": m.provenance.model_copy(update={"raw": (RawPacket(source="2A35", data=raw),)}),
            "time": m.time.model_copy(update={"received_at": NOW + minutes * MINUTE}),
        }
    )


def read_again(m: Measurement, minutes: int, *, systolic_first: bool = True) -> Measurement:
    """The same record, read `minutes` later; with the components turned round it says something else."""
    later = m.time.received_at + minutes * MINUTE
    components = m.components if systolic_first else m.components[::-1]
    return m.model_copy(
        update={"components": components, "time": m.time.model_copy(update={"received_at": later})}
    )


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_repetitions_do_not_depend_on_the_order_of_arrival(tmp_path: Path, order: tuple[int, ...]) -> None:
    told_by_cuff = [clockless(0, 0), clockless(1, 3), clockless(2, 7), clockless(3, 4, b"other bytes")]
    desk, home = BridgeDesk(tmp_path), SealingHome()
    for index in order:
        desk.receive(home, home.seal(told(told_by_cuff[index])))
    marks = {r.id: r.repetition_of for r in desk.readings()}
    first, second, third, other = (m.measurement_id for m in told_by_cuff)
    assert marks == {first: None, second: first, third: second, other: None}
    # What repeats counts once: two severe readings, of the four that came.
    (item,) = desk.store.alerts.open_alerts()
    assert [len(episode.finding.evidence) for episode in item.episodes] == [1, 1]
    desk.close()


def test_a_reading_that_turns_out_to_be_a_repetition_is_filed_again(tmp_path: Path) -> None:
    desk, home = BridgeDesk(tmp_path), SealingHome()
    early, late = clockless(0, 0), clockless(1, 3)
    desk.receive(home, home.seal(told(late)), home.seal(told(early)))
    rows = {row["revision"]: row["repetition_of"] is not None for row in desk.table("measurement")}
    assert rows == {1: False, 2: True}
    wanted = sorted(row["wanted"] for row in desk.table("delivery") if row["kind"] == "reading")
    assert wanted == [1, 2]
    desk.close()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_a_content_that_was_read_twice_the_first_reading_is_kept(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    m = blood_pressure("130")
    said = [m, read_again(m, 5, systolic_first=False), read_again(m, 9)]
    assert content_hash(said[0]) == content_hash(said[2]) != content_hash(said[1])
    desk, home = BridgeDesk(tmp_path), SealingHome()
    for index in order:
        desk.receive(home, home.seal(told(said[index])))
    (one,) = desk.readings()
    # A was said at 0 and at 9, B at 5. A's return is A, known since 0: the device's newest word is B.
    assert one.measurement == said[1]
    versions = {row["content_hash"]: row["body"] for row in desk.table("measurement_version")}
    assert len(versions) == 2
    desk.close()
