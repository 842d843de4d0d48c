"""Configuration and key files: what is wrong is said with the file, the key and what to write."""

from pathlib import Path

import pytest

from edge_agent.config import VirtualRadio, load
from service_kit.key_files import read_private, read_public, write_private, write_public
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.errors import Misconfigured
from wire_format.keys import BridgePublic, GatewayKeys, dump_keys

LEAST = """
site = "ward"
gateway = "home-1"
state = "/var/lib/kiteline-edge"
[keys]
gateway = "/var/lib/kiteline-edge/gateway.key"
hospital = "/etc/kiteline/hospital.pub"
[broker]
host = "broker.example"
port = 8883
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "edge-agent.toml"
    path.write_text(text)
    return path


def test_the_least_configuration_uses_bluez_and_adopts_nobody(tmp_path: Path) -> None:
    config = load(written(tmp_path, LEAST))
    assert (config.radio, config.adopt, config.device) == ("bluez", None, ())
    assert (config.retransmission.pace().first_s, config.retransmission.pace().in_flight) == (30, 64)


@pytest.mark.parametrize("radio", ['"virtual"', "1", '"BlueZ"'])
def test_another_radio_is_refused_in_the_readers_words(radio: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as refused:
        load(written(tmp_path, f"radio = {radio}\n{LEAST}"))
    said = str(refused.value).partition("The key 'radio' is wrong: ")[2]
    assert said == """write "bluez", or leave it out; a virtual home's is { virtual = "PLACE" }."""


def test_devices_and_the_virtual_radio_are_read(tmp_path: Path) -> None:
    more = """
[[device]]
address = "c0:49:5f:00:00:01"
person = "p-1"
since = 2026-01-01T00:00:00Z
slot = 1
"""
    text = 'radio = { virtual = "unix:/run/radio" }\n' + LEAST + more
    config = load(written(tmp_path, text))
    assert config.radio == VirtualRadio(virtual="unix:/run/radio")
    assert config.device[0].address == "C0:49:5F:00:00:01"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LEAST + "hots = 1\n", "The key 'broker.hots' is not known"),
        ("colour = 1\n" + LEAST, "The key 'colour' is not known"),
        (LEAST.replace('site = "ward"', ""), "The key 'site' is missing: write it"),
        (LEAST.replace("8883", "0"), "The key 'broker.port' is wrong"),
        (LEAST.replace('"ward"', '"a/b"'), "cannot be part of a topic"),
        (LEAST + '[[device]]\naddress = "cuff"\nperson = "p"\nsince = 2026-01-01T00:00:00Z\n', "C0:FF:EE"),
        (LEAST + '[[device]]\naddress = "C0:49:5F:00:00:01"\nperson = "p"\nsince = 2026-01-01\n', "since"),
        (LEAST + "=", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(Misconfigured) as caught:
        load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere\.toml cannot be read"):
        load(tmp_path / "nowhere.toml")


def test_a_password_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    text = LEAST + f'username = "home-1"\npassword_file = "{tmp_path / "password"}"\n'
    broker = load(written(tmp_path, text)).broker.broker()
    assert broker.password == "open sesame"  # noqa: S105 - the one written above
    assert "sesame" not in repr(broker)
    missing = load(written(tmp_path, LEAST + 'password_file = "/nowhere"\n'))
    with pytest.raises(Misconfigured, match="password_file"):
        missing.broker.broker()


def test_private_keys_come_back_and_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "gateway.key"
    write_private(path, gateway_keys())
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private(path, GatewayKeys) == gateway_keys()
    with pytest.raises(Misconfigured, match="never overwritten"):
        write_private(path, gateway_keys())
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="Others may read"):
        read_private(path, GatewayKeys)


def test_another_kind_of_key_file_is_refused(tmp_path: Path) -> None:
    public = tmp_path / "gateway.pub"
    write_public(public, gateway_keys().public)
    with pytest.raises(Misconfigured, match=r"gateway\.pub: .*BridgePublic"):
        read_public(public, BridgePublic)
    hospital = tmp_path / "hospital.pub"
    hospital.write_bytes(dump_keys(bridge_keys().public))
    assert read_public(hospital, BridgePublic) == bridge_keys().public
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_public(tmp_path / "nowhere", BridgePublic)
