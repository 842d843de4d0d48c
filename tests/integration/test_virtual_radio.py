"""The virtual radio behaves as a real one: stock bleak code, real ATT, SMP and GATT, in two processes."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError

from device_drivers.link import uuid16
from device_drivers.quantities.blood_pressure import BloodPressureMeasurement
from virtual_home.bleak_backend import VirtualRadio
from virtual_home.home import HomeControl
from virtual_home.processes import Program

BP, GLUCOSE, RACP = uuid16(0x2A35), uuid16(0x2A18), uuid16(0x2A52)
SEVERE = {"systolic": "192", "diastolic": "124", "pulse": "96"}
DIES_IN_HANDLER = f"""
import asyncio, os, signal, sys
from pathlib import Path
from bleak import BleakClient, BleakScanner
from virtual_home.bleak_backend import VirtualRadio

async def main():
    folder = Path(sys.argv[1])
    radio = await VirtualRadio.open(f"unix:{{folder / 'radio'}}", folder / "bonds.json")
    cuff = await BleakScanner.find_device_by_name("BP-1", timeout=20, backend=radio.scanner)
    async with BleakClient(cuff, backend=radio.client, pair=True) as client:
        await client.start_notify("{BP}", lambda _, data: os.kill(os.getpid(), signal.SIGKILL))
        await asyncio.sleep(30)

asyncio.run(main())
"""


@asynccontextmanager
async def home(folder: Path) -> AsyncIterator[HomeControl]:
    radio, control = folder / "radio", folder / "control"

    async def ready() -> bool:
        return control.exists()

    argv = [
        sys.executable,
        "-m",
        "virtual_home.cli",
        "devices",
        "--radio",
        str(radio),
        "--control",
        str(control),
    ]
    program = Program("home", argv, log=folder / "home.log", ready=ready)
    await program.start()
    asked = await HomeControl.connect(control)
    try:
        yield asked
    finally:
        await asked.close()
        await program.stop()


@asynccontextmanager
async def central(folder: Path) -> AsyncIterator[VirtualRadio]:
    radio = await VirtualRadio.open(f"unix:{folder / 'radio'}", folder / "bonds.json")
    try:
        yield radio
    finally:
        await radio.close()


async def find(radio: VirtualRadio, name: str, patience: float = 5) -> object:
    return await BleakScanner.find_device_by_name(name, timeout=patience, backend=radio.scanner)


async def event(control: HomeControl, kind: str) -> dict[str, object]:
    async with asyncio.timeout(10):
        while True:
            heard: dict[str, object] = await control.events.get()
            if heard["event"] == kind:
                return heard


async def test_a_cuff_speaks_only_after_measuring_and_only_to_a_bonded_peer(tmp_path: Path) -> None:
    async with home(tmp_path) as control, central(tmp_path) as radio:
        assert await find(radio, "BP-1", patience=0.3) is None
        await control.ask("measure", device="cuff", values=SEVERE)
        cuff = await find(radio, "BP-1")
        assert cuff is not None
        async with BleakClient(cuff, backend=radio.client) as client:
            with pytest.raises(BleakError):
                await client.start_notify(BP, lambda _, __: None)
        packets: list[bytes] = []
        cuff = await find(radio, "BP-1")
        gone = asyncio.Event()
        async with BleakClient(
            cuff, backend=radio.client, pair=True, disconnected_callback=lambda _: gone.set()
        ) as client:
            await client.start_notify(BP, lambda _, data: packets.append(bytes(data)))
            await asyncio.wait_for(gone.wait(), 10)
        (packet,) = packets
        assert BloodPressureMeasurement.from_bytes(packet).systolic.value == 192
        assert (await event(control, "confirmed"))["packet"] == packet.hex()
        (entry,) = await control.ask("ledger")
        assert (entry["packet"], entry["fate"], entry["sent_times"]) == (packet.hex(), "confirmed", 1)
        assert await find(radio, "BP-1", patience=0.5) is None


async def test_an_indication_is_confirmed_before_any_program_hears_of_it(tmp_path: Path) -> None:
    """As with BlueZ: who dies at the first instruction of a handler has confirmed, and the cuff discards."""
    async with home(tmp_path) as control:
        await control.ask("measure", device="cuff", values=SEVERE)
        died = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES_IN_HANDLER, str(tmp_path))
        assert await asyncio.wait_for(died.wait(), 60) == -signal.SIGKILL
        await event(control, "confirmed")
        (entry,) = await control.ask("ledger")
        assert (entry["fate"], entry["sent_times"]) == ("confirmed", 1)


async def test_a_bond_outlives_a_central_that_was_killed(tmp_path: Path) -> None:
    async with home(tmp_path) as control:
        for systolic in ("140", "141"):
            await control.ask("measure", device="cuff", values=SEVERE | {"systolic": systolic})
            async with central(tmp_path) as radio:
                cuff = await find(radio, "BP-1")
                packets: asyncio.Queue[bytes] = asyncio.Queue()
                client = BleakClient(cuff, backend=radio.client, pair=True)
                await client.connect()
                await client.start_notify(BP, lambda _, data, q=packets: q.put_nowait(bytes(data)))
                heard = await asyncio.wait_for(packets.get(), 10)
            # Its controller went away, as if the process had been killed.
            await event(control, "disconnected")
            assert BloodPressureMeasurement.from_bytes(heard).systolic.value == 140
        ledger = await control.ask("ledger")
        assert [e["number"] for e in ledger] == [1, 2]


async def test_records_are_counted_reported_and_never_deleted(tmp_path: Path) -> None:
    async with home(tmp_path) as control:
        for value in ("95", "101", "140"):
            await control.ask("measure", device="meter", values={"mg_dl": value})
        records: list[bytes] = []
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        async with (
            central(tmp_path) as radio,
            BleakClient(await find(radio, "GL-1"), backend=radio.client, pair=True) as client,
        ):
            await client.start_notify(GLUCOSE, lambda _, data: records.append(bytes(data)))
            with pytest.raises(BleakError):
                await client.write_gatt_char(RACP, b"\x01\x01", response=True)
            await client.start_notify(RACP, lambda _, data: answers.put_nowait(bytes(data)))
            for request, answer, count in (
                (b"\x04\x01", b"\x05\x00\x03\x00", 0),
                (b"\x02\x01", b"\x06\x00\x02\x02", 0),
                (b"\x01\x03\x01\x02\x00", b"\x06\x00\x01\x01", 2),
            ):
                records.clear()
                await client.write_gatt_char(RACP, request, response=True)
                assert await asyncio.wait_for(answers.get(), 5) == answer
                assert len(records) == count
        assert await control.ask("deletions_asked", device="meter") == 1


async def test_commands_that_make_no_sense_are_answered(tmp_path: Path) -> None:
    async with home(tmp_path) as control:
        for fields in ({"do": "dance"}, {"do": "measure", "device": "piano"}):
            with pytest.raises(ValueError, match=r"unknown command|KeyError"):
                await control.ask(**fields)
        first = [await control.ask("measure", device=d) for d in ("cuff", "scale", "meter")]
        assert all(entry["values"] for entry in first)


async def test_a_host_that_dies_while_it_connects_leaves_no_ghost(tmp_path: Path) -> None:
    async with home(tmp_path) as control:
        for delay in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.05):
            await control.ask("measure", device="cuff", values=SEVERE)
            radio = await VirtualRadio.open(f"unix:{tmp_path / 'radio'}", tmp_path / "bonds.json")
            cuff = await find(radio, "BP-1")
            assert cuff is not None, f"silent after a death before {delay} s"
            connecting = asyncio.create_task(BleakClient(cuff, backend=radio.client).connect())
            await asyncio.sleep(delay)
            await radio.close()
            connecting.cancel()
            await asyncio.wait([connecting])
            # Longer than a supervision timeout.
            await asyncio.sleep(1.2)
