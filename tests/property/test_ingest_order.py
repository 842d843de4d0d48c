"""Whatever order, repetition and batches envelopes come in, the hospital knows the same in the end."""

import datetime as dt
import tempfile
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.alerts import AlertState
from tests.doubles.bridge_desk import BridgeDesk, assigned, redated, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure, glucose, weight
from wire_format.envelope import Sealed
from wire_format.identity import derived_id
from wire_format.measurement import Meal, Measurement, RawPacket

MINUTES = (-2880, -1440, -4, -1, 0, 2, 5)
SYSTOLIC = ("120", "150", "182", "195")
GLUCOSE = {"120": "6.0", "150": "2.5", "182": "7.4", "195": "17.0"}
WEIGHT = {"120": "80.0", "150": "81.4", "182": "82.1", "195": "84.0"}


def history(choices: list[tuple[str, int, int]]) -> tuple[SealingHome, list[Sealed]]:
    """A home's envelopes: readings, and then statements about some of them."""
    home = SealingHome()
    for number, (systolic, minute, kind) in enumerate(choices):
        m = blood_pressure(systolic, minutes=minute + number / 60)
        home.seal(told(m) if kind else [m])
        if kind == 2:
            home.seal([assigned(m, "p-2", later=60 + number)])
        if kind == 3:
            home.seal([redated(m, NOW - dt.timedelta(minutes=20 + number))])
        if kind == 4:
            home.seal([read_again(m, number + 1)])
            home.seal([m])
        if kind == 5:
            home.seal(told(without_clock(m, minute, number)))
        if kind == 6:
            home.seal(told(glucose(GLUCOSE[systolic], minutes=minute + number / 60, meal=Meal.FASTING)))
        if kind == 7:
            home.seal(told(weight(WEIGHT[systolic], minutes=minute + number / 60)))
        if kind == 8:
            heavy = weight(WEIGHT[systolic], minutes=minute + number / 60)
            home.seal(told(heavy))
            home.seal([assigned(heavy, None, later=60 + number)])
    return home, home.sealed


def read_again(m: Measurement, minutes: int) -> Measurement:
    """The same record, read later; it says something else by then."""
    lower = tuple(c.model_copy(update={"value": (c.value or 0) - 30}) for c in m.components)
    later = m.time.received_at + dt.timedelta(minutes=minutes)
    return m.model_copy(
        update={"components": lower, "time": m.time.model_copy(update={"received_at": later})}
    )


def without_clock(m: Measurement, minute: int, number: int) -> Measurement:
    """A reading of a cuff without a clock, of the same bytes as every other one."""
    time = {"stated": None, "measured": None, "received_at": NOW + dt.timedelta(minutes=minute + number)}
    return m.model_copy(
        update={
            "measurement_id": derived_id("test", "clockless", number),
            "time": m.time.model_copy(update=time),
            "provenance": m.provenance.model_copy(update={"raw": (RawPacket(source="2A35", data=b"same"),)}),
        }
    )


def known(folder: Path, home: SealingHome, arriving: list[Sealed], batch: int) -> tuple[object, ...]:
    folder.mkdir()
    desk = BridgeDesk(folder)
    begun, desk.now = desk.now, NOW - dt.timedelta(days=2, hours=1)
    desk.join("patient-1", "hypertension", "diabetes", "heart_failure")
    desk.now = begun
    for start in range(0, len(arriving), batch):
        desk.receive(home, *arriving[start : start + batch])
    desk.wake()  # whoever's time has come meanwhile, as the intake loop does
    readings = desk.readings()
    live = {
        (row["id"], row["rule"], row["standing"], row["evidence"], row["reason"], row["subject"])
        for row in desk.table("alert")
        if row["state"] != AlertState.WITHDRAWN
    }
    desk.close()
    return readings, live


@settings(max_examples=16)
@given(
    choices=st.lists(
        st.tuples(st.sampled_from(SYSTOLIC), st.sampled_from(MINUTES), st.integers(0, 8)),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 1000),
    batch=st.integers(1, 5),
)
def test_the_end_does_not_depend_on_the_way(
    choices: list[tuple[str, int, int]], seed: int, batch: int
) -> None:
    home, sealed = history(choices)
    shuffled = sealed + Random(seed).sample(sealed, k=len(sealed) // 2)  # noqa: S311 - an order, no secret
    Random(seed).shuffle(shuffled)  # noqa: S311 - as above
    with tempfile.TemporaryDirectory() as folder:
        straight = known(Path(folder) / "a", home, sealed, 1)
        crooked = known(Path(folder) / "b", home, shuffled, batch)
    assert crooked == straight
