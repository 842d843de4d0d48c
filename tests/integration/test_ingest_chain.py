"""The chain of a home's envelopes: gaps close, forks are kept and marked, restored backups are found."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import GATEWAY, SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.codec import encode_items
from wire_format.envelope import EnvelopeHeader, seal
from wire_format.receipt import issue


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def verdicts(desk: BridgeDesk) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for row in desk.table("envelope"):
        found.setdefault(row["sequence"], set()).add(row["verdict"])
    return found


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_order_of_arrival_ends_the_same(desk: BridgeDesk, order: tuple[int, ...]) -> None:
    home = SealingHome()
    for number in range(3):
        home.seal(told(blood_pressure(str(130 + number), minutes=number)))
    desk.receive(home, *(home.sealed[i] for i in order))
    assert verdicts(desk) == {1: {"stored"}, 2: {"stored"}, 3: {"stored"}}
    assert len(desk.readings()) == 3


def test_a_gap_is_accepted_and_stays_one(desk: BridgeDesk) -> None:
    home = SealingHome()
    for number in range(4):
        home.seal(told(blood_pressure(str(130 + number), minutes=number)))
    desk.receive(home, home.sealed[0], home.sealed[3])
    assert verdicts(desk) == {1: {"stored"}, 4: {"stored"}}


def test_another_envelope_under_a_known_number_is_stored_marked_and_receipted_as_a_fork(
    desk: BridgeDesk,
) -> None:
    home, clone = SealingHome(), SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("130"))))
    other = blood_pressure("150", minutes=1)
    desk.receive(clone, clone.seal(told(other)))
    assert verdicts(desk) == {1: {"stored", "forked"}}
    marked = {r.measurement.measurement_id: r.forked for r in desk.readings()}
    assert marked[other.measurement_id]
    assert sum(marked.values()) == 1
    due = {(d.digest, d.verdict.value) for d in desk.store.outgoing.receipts_due(10)}
    assert due == {(home.sealed[0].digest, "stored"), (clone.sealed[0].digest, "forked")}
    # The same fork again: known, receipted again, not stored again.
    desk.receive(clone, clone.sealed[0])
    assert len(desk.table("envelope")) == 2


def test_an_envelope_that_does_not_follow_the_one_before_is_a_fork(desk: BridgeDesk) -> None:
    home, restored = SealingHome(), SealingHome()
    first, second = (home.seal(told(blood_pressure(str(130 + n), minutes=n))) for n in range(2))
    restored.seal(told(blood_pressure("140", minutes=5)))
    lost = restored.seal(told(blood_pressure("141", minutes=6)))
    desk.receive(home, first, lost)
    assert verdicts(desk) == {1: {"stored"}, 2: {"forked"}}
    desk.receive(home, second)
    assert verdicts(desk) == {1: {"stored"}, 2: {"forked"}}


def test_a_gap_that_closes_with_the_wrong_envelope_is_a_fork(desk: BridgeDesk) -> None:
    home, clone = SealingHome(), SealingHome()
    for number in range(3):
        home.seal(told(blood_pressure(str(130 + number), minutes=number)))
        clone.seal(told(blood_pressure(str(150 + number), minutes=10 + number)))
    desk.receive(home, home.sealed[0], home.sealed[2], clone.sealed[1])
    assert verdicts(desk) == {1: {"stored"}, 2: {"forked"}, 3: {"stored"}}
    assert len(desk.readings()) == 3


def test_a_new_outbox_begins_a_chain_of_its_own(desk: BridgeDesk) -> None:
    old, new = SealingHome(outbox=1), SealingHome(outbox=2)
    desk.receive(old, old.seal(told(blood_pressure("130"))))
    desk.receive(new, new.seal(told(blood_pressure("131", minutes=1))))
    assert verdicts(desk) == {1: {"stored"}}
    assert len(desk.readings()) == 2


def test_a_first_envelope_that_says_something_came_before_is_a_fork(desk: BridgeDesk) -> None:
    home = SealingHome()
    header = EnvelopeHeader(GATEWAY, home.outbox_id, 1, NOW, b"\x01" * 32)
    data = encode_items(list(told(blood_pressure("130"))))
    desk.receive(home, seal(data, header, gateway_keys().signing, (bridge_keys().opening.public,)))
    assert verdicts(desk) == {1: {"forked"}}
    assert [r.forked for r in desk.readings()] == [True]


def test_every_envelope_of_a_number_that_came_three_times_gets_its_receipt(desk: BridgeDesk) -> None:
    home, clone, broken = SealingHome(), SealingHome(), SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("130"))))
    desk.receive(clone, clone.seal(told(blood_pressure("150", minutes=1))))
    desk.receive(broken, broken.seal([], payload=b"nonsense"))
    due = [(d.sequence, d.verdict, d.digest) for d in desk.store.outgoing.receipts_due(10)]
    receipts = issue(GATEWAY, home.outbox_id, due, NOW)
    assert {r.ranges[0].verdict for r in receipts} == {"stored", "forked", "quarantined"}


@pytest.mark.parametrize("clean_first", [True, False])
def test_what_a_good_envelope_says_too_is_not_marked(desk: BridgeDesk, clean_first: bool) -> None:
    m = blood_pressure("130")
    home, clone, other = SealingHome(), SealingHome(), SealingHome(outbox=2)
    desk.receive(home, home.seal(told(blood_pressure("120", minutes=-5))))
    good, forked = other.seal(told(m)), clone.seal(told(m))
    desk.receive(home, *((good, forked) if clean_first else (forked, good)))
    assert [r.forked for r in desk.readings()] == [False, False]
