"""`edge-agent replay`: what a capture gives, and whether it is what it expects."""

import json
import shutil
from pathlib import Path

import pytest

from device_drivers import rehearsal
from device_drivers.capture import Capture, Exchange, Kind, Origin, Session, parse_capture, written
from device_drivers.driver import Visit
from device_drivers.drivers.gatt_push import GattPush
from device_drivers.link import AttError, GattLink
from device_drivers.profile import load_profiles
from edge_agent.replay import replay
from wire_format.errors import Misconfigured

ROOT = Path(__file__).parents[2]
PRESSURE = "167c0056006100e807060f11111b33000000"


def capture(*exchange: Exchange, profile: str = "standard/blood_pressure", **more: object) -> Capture:
    session = Session.model_validate(
        {"id": "one", "origin": Origin.SYNTHETIC, "source": "a test", "exchange": exchange, **more}
    )
    return Capture(format="kiteline-capture-1", profile=profile, device="x", sessions=(session,))


def notify(data: str = PRESSURE) -> Exchange:
    return Exchange(kind=Kind.NOTIFY, on="2A35", hex=data)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.capture.json"


def put(file: Path, content: Capture) -> Path:
    file.write_text(written(content))
    return file


@pytest.mark.parametrize("name", load_profiles())
def test_the_built_in_captures_replay(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(ROOT / "firmware_profiles" / f"{name}.capture.json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["profile"] == name
    assert not err


def test_what_differs_is_said_and_the_status_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = capture(notify(), expect=[{"kind": "measurement", "values": {"systolic": "125 mm[Hg]"}}])
    assert replay(put(file, wrong)) == 1
    out, err = capsys.readouterr()
    assert "Session one: item 1: values.systolic is '124 mm[Hg]', not '125 mm[Hg]'" in err
    (shown,) = json.loads(out)["sessions"]
    assert shown["items"][0]["stated"] == "2024-06-15T17:17:27"
    assert (shown["ended"], shown["unrecorded"]) == (None, [])


def test_what_is_expected_can_be_written(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(file, capture(notify(), notify("00")))
    assert replay(file) == 1
    assert "2 items, not 0" in capsys.readouterr().err
    assert replay(file, write_expect=True) == 0
    first, second = parse_capture("x", file.read_bytes()).sessions[0].expect
    assert (first["values"]["pulse_rate"], second["hex"]) == ("51 /min", "00")
    assert replay(file) == 0


def test_another_profile_may_read_it(file: Path, tmp_path: Path) -> None:
    put(file, capture(notify(), profile="unknown"))
    with pytest.raises(Misconfigured, match=r"'unknown', which does not exist here: say with --profile"):
        replay(file)
    shutil.copytree(ROOT / "firmware_profiles", tmp_path / "profiles")
    (tmp_path / "profiles" / "standard" / "blood_pressure.toml").rename(tmp_path / "profiles" / "mine.toml")
    assert replay(file, profile="mine", profiles=tmp_path / "profiles", write_expect=True) == 0
    assert parse_capture("x", file.read_bytes()).profile == "mine"
    with pytest.raises(Misconfigured, match="There is no device profile 'yours'"):
        replay(file, profile="yours")


def test_a_visit_that_ends_in_an_error_is_no_success(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(file, capture(Exchange(kind=Kind.NOTIFY, on="2A36", hex="00")))
    assert replay(file) == 1
    assert (
        "the visit ended with Misconfigured: The device offers none of 2B34, 2A35" in capsys.readouterr().err
    )


def test_an_error_of_ours_may_be_how_a_visit_ends_that_gave_what_was_expected(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = capture(
        notify(),
        Exchange(kind=Kind.SUBSCRIBE, on="2A35"),
        Exchange(kind=Kind.REFUSED, code=0x0E),
        expect=[{"kind": "measurement", "values": {"systolic": "124 mm[Hg]"}}],
    )
    put(file, cut)
    assert replay(file) == 1  # nothing came, since the subscription was refused
    raised: dict[str, Exception] = {"error": AttError("a write", 0x80)}

    class Grumbling:
        async def collect(self, link: GattLink, visit: Visit) -> None:
            await GattPush().collect(link, visit)
            raise raised["error"]

    monkeypatch.setattr(rehearsal, "driver_of", lambda _: Grumbling())
    put(file, capture(notify()))
    assert replay(file) == 1
    assert replay(file, write_expect=True) == 1
    assert replay(file) == 0
    raised["error"] = IndexError("no error of ours")
    assert replay(file) == 1


def test_a_defect_of_a_driver_is_named(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        async def collect(self, link: GattLink, visit: Visit) -> None:
            raise IndexError(f"{type(link).__name__} {visit.number}")

    monkeypatch.setattr(rehearsal, "driver_of", lambda _: Broken())
    assert replay(put(file, capture(notify()))) == 1
    assert "the visit ended with IndexError: GattReplay 1" in capsys.readouterr().err


async def test_a_rehearsal_within_an_event_loop_is_refused() -> None:
    profile = load_profiles()["standard/blood_pressure"]
    with pytest.raises(TypeError, match="call it in a thread"):
        rehearsal.rehearse(profile, capture(notify()).sessions[0])


def test_a_file_that_is_none_is_named(file: Path) -> None:
    with pytest.raises(Misconfigured, match=r"x\.capture\.json cannot be read"):
        replay(file)
    file.write_text("{}")
    with pytest.raises(Misconfigured, match="format: Field required"):
        replay(file)
