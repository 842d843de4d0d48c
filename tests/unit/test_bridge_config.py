"""The bridge's configuration, enrolment, page links and command line: mistakes are named in words."""

import datetime as dt
import json
import os
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cloud_bridge.config import load
from cloud_bridge.duty import ALWAYS
from cloud_bridge.enrolment import enrol
from cloud_bridge.page_links import PageLinks
from service_kit.key_files import write_private, write_public
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.command_line import cloud_bridge
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.errors import Misconfigured

pytestmark = pytest.mark.no_cover  # about the configuration, which has no floor

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
GOOD = """
site = "ward"
state = "{folder}/state"
[keys]
bridge = "{folder}/bridge.key"
[broker]
host = "127.0.0.1"
port = 1883
"""
PAGE = """
[page]
port = 8600
"""
HOME = """
[gateway]
name = "gw-2"
keys = "gateway.pub"
system_id = "dca632fffe010203"
[[person]]
pseudonym = "p-1"
patient = "patient-9"
language = "zh-Hans"
identifier = { system = "https://h.example/p", value = "9" }
nurse = { system = "https://h.example/s", value = "n" }
physician = { system = "https://h.example/s", value = "d" }
organization = { system = "https://h.example/o", value = "w" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "bridge.toml"
    path.write_text(text.replace("{folder}", str(folder)))
    return path


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert config.database_url == f"sqlite:///{tmp_path}/state/bridge.sqlite"
    assert (config.destinations, config.staff_language, config.zone) == ((), "en", "UTC")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("site", "siet"), "'site' is missing.*'siet' is not known"),
        (('"ward"', '"a/b"'), "site: 'a/b' cannot be part of a topic"),
        (("1883", "99999"), "'broker.port' is wrong"),
        (("[broker]", '[fhir]\nbase_url = "nonsense"\n[broker]'), "'fhir.base_url' is wrong"),
        (("[broker]", '[fhir]\nbase_url = "http://h.example/fhir"\ntoken_file = "t"\n[broker]'), "in clear"),
        (('site = "ward"', 'site = "ward"\nzone = "Mars/Base"'), "Asia/Shanghai"),
        (
            ("[keys]", '[page]\nport = 1\nsign_in = "badge"\n[keys]'),
            "'page.sign_in' is wrong.*'accounts' or 'link'",
        ),
        (("[keys]", "[keys"), "is no TOML"),
    ],
)
def test_a_mistake_is_named_with_what_to_write(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        load(written(tmp_path, GOOD.replace(*change)))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("hours = {}", 'emergency = "120"'), "'service.hours' is wrong"),
        (('hours = { mon = ["17:00", "08:00"] }', 'emergency = "120"'), "hours begin before they end"),
        (('hours = { mon = ["08:00", "17:00"] }',), "'service.emergency' is missing"),
        (
            ('hours = { mon = ["08:00", "17:00"] }', 'emergency = "1"', 'quiet = ["22:00", "22:00"]'),
            "quiet hours begin and end at different times",
        ),
        (('hours = { funday = ["08:00", "17:00"] }', 'emergency = "120"'), "'service.hours"),
    ],
)
def test_service_hours_that_are_none(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        load(written(tmp_path, "\n".join([GOOD, "[service]", *lines])))


def test_service_hours_are_the_sites(tmp_path: Path) -> None:
    plain = load(written(tmp_path, GOOD))
    assert plain.duty is ALWAYS
    service = """
[service]
hours = { mon = ["08:00", "17:30"], tue = ["08:00", "17:30"] }
closed = ["2026-11-24"]
open = ["2026-11-28"]
quiet = ["22:00", "07:00"]
emergency = "120"
"""
    config = load(written(tmp_path, GOOD.replace("state =", 'zone = "Asia/Shanghai"\nstate =', 1) + service))
    duty, zone = config.duty, ZoneInfo("Asia/Shanghai")
    monday = dt.datetime(2026, 11, 23, 17, 40, tzinfo=zone)
    assert not duty.on(monday)
    assert duty.opens(monday) == dt.datetime(2026, 11, 28, 8, tzinfo=zone)
    assert duty.quiet_until(dt.datetime(2026, 11, 23, 23, tzinfo=zone), zone) == dt.datetime(
        2026, 11, 24, 7, tzinfo=zone
    )
    assert duty.emergency == "120"


def test_a_missing_file_and_a_missing_secret(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        load(tmp_path / "nowhere.toml")
    text = GOOD + '\n[fhir]\nbase_url = "http://127.0.0.1/fhir"\ntoken_file = "{folder}/none"\n'
    fhir = load(written(tmp_path, text)).fhir
    assert fhir is not None
    with pytest.raises(Misconfigured, match=r"fhir\.token_file"):
        fhir.token()


# --- enrolment ---


def test_a_home_is_enrolled_from_one_file(tmp_path: Path) -> None:
    write_public(tmp_path / "gateway.pub", gateway_keys().public)
    (tmp_path / "home.toml").write_text(HOME)
    desk = BridgeDesk(tmp_path)
    for _ in range(2):
        entry = enrol(tmp_path / "home.toml", "ward", desk.store.registry, NOW)
    assert [p.pseudonym for p in entry.person] == ["p-1"]
    known = desk.store.registry.gateway("gw-2")
    assert known is not None
    assert (known.keys, known.system_id) == (gateway_keys().public, "dca632fffe010203")
    identifier = desk.store.alerts.known_as("patient-9")
    assert identifier is not None
    assert identifier.value == "9"
    desk.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("dca632fffe010203", "DC-A6"), "gateway.system_id"),
        (('name = "gw-2"', 'name = "gw 2"'), "gateway.name"),
        (("gateway.pub", "other.pub"), "other.pub cannot be read"),
        (('"n" }', '"" }'), "nurse.value"),
    ],
)
def test_a_wrong_enrolment_is_refused(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    write_public(tmp_path / "gateway.pub", gateway_keys().public)
    (tmp_path / "home.toml").write_text(HOME.replace(*change))
    desk = BridgeDesk(tmp_path)
    with pytest.raises(Misconfigured, match=says):
        enrol(tmp_path / "home.toml", "ward", desk.store.registry, NOW)
    assert desk.store.registry.gateway("gw-2") is None
    desk.close()


# --- links and commands ---


def test_a_link_works_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    links = PageLinks(tmp_path / "links")
    token = links.make()
    (file,) = (tmp_path / "links").iterdir()
    assert token not in file.name
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert links.redeem(token)
    assert not links.redeem(token)
    assert not links.redeem("")


@pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED PART: only root can make a link for another user")
def test_a_link_that_root_makes_is_the_services_to_use_up(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    PageLinks(state / "page-links").make()
    assert (state / "page-links").stat().st_uid == 65534


def test_the_command_line_does_what_an_administrator_needs(tmp_path: Path) -> None:
    made = cloud_bridge("keys", "--private", f"{tmp_path}/bridge.key", "--public", f"{tmp_path}/bridge.pub")
    assert set(json.loads(made.stdout)) == {"sealing", "receipts", "messages"}
    assert (tmp_path / "bridge.key").stat().st_mode & 0o777 == 0o600
    again = cloud_bridge("keys", "--private", f"{tmp_path}/bridge.key", "--public", f"{tmp_path}/bridge.pub")
    assert (again.returncode, "never overwritten" in again.stderr) == (2, True)
    write_public(tmp_path / "gateway.pub", gateway_keys().public)
    (tmp_path / "home.toml").write_text(HOME)
    config = str(written(tmp_path, GOOD + PAGE + 'sign_in = "link"\n'))
    enrolled = cloud_bridge("enrol", f"{tmp_path}/home.toml", "--config", config)
    assert json.loads(enrolled.stdout) == {"gateway": "gw-2", "people": 1}
    status = json.loads(cloud_bridge("status", "--config", config).stdout)
    assert (status["measurements"], status["dead_letters"]) == (0, [])
    link = cloud_bridge("link", "--config", config).stdout
    assert link.startswith("http://127.0.0.1:8600/enter?token=")
    retried = cloud_bridge(
        "retry", "alert", "00000000-0000-0000-0000-000000000001", "fhir", "--config", config
    )
    assert (retried.returncode, "no such dead letter" in retried.stderr) == (1, True)


def test_without_a_page_there_is_no_link(tmp_path: Path) -> None:
    write_private(tmp_path / "bridge.key", bridge_keys())
    found = cloud_bridge("link", "--config", str(written(tmp_path, GOOD)))
    assert (found.returncode, "write [page] with a port" in found.stderr) == (2, True)
    found = cloud_bridge("link", "--config", str(written(tmp_path, GOOD + PAGE)))
    assert (found.returncode, "people sign in" in found.stderr) == (2, True)


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    write_private(tmp_path / "bridge.key", bridge_keys())
    (tmp_path / "bridge.key").chmod(0o644)
    found = cloud_bridge("status", "--config", str(written(tmp_path, GOOD)))
    assert (found.returncode, "Others may read" in found.stderr) == (2, True)


MORE = """
[hl7v2]
host = "127.0.0.1"
port = 2575
application = "FOLLOWUP"
[[webhook]]
name = "phone"
url = "https://gateway.example/hook"
secret_file = "{folder}/secret"
sends = ["messages"]
"""


def test_every_follow_up_system_is_a_destination(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD + MORE))
    assert config.destinations == ("hl7v2", "webhook:phone")
    (tmp_path / "secret").write_text("ab" * 32 + "\n" + "cd" * 32 + "\n")
    assert config.webhook[0].secrets() == (b"\xab" * 32, b"\xcd" * 32)


@pytest.mark.parametrize("to", ["family_doctor", "organization:community clinic"])
def test_a_destination_may_need_a_consent(tmp_path: Path, to: str) -> None:
    assert load(written(tmp_path, GOOD + MORE)).consent_needed == {}
    text = GOOD + MORE + f'consent = "required"\nrecipient = "{to}"\n'
    assert load(written(tmp_path, text)).consent_needed == {"webhook:phone": to}


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('consent = "required"', "write both, or neither"),
        ('recipient = "nurse"', "write both, or neither"),
        ('consent = "asked"\nrecipient = "nurse"', r"webhook\.0\.consent.*'required'"),
        ('consent = "required"\nrecipient = "the clinic"', "write organization:NAME or one of nurse"),
    ],
)
def test_mistakes_about_consent_are_named(tmp_path: Path, added: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        load(written(tmp_path, GOOD + MORE + added))


@pytest.mark.parametrize("content", ["", "ab" * 31, "secret" * 20, None])
def test_a_secret_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    config = load(written(tmp_path, GOOD + MORE))
    if content is not None:
        (tmp_path / "secret").write_text(content)
    with pytest.raises(Misconfigured, match=r"webhook\.phone\.secret_file"):
        config.webhook[0].secrets()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('host = "127.0.0.1"\nport = 2575', 'host = "hospital.example"\nport = 2575', "in clear"),
        ("https://gateway", "http://gateway", "in clear"),
        ('["messages"]', "[]", r"webhook\.0\.sends"),
        ('["messages"]', '["gossip"]', r"webhook\.0\.sends"),
        ('"phone"', '"Phone!"', r"webhook\.0\.name"),
        ('application = "FOLLOWUP"', 'tls = { certificate = "x" }', "go together"),
    ],
)
def test_mistakes_about_follow_up_systems_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        load(written(tmp_path, GOOD + MORE.replace(old, new)))


def test_two_webhooks_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="one name"):
        load(written(tmp_path, GOOD + MORE + MORE[MORE.index("[[webhook]]") :]))


OAUTH = """
[fhir]
base_url = "https://hospital.example/fhir"
[fhir.oauth]
token_url = "https://hospital.example/token"
client_id = "kiteline"
key_file = "{folder}/smart.pem"
key_id = "k1"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("https://hospital.example/token", "http://hospital.example/token", "https:// token_url"),
        ("https://hospital.example/fhir", "http://hospital.example/fhir", "https:// base_url"),
        ("[fhir.oauth]", 'token_file = "x"\n[fhir.oauth]', "not both"),
        ('"k1"', '""', "key_id"),
    ],
)
def test_mistakes_about_tokens_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        load(written(tmp_path, GOOD + OAUTH.replace(old, new)))


def test_the_key_that_proves_who_we_are_is_read(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD + OAUTH))
    assert config.fhir is not None
    assert config.fhir.oauth is not None
    with pytest.raises(Misconfigured, match=r"fhir\.oauth\.key_file"):
        config.fhir.oauth.client()
    (tmp_path / "smart.pem").write_text("PEM")
    assert config.fhir.oauth.client().key == "PEM"
