"""A device that only a profile which is off reads rightly is not read by a broader one, and that is said."""

import asyncio
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from device_drivers.catalogue import Catalogue, SwitchedOff
from device_drivers.information import Information
from device_drivers.link import Sighting, uuid16
from device_drivers.profile import DeviceProfile, parse_profile
from edge_agent import device_commands
from edge_agent.bluez_host import BluezHost
from edge_agent.control import Control, RadioHealth
from edge_agent.pairing_desk import Order
from edge_agent.passkeys import NobodyThere
from edge_agent.scanner import Scanner
from edge_agent.words import Language
from service_kit.log import silent
from tests.doubles.edge_home import ADDRESS, named
from tests.doubles.edge_radio import ScriptedLink, ScriptedRadio
from tests.doubles.edge_visitor import bench
from tests.unit.test_control import asked, control
from tests.unit.test_pairing_desk import bench as desk_bench
from wire_format.errors import Misconfigured

METER = Sighting(ADDRESS, "Diamond Mini", frozenset({uuid16(0x1808)}), rssi=-60)
OTHER = Sighting(ADDRESS, "meter", frozenset({uuid16(0x1808)}))
SAID = "read rightly only by the profile taidoc/dm30b, which is off: name it in [profiles] enable"
BROAD = b"""
title = "x"
driver = "gatt_push"
evidence = "captured"
[match]
services = ["1810"]
[records]
characteristics = ["2A35"]
"""


def narrow(match: str) -> DeviceProfile:
    text = BROAD.replace(b"captured", b"specification").replace(b"[match]", b"[match]\n" + match.encode())
    return parse_profile("a/narrow", text)


def test_a_renumbering_meter_is_read_by_its_own_profile_or_not_at_all() -> None:
    with pytest.raises(SwitchedOff) as error:
        Catalogue().match(METER)
    assert SAID in str(error.value)
    found = Catalogue(enabled=["taidoc/dm30b"]).match(METER)
    assert found is not None
    assert found.name == "taidoc/dm30b"
    other = Catalogue().match(OTHER)
    assert other is not None
    assert other.name == "standard/glucose"


def test_a_profile_that_says_nothing_leaves_its_devices_to_a_broader_one() -> None:
    both = {"a/broad": parse_profile("a/broad", BROAD), "a/narrow": narrow('names = ["BP*"]')}
    found = Catalogue(both).match(Sighting(ADDRESS, "BP-1", frozenset({uuid16(0x1810)})))
    assert found is both["a/broad"]


def test_what_is_known_only_once_connected_is_refused_then() -> None:
    both = {
        "a/broad": parse_profile("a/broad", BROAD),
        "a/narrow": narrow('models = ["BP*"]\nexclusive = true'),
    }
    catalogue, cuff = Catalogue(both), Sighting(ADDRESS, None, frozenset({uuid16(0x1810)}))
    guess = catalogue.match(cuff)
    assert guess is both["a/broad"]
    with pytest.raises(SwitchedOff, match="a/narrow"):
        catalogue.confirmed(cuff, Information(None, "BP-1", None, None, None), guess)
    assert catalogue.confirmed(cuff, Information(None, "XX-1", None, None, None), guess) is guess


def test_a_cable_has_no_exclusive_profile() -> None:
    text = BROAD.replace(b'services = ["1810"]', b'usb = ["067b:2303"]\nexclusive = true')
    with pytest.raises(Misconfigured, match="exclusive is of advertisements"):
        parse_profile("a/cable", text)


async def test_a_visit_leaves_the_device_alone_and_says_so_once(tmp_path: Path) -> None:
    one = bench(tmp_path, ScriptedRadio(ScriptedLink))
    said: list[tuple[str, dict[str, object]]] = []
    log = SimpleNamespace(warning=lambda event, **facts: said.append((event, facts)))
    object.__setattr__(one.home, "log", log)
    assert await one.hear(METER, times=3) == 0
    ((event, facts),) = said
    assert (event, facts["profile"], SAID in str(facts["reason"])) == ("profile_off", "taidoc/dm30b", True)
    assert METER.name not in str(facts)
    assert SAID in one.visitor.unread[ADDRESS]


async def test_an_installer_is_told_when_pairing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = desk_bench(tmp_path)
    one.hear(METER)
    (offer,) = one.desk.offers()
    assert (offer.profile.name, SAID in (offer.off or "")) == ("taidoc/dm30b", True)
    with pytest.raises(SwitchedOff):
        await one.desk.pair(Order(ADDRESS, "p-1"), NobodyThere())
    assert not one.home.devices.is_ours(ADDRESS)
    async with control(tmp_path, ScriptedRadio(ScriptedLink)) as (_, nearby):
        nearby.heard(METER, object())
        monkeypatch.setattr("sys.stdin", io.StringIO("1\n"))
        terminal = device_commands.Terminal(Language.EN, silent=False)
        assert await device_commands._choose(tmp_path, terminal, None, 0) == ADDRESS  # noqa: SLF001 - what is shown
        with pytest.raises(Misconfigured, match="which is off"):
            await asked(tmp_path, "pair", address=ADDRESS, person="p-1")
    assert SAID in capsys.readouterr().err


async def test_the_list_of_devices_says_why_one_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = desk_bench(tmp_path, owners=(named(),))
    one.desk.visitor.heard(METER, object())
    health = RadioHealth(Scanner(None, silent()), one.desk.visitor, BluezHost.on_system_bus(silent()).health)
    answer = await Control(one.desk, health, silent()).carry_out({"do": "devices"}, cast("Any", None))
    assert SAID in answer["devices"][0]["unread"]

    async def off(*_args: object, **_fields: object) -> dict[str, object]:
        return cast("dict[str, object]", json.loads(json.dumps(answer, default=str)))

    monkeypatch.setattr(device_commands, "_asked", off)
    monkeypatch.setattr(device_commands.configuration, "load", lambda _path: SimpleNamespace(state=tmp_path))
    await asyncio.to_thread(device_commands.devices, tmp_path)
    assert SAID in capsys.readouterr().out
