"""Makers' cuffs over the virtual radio: the whole agent reads them, the hospital has each reading once."""

import asyncio
import datetime as dt
from pathlib import Path

import pytest

from tests.doubles.edge_hospital import eventually
from tests.integration.test_edge_agent import Street, street
from wire_format.measurement import ClockTrust, Measurement, Remark
from wire_format.nomenclature import Term
from wire_format.statements import DeviceEvent, DeviceEventKind

DEVICE = """
[[devices]]
key = "{kind}"
kind = "{kind}"
address = "C0:49:5F:00:00:{number:02X}"
name = "{name}"
maker = "{maker}"
model = "{model}"
serial = "S-{number}"
person = "p-1"
clock_offset_s = {offset}
keeps = {keeps}
"""
DAYS_3 = 3 * 86_400


def home(
    kind: str, model: str, name: str, *, offset: int = 0, maker: str = "OMRON", keeps: bool = True
) -> str:
    head = 'title = "One device"\nseed = 1\nacts = []\n'
    told = "true" if keeps else "false"
    return head + DEVICE.format(
        kind=kind, model=model, name=name, offset=offset, maker=maker, keeps=told, number=7
    )


async def measure(one: Street, kind: str, *systolics: int, user: int | None = None) -> None:
    for systolic in systolics:
        values = {"systolic": str(systolic), "diastolic": "71", "pulse": "66"}
        await one.devices.ask("measure", device=kind, values=values | ({"user": str(user)} if user else {}))


def systolics(one: Street) -> list[int]:
    return sorted(int(m.value(Term.SYSTOLIC) or 0) for m in one.measurements())


async def confirmed(one: Street) -> None:
    """Wait until the cuff knows that everything was read: it is told at the end of a transfer."""
    async with asyncio.timeout(20):
        while {e["fate"] for e in await one.devices.ask("ledger")} != {"confirmed"}:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def events(one: Street) -> list[DeviceEventKind]:
    return [item.kind for item in one.hospital.items() if isinstance(item, DeviceEvent)]


def away(found: Measurement) -> float:
    """How far, in seconds, the time of measurement is from the time of receiving."""
    assert found.time.measured is not None
    return abs((found.time.measured.utc - found.time.received_at).total_seconds())


@pytest.mark.parametrize(
    ("model", "name", "enabled"),
    [
        ("HEM-7142T2", "BLESmart", ()),
        ("HEM-7322T-E", "BLEsmart", ()),
        ("HEM-7600T-E", "BLEsmart", ("omron/hem_7600t",)),
    ],
)
async def test_an_omron_memory_is_read_once_although_its_clock_is_wrong_and_its_line_breaks(
    tmp_path: Path, model: str, name: str, enabled: tuple[str, ...]
) -> None:
    scenario = home("omron_memory", model, name, offset=-DAYS_3)
    async with street(tmp_path, scenario=scenario, enabled=enabled) as one:
        await measure(one, "omron_memory", 131)
        await eventually(lambda: systolics(one) == [131])
        await one.devices.ask("break_after", device="omron_memory", packets=3)
        await measure(one, "omron_memory", 132, 133)
        await eventually(lambda: systolics(one) == [131, 132, 133])
        found = one.measurements()
        assert len({m.measurement_id for m in found}) == 3
        assert all(Remark.STORED_RECORD in m.remarks for m in found)
        assert {m.time.trust for m in found} == {ClockTrust.COMPARED}
        assert all(abs((m.time.clock_offset_ms or 0) + DAYS_3 * 1000) < 5_000 for m in found)
        assert max(away(m) for m in found) < 60
        assert {m.user for m in found} == ({1} if model == "HEM-7322T-E" else {None})
        assert DeviceEventKind.CLOCK_SET not in events(one)
        await confirmed(one)


async def test_a_timed_omron_is_set_only_after_it_told_its_time_and_only_if_far_off(tmp_path: Path) -> None:
    scenario = home("omron_timed", "HEM-9200T", "BLEsmart_1", offset=-1800)
    async with street(tmp_path, scenario=scenario, enabled=("omron/current_time",)) as one:
        await measure(one, "omron_timed", 141)
        await eventually(lambda: systolics(one) == [141])
        assert events(one) == [DeviceEventKind.CLOCK_SET]
        (found,) = one.measurements()
        assert abs((found.time.clock_offset_ms or 0) + 1_800_000) < 5_000
        await one.devices.ask("set_clock", device="omron_timed", offset_s=-300)
        await measure(one, "omron_timed", 142)
        await eventually(lambda: systolics(one) == [141, 142])
        assert events(one) == [DeviceEventKind.CLOCK_SET]


async def test_a_timed_omron_that_answers_0x80_is_read_all_the_same(tmp_path: Path) -> None:
    scenario = home("omron_timed", "HEM-9200T", "BLEsmart_1", offset=-1800) + "clock_writable = false\n"
    async with street(tmp_path, scenario=scenario, enabled=("omron/current_time",)) as one:
        await measure(one, "omron_timed", 143)
        await eventually(lambda: systolics(one) == [143])
        assert events(one) == [DeviceEventKind.CLOCK_REFUSED]


@pytest.mark.parametrize("kind", ["and_cuff", "and_scale"])
async def test_an_and_device_is_given_its_second_and_asked_but_once(tmp_path: Path, kind: str) -> None:
    model = {"and_cuff": "UA-651BLE", "and_scale": "UC-352BLE"}[kind]
    scenario = home(kind, model, f"A&D_{model}_1", offset=-7200, maker="A&D Medical", keeps=False)
    async with street(tmp_path, scenario=scenario, enabled=("and/ua_651ble", "and/uc_352ble")) as one:
        for number in (1, 2):
            if kind == "and_cuff":
                await measure(one, kind, 150 + number)
            else:
                await one.devices.ask("measure", device=kind, values={"weight": f"7{number}.35"})
            await eventually(lambda number=number: len(one.measurements()) == number)
        assert {m.device.serial for m in one.measurements()} == {"S-7"}
        assert {m.device.model for m in one.measurements()} == {model}
        told = []
        while not one.devices.events.empty():
            told.append(one.devices.events.get_nowait()["event"])
        assert "E10" not in told
        assert told.count("clock_set") == 2
        profile = {m.provenance.profile for m in one.measurements()}
        assert profile == {"and/ua_651ble" if kind == "and_cuff" else "and/uc_352ble"}


async def test_an_and_cuff_that_is_asked_too_much_switches_itself_off(tmp_path: Path) -> None:
    """The profile for any cuff asks at once: what its own profile is there for."""
    scenario = home("and_cuff", "UA-651BLE", "A&D_UA-651BLE_1", maker="A&D Medical")
    async with street(tmp_path, scenario=scenario) as one:
        await measure(one, "and_cuff", 150)
        await eventually(lambda: any(line["event"] == "visit_failed" for line in one.log()))
        assert one.measurements() == []


async def test_a_microlife_whose_line_breaks_in_its_list_is_read_at_the_next_visit(tmp_path: Path) -> None:
    scenario = home("microlife", "BP3GY1-2N", "BP3GY1-2N", offset=-600, maker="Microlife")
    async with street(tmp_path, scenario=scenario, enabled=("microlife/bp3gy1_2n",)) as one:
        await measure(one, "microlife", 121)
        await eventually(lambda: systolics(one) == [121])
        await one.devices.ask("break_after", device="microlife", packets=3)
        await measure(one, "microlife", 122, 123)
        await eventually(lambda: systolics(one) == [121, 122, 123])
        assert len({m.measurement_id for m in one.measurements()}) == 3
        assert DeviceEventKind.CLOCK_SET in events(one)
        stated = [m.time.stated for m in one.measurements() if m.time.stated]
        assert all(isinstance(s, dt.datetime) and s.second == 0 for s in stated)


async def test_a_yonker_result_is_filed_and_its_passing_pressures_are_not(tmp_path: Path) -> None:
    scenario = home("yonker", "YK-IBPA1", "YK-1", offset=-DAYS_3, maker="Yonker")
    async with street(tmp_path, scenario=scenario) as one:
        await measure(one, "yonker", 131)
        await eventually(lambda: systolics(one) == [131])
        await measure(one, "yonker", 132)
        await eventually(lambda: systolics(one) == [131, 132])
        assert max(away(m) for m in one.measurements()) < 1
        kinds = {type(item).__name__ for item in one.hospital.items()}
        assert "Undecodable" not in kinds
