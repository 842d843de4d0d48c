"""The installation guide's files are files that the programs take."""

import re
from pathlib import Path

import pytest

from cloud_bridge.config import load as load_bridge
from cloud_bridge.enrolment import Enrolment
from device_drivers.catalogue import Catalogue, serial_driver_of
from edge_agent.config import load as load_agent
from service_kit.key_files import read_private, write_private
from service_kit.toml_config import load_toml
from wire_format.errors import Misconfigured
from wire_format.keys import GatewayKeys

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "installation.md").read_text()
FILES = dict(re.findall(r"```toml\n# (\S+)\n(.*?)```", GUIDE, flags=re.DOTALL))


def test_the_guides_configurations_load(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    agent, bridge = load_agent(tmp_path / "edge-agent"), load_bridge(tmp_path / "cloud-bridge")
    enrolment = load_toml(tmp_path / "enrolment", Enrolment)
    (tmp_path / "with-cables").write_text(FILES["edge-agent"] + FILES["cables"])
    cables = load_agent(tmp_path / "with-cables").cable
    named = [Catalogue().named(cable.profile or "") for cable in cables]
    assert [serial_driver_of(profile) for profile in named]
    assert named[1].match.usb == (cables[1].usb,)
    assert agent.site == bridge.site == "ward"
    assert agent.gateway == enrolment.gateway.name
    assert agent.device[0].person == enrolment.person[0].pseudonym
    for path, unit in (
        (agent.keys.gateway, "kiteline-edge-agent.service"),
        (bridge.keys.bridge, "kiteline-cloud-bridge.service"),
    ):
        assert path.parent == Path("/run/credentials") / unit
        assert (
            f"LoadCredential={path.name}:/etc/kiteline/{path.name}" in (ROOT / "systemd" / unit).read_text()
        )


def test_the_guides_other_destinations_load(tmp_path: Path) -> None:
    """What the guide adds to the bridge's file, without the part that it stands in for."""
    whole = FILES["cloud-bridge"]
    added = dict(re.findall(r"```toml\n# cloud-bridge, (\S+)\n(.*?)```", GUIDE, flags=re.DOTALL))
    (tmp_path / "more").write_text(whole + added["more"])
    assert load_bridge(tmp_path / "more").destinations == ("fhir", "hl7v2", "webhook:phone")
    (tmp_path / "clinic").write_text(whole + added["clinic"])
    assert load_bridge(tmp_path / "clinic").consent_needed == {
        "webhook:clinic": "organization:community-clinic"
    }
    (tmp_path / "cloud-bridge").write_text(whole)
    (tmp_path / "link").write_text(whole.replace("[page]\nport = 8600\n", added["link"]))
    pages = [load_bridge(tmp_path / name).page for name in ("cloud-bridge", "link")]
    assert [page and page.sign_in for page in pages] == ["accounts", "link"]
    (tmp_path / "consent").write_text(whole + added["consent"])
    assert load_bridge(tmp_path / "consent").consent is not None
    (tmp_path / "smart").write_text(whole[: whole.index("[fhir]")] + added["smart"])
    fhir = load_bridge(tmp_path / "smart").fhir
    assert fhir is not None
    assert fhir.oauth is not None


def test_a_credential_of_systemd_may_show_an_acl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = GatewayKeys.generate()
    write_private(tmp_path / "gateway.key", keys)
    (tmp_path / "gateway.key").chmod(0o440)
    with pytest.raises(Misconfigured, match="Others may read"):
        read_private(tmp_path / "gateway.key", GatewayKeys)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_private(tmp_path / "gateway.key", GatewayKeys) == keys
