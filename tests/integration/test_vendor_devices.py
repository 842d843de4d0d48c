"""Vendors' scales and meters on a virtual radio, through the agent's own code into its outbox."""

import asyncio
import datetime as dt
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from device_drivers.catalogue import Catalogue
from edge_agent.ble_link import BleRadio
from edge_agent.clock import GatewayClock, vouched
from edge_agent.config import DeviceSection, Visits
from edge_agent.nearby import Nearby
from edge_agent.outbox import Outbox
from edge_agent.pairing import Devices
from edge_agent.pairing_desk import Order, PairingDesk
from edge_agent.scanner import Scanner
from edge_agent.sink import GatewayVoice, Sealer
from edge_agent.steps import nobody
from edge_agent.visit import Home, Visitor
from service_kit.log import silent
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from virtual_home.bleak_backend import VirtualRadio
from virtual_home.devices.advertising import bind_key
from virtual_home.home import HomeControl
from virtual_home.processes import Program
from wire_format.codec import Item, decode_items
from wire_format.envelope import open_sealed
from wire_format.measurement import Measurement, Remark
from wire_format.nomenclature import Term, Unit
from wire_format.statements import Assignment, DeviceEvent, DeviceEventKind, Undecodable

ADDRESS = "C0:49:5F:00:00:07"
WITHIN_S = 60
DEVICE = """
title = "One device"
seed = 1
begins_at = {begins_at}
acts = []
[[devices]]
key = "one"
kind = "{kind}"
address = "{address}"
name = "{name}"
maker = "Example"
model = "{kind}"
serial = "SN-0007"
person = "p-1"
clock_absent = {clock_absent}
closes_after_s = 0.2
advertises_s = {advertises_s}
pairing = "{pairing}"
passkey = 271828
"""
SHOW_DIGITS = ("caresens", "verio_flex")
"""Whoever installs one of these reads its passkey off it."""


class Installer:
    """Types the digits; nothing else is asked for by these devices."""

    async def passkey(self) -> int | None:
        return 271_828

    async def same(self, shown: int) -> bool:
        raise AssertionError(f"nothing was to be compared, not {shown}")

    async def show(self, passkey: int) -> None:
        raise AssertionError(f"nothing was to be shown, not {passkey}")


@dataclass
class Street:
    """One device on the air, and the agent's parts that hear it."""

    device: HomeControl
    outbox: Outbox

    async def measure(self, **values: str) -> None:
        await self.device.ask("measure", device="one", values=values)

    def items(self) -> list[Item]:
        def opened(data: bytes) -> bytes:
            return open_sealed(data, lambda _: gateway_keys().signing.public, bridge_keys().by_id).payload

        box = self.outbox
        return [item for key in box.unsettled() for item in decode_items(opened(box.load(key) or b""))]

    def measured(self) -> list[Measurement]:
        return [item for item in self.items() if isinstance(item, Measurement)]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not holds():  # noqa: ASYNC110 - what happens is in files and another process
                await asyncio.sleep(0.05)

    async def told(self) -> list[str]:
        """Everything that the device announced so far."""
        await asyncio.sleep(0)
        said = []
        while not self.device.events.empty():
            said.append(str((self.device.events.get_nowait())["event"]))
        return said


def agent_home(folder: Path, key: str | None) -> Home:
    clock = GatewayClock(UUID(int=11), uncertainty=vouched(5))
    outbox = Outbox(folder / "outbox", "gw-1", utc=clock.utc)
    sealer = Sealer(gateway_keys().signing, (bridge_keys().opening.public,))
    secret = None if key is None else SecretStr(key)
    since = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    named = (DeviceSection(address=ADDRESS, person="p-1", since=since, bind_key=secret),)
    every = Catalogue().profiles
    quick = {
        name: profile.model_copy(update={"records": profile.records.model_copy(update={"idle_s": 1.0})})
        for name, profile in every.items()
    }
    return Home(
        "0.1.0",
        clock,
        480,
        outbox,
        sealer,
        GatewayVoice(outbox, sealer, clock),
        Devices.open(folder / "devices.json", named, None),
        Catalogue(quick, enabled=list(every)),
        Visits(rest_s=0.2, longest_rest_s=1),
        silent(),
        nobody,
    )


@asynccontextmanager
async def street(
    folder: Path,
    kind: str,
    name: str,
    *,
    clock_absent: bool = False,
    key: str | None = None,
    advertises_s: float = 30,
) -> AsyncIterator[Street]:
    # The device's clock stands, and moves by a minute with each measurement.
    begins_at = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)).isoformat(timespec="seconds")
    said = {"kind": kind, "name": name, "address": ADDRESS, "begins_at": begins_at}
    absent = str(clock_absent).lower()
    pairing = "passkey_display" if kind in SHOW_DIGITS else "just_works"
    text = DEVICE.format(**said, clock_absent=absent, advertises_s=float(advertises_s), pairing=pairing)
    (folder / "scenario.toml").write_text(text)

    async def ready() -> bool:
        return (folder / "control").exists()

    code = (
        "import asyncio; from pathlib import Path; from virtual_home.home import run_home; "
        f"from virtual_home.scenario import load_scenario; f = Path({str(folder)!r}); "
        "asyncio.run(run_home(load_scenario(f / 'scenario.toml'), f / 'radio', f / 'control'))"
    )
    devices = Program("devices", [sys.executable, "-c", code], log=folder / "devices.log", ready=ready)
    await devices.start()
    control = await HomeControl.connect(folder / "control")
    radio = await VirtualRadio.open(f"unix:{folder / 'radio'}", folder / "bonds.json")
    home = agent_home(folder, key)
    try:
        async with listening(home, radio, paired=kind in SHOW_DIGITS):
            yield Street(control, home.outbox)
    finally:
        home.outbox.close()
        await radio.close()
        await control.close()
        await devices.stop()


@asynccontextmanager
async def listening(home: Home, radio: VirtualRadio, *, paired: bool) -> AsyncIterator[None]:
    """The agent's scanner and visitor, on the virtual radio, and somebody who pairs what is first heard."""
    running: set[asyncio.Task[None]] = set()

    def spawn(work: Any) -> object:
        task = asyncio.ensure_future(work)
        running.add(task)
        task.add_done_callback(running.discard)
        return task

    scanner, nearby = Scanner(radio.scanner, silent()), Nearby()
    ble = BleRadio(radio.client, scanner, 20, radio)
    visitor = Visitor(home, ble, spawn)
    desk = PairingDesk(home, ble, visitor, nearby, 20)

    def heard(sighting: Any, handle: object) -> None:
        nearby.heard(sighting, handle)
        visitor.heard(sighting, handle)

    async def pair() -> None:
        while not desk.offers():  # noqa: ASYNC110 - heard by the radio, some time
            await asyncio.sleep(0.05)
        await desk.pair(Order(ADDRESS, "p-1"), Installer())

    scanner.heard = heard
    spawn(scanner.run())
    if paired:
        spawn(pair())
    try:
        yield
    finally:
        for task in list(running):
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=10)


def values(found: list[Measurement], term: Term) -> list[Decimal | None]:
    return [m.value(term) for m in found]


# --- scales that only advertise ---


@pytest.mark.parametrize(
    ("kind", "name", "key", "said"),
    [
        ("mi_scale", "MI SCALE2", None, {Term.BODY_WEIGHT: "70.6"}),
        ("mi_composition_scale", "MIBFS", None, {Term.BODY_WEIGHT: "70.6", Term.IMPEDANCE: "500"}),
        (
            "xiaomi_s400",
            "Xiaomi Scale S400 0007",
            bind_key(ADDRESS).hex(),
            {Term.BODY_WEIGHT: "70.6", Term.IMPEDANCE: "480.5", Term.IMPEDANCE_SECOND: "440.1"},
        ),
    ],
)
async def test_a_scale_that_advertises_is_heard_once_and_never_connected(
    tmp_path: Path, kind: str, name: str, key: str | None, said: dict[Term, str]
) -> None:
    async with street(tmp_path, kind, name, key=key) as one:
        await one.measure(weight="70.6")
        await one.until(lambda: len(one.measured()) == 1)
        await one.measure(weight="71.2")
        await one.until(lambda: len(one.measured()) == 2)
        await asyncio.sleep(1)  # what is advertised on and on must not become a third
        first, second = one.measured()
        assert {term: first.value(term) for term in said} == {t: Decimal(v) for t, v in said.items()}
        assert second.value(Term.BODY_WEIGHT) == Decimal("71.2")
        assert all(m.component(Term.BODY_WEIGHT).unit is Unit.KG for m in (first, second))  # type: ignore[union-attr]
        owners = [item.person for item in one.items() if isinstance(item, Assignment)]
        assert owners == ["p-1", "p-1"]
        assert not [item for item in one.items() if isinstance(item, Undecodable | DeviceEvent)]
        assert {"connected", "disconnected"}.isdisjoint(await one.told())


async def test_a_scale_whose_clock_was_never_set_is_dated_by_its_arrival(tmp_path: Path) -> None:
    async with street(tmp_path, "mi_scale", "MI SCALE2", clock_absent=True) as one:
        began = dt.datetime.now(dt.UTC)
        await one.measure(weight="70.6")
        await one.until(lambda: len(one.measured()) == 1)
        (found,) = one.measured()
        assert Remark.CLOCK_UNSET in found.remarks
        assert found.time.measured is not None
        assert began <= found.time.measured.utc <= dt.datetime.now(dt.UTC)


async def test_an_s400_without_its_key_is_told_once_and_loses_nothing(tmp_path: Path) -> None:
    async with street(tmp_path, "xiaomi_s400", "Xiaomi Scale S400 0007", advertises_s=1) as one:
        await one.measure(weight="70.6")
        await one.until(lambda: any(isinstance(item, DeviceEvent) for item in one.items()))
        await one.measure(weight="71.2")
        await asyncio.sleep(3)
        (told,) = [item for item in one.items() if isinstance(item, DeviceEvent)]
        assert told.kind is DeviceEventKind.VISIT_FAILED
        assert "bind_key" in (told.detail or "")
        assert one.measured() == []
        assert [item for item in one.items() if isinstance(item, Undecodable)]


# --- devices that are connected ---

CONNECTED = [
    ("transtek_scale", "ADE-1", "weight", Term.BODY_WEIGHT),
    ("contour", "Contour1", "mg_dl", Term.GLUCOSE),
    ("caresens", "CareSens1", "mg_dl", Term.GLUCOSE),
    ("dm30b", "DM30b", "mg_dl", Term.GLUCOSE),
    ("verio_flex", "OneTouch", "mg_dl", Term.GLUCOSE),
]
DRIVERS = {
    "transtek_scale": "ade/ba1600",
    "contour": "ascensia/contour_next_one",
    "caresens": "isens/caresens",
    "dm30b": "taidoc/dm30b",
    "verio_flex": "lifescan/onetouch_verio_flex",
}


@pytest.mark.parametrize(("kind", "name", "what", "term"), CONNECTED, ids=[row[0] for row in CONNECTED])
async def test_a_device_is_read_and_only_what_is_new_is_kept(
    tmp_path: Path, kind: str, name: str, what: str, term: Term
) -> None:
    async with street(tmp_path, kind, name) as one:
        for number, value in enumerate(("101", "102", "103"), start=1):
            await one.measure(**{what: value})
            await one.until(lambda n=number: len(one.measured()) >= n)  # type: ignore[misc]
        found = one.measured()
        assert values(found, term) == [Decimal(101), Decimal(102), Decimal(103)]
        assert len({m.measurement_id for m in found}) == 3
        assert {m.provenance.profile for m in found} == {DRIVERS[kind]}
        assert {m.device.serial for m in found} == {"SN-0007"}
        assert {item.person for item in one.items() if isinstance(item, Assignment)} == {"p-1"}
        assert not [item for item in one.items() if isinstance(item, Undecodable)]


@pytest.mark.parametrize(("kind", "name", "what", "term"), CONNECTED, ids=[row[0] for row in CONNECTED])
async def test_a_dump_that_breaks_is_completed_by_the_next_visit_and_nothing_is_twice(
    tmp_path: Path, kind: str, name: str, what: str, term: Term
) -> None:
    async with street(tmp_path, kind, name) as one:
        await one.device.ask("break_after", device="one", packets=2)
        for value in ("101", "102", "103", "104"):
            await one.device.ask("hold", device="one", values={what: value})
        await one.device.ask("release", device="one")
        await one.until(lambda: len({m.measurement_id for m in one.measured()}) == 4)
        await asyncio.sleep(1)
        found = one.measured()
        assert sorted(str(v) for v in values(found, term)) == sorted(["101", "102", "103", "104"])
        assert len({m.measurement_id for m in found}) == 4
        assert (await one.told()).count("connected") >= 2


async def test_a_ketone_travels_as_a_ketone(tmp_path: Path) -> None:
    async with street(tmp_path, "caresens", "CareSens1") as one:
        await one.measure(ketone="0.6")
        await one.until(lambda: len(one.measured()) == 1)
        (found,) = one.measured()
        assert [(c.term, c.value, c.unit) for c in found.components] == [
            (Term.KETONE, Decimal("0.6"), Unit.MMOL_PER_L)
        ]
        told = [item.kind for item in one.items() if isinstance(item, DeviceEvent)]
        assert told == [DeviceEventKind.PAIRED, DeviceEventKind.CLOCK_SET]


async def test_a_verio_has_each_of_its_answers_acknowledged(tmp_path: Path) -> None:
    async with street(tmp_path, "verio_flex", "OneTouch") as one:
        await one.measure(mg_dl="101")
        await one.until(lambda: len(one.measured()) == 1)
        await asyncio.sleep(0.5)
        assert await one.device.ask("unacknowledged", device="one") == 0
