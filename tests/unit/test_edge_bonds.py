"""Bonds at visits: what is refused, said and counted, and when keys are exchanged anew."""

from dataclasses import replace
from pathlib import Path

import pytest

from device_drivers.link import AttError
from device_drivers.profile import Bond, Passkey
from edge_agent.bond_doctor import LinkFailed, Sign
from tests.doubles.edge_home import ADDRESS, PRESSURE, named
from tests.doubles.edge_radio import ScriptedRadio
from tests.doubles.edge_visitor import Bench, attempts, bench, cuff, with_link
from wire_format.measurement import Measurement
from wire_format.statements import DeviceEvent, DeviceEventKind


def events(one: Bench, kind: DeviceEventKind) -> list[DeviceEvent]:
    return [item for item in one.items() if isinstance(item, DeviceEvent) and item.kind is kind]


async def test_a_bond_that_the_gateway_lost_is_not_made_again_in_silence(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio)
    await one.hear()
    radio.held.clear()
    radio.device = lambda: cuff(PRESSURE[:1] + b"\x80" + PRESSURE[2:])
    await attempts(one, 3)
    assert radio.tries == 1
    assert one.visitor.bonds.refused == 3
    (lost,) = events(one, DeviceEventKind.BOND_LOST)
    assert (lost.detail or "").startswith("gateway_forgot: The gateway lost its keys")
    assert len([i for i in one.items() if isinstance(i, Measurement)]) == 1
    assert one.home.devices.known[ADDRESS].bond_lost_at is not None
    # Somebody consents; then, and only then, new keys are exchanged.
    one.home.devices.update(ADDRESS, may_bond=True)
    await attempts(one, 1)
    known = one.home.devices.known[ADDRESS]
    assert (known.bond_lost_at, known.may_bond) == (None, False)
    assert len([i for i in one.items() if isinstance(i, Measurement)]) == 2


async def test_a_device_that_cannot_prove_itself_is_refused_and_believed_again_when_it_can(
    tmp_path: Path,
) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio)
    await one.hear()
    radio.device = lambda: replace(
        cuff(PRESSURE[:1] + b"\x81" + PRESSURE[2:]), refuses=LinkFailed("refused", Sign.KEY_REFUSED)
    )
    await attempts(one, 4)
    assert one.visitor.bonds.refused == 3
    (lost,) = events(one, DeviceEventKind.BOND_LOST)
    assert (lost.detail or "").startswith("device_forgot")
    assert radio.removed == []
    assert len([i for i in one.items() if isinstance(i, Measurement)]) == 1
    radio.device = cuff  # the real one is back
    await attempts(one, 1)
    assert one.home.devices.known[ADDRESS].bond_lost_at is None


async def test_with_consent_beforehand_a_stale_bond_is_removed_once(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio, remove_stale=True)
    await one.hear()
    radio.device = lambda: replace(cuff(), refuses=LinkFailed("refused", Sign.KEY_REFUSED))
    await attempts(one, 2)
    assert radio.removed == [ADDRESS]
    radio.device = cuff
    await attempts(one, 1)
    assert not one.home.devices.known[ADDRESS].may_bond
    assert ADDRESS in radio.held


async def test_a_bond_that_cannot_be_removed_is_tried_again(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio, remove_stale=True)
    await one.hear()
    radio.unremovable = True
    radio.device = lambda: replace(cuff(), refuses=LinkFailed("refused", Sign.KEY_REFUSED))
    await attempts(one, 3)
    assert not one.home.devices.known[ADDRESS].may_bond
    radio.unremovable = False
    await attempts(one, 1)
    assert radio.removed == [ADDRESS]


async def test_an_insufficient_authentication_on_a_bonded_link_counts_as_a_refused_key(
    tmp_path: Path,
) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio)
    await one.hear()
    radio.device = lambda: replace(cuff(), refuses=AttError("a subscription", 0x05))
    await attempts(one, 2)
    assert len(events(one, DeviceEventKind.BOND_LOST)) == 1


async def test_a_device_that_shows_a_passkey_waits_for_an_installer(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff)
    change = with_link(agent="KeyboardOnly", passkey=Passkey.DEVICE_DISPLAY)
    one = bench(tmp_path, radio, owners=(named(),), adopt=False, change=change)
    await one.hear()
    assert radio.tries == 0
    radio.held.add(ADDRESS)
    await attempts(one, 1)
    assert radio.asked[0].held


@pytest.mark.parametrize(
    ("bond", "bonds", "first", "removed"),
    [
        (Bond.NEVER, 0, False, []),
        (Bond.BEFORE_CONNECT, 1, True, []),
        (Bond.BEFORE_SUBSCRIBING, 1, False, []),
        (Bond.ON_DEMAND, 0, False, []),
        (Bond.PER_SESSION, 1, True, [ADDRESS]),
    ],
)
async def test_each_way_of_bonding(
    tmp_path: Path, bond: Bond, bonds: int, first: bool, removed: list[str]
) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio, change=with_link(bond=bond))
    await one.hear()
    assert radio.opened[0].bonds == bonds
    assert radio.asked[0].first == first
    assert radio.asked[0].bonding == (bond is not Bond.NEVER)
    assert radio.removed == removed
    keeps = bond in {Bond.BEFORE_CONNECT, Bond.BEFORE_SUBSCRIBING}
    assert (one.home.devices.known[ADDRESS].bonded_at is not None) == keeps


async def test_a_bonded_device_proves_itself_also_if_it_asks_for_nothing(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff, held={ADDRESS})
    one = bench(tmp_path, radio, change=with_link(bond=Bond.ON_DEMAND))
    await one.hear()
    assert radio.opened[0].bonds == 1


async def test_a_bond_for_one_session_that_was_left_behind_is_removed_first(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff, held={ADDRESS})
    one = bench(tmp_path, radio, change=with_link(bond=Bond.PER_SESSION))
    await one.hear()
    assert radio.removed == [ADDRESS, ADDRESS]
    assert not radio.asked[0].held
    assert one.home.devices.known[ADDRESS].bonded_at is None
