"""Cables in the configuration: mistakes are named, and each cable has the people that it was given."""

import datetime as dt
from pathlib import Path

import pytest

from device_drivers.catalogue import SERIAL_DRIVERS, Catalogue
from edge_agent.app import build
from edge_agent.cables import Cables
from edge_agent.config import CableSection, load
from edge_agent.serial_link import Port
from service_kit.key_files import write_private
from service_kit.log import silent
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.errors import Misconfigured
from wire_format.keys import dump_keys

LEAST = """
site = "ward"
gateway = "home-1"
state = "{folder}/state"
[keys]
gateway = "{folder}/gateway.key"
hospital = "{folder}/hospital.pub"
[broker]
host = "127.0.0.1"
port = 8883
"""
CABLE = """
[[cable]]
port = "/dev/serial/by-path/left"
profile = "lifescan/onetouch_ultra2"
person = "p-1"
since = 2026-11-24T08:00:00+08:00
"""
ALL = Catalogue(enabled=[n for n, p in Catalogue().profiles.items() if p.driver in SERIAL_DRIVERS])
SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def written(folder: Path, text: str) -> Path:
    write_private(folder / "gateway.key", gateway_keys())
    (folder / "hospital.pub").write_bytes(dump_keys(bridge_keys().public))
    path = folder / "edge-agent.toml"
    path.write_text(LEAST.format(folder=folder) + text)
    return path


def cable(**keys: object) -> CableSection:
    return CableSection.model_validate({"person": "p-1", "since": SINCE, **keys})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CABLE.replace("port =", "prot ="), "The key 'cable.0.prot' is not known"),
        (CABLE.replace('port = "/dev/serial/by-path/left"', ""), "either a port"),
        (CABLE + 'usb = "067b:2303"\n', "either a port"),
        (CABLE + 'location = "1-1.2"\n', "location goes with usb"),
        (CABLE.replace("/dev/serial/by-path/left", "ttyUSB0"), "'cable.0.port' is wrong"),
        (CABLE.replace("+08:00", ""), "'cable.0.since' is wrong"),
        (CABLE.replace('person = "p-1"', ""), "'cable.0.person' is missing"),
        ("[serial]\nevery_s = 5\n", "The key 'serial.every_s' is not known"),
        ("[serial]\npoll_s = 0\n", "'serial.poll_s' is wrong"),
    ],
)
def test_what_is_wrong_with_a_cable_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(written(tmp_path, text))
    assert said in str(caught.value)


def test_an_agent_without_cables_looks_for_none(tmp_path: Path) -> None:
    agent = build(load(written(tmp_path, "")), silent())
    assert agent.cables is None
    agent.outbox.close()


def test_a_profile_that_a_cable_names_is_used(tmp_path: Path) -> None:
    agent = build(load(written(tmp_path, CABLE)), silent())
    assert agent.cables is not None
    assert "lifescan/onetouch_ultra2" in agent.home.catalogue.on
    assert "lifescan/onetouch_ultraeasy" not in agent.home.catalogue.on
    assert not agent.cables.cables.adopting
    agent.outbox.close()


def test_a_home_may_adopt_meters_on_cables(tmp_path: Path) -> None:
    text = '[serial]\n[adopt]\nperson = "p-1"\n[profiles]\nenable = ["abbott/freestyle_lite"]\n'
    agent = build(load(written(tmp_path, text)), silent())
    assert agent.cables is not None
    assert agent.cables.cables.adopting
    agent.outbox.close()


@pytest.mark.parametrize(
    ("profile", "said"),
    [("lifescan/onetouch_ultra3", "There is no device profile"), ("standard/glucose", "on a serial cable")],
)
def test_a_profile_that_no_cable_can_have_is_refused(tmp_path: Path, profile: str, said: str) -> None:
    config = load(written(tmp_path, CABLE.replace("lifescan/onetouch_ultra2", profile)))
    with pytest.raises(Misconfigured, match=said):
        build(config, silent())


def test_a_cable_that_no_enabled_profile_fits_is_refused() -> None:
    with pytest.raises(Misconfigured, match="067b:2303@any: write its profile"):
        Cables((cable(usb="067b:2303"),), Catalogue(), adopting=False)
    with pytest.raises(Misconfigured, match="/dev/ttyUSB0: write its profile"):
        Cables((cable(port="/dev/ttyUSB0"),), Catalogue(), adopting=False)


def found(*sections: CableSection, ports: list[Port], adopting: bool = False) -> dict[str, list[str]]:
    cables = Cables(sections, ALL, adopting=adopting, adapters=lambda: ports).plugged_in()
    return {c.key: [s.person for s in c.sections] for c in cables}


LEFT = Port("/dev/left", usb="067b:2303", location="1-1.1", adapter="1-1.1")
RIGHT = Port("/dev/right", usb="067b:2303", location="1-1.2", adapter="1-1.2")
OTHER = Port("/dev/other", usb="1a86:7523", location="1-1.3", adapter="1-1.3")


def test_equal_adapters_are_told_apart_by_where_they_are() -> None:
    one, two = (
        cable(usb="067b:2303", location="1-1.1"),
        cable(usb="067b:2303", location="1-1.2", person="p-2"),
    )
    assert found(one, two, ports=[RIGHT, LEFT]) == {"067b:2303@1-1.1": ["p-1"], "067b:2303@1-1.2": ["p-2"]}


def test_the_narrower_section_means_a_cable() -> None:
    one, two = cable(usb="067b:2303"), cable(usb="067b:2303", location="1-1.2", person="p-2")
    assert found(one, two, ports=[LEFT, RIGHT]) == {"067b:2303@1-1.1": ["p-1"], "067b:2303@1-1.2": ["p-2"]}


def test_a_cable_that_nobody_named_is_left_alone_unless_the_home_adopts() -> None:
    assert found(cable(usb="1a61:3420"), ports=[LEFT, OTHER]) == {}
    assert found(ports=[LEFT, OTHER], adopting=True) == {"067b:2303@1-1.1": []}


def test_a_port_that_is_named_is_one_cable_however_it_is_found(tmp_path: Path) -> None:
    device, link = tmp_path / "ttyUSB0", tmp_path / "by-path"
    device.touch()
    link.symlink_to(device)
    port = Port(str(device), usb="067b:2303", location="1-1.1", adapter="1-1.1")
    sections = (cable(port=str(link)), cable(port=str(link), person="p-2"), cable(usb="067b:2303"))
    cables = Cables(sections, ALL, adopting=True, adapters=lambda: [port]).plugged_in()
    assert [(c.key, [s.person for s in c.sections]) for c in cables] == [(str(link), ["p-1", "p-2"])]
    assert [p.name for p in cables[0].profiles] == ["lifescan/onetouch_ultra2", "lifescan/onetouch_ultraeasy"]
    device.unlink()
    assert Cables(sections, ALL, adopting=False, adapters=list).plugged_in() == []
