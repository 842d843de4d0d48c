"""What bluetoothd does in the field: stock bleak and our own radio side on an emulated one, a private bus."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device_drivers.profile import Bond, DeviceProfile, Link, Passkey
from edge_agent.adapter_keeper import RadioState
from edge_agent.words import Language, say
from tests.doubles.bluez_device import ABORT, AUTHENTICATION_FAILED, IN_PROGRESS, FakeCuff
from tests.doubles.bluez_emulator import FakeBluez
from tests.doubles.bluez_gateway import Gateway, gateway, until
from tests.doubles.edge_home import ADDRESS, PRESSURE, named
from tests.doubles.private_bus import require_dbus_daemon
from wire_format.statements import DeviceEventKind, GatewayEventKind

require_dbus_daemon()

VALUES = {0x2A29: b"Example", 0x2A24: b"BP-1", 0x2A25: b"SN-1"}
BACK = [GatewayEventKind.ADAPTER_RESET, GatewayEventKind.ADAPTER_BACK]


def packet(systolic: int) -> bytes:
    return PRESSURE[:1] + bytes([systolic]) + PRESSURE[2:]


def cuff(**facts: Any) -> FakeCuff:
    return FakeCuff(packets=[packet(120)], values=dict(VALUES), **facts)


def ours(*addresses: str) -> dict[str, Any]:
    return {"owners": tuple(named(address=address) for address in addresses or (ADDRESS,)), "adopt": False}


async def test_a_reading_arrives_and_the_bond_is_remembered(tmp_path: Path) -> None:
    one = cuff()
    neighbour = cuff(address="C0:49:5F:00:00:99", rssi=-30)
    async with gateway(tmp_path, one, neighbour, **ours()) as home:
        await until(lambda: bool(home.measurements()))
        assert [m.device.address for m in home.measurements()] == [ADDRESS]
        await until(lambda: home.home.devices.known[ADDRESS].bonded_at is not None)
        assert (one.host_bond, one.own_bond) == (True, True)
        assert not neighbour.own_bond
        assert home.events() == []
        assert home.keeper().state is RadioState.LISTENING


async def test_a_device_that_bonds_while_it_is_connected_to(tmp_path: Path) -> None:
    one = cuff()
    async with gateway(tmp_path, one, change=bonds(Bond.BEFORE_CONNECT), **ours()) as home:
        await until(lambda: bool(home.measurements()))
        await until(lambda: home.home.devices.known[ADDRESS].bonded_at is not None)
        assert (one.host_bond, home.bluez.removed) == (True, [])


async def test_a_device_that_bonds_anew_each_time(tmp_path: Path) -> None:
    one = cuff()
    async with gateway(tmp_path, one, change=bonds(Bond.PER_SESSION), **ours()) as home:
        await until(lambda: bool(home.bluez.removed))
        one.own_bond, one.packets = False, [packet(131)]
        await until(lambda: len(home.measurements()) == 2)
        assert DeviceEventKind.BOND_LOST not in home.device_events()


def bonds(bond: Bond) -> Callable[[DeviceProfile], DeviceProfile]:
    return lambda profile: profile.model_copy(update={"link": Link(bond=bond)})


async def paired_once(home: Gateway, one: FakeCuff) -> None:
    await until(lambda: ADDRESS in home.home.devices.known)
    await until(lambda: home.home.devices.known[ADDRESS].bonded_at is not None and not home.visitor.links)
    one.packets = [packet(130)]


async def test_a_dead_key_is_told_apart_and_nothing_is_paired_in_silence(tmp_path: Path) -> None:
    one = cuff()
    async with gateway(tmp_path, one, **ours()) as home:
        await paired_once(home, one)
        one.own_bond = False
        await until(lambda: DeviceEventKind.BOND_LOST in home.device_events())
        refused = home.visitor.bonds.refused
        await until(lambda: home.visitor.bonds.refused > refused + 1)
        assert (one.host_bond, one.own_bond) == (True, False)
        assert home.bluez.removed == []
        assert home.device_events().count(DeviceEventKind.BOND_LOST) == 1
        assert len(home.measurements()) == 1
        one.own_bond = True  # it was somebody else under its address, and the right one is back
        await until(lambda: len(home.measurements()) == 2)
        await until(lambda: home.home.devices.known[ADDRESS].bond_lost_at is None)


async def test_with_consent_beforehand_a_dead_key_heals_itself(tmp_path: Path) -> None:
    one = cuff()
    async with gateway(tmp_path, one, stale=True, **ours()) as home:
        await paired_once(home, one)
        one.own_bond = False
        await until(lambda: len(home.measurements()) == 2)
        assert home.bluez.removed == [ADDRESS]
        assert (one.host_bond, one.own_bond) == (True, True)
        assert DeviceEventKind.BOND_LOST in home.device_events()


async def test_keys_that_bluetoothd_lost_are_not_made_anew_in_silence(tmp_path: Path) -> None:
    one = cuff()
    async with gateway(tmp_path, one, **ours()) as home:
        await paired_once(home, one)
        one.host_bond = False
        await until(lambda: DeviceEventKind.BOND_LOST in home.device_events())
        await until(lambda: home.visitor.bonds.refused > 1)
        assert not one.host_bond
        assert len(home.measurements()) == 1


@pytest.mark.parametrize("said", ["abort", AUTHENTICATION_FAILED])
async def test_a_busy_radio_is_tried_again(tmp_path: Path, said: str) -> None:
    one = cuff()
    async with gateway(tmp_path, one, **ours()) as home:
        await paired_once(home, one)
        one.connects = [said]
        await until(lambda: len(home.measurements()) == 2)
        assert one.connects == []
        assert DeviceEventKind.BOND_LOST not in home.device_events()
        assert home.bluez.removed == []


async def test_a_refused_authentication_is_a_lost_bond_when_it_stays(tmp_path: Path) -> None:
    one = cuff()
    async with gateway(tmp_path, one, **ours()) as home:
        await paired_once(home, one)
        one.connects = [AUTHENTICATION_FAILED] * 4
        await until(lambda: DeviceEventKind.BOND_LOST in home.device_events())
        assert ABORT not in str(home.device_events())


async def test_an_adapter_that_is_off_is_switched_on(tmp_path: Path) -> None:
    bluez = FakeBluez(cuff())
    bluez.adapter.powered = False
    async with gateway(tmp_path, bluez=bluez, **ours()) as home:
        await until(lambda: bool(home.measurements()))
        await until(lambda: home.events() == BACK)


async def test_an_adapter_that_was_off_for_a_moment_scans_anew(tmp_path: Path) -> None:
    async with gateway(tmp_path, cuff(advertises=False), **ours()) as home:
        await until(lambda: home.bluez.discovering)
        keeper = home.keeper()
        keeper.every_s = 3600  # it looks too seldom to see this
        await asyncio.sleep(0.5)
        (adapter,) = await keeper.bluez.adapters()
        for on in (False, True):
            await keeper.bluez.power(adapter, on=on)
        await until(lambda: home.bluez.discovering)


async def test_an_adapter_that_answers_in_progress_for_ever_is_power_cycled(tmp_path: Path) -> None:
    bluez = FakeBluez(cuff())
    bluez.adapter.wedged = True
    async with gateway(tmp_path, bluez=bluez, **ours()) as home:
        await until(lambda: bool(home.measurements()))
        await until(lambda: home.events() == BACK)
        assert bluez.adapter.cycles == home.keeper().resets == 1


async def test_a_connection_that_is_always_in_progress_is_a_wedged_adapter(tmp_path: Path) -> None:
    one = cuff(connects=[IN_PROGRESS] * 5)
    async with gateway(tmp_path, one, **ours()) as home:
        await until(lambda: bool(home.measurements()))
        await until(lambda: home.events() == BACK)


async def test_an_adapter_that_is_pulled_out_is_said_and_found_again(tmp_path: Path) -> None:
    bluez = FakeBluez()
    async with gateway(tmp_path, bluez=bluez, **ours()) as home:
        await until(lambda: bluez.adapter.scans > 0)
        bluez.unplug()
        await until(lambda: home.keeper().state is RadioState.FAILING)
        assert home.keeper().reason.startswith("there is no Bluetooth adapter")
        bluez.cuffs.append(cuff())
        bluez.plug()
        await until(lambda: bool(home.measurements()))
        await until(lambda: home.keeper().state is RadioState.LISTENING)
        assert home.keeper().resets == 0


async def test_after_a_restart_of_bluetoothd_agent_and_scan_are_there_again(tmp_path: Path) -> None:
    one = cuff(advertises=False)
    async with gateway(tmp_path, one, **ours()) as home:
        await until(lambda: home.bluez.discovering)
        await home.bluez.restart()
        await until(lambda: home.bluez.discovering and home.bluez.default_agent is not None)
        one.advertises = True
        await until(lambda: bool(home.measurements()))
        assert one.own_bond


async def test_a_device_that_bluetoothd_remembers_and_does_not_hear_is_not_visited(tmp_path: Path) -> None:
    stored = cuff(advertises=False, host_bond=True, own_bond=True, rssi=None, connects=["ok"])
    heard = cuff(address="C0:49:5F:00:00:02")
    async with gateway(tmp_path, stored, heard, **ours(ADDRESS, heard.address)) as home:
        await until(lambda: home.bluez.discovering)
        for on in (True, False):
            home.bluez.devices[stored.path].emit_properties_changed({"Trusted": on})
        await until(lambda: bool(home.measurements()))
        assert [m.device.address for m in home.measurements()] == [heard.address]
        assert stored.connects == ["ok"]


# --- edge-agent, at a terminal, with the agent running ---

CONFIG = """
site = "ward"
gateway = "gw-1"
state = "{folder}"
[keys]
gateway = "{folder}/unused"
hospital = "{folder}/unused"
[broker]
host = "127.0.0.1"
port = 1
"""


def shows_passkey(profile: DeviceProfile) -> DeviceProfile:
    link = Link(agent="KeyboardOnly", passkey=Passkey.DEVICE_DISPLAY)
    return profile.model_copy(update={"link": link})


async def edge_agent(folder: Path, *argv: str, typed: str = "", lang: str = "C") -> tuple[int, str, str]:
    """Run a command as an installer does; return its exit status and what it printed."""
    config = folder / "agent.toml"
    config.write_text(CONFIG.format(folder=folder))
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edge_agent.cli",
        argv[0],
        "--config",
        str(config),
        *argv[1:],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"LANG": lang, "PYTHONPATH": ".", "PYTHONUTF8": "1"},
    )
    out, err = await asyncio.wait_for(program.communicate(typed.encode()), 30)
    return program.returncode or 0, out.decode(), err.decode()


async def test_an_installer_pairs_a_device_that_shows_a_passkey(tmp_path: Path) -> None:
    one = cuff(pad="display", passkey=12345)
    async with gateway(tmp_path, one, adopt=False, change=shows_passkey) as home:
        await until(lambda: home.bluez.discovering)
        code, out, err = await edge_agent(
            tmp_path, "pair", "--seconds", "0.5", typed="1\np-1\n2\n012 345\n", lang="zh_CN.UTF-8"
        )
        assert (code, out) == (0, "")
        assert say("near", Language.ZH) in err
        assert say("very_near", Language.ZH) not in err
        assert say("paired", Language.ZH, model="BP-1", person="p-1") in err
        assert one.own_bond
        await until(lambda: bool(home.measurements()))
        code, out, _ = await edge_agent(tmp_path, "devices")
        row = out.splitlines()[1]
        assert row.startswith(f"{ADDRESS}  p-1 (slot 2)  Example BP-1  standard/blood_pressure  yes")
        code, out, _ = await edge_agent(tmp_path, "devices", "--json")
        (found,) = json.loads(out)
        assert (found["users"][0]["person"], found["bonded"]) == ("p-1", True)
        assert found["last_heard_s_ago"] is not None
        code, out, _ = await edge_agent(tmp_path, "status")
        radio = json.loads(out)["radio"]
        assert (radio["state"], radio["reason"], radio["resets"]) == ("listening", None, 0)
        assert (radio["strangers_refused"], radio["visits_refused_for_bonds"]) == (0, 0)


async def test_a_script_pairs_and_forgets_without_a_question(tmp_path: Path) -> None:
    one = cuff(pad="display")
    wish = ("pair", "--yes", "--address", ADDRESS.lower(), "--person", "p-1", "--seconds", "5", "--json")
    async with gateway(tmp_path, one, adopt=False, change=shows_passkey) as home:
        home.visitor.close()  # visits would find out for themselves what this test says
        code, out, err = await edge_agent(tmp_path, *wish, "--passkey", "999999")
        assert (code, out) == (1, "")
        assert "Bonding failed" in err
        code, out, _ = await edge_agent(tmp_path, *wish, "--passkey", "012345")
        assert code == 0
        assert json.loads(out)["address"] == ADDRESS
        # The device forgets: nothing is asked, so nothing is paired anew without the option that consents.
        one.own_bond = False
        home.home.devices.update(ADDRESS, bond_lost_at=home.home.clock.now().utc)
        code, _, err = await edge_agent(tmp_path, *wish, "--passkey", "012345")
        assert code == 2
        assert "--replace-bond" in err
        code, _, _ = await edge_agent(tmp_path, *wish, "--passkey", "012345", "--replace-bond")
        assert (code, one.own_bond) == (0, True)
        code, _, err = await edge_agent(tmp_path, "forget", ADDRESS, typed="n\n")
        assert (code, home.home.devices.is_ours(ADDRESS)) == (1, True)
        code, _, err = await edge_agent(tmp_path, "forget", ADDRESS, "--yes")
        assert (code, one.host_bond) == (0, False)
        assert not home.home.devices.is_ours(ADDRESS)
        code, _, err = await edge_agent(tmp_path, "forget", ADDRESS, "--yes")
        assert code == 2
        assert "is not paired here" in err


async def test_at_the_terminal_an_old_bond_is_replaced_when_the_person_says_so(tmp_path: Path) -> None:
    one = cuff(host_bond=True)
    wish = ("pair", "--address", ADDRESS, "--person", "p-1", "--seconds", "5")
    async with gateway(tmp_path, one, adopt=False) as home:
        code, _, err = await edge_agent(tmp_path, *wish, typed="n\n")
        assert (code, one.own_bond) == (2, False)
        code, _, err = await edge_agent(tmp_path, *wish, typed="y\n")
        assert (code, one.own_bond) == (0, True), err
        await until(lambda: bool(home.measurements()))


@pytest.mark.parametrize(
    ("argv", "typed", "says"),
    [
        (("--yes", "--seconds", "1", "--address", "C0:49:5F:00:00:77"), "", "is not heard now"),
        (("--seconds", "0.2"), "2\n", "is none of the numbers 1 to 1"),
        (("--seconds", "0.2"), "1\np-1\ntwo\n", "is no user slot"),
        (("--seconds", "0.2"), "", "Nobody answers at the terminal: give --address"),
        (("--yes", "--seconds", "5"), "", "--address is missing"),
        (("--yes", "--seconds", "5", "--address", ADDRESS), "", "--person is missing"),
    ],
)
async def test_what_is_missing_or_wrong_at_the_terminal_is_said(
    tmp_path: Path, argv: tuple[str, ...], typed: str, says: str
) -> None:
    async with gateway(tmp_path, cuff(), adopt=False) as home:
        await until(lambda: home.bluez.discovering)
        person = ("--person", "p-1") if "C0:49:5F:00:00:77" in argv else ()
        code, out, err = await edge_agent(tmp_path, "pair", *argv, *person, typed=typed)
        assert (code != 0, out, says in err) == (True, "", True), err
        assert not home.home.devices.known


async def test_nothing_in_reach_is_said(tmp_path: Path) -> None:
    async with gateway(tmp_path, adopt=False):
        code, _, err = await edge_agent(tmp_path, "pair", "--seconds", "0.2", lang="zh_CN.UTF-8")
        assert (code, say("nothing_heard", Language.ZH) in err) == (1, True)


async def test_without_an_agent_the_terminal_says_so(tmp_path: Path) -> None:
    code, _, err = await edge_agent(tmp_path, "pair", "--yes", "--address", ADDRESS)
    assert (code, "No agent answers" in err) == (1, True)
    code, out, err = await edge_agent(tmp_path, "devices", "--json")
    assert (code, json.loads(out)) == (0, [])
    assert "What is shown is the file of devices" in err
    code, out, err = await edge_agent(tmp_path, "devices")
    assert (code, out) == (0, "")
    assert "No device is paired yet" in err
