"""Meters on ptys, read through pyserial by the agent's own visitor into a real outbox, with real faults."""

import asyncio
import contextlib
import datetime as dt
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from device_drivers.device_time import from_local
from device_drivers.link import SerialLink
from edge_agent.outbox import Limits
from edge_agent.serial_link import Port, open_cable
from tests.doubles.serial_street import (
    METERS,
    NOON,
    ZONE,
    adapter,
    memory,
    meter,
    plugged,
    section,
    street,
)
from virtual_home.serial.cable import Faults
from virtual_home.serial.lifescan import UltraEasyMeter
from virtual_home.serial.meter import Result, SerialMeter
from wire_format.measurement import Absent, ClockTrust, GlucoseContext, Meal, Measurement, Remark
from wire_format.nomenclature import Term
from wire_format.statements import DeviceEventKind, GatewayEvent, GatewayEventKind

every_family = pytest.mark.parametrize("profile", METERS)
SECONDS = {"lifescan/onetouch_ultra2", "lifescan/onetouch_ultraeasy"}
"""Meters whose records count seconds."""


def truth(of: SerialMeter) -> Counter[tuple[dt.datetime, object]]:
    return Counter((r.taken.replace(second=0), r.value) for r in of.memory)


def told(found: list[Measurement]) -> Counter[tuple[dt.datetime | None, object]]:
    absent = {Absent.ABOVE_RANGE: "HI", Absent.BELOW_RANGE: "LO"}
    stated = [m.time.stated and m.time.stated.replace(second=0) for m in found]
    return Counter(
        (when, absent[c.absent] if c.absent else int(c.value or 0))
        for when, m in zip(stated, found, strict=True)
        for c in m.components
    )


@every_family
async def test_a_memory_is_read_whole_and_once(tmp_path: Path, profile: str) -> None:
    one = meter(profile, results=memory(120))
    path = tmp_path / "tty"
    async with plugged(path, one), street(tmp_path, section(profile, path)) as at:
        await at.until(lambda: len(at.measured()) == 120)
        await at.after_visits(1)
        assert told(at.measured()) == truth(one)
        assert {m.device.serial for m in at.measured()} == {one.serial or None}
        assert all(Remark.STORED_RECORD in m.remarks for m in at.measured())
        assert at.people() == {"p-1": {one.serial or None}}
        assert [u.reason for u in at.strays()] == []
        one.measure(222)
        await at.until(lambda: len(at.measured()) == 121)
        assert told(at.measured()) == truth(one)
    assert one.erasures_asked == 0


@pytest.mark.parametrize("profile", [p for p in METERS if not p.startswith("sd_")])
async def test_what_is_no_number_is_said_to_be_none(tmp_path: Path, profile: str) -> None:
    marks = [Result(memory()[0].taken, "HI"), Result(memory()[1].taken, "LO")]
    one = meter(
        profile, results=[*marks, replace(memory()[2], control=True), replace(memory()[3], meal="after")]
    )
    path = tmp_path / "tty"
    async with plugged(path, one), street(tmp_path, section(profile, path)) as at:
        await at.until(lambda: len(at.measured()) == 4)
        after, control, low, high = at.measured()
        assert high.components[0].absent is Absent.ABOVE_RANGE
        assert low.components[0].absent is Absent.BELOW_RANGE
        assert high.failure is low.failure is None
        assert isinstance(control.context, GlucoseContext)
        assert isinstance(after.context, GlucoseContext)
        # An UltraEasy has no mark that is known, a FreeStyle none of meals.
        assert control.context.control_solution is (profile != "lifescan/onetouch_ultraeasy")
        meal = None if profile.startswith("abbott") or "ultraeasy" in profile else Meal.POSTPRANDIAL
        assert after.context.meal is meal


async def test_ketone_is_told_as_the_display_showed_it(tmp_path: Path) -> None:
    results = [replace(r, value=n + 1, ketone=True) for n, r in enumerate(memory(80))]
    one = meter("abbott/freestyle_optium", results=results)
    path = tmp_path / "tty"
    async with plugged(path, one), street(tmp_path, section("abbott/freestyle_optium", path)) as at:
        await at.until(lambda: len(at.measured()) == 80)
        values = sorted(m.value(Term.KETONE) or 0 for m in at.measured())
        assert [str(v) for v in values] == [f"{n // 10}.{n % 10}" for n in range(1, 81)]
        assert all(m.value(Term.GLUCOSE) is None for m in at.measured())


FAULTS = {
    "slow": Faults(byte_s=0.0005),
    "garbage": Faults(garbage=b"\x00\xfe\x91garbage\x05"),
    "damaged early": Faults(damage_at=12),
    "damaged late": Faults(damage_at=400),
}


@every_family
@pytest.mark.parametrize("name", FAULTS)
async def test_a_bad_cable_changes_no_value(tmp_path: Path, profile: str, name: str) -> None:
    one, path = meter(profile, results=memory(12 if name == "slow" else 40)), tmp_path / "tty"
    faults = replace(FAULTS[name])
    async with plugged(path, one, faults), street(tmp_path, section(profile, path)) as at:
        await at.until(lambda: told(at.measured()) == truth(one))
        assert faults.damage_at is None
        assert faults.garbage == b""
    assert one.erasures_asked == 0


@every_family
async def test_a_cable_pulled_anywhere_loses_and_doubles_nothing(tmp_path: Path, profile: str) -> None:
    one, path = meter(profile, results=memory(60)), tmp_path / "tty"
    async with plugged(path, one) as cable, street(tmp_path, section(profile, path)) as at:
        cable.unplug()
        for after in (5, 150, 700, 1300):
            cable.faults = Faults(pulled_after=after)
            cable.plug()
            await at.until(lambda: not cable.plugged)
            assert not told(at.measured()) - truth(one)
        cable.faults = Faults()
        cable.plug()
        await at.until(lambda: len(at.measured()) == 60)
        await at.after_visits(1)
        assert told(at.measured()) == truth(one)
        assert len({m.measurement_id for m in at.measured()}) == 60


async def test_a_cable_that_is_plugged_in_again_is_visited_at_once(tmp_path: Path) -> None:
    one, path = meter("lifescan/onetouch_ultra2"), tmp_path / "tty"
    of = section("lifescan/onetouch_ultra2", path)
    async with plugged(path, one) as cable, street(tmp_path, of, rest_s=600) as at:
        await at.until(lambda: at.visits == 1)
        one.measure(222)
        # So fast that nobody saw it missing.
        cable.unplug()
        cable.plug()
        await at.until(lambda: len(at.measured()) == 13)


@every_family
async def test_a_meter_that_dies_is_told_of_by_name(tmp_path: Path, profile: str) -> None:
    one, path = meter(profile, results=memory(60)), tmp_path / "tty"
    # A FreeStyle Lite says who it is by telling its whole memory: it dies when it tells it again.
    faults = Faults(dies_after=3000 if profile == "abbott/freestyle_lite" else 1000)
    async with plugged(path, one, faults) as cable, street(tmp_path, section(profile, path)) as at:
        await at.until(lambda: bool(at.events()))
        (event, *_) = at.events()
        assert event.kind is DeviceEventKind.VISIT_FAILED
        assert event.detail
        assert event.detail.startswith(("LinkLost: The meter", "MalformedPacket: The answer"))
        assert not told(at.measured()) - truth(one)
        cable.unplug()
        cable.faults = Faults()
        cable.plug()
        await at.until(lambda: told(at.measured()) == truth(one))


@dataclass
class Babble(SerialMeter):
    """What another baud rate looks like: each request is answered by bytes of no sense, some of them late."""

    def _answers(self) -> Iterator[bytes]:
        chance = random.Random(len(self.heard))  # noqa: S311 - noise, no secret
        self.heard.clear()
        yield chance.randbytes(40)


@pytest.mark.parametrize("profile", [p for p in METERS if not p.startswith("sd_")])
async def test_another_baud_rate_ends_with_a_named_error(tmp_path: Path, profile: str) -> None:
    path = tmp_path / "tty"
    async with plugged(path, Babble("", lambda: NOON)), street(tmp_path, section(profile, path)) as at:
        await at.until(lambda: bool(at.log.of("visit_failed")))
        (line,) = at.log.of("visit_failed")
        assert line["error"] == "MalformedPacket"
        assert at.items() == []


async def test_an_empty_cable_is_no_failure(tmp_path: Path) -> None:
    @dataclass
    class Nobody(SerialMeter):
        def _answers(self) -> Iterator[bytes]:
            self.heard.clear()
            return iter(())

    path = tmp_path / "tty"
    of = section("lifescan/onetouch_ultra2", path)
    async with plugged(path, Nobody("", lambda: NOON)), street(tmp_path, of) as at:
        await at.after_visits(2)
        assert at.items() == []


@pytest.mark.parametrize("profile", [p for p in METERS if not p.startswith("sd_")])
async def test_a_clock_that_is_hours_off_dates_right_and_is_set_afterwards(
    tmp_path: Path, profile: str
) -> None:
    one, path = meter(profile, results=[]), tmp_path / "tty"
    one.offset = dt.timedelta(hours=-7, minutes=-12)
    for value in (100, 101, 102):
        one.measure(value)
    async with plugged(path, one), street(tmp_path, section(profile, path)) as at:
        await at.until(lambda: len(at.measured()) == 3)
        for m in at.measured():
            assert m.time.trust is ClockTrust.COMPARED
            assert m.time.measured is not None
            assert abs(m.time.measured.utc - NOON) <= dt.timedelta(
                milliseconds=m.time.measured.uncertainty_ms
            )
            assert m.time.stated is not None
            assert from_local(m.time.stated, ZONE) != NOON
        if profile == "abbott/freestyle_lite":
            assert one.clock_settings == 0
            return
        await at.until(lambda: one.clock_settings == 1)
        await at.after_visits(2)
        assert abs(one.offset) <= dt.timedelta(minutes=1)
        assert len(at.measured()) == 3  # what was stored under the old clock is known again
        kinds = [e.kind for e in at.events()]
        assert kinds.count(DeviceEventKind.CLOCK_SET) == 1
        assert DeviceEventKind.CLOCK_REFUSED not in kinds
        one.measure(150)
        await at.until(lambda: len(at.measured()) == 4)
        newest = next(m for m in at.measured() if m.value(Term.GLUCOSE) == 150)
        assert newest.time.trust is ClockTrust.SYNCHRONISED


async def test_a_visit_cut_short_leaves_a_wrong_clock_alone(tmp_path: Path) -> None:
    one, path = meter("lifescan/onetouch_ultra2", results=memory(60)), tmp_path / "tty"
    one.offset = dt.timedelta(hours=5)
    faults = Faults(dies_after=1000)
    of = section("lifescan/onetouch_ultra2", path)
    async with plugged(path, one, faults), street(tmp_path, of) as at:
        await at.until(lambda: bool(at.events()))
        assert one.clock_settings == 0


async def test_two_equal_adapters_are_told_apart_and_asked_who_is_there(tmp_path: Path) -> None:
    left, right = tmp_path / "left", tmp_path / "right"
    ultra, easy = meter("lifescan/onetouch_ultra2"), meter("lifescan/onetouch_ultraeasy")
    named = [
        section(None, person="p-left", usb="067b:2303", location="1-1.1"),
        section(None, person="p-right", usb="067b:2303", location="1-1.2"),
    ]

    def usb() -> list[Port]:
        return [*adapter(left, "067b:2303", "1-1.1"), *adapter(right, "067b:2303", "1-1.2")]

    async with (
        plugged(left, ultra),
        plugged(right, easy),
        street(tmp_path, *named, adapters=usb) as at,
    ):
        await at.until(lambda: len(at.measured()) == 24)
        assert at.people() == {"p-left": {ultra.serial}, "p-right": {easy.serial}}


async def test_a_meter_on_anothers_cable_stays_its_persons_or_nobodys(tmp_path: Path) -> None:
    path, other = tmp_path / "tty", tmp_path / "other"
    kind = "lifescan/onetouch_ultra2"
    named = [
        section(kind, path, person="p-1", meter="AAAAAAAAY"),
        section(kind, other, person="p-2", meter="BBBBBBBBY"),
    ]
    first, stranger = meter(kind, serial="AAAAAAAAY"), meter(kind, serial="CCCCCCCCY")
    async with plugged(path, stranger), plugged(other, first), street(tmp_path, *named) as at:
        await at.until(lambda: len(at.measured()) == 24)
        assert at.people() == {"p-1": {"AAAAAAAAY"}, None: {"CCCCCCCCY"}}


async def test_an_adopting_home_takes_any_adapter_of_an_enabled_profile(tmp_path: Path) -> None:
    path = tmp_path / "tty"
    one = meter("lifescan/onetouch_ultraeasy")
    assert isinstance(one, UltraEasyMeter)
    one.count_prefix = b"\x0f"

    def usb() -> list[Port]:
        return [*adapter(path, "067b:2303", "1-1.1"), *adapter(tmp_path / "none", "067b:2303", "1-1.2")]

    async with plugged(path, one), street(tmp_path, adapters=usb, adopt=True) as at:
        await at.until(lambda: len(at.measured()) == 12)
        # They were measured before the meter was adopted.
        assert at.people() == {None: {one.serial}}


async def test_a_full_outbox_refuses_visits_loudly_and_leaves_the_memory_alone(tmp_path: Path) -> None:
    one, path = meter("lifescan/onetouch_ultra2"), tmp_path / "tty"
    of, least = section("lifescan/onetouch_ultra2", path), Limits(max_waiting=1)
    async with plugged(path, one), street(tmp_path, of, limits=least) as at:
        await at.until(lambda: len(at.measured()) == 12)
        one.measure(222)
        await at.until(lambda: bool(at.log.of("visits_refused")))
        await at.after_visits(2)
        assert len(at.log.of("visits_refused")) == 1
        assert len(at.measured()) == 12
        full = [item for item in at.items() if isinstance(item, GatewayEvent)]
        assert [event.kind for event in full] == [GatewayEventKind.OUTBOX_FULL]


async def test_a_strange_driver_does_not_take_the_agent_down(tmp_path: Path) -> None:
    @contextlib.asynccontextmanager
    async def strange(_path: str) -> AsyncIterator[SerialLink]:
        raise ZeroDivisionError("strange")
        yield

    path = tmp_path / "tty"
    of = section("lifescan/onetouch_ultra2", path)
    async with plugged(path, meter("lifescan/onetouch_ultra2")), street(tmp_path, of) as at:
        await at.until(lambda: len(at.measured()) == 12)
        at.visitor.open = strange
        await at.after_visits(3)
        assert [line["error"] for line in at.log.of("visit_failed")] == ["ZeroDivisionError"]
        at.visitor.open = open_cable
        await at.until(lambda: bool(at.log.of("device_answers_again")))


async def test_a_visit_that_is_cancelled_closes_its_port(tmp_path: Path) -> None:
    one, path = meter("lifescan/onetouch_ultra2", results=memory(30)), tmp_path / "tty"
    of = section("lifescan/onetouch_ultra2", path)
    async with plugged(path, one, Faults(byte_s=0.001)):
        async with street(tmp_path / "a", of) as at:
            await at.until(lambda: len(one.heard) == 0 and at.visitor._places != {})  # noqa: SLF001 - no other sign
            await asyncio.sleep(0.1)
        one.heard.clear()
        async with street(tmp_path / "b", of) as at:
            await at.until(lambda: told(at.measured()) == truth(one))
