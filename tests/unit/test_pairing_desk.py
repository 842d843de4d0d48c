"""The pairing desk over a scripted radio: who may be paired, when consent is needed, what is written down."""

import asyncio
import datetime as dt
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from device_drivers.link import Sighting, uuid16
from device_drivers.profile import Bond, DeviceProfile, Link, Passkey, long_uuid
from edge_agent.bond_doctor import LinkFailed, Sign
from edge_agent.home import Home
from edge_agent.nearby import FRESH_S, MAX_HEARD, Distance, Nearby, distance
from edge_agent.pairing import ConsentNeeded, Devices
from edge_agent.pairing_desk import Order, PairingDesk
from edge_agent.passkeys import NobodyThere, parse_passkey, terms_of
from edge_agent.visit import Visitor
from tests.doubles.edge_home import ADDRESS, PRESSURE, items_of, make_home, named
from tests.doubles.edge_radio import ScriptedLink, ScriptedRadio
from tests.doubles.edge_readings import NOON
from wire_format.errors import Misconfigured, Rejected, Unreachable
from wire_format.statements import DeviceEvent, DeviceEventKind

CUFF = Sighting(ADDRESS, "BP-1", frozenset({uuid16(0x1810)}), rssi=-60)
NEIGHBOURS = replace(CUFF, address="C0:49:5F:00:00:99")
ORDER = Order(ADDRESS, "p-1")
VALUES = {long_uuid("2A29"): b"Example", long_uuid("2A24"): b"BP-1", long_uuid("2A25"): b"SN-1"}


def cuff() -> ScriptedLink:
    return ScriptedLink(packets=[("2A35", PRESSURE)], values=dict(VALUES))


@dataclass
class Bench:
    home: Home
    radio: ScriptedRadio
    desk: PairingDesk
    nearby: Nearby
    now: list[float]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def hear(self, sighting: Sighting = CUFF) -> None:
        self.nearby.heard(sighting, object())

    async def pair(self, order: Order = ORDER, sighting: Sighting = CUFF) -> Any:
        self.hear(sighting)
        return await self.desk.pair(order, NobodyThere())


def bench(folder: Path, **home: Any) -> Bench:
    made, radio, now = make_home(folder, adopt=False, **home), ScriptedRadio(cuff), [100.0]
    nearby = Nearby(lambda: now[0])
    tasks: list[asyncio.Task[None]] = []
    visitor = Visitor(made, radio, lambda c: tasks.append(asyncio.ensure_future(c)), lambda: now[0])
    return Bench(made, radio, PairingDesk(made, radio, visitor, nearby, 0.2), nearby, now, tasks)


async def test_a_paired_device_is_ours_with_its_bond_and_a_neighbours_of_the_same_model_is_not(
    tmp_path: Path,
) -> None:
    one = bench(tmp_path)
    device = await one.pair(replace(ORDER, slot=2))
    assert (device.identity.model, device.bonded_at, device.profile) == (
        "BP-1",
        NOON,
        "standard/blood_pressure",
    )
    (pairing,) = one.home.devices.pairings(device)
    assert (pairing.person, pairing.slot, pairing.valid_from) == ("p-1", 2, NOON)
    assert one.radio.opened[0].bonds == 1
    visitor = one.desk.visitor
    visitor.heard(NEIGHBOURS, object())
    visitor.heard(replace(NEIGHBOURS, name="BP-1"), object())
    assert one.tasks == []
    visitor.heard(CUFF, object())
    await asyncio.wait(one.tasks)
    assert len(one.radio.opened) == 2
    reopened = Devices.open(tmp_path / "devices.json", (), None)
    assert reopened.is_ours(ADDRESS)
    assert not reopened.is_ours(NEIGHBOURS.address)
    told = [i for i in items_of(one.home) if isinstance(i, DeviceEvent)]
    assert [i.kind for i in told] == [DeviceEventKind.PAIRED]


async def test_offers_are_what_a_profile_fits_the_nearest_first(tmp_path: Path) -> None:
    one = bench(tmp_path, owners=(named(),))
    one.hear(replace(CUFF, address="C0:49:5F:00:00:02", rssi=None))
    one.hear(replace(CUFF, address="C0:49:5F:00:00:03", rssi=-90))
    one.hear(CUFF)
    one.hear(replace(CUFF, address="C0:49:5F:00:00:04", services=frozenset({uuid16(0x180D)})))
    found = [(o.heard.sighting.address[-1], o.heard.distance, o.ours, o.bonded) for o in one.desk.offers()]
    assert found == [
        ("1", Distance.NEAR, True, False),
        ("3", Distance.TOO_FAR, False, False),
        ("2", Distance.UNKNOWN, False, False),
    ]
    one.now[0] += FRESH_S + 1
    assert one.desk.offers() == []


async def test_what_cannot_be_paired_is_said(tmp_path: Path) -> None:
    one = bench(tmp_path)
    with pytest.raises(Unreachable, match="is not heard now"):
        await one.desk.pair(ORDER, NobodyThere())
    with pytest.raises(Rejected, match="No device profile fits"):
        await one.pair(sighting=replace(CUFF, services=frozenset()))
    one.radio.device = lambda: replace(cuff(), refuses=LinkFailed("refused", Sign.KEY_REFUSED))
    with pytest.raises(LinkFailed):
        await one.pair()
    assert not one.home.devices.is_ours(ADDRESS)
    assert one.desk.visitor.links == 0


async def test_without_the_time_a_pairing_needs_to_be_told_since_when(tmp_path: Path) -> None:
    one = bench(tmp_path, knows_time=False)
    with pytest.raises(Misconfigured, match="--since"):
        await one.pair()
    device = await one.pair(replace(ORDER, since=NOON))
    assert device.users[0].since == NOON


async def test_a_second_person_needs_no_second_bond_and_the_first_keeps_what_was_measured(
    tmp_path: Path,
) -> None:
    one = bench(tmp_path)
    await one.pair(replace(ORDER, slot=1))
    await one.pair(replace(ORDER, slot=1))
    await one.pair(replace(ORDER, slot=2, person="p-2"))
    later = NOON + dt.timedelta(days=1)
    device = await one.pair(replace(ORDER, slot=1, person="p-3", since=later))
    assert one.radio.tries == 1
    assert [(u.person, u.slot, u.until) for u in device.users] == [
        ("p-1", 1, later),
        ("p-2", 2, None),
        ("p-3", 1, None),
    ]


async def test_an_old_bond_is_replaced_only_with_consent(tmp_path: Path) -> None:
    one = bench(tmp_path)
    await one.pair()
    identity = one.home.devices.known[ADDRESS].identity
    one.radio.held.clear()  # bluetoothd lost it
    with pytest.raises(ConsentNeeded, match="--replace-bond"):
        await one.pair()
    one.radio.held.add(ADDRESS)
    one.home.devices.update(ADDRESS, bond_lost_at=NOON)  # the device lost it
    with pytest.raises(ConsentNeeded):
        await one.pair()
    assert one.radio.removed == []
    one.hear()
    asked = asyncio.ensure_future(one.desk.pair(replace(ORDER, replace_bond=True), NobodyThere()))
    await asyncio.sleep(0.02)
    assert (one.radio.removed, asked.done()) == ([ADDRESS], False)
    one.now[0] += 1
    one.hear()
    device = await asked
    assert (device.identity, device.bond_lost_at) == (identity, None)
    one.now[0] += 1
    with pytest.raises(Unreachable, match="is removed, but it is not heard now"):
        await one.desk.pair(replace(ORDER, replace_bond=True), NobodyThere())


async def test_a_stranger_that_we_hold_a_bond_with_is_not_taken_in_silence(tmp_path: Path) -> None:
    one = bench(tmp_path)
    one.radio.held.add(ADDRESS)
    with pytest.raises(ConsentNeeded):
        await one.pair()


async def test_a_device_without_bonds_is_paired_by_its_address(tmp_path: Path) -> None:
    def change(profile: DeviceProfile) -> DeviceProfile:
        return profile.model_copy(update={"link": Link(bond=Bond.NEVER)})

    one = bench(tmp_path, change=change)
    device = await one.pair()
    assert (device.bonded_at, one.radio.opened[0].bonds) == (None, 0)


async def test_forgetting_removes_the_bond_and_keeps_the_identity(tmp_path: Path) -> None:
    one = bench(tmp_path, owners=(named(address=NEIGHBOURS.address),))
    identity = (await one.pair()).identity
    one.radio.unremovable = True
    with pytest.raises(Unreachable):
        await one.desk.forget(ADDRESS)
    assert one.home.devices.is_ours(ADDRESS)
    one.radio.unremovable = False
    await one.desk.forget(ADDRESS)
    assert one.radio.removed == [ADDRESS]
    assert not one.home.devices.is_ours(ADDRESS)
    with pytest.raises(Misconfigured, match="is not paired here"):
        await one.desk.forget(ADDRESS)
    with pytest.raises(Misconfigured, match="take out its"):
        await one.desk.forget(NEIGHBOURS.address)
    one.radio.device = lambda: replace(cuff(), values={long_uuid("2A25"): b"OTHER"})
    assert (await one.pair()).identity == identity


@pytest.mark.parametrize(
    ("rssi", "word"),
    [
        (-40, Distance.VERY_NEAR),
        (-55, Distance.VERY_NEAR),
        (-56, Distance.NEAR),
        (-85, Distance.FAR),
        (-86, Distance.TOO_FAR),
        (None, Distance.UNKNOWN),
    ],
)
def test_signal_strength_in_words(rssi: int | None, word: Distance) -> None:
    assert distance(rssi) is word


def test_one_strong_advertisement_does_not_make_a_device_near() -> None:
    nearby = Nearby(lambda: 1.0)
    for rssi in (-90, -40):
        nearby.heard(replace(CUFF, rssi=rssi), object())
    assert nearby.now()[0].distance is Distance.FAR
    for number in range(MAX_HEARD):
        nearby.heard(replace(CUFF, address=str(number)), object())
    assert len(nearby.now()) == MAX_HEARD
    assert nearby.get(ADDRESS, 0.0) is None


async def test_passkeys_come_from_the_profile_or_from_a_person() -> None:
    fixed = terms_of(Link(agent="KeyboardOnly", passkey=Passkey.FIXED, fixed_passkey=7), NobodyThere())
    assert await fixed.source.passkey() == 7
    nobody = terms_of(Link())
    assert await nobody.source.passkey() is None
    assert not await nobody.source.same(7)
    await nobody.source.show(7)


def test_a_typed_passkey() -> None:
    assert parse_passkey("012 345") == 12345
    for wrong in ("", "12345x", "1234567", "-1", "\u0663"):
        with pytest.raises(Misconfigured, match="up to six digits"):
            parse_passkey(wrong)
