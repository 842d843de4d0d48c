"""Whatever order, repetition and batches envelopes come in, the hospital knows the same in the end."""

import datetime as dt
import tempfile
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_bridge.alerts import AlertState
from tests.doubles.bridge_desk import BridgeDesk, assigned, redated, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from wire_format.envelope import Sealed

MINUTES = (-2880, -1440, -4, -1, 0, 2, 5)
SYSTOLIC = ("120", "150", "182", "195")


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
    return home, home.sealed


def known(folder: Path, home: SealingHome, arriving: list[Sealed], batch: int) -> tuple[object, ...]:
    folder.mkdir()
    desk = BridgeDesk(folder)
    for start in range(0, len(arriving), batch):
        desk.receive(home, *arriving[start : start + batch])
    readings = [(r.id, r.patient, r.measured, r.statements, r.forked) for r in desk.readings()]
    live = {
        (row["id"], row["standing"], row["evidence"], row["subject"])
        for row in desk.table("alert")
        if row["state"] != AlertState.WITHDRAWN
    }
    desk.close()
    return readings, live


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    choices=st.lists(
        st.tuples(st.sampled_from(SYSTOLIC), st.sampled_from(MINUTES), st.integers(0, 3)),
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
